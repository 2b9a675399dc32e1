"""The 8042 with keyboard and mouse, from ports 60h and 64h."""

import pytest

from x86emu.bus.irq import IrqLine
from x86emu.devices.i8042 import I8042
from x86emu.devices.ps2_keyboard import KEYS
from x86emu.errors import UserInputError

MILLISECOND = 1_000_000


@pytest.fixture
def calls():
    return []


@pytest.fixture
def kbc(clock, edges, calls):
    kbc = I8042(
        IrqLine(edges, 1),
        IrqLine(edges, 12),
        clock,
        a20=lambda on: calls.append(("a20", on)),
        reset_pulse=lambda: calls.append("reset"),
    )
    command(kbc, 0x60, 0x43)  # both devices on, interrupts, translation
    drain(kbc, clock)
    calls.clear()
    edges.rises.clear()
    return kbc


def command(kbc, value, *parameter):
    kbc.write_command(0, 1, value)
    for byte in parameter:
        kbc.write_data(0, 1, byte)


def drain(kbc, clock, timeout_ms=200):
    """What arrives at port 60h, with True for bytes of the mouse."""
    got = []
    end = clock.now() + timeout_ms * MILLISECOND
    while clock.now() < end:
        status = kbc.read_status(0, 1)
        if status & 1:
            got.append((kbc.read_data(0, 1), bool(status & 0x20)))
        else:
            clock.advance_to(min(end, clock.next_deadline()))
    return got


def keyboard_bytes(kbc, clock):
    return bytes(value for value, auxiliary in drain(kbc, clock) if not auxiliary)


def mouse_bytes(kbc, clock):
    return bytes(value for value, auxiliary in drain(kbc, clock) if auxiliary)


def to_keyboard(kbc, clock, *values):
    got = b""
    for value in values:
        kbc.write_data(0, 1, value)
        got += keyboard_bytes(kbc, clock)
    return got


def to_mouse(kbc, clock, *values):
    got = b""
    for value in values:
        command(kbc, 0xD4, value)
        got += mouse_bytes(kbc, clock)
    return got


def test_self_test_and_interface_tests(kbc):
    for value, answer in ((0xAA, 0x55), (0xAB, 0x00), (0xA9, 0x00), (0xA4, 0xF1), (0xC0, 0xA0)):
        command(kbc, value)
        assert kbc.read_status(0, 1) & 1 and kbc.read_data(0, 1) == answer
    assert kbc.read_status(0, 1) & 0x0C == 0x0C  # system flag, last write was a command


def test_command_byte_and_enables(kbc):
    command(kbc, 0x60, 0x47)
    command(kbc, 0xAD)
    command(kbc, 0xA7)
    command(kbc, 0x20)
    assert kbc.read_data(0, 1) == 0x77
    command(kbc, 0xAE)
    command(kbc, 0xA8)
    command(kbc, 0x20)
    assert kbc.read_data(0, 1) == 0x47
    command(kbc, 0x65, 0x99)
    command(kbc, 0x25)
    assert kbc.read_data(0, 1) == 0x99


def test_output_port_a20_and_reset(kbc, calls):
    command(kbc, 0xD0)
    assert kbc.read_data(0, 1) & 0x03 == 0x03
    command(kbc, 0xD1, 0xDD)
    command(kbc, 0xDF)
    command(kbc, 0xDD)
    command(kbc, 0xFF)
    assert calls == [("a20", False), ("a20", True), ("a20", False)]
    command(kbc, 0xFE)
    command(kbc, 0xD1, 0xDE)
    assert calls[3:] == ["reset", ("a20", True), "reset"]


def test_loop_through_output_buffers_raises_the_right_interrupt(kbc, edges):
    command(kbc, 0xD2, 0x5A)
    assert kbc.read_status(0, 1) & 0x21 == 0x01 and edges.rises == {1: 1}
    assert kbc.read_data(0, 1) == 0x5A and edges.levels[1] is False
    command(kbc, 0xD3, 0xA5)
    assert kbc.read_status(0, 1) & 0x21 == 0x21 and edges.rises == {1: 1, 12: 1}
    assert kbc.read_data(0, 1) == 0xA5


def test_keyboard_commands(kbc, clock):
    assert to_keyboard(kbc, clock, 0xFF) == b"\xfa\xaa"
    assert to_keyboard(kbc, clock, 0xF2) == b"\xfa\xab\x41"  # AB 83 translated
    assert to_keyboard(kbc, clock, 0xEE) == b"\xee"
    assert to_keyboard(kbc, clock, 0xED, 0x05) == b"\xfa\xfa" and kbc.keyboard.leds == 5
    assert to_keyboard(kbc, clock, 0xF3, 0x20) == b"\xfa\xfa"
    assert to_keyboard(kbc, clock, 0xF0, 0x00) == b"\xfa\xfa\x41"  # set 2, translated
    assert to_keyboard(kbc, clock, 0xE5) == b"\xfe"
    assert to_keyboard(kbc, clock, 0xF5, 0xF4) == b"\xfa\xfa"
    assert to_keyboard(kbc, clock, 0xFE) == b"\xfa"


