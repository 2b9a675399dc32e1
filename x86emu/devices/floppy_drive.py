"""Floppy disk drives and the formats of their media (ECMA-70, -78, -99, -100, -125; IBM PC/AT technical reference).

A medium is an image of sectors of 512 bytes, cylinder by cylinder, head by head; its size tells the format.  Deleted
data marks, which an image has no place for, are remembered as long as the medium is in the drive.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from x86emu.bus.device import Device
from x86emu.devices.block import BlockBackend

SECTOR = 512
SECTOR_CODE = 2  # N: 128 << 2 bytes

# Data rates as the data rate select registers code them.
RATE_500K, RATE_300K, RATE_250K, RATE_1M = range(4)
BITS_PER_SECOND = (500_000, 300_000, 250_000, 1_000_000)


@dataclass(frozen=True)
class FloppyFormat:
    """Cylinders, heads, sectors per track; whether the medium has 48 tracks per inch (5.25 inches, 40 cylinders)."""

    name: str
    cylinders: int
    heads: int
    sectors: int

    @property
    def total(self) -> int:
        return self.cylinders * self.heads * self.sectors


FORMATS = tuple(
    FloppyFormat(*row)
    for row in (
        ("160K", 40, 1, 8), ("180K", 40, 1, 9), ("320K", 40, 2, 8), ("360K", 40, 2, 9), ("720K", 80, 2, 9),
        ("1.2M", 80, 2, 15), ("1.44M", 80, 2, 18), ("1.68M", 80, 2, 21), ("1.72M", 82, 2, 21), ("2.88M", 80, 2, 36),
    )
)  # fmt: skip
BY_NAME = {format.name: format for format in FORMATS}
BY_SECTORS = {format.total: format for format in FORMATS}


@dataclass(frozen=True)
class DriveKind:
    """A type of drive: its code in CMOS byte 10h, cylinders it can reach, and for each format the data rate and how
    many of its cylinders lie between two of the format's."""

    cmos_type: int
    name: str
    cylinders: int
    formats: dict[str, tuple[int, int]]


LOW_5 = dict.fromkeys(("160K", "180K", "320K", "360K"), (RATE_250K, 1))
KIND_360K = DriveKind(1, '360K 5.25"', 42, LOW_5)
KIND_1200K = DriveKind(
    2, '1.2M 5.25"', 83, dict.fromkeys(LOW_5, (RATE_300K, 2)) | {"1.2M": (RATE_500K, 1), "720K": (RATE_300K, 1)}
)
HIGH_3 = {"720K": (RATE_250K, 1)} | dict.fromkeys(("1.44M", "1.68M", "1.72M"), (RATE_500K, 1))
KIND_1440K = DriveKind(4, '1.44M 3.5"', 84, HIGH_3)
KIND_2880K = DriveKind(5, '2.88M 3.5"', 84, HIGH_3 | {"2.88M": (RATE_1M, 1)})


def format_of(sectors: int) -> FloppyFormat | None:
    """The format of a medium with so many sectors; None where there is none.

    An image that is cut off behind its last file is taken for a 1.44M or 2.88M disk: the rest reads as zeros.
    """
    fitting = [format for format in (BY_NAME["1.44M"], BY_NAME["2.88M"]) if 0 < sectors <= format.total]
    return BY_SECTORS.get(sectors) or (fitting[0] if fitting else None)


def kind_for(format: FloppyFormat | None) -> DriveKind:
    """The drive that a PC had for media of a format; without one, a 1.44M drive."""
    if format is None:
        return KIND_1440K
    return next(kind for kind in (KIND_360K, KIND_1440K, KIND_1200K, KIND_2880K) if format.name in kind.formats)


class FloppyDrive(Device):
    """A drive, with a medium or without one.  ValueError where it cannot take a medium."""

    STATE: ClassVar[tuple[str, ...]] = ("cylinder", "changed", "deleted")

    def __init__(self, medium: BlockBackend | None = None, *, kind: DriveKind | None = None, name: str = "floppy"):
        super().__init__(name)
        self.medium: BlockBackend | None = None
        self.format: FloppyFormat | None = None
        self.kind = kind or kind_for(format_of(medium.sectors) if medium is not None else None)
        self.cylinder = 0  # where the head is
        self.changed = True  # the disk-change line
        self.deleted: set[int] = set()
        if medium is not None:
            self.insert(medium)

    def insert(self, medium: BlockBackend) -> None:
        """Puts a medium in, in place of what is in there."""
        format = format_of(medium.sectors)
        if format is None:
            sizes = ", ".join(format.name for format in FORMATS)
            raise ValueError(f"{medium.sectors} sectors are no floppy disk; {sizes} are")
        if format.name not in self.kind.formats:
            raise ValueError(f"a {format.name} disk does not go into a {self.kind.name} drive")
        self.medium, self.format = medium, format
        self.changed = True
        self.deleted = set()

    def eject(self) -> None:
        """Takes the medium out."""
        self.medium = self.format = None
        self.changed = True

    def step(self, to: int) -> None:
        """Moves the head; a step pulse clears the disk-change line if there is a medium."""
        self.cylinder = min(max(to, 0), self.kind.cylinders - 1)
        if self.medium is not None:
            self.changed = False

    @property
    def write_protected(self) -> bool:
        return self.medium is not None and self.medium.read_only

    def readable(self, head: int, rate: int) -> int | None:
        """The cylinder number that the IDs under a head say; None where they cannot be read at that data rate."""
        if self.format is None or head >= self.format.heads:
            return None
        wanted, spacing = self.kind.formats[self.format.name]
        cylinder, off_track = divmod(self.cylinder, spacing)
        if rate != wanted or off_track or cylinder >= self.format.cylinders:
            return None
        return cylinder

    def sector_of(self, cylinder: int, head: int, sector: int) -> int:
        """The image's sector; `sector` counts from 1."""
        assert self.format is not None
        return (cylinder * self.format.heads + head) * self.format.sectors + sector - 1

    def read(self, lba: int) -> bytes:
        """One sector; OSError as the host's."""
        assert self.medium is not None
        return self.medium.read(lba, 1) if lba < self.medium.sectors else bytes(SECTOR)

    def save(self) -> dict[str, object]:
        return super().save() | {"deleted": sorted(self.deleted)}

    def loaded(self) -> None:
        self.deleted = set(self.deleted)
