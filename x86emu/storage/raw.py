"""Raw disk images: a file whose bytes are the sectors, one after the other."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence

from x86emu.errors import UserInputError
from x86emu.storage.host_file import HostFile
from x86emu.storage.image import Image

QCOW_MAGIC = b"QFI\xfb"


class RawImage(Image):
    """A raw image of whole sectors; `sector_size` is 512 for disks and 2048 for CDs and DVDs.

    `write` leaves data with the host's page cache and `flush` makes it durable, as the guest's FLUSH CACHE asks.
    `probed` says that nobody named the format: then the guest may not write another format's signature into the first
    sector, by which the next run would take the image, and the files that its header names, for that format.

    Raises UserInputError with a sentence where the file is missing, unreadable, locked, empty, or no whole number of
    sectors.
    """

    format = "raw"

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        read_only: bool = False,
        sector_size: int = 512,
        probed: bool = False,
        file: HostFile | None = None,
    ) -> None:
        self.file = file or HostFile(path, read_only=read_only)
        super().__init__(self.file.path, read_only=read_only, sector_size=sector_size)
        self.probed = probed
        size = self.file.size
        if size == 0:
            self.file.close()
            raise UserInputError(f"The image {self.path} is empty; it has to hold at least one sector.")
        if size % sector_size:
            self.file.close()
            raise UserInputError(
                f"The image {self.path} has {size} bytes, {size % sector_size} more than a multiple of {sector_size}: "
                f"it is truncated or not a raw image; give a complete one."
            )
        self.size = size

    def read_bytes(self, offset: int, length: int) -> bytes:
        return self.file.read(offset, length)

    def read_bytes_into(self, offset: int, views: Sequence[memoryview]) -> None:
        self.file.read_into(offset, views)

    def write_bytes(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        if self.probed and offset < len(QCOW_MAGIC) and bytes(data[: len(QCOW_MAGIC)]) == QCOW_MAGIC:
            raise PermissionError(
                errno.EPERM, f"the format of {self.path} was guessed to be raw, so it may not become qcow2"
            )
        self.file.write(offset, data)

    def zero_bytes(self, offset: int, length: int, *, unmap: bool) -> None:
        if not unmap or not self.file.punch(offset, length):
            super().zero_bytes(offset, length, unmap=unmap)

    def discard_bytes(self, offset: int, length: int) -> None:
        self.file.punch(offset, length)

    def is_hole(self, offset: int, length: int) -> bool:
        try:
            return os.lseek(self.file.descriptor, offset, os.SEEK_DATA) >= offset + length
        except OSError as error:
            return error.errno == errno.ENXIO

    def flush(self) -> None:
        if not self.read_only:
            self.file.sync()

    def close(self) -> None:
        try:
            if self.file.descriptor >= 0:
                self.flush()
        finally:
            self.file.close()
