"""Keyboard and mouse as a user has them, and the little language of --send-keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine import tiny_bios
from x86emu.devices.ps2_keyboard import KEYS, SPECIAL_KEYS
from x86emu.errors import UserInputError
from x86emu.machine import Machine
from x86emu.machine.input import KEY_NAMES, key_of, keys_of_chord
from x86emu.machine.key_script import KeyScript, parse

ENABLE_KEYBOARD = tiny_bios.out8(0x64, 0xAE)
# Every byte that comes at port 60h goes to COM1, looked for every 60 microseconds:
# MOV DX,3F8h; again: MOV ECX,30000; DEC ECX; JNZ; IN AL,64h; TEST AL,1; JZ again; IN AL,60h; OUT DX,AL; JMP again.
LOOK = tiny_bios.delay(30000) + b"\xe4\x64\xa8\x01"
AGAIN = LOOK + b"\x74" + bytes((256 - len(LOOK) - 2,)) + b"\xe4\x60\xee"
ECHO = tiny_bios.out8(0x3FB, 3) + b"\xba\xf8\x03" + AGAIN + b"\xeb" + bytes((256 - len(AGAIN) - 2,))


def a_machine(tmp_path: Path, *code: bytes) -> Machine:
    return Machine(tiny_bios.write(tmp_path / "bios", *code), memory="2M")


def test_names_lead_to_keys_of_the_keyboard() -> None:
    assert {name for name in KEY_NAMES.values() if name not in KEYS and name not in SPECIAL_KEYS} == set()
    assert keys_of_chord("ctrl-alt-del") == ("ctrl_left", "alt_left", "delete")
    assert keys_of_chord("ctrl--") == ("ctrl_left", "-")
    assert keys_of_chord("-") == ("-",)
    assert [key_of(name) for name in ("RET", "F5", "a", "kp_5", "altgr")] == [
        "enter", "f5", "a", "keypad_5", "alt_right"
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["", "nokey", "A", "ctrl-alt"])
def test_unknown_keys_are_a_sentence(name: str) -> None:
    with pytest.raises(UserInputError, match="There is no key named .* would do"):
        key_of(name)


def test_keystrokes_reach_the_guest_as_scan_codes_of_set_1(tmp_path: Path) -> None:
    machine = a_machine(tmp_path, ENABLE_KEYBOARD, ECHO)
    machine.keyboard.send("ctrl-alt-delete")
    machine.keyboard.type("aB\n")
    machine.keyboard.press("up")
    machine.run(100_000_000)
    machine.keyboard.release("up")
    machine.run(20_000_000)
    assert machine.serial.output.hex(" ") == (
        "1d 38 e0 53 e0 d3 b8 9d 1e 9e 2a 30 b0 aa 1c 9c e0 48 e0 c8"
    )
    assert [(what, value) for _, what, value in machine.keyboard.inputs] == [
        ("send", "ctrl_left-alt_left-delete"), ("type", "aB\n"), ("press", "up"), ("release", "up")
    ]  # fmt: skip
    assert [time for time, _, _ in machine.keyboard.inputs] == [0, 0, 0, 100_000_000]


def test_many_keys_at_once_do_not_overrun(tmp_path: Path) -> None:
    machine = a_machine(tmp_path, ENABLE_KEYBOARD, ECHO)
    for _ in range(7):
        machine.keyboard.press("right")
        machine.keyboard.release("right")
    machine.run(150_000_000)
    assert machine.serial.output == bytes.fromhex("e04de0cd") * 7


def test_mouse_reports_are_recorded(tmp_path: Path) -> None:
    machine = a_machine(tmp_path, tiny_bios.FOREVER)
    device = machine.keyboard_controller.mouse
    device.command(0xF4)
    device.take()
    machine.mouse.move(5, 3)
    machine.mouse.press("right")
    machine.mouse.release("right")
    assert [device.take() for _ in range(9)] == [0x28, 5, 0xFD, 0x0A, 0, 0, 0x08, 0, 0]
    assert [what for _, what, _ in machine.mouse.inputs] == ["move", "buttons", "buttons"]
    with pytest.raises(UserInputError, match="left, right or middle would do"):
        machine.mouse.press("fourth")


def test_steps_of_a_script() -> None:
    steps = "ret ctrl-alt-delete 'text:echo a:b\\n' delay:1.5s delay:20 'wait:GNU GRUB' mouse:-3,4 click:left"
    assert parse(steps) == [
        ("send", "ret"), ("send", "ctrl-alt-delete"), ("text", "echo a:b\n"), ("delay", "1500000000"),
        ("delay", "20000000"), ("wait", "GNU GRUB"), ("mouse", "-3,4"), ("click", "left"),
    ]  # fmt: skip
    assert parse("") == []


@pytest.mark.parametrize(
    "script", ["nokey", "text:\xe4", "'text:open", "delay:soon", "wait:", "click:wheel", "mouse:1", "press:", "jump:1"]
)
def test_steps_that_are_none(script: str) -> None:
    with pytest.raises(UserInputError, match="--send-keys .*would do|--send-keys .*type ASCII"):
        parse(script)


def test_a_script_is_played_in_virtual_time(tmp_path: Path) -> None:
    def played(cut: int) -> tuple[list[tuple[int, str, str]], bytes]:
        machine = a_machine(tmp_path, ENABLE_KEYBOARD, ECHO)
        script = KeyScript(machine, "delay:30ms ret 'text:ab' serial:\x1e delay:5ms esc click:left")
        while not script.done:
            machine.run(cut)
        machine.run(170_000_000 - machine.instructions)
        return machine.keyboard.inputs, bytes(machine.serial.output)

    inputs, output = played(1_000_000)
    assert [(what, value) for _, what, value in inputs] == [("send", "enter"), ("type", "ab"), ("send", "escape")]
    assert inputs[0][0] == 30_000_000 and inputs[2][0] > inputs[1][0] + 5_000_000
    assert output.hex(" ") == "1c 9c 1e 9e 30 b0 01 81"
    assert played(77_777_777) == (inputs, output), "however the run is cut"


def test_screenshot_of_a_machine_that_has_set_up_nothing(tmp_path: Path) -> None:
    machine = a_machine(tmp_path, tiny_bios.FOREVER)
    machine.run(1000)
    picture = machine.screenshot(tmp_path / "screen.png")
    assert (picture.width, picture.height) == (640, 400) and not picture.pixels.any()
    assert (tmp_path / "screen.png").read_bytes() == picture.png()
