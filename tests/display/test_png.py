"""PNG files of ours, read by another program's reader."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from x86emu.display import Picture
from x86emu.errors import UserInputError


def test_every_pixel_comes_back() -> None:
    pixels = np.random.default_rng(1).integers(0, 1 << 24, (37, 53), dtype=np.uint32)
    picture = Picture(pixels)
    read = np.asarray(Image.open(io.BytesIO(picture.png())))
    assert read.shape == (picture.height, picture.width, 3) == (37, 53, 3)
    assert np.array_equal(read, picture.rgb())
    assert [int(v) for v in read[0, 0]] == [int(pixels[0, 0]) >> shift & 0xFF for shift in (16, 8, 0)]


def test_a_file_that_cannot_be_written(tmp_path: Path) -> None:
    picture = Picture(np.zeros((1, 1), dtype=np.uint32))
    picture.save(tmp_path / "dot.png")
    assert Image.open(io.BytesIO((tmp_path / "dot.png").read_bytes())).size == (1, 1)
    with pytest.raises(UserInputError, match="none/dot.png: the picture cannot be written .*; give a file"):
        picture.save(tmp_path / "none" / "dot.png")
