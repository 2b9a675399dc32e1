"""DMA: how a device reaches guest memory.

Every access goes through a `Dma` port that carries the requester id (bus:device.function), so that an IOMMU can stand
in between without any device knowing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol


class Dma(Protocol):
    """A device's port to memory. Addresses are what the device puts on the bus, in bytes."""

    @property
    def requester_id(self) -> int:
        """Bus number << 8 | device << 3 | function; 0 for devices that are not on a PCI bus."""

    def read(self, address: int, length: int) -> bytes:
        """`length` bytes from `address`; FFh where nothing answers."""

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Writes `data` at `address`; dropped where nothing answers."""

    def buffer(self, address: int, length: int) -> memoryview | None:
        """RAM itself, so that a disk's data need no copy; None where the range is not all RAM in one piece.

        Good for the moment only; who has written to it calls `changed` with the same range.
        """

    def changed(self, address: int, length: int) -> None:
        """Says that bytes of a `buffer` were written."""


class GuestMemory(Protocol):
    """What a DMA port reaches in the end: guest-physical memory."""

    def read(self, address: int, length: int, /) -> bytes: ...

    def write(self, address: int, data: bytes, /) -> None: ...


class MemoryDma:
    """A DMA port straight to guest-physical memory; `address_bits` is as many address lines as the device has."""

    def __init__(self, memory: GuestMemory, requester_id: int = 0, address_bits: int = 64) -> None:
        self.memory = memory
        self.requester_id = requester_id
        self.address_mask = (1 << address_bits) - 1
        self._buffer: Callable[[int, int], memoryview | None] | None = getattr(memory, "buffer", None)
        self._changed: Callable[[int, int], None] | None = getattr(memory, "changed", None)

    def read(self, address: int, length: int) -> bytes:
        return self.memory.read(address & self.address_mask, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self.memory.write(address & self.address_mask, bytes(data))

    def buffer(self, address: int, length: int) -> memoryview | None:
        return self._buffer(address & self.address_mask, length) if self._buffer is not None else None

    def changed(self, address: int, length: int) -> None:
        if self._changed is not None:
            self._changed(address & self.address_mask, length)
