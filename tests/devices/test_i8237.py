"""The 8237A pair from its ports and from a device's side."""

import pytest

from x86emu.devices.i8237 import I8237Pair


@pytest.fixture
def pair(memory):
    pair = I8237Pair(memory)
    pair.write_second(0x14, 1, 0x00)  # unmask the cascade
    return pair


def program(pair, channel, address, count, mode):
    pair.write_first(0x0C, 1, 0)
    for register, value in ((channel * 2, address), (channel * 2 + 1, count)):
        pair.write_first(register, 1, value & 0xFF)
        pair.write_first(register, 1, value >> 8)
    pair.write_first(0x0B, 1, mode | channel)
    pair.write_first(0x0A, 1, channel)


def test_address_and_count_by_the_flip_flop(pair):
    program(pair, 2, 0x1234, 0x01FF, 0x44)
    pair.write_first(0x0C, 1, 0)
    assert [pair.read_first(4, 1), pair.read_first(4, 1)] == [0x34, 0x12]
    assert [pair.read_first(5, 1), pair.read_first(5, 1)] == [0xFF, 0x01]


def test_device_to_memory_ends_at_terminal_count(pair, memory):
    program(pair, 2, 0x8000, 511, 0x44)
    pair.write_page(1, 1, 0x02)
    assert pair.give(2, b"\xaa" * 300) == (300, False)
    assert pair.give(2, b"\xbb" * 300) == (212, True)
    assert memory.read(0x28000, 513) == b"\xaa" * 300 + b"\xbb" * 212 + b"\0"
    assert pair.read_first(8, 1) == 0x04 and pair.read_first(8, 1) == 0
    assert not pair.ready(2) and pair.give(2, b"x") == (0, False)  # masked itself


def test_memory_to_device_with_auto_initialize_and_page_wrap(pair, memory):
    memory.write(0x1FFFE, b"ab")
    memory.write(0x10000, b"cd")
    program(pair, 1, 0xFFFE, 3, 0x58)
    pair.write_page(3, 1, 0x01)
    assert pair.take(1, 4) == (b"abcd", True)
    assert pair.ready(1) and pair.take(1, 2) == (b"ab", False)


def test_decrement_and_word_channels(pair, memory):
    program(pair, 3, 0x0010, 2, 0x64)
    assert pair.give(3, b"xyz") == (3, True)
    assert memory.read(0x0E, 3) == b"zyx"
    for port, value in ((0x18, 0), (0xC4 - 0xC0, 0x00), (0xC4 - 0xC0, 0x80), (0xC6 - 0xC0, 1), (0xC6 - 0xC0, 0)):
        pair.write_second(port, 1, value)
    pair.write_second(0x16, 1, 0x45)
    pair.write_second(0x14, 1, 0x01)
    pair.write_page(0x0B, 1, 0x02)
    assert pair.give(5, b"1234") == (4, True)
    assert memory.read(0x30000, 4) == b"1234"  # word address 8000h in a 128 KiB page


def test_masks_and_master_clear(pair):
    pair.write_first(0x0E, 1, 0)
    assert pair.read_first(0x0F, 1) == 0xF0
    pair.write_first(0x0F, 1, 0x05)
    assert pair.read_first(0x0F, 1) == 0xF5
    pair.write_first(0x0D, 1, 0)
    assert pair.read_first(0x0F, 1) == 0xFF
    pair.write_page(0, 1, 0x5A)
    assert pair.post_code == 0x5A
    other = I8237Pair()
    other.load(pair.save())
    assert other.post_code == 0x5A
