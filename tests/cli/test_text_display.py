"""--display text: the screen in a pseudo-terminal, keys, views, and the terminal as it was before."""

from __future__ import annotations

import os
import select
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.display.vt import Terminal
from tests.machine import tiny_bios
from x86emu.display_backends import SharedSerial, TextDisplay
from x86emu.machine import Machine

# The 80x25 text mode by the registers that a picture of cells needs, and "Hi" in yellow on blue in its second row.
TEXT = (
    tiny_bios.out8(0x3C2, 0x67) + tiny_bios.out16(0x3CE, 0x0E06) + tiny_bios.out16(0x3CE, 0xFF08)
    + tiny_bios.out16(0x3C4, 0x0302)
    + b"".join(tiny_bios.out16(0x3D4, value << 8 | index) for index, value in (
        (0x11, 0), (0x01, 0x4F), (0x07, 0x1F), (0x09, 0x4F), (0x12, 0x8F), (0x13, 0x28), (0x18, 0xFF), (0x0A, 0x0D),
        (0x0F, 82), (0x17, 0xA3)))
    + b"\xb8\x00\xb8\x8e\xd8" + b"\xc7\x06\xa0\x00H\x1e" + b"\xc7\x06\xa2\x00i\x1e"  # MOV DS,B800h; [A0h], [A2h]
)  # fmt: skip


class Session:
    def __init__(self, tmp_path: Path, *code: bytes) -> None:
        self.machine = Machine(tiny_bios.write(tmp_path / "bios", *code), memory="2M")
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (30, 100))
        self.before = termios.tcgetattr(self.slave)
        self.display = TextDisplay(self.machine, self.slave, self.slave)
        self.machine.serial.attach(SharedSerial(self.display))
        self.machine.services.append(self.display)
        self.seen = ""

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def poll(self) -> bool:
        self.display._next_draw = 0.0
        quit_wanted = self.display.poll()
        self.machine.serial.poll()
        return quit_wanted

    def read(self) -> str:
        data = b""
        while select.select([self.master], [], [], 0)[0]:
            data += os.read(self.master, 65536)
        return data.decode()

    def close(self) -> None:
        self.machine.close()
        assert termios.tcgetattr(self.slave) == self.before
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path, TEXT, tiny_bios.say("from the guest\r\n"), tiny_bios.FOREVER)
    session.machine.run(20_000)
    yield session
    session.close()


def test_the_screen_is_drawn_with_colours_and_cursor(session: Session) -> None:
    terminal = Terminal(100, 30)
    session.poll()
    terminal.write(session.read())
    assert terminal.alternate and terminal.text()[:3] == ["", "Hi", ""]
    assert terminal.cells[1][0] == ("H", "93;44")
    assert (terminal.column, terminal.row, terminal.cursor_shown) == (2, 1, True)
    session.poll()
    assert session.read() == ""
    session.display.close()
    terminal.write(session.read())
    assert not terminal.alternate


def test_a_resized_terminal_is_drawn_anew(session: Session) -> None:
    session.poll()
    session.read()
    termios.tcsetwinsize(session.slave, (25, 81))
    terminal = Terminal(81, 25)
    session.poll()
    terminal.write(session.read())
    assert terminal.text()[:3] == ["", "Hi", ""]


def test_keys_go_to_the_keyboard(session: Session) -> None:
    session.type(b"a\x1b[A\x01a")
    session.poll()
    assert [value for _, _, value in session.machine.keyboard.inputs] == ["a", "up", "ctrl_left-a"]


def test_a_lone_escape_arrives_after_a_while(session: Session) -> None:
    session.type(b"\x1b")
    session.poll()
    assert session.machine.keyboard.inputs == []
    time.sleep(0.05)
    session.poll()
    assert [value for _, _, value in session.machine.keyboard.inputs] == ["escape"]


def test_ctrl_a_c_swaps_to_the_serial_line_and_back(session: Session) -> None:
    session.poll()
    session.read()
    session.type(b"\x01c")
    session.poll()
    text = session.read()
    assert "[serial line" in text and text.endswith("from the guest\r\n")
    session.type(b"ls\x01a")
    session.poll()
    assert b"".join(data for _, data in session.machine.serial.inputs) == b"ls\x01"
    session.machine.serial.receive_output(b"more\n")
    assert "more" in session.read()
    assert session.machine.keyboard.inputs == []
    session.type(b"\x01c")
    session.poll()
    terminal = Terminal(100, 30)
    terminal.write(session.read())
    assert terminal.text()[1] == "Hi"
    session.machine.serial.receive_output(b"unseen")
    assert session.read() == ""


def test_help_quit_and_a_third_view(session: Session) -> None:
    typed = bytearray()
    line = session.display.add_line("third", typed.extend)
    session.type(b"\x01h")
    session.poll()
    assert "next: screen, serial line, third" in session.read()
    session.type(b"\x01c\x01c")
    session.poll()
    assert session.display.active is line
    session.type(b"info\r")
    assert not session.poll() and typed == b"info\r"
    session.type(b"\x01x")
    assert session.poll()


def test_a_graphics_mode_is_drawn_as_blocks(session: Session) -> None:
    machine = session.machine
    for index, value in ((1, 64), (2, 48), (3, 32), (4, 0x41)):
        machine.ports.write(0x1CE, 2, index)
        machine.ports.write(0x1CF, 2, value)
    machine.ports.read(0x3DA, 1)
    machine.ports.write(0x3C0, 1, 0x20)
    machine.vga.memory.contents[: 64 * 24 * 4] = b"\x00\x80\xff\x00" * (64 * 24)
    session.poll()
    terminal = Terminal(100, 30)
    terminal.write(session.read())
    assert terminal.cells[0][0] == ("▀", "38;2;255;128;0;48;2;255;128;0")
    assert terminal.cells[29][0] == ("▀", "38;2;0;0;0;48;2;0;0;0")
    assert terminal.text()[0] == "▀" * 80 and not terminal.cursor_shown


def test_a_terminal_that_has_gone_ends_the_run(tmp_path: Path) -> None:
    machine = Machine(tiny_bios.write(tmp_path / "bios", tiny_bios.FOREVER), memory="2M")
    master, slave = os.openpty()
    display = TextDisplay(machine, slave, slave)
    os.close(master)
    assert display.poll()
    machine.services.append(display)
    machine.close()
    os.close(slave)
