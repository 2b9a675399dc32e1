"""From pixel values to colours: the attribute controller's palette and the DAC (IBM PS/2 Hardware Interface Technical
Reference, "Video Subsystem": Attribute Controller, Video Digital-to-Analog Converter).

A colour is 00RRGGBBh.  Six bits of the DAC are spread over eight so that full is FFh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x86emu.display.adapter import AdapterState

Pixels = NDArray[np.uint32]

# Attribute controller registers.
MODE_CONTROL, OVERSCAN, PLANE_ENABLE, PEL_PANNING, COLOUR_SELECT = 0x10, 0x11, 0x12, 0x13, 0x14
MODE_PALETTE_FROM_SELECT = 0x80


def dac_colours(state: AdapterState) -> Pixels:
    """The colours of the 256 values that reach the DAC, the PEL mask applied."""
    components: Pixels = np.frombuffer(state.palette, dtype=np.uint8).reshape(256, 3).astype(np.uint32)
    if not state.dac_8_bits:
        components &= np.uint32(0x3F)
        components = components << np.uint32(2) | components >> np.uint32(4)
    colours: Pixels = components @ np.array((1 << 16, 1 << 8, 1), dtype=np.uint32)
    return colours.take(np.arange(256) & state.pel_mask)


def attribute_values(state: AdapterState) -> list[int]:
    """What the attribute controller sends to the DAC for each of the sixteen colours."""
    attribute = state.attribute
    select = attribute[COLOUR_SELECT]
    values = []
    for colour in range(16):
        value = attribute[colour & attribute[PLANE_ENABLE] & 15] & 0x3F
        if attribute[MODE_CONTROL] & MODE_PALETTE_FROM_SELECT:
            value = value & 0x0F | (select & 3) << 4
        values.append(value | (select >> 2 & 3) << 6)
    return values


def attribute_colours(state: AdapterState) -> Pixels:
    """The sixteen colours of text and planar modes."""
    return dac_colours(state)[attribute_values(state)]


def overscan_colour(state: AdapterState) -> int:
    """The border's colour, which is all there is to see while the palette is off the display."""
    return int(dac_colours(state)[state.attribute[OVERSCAN]])
