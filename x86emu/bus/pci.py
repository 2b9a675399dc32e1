"""PCI: configuration mechanism 1, functions with their configuration space, BARs and INTx lines.

PCI Local Bus Specification 3.0: chapter 3.2.2.3.2 (mechanism 1), chapter 6.1 and 6.2 (configuration space, BARs),
chapter 2.2.6 (interrupt pins), chapter 6.7 (capability list); bus/pci_messages.py has MSI and MSI-X.  One bus, no
bridges to further ones yet; a BAR of which any byte lies in another claimed region does not decode until the addresses
are free (on hardware both targets would answer and corrupt each other).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from x86emu.bus.device import Device
from x86emu.bus.dma import Dma
from x86emu.bus.spaces import AddressSpace, MmioSpace, NativeHandlers, PortSpace, Region
from x86emu.errors import BusError

if TYPE_CHECKING:
    from x86emu.bus.spaces import ReadBlock, ReadHandler, WriteBlock, WriteHandler

# Offsets of the type 0 header (chapter 6.1, figure 6-1).
VENDOR_ID, DEVICE_ID, COMMAND, STATUS = 0x00, 0x02, 0x04, 0x06
REVISION_ID, CLASS_CODE, CACHE_LINE_SIZE, LATENCY_TIMER, HEADER_TYPE = 0x08, 0x09, 0x0C, 0x0D, 0x0E
BAR0, SUBSYSTEM_VENDOR_ID, SUBSYSTEM_ID, EXPANSION_ROM = 0x10, 0x2C, 0x2E, 0x30
CAPABILITIES, INTERRUPT_LINE, INTERRUPT_PIN = 0x34, 0x3C, 0x3D

COMMAND_IO, COMMAND_MEMORY, COMMAND_MASTER, COMMAND_INTX_DISABLE = 0x001, 0x002, 0x004, 0x400
STATUS_INTERRUPT, STATUS_CAPABILITIES = 0x08, 0x10
# I/O, memory, master, special cycles, MWI, palette snoop, parity response, SERR#, fast back-to-back, INTx disable
COMMAND_WRITABLE = 0x077F
FIRST_CAPABILITY = 0x40  # offsets below belong to the header

ALL_ONES = 0xFFFF_FFFF


@dataclass(frozen=True)
class Bar:
    """One base address register: `size` in bytes (a power of two), and who answers in its range.

    `kind` "memory64" takes two registers, `index` being the lower. The expansion ROM is `index` 6 with kind "rom".
    """

    index: int
    size: int
    kind: Literal["io", "memory", "memory64", "rom"]
    read: ReadHandler | None = None
    write: WriteHandler | None = None
    name: str = ""
    sizes: tuple[int, ...] = (1, 2, 4)
    prefetchable: bool = False
    read_block: ReadBlock | None = None
    write_block: WriteBlock | None = None
    native: NativeHandlers | None = None
    moved: Callable[[int | None], None] | None = None  # told the new base, or None where the BAR does not decode

    @property
    def register(self) -> int:
        """Offset in configuration space."""
        return EXPANSION_ROM if self.kind == "rom" else BAR0 + 4 * self.index


class Capability:
    """An entry of a function's capability list with registers that do something."""

    def written(self) -> None:
        """Called after each configuration write to the function."""

    def reset(self) -> None:
        """The function was reset; its configuration space is as declared again."""

    def save(self) -> dict[str, Any]:
        """State outside configuration space."""
        return {}

    def load(self, state: dict[str, Any]) -> None:
        """Takes on what save() gave; configuration space was loaded before."""


class MessageCapability(Capability):
    """MSI or MSI-X: interrupts as memory writes."""

    @property
    def enabled(self) -> bool:
        """Whether software has turned it on; the function's pin rests then."""
        raise NotImplementedError

    def send(self, vector: int) -> None:
        """Sends the message of `vector`, or holds it where it is masked."""
        raise NotImplementedError


