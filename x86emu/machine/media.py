"""Opening the images that a user names, with checks that find a cut-off download before the guest stumbles over it.

ISO images: the size of the volume (ECMA-119, 8.4.8).  Disks: the MBR's partition table (start sectors at 8, lengths at
12 of each 16-byte entry from 1BEh).
"""

from __future__ import annotations

from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.storage.image import Image
from x86emu.storage.opening import open_image
from x86emu.storage.raw import RawImage

DISK_SECTOR, CD_SECTOR = 512, 2048
VOLUME_DESCRIPTOR_SECTOR = 16
PROTECTIVE_PARTITION = 0xEE


def open_cdrom(path: Path) -> RawImage:
    """The image of a CD or DVD, read-only; UserInputError where it is missing or truncated."""
    image = RawImage(path, read_only=True, sector_size=CD_SECTOR)
    if image.sectors > VOLUME_DESCRIPTOR_SECTOR:
        descriptor = image.read(VOLUME_DESCRIPTOR_SECTOR, 1)
        announced = int.from_bytes(descriptor[80:84], "little")
        if descriptor[1:6] == b"CD001" and announced > image.sectors:
            raise UserInputError(
                f"The image {path} is truncated: its volume has {announced} sectors, the file {image.sectors}; give the"
                " whole ISO image."
            )
    return image


def open_disk(
    path: Path, *, format: str | None = None, snapshot: bool = False, read_only: bool = False
) -> Image:
    """A disk image, raw or qcow2; UserInputError where it is missing, truncated, locked or of another format."""
    image = open_image(path, format, snapshot=snapshot, read_only=read_only)
    try:
        record = image.read(0, 1)
        _check_partitions(path, image, record)
    except OSError as error:
        image.close()
        raise UserInputError(f"The image {path} cannot be read: {error.strerror or error}.") from None
    except UserInputError:
        image.close()
        raise
    return image


def _check_partitions(path: Path, image: Image, record: bytes) -> None:
    entries = [record[446 + 16 * i : 462 + 16 * i] for i in range(4)]
    if record[510:512] != b"\x55\xaa" or any(entry[0] & 0x7F for entry in entries):
        return  # no partition table: blank, or a boot sector with a file system
    for number, entry in enumerate(entries, 1):
        start, length = int.from_bytes(entry[8:12], "little"), int.from_bytes(entry[12:16], "little")
        if entry[4] not in (0, PROTECTIVE_PARTITION) and length and start >= image.sectors:
            raise UserInputError(
                f"The image {path} is truncated: partition {number} begins at sector {start}, the file has"
                f" {image.sectors}; give the whole image."
            )
