"""A picture of a screen, as an object: its pixels, a PNG file, and itself in a notebook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from x86emu.display import png
from x86emu.display.colours import Pixels
from x86emu.errors import UserInputError


@dataclass(frozen=True, eq=False)
class Picture:
    """`pixels` has a colour 00RRGGBBh for each dot (shape: height, width)."""

    pixels: Pixels

    @property
    def width(self) -> int:
        """Dots of a line."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Lines."""
        return int(self.pixels.shape[0])

    def rgb(self) -> NDArray[np.uint8]:
        """Red, green and blue of each dot (shape: height, width, 3)."""
        return np.stack([self.pixels >> np.uint32(shift) & np.uint32(0xFF) for shift in (16, 8, 0)], axis=2).astype(
            np.uint8
        )

    def png(self) -> bytes:
        """The picture as the contents of a PNG file."""
        return png.encode(self.pixels)

    def save(self, path: str | Path) -> None:
        """Writes a PNG file.  UserInputError where the host does not let it be written."""
        try:
            Path(path).write_bytes(self.png())
        except OSError as error:
            raise UserInputError(
                f"{path}: the picture cannot be written ({error.strerror}); give a file in a directory that can be"
            ) from None

    def _repr_png_(self) -> bytes:
        return self.png()