class PciFunction(Device):
    """One function's 256 bytes of configuration space, declared as data.

    A subclass gives its identity and BARs to the constructor, declares its own registers with `declare()`, and may
    override `config_read()` and `config_written()`. `interrupt_pin` is 1..4 for INTA#..INTD#, 0 for none;
    `class_code` has 24 bits.
    """

    def __init__(
        self,
        name: str,
        *,
        vendor_id: int,
        device_id: int,
        class_code: int,
        revision: int = 0,
        subsystem_vendor_id: int = 0,
        subsystem_id: int = 0,
        header_type: int = 0,
        interrupt_pin: int = 0,
        bars: Sequence[Bar] = (),
    ) -> None:
        super().__init__(name)
        self.config = bytearray(256)
        self.initial = bytearray(256)
        self.write_mask = bytearray(256)
        self.write_one_clears = bytearray(256)
        self.bus: PciBus | None = None
        self.device_number = self.function_number = 0
        self.intx_level = False
        self.interrupt_level = False
        self.capabilities: list[Capability] = []
        self.message_capabilities: list[MessageCapability] = []
        self._last_link, self._free = CAPABILITIES, FIRST_CAPABILITY
        self.bars: tuple[Bar, ...] = tuple(bars)
        self.regions: dict[int, Region] = {}
        self.declare(VENDOR_ID, 2, vendor_id)
        self.declare(DEVICE_ID, 2, device_id)
        self.declare(COMMAND, 2, 0, COMMAND_WRITABLE)
        self.declare(STATUS, 2, 0, 0, 0xF900)
        self.declare(REVISION_ID, 1, revision)
        self.declare(CLASS_CODE, 3, class_code)
        self.declare(CACHE_LINE_SIZE, 1, 0, 0xFF)
        self.declare(LATENCY_TIMER, 1, 0, 0xFF)
        self.declare(HEADER_TYPE, 1, header_type)
        self.declare(SUBSYSTEM_VENDOR_ID, 2, subsystem_vendor_id)
        self.declare(SUBSYSTEM_ID, 2, subsystem_id)
        self.declare(INTERRUPT_LINE, 1, 0, 0xFF)
        self.declare(INTERRUPT_PIN, 1, interrupt_pin)
        for bar in self.bars:
            self._declare_bar(bar)

    def declare(self, offset: int, size: int, value: int, write_mask: int = 0, write_one_clears: int = 0) -> None:
        """Declares a register: its value after reset, the bits software can write and those it clears by writing 1."""
        for target, number in (
            (self.initial, value),
            (self.config, value),
            (self.write_mask, write_mask),
            (self.write_one_clears, write_one_clears),
        ):
            target[offset : offset + size] = number.to_bytes(size, "little")

    def add_bar(self, bar: Bar) -> None:
        """One more BAR, for parts of a function that bring their own."""
        self.bars += (bar,)
        self._declare_bar(bar)

    def add_capability(self, identifier: int, body: bytes, write_mask: bytes = b"", offset: int | None = None) -> int:
        """Appends to the capability list (chapter 6.7); returns the offset at which the entry begins.

        `body` follows the two bytes of identifier and link, `write_mask` goes with it.  Without `offset` the entry
        goes behind the one before, the first to 40h.  BusError where configuration space is full.
        """
        at = self._free if offset is None else offset
        end = at + 2 + len(body)
        if at % 4 or end > len(self.config):
            raise BusError(f"{self.name}: no capability of {len(body) + 2} bytes fits at {at:#x}")
        self.declare(self._last_link, 1, at)
        self.declare(at, 2, identifier)
        self.declare(at + 2, len(body), int.from_bytes(body, "little"), int.from_bytes(write_mask, "little"))
        self.initial[STATUS] |= STATUS_CAPABILITIES
        self.config[STATUS] |= STATUS_CAPABILITIES
        self._last_link, self._free = at + 1, end + 3 & ~3
        return at

    def _declare_bar(self, bar: Bar) -> None:
        smallest = {"io": 4, "memory": 16, "memory64": 16, "rom": 2048}[bar.kind]
        if bar.size < smallest or bar.size & (bar.size - 1):
            raise BusError(
                f"BAR {bar.index} of {self.name} has {bar.size:#x} bytes; a power of two from {smallest:#x} would do"
            )
        address_mask = ~(bar.size - 1) & 0xFFFF_FFFF_FFFF_FFFF
        if bar.kind == "memory64":
            self.declare(bar.register, 8, 0x4 | bar.prefetchable << 3, address_mask)
        elif bar.kind == "rom":
            self.declare(bar.register, 4, 0, address_mask & ALL_ONES | 1)
        else:
            flags = 1 if bar.kind == "io" else bar.prefetchable << 3
            self.declare(bar.register, 4, flags, address_mask & ALL_ONES)

    def attach_rom(self, image: bytes) -> None:
        """Gives the function an expansion ROM, before it is added to a bus that has been reset."""
        size = max(2048, 1 << (len(image) - 1).bit_length())
        padded = image.ljust(size, b"\xff")

        def read(offset: int, length: int) -> int:
            return int.from_bytes(padded[offset : offset + length], "little")

        bar = Bar(6, size, "rom", read, None, f"{self.name} ROM", sizes=(1, 2, 4, 8))
        self._declare_bar(bar)
        self.bars = (*self.bars, bar)

    # Registers by name

    def get(self, offset: int, size: int) -> int:
        """A register's value, without side effects."""
        return int.from_bytes(self.config[offset : offset + size], "little")

    def set(self, offset: int, size: int, value: int) -> None:
        """Sets a register from the device's side, whatever software may write."""
        self.config[offset : offset + size] = value.to_bytes(size, "little")

    @property
    def command(self) -> int:
        """The command register."""
        return self.get(COMMAND, 2)

    @property
    def requester_id(self) -> int:
        """Bus << 8 | device << 3 | function."""
        bus = self.bus.number if self.bus is not None else 0
        return bus << 8 | self.device_number << 3 | self.function_number

    # Configuration accesses

    def config_read(self, offset: int, size: int) -> int:
        """A configuration read of 1, 2 or 4 bytes, aligned."""
        return self.get(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        """A configuration write of 1, 2 or 4 bytes, aligned: only what was declared writable changes."""
        for index in range(offset, offset + size):
            byte, value = value & 0xFF, value >> 8
            mask = self.write_mask[index]
            kept = self.config[index] & ~mask & 0xFF & ~(byte & self.write_one_clears[index])
            self.config[index] = kept | (byte & mask)
        end = offset + size
        if offset < COMMAND + 2 and end > COMMAND:
            self._update_intx()
            self._update_bars()
        elif offset < CAPABILITIES and end > BAR0:
            self._update_bars()
        for capability in self.capabilities:
            capability.written()
        self.config_written(offset, size)

    def config_written(self, offset: int, size: int) -> None:
        """Called after a configuration write of `size` bytes at `offset`, for registers with effects."""

    # BARs

    def bar_base(self, bar: Bar) -> int | None:
        """The base address that the BAR decodes, or None where it is disabled."""
        if bar.kind == "io":
            base = self.get(bar.register, 4) & ~3
            return base if self.command & COMMAND_IO and base else None
        if not self.command & COMMAND_MEMORY:
            return None
        if bar.kind == "rom":
            value = self.get(bar.register, 4)
            return value & ~0x7FF if value & 1 and value & ~0x7FF else None
        base = self.get(bar.register, 8 if bar.kind == "memory64" else 4) & ~0xF
        return base or None

    def _update_bars(self) -> None:
        if self.bus is None:
            return
        for bar in self.bars:
            space = self.bus.space_of(bar)
            base = self.bar_base(bar)
            region = self.regions.get(bar.register)
            if base is None:
                if region is not None and region.mapped:
                    space.unmap(region)
                    if bar.moved is not None:
                        bar.moved(None)
                elif region is not None:
                    space.unmap(region)
                continue
            if base + bar.size > space.limit:
                if region is not None:
                    space.unmap(region)
                continue
            if region is None:
                region = self.regions[bar.register] = space.map(
                    base,
                    bar.size,
                    bar.read,
                    bar.write,
                    bar.name or f"{self.name} BAR {bar.index}",
                    sizes=bar.sizes,
                    read_block=bar.read_block,
                    write_block=bar.write_block,
                    device=self,
                    native=bar.native,
                    may_overlap=True,
                )
            elif region.mapped and region.base == base:
                continue
            else:
                space.move(region, base)
            if bar.moved is not None:
                bar.moved(base if region.mapped else None)

    # Interrupts

    def set_intx(self, level: bool) -> None:
        """Drives the function's INTx# pin (asserted = True); the interrupt-disable bit of the command gates it."""
        self.intx_level = level
        self._update_intx()

    def set_interrupt(self, level: bool) -> None:
        """The function's one interrupt as a level: by its pin, or where messages are on, message 0 whenever it rises.

        For functions with several messages there is `signal()`.
        """
        rises = level and not self.interrupt_level
        self.interrupt_level = level
        if rises and self.message_signalled:
            self.signal(0)
        self.set_intx(level)

    @property
    def message_signalled(self) -> bool:
        """Whether software has turned MSI or MSI-X on."""
        return any(capability.enabled for capability in self.message_capabilities)

    def signal(self, vector: int) -> None:
        """Sends the message of `vector` by whichever of MSI and MSI-X is on; nothing where neither is."""
        for capability in self.message_capabilities:
            if capability.enabled:
                capability.send(vector)
                return

    def send_message(self, address: int, data: int) -> None:
        """A message's memory write, which takes the bus-master bit like any other."""
        if self.bus is not None and self.bus.message_sink is not None and self.command & COMMAND_MASTER:
            self.bus.message_sink(self.requester_id, address, data)

    def _update_intx(self) -> None:
        status = self.config[STATUS] & ~STATUS_INTERRUPT
        self.config[STATUS] = status | (STATUS_INTERRUPT if self.intx_level else 0)
        pin = self.config[INTERRUPT_PIN]
        if self.bus is not None and pin:
            asserted = self.intx_level and not self.command & COMMAND_INTX_DISABLE and not self.message_signalled
            self.bus.set_intx(self, pin, asserted)

    def set_irq(self, number: int, level: bool) -> None:
        """Lets an IrqLine of this device's inner parts drive INTx#."""
        self.set_intx(level)

    # Device

    def reset(self) -> None:
        self.config[:] = self.initial
        for capability in self.capabilities:
            capability.reset()
        self.intx_level = self.interrupt_level = False
        self._update_intx()
        self._update_bars()

    def save(self) -> dict[str, object]:
        return {
            **super().save(),
            "config": bytes(self.config),
            "intx_level": self.intx_level,
            "interrupt_level": self.interrupt_level,
            "capabilities": [capability.save() for capability in self.capabilities],
        }

    def load(self, state: dict[str, Any]) -> None:
        self.config[:] = state["config"]
        self.intx_level = state["intx_level"]
        self.interrupt_level = state["interrupt_level"]
        for capability, saved in zip(self.capabilities, state["capabilities"], strict=True):
            capability.load(saved)
        self._update_intx()
        self._update_bars()
        super().load(state)


class FunctionDma:
    """A PCI function's DMA port: as long as the bus-master bit is clear, reads float and writes go nowhere."""

    def __init__(self, function: PciFunction, below: Dma) -> None:
        self.function = function
        self.below = below

    @property
    def requester_id(self) -> int:
        return self.function.requester_id

    def read(self, address: int, length: int) -> bytes:
        if not self.function.command & COMMAND_MASTER:
            return b"\xff" * length
        return self.below.read(address, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        if self.function.command & COMMAND_MASTER:
            self.below.write(address, data)

    def buffer(self, address: int, length: int) -> memoryview | None:
        return self.below.buffer(address, length) if self.function.command & COMMAND_MASTER else None

    def changed(self, address: int, length: int) -> None:
        self.below.changed(address, length)


class PciBus(Device):
    """Bus 0 behind configuration mechanism 1: CONFIG_ADDRESS at CF8h, CONFIG_DATA at CFCh..CFFh.

    `intx_sink(pirq, level)` is told the four interrupt lines of the bus (0..3), each the OR of the functions wired to
    it: pin p of device d is on line (d + p - 1 + `swizzle`) mod 4, INTA# being 1; PC boards with a 440FX use -1.
    Map `read`/`write` at CF8h, length 8. Accesses to CF8h..CFBh other than by dword go to `port_below` (the PIIX reset
    control register lies at CF9h).  `message_sink(requester_id, address, data)` gets the functions' interrupt messages.
    """

    def __init__(
        self,
        ports: PortSpace,
        mmio: MmioSpace,
        intx_sink: Callable[[int, bool], object] | None = None,
        *,
        swizzle: int = 0,
        port_below: tuple[ReadHandler, WriteHandler] | None = None,
        message_sink: Callable[[int, int, int], object] | None = None,
        name: str = "pci",
    ) -> None:
        super().__init__(name)
        self.number = 0
        self.ports = ports
        self.mmio = mmio
        self.intx_sink = intx_sink
        self.swizzle = swizzle
        self.port_below = port_below
        self.message_sink = message_sink
        self.address = 0
        self.functions: dict[tuple[int, int], PciFunction] = {}
        self._asserting: list[set[PciFunction]] = [set(), set(), set(), set()]

    def add(self, function: PciFunction, device_number: int, function_number: int = 0) -> None:
        """Puts a function into a slot: device 0..31, function 0..7. Raises BusError where one is there already."""
        if not (0 <= device_number < 32 and 0 <= function_number < 8):
            raise BusError(f"{function.name}: a PCI bus has devices 0..31 with functions 0..7")
        other = self.functions.get((device_number, function_number))
        if other is not None:
            raise BusError(
                f"{function.name} cannot be device {device_number} function {function_number}: {other.name} is"
            )
        self.functions[device_number, function_number] = function
        function.bus, function.device_number, function.function_number = self, device_number, function_number

    def space_of(self, bar: Bar) -> AddressSpace:
        """The space in which a BAR decodes."""
        return self.ports if bar.kind == "io" else self.mmio

    def pirq_of(self, function: PciFunction, pin: int) -> int:
        """The bus's interrupt line (0..3) that a function's pin (1..4) is on."""
        return (function.device_number + pin - 1 + self.swizzle) & 3

    def set_intx(self, function: PciFunction, pin: int, level: bool) -> None:
        """A function's pin changes; the line's sink is told when the OR of all changes."""
        pirq = self.pirq_of(function, pin)
        asserting = self._asserting[pirq]
        before = bool(asserting)
        if level:
            asserting.add(function)
        else:
            asserting.discard(function)
        if self.intx_sink is not None and bool(asserting) != before:
            self.intx_sink(pirq, bool(asserting))

    def _selected(self) -> PciFunction | None:
        if not self.address & 0x8000_0000 or self.address >> 16 & 0xFF != self.number:
            return None
        return self.functions.get((self.address >> 11 & 0x1F, self.address >> 8 & 7))

    def read(self, offset: int, size: int) -> int:
        """A port read at CF8h + `offset`."""
        if offset < 4:
            if offset == 0 and size == 4:
                return self.address
            return self.port_below[0](offset, size) if self.port_below is not None else (1 << 8 * size) - 1
        function = self._selected()
        if function is None:
            return (1 << 8 * size) - 1
        register = (self.address & 0xFC) + (offset & 3)
        if register & (size - 1):  # crosses the dword or is not aligned: byte lanes one by one
            return sum(
                function.config_read(register + lane, 1) << 8 * lane for lane in range(min(size, 4 - (offset & 3)))
            )
        return function.config_read(register, size)

    def write(self, offset: int, size: int, value: int) -> None:
        """A port write at CF8h + `offset`."""
        if offset < 4:
            if offset == 0 and size == 4:
                self.address = value & 0x80FF_FFFC
            elif self.port_below is not None:
                self.port_below[1](offset, size, value)
            return
        function = self._selected()
        if function is None:
            return
        register = (self.address & 0xFC) + (offset & 3)
        if register & (size - 1):
            for lane in range(min(size, 4 - (offset & 3))):
                function.config_write(register + lane, 1, value >> 8 * lane & 0xFF)
            return
        function.config_write(register, size, value)

    def reset(self) -> None:
        self.address = 0
        for function in self.functions.values():
            function.reset()

    def save(self) -> dict[str, object]:
        functions: Mapping[tuple[int, int], object] = {slot: f.save() for slot, f in self.functions.items()}
        return {"address": self.address, "functions": functions}

    def load(self, state: dict[str, Any]) -> None:
        self.address = state["address"]
        for slot, function in self.functions.items():
            function.load(state["functions"][slot])
