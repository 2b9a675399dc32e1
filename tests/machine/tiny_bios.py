"""Firmware of a few instructions, made here: what a test needs to run a machine without anything installed.

Code lies at F000:0000 and is entered from the reset vector in real mode.
"""

from __future__ import annotations

import struct
from pathlib import Path

HALT = b"\xfa\xf4\xeb\xfc"  # CLI; HLT; again
FOREVER = b"\xeb\xfe"
COM1 = 0x3F8


def out8(port: int, value: int) -> bytes:
    return b"\xba" + struct.pack("<H", port) + b"\xb0" + bytes([value]) + b"\xee"


def out16(port: int, value: int) -> bytes:
    return b"\xba" + struct.pack("<H", port) + b"\xb8" + struct.pack("<H", value) + b"\xef"


def out32(port: int, value: int) -> bytes:
    return b"\xba" + struct.pack("<H", port) + b"\x66\xb8" + struct.pack("<I", value) + b"\x66\xef"


def say(text: str, port: int = COM1) -> bytes:
    """Writes text to COM1 (8 bits a character) or to another port."""
    setup = out8(COM1 + 3, 3) if port == COM1 else b""
    return setup + b"".join(out8(port, byte) for byte in text.encode())


def delay(count: int) -> bytes:
    """About 2 * count instructions."""
    return b"\x66\xb9" + struct.pack("<I", count) + b"\x66\x49\x75\xfc"


POWER_OFF = (
    out32(0xCF8, 0x8000_0B40) + out32(0xCFC, 0x601) + out32(0xCF8, 0x8000_0B80) + out8(0xCFC, 1) + out16(0x604, 0x2000)
)
RESET = out8(0xCF9, 2) + out8(0xCF9, 6)
# LIDT with a limit of 0, then an interrupt: no vector can be read, three times.
TRIPLE_FAULT = b"\x66\x2e\x0f\x01\x1e\x00\x10" + b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0" + b"\xcc"


def image(code: bytes) -> bytes:
    """A BIOS image of 64 KiB."""
    assert len(code) < 0x1000
    return code.ljust(0xFFF0, b"\0") + b"\xea\0\0\0\xf0" + bytes(11)


def write(path: Path, *code: bytes) -> Path:
    """The image in a file."""
    path.write_bytes(image(b"".join(code)))
    return path
