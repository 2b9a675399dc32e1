"""What every disk image is: bytes by offset below, whole sectors above; and an overlay that keeps changes in memory."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

OVERLAY_BLOCK = 4096


class Image:
    """Base of the image formats, and a `x86emu.devices.block.BlockBackend` for them.

    A format implements `read_bytes`, `write_bytes` and `flush`, and `zero_bytes` and `discard_bytes` where it can do
    better than here.  Errors of the host are OSError.  `notes` are sentences that the user should see.
    """

    format = ""

    def __init__(self, path: Path, *, read_only: bool, sector_size: int = 512) -> None:
        self.path = path
        self.read_only = read_only
        self.sector_size = sector_size
        self.size = 0
        self.notes: list[str] = []

    @property
    def sectors(self) -> int:
        """Whole sectors of the disk."""
        return self.size // self.sector_size

    # --- by sectors

    def read(self, lba: int, count: int) -> bytes:
        """`count` sectors from `lba`.  Raises OSError where there are none or the host cannot read them."""
        self._check(lba, count)
        return self.read_bytes(lba * self.sector_size, count * self.sector_size)

    def read_into(self, lba: int, views: Sequence[memoryview]) -> None:
        """Fills `views`, whole sectors together, from `lba` on.  Raises OSError as `read` does."""
        length = sum(map(len, views))
        if length % self.sector_size:
            raise ValueError(f"{length} bytes are no whole number of {self.sector_size}-byte sectors")
        self._check(lba, length // self.sector_size)
        self.read_bytes_into(lba * self.sector_size, views)

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        """Writes whole sectors from `lba`.  Raises OSError where the host refuses."""
        if len(data) % self.sector_size:
            raise ValueError(f"{len(data)} bytes are no whole number of {self.sector_size}-byte sectors")
        self._check(lba, len(data) // self.sector_size)
        self._check_writable()
        self.write_bytes(lba * self.sector_size, data)

    def write_zeroes(self, lba: int, count: int, *, unmap: bool = True) -> None:
        """Sectors that read as zeros from now on; `unmap` allows the host to free their space."""
        self._check(lba, count)
        self._check_writable()
        self.zero_bytes(lba * self.sector_size, count * self.sector_size, unmap=unmap)

    def discard(self, lba: int, count: int) -> None:
        """Sectors whose contents the guest no longer needs: they keep them or read as zeros."""
        self._check(lba, count)
        self._check_writable()
        self.discard_bytes(lba * self.sector_size, count * self.sector_size)

    def _check(self, lba: int, count: int) -> None:
        if lba < 0 or count < 0 or lba + count > self.sectors:
            raise OSError(
                errno.EINVAL,
                f"sectors {lba}..{lba + count - 1} are not all within the {self.sectors} of {self.path}",
            )

    def _check_writable(self) -> None:
        if self.read_only:
            raise PermissionError(errno.EPERM, f"{self.path} is open for reading only")

    # --- by bytes

    def read_bytes(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`, all within the disk."""
        raise NotImplementedError

    def read_bytes_into(self, offset: int, views: Sequence[memoryview]) -> None:
        """Fills `views` from `offset` on, all within the disk."""
        for view in views:
            view[:] = self.read_bytes(offset, len(view))
            offset += len(view)

    def write_bytes(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """`data` at `offset`, all within the disk."""
        raise NotImplementedError

    def zero_bytes(self, offset: int, length: int, *, unmap: bool) -> None:
        """Zeros at `offset`."""
        zeros = bytes(min(length, 1 << 20))
        while length > 0:
            part = min(length, len(zeros))
            self.write_bytes(offset, zeros[:part])
            offset, length = offset + part, length - part

    def discard_bytes(self, offset: int, length: int) -> None:
        """A hint, ignored unless the format can free the space."""

    def is_hole(self, offset: int, length: int) -> bool:
        """Whether a range is known to read as zeros without reading it."""
        return False

    def flush(self) -> None:
        """Returns when all that was written is on stable storage."""

    def close(self) -> None:
        """Makes everything durable and closes the files; the object cannot be used afterwards."""


class SnapshotOverlay(Image):
    """An image whose changes live in memory, in blocks of 4 KiB, until the object goes; the file is never written."""

    def __init__(self, below: Image) -> None:
        super().__init__(below.path, read_only=False, sector_size=below.sector_size)
        self.below = below
        self.format = below.format
        self.size = below.size
        self.notes = below.notes
        self._blocks: dict[int, bytearray] = {}

    def read_bytes(self, offset: int, length: int) -> bytes:
        data = self.below.read_bytes(offset, length)
        if not self._blocks or not length:
            return data
        first, last = offset // OVERLAY_BLOCK, (offset + length - 1) // OVERLAY_BLOCK
        if last - first < len(self._blocks):
            changed = [number for number in range(first, last + 1) if number in self._blocks]
        else:
            changed = [number for number in self._blocks if first <= number <= last]
        if not changed:
            return data
        patched = bytearray(data)
        for number in changed:
            start = number * OVERLAY_BLOCK
            low, high = max(start, offset), min(start + OVERLAY_BLOCK, offset + length)
            patched[low - offset : high - offset] = self._blocks[number][low - start : high - start]
        return bytes(patched)

    def read_bytes_into(self, offset: int, views: Sequence[memoryview]) -> None:
        length = sum(map(len, views))
        first, last = offset // OVERLAY_BLOCK, (offset + length - 1) // OVERLAY_BLOCK
        if self._blocks and any(number in self._blocks for number in range(first, last + 1)):
            super().read_bytes_into(offset, views)
        else:
            self.below.read_bytes_into(offset, views)

    def write_bytes(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        view = memoryview(data).cast("B")
        while view:
            number, within = divmod(offset, OVERLAY_BLOCK)
            part = min(OVERLAY_BLOCK - within, len(view))
            block = self._blocks.get(number)
            if block is None:
                if part == OVERLAY_BLOCK:
                    block = bytearray(OVERLAY_BLOCK)
                else:
                    start = number * OVERLAY_BLOCK
                    kept = self.below.read_bytes(start, min(OVERLAY_BLOCK, self.size - start))
                    block = bytearray(kept.ljust(OVERLAY_BLOCK, b"\0"))
                self._blocks[number] = block
            block[within : within + part] = view[:part]
            view = view[part:]
            offset += part

    def close(self) -> None:
        self._blocks.clear()
        self.below.close()
