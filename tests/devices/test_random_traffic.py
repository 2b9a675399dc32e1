"""A guest programs nonsense into interrupt controllers, timers and PCI: no handler fails, and states round-trip."""

import random

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine
from x86emu.bus.pci import Bar, PciBus, PciFunction
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import MmioSpace, PortSpace, core_mmio_read, core_mmio_write, core_port_read, core_port_write
from x86emu.devices.hpet import Hpet
from x86emu.devices.i8254 import I8254
from x86emu.devices.i8259 import I8259Pair
from x86emu.devices.ioapic import IoApic
from x86emu.devices.lapic import ApicBus, LocalApic

PORTS = (0x20, 0x21, 0xA0, 0xA1, 0x4D0, 0x40, 0x41, 0x42, 0x43, 0x61, 0xCF8, 0xCF8, 0xCFC, 0xCFD, 0xCFE)
HPET_REGISTERS = (0x10, 0x20, 0xF0, 0x100, 0x108, 0x120, 0x128, 0x14C)


class Board:
    def __init__(self) -> None:
        self.wiring = Wiring()
        self.clock = Clock(self.wiring)
        ports, mmio = PortSpace(self.wiring), MmioSpace(self.wiring)
        self.pic, bus = I8259Pair(), ApicBus()
        self.cpus = [CpuSignals(i) for i in range(2)]
        self.lapics = [LocalApic(i, self.cpus[i], self.clock, bus, bsp=i == 0, pic=self.pic) for i in range(2)]
        self.pic.output = lambda level: self.lapics[0].set_lint(0, level)
        self.ioapic = IoApic(bus)
        self.hpet = Hpet(self.clock, self.ioapic, self)
        self.pit = I8254(self.clock, IrqLine(self.hpet, 0))
        self.pci = PciBus(ports, mmio, lambda pirq, level: self.set_irq(10 + (pirq & 1), level))
        bars = (Bar(0, 4096, "memory"), Bar(1, 16, "io"), Bar(2, 4096, "memory64"))
        self.function = PciFunction("function", vendor_id=1, device_id=2, class_code=3, interrupt_pin=1, bars=bars)
        self.pci.add(self.function, 1)
        pic, pit = self.pic, self.pit
        ports.map(0x20, 2, pic.read_master, pic.write_master, "master", sizes=(1,))
        ports.map(0xA0, 2, pic.read_slave, pic.write_slave, "slave", sizes=(1,))
        ports.map(0x4D0, 2, pic.read_elcr, pic.write_elcr, "elcr", sizes=(1,))
        ports.map(0x40, 4, pit.read, pit.write, "8254", sizes=(1,))
        ports.map(0x61, 1, pit.read_port61, pit.write_port61, "port 61h")
        ports.map(0xCF8, 8, self.pci.read, self.pci.write, "pci")
        mmio.map(0xFEC00000, 4096, self.ioapic.read, self.ioapic.write, "ioapic", sizes=(4,))
        mmio.map(0xFED00000, 1024, self.hpet.read, self.hpet.write, "hpet", sizes=(4, 8))
        self.parts = (self.pic, self.pit, self.hpet, self.ioapic, self.pci, *self.lapics)

    def set_irq(self, number: int, level: bool) -> None:
        self.pic.set_irq(number, level)
        self.ioapic.set_irq(2 if number == 0 else number, level)

    def access(self, dice: random.Random) -> None:
        value = dice.choice(
            [
                dice.getrandbits(64),
                dice.getrandbits(8),
                dice.getrandbits(12),
                0xFFFFFFFF,
                0x80000800 | dice.getrandbits(8),
            ]
        )
        size, cpu = dice.choice([1, 2, 4]), dice.choice(self.cpus)
        kind = dice.randrange(8)
        if kind == 0:
            core_port_write(self.wiring, dice.choice(PORTS), size, value)
        elif kind == 1:
            core_port_read(self.wiring, dice.choice(PORTS), size)
        elif kind == 2:
            core_mmio_write(self.wiring, 0xFEC00000 + dice.choice([0, 0x10, 0x40]), 4, value)
        elif kind == 3:
            core_mmio_write(self.wiring, 0xFED00000 + dice.choice(HPET_REGISTERS), dice.choice([4, 8]), value)
            core_mmio_read(self.wiring, 0xFED00000 + dice.randrange(0x400), size)
        elif kind == 4:
            cpu.apic_write(dice.randrange(0, 0x400, 16), value)
        elif kind == 5:
            if dice.random() < 0.1:
                value = 0xFEE00000 | dice.choice([0x800, 0xC00, 0, 0x900])
            cpu.wrmsr(dice.choice([0x1B, 0x6E0, *range(0x800, 0x840)]), value)
        elif kind == 6:
            cpu.acknowledge()
            cpu.apic_read(dice.randrange(4096), size)
            cpu.rdmsr(dice.randrange(0x800, 0x900))
        else:
            self.function.set_intx(dice.random() < 0.5)
            wait = min(self.clock.next_deadline() - self.clock.now(), dice.randrange(1000))
            self.clock.advance(max(wait, 0))


@pytest.mark.parametrize("seed", range(4))
def test_nonsense_never_fails_and_states_round_trip(seed: int) -> None:
    board, dice = Board(), random.Random(seed)
    for _ in range(4000):
        board.access(dice)
        if board.wiring.exception is not None:
            raise board.wiring.exception
    assert board.clock.now() > 0
    states = [part.save() for part in board.parts]
    board.clock.load(board.clock.save())
    for part, state in zip(board.parts, states, strict=True):
        part.load(state)
    assert [part.save() for part in board.parts] == states


def test_same_traffic_gives_the_same_states() -> None:
    results = []
    for _ in range(2):
        board, dice = Board(), random.Random(99)
        for _ in range(2000):
            board.access(dice)
        results.append([part.save() for part in board.parts])
    assert results[0] == results[1]
