"""HPET from the registers' side; IA-PC HPET specification 1.0a."""

import random

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.spaces import MmioSpace
from x86emu.devices.hpet import Hpet

CONF, STATUS, COUNTER = 0x10, 0x20, 0xF0


class Sink:
    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.log: list[tuple[int, int, bool]] = []

    def set_irq(self, number: int, level: bool) -> None:
        self.log.append((self.clock.now(), number, level))

    def rises(self) -> list[tuple[int, int]]:
        return [(when, number) for when, number, level in self.log if level]


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.ioapic, self.isa = Sink(self.clock), Sink(self.clock)
        self.hpet = Hpet(self.clock, self.ioapic, self.isa)

    def put(self, offset: int, value: int, size: int = 8) -> None:
        self.hpet.write(offset, size, value)

    def get(self, offset: int, size: int = 8) -> int:
        return self.hpet.read(offset, size)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def config(n: int) -> int:
    return 0x100 + 0x20 * n


def comparator(n: int) -> int:
    return 0x108 + 0x20 * n


def test_capabilities(bench: Bench) -> None:
    assert bench.get(0) == 0x009896808086A201
    assert bench.get(4, 4) == 10_000_000  # femtoseconds
    assert bench.get(config(0)) == 0x00FF010400000030
    assert bench.get(comparator(2)) == 0xFFFFFFFFFFFFFFFF
    assert bench.get(config(3)) == 0 == bench.get(0x3F8)
    bench.put(0, 0)
    assert bench.get(1, 1) == 0xA2


def test_counter_runs_while_enabled(bench: Bench) -> None:
    bench.clock.advance(100)
    assert bench.get(COUNTER) == 0
    bench.put(CONF, 1)
    bench.clock.advance(105)
    assert bench.get(COUNTER) == 10
    bench.put(CONF, 1)  # written again: nothing is lost
    bench.clock.advance(5)
    assert bench.get(COUNTER, 4) == 11
    bench.put(CONF, 0)
    bench.clock.advance(1000)
    assert bench.get(COUNTER) == 11
    bench.put(COUNTER, 0xFFFFFFFF_FFFFFFFE)
    bench.put(CONF, 1)
    bench.clock.advance(30)
    assert bench.get(COUNTER) == 1
    bench.put(COUNTER + 4, 7, 4)
    assert bench.get(COUNTER) == 0x7_00000001


def test_one_shot_edge(bench: Bench) -> None:
    bench.put(CONF, 1)
    bench.put(config(1), 16 << 9 | 4)
    bench.put(comparator(1), 500)
    bench.clock.advance(4999)
    assert not bench.ioapic.log
    bench.clock.advance(100_000)
    assert bench.ioapic.rises() == [(5000, 16)] and bench.get(STATUS) == 0
    bench.put(comparator(1), 20_000)
    bench.put(config(1), 16 << 9)  # disabled
    bench.clock.advance(1_000_000)
    assert len(bench.ioapic.rises()) == 1


def test_periodic_with_accumulator(bench: Bench) -> None:
    bench.put(config(0), 8 << 9 | 4 | 8 | 0x40)
    bench.put(comparator(0), 1000)  # the accumulator
    bench.put(comparator(0), 300)  # the period
    bench.put(CONF, 1)
    bench.clock.advance_to(20_000)
    assert bench.ioapic.rises() == [(10_000, 8), (13_000, 8), (16_000, 8), (19_000, 8)]
    assert bench.get(comparator(0)) == 2200
    assert bench.get(config(0)) & 0x40 == 0


def test_level_until_cleared(bench: Bench) -> None:
    bench.put(CONF, 1)
    bench.put(config(2), 20 << 9 | 4 | 2)
    bench.put(comparator(2), 10)
    bench.clock.advance(200)
    assert bench.ioapic.log == [(100, 20, True)] and bench.get(STATUS) == 4
    bench.put(STATUS, 3)
    assert bench.get(STATUS) == 4
    bench.put(STATUS, 4)
    assert bench.ioapic.log[-1] == (200, 20, False) and bench.get(STATUS) == 0


def test_32_bit_mode_wraps(bench: Bench) -> None:
    bench.put(COUNTER, 0x1_FFFFFFF0)
    bench.put(config(0), 16 << 9 | 4 | 0x100)
    bench.put(comparator(0), 0x10, 4)
    assert bench.get(comparator(0)) == 0x10
    bench.put(CONF, 1)
    bench.clock.advance_to(43_000_000_000)
    assert bench.ioapic.rises() == [(320, 16), (320 + (10 << 32), 16)]


