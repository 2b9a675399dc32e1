"""8254 from the registers' side; figures follow the data sheet's mode descriptions."""

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine
from x86emu.devices.i8254 import I8254, from_bcd, ticks_at, time_of_tick, to_bcd


class Edges:
    """Notes the ticks at which IRQ 0 rises and falls."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.log: list[tuple[int, bool]] = []

    def set_irq(self, number: int, level: bool) -> None:
        assert number == 0
        self.log.append((ticks_at(self.clock.now()), level))

    @property
    def rises(self) -> list[int]:
        return [tick for tick, level in self.log if level]


class Bench:
    def __init__(self) -> None:
        self.clock = Clock()
        self.edges = Edges(self.clock)
        self.pit = I8254(self.clock, IrqLine(self.edges, 0))

    def to(self, tick: int) -> None:
        self.clock.advance_to(time_of_tick(tick))

    def control(self, value: int) -> None:
        self.pit.write(3, 1, value)

    def load(self, counter: int, value: int) -> None:
        self.pit.write(counter, 1, value & 0xFF)
        self.pit.write(counter, 1, value >> 8)

    def count(self, counter: int) -> int:
        self.control(counter << 6)
        return self.pit.read(counter, 1) | self.pit.read(counter, 1) << 8

    def status(self, counter: int) -> int:
        self.control(0xE0 | 2 << counter)
        return self.pit.read(counter, 1)

    def out2(self) -> bool:
        return bool(self.pit.read_port61(0, 1) & 0x20)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_ticks_are_exact() -> None:
    for tick in (0, 1, 2, 18, 65536, 1_193_182, 123_456_789_012):
        assert ticks_at(time_of_tick(tick)) == tick
        assert tick == 0 or ticks_at(time_of_tick(tick) - 1) == tick - 1
    assert time_of_tick(1_193_182) == 1_000_000_000


def test_mode_2_divides_exactly(bench: Bench) -> None:
    bench.control(0x34)
    bench.load(0, 11932)
    bench.clock.advance_to(10_000_000_000)
    # The output is high after the control word; the first period begins on the pulse after the count.
    assert bench.edges.rises == [0] + list(range(1 + 11932, ticks_at(10_000_000_000) + 1, 11932))


def test_mode_2_count_and_reload(bench: Bench) -> None:
    bench.control(0x34)
    bench.load(0, 100)
    bench.to(1)
    assert bench.count(0) == 100
    bench.to(100)
    assert bench.count(0) == 1 and not bench.status(0) & 0x80  # low while the count is 1
    bench.to(101)
    assert bench.count(0) == 100 and bench.status(0) == 0xB4
    bench.to(151)
    bench.load(0, 10)  # waits for the end of the period
    assert bench.status(0) & 0x40
    bench.to(200)
    assert bench.count(0) == 1
    bench.to(201)
    assert bench.count(0) == 10 and not bench.status(0) & 0x40
    bench.to(221)
    assert bench.edges.rises == [0, 101, 201, 211, 221]


@pytest.mark.parametrize(("count", "high"), [(10, 5), (11, 6), (2, 1)])
def test_mode_3_square_wave(bench: Bench, count: int, high: int) -> None:
    bench.control(0x36)
    bench.load(0, count)
    bench.to(1 + 3 * count)
    falls = [tick for tick, level in bench.edges.log if not level]
    assert bench.edges.rises == [0, 1 + count, 1 + 2 * count, 1 + 3 * count]
    assert falls == [1 + high, 1 + high + count, 1 + high + 2 * count]


def test_mode_3_counts_by_two(bench: Bench) -> None:
    bench.control(0xB6)
    bench.pit.write_port61(0, 1, 1)
    bench.load(2, 7)
    seen = []
    for tick in range(1, 9):
        bench.to(tick)
        seen.append((bench.count(2), bench.out2()))
    assert seen == [
        (6, True), (4, True), (2, True), (0, True), (6, False), (4, False), (2, False), (6, True)
    ]  # fmt: skip


def test_mode_3_new_count_waits_for_the_half_period(bench: Bench) -> None:
    bench.control(0x36)
    bench.load(0, 20)
    bench.to(6)
    bench.load(0, 8)
    bench.to(30)
    assert bench.edges.log == [(0, True), (11, False), (15, True), (19, False), (23, True), (27, False)]


def test_mode_0_interrupts_once(bench: Bench) -> None:
    bench.control(0x30)
    assert not bench.status(0) & 0x80 and bench.status(0) & 0x40
    bench.load(0, 50)
    bench.to(50)
    assert bench.count(0) == 1 and not bench.edges.log
    bench.to(51)
    assert bench.edges.log == [(51, True)]
    bench.to(61)
    assert bench.count(0) == 0x10000 - 10  # goes on counting
    bench.pit.write(0, 1, 20)  # the first byte alone stops it and lowers the output
    assert bench.edges.log == [(51, True), (61, False)]
    bench.to(200)
    assert bench.count(0) == 0x10000 - 10
    bench.pit.write(0, 1, 0)
    bench.to(221)
    assert bench.edges.log[-1] == (221, True)


def test_mode_4_strobes_once(bench: Bench) -> None:
    bench.control(0x38)
    bench.load(0, 30)
    bench.to(31)
    assert not bench.status(0) & 0x80
    bench.to(1000)
    assert bench.status(0) & 0x80
    assert bench.edges.rises == [0, 32]


def test_gate_of_counter_2(bench: Bench) -> None:
    bench.control(0xB0)  # mode 0
    bench.load(2, 100)
    bench.to(50)
    assert bench.count(2) == 100 and not bench.out2()  # the gate is low
    bench.pit.write_port61(0, 1, 1)
    bench.to(90)
    assert bench.count(2) == 60
    bench.pit.write_port61(0, 1, 0)
    bench.to(500)
    assert bench.count(2) == 60
    bench.pit.write_port61(0, 1, 1)
    bench.to(559)
    assert not bench.out2()
    bench.to(560)
    assert bench.out2()


def test_gate_retriggers_modes_1_and_5(bench: Bench) -> None:
    bench.control(0xB2)
    bench.load(2, 10)
    assert bench.out2() and bench.status(2) & 0x40
    bench.pit.write_port61(0, 1, 1)
    bench.to(5)
    assert not bench.out2() and bench.count(2) == 6
    bench.pit.write_port61(0, 1, 0)
    bench.pit.write_port61(0, 1, 1)  # retriggered: ten ticks from here
    bench.to(15)
    assert not bench.out2()
    bench.to(16)
    assert bench.out2()
    bench.pit.write_port61(0, 1, 0)
    bench.control(0xBA)
    bench.load(2, 4)
    bench.pit.write_port61(0, 1, 1)
    bench.to(21)
    assert not bench.out2()
    bench.to(22)
    assert bench.out2()


def test_gate_stops_modes_2_and_3_with_the_output_high(bench: Bench) -> None:
    bench.pit.write_port61(0, 1, 3)
    bench.control(0xB6)
    bench.load(2, 1000)
    bench.to(700)
    assert not bench.out2() and bench.pit.speaker_frequency == pytest.approx(1193.182)
    bench.pit.write_port61(0, 1, 0)
    assert bench.out2() and bench.pit.speaker_frequency is None
    bench.to(5000)
    bench.pit.write_port61(0, 1, 3)
    bench.to(5001)
    assert bench.count(2) == 1000 and bench.out2()


def test_single_byte_access(bench: Bench) -> None:
    bench.control(0x14)  # LSB only
    bench.pit.write(0, 1, 200)
    bench.to(11)
    assert bench.pit.read(0, 1) == 190
    bench.control(0x60)  # counter 1, MSB only
    bench.pit.write(1, 1, 0x12)
    bench.to(12)
    assert bench.pit.read(1, 1) == 0x12
    bench.to(13)
    assert bench.pit.read(1, 1) == 0x11
    assert bench.pit.read(3, 1) == 0xFF


def test_latch_holds_until_read(bench: Bench) -> None:
    bench.control(0x34)
    bench.load(0, 0)
    bench.to(0x101)
    bench.control(0x00)
    bench.to(0x201)
    bench.control(0x00)  # a second latch before the read is ignored
    assert bench.pit.read(0, 1) | bench.pit.read(0, 1) << 8 == 0xFF00
    assert bench.pit.read(0, 1) | bench.pit.read(0, 1) << 8 == 0xFE00


def test_read_back_of_status_and_count(bench: Bench) -> None:
    bench.control(0x74)
    bench.load(1, 0x1234)
    bench.to(1)
    bench.control(0xC4)
    assert [bench.pit.read(1, 1) for _ in range(3)] == [0xB4, 0x34, 0x12]
    bench.control(0x56)  # mode 7 means 3; the status gives the bits as written
    assert bench.status(1) & 0x3F == 0x16
    bench.control(0x5E)
    assert bench.status(1) & 0x0E == 0x0E


def test_bcd(bench: Bench) -> None:
    assert from_bcd(0x9876) == 9876 and to_bcd(9876) == 0x9876
    bench.control(0x31)
    bench.load(0, 0x1000)
    bench.to(2)
    assert bench.count(0) == 0x0999
    bench.control(0x31)
    bench.load(0, 0)
    bench.to(4)
    assert bench.count(0) == 0x9999


def test_count_of_one_makes_no_storm(bench: Bench) -> None:
    for control in (0x34, 0x36):
        bench.control(control)
        bench.load(0, 1)
        assert bench.clock.next_deadline() > 1 << 60
        assert bench.status(0) & 0x80


def test_port_61_refresh_bit_toggles_every_18_ticks(bench: Bench) -> None:
    levels = []
    for tick in range(0, 72, 9):
        bench.to(tick)
        levels.append(bench.pit.read_port61(0, 1) >> 4 & 1)
    assert levels == [0, 0, 1, 1, 0, 0, 1, 1]
    bench.pit.write_port61(0, 1, 0xFC)
    assert bench.pit.read_port61(0, 1) & 0xCF == 0x0C


def test_round_trip(bench: Bench) -> None:
    bench.control(0x34)
    bench.load(0, 1000)
    bench.control(0xB6)
    bench.load(2, 77)
    bench.pit.write_port61(0, 1, 3)
    bench.to(500)
    bench.pit.write(0, 1, 0x20)  # half a count
    other = Bench()
    other.clock.load(bench.clock.save())
    other.pit.load(bench.pit.save())
    for each in (bench, other):
        each.pit.write(0, 1, 0)
        each.edges.log.clear()
        each.to(1100)
    assert other.edges.log == bench.edges.log
    assert other.edges.rises[:2] == [1001, 1033]
    assert other.pit.save() == bench.pit.save()
    other.pit.reset()
    assert other.clock.next_deadline() > 1 << 60


def test_a_read_right_after_the_count_sees_it_loaded(bench: Bench) -> None:
    """On the ISA bus a read takes about a tick, and systems that calibrate with counter 2 rely on it."""
    bench.pit.write_port61(0, 1, 1)
    bench.control(0xB0)
    bench.load(2, 0xFFFF)
    assert bench.pit.read(2, 1) | bench.pit.read(2, 1) << 8 == 0xFFFF
    assert bench.status(2) & 0x40  # the status, which is latched without a wait, still says "null count"
    bench.to(3)
    assert bench.pit.read(2, 1) | bench.pit.read(2, 1) << 8 == 0xFFFD
