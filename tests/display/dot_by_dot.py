"""A VGA's way from registers and memory to the screen, told a second time: counters that are clocked line by line and
dot by dot, as the IBM PS/2 Hardware Interface Technical Reference describes them.  Slow; for comparison only."""

from __future__ import annotations

from x86emu.display import AdapterState


def screen(state: AdapterState) -> list[list[int]]:
    """The picture, one list of 00RRGGBBh a line."""
    crtc, attribute = state.crtc, state.attribute
    lines = (crtc[0x12] + (crtc[7] >> 1 & 1) * 256 + (crtc[7] >> 6 & 1) * 512) + 1
    compare = crtc[0x18] + (crtc[7] >> 4 & 1) * 256 + (crtc[9] >> 6 & 1) * 512
    last_row_scan = crtc[9] & 31
    address = crtc[0x0C] * 256 + crtc[0x0D] + (crtc[8] >> 5 & 3)
    row_scan = min(crtc[8] & 31, last_row_scan)
    panning_on = True
    half = False
    picture = []
    for line in range(lines):
        picture.append(_line(state, address, row_scan, panning_on))
        if line == compare:
            address, row_scan, half = 0, 0, False
            if attribute[0x10] & 0x20:
                panning_on = False
            else:
                address = crtc[8] >> 5 & 3
            continue
        if crtc[9] & 0x80:
            half = not half
            if half:
                continue
        if row_scan == last_row_scan:
            row_scan = 0
            address += crtc[0x13] * 2
        else:
            row_scan += 1
    return picture


def _line(state: AdapterState, address: int, row_scan: int, panning_on: bool) -> list[int]:
    text = not state.graphics[6] & 1
    nine = text and not state.sequencer[1] & 1
    pan = state.attribute[0x13] & 15
    skip = (0 if pan > 7 else pan + 1) if nine else pan & 7
    width = (state.crtc[1] + 1) * (9 if nine else 8)
    if not panning_on:
        skip = 0
    dots: list[int] = []
    clock = 0
    while len(dots) < width + skip:
        counter = address + clock & 0xFFFF
        dots += _character(state, counter, row_scan) if text else _shifted(state, counter, row_scan)
        clock += 1
    line = [_dac(state, dot) if _eight_bits(state) else _colour(state, dot) for dot in dots[skip : skip + width]]
    return [dot for dot in line for _ in range(2)] if state.sequencer[1] & 8 else line


def _eight_bits(state: AdapterState) -> bool:
    return bool(state.graphics[6] & 1 and state.graphics[5] & 0x40 and state.attribute[0x10] & 0x40)


def _plane_bytes(state: AdapterState, counter: int, row_scan: int) -> tuple[int, ...]:
    bits = [counter >> bit & 1 for bit in range(16)]
    if state.crtc[0x14] & 0x40:
        bits = [0, 0, *bits[:14]]
    elif not state.crtc[0x17] & 0x40:
        bits = [bits[15 if state.crtc[0x17] & 0x20 else 13], *bits[:15]]
    if not state.crtc[0x17] & 1:
        bits[13] = row_scan & 1
    if not state.crtc[0x17] & 2:
        bits[14] = row_scan >> 1 & 1
    at = sum(bit << index for index, bit in enumerate(bits))
    return tuple(state.memory[4 * at : 4 * at + 4])


def _character(state: AdapterState, counter: int, row_scan: int) -> list[int]:
    code, attribute, _, _ = _plane_bytes(state, counter, row_scan)
    select = state.sequencer[3]
    number = (select >> 2 & 3) + (select >> 5 & 1) * 4 if attribute & 8 else (select & 3) + (select >> 4 & 1) * 4
    font = (0, 16, 32, 48, 8, 24, 40, 56)[number] * 1024
    glyph = state.memory[4 * (font + code * 32 + row_scan) + 2]
    dots = [glyph >> bit & 1 for bit in range(7, -1, -1)]
    dots.append(dots[7] if state.attribute[0x10] & 4 and 0xC0 <= code <= 0xDF else 0)
    background, foreground = attribute >> 4, attribute & 15
    if state.crtc[0x14] & 31 == row_scan and attribute & 0x77 == 1:
        dots = [1] * 9
    if state.attribute[0x10] & 8:
        background &= 7
        if attribute & 0x80 and state.frame // 16 % 2:
            dots = [0] * 9
    cursor = state.crtc[0x0E] * 256 + state.crtc[0x0F] + (state.crtc[0x0B] >> 5 & 3)
    shape = range(state.crtc[0x0A] & 31, (state.crtc[0x0B] & 31) + 1)
    if counter == cursor and row_scan in shape and not state.crtc[0x0A] & 0x20 and not state.frame // 8 % 2:
        dots = [1] * 9
    return [foreground if dot else background for dot in dots[: 8 if state.sequencer[1] & 1 else 9]]


def _shifted(state: AdapterState, counter: int, row_scan: int) -> list[int]:
    planes = _plane_bytes(state, counter, row_scan)
    mode = state.graphics[5]
    if mode & 0x40:
        if state.attribute[0x10] & 0x40:
            return [byte for byte in planes for _ in range(2)]
        return [nibble for byte in planes for nibble in (byte >> 4, byte & 15)]
    if mode & 0x20:
        pairs = [(first, shift) for first in (0, 1) for shift in (6, 4, 2, 0)]
        return [(planes[first] >> shift & 3) + (planes[first + 2] >> shift & 3) * 4 for first, shift in pairs]
    return [sum((planes[plane] >> bit & 1) << plane for plane in range(4)) for bit in range(7, -1, -1)]


def _colour(state: AdapterState, value: int) -> int:
    attribute = state.attribute
    six = attribute[value & attribute[0x12]] & 63
    if attribute[0x10] & 0x80:
        six = six & 15 | (attribute[0x14] & 3) << 4
    return _dac(state, six | (attribute[0x14] >> 2 & 3) << 6)


def _dac(state: AdapterState, value: int) -> int:
    at = 3 * (value & state.pel_mask)
    colour = 0
    for component in state.palette[at : at + 3]:
        if not state.dac_8_bits:
            component = (component & 63) * 65 // 16
        colour = colour << 8 | component
    return colour
