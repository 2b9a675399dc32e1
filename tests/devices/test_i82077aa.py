"""The floppy controller without a drive, as a BIOS probes it."""

import pytest

from x86emu.devices.i82077aa import I82077AA


@pytest.fixture
def fdc(irq, clock):
    fdc = I82077AA(irq, clock)
    fdc.write(2, 1, 0x0C)
    clock.advance(1_000_000)
    return fdc


def command(fdc, *values):
    for value in values:
        assert fdc.read(4, 1) & 0xC0 == 0x80
        fdc.write(5, 1, value)


def results(fdc):
    got = []
    while fdc.read(4, 1) & 0xC0 == 0xC0:
        got.append(fdc.read(5, 1))
    return got


def test_held_in_reset_until_dor_lets_go(irq, clock):
    fdc = I82077AA(irq, clock)
    assert fdc.read(4, 1) == 0
    fdc.write(2, 1, 0x0C)
    assert fdc.read(4, 1) == 0x80 and fdc.read(2, 1) == 0x0C
    clock.advance(100_000)
    assert irq.level


def test_reset_reports_four_drives(fdc, irq):
    for drive in range(4):
        command(fdc, 0x08)
        assert results(fdc) == [0xC0 | drive, 0]
        assert not irq.level
    command(fdc, 0x08)
    assert results(fdc) == [0x80]


def test_recalibrate_finds_no_track_0(fdc, clock, irq):
    for _ in range(4):
        command(fdc, 0x08)
        results(fdc)
    command(fdc, 0x07, 0x01)
    assert fdc.read(4, 1) == 0x82 and not irq.level
    clock.advance(240_000_000)
    assert irq.level
    command(fdc, 0x08)
    assert results(fdc) == [0x71, 0]


def test_seek_and_sense_drive(fdc, clock, irq):
    command(fdc, 0x0F, 0x00, 10)
    clock.advance(30_000_000)
    command(fdc, 0x08)
    assert results(fdc) == [0x20, 10]
    command(fdc, 0x04, 0x04)
    assert results(fdc) == [0x2C]


def test_read_ends_not_ready(fdc, irq):
    command(fdc, 0xE6, 0x00, 0, 0, 1, 2, 18, 0x1B, 0xFF)
    assert irq.level and fdc.read(4, 1) == 0xD0
    assert results(fdc) == [0x48, 0, 0, 0, 0, 1, 2]
    assert not irq.level
    command(fdc, 0x4A, 0x01)
    assert results(fdc)[0] == 0x49


def test_version_configure_lock_dumpreg_and_invalid(fdc):
    command(fdc, 0x10)
    assert results(fdc) == [0x90]
    command(fdc, 0x03, 0xAF, 0x02)
    command(fdc, 0x13, 0x00, 0x57, 0x00)
    command(fdc, 0x94)
    assert results(fdc) == [0x10]
    command(fdc, 0x0E)
    assert results(fdc) == [0, 0, 0, 0, 0xAF, 0x02, 0, 0x80, 0x57, 0]
    fdc.write(4, 1, 0x80)  # software reset keeps what is locked
    command(fdc, 0x0E)
    assert results(fdc)[8:] == [0x57, 0]
    command(fdc, 0x1F)
    assert results(fdc) == [0x80]


def test_no_interrupt_without_the_gate_and_dir_floats(irq, clock):
    fdc = I82077AA(irq, clock)
    fdc.write(2, 1, 0x04)
    clock.advance(1_000_000)
    assert not irq.level and fdc.read_dir(0, 1) == 0x7F
    assert fdc.read(0, 1) == fdc.read(1, 1) == 0xFF


def test_state_in_the_middle_of_a_seek(fdc, clock, irq):
    command(fdc, 0x0F, 0x00, 10)
    clock.advance(10_000_000)
    state = fdc.save()
    other = I82077AA(irq, clock)
    other.load(state)
    clock.advance(20_000_000)
    command(other, 0x08)
    assert results(other) == [0x20, 10]
