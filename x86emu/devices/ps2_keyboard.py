"""PS/2 keyboard (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device": Keyboard).

The keyboard behind the 8042's first port: commands, scan code sets 1, 2 and 3, typematic, LEDs.  Keys have names in
lower case ("a", "enter", "shift_right", "keypad_5").  The sixteen-byte output buffer overruns with the code for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from x86emu.bus.device import Device
from x86emu.errors import UserInputError

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event

# What the 8042 makes of a byte of set 2 when bit 6 of its command byte asks for it; from 80h on the identity but for
# 83h and 84h (same book, "Keyboard Scan Codes").  F0h is not translated: it sets bit 7 of the code that follows.
SET_2_TO_SET_1 = (
    bytes.fromhex(
        "ff43413f3d3b3c58 64444240 3e0f2959 65382a70 1d10025a 66712c1f 1e11035b"
        "672e2d20 1205045c 68392f21 1413065d 69313023 2215075e 6a723224 1608095f"
        "6b332517 180b0a60 6c343526 2719 0c61 6d732874 1a0d626e 3a361c1b 752b6376"
        "55567778 797a0e7b 7c4f7d4b 477e7f6f 5253504c 4d480145 574e514a 37494654"
    )
    + bytes((0x80, 0x81, 0x82, 0x41, 0x54))
    + bytes(range(0x85, 0x100))
)

# Key: (set 2 make code, E0h prefix in sets 1 and 2, set 3 make code).
KEYS: dict[str, tuple[int, bool, int]] = {
    "escape": (0x76, False, 0x08), "f1": (0x05, False, 0x07), "f2": (0x06, False, 0x0F), "f3": (0x04, False, 0x17),
    "f4": (0x0C, False, 0x1F), "f5": (0x03, False, 0x27), "f6": (0x0B, False, 0x2F), "f7": (0x83, False, 0x37),
    "f8": (0x0A, False, 0x3F), "f9": (0x01, False, 0x47), "f10": (0x09, False, 0x4F), "f11": (0x78, False, 0x56),
    "f12": (0x07, False, 0x5E), "`": (0x0E, False, 0x0E), "1": (0x16, False, 0x16), "2": (0x1E, False, 0x1E),
    "3": (0x26, False, 0x26), "4": (0x25, False, 0x25), "5": (0x2E, False, 0x2E), "6": (0x36, False, 0x36),
    "7": (0x3D, False, 0x3D), "8": (0x3E, False, 0x3E), "9": (0x46, False, 0x46), "0": (0x45, False, 0x45),
    "-": (0x4E, False, 0x4E), "=": (0x55, False, 0x55), "backspace": (0x66, False, 0x66), "tab": (0x0D, False, 0x0D),
    "q": (0x15, False, 0x15), "w": (0x1D, False, 0x1D), "e": (0x24, False, 0x24), "r": (0x2D, False, 0x2D),
    "t": (0x2C, False, 0x2C), "y": (0x35, False, 0x35), "u": (0x3C, False, 0x3C), "i": (0x43, False, 0x43),
    "o": (0x44, False, 0x44), "p": (0x4D, False, 0x4D), "[": (0x54, False, 0x54), "]": (0x5B, False, 0x5B),
    "\\": (0x5D, False, 0x5C), "caps_lock": (0x58, False, 0x14), "a": (0x1C, False, 0x1C), "s": (0x1B, False, 0x1B),
    "d": (0x23, False, 0x23), "f": (0x2B, False, 0x2B), "g": (0x34, False, 0x34), "h": (0x33, False, 0x33),
    "j": (0x3B, False, 0x3B), "k": (0x42, False, 0x42), "l": (0x4B, False, 0x4B), ";": (0x4C, False, 0x4C),
    "'": (0x52, False, 0x52), "enter": (0x5A, False, 0x5A), "shift_left": (0x12, False, 0x12),
    "<": (0x61, False, 0x13), "z": (0x1A, False, 0x1A), "x": (0x22, False, 0x22), "c": (0x21, False, 0x21),
    "v": (0x2A, False, 0x2A), "b": (0x32, False, 0x32), "n": (0x31, False, 0x31), "m": (0x3A, False, 0x3A),
    ",": (0x41, False, 0x41), ".": (0x49, False, 0x49), "/": (0x4A, False, 0x4A), "shift_right": (0x59, False, 0x59),
    "ctrl_left": (0x14, False, 0x11), "alt_left": (0x11, False, 0x19), "space": (0x29, False, 0x29),
    "alt_right": (0x11, True, 0x39), "ctrl_right": (0x14, True, 0x58), "insert": (0x70, True, 0x67),
    "delete": (0x71, True, 0x64), "left": (0x6B, True, 0x61), "home": (0x6C, True, 0x6E), "end": (0x69, True, 0x65),
    "up": (0x75, True, 0x63), "down": (0x72, True, 0x60), "page_up": (0x7D, True, 0x6F),
    "page_down": (0x7A, True, 0x6D), "right": (0x74, True, 0x6A), "num_lock": (0x77, False, 0x76),
    "scroll_lock": (0x7E, False, 0x5F), "keypad_7": (0x6C, False, 0x6C), "keypad_4": (0x6B, False, 0x6B),
    "keypad_1": (0x69, False, 0x69), "keypad_8": (0x75, False, 0x75), "keypad_5": (0x73, False, 0x73),
    "keypad_2": (0x72, False, 0x72), "keypad_0": (0x70, False, 0x70), "keypad_*": (0x7C, False, 0x7E),
    "keypad_9": (0x7D, False, 0x7D), "keypad_6": (0x74, False, 0x74), "keypad_3": (0x7A, False, 0x7A),
    "keypad_.": (0x71, False, 0x71), "keypad_-": (0x7B, False, 0x84), "keypad_+": (0x79, False, 0x7C),
    "keypad_/": (0x4A, True, 0x77), "keypad_enter": (0x5A, True, 0x79), "super_left": (0x1F, True, 0x8B),
    "super_right": (0x27, True, 0x8C), "menu": (0x2F, True, 0x8D),
}  # fmt: skip

# Keys whose sequences follow no rule in sets 1 and 2: (make, break) of set 2, and the set 3 code.
SPECIAL_KEYS: dict[str, tuple[bytes, bytes, int]] = {
    "print_screen": (bytes.fromhex("e012e07c"), bytes.fromhex("e0f07ce0f012"), 0x57),
    "pause": (bytes.fromhex("e11477e1f014f077"), b"", 0x62),
}

MODIFIERS = frozenset(
    ("shift_left", "shift_right", "ctrl_left", "ctrl_right", "alt_left", "alt_right", "caps_lock")
)

_SHIFTED = dict(zip("~!@#$%^&*()_+{}|:\"<>?", "`1234567890-=[]\\;',./", strict=True))
_NAMED = {" ": "space", "\n": "enter", "\r": "enter", "\t": "tab", "\b": "backspace", "\x7f": "backspace",
          "\x1b": "escape"}  # fmt: skip

ACKNOWLEDGE = 0xFA
RESEND = 0xFE
ECHO = 0xEE
SELF_TEST_PASSED = 0xAA
IDENTITY = (0xAB, 0x83)
BUFFER_SIZE = 16
KEY_INTERVAL_NS = 10_000_000
HOLD_INTERVAL_NS = 2_000_000  # from one key that somebody presses or releases to the next

TYPEMATIC, MAKE_BREAK, MAKE_ONLY = range(3)


def keystroke_of(character: str) -> tuple[str, ...]:
    """The keys of a US keyboard that give an ASCII character, in the order of pressing.

    Raises UserInputError for a character that the keyboard does not have.
    """
    if character in _NAMED:
        return (_NAMED[character],)
    if character in _SHIFTED:
        return ("shift_left", _SHIFTED[character])
    if character.isascii() and character.isalpha() and character.isupper():
        return ("shift_left", character.lower())
    if character in KEYS and character != "<":
        return (character,)
    if "\x01" <= character <= "\x1a":
        return ("ctrl_left", chr(ord(character) + 0x60))
    raise UserInputError(f"The character {character!r} is on no key of a US keyboard; type ASCII or send keys by name.")


class Ps2Keyboard(Device):
    """The keyboard. The controller pulls bytes with `take()` and is woken through `on_data`."""

    STATE = (
        "_responses", "_buffer", "_scanning", "_set", "_leds", "_rate", "_delay", "_parameter_of", "_last", "_types",
        "_held", "_strokes", "deadlines",
    )  # fmt: skip

    def __init__(self, clock: Clock, *, name: str = "PS/2 keyboard") -> None:
        super().__init__(name)
        self.clock = clock
        self.on_data: Callable[[], object] | None = None
        self._repeat_event: Event | None = None
        self._stroke_event: Event | None = None
        self._strokes: deque[list[tuple[str, bool]]] = deque()
        self.reset()

    def reset(self) -> None:
        """Power on: set 2, scanning, LEDs off, 500 ms and 10.9 characters a second.

        The self-test code has gone out before anybody listens: the controller holds both devices off at power-on.
        """
        self._responses: deque[int] = deque()
        self._buffer: deque[int] = deque()
        self._parameter_of = 0
        self._last = SELF_TEST_PASSED
        self._leds = 0
        self._held: list[str] = []
        self._defaults()
        self._scanning = True
        self._cancel_repeat()

    def _defaults(self) -> None:
        self._set = 2
        self._rate = 0x0B
        self._delay = 1
        self._types: dict[str, int] = {}

    # --- host side

    @property
    def leds(self) -> int:
        """Bit 0 scroll lock, 1 number lock, 2 capitals lock, as the guest set them."""
        return self._leds

    def press(self, key: str) -> None:
        """Presses a key by name. Raises UserInputError for an unknown name."""
        self._check(key)
        if not self._scanning:
            return
        self._queue(self._make(key))
        if key in self._held:
            self._held.remove(key)
        self._held.append(key)
        self._cancel_repeat()
        if self._type_of(key) == TYPEMATIC:
            self._repeat_event = self.clock.schedule(self.clock.now() + (self._delay + 1) * 250_000_000, self._repeat)

    def release(self, key: str) -> None:
        """Releases a key by name. Raises UserInputError for an unknown name."""
        self._check(key)
        if self._held and self._held[-1] == key:
            self._cancel_repeat()
        if key in self._held:
            self._held.remove(key)
        if self._scanning:
            self._queue(self._break(key))

    def send_key(self, *keys: str) -> None:
        """A keystroke: presses the keys in order (as "ctrl_left", "alt_left", "delete") and releases them backwards.

        Keystrokes are queued on the host's side, spaced `KEY_INTERVAL_NS` apart, and wait for room in the buffer
        and for the guest to enable the keyboard.
        """
        for key in keys:
            self._check(key)
        self._strokes.append([*((key, True) for key in keys), *((key, False) for key in reversed(keys))])
        self._next_stroke_in(0)

    def hold(self, key: str, pressed: bool) -> None:
        """Presses or releases a key in its turn behind the keystrokes; nothing while the guest has it disabled.

        Raises UserInputError for an unknown name.
        """
        self._check(key)
        if self._scanning:
            self._strokes.append([(key, pressed)])
            self._next_stroke_in(0)

    @property
    def idle(self) -> bool:
        """Whether the guest has taken all keystrokes."""
        return not self._strokes and not self._buffer

    def type_text(self, text: str) -> None:
        """Types ASCII text on a US keyboard. Raises UserInputError for a character that it lacks."""
        for keys in [keystroke_of(character) for character in text]:
            self.send_key(*keys)

    @staticmethod
    def _check(key: str) -> None:
        if key not in KEYS and key not in SPECIAL_KEYS:
            known = ", ".join((*KEYS, *SPECIAL_KEYS))
            raise UserInputError(f"There is no key named {key!r}; the keys are {known}.")

    def _next_stroke_in(self, delay_ns: int) -> None:
        if self._stroke_event is None and self._strokes and self._scanning:
            self._stroke_event = self.clock.schedule(self.clock.now() + delay_ns, self._stroke)

    def _stroke(self) -> None:
        self._stroke_event = None
        interval = HOLD_INTERVAL_NS
        if self._strokes and self._scanning and not self._buffer:
            transitions = self._strokes.popleft()
            for key, pressed in transitions:
                if pressed:
                    self.press(key)
                else:
                    self.release(key)
            if len(transitions) > 1:
                interval = KEY_INTERVAL_NS
        self._next_stroke_in(interval)

    # --- scan codes

    def _type_of(self, key: str) -> int:
        if self._set != 3 and "all" not in self._types:
            return TYPEMATIC if key not in SPECIAL_KEYS else MAKE_BREAK
        if key in self._types:
            return self._types[key]
        if "all" in self._types:
            return self._types["all"]
        # Power-on types of set 3: modifiers make/break, function and lock and navigation keys make only.
        if key in MODIFIERS:
            return MAKE_BREAK
        if key in SPECIAL_KEYS or len(key) > 1 and key not in ("enter", "space", "backspace", "tab", "up", "down",
                                                                "left", "right", "delete"):  # fmt: skip
            return MAKE_ONLY
        return TYPEMATIC

    def _make(self, key: str) -> bytes:
        if self._set == 3:
            return bytes((SPECIAL_KEYS[key][2] if key in SPECIAL_KEYS else KEYS[key][2],))
        if key in SPECIAL_KEYS:
            return self._in_set(SPECIAL_KEYS[key][0])
        code, extended, _ = KEYS[key]
        return self._in_set(bytes((0xE0, code)) if extended else bytes((code,)))

    def _break(self, key: str) -> bytes:
        if self._set == 3:
            if self._type_of(key) == MAKE_ONLY:
                return b""
            return bytes((0xF0, SPECIAL_KEYS[key][2] if key in SPECIAL_KEYS else KEYS[key][2]))
        if key in SPECIAL_KEYS:
            return self._in_set(SPECIAL_KEYS[key][1])
        code, extended, _ = KEYS[key]
        return self._in_set(bytes((0xE0, 0xF0, code)) if extended else bytes((0xF0, code)))

    def _in_set(self, codes: bytes) -> bytes:
        """Set 2 codes in the set in use: set 1 is what the 8042's translation makes of them."""
        if self._set == 2:
            return codes
        translated = bytearray()
        released = 0
        for code in codes:
            if code == 0xF0:
                released = 0x80
            else:
                translated.append(SET_2_TO_SET_1[code] | released)
                released = 0
        return bytes(translated)

    def _queue(self, codes: bytes) -> None:
        if not codes:
            return
        if len(self._buffer) + len(codes) > BUFFER_SIZE:
            overrun = 0xFF if self._set == 1 else 0x00  # stands behind what fitted, once
            if self._buffer[-1] != overrun:
                self._buffer.append(overrun)
        else:
            self._buffer.extend(codes)
        self._wake()

    def _repeat(self) -> None:
        self._repeat_event = None
        if not self._held or not self._scanning:
            return
        self._queue(self._make(self._held[-1]))
        # Period = (8 + A) * 2**B * 4.17 ms with A bits 2-0 and B bits 4-3 (Set Typematic Rate/Delay).
        period = (8 + (self._rate & 7)) * (1 << (self._rate >> 3)) * 4_170_000
        self._repeat_event = self.clock.schedule(self.clock.now() + period, self._repeat)

    def _cancel_repeat(self) -> None:
        self.clock.cancel(self._repeat_event)
        self._repeat_event = None

    # --- controller side

    def pending(self) -> bool:
        """Whether a byte waits for the controller."""
        return bool(self._responses or self._buffer)

    def urgent(self) -> bool:
        """Whether the byte that waits answers a command."""
        return bool(self._responses)

    def take(self) -> int:
        """The next byte for the controller: answers to commands before scan codes."""
        if self._responses:
            self._last = self._responses.popleft()
        elif self._buffer:
            self._last = self._buffer.popleft()
        return self._last

    def command(self, value: int) -> None:
        """A byte from the controller: a command, or the parameter of the one before."""
        self._responses.clear()
        parameter_of, self._parameter_of = self._parameter_of, 0
        if parameter_of and self._parameter(parameter_of, value):
            return
        handler = self._COMMANDS.get(value)
        if handler is None:
            self._answer(RESEND)
        else:
            handler(self, value)

    def _answer(self, *values: int) -> None:
        self._responses.extend(values)
        self._wake()

    def _wake(self) -> None:
        if self.on_data is not None:
            self.on_data()

    def _parameter(self, command: int, value: int) -> bool:
        """Takes a parameter; False when the byte is a command instead (EDh and the like are ended by a command)."""
        if command in (0xFB, 0xFC, 0xFD):
            # Set Key Type takes set 3 codes until the next command.
            key = next((name for name, (_, _, code) in KEYS.items() if code == value), None)
            if value >= 0xED or key is None and value > 0x8D:
                return False
            if key is not None:
                self._types[key] = {0xFB: TYPEMATIC, 0xFC: MAKE_BREAK, 0xFD: MAKE_ONLY}[command]
            self._parameter_of = command
        elif value >= 0xED and command != 0xF0:
            return False
        elif command == 0xED:
            self._leds = value & 7
        elif command == 0xF3:
            self._rate, self._delay = value & 0x1F, value >> 5 & 3
        elif command == 0xF0:
            if value > 3:
                self._answer(RESEND)
                return True
            if value == 0:
                self._answer(ACKNOWLEDGE, self._set)
                return True
            self._set = value
            self._buffer.clear()
        self._answer(ACKNOWLEDGE)
        return True

    def _with_parameter(self, value: int) -> None:
        self._parameter_of = value
        self._answer(ACKNOWLEDGE)

    def _echo(self, value: int) -> None:
        self._answer(ECHO)

    def _identify(self, value: int) -> None:
        self._answer(ACKNOWLEDGE, *IDENTITY)

    def _enable(self, value: int) -> None:
        self._buffer.clear()
        self._scanning = True
        self._answer(ACKNOWLEDGE)
        self._next_stroke_in(KEY_INTERVAL_NS)

    def _disable(self, value: int) -> None:
        self._buffer.clear()
        self._defaults()
        self._scanning = False
        self._cancel_repeat()
        self._answer(ACKNOWLEDGE)

    def _set_defaults(self, value: int) -> None:
        self._buffer.clear()
        self._defaults()
        self._answer(ACKNOWLEDGE)

    def _set_all(self, value: int) -> None:
        self._types = {"all": {0xF7: TYPEMATIC, 0xF8: MAKE_BREAK, 0xF9: MAKE_ONLY, 0xFA: TYPEMATIC}[value]}
        self._answer(ACKNOWLEDGE)

    def _resend(self, value: int) -> None:
        self._answer(self._last)

    def _reset_command(self, value: int) -> None:
        self.reset()
        self._responses.clear()
        self._answer(ACKNOWLEDGE, SELF_TEST_PASSED)
        self._next_stroke_in(KEY_INTERVAL_NS)

    _COMMANDS: dict[int, Callable[[Ps2Keyboard, int], None]] = {
        0xED: _with_parameter, 0xEE: _echo, 0xF0: _with_parameter, 0xF2: _identify, 0xF3: _with_parameter,
        0xF4: _enable, 0xF5: _disable, 0xF6: _set_defaults, 0xF7: _set_all, 0xF8: _set_all, 0xF9: _set_all,
        0xFA: _set_all, 0xFB: _with_parameter, 0xFC: _with_parameter, 0xFD: _with_parameter, 0xFE: _resend,
        0xFF: _reset_command,
    }  # fmt: skip

    # --- state

    @property
    def deadlines(self) -> list[int | None]:
        """When the key held repeats and when the next keystroke is due, in nanoseconds."""
        return [None if event is None else event.deadline for event in (self._repeat_event, self._stroke_event)]

    @deadlines.setter
    def deadlines(self, deadlines: list[int | None]) -> None:
        self.clock.cancel(self._repeat_event)
        self.clock.cancel(self._stroke_event)
        repeat, stroke = deadlines
        self._repeat_event = None if repeat is None else self.clock.schedule(repeat, self._repeat)
        self._stroke_event = None if stroke is None else self.clock.schedule(stroke, self._stroke)
