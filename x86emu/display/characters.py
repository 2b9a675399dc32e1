"""Text modes: characters and attributes of planes 0 and 1 with fonts of plane 2 (IBM PS/2 Hardware Interface Technical
Reference, "Video Subsystem": alphanumeric modes, Character Map Select, Attribute Mode Control, cursor registers).

Two character maps, eight or nine dots, line graphics, underline, blinking characters, the cursor's shape and skew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x86emu.display import scan
from x86emu.display.adapter import AdapterState
from x86emu.display.colours import MODE_CONTROL, Pixels, attribute_colours

CHARACTER_MAP_SELECT = 3  # sequencer
CLOCKING_MODE = 1
EIGHT_DOTS = 0x01
CURSOR_START, CURSOR_END, CURSOR_HIGH, CURSOR_LOW, UNDERLINE = 0x0A, 0x0B, 0x0E, 0x0F, 0x14
CURSOR_OFF = 0x20
LINE_GRAPHICS, BLINK = 0x04, 0x08  # attribute mode control
CURSOR_HIDDEN, CHARACTERS_HIDDEN = 0x08, 0x10  # bits of the frame counter
GLYPH_BYTES = 32

# Byte n of entry v is bit 7 - n of v: the dots of a glyph's line in the order of the screen.
SPREAD: NDArray[np.uint64] = np.ascontiguousarray(
    np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
).view(np.uint64)[:, 0]  # fmt: skip
ONES = np.uint64(0x0101010101010101)


def font_offset(selection: int) -> int:
    """Byte of plane 2 at which character map 0-7 begins."""
    return (selection & 3) * 0x4000 + (selection >> 2) * 0x2000


def character_maps(state: AdapterState) -> tuple[int, int]:
    """Where the glyphs of characters lie whose attribute bit 3 is clear and set."""
    select = state.sequencer[CHARACTER_MAP_SELECT]
    return font_offset(select & 3 | select >> 2 & 4), font_offset(select >> 2 & 3 | select >> 3 & 4)


def render_text(state: AdapterState) -> Pixels:
    """The picture of a text mode, in dots of the monitor."""
    planes = np.frombuffer(state.memory, dtype=np.uint8, count=4 * scan.PLANE_ADDRESSES).reshape(-1, 4)
    dots = 8 if state.sequencer[CLOCKING_MODE] & EIGHT_DOTS else 9
    panning = scan.panning_dots(state, dots)
    columns = scan.columns(state)
    lines = scan.scan_lines(state, row_scan_matters=True)
    counter = (lines.address[:, None] + np.arange(columns + (panning > 0))) & 0xFFFF
    row_scan = lines.row_scan[:, None]
    cells = planes[scan.plane_addresses(state, counter, row_scan)]
    characters, attributes = cells[..., 0], cells[..., 1]

    first_map, second_map = character_maps(state)
    font = np.where(attributes & 8, second_map, first_map)
    glyphs = planes[(font + characters.astype(np.int64) * GLYPH_BYTES + row_scan) & 0xFFFF, 2]
    ninth = np.zeros_like(glyphs)
    if state.attribute[MODE_CONTROL] & LINE_GRAPHICS:
        ninth = np.where((characters & 0xE0) == 0xC0, glyphs & 1, 0).astype(np.uint8)

    foreground = attributes & 15
    background = attributes >> 4
    hidden = np.zeros_like(attributes, dtype=np.bool_)
    if state.attribute[MODE_CONTROL] & BLINK:
        background = background & 7
        if state.frame & CHARACTERS_HIDDEN:
            hidden = attributes >= 0x80
    full = (row_scan == state.crtc[UNDERLINE] & 0x1F) & ((attributes & 0x77) == 0x01)
    glyphs = np.where(full, 0xFF, glyphs)
    ninth = np.where(full, 1, ninth)
    glyphs, ninth = np.where(hidden, 0, glyphs), np.where(hidden, 0, ninth)
    cursor = _cursor(state, counter, row_scan)
    glyphs, ninth = np.where(cursor, 0xFF, glyphs), np.where(cursor, 1, ninth)

    # Eight dots at a time: background, and where a dot is set the bits in which the foreground differs.
    difference = (foreground ^ background).astype(np.uint64)
    eight = (background * ONES ^ SPREAD[glyphs] * difference).astype(np.uint64)
    values = eight.view(np.uint8).reshape(*glyphs.shape, 8)
    if dots == 9:
        last = np.where(ninth, foreground, background).astype(np.uint8)
        values = np.concatenate((values, last[..., None]), axis=2)
    picture = values.reshape(len(glyphs), -1)
    if panning:
        picture = pan(picture, lines.panned, panning, columns * dots)
    return attribute_colours(state)[picture][lines.shown]


def pan(picture: NDArray[np.uint8], panned: NDArray[np.bool_], dots: int, width: int) -> NDArray[np.uint8]:
    """Moves the lines that are panned to the left by `dots`; the result has `width` dots."""
    return np.where(panned[:, None], picture[:, dots : dots + width], picture[:, :width])


def _cursor(state: AdapterState, counter: scan.Integers, row_scan: scan.Integers) -> NDArray[np.bool_]:
    """Where the cursor covers the character."""
    crtc = state.crtc
    start, end = crtc[CURSOR_START], crtc[CURSOR_END]
    if start & CURSOR_OFF or state.frame & CURSOR_HIDDEN:
        return np.zeros(counter.shape, dtype=np.bool_)
    place = (crtc[CURSOR_HIGH] << 8 | crtc[CURSOR_LOW]) + (end >> 5 & 3)
    rows = (row_scan >= start & 0x1F) & (row_scan <= end & 0x1F)
    covered: NDArray[np.bool_] = (counter == place & 0xFFFF) & rows
    return covered
