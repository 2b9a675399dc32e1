"""The screen as a terminal's cells, drawn on a terminal that the test has."""

from __future__ import annotations

import random

import numpy as np

from tests.display.vt import Terminal
from x86emu.display.cells import CellDisplay, picture_cells, text_cells


def test_colours_of_attributes() -> None:
    cells = text_cells(["ab"], [bytes((0x1E, 0xC7))], blink=False)
    assert cells == [[("a", "93;44"), ("b", "37;101")]]
    assert text_cells(["b"], [bytes((0xC7,))], blink=True) == [[("b", "37;41;5")]]


def test_only_changes_are_written() -> None:
    display, terminal = CellDisplay(), Terminal(10, 4)
    lines, attributes = ["hello     ", "world     "], [b"\x07" * 10] * 2
    first = display.update(text_cells(lines, attributes, blink=True), (5, 1), 10, 4)
    terminal.write(first)
    assert terminal.text() == ["hello", "world", "", ""]
    assert (terminal.column, terminal.row, terminal.cursor_shown) == (5, 1, True)
    assert display.update(text_cells(lines, attributes, blink=True), (5, 1), 10, 4) == ""
    lines[1] = "wOrld     "
    second = display.update(text_cells(lines, attributes, blink=True), None, 10, 4)
    assert second == "\x1b[2;2H\x1b[0;37;40mO\x1b[0m\x1b[?25l"
    display.forget()
    assert "hello" in display.update(text_cells(lines, attributes, blink=True), None, 10, 4)


def test_a_terminal_smaller_than_the_screen_shows_its_corner() -> None:
    display, terminal = CellDisplay(), Terminal(3, 2)
    cells = text_cells(["abcdef"] * 4, [b"\x07" * 6] * 4, blink=True)
    terminal.write(display.update(cells, (4, 3), 3, 2))
    assert terminal.text() == ["abc", "abc"] and not terminal.cursor_shown


def test_random_screens_arrive() -> None:
    rng = random.Random(3)
    display, terminal = CellDisplay(), Terminal(12, 5)
    lines = [[" "] * 12 for _ in range(5)]
    attributes = [bytearray(b"\x07" * 12) for _ in range(5)]
    for _ in range(100):
        for _ in range(rng.randrange(8)):
            row, column = rng.randrange(5), rng.randrange(12)
            lines[row][column], attributes[row][column] = rng.choice("ab─█é "), rng.randrange(256)
        cells = text_cells(["".join(line) for line in lines], [bytes(line) for line in attributes], blink=True)
        terminal.write(display.update(cells, None, 12, 5))
        assert terminal.cells == cells


def test_a_picture_as_half_blocks() -> None:
    pixels = np.zeros((400, 640), dtype=np.uint32)
    pixels[:200, :] = 0xFF0000
    pixels[300:, 320:] = 0x0000FF
    cells = picture_cells(pixels, 80, 50)
    assert (len(cells), len(cells[0])) == (25, 80)
    assert cells[0][0] == ("▀", "38;2;255;0;0;48;2;255;0;0")
    assert cells[12][0] == ("▀", "38;2;255;0;0;48;2;0;0;0"), "the border lies within a cell"
    assert cells[24][79] == ("▀", "38;2;0;0;255;48;2;0;0;255")
    assert len(picture_cells(pixels, 200, 10)) == 10
    assert picture_cells(np.full((1, 1), 0x010203, dtype=np.uint32), 4, 4)[0][0][1] == "38;2;1;2;3;48;2;1;2;3"
