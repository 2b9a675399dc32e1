"""The line editor: what is left in the line after which keys, and what the terminal is told."""

from __future__ import annotations

import pytest

from x86emu.monitor.line_editor import LineEditor

UP, DOWN, RIGHT, LEFT, HOME, END, DELETE = (
    b"\x1b[A", b"\x1b[B", b"\x1b[C", b"\x1b[D", b"\x1b[H", b"\x1b[F", b"\x1b[3~",
)  # fmt: skip


@pytest.fixture
def shown() -> bytearray:
    return bytearray()


@pytest.fixture
def editor(shown: bytearray) -> LineEditor:
    words = ["info", "irq", "stop"]
    return LineEditor("> ", shown.extend, lambda text: [word for word in words if word.startswith(text)])


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        (b"info", "info"),
        (b"inxfo" + LEFT * 2 + b"\x7f", "info"),
        (b"nfo" + HOME + b"i" + END + b"!", "info!"),
        (b"xinfo\x01" + DELETE, "info"),
        (b"info mem\x17irq", "info irq"),
        (b"info mem" + LEFT * 4 + b"\x0b", "info"),
        (b"junk info" + LEFT * 4 + b"\x15", "info"),
        (b"junk\x03info", "info"),
        (b"i\x02\x06nfo" + RIGHT * 9 + b"!", "info!"),
        (b"a\x1b[5~b\x1b[1;5Cc\x1bxd", "abcd"),  # keys that are none of ours
        (b"\x00\xffa\xc3\xa4b", "ab"),
    ],
)
def test_editing(editor: LineEditor, keys: bytes, line: str) -> None:
    assert editor.feed(keys + b"\r") == [line]


def test_keys_may_come_byte_by_byte(editor: LineEditor) -> None:
    for byte in b"ab" + LEFT + b"x":
        assert editor.feed(bytes((byte,))) == []
    assert editor.feed(b"\r\n") == ["axb"]


def test_several_lines_at_once_and_both_ends(editor: LineEditor) -> None:
    assert editor.feed(b"one\r\ntwo\nthree\r\r") == ["one", "two", "three", ""]


def test_history(editor: LineEditor) -> None:
    editor.feed(b"one\rtwo\rtwo\r  \r")
    assert editor.history == ["one", "two"]
    assert editor.feed(UP + UP + UP + b"!\r") == ["one!"]
    assert editor.feed(b"draft" + UP + UP + DOWN + DOWN + DOWN + b"\r") == ["draft"]


def test_completion(editor: LineEditor, shown: bytearray) -> None:
    assert editor.feed(b"st\t\r") == ["stop "]
    editor.feed(b"i\t")
    assert b"info  irq" in shown and editor.feed(b"\r") == ["i"]
    assert editor.feed(b"zz\t\r") == ["zz"]


def test_what_is_shown(editor: LineEditor, shown: bytearray) -> None:
    editor.show()
    editor.feed(b"ab" + LEFT)
    assert bytes(shown) == b"\r\x1b[K> ab\r\x1b[K> ab\x1b[1D"
