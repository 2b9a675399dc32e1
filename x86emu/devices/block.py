"""What a disk model asks of its storage back end."""

from __future__ import annotations

from typing import Protocol


class BlockBackend(Protocol):
    """Sectors of one size, addressed by number. Host errors come as OSError."""

    @property
    def sector_size(self) -> int:
        """Bytes in a sector."""

    @property
    def sectors(self) -> int:
        """How many sectors there are."""

    @property
    def read_only(self) -> bool:
        """Whether writes are refused."""

    def read(self, lba: int, count: int) -> bytes:
        """`count` sectors from `lba`."""

    def write(self, lba: int, data: bytes) -> None:
        """Writes whole sectors from `lba`."""

    def flush(self) -> None:
        """Returns when all that was written is on stable storage."""


class DiscardBackend(BlockBackend, Protocol):
    """A back end that can also forget sectors."""

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
        """Writes whole sectors from `lba`."""

    def write_zeroes(self, lba: int, count: int, *, unmap: bool = True) -> None:
        """Sectors that read as zeros from now on; `unmap` allows their space to be freed."""

    def discard(self, lba: int, count: int) -> None:
        """Sectors whose contents are no longer needed."""
