"""Builds the images of bios/ with nasm into x86emu/firmware/, where the package finds them.

An option ROM's bytes, and separately those of its PnP header, add up to zero modulo 256 (Plug and Play BIOS
Specification 1.0A, 3.1 and 3.2).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCE = HERE / "boot_rom.asm"
IMAGE = HERE.parent / "x86emu" / "firmware" / "boot_rom.bin"


def assemble(source: Path) -> bytes:
    """Returns the finished ROM image of ``source``; CalledProcessError carries what nasm said."""
    with tempfile.TemporaryDirectory() as scratch:
        out = Path(scratch) / "rom.bin"
        subprocess.run(["nasm", "-f", "bin", "-w+all", "-o", str(out), str(source)], check=True)
        rom = bytearray(out.read_bytes())
    rom += bytes(1)  # room for the checksum
    rom += bytes(-len(rom) % 512)
    rom[2] = len(rom) // 512
    header = int.from_bytes(rom[0x1A:0x1C], "little")
    length = rom[header + 5] * 16
    rom[header + 9] = -sum(rom[header : header + length]) & 0xFF
    rom[-1] = -sum(rom) & 0xFF
    return bytes(rom)


def main() -> int:
    IMAGE.write_bytes(assemble(SOURCE))
    print(f"{IMAGE}: {IMAGE.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
