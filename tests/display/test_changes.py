"""Rectangles of what has changed: they cover every change, and little else."""

from __future__ import annotations

import random

import numpy as np

from x86emu.display.changes import TILE, changed_rectangles


def test_nothing_everything_and_another_size() -> None:
    picture = np.zeros((100, 70), dtype=np.uint32)
    assert changed_rectangles(picture, picture.copy()) == []
    assert changed_rectangles(None, picture) == [(0, 0, 70, 100)]
    assert changed_rectangles(picture, np.zeros((70, 100), dtype=np.uint32)) == [(0, 0, 100, 70)]
    assert changed_rectangles(picture, picture + np.uint32(1)) == [(0, 0, 70, 100)]


def test_a_dot_is_one_tile_and_a_row_of_tiles_one_rectangle() -> None:
    before = np.zeros((100, 200), dtype=np.uint32)
    after = before.copy()
    after[40, 90] = 1
    assert changed_rectangles(before, after) == [(64, 32, TILE, TILE)]
    after[40, 100] = after[70, 70] = after[70, 127] = 1
    assert changed_rectangles(before, after) == [(64, 32, 2 * TILE, 2 * TILE)]


def test_applying_the_rectangles_gives_the_picture() -> None:
    rng = random.Random(5)
    for _ in range(50):
        height, width = rng.randrange(1, 150), rng.randrange(1, 150)
        before = np.zeros((height, width), dtype=np.uint32)
        after = before.copy()
        for _ in range(rng.randrange(6)):
            after[rng.randrange(height), rng.randrange(width)] = 7
        copied = before.copy()
        for x, y, w, h in changed_rectangles(before, after):
            assert x + w <= width and y + h <= height
            copied[y : y + h, x : x + w] = after[y : y + h, x : x + w]
        assert np.array_equal(copied, after)
