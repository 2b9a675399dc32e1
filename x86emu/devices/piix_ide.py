"""IDE function of the PIIX3, 8086:7010 (Intel 82371SB data sheet 290550, chapter 2.3 for configuration space, chapter
2.7 for the bus master registers; "Programming Interface for Bus Master IDE Controller" rev. 1.0 for their meaning).

Both channels answer at the legacy ports 1F0h/3F6h and 170h/376h while IDETIM bit 15 and the I/O space enable are set.
A bus master transfer happens in whole when both the start bit and the device's request are there.  Timings are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from x86emu.bus.pci import COMMAND_IO, Bar, FunctionDma, PciFunction
from x86emu.devices.ata_channel import AtaChannel
from x86emu.devices.ata_drive import AtaDrive

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma
    from x86emu.bus.irq import IrqLine

IDETIM = (0x40, 0x42)
SIDETIM = 0x44
IDETIM_DECODE = 0x8000

# Offsets in each channel's eight bus master ports.
BM_COMMAND, BM_STATUS, BM_TABLE = 0, 2, 4
BM_COMMAND_START = 0x01
BM_COMMAND_TO_MEMORY = 0x08
BM_STATUS_ACTIVE = 0x01
BM_STATUS_ERROR = 0x02
BM_STATUS_INTERRUPT = 0x04
BM_STATUS_WRITABLE = 0x60

PRD_END = 0x8000_0000


class BusMasterChannel:
    """One channel's bus master: command, status, descriptor table pointer."""

    def __init__(self, channel: AtaChannel, dma: Dma) -> None:
        self.channel = channel
        self.dma = dma
        self._exhausted = False  # whether the last descriptor was used up
        self.reset()
        for drive in channel.drives:
            if drive is not None:
                drive.dma_ready = self.run

    def reset(self) -> None:
        self.command = 0
        self.status = 0
        self.table = 0

    def read(self, offset: int) -> int:
        if offset == BM_COMMAND:
            return self.command
        if offset == BM_STATUS:
            return self.update_status()
        if offset >= BM_TABLE:
            return self.table >> 8 * (offset - BM_TABLE) & 0xFF
        return 0

    def write(self, offset: int, value: int) -> None:
        if offset == BM_COMMAND:
            started = value & ~self.command & BM_COMMAND_START
            self.command = value & (BM_COMMAND_START | BM_COMMAND_TO_MEMORY)
            if started:
                self.status |= BM_STATUS_ACTIVE
                self.run()
            elif not value & BM_COMMAND_START:
                self.status &= ~BM_STATUS_ACTIVE
        elif offset == BM_STATUS:
            self.update_status()
            self.status &= ~(value & (BM_STATUS_ERROR | BM_STATUS_INTERRUPT))
            self.status = self.status & ~BM_STATUS_WRITABLE | value & BM_STATUS_WRITABLE
        elif offset >= BM_TABLE:
            shift = 8 * (offset - BM_TABLE)
            self.table = (self.table & ~(0xFF << shift) | value << shift) & 0xFFFF_FFFC

    def update_status(self) -> int:
        """The interrupt bit follows rising edges of the channel's interrupt line."""
        if self.channel.interrupt_edge():
            self.status |= BM_STATUS_INTERRUPT
        return self.status

    def run(self) -> None:
        """Moves data along the descriptor table until the device or the table ends."""
        drive = self.channel.selected
        if not self.status & BM_STATUS_ACTIVE or drive is None or not drive.dma:
            return
        if (drive.dma == "in") != bool(self.command & BM_COMMAND_TO_MEMORY):
            return  # the directions disagree: nothing moves until software stops the engine
        if self._run_direct(drive):
            return
        at = self.table
        while True:
            descriptor = self.dma.read(at, 8)
            address = int.from_bytes(descriptor[0:4], "little") & ~1
            word = int.from_bytes(descriptor[4:8], "little")
            self._move(drive, address, (word & 0xFFFE) or 0x10000)
            at += 8
            if word & PRD_END or not drive.dma:
                break
        if word & PRD_END:
            # A table that is longer than the transfer leaves the engine active (chapter "Status register", table).
            if drive.dma or self._exhausted:
                self.status &= ~BM_STATUS_ACTIVE
        self.update_status()

    def _run_direct(self, drive: AtaDrive) -> bool:
        """The usual case, without a copy: the table has just the room for all that the drive is to move."""
        wanted = drive.direct_bytes
        if not wanted:
            return False
        pieces: list[tuple[int, int]] = []
        at, left = self.table, wanted
        while left:
            descriptor = self.dma.read(at, 8)
            address = int.from_bytes(descriptor[0:4], "little") & ~1
            word = int.from_bytes(descriptor[4:8], "little")
            length = (word & 0xFFFE) or 0x10000
            if length > left or length == left and not word & PRD_END or word & PRD_END and length < left:
                return False
            if pieces and pieces[-1][0] + pieces[-1][1] == address:
                pieces[-1] = (pieces[-1][0], pieces[-1][1] + length)
            else:
                pieces.append((address, length))
            left -= length
            at += 8
        if not drive.move_direct(self.dma, pieces):
            return False
        self._exhausted = True
        self.status &= ~BM_STATUS_ACTIVE
        self.update_status()
        return True

    def _move(self, drive: AtaDrive, address: int, length: int) -> None:
        moved = 0
        while moved < length and drive.dma:
            if drive.dma == "in":
                data = drive.take(length - moved)
                self.dma.write(address + moved, data)
                part = len(data)
            else:
                part = drive.give(self.dma.read(address + moved, length - moved))
            if not part:
                break
            moved += part
        self._exhausted = moved == length


