"""What a VGA text mode shows: characters and attributes of display memory in the CRT controller's order (IBM PS/2
Hardware Interface Technical Reference, "Video Subsystem": CRT Controller, alphanumeric modes)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

# Code page 437 has pictures where ASCII has control characters; 00h is blank.
_PICTURES = " ☺☻♥♦♣♠•◘○◙♂♀♪♫☼►◄↕‼¶§▬↨↑↓→←∟↔▲▼"
CODE_PAGE_437 = _PICTURES + bytes(range(32, 127)).decode() + "⌂" + bytes(range(128, 256)).decode("cp437")


class TextGeometry(NamedTuple):
    """Cells of the screen and where they lie, in cells; `cursor` is (column, row) or None where it is off."""

    columns: int
    rows: int
    start: int
    pitch: int
    split_row: int
    cursor: tuple[int, int] | None


def geometry(crtc: Sequence[int]) -> TextGeometry:
    """Reads the geometry out of CRT controller registers."""
    columns = crtc[0x01] + 1
    scan_lines = (crtc[0x12] | (crtc[0x07] & 0x02) << 7 | (crtc[0x07] & 0x40) << 3) + 1
    height = (crtc[0x09] & 0x1F) + 1
    if crtc[0x09] & 0x80:
        scan_lines //= 2
    rows = min(max(scan_lines // height, 1), 256)
    start = crtc[0x0C] << 8 | crtc[0x0D]
    pitch = crtc[0x13] * 2
    # From the line compare on, the screen shows display memory from its beginning.
    compare = crtc[0x18] | (crtc[0x07] & 0x10) << 4 | (crtc[0x09] & 0x40) << 3
    split_row = min((compare + 1) // height, rows)
    at = (crtc[0x0E] << 8 | crtc[0x0F]) - start
    cursor = None
    if not crtc[0x0A] & 0x20 and at >= 0 and pitch:
        row, column = divmod(at, pitch)
        if row < rows and column < columns:
            cursor = (column, row)
    return TextGeometry(columns, rows, start, pitch, split_row, cursor)


def rows_of_plane(memory: bytes | bytearray, shape: TextGeometry, plane: int) -> list[bytes]:
    """A plane's bytes, one string a text row: plane 0 holds characters, plane 1 attributes."""
    # Word mode: cell n is at offset 2n of its plane, and byte a of plane p at 4a + p of the memory.
    plane_cells = memory[plane : 0x40000 : 8]
    result = []
    for row in range(shape.rows):
        first = shape.start + row * shape.pitch if row < shape.split_row else (row - shape.split_row) * shape.pitch
        first %= len(plane_cells)
        line = plane_cells[first : first + shape.columns]
        if len(line) < shape.columns:
            line += plane_cells[: shape.columns - len(line)]
        result.append(bytes(line))
    return result


def characters(line: bytes) -> str:
    """A row's characters."""
    return "".join([CODE_PAGE_437[character] for character in line])


def to_text(line: bytes) -> str:
    """A row's characters, with trailing blanks cut."""
    return characters(line).rstrip()
