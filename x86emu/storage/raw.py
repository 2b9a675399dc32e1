"""Raw disk images: a file whose bytes are the sectors, one after the other."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from x86emu.errors import UserInputError


class RawImage:
    """A raw image of whole sectors, as `x86emu.devices.block.BlockBackend` asks for.

    `sector_size` is 512 for disks and 2048 for CDs and DVDs. With `snapshot` the file is never written: changed
    sectors live in memory until the object goes. `write` leaves data with the host's page cache and `flush` makes it
    durable (fsync), as the guest's FLUSH CACHE asks.

    Raises UserInputError with a sentence where the file is missing, unreadable, empty, or no whole number of sectors.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, read_only: bool = False, snapshot: bool = False, sector_size: int = 512
    ) -> None:
        self.path = Path(path)
        self.sector_size = sector_size
        self.snapshot = snapshot
        self.read_only = read_only
        self._overlay: dict[int, bytes] = {}
        self._descriptor = -1
        writable = not read_only and not snapshot
        try:
            self._descriptor = os.open(self.path, os.O_RDWR if writable else os.O_RDONLY)
            status = os.fstat(self._descriptor)
            size = os.lseek(self._descriptor, 0, os.SEEK_END)
        except FileNotFoundError:
            raise UserInputError(f"The image {self.path} does not exist; give the path of a raw image.") from None
        except IsADirectoryError:
            raise UserInputError(f"The image {self.path} is a directory; give the path of a raw image.") from None
        except PermissionError:
            wanted = "be written; make it writable, or use it read-only or as a snapshot" if writable else "be read"
            raise UserInputError(f"The image {self.path} may not {wanted}.") from None
        except OSError as error:
            self.close()
            raise UserInputError(f"The image {self.path} cannot be opened: {error.strerror or error}.") from None
        if stat.S_ISDIR(status.st_mode):
            self.close()
            raise UserInputError(f"The image {self.path} is a directory; give the path of a raw image.")
        if size == 0:
            self.close()
            raise UserInputError(f"The image {self.path} is empty; it has to hold at least one sector.")
        if size % sector_size:
            self.close()
            raise UserInputError(
                f"The image {self.path} has {size} bytes, {size % sector_size} more than a multiple of {sector_size}: "
                f"it is truncated or not a raw image; give a complete one."
            )
        self.sectors = size // sector_size

    def read(self, lba: int, count: int) -> bytes:
        """`count` sectors from `lba`. Raises OSError where the host cannot read them (a file cut short meanwhile)."""
        self._check(lba, count)
        wanted = count * self.sector_size
        data = os.pread(self._descriptor, wanted, lba * self.sector_size)
        while len(data) < wanted:
            more = os.pread(self._descriptor, wanted - len(data), lba * self.sector_size + len(data))
            if not more:
                raise OSError(f"{self.path} has become shorter than it was")
            data += more
        if self._overlay:
            changed = [number for number in range(lba, lba + count) if number in self._overlay]
            if changed:
                patched = bytearray(data)
                for number in changed:
                    at = (number - lba) * self.sector_size
                    patched[at : at + self.sector_size] = self._overlay[number]
                data = bytes(patched)
        return data

    def write(self, lba: int, data: bytes) -> None:
        """Writes whole sectors from `lba`. Raises OSError where the host refuses."""
        self._check(lba, len(data) // self.sector_size)
        if len(data) % self.sector_size:
            raise ValueError(f"{len(data)} bytes are no whole number of {self.sector_size}-byte sectors")
        if self.read_only:
            raise PermissionError(f"{self.path} is open for reading only")
        if self.snapshot:
            for index in range(len(data) // self.sector_size):
                at = index * self.sector_size
                self._overlay[lba + index] = bytes(data[at : at + self.sector_size])
            return
        view = memoryview(data)
        offset = lba * self.sector_size
        while view:
            written = os.pwrite(self._descriptor, view, offset)
            view = view[written:]
            offset += written

    def flush(self) -> None:
        """Returns when all that was written is on stable storage."""
        if not self.read_only and not self.snapshot:
            os.fsync(self._descriptor)

    def close(self) -> None:
        """Closes the file; the object cannot be used afterwards."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __del__(self) -> None:
        if getattr(self, "_descriptor", -1) >= 0:
            self.close()

    def _check(self, lba: int, count: int) -> None:
        if lba < 0 or count < 0 or lba + count > self.sectors:
            raise OSError(f"sectors {lba}..{lba + count - 1} are not all within the {self.sectors} of {self.path}")