def test_unsupported_route_does_not_stick(bench: Bench) -> None:
    bench.put(config(0), 16 << 9)
    bench.put(config(0), 5 << 9 | 0x8000 | 0x4000)
    assert bench.get(config(0), 4) == 16 << 9 | 0x30


def test_legacy_replacement_takes_lines_0_and_8(bench: Bench) -> None:
    bench.hpet.set_irq(0, True)
    bench.hpet.set_irq(8, True)
    assert bench.isa.rises() == [(0, 0), (0, 8)]
    for n in (0, 1):
        bench.put(config(n), 16 << 9 | 4)
        bench.put(comparator(n), 100 * (n + 1))
    bench.put(CONF, 3)
    assert bench.isa.log[2:] == [(0, 0, False), (0, 8, False)]
    bench.isa.log.clear()
    bench.hpet.set_irq(0, False)
    bench.hpet.set_irq(0, True)  # the 8254 is cut off
    bench.clock.advance(5000)
    assert bench.isa.rises() == [(1000, 0), (2000, 8)] and not bench.ioapic.log
    bench.put(CONF, 1)
    assert bench.isa.log[-2:] == [(5000, 0, True), (5000, 8, True)]


def test_narrow_and_misaligned_writes_are_dropped(bench: Bench) -> None:
    bench.put(CONF, 1, 1)
    bench.put(CONF + 2, 1, 4)
    assert bench.get(CONF) == 0


def test_match_at_once_and_only_once(bench: Bench) -> None:
    bench.put(CONF, 1)
    bench.clock.advance(100)
    bench.put(config(0), 16 << 9 | 4)
    bench.put(comparator(0), 10)  # the count it has now
    assert bench.clock.run_due() == 1
    bench.put(config(0), 16 << 9 | 4)
    assert bench.clock.run_due() == 0 and bench.ioapic.rises() == [(100, 16)]


def test_round_trip(bench: Bench) -> None:
    bench.put(config(0), 8 << 9 | 4 | 8 | 0x40)
    bench.put(comparator(0), 1000)
    bench.put(comparator(0), 300)
    bench.put(config(2), 20 << 9 | 4 | 2)
    bench.put(comparator(2), 50)
    bench.put(CONF, 1)
    bench.clock.advance_to(11_234)
    other = Bench()
    other.clock.load(bench.clock.save())
    other.hpet.load(bench.hpet.save())
    assert other.hpet.save() == bench.hpet.save()
    bench.ioapic.log.clear()
    other.ioapic.log.clear()
    for each in (bench, other):
        each.clock.advance_to(17_000)
        each.put(STATUS, 4)
    assert other.ioapic.log == bench.ioapic.log
    assert (13_000, 8) in other.ioapic.rises() and other.ioapic.log[-1] == (17_000, 20, False)
    other.hpet.reset()
    assert other.clock.next_deadline() > 1 << 60 and other.get(config(0), 4) == 0x30


def test_the_page_in_native_code_is_the_one_in_python() -> None:
    """The same accesses to two HPETs, one by its native handlers, tell and do the same."""
    native, plain = Bench(), Bench()
    space = MmioSpace()
    space.map(0, 0x400, native.hpet.read, native.hpet.write, "HPET", sizes=(4, 8), native=native.hpet.page.native)
    numbers = random.Random(5)
    registers = [CONF, STATUS, COUNTER, *(place(n) for place in (config, comparator) for n in range(3)), 0xF4, 0x14C]
    values = [0, 1, 3, 0xFFFF_FFFF, 1 << 63, 100, 0x104, 0x10C, 0x44, 0x4C, 2000]
    for _ in range(1500):
        native.clock.advance(numbers.choice([0, 7, 10, 1000]))
        plain.clock.advance_to(native.clock.now())
        register, size = numbers.choice(registers), numbers.choice([4, 8])
        if register & 7:
            size = 4
        if numbers.random() < 0.4:
            value = numbers.choice(values) & (1 << 8 * size) - 1
            space.write(register, size, value)
            plain.put(register, value, size)
        else:
            assert space.read(register, size) == plain.get(register, size), hex(register)
        assert native.hpet.save() == plain.hpet.save()
    assert native.ioapic.log == plain.ioapic.log and native.isa.log == plain.isa.log
    assert len(native.ioapic.log) > 10