@pytest.mark.parametrize(
    "key, set_1, set_2, set_3",
    [
        ("a", "1e9e", "1cf01c", "1cf01c"),
        ("f7", "41c1", "83f083", "37"),
        ("right", "e04de0cd", "e074e0f074", "6af06a"),
        ("ctrl_right", "e01de09d", "e014e0f014", "58"),
        ("shift_left", "2aaa", "12f012", "12f012"),
        ("print_screen", "e02ae037e0b7e0aa", "e012e07ce0f07ce0f012", "57"),
        ("pause", "e11d45e19dc5", "e11477e1f014f077", "62"),
    ],
)
def test_scan_code_sets(kbc, clock, key, set_1, set_2, set_3):
    kbc.send_key(key)
    assert keyboard_bytes(kbc, clock).hex() == set_1
    command(kbc, 0x60, 0x03)  # no translation: the keyboard's own codes
    kbc.send_key(key)
    assert keyboard_bytes(kbc, clock).hex() == set_2
    assert to_keyboard(kbc, clock, 0xF0, 1) == b"\xfa\xfa"
    kbc.send_key(key)
    assert keyboard_bytes(kbc, clock).hex() == set_1
    assert to_keyboard(kbc, clock, 0xF0, 3) == b"\xfa\xfa"
    kbc.send_key(key)
    if key == "ctrl_right":
        set_3 = "58f058"
    assert keyboard_bytes(kbc, clock).hex() == set_3
    assert to_keyboard(kbc, clock, 0xF0, 0) == b"\xfa\xfa\x03"


def test_key_codes_are_distinct():
    assert len({(code, extended) for code, extended, _ in KEYS.values()}) == len(KEYS)
    assert len({code for _, _, code in KEYS.values()}) == len(KEYS)


def test_handler_may_read_the_same_code_twice(kbc, clock):
    kbc.send_key("a")
    clock.advance(MILLISECOND)
    assert kbc.read_data(0, 1) == 0x1E
    assert kbc.read_data(0, 1) == 0x1E
    clock.advance(MILLISECOND)
    assert kbc.read_data(0, 1) == 0x9E


def test_typing_waits_for_the_guest_and_shifts(kbc, clock):
    to_keyboard(kbc, clock, 0xF5)
    kbc.type_text("A!\x03\n")
    clock.advance(1000 * MILLISECOND)
    assert keyboard_bytes(kbc, clock) == b""
    assert to_keyboard(kbc, clock, 0xF4).hex() == "fa" + "2a1e9eaa" + "2a0282aa" + "1d2eae9d" + "1c9c"
    with pytest.raises(UserInputError, match="no key of a US keyboard"):
        kbc.type_text("é")
    with pytest.raises(UserInputError, match="no key named"):
        kbc.send_key("hyper")


def test_typematic_repeats_the_last_key_held(kbc, clock):
    kbc.keyboard.press("a")
    clock.advance(499 * MILLISECOND)
    assert kbc.read_data(0, 1) == 0x1E and not kbc.read_status(0, 1) & 1
    clock.advance(2 * MILLISECOND)
    assert kbc.read_data(0, 1) == 0x1E and kbc.read_status(0, 1) & 1 == 0
    clock.advance(92 * MILLISECOND)  # (8 + 3) * 2 * 4.17 ms
    assert kbc.read_status(0, 1) & 1 and kbc.read_data(0, 1) == 0x1E
    kbc.keyboard.release("a")
    assert keyboard_bytes(kbc, clock) == b"\x9e"


def test_buffer_overrun_is_one_code(kbc, clock):
    to_keyboard(kbc, clock, 0xF8)
    for _ in range(10):
        kbc.keyboard.press("a")
        kbc.keyboard.release("a")
    got = keyboard_bytes(kbc, clock)
    assert got == bytes.fromhex("1e9e" * 5 + "1eff")  # 16 bytes of set 2, then one for lost keys


def test_keyboard_disabled_holds_codes_back(kbc, clock):
    command(kbc, 0xAD)
    kbc.send_key("b")
    assert keyboard_bytes(kbc, clock) == b""
    command(kbc, 0xAE)
    assert keyboard_bytes(kbc, clock) == b"\x30\xb0"


def test_mouse_identify_and_wheel(kbc, clock, edges):
    assert to_mouse(kbc, clock, 0xFF) == b"\xfa\xaa\x00"
    assert edges.rises[12] == 3
    assert to_mouse(kbc, clock, 0xF2) == b"\xfa\x00"
    assert to_mouse(kbc, clock, 0xF3, 200, 0xF3, 100, 0xF3, 80) == b"\xfa" * 6
    assert to_mouse(kbc, clock, 0xF2) == b"\xfa\x03"
    assert to_mouse(kbc, clock, 0xE8, 3, 0xE7, 0xE9) == b"\xfa\xfa\xfa" + b"\xfa\x10\x03\x50"
    assert to_mouse(kbc, clock, 0xF4) == b"\xfa"
    kbc.mouse.move(300, -5, 1)
    assert mouse_bytes(kbc, clock) == bytes((0x28, 255, 0xFB, 1, 0x08, 45, 0, 0))
    kbc.mouse.set_buttons(5)
    assert mouse_bytes(kbc, clock) == bytes((0x0D, 0, 0, 0))


def test_mouse_remote_and_wrap_modes(kbc, clock):
    assert to_mouse(kbc, clock, 0xF0, 0xF4) == b"\xfa\xfa"
    kbc.mouse.move(1, 2)
    assert mouse_bytes(kbc, clock) == b""
    assert to_mouse(kbc, clock, 0xEB) == b"\xfa\x08\x01\x02"
    assert to_mouse(kbc, clock, 0xEE, 0x12, 0xF4) == b"\xfa\x12\xf4"
    assert to_mouse(kbc, clock, 0xEC, 0xE1) == b"\xfa\xfe"


def test_state_round_trip_with_a_byte_on_the_wire(kbc, clock):
    kbc.send_key("c")
    clock.advance(100)
    state = kbc.save()
    other_clock = type(clock)()
    other_clock.advance_to(clock.now())
    other = I8042(IrqLine(None, 1), IrqLine(None, 12), other_clock)
    other.load(state)
    assert keyboard_bytes(other, other_clock) == keyboard_bytes(kbc, clock) == b"\x2e\xae"
