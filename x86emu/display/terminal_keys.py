"""From what a terminal sends for its keys (ECMA-48 control functions as xterm, the Linux console and their kin use
them) to the keys of a PC keyboard.

Not to be told apart: Ctrl-I and Tab, Ctrl-M and Return, Ctrl-H and Backspace, Ctrl-[ and Escape.
"""

from __future__ import annotations

import re

Chord = tuple[str, ...]

ESCAPE = 0x1B
CURSOR_KEYS = {"A": "up", "B": "down", "C": "right", "D": "left", "E": "keypad_5", "F": "end", "H": "home",
               "P": "f1", "Q": "f2", "R": "f3", "S": "f4"}  # fmt: skip
NUMBERED_KEYS = {1: "home", 2: "insert", 3: "delete", 4: "end", 5: "page_up", 6: "page_down", 7: "home", 8: "end",
                 11: "f1", 12: "f2", 13: "f3", 14: "f4", 15: "f5", 17: "f6", 18: "f7", 19: "f8", 20: "f9", 21: "f10",
                 23: "f11", 24: "f12", 29: "menu"}  # fmt: skip
SHIFTED = dict(zip("~!@#$%^&*()_+{}|:\"<>?", "`1234567890-=[]\\;',./", strict=True))
CONTROLS: dict[int, Chord] = {
    0x00: ("ctrl_left", "space"), 0x08: ("backspace",), 0x09: ("tab",), 0x0D: ("enter",), 0x1C: ("ctrl_left", "\\"),
    0x1D: ("ctrl_left", "]"), 0x1E: ("ctrl_left", "shift_left", "6"), 0x1F: ("ctrl_left", "shift_left", "-"),
    0x7F: ("backspace",), 0x20: ("space",), ESCAPE: ("escape",),
}  # fmt: skip
SEQUENCE = re.compile(rb"\x1b(?:O([A-Z])|\[\[([A-E])|\[([0-9;]*)([@-Z\x5c-~]))")
UNFINISHED = re.compile(rb"\x1b(?:O|\[\[?[0-9;]*)?$")


def _character(byte: int) -> Chord:
    if byte in CONTROLS:
        return CONTROLS[byte]
    if byte < 0x20:
        return ("ctrl_left", chr(byte + 0x60))
    character = chr(byte)
    if character in SHIFTED:
        return ("shift_left", SHIFTED[character])
    if character.isupper():
        return ("shift_left", character.lower())
    return (character,)


def _modified(key: str, modifier: int) -> Chord:
    """xterm's modifier parameter is one more than shift 1, alt 2, control 4."""
    bits = max(modifier - 1, 0)
    names = ("shift_left", "alt_left", "ctrl_left")
    return (*(name for bit, name in enumerate(names) if bits >> bit & 1), key)


def _sequence(match: re.Match[bytes]) -> Chord | None:
    if match[1] is not None:
        key = CURSOR_KEYS.get(match[1].decode())
        return None if key is None else (key,)
    if match[2] is not None:
        return (f"f{match[2][0] - ord('A') + 1}",)
    numbers = [int(text) if text else 1 for text in match[3].decode().split(";")]
    modifier = numbers[1] if len(numbers) > 1 else 1
    final = match[4].decode()
    if final == "Z":
        return ("shift_left", "tab")
    found = NUMBERED_KEYS.get(numbers[0]) if final == "~" else CURSOR_KEYS.get(final)
    return None if found is None else _modified(found, modifier)


class TerminalKeys:
    """Turns bytes into chords.  A lone Escape is one only when nothing follows: `flush` says that nothing did."""

    def __init__(self) -> None:
        self._pending = b""

    def feed(self, data: bytes) -> list[Chord]:
        """The chords that `data` completes; what no key of a PC sends (text beyond ASCII) is left out."""
        data, self._pending = self._pending + data, b""
        chords: list[Chord] = []
        at = 0
        while at < len(data):
            byte = data[at]
            if byte != ESCAPE:
                if byte < 0x80:
                    chords.append(_character(byte))
                at += 1
                continue
            match = SEQUENCE.match(data, at)
            if match is not None:
                chord = _sequence(match)
                if chord is not None:
                    chords.append(chord)
                at = match.end()
            elif UNFINISHED.match(data, at):
                self._pending = data[at:]
                break
            else:  # Alt with a character
                if data[at + 1] < 0x80:
                    chords.append(("alt_left", *_character(data[at + 1])))
                at += 2
        return chords

    def flush(self) -> list[Chord]:
        """What is left of an unfinished sequence, as the keys that it began with."""
        data, self._pending = self._pending, b""
        if not data:
            return []
        if len(data) == 1:
            return [("escape",)]
        return [("alt_left", *_character(data[1])), *(_character(byte) for byte in data[2:])]
