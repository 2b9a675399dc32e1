"""A screen as the cells of a text terminal (ECMA-48, "Select Graphic Rendition"), and what to write so that it
is shown.

A text mode's cells are the VGA's own: its sixteen colours are the terminal's sixteen, in another order.  A graphics
mode is shown with two dots a cell, as upper half blocks in colours of 24 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from x86emu.display.colours import Pixels

# (character, parameters of SGR); a line of them, and a screen.
Cell = tuple[str, str]
Cells = list[list[Cell]]

# The VGA counts blue, green, red; a terminal red, green, blue.
TERMINAL_COLOUR = (0, 4, 2, 6, 1, 5, 3, 7)
HALF_BLOCK = "\u2580"


def _style(attribute: int, blink: bool) -> str:
    foreground, background = attribute & 15, attribute >> 4
    parameters = [(90 if foreground & 8 else 30) + TERMINAL_COLOUR[foreground & 7]]
    if blink:
        parameters.append(40 + TERMINAL_COLOUR[background & 7])
        if background & 8:
            parameters.append(5)
    else:
        parameters.append((100 if background & 8 else 40) + TERMINAL_COLOUR[background & 7])
    return ";".join(map(str, parameters))


STYLES = {blink: [_style(attribute, blink) for attribute in range(256)] for blink in (False, True)}


def text_cells(lines: Sequence[str], attributes: Sequence[bytes], *, blink: bool) -> Cells:
    """Cells of a text mode; `blink` says whether attribute bit 7 makes a character blink."""
    styles = STYLES[blink]
    return [
        [(character, styles[attribute]) for character, attribute in zip(line, values, strict=True)]
        for line, values in zip(lines, attributes, strict=True)
    ]


def picture_cells(pixels: Pixels, columns: int, rows: int) -> Cells:
    """A picture made smaller, or larger, to `columns` by 2 * `rows` dots at most, with its proportions."""
    height, width = pixels.shape
    scale = min(columns / width, 2 * rows / height)
    columns, rows = max(int(width * scale), 1), max(int(height * scale / 2), 1)
    x = np.arange(columns) * width // columns
    y = np.arange(2 * rows) * height // (2 * rows)
    samples = np.stack([pixels >> np.uint32(shift) & np.uint32(0xFF) for shift in (16, 8, 0)], axis=2)
    # Means over the dots that a half cell stands for, where there are several.
    sums = np.add.reduceat(np.add.reduceat(samples.astype(np.int64), y, axis=0), x, axis=1)
    counts = np.maximum(np.diff(np.append(y, height)), 1)[:, None, None] * np.maximum(np.diff(np.append(x, width)), 1)[
        None, :, None
    ]
    colours = (sums // counts).tolist()
    return [
        [
            (HALF_BLOCK, f"38;2;{top[0]};{top[1]};{top[2]};48;2;{bottom[0]};{bottom[1]};{bottom[2]}")
            for top, bottom in zip(colours[2 * row], colours[2 * row + 1], strict=True)
        ]
        for row in range(rows)
    ]


class CellDisplay:
    """Knows what a terminal shows, and writes only what differs."""

    def __init__(self) -> None:
        self._shown: Cells = []
        self._cursor: tuple[int, int] | None = None
        self._fresh = True

    def forget(self) -> None:
        """The terminal shows something else now: the next update draws everything."""
        self._fresh = True

    def update(self, cells: Cells, cursor: tuple[int, int] | None, columns: int, rows: int) -> str:
        """What to write so that `cells` are seen, as far as they fit into `columns` by `rows`; `cursor` from 0."""
        cells = [line[:columns] for line in cells[:rows]]
        parts: list[str] = []
        if self._fresh or [len(line) for line in cells] != [len(line) for line in self._shown]:
            parts.append("\x1b[0m\x1b[2J")
            self._shown = [[("", "")] * len(line) for line in cells]
            self._fresh = True
        style = None
        for row, (line, shown) in enumerate(zip(cells, self._shown, strict=True)):
            if line == shown:
                continue
            at = None
            for column, cell in enumerate(line):
                if cell == shown[column]:
                    continue
                if at != column:
                    parts.append(f"\x1b[{row + 1};{column + 1}H")
                if cell[1] != style:
                    style = cell[1]
                    parts.append(f"\x1b[0;{style}m")
                parts.append(cell[0])
                at = column + 1
        self._shown = cells
        if cursor is not None and (cursor[0] >= columns or cursor[1] >= rows):
            cursor = None
        if parts or cursor != self._cursor or self._fresh:
            parts.append("\x1b[0m")
            parts.append("\x1b[?25l" if cursor is None else f"\x1b[{cursor[1] + 1};{cursor[0] + 1}H\x1b[?25h")
            self._cursor = cursor
        self._fresh = False
        return "".join(parts)
