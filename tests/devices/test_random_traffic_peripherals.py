"""A guest that programs nonsense into the peripherals: no handler fails, values fit their width, states round-trip."""

import random

import pytest
from ide_fixtures import MemoryImage

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine
from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.atapi_cdrom import AtapiCdrom
from x86emu.devices.i440fx import I440FX
from x86emu.devices.i8042 import I8042
from x86emu.devices.i8237 import I8237Pair
from x86emu.devices.i82077aa import I82077AA
from x86emu.devices.mc146818 import Mc146818
from x86emu.devices.parallel import ParallelPort
from x86emu.devices.piix3 import Piix3
from x86emu.devices.piix4_acpi import Piix4Acpi
from x86emu.devices.piix_ide import PiixIde
from x86emu.devices.port92 import Port92
from x86emu.devices.uart16550 import Uart16550
from x86emu.devices.vga import Vga


class Lines:
    """The state of sixteen interrupt lines."""

    def __init__(self):
        self.levels = [False] * 16

    def set_irq(self, number, level):
        self.levels[number] = level


class Board:
    """All peripherals at their ports."""

    def __init__(self, memory):
        self.clock, self.lines = Clock(), Lines()
        self.ports, self.mmio = PortSpace(), MmioSpace()
        self.isa = Piix3(self.lines)
        clock, ports, line = self.clock, self.ports, lambda number: IrqLine(self.isa.isa, number)
        self.bus = PciBus(
            ports,
            self.mmio,
            self.isa.set_pirq,
            swizzle=-1,
            port_below=(self.isa.read_reset_control, self.isa.write_reset_control),
        )
        self.uart = Uart16550(line(4), clock)
        self.rtc = Mc146818(line(8), clock)
        self.kbc = I8042(line(1), line(12), clock)
        self.dma = I8237Pair(memory)
        self.fdc = I82077AA(line(6), clock)
        self.parallel = ParallelPort(line(7), clock, lambda data: None)
        self.port92 = Port92()
        self.ide = PiixIde(
            (line(14), line(15)),
            memory,
            (AtaDisk(MemoryImage(5000)), None, AtapiCdrom(MemoryImage(500, 2048, read_only=True)), AtapiCdrom()),
        )
        self.acpi = Piix4Acpi(line(9), clock)
        self.vga = Vga(clock, b"\x55\xaa", memory_bytes=1 << 18)
        self.bridge = I440FX(64 << 20)
        for function, slot in ((self.bridge, (0, 0)), (self.isa, (1, 0)), (self.ide, (1, 1)), (self.acpi, (1, 3)),
                               (self.vga, (2, 0))):  # fmt: skip
            self.bus.add(function, *slot)
        one = {"sizes": (1,)}
        ports.map(0x3F8, 8, self.uart.read, self.uart.write, "uart", **one)
        ports.map(0x70, 2, self.rtc.read, self.rtc.write, "rtc", **one)
        ports.map(0x72, 2, self.rtc.read_extended, self.rtc.write_extended, "rtc", **one)
        ports.map(0x60, 1, self.kbc.read_data, self.kbc.write_data, "kbc", **one)
        ports.map(0x64, 1, self.kbc.read_status, self.kbc.write_command, "kbc", **one)
        ports.map(0x00, 16, self.dma.read_first, self.dma.write_first, "dma", **one)
        ports.map(0xC0, 32, self.dma.read_second, self.dma.write_second, "dma", **one)
        ports.map(0x80, 16, self.dma.read_page, self.dma.write_page, "dma", **one)
        ports.map(0x3F0, 6, self.fdc.read, self.fdc.write, "fdc", **one)
        ports.map(0x3F7, 1, self.fdc.read_dir, self.fdc.write_ccr, "fdc", **one)
        ports.map(0x378, 3, self.parallel.read, self.parallel.write, "parallel", **one)
        ports.map(0x92, 1, self.port92.read, self.port92.write, "port92", **one)
        ports.map(0xB2, 2, self.acpi.read_apm, self.acpi.write_apm, "apm", **one)
        ports.map(0x3B0, 0x30, self.vga.read, self.vga.write, "vga", **one)
        ports.map(0x1CE, 3, self.vga.read_vbe, self.vga.write_vbe, "vbe", sizes=(2,))
        ports.map(0xCF8, 8, self.bus.read, self.bus.write, "pci")
        self.mmio.map(0xA0000, 0x20000, None, None, "window", sizes=(1, 2, 4, 8), native=self.vga.memory.window)
        self.ide.map_legacy(ports.map)
        self.devices = (self.uart, self.rtc, self.kbc, self.dma, self.fdc, self.parallel, self.port92, self.bus)
        for device in self.devices:
            device.reset()
        for slot, register, value in (
            (0x0900, 0x40, 0x80008000), (0x0900, 4, 5), (0x0900, 0x20, 0xC000), (0x0B00, 0x40, 0x600),
            (0x0B00, 0x80, 1), (0x0B00, 0x04, 1), (0x1000, 0x10, 0xE0000000), (0x1000, 0x18, 0xE1000000),
            (0x1000, 4, 3),
        ):  # fmt: skip
            ports.write(0xCF8, 4, 0x80000000 | slot | register)
            ports.write(0xCFC, 4, value)
        ports.write(0xCF8, 4, 0)

    def ranges(self):
        return [(region.base, region.length) for region in self.ports.regions_by_address()]

    def step(self, rng, pci):
        """One random access (or a wait); returns what it read."""
        kind = rng.random()
        if kind < 0.05:
            self.clock.advance(rng.choice((1, 1000, 1_000_000, 700_000_000)))
            return None
        if kind < 0.15:
            address, size = 0xA0000 + rng.randrange(0x20000 - 8), rng.choice((1, 2, 4, 8))
            if rng.random() < 0.5:
                return self.mmio.read(address, size)
            return self.mmio.write(address, size, rng.getrandbits(64))
        base, length = rng.choice(self.ranges())
        if base == 0xCF8 and not pci:
            return None
        port, size = base + rng.randrange(length), rng.choice((1, 1, 1, 2, 4))
        if rng.random() < 0.4:
            value = self.ports.read(port, size)
            assert 0 <= value < 1 << 8 * size
            return value
        return self.ports.write(port, size, rng.choice((rng.getrandbits(8), rng.getrandbits(32), 0, 0xFFFFFFFF)))

    def save(self):
        return [device.save() for device in self.devices], self.clock.save()

    def load(self, state):
        devices, clock = state
        self.clock.load(clock)
        for device, saved in zip(self.devices, devices, strict=True):
            device.load(saved)


@pytest.mark.parametrize("seed", range(6))
def test_nonsense_breaks_nothing_and_states_round_trip(memory, seed):
    rng = random.Random(seed)
    board = Board(memory)
    pci = seed % 2 == 1
    for _ in range(4000):
        board.step(rng, pci)
    board.kbc.type_text("ok")
    board.uart.receive(b"hello")
    copy = Board(type(memory)())
    copy.load(board.save())
    copy_memory = copy.dma.dma
    copy_memory.bytes[:] = memory.bytes
    same = random.Random(seed + 1000)
    again = random.Random(seed + 1000)
    for drive, twin in zip(board.ide.channels[0].drives, copy.ide.channels[0].drives, strict=True):
        if drive is not None:
            twin.backend.written = dict(drive.backend.written)
    for _ in range(1000):
        assert board.step(same, False) == copy.step(again, False)
    assert board.lines.levels == copy.lines.levels
