"""EDID of the monitor (VESA E-EDID standard, release A, structure 1.3): 128 bytes built from a preferred mode."""

from __future__ import annotations

from typing import NamedTuple


class Timing(NamedTuple):
    """A detailed timing: pixel clock in 10 kHz, then active, blanking, sync offset and sync width of each axis."""

    clock: int
    width: int
    h_blank: int
    h_offset: int
    h_sync: int
    height: int
    v_blank: int
    v_offset: int
    v_sync: int


# VESA 1024x768 at 60 Hz (VESA monitor timing standard).
XGA = Timing(6500, 1024, 320, 24, 136, 768, 38, 3, 6)


def manufacturer_id(letters: str) -> bytes:
    """Three capitals in five bits each, big-endian."""
    code = 0
    for letter in letters:
        code = code << 5 | ord(letter) - 64
    return code.to_bytes(2, "big")


def detailed_timing(timing: Timing, width_mm: int, height_mm: int) -> bytes:
    """An 18-byte detailed timing descriptor (chapter 3.10.2), positive syncs, separate."""
    t = timing
    return t.clock.to_bytes(2, "little") + bytes(
        (
            t.width & 0xFF,
            t.h_blank & 0xFF,
            t.width >> 8 << 4 | t.h_blank >> 8,
            t.height & 0xFF,
            t.v_blank & 0xFF,
            t.height >> 8 << 4 | t.v_blank >> 8,
            t.h_offset & 0xFF,
            t.h_sync & 0xFF,
            (t.v_offset & 15) << 4 | t.v_sync & 15,
            t.h_offset >> 8 << 6 | t.h_sync >> 8 << 4 | t.v_offset >> 4 << 2 | t.v_sync >> 4,
            width_mm & 0xFF,
            height_mm & 0xFF,
            width_mm >> 8 << 4 | height_mm >> 8,
            0,
            0,
            0x1E,
        )
    )


def text_descriptor(kind: int, text: str) -> bytes:
    """A display descriptor with up to 13 characters (chapter 3.10.3)."""
    body = text[:13].encode("ascii")
    return bytes((0, 0, 0, kind, 0)) + (body + b"\n" if len(body) < 13 else body).ljust(13)


def edid_block(timing: Timing = XGA, name: str = "x86emu") -> bytes:
    """A digital monitor of 4:3 with established timings up to 1024x768 and `timing` as its preferred one."""
    range_limits = bytes((0, 0, 0, 0xFD, 0, 50, 125, 30, 160, 30, 0, 0x0A)) + b" " * 6
    # Established timings: 640x480 at 60 Hz, 800x600 at 60 Hz, 1024x768 at 60 Hz.
    standard = b"\x61\x40" + b"\x01\x01" * 7  # 1024x768 4:3 at 60 Hz
    block = (
        b"\x00\xff\xff\xff\xff\xff\xff\x00"
        + manufacturer_id("XEM")
        + bytes((1, 0, 1, 0, 0, 0, 1, 35, 1, 3, 0x80, 32, 24, 0x78, 0x0A))
        + bytes((0xEE, 0x91, 0xA3, 0x54, 0x4C, 0x99, 0x26, 0x0F, 0x50, 0x54))  # sRGB chromaticity
        + bytes((0x21, 0x08, 0x00))
        + standard
        + detailed_timing(timing, 320, 240)
        + text_descriptor(0xFC, name)
        + range_limits
        + text_descriptor(0xFF, "1")
        + bytes((0,))
    )
    return block + bytes((-sum(block) & 0xFF,))
