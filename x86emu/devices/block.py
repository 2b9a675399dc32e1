"""What a disk model asks of its storage back end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma


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

    def write(self, lba: int, data: bytes | bytearray | memoryview) -> None:
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


def read_to_memory(backend: BlockBackend, lba: int, dma: Dma, pieces: Sequence[tuple[int, int]]) -> None:
    """Reads whole sectors from `lba` on into pieces (address, length) of guest memory; OSError as the back end's.

    Where all of them are RAM and the back end has `read_into` (as `x86emu.storage.Image`), the host reads into the
    guest's RAM and nothing is copied.
    """
    read_into: Callable[[int, Sequence[memoryview]], None] | None = getattr(backend, "read_into", None)
    if read_into is not None:
        views = [view for address, length in pieces if (view := dma.buffer(address, length)) is not None]
        if len(views) == len(pieces):
            try:
                read_into(lba, views)
            finally:
                for address, length in pieces:
                    dma.changed(address, length)
            return
    data = memoryview(backend.read(lba, sum(length for _, length in pieces) // backend.sector_size))
    for address, length in pieces:
        dma.write(address, data[:length])
        data = data[length:]


def from_memory(dma: Dma, pieces: Sequence[tuple[int, int]]) -> bytes | memoryview:
    """What pieces (address, length) of guest memory hold; one piece of RAM is not copied: use it at once."""
    if len(pieces) == 1:
        view = dma.buffer(*pieces[0])
        return view if view is not None else dma.read(*pieces[0])
    return b"".join(dma.read(address, length) for address, length in pieces)


def behind(pieces: Sequence[tuple[int, int]], skipped: int) -> list[tuple[int, int]]:
    """What pieces of memory hold behind their first `skipped` bytes."""
    left: list[tuple[int, int]] = []
    for address, part in pieces:
        if skipped < part:
            left.append((address + skipped, part - skipped))
        skipped = max(skipped - part, 0)
    return left


def first_pieces(pieces: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """The first `length` bytes of pieces of memory."""
    first: list[tuple[int, int]] = []
    for address, part in pieces:
        if length <= 0:
            break
        first.append((address, min(part, length)))
        length -= part
    return first
