"""Keys as terminals send them, and the keys of a PC keyboard."""

from __future__ import annotations

import pytest

from x86emu.devices.ps2_keyboard import KEYS, SPECIAL_KEYS, keystroke_of
from x86emu.display.terminal_keys import CONTROLS, CURSOR_KEYS, NUMBERED_KEYS, TerminalKeys
from x86emu.display.web.keys import KEY_OF_CODE


@pytest.mark.parametrize(
    ("sent", "chord"),
    [
        (b"a", "a"), (b"A", "shift_left a"), (b"?", "shift_left /"), (b"\r", "enter"), (b"\x7f", "backspace"),
        (b"\t", "tab"), (b"\x03", "ctrl_left c"), (b"\n", "ctrl_left j"), (b"\x00", "ctrl_left space"),
        (b"\x1b[A", "up"), (b"\x1bOB", "down"), (b"\x1b[5~", "page_up"), (b"\x1b[3~", "delete"), (b"\x1bOP", "f1"),
        (b"\x1b[[E", "f5"), (b"\x1b[15~", "f5"), (b"\x1b[24~", "f12"), (b"\x1b[1;5C", "ctrl_left right"),
        (b"\x1b[3;7~", "alt_left ctrl_left delete"), (b"\x1b[1;2P", "shift_left f1"), (b"\x1b[Z", "shift_left tab"),
        (b"\x1bx", "alt_left x"), (b"\x1bX", "alt_left shift_left x"), (b"\x1b\x03", "alt_left ctrl_left c"),
    ],
)  # fmt: skip
def test_keys(sent: bytes, chord: str) -> None:
    assert TerminalKeys().feed(sent) == [tuple(chord.split())]
    piecemeal = TerminalKeys()
    assert [key for byte in sent for key in piecemeal.feed(bytes((byte,)))] == [tuple(chord.split())]


def test_a_lone_escape_is_known_when_nothing_follows() -> None:
    keys = TerminalKeys()
    assert keys.feed(b"\x1b") == [] and keys.flush() == [("escape",)] and keys.flush() == []
    assert keys.feed(b"\x1b[") == [] and keys.flush() == [("alt_left", "[")]


def test_text_beyond_ascii_and_unknown_sequences_are_left_out() -> None:
    keys = TerminalKeys()
    assert keys.feed("é\x1b[99~\x1b[?1cb".encode()) [-1:] == [("b",)]
    assert keys.feed("äöü".encode()) == []


def test_every_ascii_character_as_the_keyboard_has_it() -> None:
    for code in range(32, 127):
        assert TerminalKeys().feed(bytes((code,))) == [keystroke_of(chr(code))]


def test_names_are_keys_of_the_keyboard() -> None:
    names = {*CURSOR_KEYS.values(), *NUMBERED_KEYS.values(), *(key for chord in CONTROLS.values() for key in chord)}
    names |= set(KEY_OF_CODE.values())
    assert names - set(KEYS) - set(SPECIAL_KEYS) == set()
    assert len(set(KEY_OF_CODE.values())) == len(KEY_OF_CODE)
