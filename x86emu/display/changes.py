"""What has changed between two pictures: rectangles of whole tiles, so that only they need to be sent or drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from x86emu.display.colours import Pixels

TILE = 32  # dots; a text cell's change costs one or two tiles


class Rectangle(NamedTuple):
    """Dots from (x, y) on, `width` by `height`."""

    x: int
    y: int
    width: int
    height: int


def changed_rectangles(before: Pixels | None, after: Pixels) -> list[Rectangle]:
    """Rectangles that hold every dot in which the pictures differ; all of it where the size has changed."""
    height, width = after.shape
    if before is None or before.shape != after.shape:
        return [Rectangle(0, 0, width, height)]
    differs = before != after
    if not differs.any():
        return []
    rows = np.logical_or.reduceat(differs, np.arange(0, height, TILE), axis=0)
    tiles = np.logical_or.reduceat(rows, np.arange(0, width, TILE), axis=1)
    found: list[Rectangle] = []
    open_spans: dict[tuple[int, int], int] = {}
    for row, line in enumerate([*tiles.tolist(), []]):
        spans = _spans(line)
        for span in [span for span in open_spans if span not in spans]:
            top = open_spans.pop(span) * TILE
            left, right = span[0] * TILE, min(span[1] * TILE, width)
            found.append(Rectangle(left, top, right - left, min(row * TILE, height) - top))
        for span in spans:
            open_spans.setdefault(span, row)
    return found


def _spans(line: list[bool]) -> list[tuple[int, int]]:
    """Runs of changed tiles as (first, behind last)."""
    spans: list[tuple[int, int]] = []
    for column, changed in enumerate(line):
        if changed and spans and spans[-1][1] == column:
            spans[-1] = (spans[-1][0], column + 1)
        elif changed:
            spans.append((column, column + 1))
    return spans
