"""Where RAM lies in the i440FX PC's address space, and what the firmware is told about it (file etc/e820, CMOS).

i440FX: 82441FX datasheet chapter 3 (address map).  File etc/e820: entries of the INT 15h E820h interface (ACPI
Specification 6.4, 15.1): base, length, type.  CMOS bytes: the PC AT's map as SeaBIOS reads it (its source docs and
QEMU's public description of the PC's CMOS).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
BELOW_4G_LIMIT = 3 * GIB  # RAM beyond this goes above 4 GiB, leaving the hole to PCI, I/O APIC and firmware
E820_RAM, E820_RESERVED = 1, 2

# Boot device codes of CMOS bytes 38h and 3Dh.
BOOT_CODES = {"a": 1, "c": 2, "d": 3, "n": 4}


@dataclass(frozen=True)
class MemoryLayout:
    """Bytes of RAM from address 0, and from 4 GiB up."""

    below_4g: int
    above_4g: int

    @classmethod
    def of(cls, memory: int) -> MemoryLayout:
        below = min(memory, BELOW_4G_LIMIT)
        return cls(below, memory - below)

    def e820(self) -> bytes:
        """The file etc/e820: one entry for each stretch of RAM."""
        entries = struct.pack("<QQI", 0, self.below_4g, E820_RAM)
        if self.above_4g:
            entries += struct.pack("<QQI", 4 * GIB, self.above_4g, E820_RAM)
        return entries


@dataclass(frozen=True)
class DiskGeometry:
    """Cylinders, heads and sectors of an ATA disk as its IDENTIFY data give them (words 1, 3, 6)."""

    cylinders: int
    heads: int
    sectors: int

    @classmethod
    def of(cls, sectors: int) -> DiskGeometry:
        """The usual 16 heads of 63 sectors, at most 16383 cylinders (ATA: capacity beyond that is by LBA)."""
        return cls(max(1, min(sectors // (16 * 63), 16383)), 16, 63)


def cmos_contents(
    layout: MemoryLayout,
    processors: int,
    boot: str,
    disks: tuple[DiskGeometry | None, DiskGeometry | None] = (None, None),
    floppies: tuple[int, int] = (0, 0),
) -> dict[int, int]:
    """CMOS bytes by index: what set-up would have stored.

    ``boot`` is up to three letters of a (floppy), c (disk), d (CD-ROM), n (network); ``disks`` are the primary master
    and slave; ``floppies`` are the drive type codes of byte 10h (4 is 1.44 MB, 0 none).
    """
    cmos: dict[int, int] = {}

    def put(index: int, value: int, size: int) -> None:
        for i in range(size):
            cmos[index + i] = value >> (8 * i) & 0xFF

    cmos[0x10] = floppies[0] << 4 | floppies[1]
    put(0x15, 640, 2)
    extended = min((layout.below_4g - MIB) // KIB, 0xFFFF) if layout.below_4g > MIB else 0
    put(0x17, extended, 2)
    put(0x30, extended, 2)
    put(0x34, min((layout.below_4g - 16 * MIB) // (64 * KIB), 0xFFFF) if layout.below_4g > 16 * MIB else 0, 2)
    put(0x5B, layout.above_4g // (64 * KIB), 3)
    cmos[0x5F] = processors - 1

    drives = sum(1 for kind in floppies if kind)
    fpu, mouse = 0x02, 0x04
    cmos[0x14] = fpu | mouse | (1 | (drives - 1) << 6 if drives else 0)

    cmos[0x12] = 0
    translation = 0
    for unit, geometry in enumerate(disks):
        if geometry is None:
            continue
        cmos[0x12] |= 0xF0 if unit == 0 else 0x0F
        cmos[0x19 + unit] = 47  # user-defined type
        base = (0x1B, 0x24)[unit]
        put(base, geometry.cylinders, 2)
        cmos[base + 2] = geometry.heads
        put(base + 3, 0xFFFF, 2)
        cmos[base + 5] = 0xC0 | (0x08 if geometry.heads > 8 else 0)
        put(base + 6, geometry.cylinders, 2)
        cmos[base + 8] = geometry.sectors
        small = geometry.cylinders <= 1024 and geometry.heads <= 16 and geometry.sectors <= 63
        translation |= (0 if small else 1) << (2 * unit)  # 0 none, 1 LBA-assisted
    cmos[0x39] = translation

    codes = [BOOT_CODES[letter] for letter in boot[:3]] + [0, 0, 0]
    cmos[0x3D] = codes[1] << 4 | codes[0]
    cmos[0x38] = codes[2] << 4 | 1  # bit 0: do not check the floppy's boot signature

    checksum = sum(cmos.get(index, 0) for index in range(0x10, 0x2E))
    cmos[0x2E], cmos[0x2F] = checksum >> 8 & 0xFF, checksum & 0xFF
    return cmos
