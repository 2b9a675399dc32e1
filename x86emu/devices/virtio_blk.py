"""Virtio block device (Virtual I/O Device 1.2, section 5.2): read, write, flush, discard, write zeroes, get ID.

One queue.  Where the driver does not accept the flush feature, every write is made durable before it is completed
(5.2.6.2).  Left out: zoned devices, secure erase, lifetime, configurable write cache.
"""

from __future__ import annotations

import struct

from x86emu.devices.block import DiscardBackend, behind, first_pieces, from_memory, read_to_memory
from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import Chain, VirtQueue

SECTOR = 512
HEADER = 16
F_SEG_MAX, F_GEOMETRY, F_RO, F_BLK_SIZE, F_FLUSH, F_DISCARD, F_WRITE_ZEROES = 2, 4, 5, 6, 9, 13, 14
T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD, T_WRITE_ZEROES = 0, 1, 4, 8, 11, 13
S_OK, S_IOERR, S_UNSUPP = 0, 1, 2
ZEROES_UNMAP = 1
QUEUE_SIZE = 256
LARGEST_TRANSFER = 64 << 20  # of one request, so that a chain cannot ask for more host memory than that
LARGEST_RANGE = 1 << 22  # sectors of one discard or write-zeroes segment
SEGMENTS = 16


class VirtioBlk(VirtioDevice):
    """A disk on a back end with 512-byte sectors; `serial` is up to 20 characters of ASCII."""

    DEVICE_ID = 2
    TRANSITIONAL_PCI_ID = 0x1001
    CLASS_CODE = 0x010000
    QUEUES = (QUEUE_SIZE,)
    FEATURES = 1 << F_SEG_MAX | 1 << F_GEOMETRY | 1 << F_BLK_SIZE | 1 << F_FLUSH

    def __init__(self, backend: DiscardBackend, *, name: str = "virtio-blk", serial: str = "") -> None:
        super().__init__(name)
        self.backend = backend
        self.serial = serial
        if backend.read_only:
            self.features |= 1 << F_RO
        else:
            self.features |= 1 << F_DISCARD | 1 << F_WRITE_ZEROES

    def config_space(self) -> bytes:
        sectors = self.backend.sectors
        cylinders = max(1, min(sectors // (16 * 63), 65535))
        return struct.pack(
            "<QIIHBBI8xBBHIIIIIB3x",
            sectors, 0, QUEUE_SIZE - 2, cylinders, 16, 63, SECTOR,
            1, 0, 1, LARGEST_RANGE, SEGMENTS, 1, LARGEST_RANGE, SEGMENTS, 1,
        )  # fmt: skip

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        while (chain := queue.pop()) is not None:
            room = chain.writable_bytes
            if not room:  # there is no place for a status: nothing can be answered
                queue.push(chain, 0)
                continue
            status, written = S_IOERR, 0
            if chain.readable_bytes >= HEADER and max(chain.readable_bytes, room) <= LARGEST_TRANSFER:
                try:
                    status, written = self._request(queue, chain, room - 1)
                except (OSError, ValueError):
                    status, written = S_IOERR, 0
            queue.scatter(chain, bytes([status]), room - 1)
            queue.push(chain, room if status == S_OK and written == room - 1 else written + 1)

    def _request(self, queue: VirtQueue, chain: Chain, room: int) -> tuple[int, int]:
        """Carries one out; its status and the bytes written before the status."""
        dma, readable = queue.dma, chain.readable
        kind, sector = struct.unpack("<I4xQ", from_memory(dma, first_pieces(readable, HEADER)))
        if kind == T_IN:
            if room % SECTOR:
                return S_IOERR, 0
            read_to_memory(self.backend, sector, dma, first_pieces(chain.writable, room))
            return S_OK, room
        if kind == T_OUT:
            self.backend.write(sector, from_memory(dma, behind(readable, HEADER)))
            if not self.accepted >> F_FLUSH & 1:
                self.backend.flush()
            return S_OK, 0
        if kind == T_FLUSH:
            self.backend.flush()
            return S_OK, 0
        if kind == T_GET_ID:
            identifier = self.serial.encode("ascii", "replace")[:20].ljust(20, b"\0")[:room]
            queue.scatter(chain, identifier)
            return S_OK, len(identifier)
        if kind in (T_DISCARD, T_WRITE_ZEROES) and self.features >> (F_DISCARD if kind == T_DISCARD else 14) & 1:
            return self._ranges(kind, bytes(from_memory(dma, behind(readable, HEADER)))), 0
        return S_UNSUPP, 0

    def _ranges(self, kind: int, segments: bytes) -> int:
        if not segments or len(segments) % 16 or len(segments) > 16 * SEGMENTS:
            return S_IOERR
        for sector, count, flags in struct.iter_unpack("<QII", segments):
            allowed = ZEROES_UNMAP if kind == T_WRITE_ZEROES else 0
            if flags & ~allowed:
                return S_UNSUPP  # 5.2.6.2: reserved flags; unmap makes no sense in a discard
            if count > LARGEST_RANGE:
                return S_IOERR
            if kind == T_DISCARD:
                self.backend.discard(sector, count)
            else:
                self.backend.write_zeroes(sector, count, unmap=bool(flags & ZEROES_UNMAP))
        if not self.accepted >> F_FLUSH & 1:
            self.backend.flush()
        return S_OK
