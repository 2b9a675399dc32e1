"""The MC146818 from ports 70h and 71h."""

from datetime import datetime

import pytest

from x86emu.devices.mc146818 import Mc146818

SECOND = 1_000_000_000


@pytest.fixture
def rtc(irq, clock):
    return Mc146818(irq, clock, date=datetime(2023, 12, 31, 23, 59, 58), cmos={0x5F: 3, 0x34: 0x7F})


def peek(rtc, index):
    rtc.write(0, 1, index)
    return rtc.read(1, 1)


def poke(rtc, index, value):
    rtc.write(0, 1, index)
    rtc.write(1, 1, value)


def calendar(rtc):
    return [peek(rtc, index) for index in (0x32, 9, 8, 7, 6, 4, 2, 0)]


def test_calendar_in_bcd_rolls_over_into_the_new_year(rtc, clock):
    assert calendar(rtc) == [0x20, 0x23, 0x12, 0x31, 1, 0x23, 0x59, 0x58]
    clock.advance(2 * SECOND)
    assert calendar(rtc) == [0x20, 0x24, 0x01, 0x01, 2, 0x00, 0x00, 0x00]
    clock.advance((31 + 28) * 86400 * SECOND)
    assert calendar(rtc)[1:4] == [0x24, 0x02, 0x29]
    clock.advance(86400 * SECOND)
    assert calendar(rtc)[1:4] == [0x24, 0x03, 0x01]
    assert rtc.date() == datetime(2024, 3, 1)


def test_century_follows_the_year(irq, clock):
    rtc = Mc146818(irq, clock, date=datetime(1999, 12, 31, 23, 59, 59))
    clock.advance(SECOND)
    assert calendar(rtc)[:2] == [0x20, 0x00]


def test_binary_and_twelve_hour_formats(irq, clock):
    rtc = Mc146818(irq, clock)
    poke(rtc, 0x0B, 0x80 | 0x04)  # SET, binary, 12 hours
    poke(rtc, 4, 0x80 | 11)
    poke(rtc, 2, 59)
    poke(rtc, 0, 59)
    poke(rtc, 0x0B, 0x04)
    clock.advance(SECOND)
    assert [peek(rtc, index) for index in (4, 2, 0)] == [12, 0, 0]  # 11:59:59 pm -> 12:00:00 am
    clock.advance(13 * 3600 * SECOND)
    assert peek(rtc, 4) == 0x81


def test_set_bit_stops_updates_and_clears_update_interrupt(rtc, clock):
    poke(rtc, 0x0B, 0x12)
    poke(rtc, 0x0B, 0x92)
    assert peek(rtc, 0x0B) == 0x82
    clock.advance(5 * SECOND)
    assert peek(rtc, 0) == 0x58 and not peek(rtc, 0x0A) & 0x80
    poke(rtc, 0x0B, 0x02)
    clock.advance(SECOND)
    assert peek(rtc, 0) == 0x59


def test_update_in_progress_comes_before_the_second_changes(rtc, clock):
    clock.advance(SECOND - 2_228_001)
    assert not peek(rtc, 0x0A) & 0x80
    clock.advance(1)
    assert peek(rtc, 0x0A) == 0xA6 and peek(rtc, 0) == 0x58
    clock.advance(2_228_000)
    assert not peek(rtc, 0x0A) & 0x80 and peek(rtc, 0) == 0x59


def test_update_ended_interrupt_and_flags(rtc, clock, irq, edges):
    poke(rtc, 0x0B, 0x12)
    clock.advance(SECOND)
    assert irq.level
    clock.advance(5 * SECOND)
    assert edges.rises[0] == 1  # the line stays up until register C is read
    assert peek(rtc, 0x0C) & 0x90 == 0x90
    assert not irq.level and peek(rtc, 0x0C) == 0
    clock.advance(SECOND)
    assert irq.level


def test_flags_are_set_without_enables(rtc, clock, irq):
    clock.advance(SECOND)
    assert peek(rtc, 0x0C) == 0x50 and not irq.level
    assert clock.next_deadline() == 2**63 - 1  # nothing enabled: nothing scheduled


RATES = [(1, 3_906_250), (2, 7_812_500), (3, 122_071), (6, 976_563), (15, SECOND // 2)]


@pytest.mark.parametrize("rate, period", RATES)
def test_periodic_rates(rtc, clock, irq, rate, period):
    poke(rtc, 0x0A, 0x20 | rate)
    peek(rtc, 0x0C)
    poke(rtc, 0x0B, 0x42)
    clock.advance(period - 1)
    assert not irq.level
    clock.advance(1)
    assert irq.level and peek(rtc, 0x0C) & 0xC0 == 0xC0


def test_periodic_interrupt_does_not_drift(rtc, clock, irq, edges):
    poke(rtc, 0x0B, 0x42)
    for _ in range(1024):
        clock.advance_to(clock.next_deadline())
        assert peek(rtc, 0x0C) & 0x40
    assert clock.now() == SECOND and edges.rises[0] == 1024


def test_alarm_with_wild_cards(rtc, clock, irq):
    poke(rtc, 5, 0xFF)
    poke(rtc, 3, 0x01)
    poke(rtc, 1, 0x30)
    poke(rtc, 0x0B, 0x22)
    clock.advance((2 + 90) * SECOND - 1)
    assert not irq.level
    clock.advance(1)
    assert irq.level and peek(rtc, 0x0C) & 0xA0 == 0xA0
    clock.advance_to(clock.next_deadline())
    assert irq.level and rtc.date() == datetime(2024, 1, 1, 1, 1, 30)


def test_alarm_never_matches_an_impossible_time(rtc, clock, irq):
    poke(rtc, 5, 0x25)
    poke(rtc, 0x0B, 0x22)
    assert clock.next_deadline() == 2**63 - 1


def test_divider_reset_holds_time_and_first_update_after_half_a_second(rtc, clock):
    poke(rtc, 0x0A, 0x76)
    clock.advance(10 * SECOND)
    assert peek(rtc, 0) == 0x58
    poke(rtc, 0x0A, 0x26)
    clock.advance(SECOND // 2)
    assert peek(rtc, 0) == 0x59


def test_cmos_memory_extended_bank_and_nmi_mask(irq, clock):
    masks = []
    rtc = Mc146818(irq, clock, cmos={0x5F: 3}, nmi_mask=masks.append)
    assert peek(rtc, 0x5F) == 3
    poke(rtc, 0x8F, 0x05)
    assert peek(rtc, 0x0F) == 0x05
    assert masks == [False, True, False]
    rtc.write_extended(0, 1, 0xF0)
    rtc.write_extended(1, 1, 0x77)
    assert rtc.read_extended(1, 1) == 0x77 and peek(rtc, 0x70) == 0
    assert rtc.read(0, 1) == 0xFF
    assert peek(rtc, 0x0D) == 0x80


def test_reset_keeps_time_and_memory(rtc, clock, irq):
    poke(rtc, 0x0B, 0x12)
    poke(rtc, 0x40, 9)
    clock.advance(SECOND)
    rtc.reset()
    assert not irq.level and peek(rtc, 0x0B) == 0x02
    assert peek(rtc, 0x40) == 9 and peek(rtc, 0) == 0x59


def test_state_round_trip(rtc, clock, irq):
    poke(rtc, 0x0B, 0x12)
    clock.advance(SECOND // 4)
    state = rtc.save()
    other_clock = type(clock)()
    other_clock.advance_to(clock.now())
    other = Mc146818(irq, other_clock)
    other.load(state)
    other_clock.advance(SECOND)
    clock.advance(SECOND)
    assert irq.level and calendar(other) == calendar(rtc)
