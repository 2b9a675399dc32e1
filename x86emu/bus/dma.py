"""DMA: how a device reaches guest memory.

Every access goes through a `Dma` port that carries the requester id (bus:device.function), so that an IOMMU can stand
in between without any device knowing.
"""

from __future__ import annotations

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

    def read(self, address: int, length: int) -> bytes:
        return self.memory.read(address & self.address_mask, length)

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        self.memory.write(address & self.address_mask, bytes(data))
