"""A display adapter's state as plain data: all that a picture depends on.

Registers as the IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem", numbers them; VBE as the Bochs
dispi registers have it.  Whoever owns the adapter fills this in; rendering reads nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class VbeMode(NamedTuple):
    """A Bochs VBE mode: sizes and offsets in pixels, `depth` in bits per pixel (4, 8, 15, 16, 24, 32)."""

    width: int
    height: int
    depth: int
    virtual_width: int
    x: int
    y: int


@dataclass(frozen=True, eq=False)
class AdapterState:
    """A VGA with Bochs VBE at one moment.

    `memory` is display memory, byte p of dword a being byte a of plane p; `palette` the DAC's 256 entries of red, green
    and blue, 6 bits each or 8 with `dac_8_bits`; `frame` counts pictures since power-on, for what blinks.
    """

    sequencer: bytes
    graphics: bytes
    crtc: bytes
    attribute: bytes
    attribute_index: int
    palette: bytes
    pel_mask: int
    dac_8_bits: bool
    vbe: VbeMode | None
    memory: bytes | bytearray
    frame: int = 0
