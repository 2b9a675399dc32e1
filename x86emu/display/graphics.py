"""The VGA's graphics modes: four planes through the graphics controller's shift registers and the attribute controller
(IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": Graphics Mode, all-points-addressable modes).

Planar with sixteen colours, the CGA's interleaved two-bit pixels, 256 colours chained and not.  Not modelled: blinking
in graphics modes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x86emu.display import scan
from x86emu.display.adapter import AdapterState, VbeMode
from x86emu.display.characters import SPREAD, pan
from x86emu.display.colours import MODE_CONTROL, Pixels, attribute_colours, dac_colours

GRAPHICS_MODE = 5
SHIFT_256, SHIFT_INTERLEAVED = 0x40, 0x20
PIXELS_OF_8_BITS = 0x40  # attribute mode control
# The four two-bit pixels of a byte, as the bytes of a dword in the order of the screen.
PAIRS: NDArray[np.uint32] = np.ascontiguousarray(
    np.stack([np.arange(256) >> shift & 3 for shift in (6, 4, 2, 0)], axis=1).astype(np.uint8)
).view(np.uint32)[:, 0]  # fmt: skip


def _cells(state: AdapterState, addresses: scan.Integers) -> NDArray[np.uint32]:
    return np.frombuffer(state.memory, dtype="<u4", count=scan.PLANE_ADDRESSES)[addresses]


def render_graphics(state: AdapterState) -> Pixels:
    """The picture of a VGA graphics mode, in dots of the monitor."""
    lines = scan.scan_lines(state, row_scan_matters=scan.row_scan_in_address(state))
    columns = scan.columns(state)
    panning = scan.panning_dots(state, 8)
    counter = (lines.address[:, None] + np.arange(columns + (panning > 0))) & 0xFFFF
    cells = _cells(state, scan.plane_addresses(state, counter, lines.row_scan[:, None]))
    if state.graphics[GRAPHICS_MODE] & SHIFT_256 and state.attribute[MODE_CONTROL] & PIXELS_OF_8_BITS:
        values = np.repeat(cells.view(np.uint8), 2, axis=1)
        colours = dac_colours(state)
    else:
        values = _four_bit_pixels(state, cells)
        colours = attribute_colours(state)
    if panning:
        values = pan(values, lines.panned, panning, columns * 8)
    return colours[values][lines.shown]


def _four_bit_pixels(state: AdapterState, cells: NDArray[np.uint32]) -> NDArray[np.uint8]:
    mode = state.graphics[GRAPHICS_MODE]
    if mode & SHIFT_256:
        data = cells.view(np.uint8)
        return np.stack((data >> 4, data & 15), axis=2).reshape(len(data), -1)
    if mode & SHIFT_INTERLEAVED:
        first = PAIRS[cells & 0xFF] | PAIRS[cells >> 16 & 0xFF] << 2
        second = PAIRS[cells >> 8 & 0xFF] | PAIRS[cells >> 24] << 2
        return np.stack((first, second), axis=2).view(np.uint8).reshape(len(cells), -1)
    return _planar(cells)


def _planar(cells: NDArray[np.uint32]) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint64] = SPREAD[cells & 0xFF]
    for plane in (1, 2, 3):
        pixels |= SPREAD[cells >> (8 * plane) & 0xFF] << np.uint64(plane)
    return pixels.view(np.uint8)


def render_vbe_planar(state: AdapterState, mode: VbeMode) -> Pixels:
    """A VBE mode of sixteen colours: planes in byte mode, with the VBE registers' geometry."""
    rows = (np.arange(mode.height) + mode.y) * (mode.virtual_width >> 3) + (mode.x >> 3)
    plane_bytes = len(state.memory) >> 2
    first = mode.x & 7
    addresses = (rows[:, None] + np.arange((first + mode.width + 7) >> 3)) % plane_bytes
    values = _planar(np.frombuffer(state.memory, dtype="<u4")[addresses])
    return attribute_colours(state)[values[:, first : first + mode.width]]