class PiixIde(PciFunction):
    """The IDE function with two channels of up to two devices.

    `irqs` are IRQ 14 and 15; `dma` reaches memory; `drives` are primary 0, primary 1, secondary 0, secondary 1.
    Map, for channel c: `legacy_command(c)` at 1F0h or 170h (8 ports) and `legacy_control(c)` at 3F6h or 376h (1 port).
    """

    def __init__(
        self,
        irqs: tuple[IrqLine, IrqLine],
        dma: Dma,
        drives: Sequence[AtaDrive | None] = (None, None, None, None),
        *,
        name: str = "PIIX3 IDE",
    ) -> None:
        if len(drives) != 4:
            raise ValueError(f"{name} has four device positions, {len(drives)} were given")
        super().__init__(
            name,
            vendor_id=0x8086,
            device_id=0x7010,
            class_code=0x010180,
            bars=(Bar(4, 16, "io", self.read_bus_master, self.write_bus_master, "PIIX3 IDE bus master", sizes=(1,)),),
        )
        for register in IDETIM:
            self.declare(register, 2, 0, 0xF3FF)
        self.declare(SIDETIM, 1, 0, 0xFF)
        self.channels = (
            AtaChannel(irqs[0], drives[0], drives[1], name="ATA primary"),
            AtaChannel(irqs[1], drives[2], drives[3], name="ATA secondary"),
        )
        port = FunctionDma(self, dma)
        self.bus_masters = tuple(BusMasterChannel(channel, port) for channel in self.channels)

    def reset(self) -> None:
        super().reset()
        for channel, bus_master in zip(self.channels, self.bus_masters, strict=True):
            channel.reset()
            bus_master.reset()

    def decodes(self, number: int) -> bool:
        """Whether a channel answers at its legacy ports."""
        return bool(self.get(IDETIM[number], 2) & IDETIM_DECODE and self.command & COMMAND_IO)

    def map_legacy(self, map_ports: Callable[..., object]) -> None:
        """Maps both channels at the legacy ports; `map_ports` is `PortSpace.map`."""
        for number, (command, control) in enumerate(((0x1F0, 0x3F6), (0x170, 0x376))):
            legacy = LegacyChannel(self, number)
            channel = self.channels[number]
            map_ports(
                command, 8, legacy.read, legacy.write, channel.name,
                read_block=legacy.read_block, write_block=legacy.write_block, device=channel,
            )  # fmt: skip
            map_ports(
                control, 1, legacy.read_control, legacy.write_control, f"{channel.name} control", sizes=(1,),
                device=channel,
            )  # fmt: skip

    def read_bus_master(self, offset: int, size: int) -> int:
        """BAR 4: eight ports of each channel."""
        return self.bus_masters[offset >> 3].read(offset & 7)

    def write_bus_master(self, offset: int, size: int, value: int) -> None:
        """BAR 4: eight ports of each channel."""
        self.bus_masters[offset >> 3].write(offset & 7, value)

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {
            "channels": [channel.save() for channel in self.channels],
            "bus_masters": [(master.command, master.status, master.table) for master in self.bus_masters],
        }

    def load(self, state: dict[str, Any]) -> None:
        for channel, saved in zip(self.channels, state["channels"], strict=True):
            channel.load(saved)
        for master, saved in zip(self.bus_masters, state["bus_masters"], strict=True):
            master.command, master.status, master.table = saved
        super().load(state)


class LegacyChannel:
    """The legacy ports of a channel: they float while the function does not decode them."""

    def __init__(self, function: PiixIde, number: int) -> None:
        self.function = function
        self.number = number
        self.channel = function.channels[number]

    def read(self, offset: int, size: int) -> int:
        if not self.function.decodes(self.number):
            return (1 << 8 * size) - 1
        return self.channel.read(offset, size)

    def write(self, offset: int, size: int, value: int) -> None:
        if self.function.decodes(self.number):
            self.channel.write(offset, size, value)

    def read_block(self, offset: int, size: int, count: int) -> bytes:
        return self.channel.read_block(offset, size, count) if self.function.decodes(self.number) else b""

    def write_block(self, offset: int, size: int, data: bytes) -> int:
        return self.channel.write_block(offset, size, data) if self.function.decodes(self.number) else 0

    def read_control(self, offset: int, size: int) -> int:
        return self.channel.read_control(offset, size) if self.function.decodes(self.number) else 0xFF

    def write_control(self, offset: int, size: int, value: int) -> None:
        if self.function.decodes(self.number):
            self.channel.write_control(offset, size, value)
