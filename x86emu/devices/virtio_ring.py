"""Split virtqueues (Virtual I/O Device 1.2, section 2.7): descriptor table, available ring, used ring.

With indirect descriptors (2.7.5.3) and event indexes (2.7.7.1, 2.7.10).  Whatever a driver may not do - a chain that
loops, an index beyond the table, a buffer outside memory, a readable buffer behind a writable one - raises RingError,
upon which the transport asks for a reset of the device (2.1.2); nothing in guest memory is changed then.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

DESC_NEXT, DESC_WRITE, DESC_INDIRECT = 1, 2, 4
AVAIL_NO_INTERRUPT = 1
LARGEST_QUEUE = 32768
LEGACY_ALIGNMENT = 4096

F_INDIRECT_DESC, F_EVENT_IDX = 28, 29


class RingError(Exception):
    """The driver broke a rule of the ring; the message says which."""


@dataclass
class Chain:
    """A request: buffers as (address, length), those that the device reads and those that it writes."""

    head: int
    readable: list[tuple[int, int]] = field(default_factory=list)
    writable: list[tuple[int, int]] = field(default_factory=list)

    @property
    def readable_bytes(self) -> int:
        return sum(length for _, length in self.readable)

    @property
    def writable_bytes(self) -> int:
        return sum(length for _, length in self.writable)


class VirtQueue:
    """One queue.  `in_memory(address, length)` says whether a range is RAM; `limit` is the largest size."""

    STATE = (
        "size", "descriptors", "available", "used", "enabled", "next_available", "next_used", "signalled",
    )  # fmt: skip

    def __init__(self, dma: Dma, in_memory: Callable[[int, int], bool], limit: int) -> None:
        self.dma = dma
        self.in_memory = in_memory
        self.limit = limit
        self.indirect = self.event_index = False
        self.reset()

    def reset(self) -> None:
        self.size = self.limit
        self.descriptors = self.available = self.used = 0
        self.enabled = False
        self.next_available = self.next_used = 0
        self.signalled = 0  # the used index up to which the driver has been told

    def place_legacy(self, page: int) -> None:
        """The legacy layout, all three parts in a row from a 4-KiB page (section 2.7.2)."""
        self.descriptors = page * LEGACY_ALIGNMENT
        self.available = self.descriptors + 16 * self.size
        end = self.available + 6 + 2 * self.size
        self.used = end + -end % LEGACY_ALIGNMENT
        self.enabled = page != 0

    def _read(self, address: int, length: int, what: str) -> bytes:
        if not self.in_memory(address, length):
            raise RingError(f"{what} at {address:#x} lies outside memory")
        return self.dma.read(address, length)

    def pending(self) -> int:
        """How many chains the driver has made available that were not taken yet."""
        (index,) = struct.unpack("<H", self._read(self.available + 2, 2, "the available ring"))
        count: int = index - self.next_available & 0xFFFF
        if count > self.size:
            raise RingError(f"the available index went ahead by {count}, the queue has {self.size} entries")
        return count

    def pop(self) -> Chain | None:
        """The next chain; None where there is none."""
        if not self.enabled or not self.pending():
            return None
        slot = self.next_available % self.size
        (head,) = struct.unpack("<H", self._read(self.available + 4 + 2 * slot, 2, "the available ring"))
        chain = self._walk(head)
        self.next_available = self.next_available + 1 & 0xFFFF
        if self.event_index:  # have the driver notify of the next one
            self._write_used(4 + 8 * self.size, struct.pack("<H", self.next_available))
        return chain

    def _walk(self, head: int) -> Chain:
        chain = Chain(head)
        base, size, table = self.descriptors, self.size, None
        index, steps = head, 0
        while True:
            if index >= size:
                raise RingError(f"descriptor {index} is beyond the table of {size}")
            if table is None:
                entry = self._read(base + 16 * index, 16, f"descriptor {index}")
            else:
                entry = table[16 * index : 16 * index + 16]
            address, length, flags, following = struct.unpack("<QIHH", entry)
            steps += 1
            if steps > size:
                raise RingError(f"the chain from descriptor {head} loops")
            if flags & DESC_INDIRECT:
                if table is not None or not self.indirect or flags & DESC_NEXT or not length or length % 16:
                    raise RingError(f"descriptor {index} has an indirect table that it may not have")
                if length > 16 * LARGEST_QUEUE:
                    raise RingError(f"descriptor {index} has an indirect table of {length} bytes")
                table = self._read(address, length, "an indirect table")
                size, index, steps = length // 16, 0, 0
                continue
            if not self.in_memory(address, length):
                raise RingError(f"a buffer of {length} bytes at {address:#x} lies outside memory")
            if flags & DESC_WRITE:
                chain.writable.append((address, length))
            elif chain.writable:
                raise RingError(f"the chain from descriptor {head} has a readable buffer behind a writable one")
            else:
                chain.readable.append((address, length))
            if not flags & DESC_NEXT:
                return chain
            index = following

    def _write_used(self, offset: int, data: bytes) -> None:
        if not self.in_memory(self.used + offset, len(data)):
            raise RingError(f"the used ring at {self.used:#x} lies outside memory")
        self.dma.write(self.used + offset, data)

    def push(self, chain: Chain, written: int) -> None:
        """Gives a chain back, of which the device has written `written` bytes."""
        slot = self.next_used % self.size
        self._write_used(4 + 8 * slot, struct.pack("<II", chain.head, written))
        self.next_used = self.next_used + 1 & 0xFFFF
        self._write_used(2, struct.pack("<H", self.next_used))

    def wants_interrupt(self) -> bool:
        """Whether the driver is to be told of what was pushed since the last call (2.7.7)."""
        new, old = self.next_used, self.signalled
        if new == old:
            return False
        self.signalled = new
        if self.event_index:
            (event,) = struct.unpack("<H", self._read(self.available + 4 + 2 * self.size, 2, "the available ring"))
            return bool((new - event - 1 & 0xFFFF) < (new - old & 0xFFFF))
        (flags,) = struct.unpack("<H", self._read(self.available, 2, "the available ring"))
        return not flags & AVAIL_NO_INTERRUPT

    # --- buffers

    def gather(self, chain: Chain) -> bytes:
        """All that the driver gave the device to read."""
        if len(chain.readable) == 1:
            return self.dma.read(*chain.readable[0])
        return b"".join(self.dma.read(address, length) for address, length in chain.readable)

    def scatter(self, chain: Chain, data: bytes | memoryview, offset: int = 0) -> None:
        """Writes data into the writable buffers from their byte `offset` on; what does not fit is dropped."""
        if chain.writable and not offset and len(data) <= chain.writable[0][1]:
            self.dma.write(chain.writable[0][0], data)  # the usual case, without a copy
            return
        view = memoryview(data)
        for address, length in chain.writable:
            if offset >= length:
                offset -= length
                continue
            part = view[: length - offset]
            self.dma.write(address + offset, part)
            view = view[len(part) :]
            offset = 0
            if not view:
                return
