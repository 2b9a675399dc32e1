"""Portable Network Graphics (W3C Recommendation, second edition): truecolour with eight bits a sample."""

from __future__ import annotations

import struct
import zlib

import numpy as np

from x86emu.display.colours import Pixels

SIGNATURE = b"\x89PNG\r\n\x1a\n"
TRUECOLOUR = 2
FILTER_UP = 2


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def encode(pixels: Pixels, level: int = 6) -> bytes:
    """The file's bytes of a picture of 00RRGGBBh; `level` is zlib's, 1 fast to 9 small."""
    height, width = pixels.shape
    samples = np.empty((height, width, 3), dtype=np.uint8)
    for index, shift in enumerate((16, 8, 0)):
        samples[..., index] = pixels >> np.uint32(shift)
    lines = samples.reshape(height, width * 3)
    # Each line as its difference to the line above: much of a screen is the same as above.
    rows = np.empty((height, width * 3 + 1), dtype=np.uint8)
    rows[:, 0] = FILTER_UP
    rows[:1, 1:] = lines[:1]
    rows[1:, 1:] = lines[1:] - lines[:-1]
    header = struct.pack(">IIBBBBB", width, height, 8, TRUECOLOUR, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), level)
    return SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
