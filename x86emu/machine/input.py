"""The keyboard and the mouse of a machine as its user has them: `machine.keyboard`, `machine.mouse`.

A key has the name that the PS/2 keyboard's model gives it, or one of the short names in `KEY_NAMES` below that people
know from QEMU's `sendkey`.  Every input is recorded with the virtual time at which the device got it.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.devices.ps2_keyboard import KEYS, SPECIAL_KEYS, Ps2Keyboard
from x86emu.devices.ps2_mouse import LEFT, MIDDLE, RIGHT, Ps2Mouse
from x86emu.errors import UserInputError

KEY_NAMES: dict[str, str] = {
    "ret": "enter", "return": "enter", "kp_enter": "keypad_enter", "esc": "escape", "spc": "space", "bs": "backspace",
    "shift": "shift_left", "shift_l": "shift_left", "shift_r": "shift_right", "ctrl": "ctrl_left",
    "ctrl_l": "ctrl_left", "ctrl_r": "ctrl_right", "alt": "alt_left", "alt_l": "alt_left", "alt_r": "alt_right",
    "altgr": "alt_right", "meta": "super_left", "meta_l": "super_left", "meta_r": "super_right", "win": "super_left",
    "compose": "menu", "del": "delete", "ins": "insert", "pgup": "page_up", "pgdn": "page_down", "minus": "-",
    "equal": "=", "bracket_left": "[", "bracket_right": "]", "semicolon": ";", "apostrophe": "'",
    "grave_accent": "`", "backslash": "\\", "comma": ",", "dot": ".", "slash": "/", "less": "<", "sysrq":
    "print_screen", "print": "print_screen", "kp_divide": "keypad_/", "kp_multiply": "keypad_*", "kp_subtract":
    "keypad_-", "kp_add": "keypad_+", "kp_decimal": "keypad_.", **{f"kp_{digit}": f"keypad_{digit}" for digit in
    range(10)},
}  # fmt: skip

BUTTONS = {"left": LEFT, "right": RIGHT, "middle": MIDDLE}


def key_of(name: str) -> str:
    """The keyboard's own name of a key.  UserInputError where there is no such key."""
    wanted = name if len(name) == 1 else name.lower()
    wanted = KEY_NAMES.get(wanted, wanted)
    if wanted not in KEYS and wanted not in SPECIAL_KEYS:
        raise UserInputError(
            f"There is no key named {name!r}; ret, esc, f1, up, ctrl-alt-delete or a would do, and docs/display.md has"
            " the whole list."
        )
    return wanted


def keys_of_chord(chord: str) -> tuple[str, ...]:
    """The keys of "ctrl-alt-delete", in the order of pressing; "-" on its own or at an end is the key itself."""
    if chord == "-":
        return ("-",)
    last = ["-"] if chord.endswith("--") else []
    names = (chord[:-2] if last else chord).split("-")
    return tuple(key_of(name) for name in (*names, *last))


class Keyboard:
    """The keyboard: `type("text")`, `send("ctrl-alt-delete")`, `press` and `release`.

    Keystrokes are handed to the guest 10 ms of virtual time apart, as fast as it takes them.  `inputs` has what was
    done with the virtual time in nanoseconds.
    """

    def __init__(self, device: Ps2Keyboard, now: Callable[[], int]) -> None:
        self.device = device
        self._now = now
        self.inputs: list[tuple[int, str, str]] = []

    def _record(self, what: str, value: str) -> None:
        self.inputs.append((self._now(), what, value))

    def type(self, text: str) -> None:
        """Types ASCII text on a US keyboard.  UserInputError for a character that it lacks."""
        self.device.type_text(text)
        self._record("type", text)

    def send(self, *chords: str) -> None:
        """Strikes keys, each a name or names joined by "-".  UserInputError for an unknown name."""
        for keys in [keys_of_chord(chord) for chord in chords]:
            self.send_keys(keys)

    def send_keys(self, keys: tuple[str, ...]) -> None:
        """Strikes keys together, by the keyboard's own names.  UserInputError for an unknown name."""
        self.device.send_key(*keys)
        self._record("send", "-".join(keys))

    def press(self, name: str) -> None:
        """Presses a key and holds it; a guest that does not listen misses it.  UserInputError for an unknown name."""
        self._hold(name, True)

    def release(self, name: str) -> None:
        """Lets a key go.  UserInputError for an unknown name."""
        self._hold(name, False)

    def _hold(self, name: str, pressed: bool) -> None:
        key = key_of(name)
        self.device.hold(key, pressed)
        self._record("press" if pressed else "release", key)

    @property
    def idle(self) -> bool:
        """Whether the guest has taken all keystrokes."""
        return self.device.idle


class Mouse:
    """The mouse: relative movement, a wheel, three buttons.  `inputs` as the keyboard has them."""

    def __init__(self, device: Ps2Mouse, now: Callable[[], int]) -> None:
        self.device = device
        self._now = now
        self.buttons = 0
        self.inputs: list[tuple[int, str, tuple[int, ...]]] = []

    def move(self, right: int, down: int, wheel: int = 0) -> None:
        """Moves by counts; `wheel` counts steps towards the user."""
        self.inputs.append((self._now(), "move", (right, down, wheel)))
        self.device.move(right, -down, wheel)

    def set_buttons(self, buttons: int) -> None:
        """Which buttons are down: 1 left, 2 right, 4 middle, added up."""
        if buttons != self.buttons:
            self.buttons = buttons
            self.inputs.append((self._now(), "buttons", (buttons,)))
            self.device.set_buttons(buttons)

    def press(self, button: str = "left") -> None:
        """Presses "left", "right" or "middle".  UserInputError for another name."""
        self.set_buttons(self.buttons | self._button(button))

    def release(self, button: str = "left") -> None:
        """Lets a button go.  UserInputError for an unknown name."""
        self.set_buttons(self.buttons & ~self._button(button))

    @staticmethod
    def _button(name: str) -> int:
        if name not in BUTTONS:
            raise UserInputError(f"There is no mouse button named {name!r}; left, right or middle would do.")
        return BUTTONS[name]
