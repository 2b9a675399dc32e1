"""What the CRT controller scans out: for each line of the picture the memory address counter at its start and the row
scan (IBM PS/2 Hardware Interface Technical Reference, "Video Subsystem": CRT Controller).

Start address, preset row scan, byte panning, offset, maximum scan line, double scan, line compare; the counter's byte,
word and doubleword modes and the row scan bits that replace address bits.  In doubleword mode the two lowest address
bits are zero, as they are on the host's side of chain 4 in this model of display memory.  Not modelled: counting every
second or fourth clock with the sequencer's wide shift loads, vertical counters at half rate, interlace.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from x86emu.display.adapter import AdapterState
from x86emu.display.colours import MODE_CONTROL, PEL_PANNING

HORIZONTAL_END, OVERFLOW, PRESET_ROW_SCAN, MAXIMUM_SCAN_LINE = 0x01, 0x07, 0x08, 0x09
START_HIGH, START_LOW, VERTICAL_END, OFFSET, UNDERLINE, MODE, LINE_COMPARE = 0x0C, 0x0D, 0x12, 0x13, 0x14, 0x17, 0x18
DOUBLE_SCAN = 0x80
DOUBLEWORD = 0x40  # of UNDERLINE
BYTE_MODE = 0x40  # of MODE
WORD_BIT_15 = 0x20
KEEP_BIT_13, KEEP_BIT_14 = 0x01, 0x02
PANNING_ABOVE_SPLIT_ONLY = 0x20  # of the attribute mode control
PLANE_ADDRESSES = 0x10000

Integers = NDArray[np.int64]


class ScanLines(NamedTuple):
    """Different lines of the picture and which of them each line shows.

    `address` (in character clocks), `row_scan` and `panned` belong to the different lines, `shown` has an index into
    them for every line of the picture.
    """

    address: Integers
    row_scan: Integers
    panned: NDArray[np.bool_]
    shown: Integers


def columns(state: AdapterState) -> int:
    """Character clocks of a line."""
    return state.crtc[HORIZONTAL_END] + 1


def visible_lines(state: AdapterState) -> int:
    """Scan lines of the picture."""
    overflow = state.crtc[OVERFLOW]
    return (state.crtc[VERTICAL_END] | (overflow & 0x02) << 7 | (overflow & 0x40) << 3) + 1


def scan_lines(state: AdapterState, *, row_scan_matters: bool) -> ScanLines:
    """The lines of the picture; without `row_scan_matters`, lines that differ by row scan alone are one."""
    crtc = state.crtc
    lines = visible_lines(state)
    height = (crtc[MAXIMUM_SCAN_LINE] & 0x1F) + 1
    repeat = 2 if crtc[MAXIMUM_SCAN_LINE] & DOUBLE_SCAN else 1
    compare = crtc[LINE_COMPARE] | (crtc[OVERFLOW] & 0x10) << 4 | (crtc[MAXIMUM_SCAN_LINE] & 0x40) << 3
    pitch = crtc[OFFSET] * 2
    start = crtc[START_HIGH] << 8 | crtc[START_LOW]
    byte_panning = crtc[PRESET_ROW_SCAN] >> 5 & 3
    preset = crtc[PRESET_ROW_SCAN] & 0x1F

    line = np.arange(lines)
    below = line > compare
    step = np.where(below, (line - compare - 1) // repeat, line // repeat + min(preset, height - 1))
    panned = ~below if state.attribute[MODE_CONTROL] & PANNING_ABOVE_SPLIT_ONLY else np.ones(lines, dtype=np.bool_)
    row, row_scan = step // height, step % height
    address = np.where(below, 0, start) + byte_panning * panned + row * pitch
    key = (address * 2 + panned) * 32 + (row_scan if row_scan_matters else 0)
    _, first, shown = np.unique(key, return_index=True, return_inverse=True)
    return ScanLines(address[first], row_scan[first], panned[first], shown.reshape(-1))


def plane_addresses(state: AdapterState, counter: Integers, row_scan: Integers) -> Integers:
    """Addresses within a plane that the memory address counter stands for, in the counter's mode."""
    mode = state.crtc[MODE]
    if state.crtc[UNDERLINE] & DOUBLEWORD:
        address = counter << 2
    elif not mode & BYTE_MODE:
        address = counter << 1 | counter >> (15 if mode & WORD_BIT_15 else 13) & 1
    else:
        address = counter.copy()
    if not mode & KEEP_BIT_13:
        address = address & ~0x2000 | (row_scan & 1) << 13
    if not mode & KEEP_BIT_14:
        address = address & ~0x4000 | (row_scan >> 1 & 1) << 14
    return address & (PLANE_ADDRESSES - 1)


def row_scan_in_address(state: AdapterState) -> bool:
    """Whether the row scan takes part in addressing, as in the modes that a CGA had."""
    return state.crtc[MODE] & (KEEP_BIT_13 | KEEP_BIT_14) != KEEP_BIT_13 | KEEP_BIT_14


def panning_dots(state: AdapterState, dots: int) -> int:
    """Dots by which lines are moved to the left, with `dots` dots to a character clock."""
    panning = state.attribute[PEL_PANNING] & 0x0F
    if dots == 9:
        return 0 if panning >= 8 else panning + 1
    return panning & 7
