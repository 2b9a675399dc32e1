"""Keys as browsers name them (W3C, "UI Events KeyboardEvent code Values") and the names of the PS/2 keyboard's keys."""

from __future__ import annotations

KEY_OF_CODE: dict[str, str] = {
    **{f"Key{letter.upper()}": letter for letter in "abcdefghijklmnopqrstuvwxyz"},
    **{f"Digit{digit}": digit for digit in "0123456789"},
    **{f"Numpad{digit}": f"keypad_{digit}" for digit in "0123456789"},
    **{f"F{number}": f"f{number}" for number in range(1, 13)},
    "Backquote": "`", "Minus": "-", "Equal": "=", "BracketLeft": "[", "BracketRight": "]", "Backslash": "\\",
    "Semicolon": ";", "Quote": "'", "Comma": ",", "Period": ".", "Slash": "/", "IntlBackslash": "<",
    "Escape": "escape", "Tab": "tab", "CapsLock": "caps_lock", "Enter": "enter", "Space": "space",
    "Backspace": "backspace", "ShiftLeft": "shift_left", "ShiftRight": "shift_right", "ControlLeft": "ctrl_left",
    "ControlRight": "ctrl_right", "AltLeft": "alt_left", "AltRight": "alt_right", "MetaLeft": "super_left",
    "MetaRight": "super_right", "ContextMenu": "menu", "Insert": "insert", "Delete": "delete", "Home": "home",
    "End": "end", "PageUp": "page_up", "PageDown": "page_down", "ArrowUp": "up", "ArrowDown": "down",
    "ArrowLeft": "left", "ArrowRight": "right", "NumLock": "num_lock", "ScrollLock": "scroll_lock",
    "PrintScreen": "print_screen", "Pause": "pause", "NumpadAdd": "keypad_+", "NumpadSubtract": "keypad_-",
    "NumpadMultiply": "keypad_*", "NumpadDivide": "keypad_/", "NumpadDecimal": "keypad_.",
    "NumpadEnter": "keypad_enter",
}  # fmt: skip
