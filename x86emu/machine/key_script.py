"""`--send-keys`: a small language for what a user would do at the keyboard, played in virtual time.

A script is steps separated by blanks; a step with blanks in it is quoted as in a shell:

    ret  ctrl-alt-delete       strike keys                       press:shift  release:shift   hold a key
    "text:echo hello\\n"       type; \\n is Return, \\t Tab      mouse:10,-5                  move right and down
    delay:500ms  delay:2s      let virtual time pass             click:left                   press and release
    "wait:GNU GRUB"            until the text screen shows it    "serial:login:"              until COM1 has said it

A step begins when the guest has taken the keys before it.
"""

from __future__ import annotations

import re
import shlex
from collections import deque
from typing import TYPE_CHECKING

from x86emu.devices.ps2_keyboard import keystroke_of
from x86emu.errors import UserInputError
from x86emu.machine.input import BUTTONS, key_of, keys_of_chord

if TYPE_CHECKING:
    from x86emu.machine.pc import Machine

LOOK_NANOSECONDS = 10_000_000
CLICK_NANOSECONDS = 50_000_000
UNITS = {"": 1_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1, "s": 1_000_000_000}
ESCAPES = {"n": "\n", "t": "\t", "e": "\x1b", "b": "\b", "\\": "\\"}

Step = tuple[str, str]


def parse(script: str) -> list[Step]:
    """The steps, each checked.  UserInputError says which one is wrong and what would do."""
    lexer = shlex.shlex(script, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    lexer.escape = ""
    try:
        words = list(lexer)
    except ValueError:
        raise UserInputError(
            f"--send-keys {script}: a quotation mark is not closed; 'text:two words' in quotation marks would do"
        ) from None
    return [_step(script, word) for word in words]


def _step(script: str, word: str) -> Step:
    kind, colon, value = word.partition(":")
    try:
        if not colon or len(word) == 1:
            keys_of_chord(word)
            return "send", word
        if kind == "text":
            text = re.sub(r"\\(.)", lambda match: ESCAPES.get(match[1], match[0]), value)
            for character in text:
                keystroke_of(character)
            return "text", text
        if kind in ("press", "release"):
            return kind, key_of(value)
    except UserInputError as error:
        raise UserInputError(f"--send-keys {script}: {error}") from None
    if kind == "delay" and re.fullmatch(r"\d+(\.\d+)?(ns|us|ms|s|)", value):
        return kind, str(_nanoseconds(value))
    if kind == "mouse" and re.fullmatch(r"[+-]?\d+,[+-]?\d+(,[+-]?\d+)?", value):
        return kind, value
    if kind == "click" and value in BUTTONS or kind in ("wait", "serial") and value:
        return kind, value
    raise UserInputError(
        f"--send-keys {script}: {word!r} is no step; a key such as ret or ctrl-c, text:hello, delay:500ms, wait:TEXT,"
        " serial:TEXT, press:KEY, release:KEY, mouse:10,-5 or click:left would do"
    )


def _nanoseconds(text: str) -> int:
    match = re.fullmatch(r"([\d.]+)([a-z]*)", text)
    assert match is not None
    return int(float(match[1]) * UNITS[match[2]])


class KeyScript:
    """Plays a script on `machine` from now on.  `done` once every step has been taken."""

    def __init__(self, machine: Machine, script: str) -> None:
        self._machine = machine
        self._steps = deque(parse(script))
        self._serial_seen = len(machine.serial.output)
        self._schedule(0)

    @property
    def done(self) -> bool:
        """Whether every step has been taken."""
        return not self._steps

    def _schedule(self, delay: int) -> None:
        clock = self._machine.clock
        clock.schedule(clock.now() + delay, self._go_on)

    def _go_on(self) -> None:
        while self._steps:
            if not self._machine.keyboard.idle:
                self._schedule(LOOK_NANOSECONDS)
                return
            kind, value = self._steps[0]
            if kind in ("wait", "serial") and not self._has_come(kind, value):
                self._schedule(LOOK_NANOSECONDS)
                return
            self._steps.popleft()
            pause = self._take(kind, value)
            if pause:
                self._schedule(pause)
                return

    def _has_come(self, kind: str, text: str) -> bool:
        if kind == "wait":
            return text in self._machine.screen.text
        output = self._machine.serial.output
        at = output.find(text.encode(), self._serial_seen)
        if at >= 0:
            self._serial_seen = at + len(text.encode())
        return at >= 0

    def _take(self, kind: str, value: str) -> int:
        """Does a step; returns the nanoseconds to the next one."""
        keyboard, mouse = self._machine.keyboard, self._machine.mouse
        if kind == "send":
            keyboard.send(value)
        elif kind == "text":
            keyboard.type(value)
        elif kind == "press":
            keyboard.press(value)
        elif kind == "release":
            keyboard.release(value)
        elif kind == "delay":
            return int(value)
        elif kind == "mouse":
            mouse.move(*(int(count) for count in value.split(",")))
        elif kind == "click":
            mouse.press(value)
            self._steps.appendleft(("unclick", value))
            return CLICK_NANOSECONDS
        elif kind == "unclick":
            mouse.release(value)
        return 0
