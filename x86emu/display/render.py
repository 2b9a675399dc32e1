"""From an adapter's state to a picture: which kind of mode is on, and what blanks the screen.

The picture has the dots that a monitor would get: 640x400 for 320x200 with doubled lines and dots, 720x400 for the
common text mode.  VBE modes have the pixels of their registers.
"""

from __future__ import annotations

import numpy as np

from x86emu.display import scan
from x86emu.display.adapter import AdapterState
from x86emu.display.characters import render_text
from x86emu.display.colours import Pixels, overscan_colour
from x86emu.display.graphics import render_graphics, render_vbe_planar
from x86emu.display.linear import render_linear

CLOCKING_MODE = 1
HALF_DOT_CLOCK, SCREEN_OFF, EIGHT_DOTS = 0x08, 0x20, 0x01
MISCELLANEOUS, GRAPHICS_MODE = 6, 0x01
PALETTE_ON_DISPLAY = 0x20  # attribute index bit 5
SMALLEST_LINES = 16
NOTHING_YET = (400, 640)  # height and width of the black picture before anything is set up


def render(state: AdapterState) -> Pixels:
    """The picture as 00RRGGBBh, one row a line (shape: height, width)."""
    if state.vbe is not None:
        shape = (state.vbe.height, state.vbe.width)
    elif scan.columns(state) < 2 or scan.visible_lines(state) < SMALLEST_LINES:
        return np.zeros(NOTHING_YET, dtype=np.uint32)
    else:
        shape = _vga_shape(state)
    if state.sequencer[CLOCKING_MODE] & SCREEN_OFF:
        return np.zeros(shape, dtype=np.uint32)
    if not state.attribute_index & PALETTE_ON_DISPLAY:
        return np.full(shape, overscan_colour(state), dtype=np.uint32)
    if state.vbe is not None:
        return render_vbe_planar(state, state.vbe) if state.vbe.depth == 4 else render_linear(state, state.vbe)
    picture = render_graphics(state) if state.graphics[MISCELLANEOUS] & GRAPHICS_MODE else render_text(state)
    return np.repeat(picture, 2, axis=1) if state.sequencer[CLOCKING_MODE] & HALF_DOT_CLOCK else picture


def _vga_shape(state: AdapterState) -> tuple[int, int]:
    text = not state.graphics[MISCELLANEOUS] & GRAPHICS_MODE
    dots = 9 if text and not state.sequencer[CLOCKING_MODE] & EIGHT_DOTS else 8
    width = scan.columns(state) * dots
    return scan.visible_lines(state), width * 2 if state.sequencer[CLOCKING_MODE] & HALF_DOT_CLOCK else width
