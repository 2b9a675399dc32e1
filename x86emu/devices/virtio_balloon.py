"""Virtio memory balloon (Virtual I/O Device 1.2, section 5.5), with statistics and free page reporting.

Inflating hands pages of guest memory back to the host by `release(address, length)`, which leaves zeros there; so does
a report of free pages.  Left out: free page hinting, page poisoning.  The queues that exist are those of the features
that the driver accepted, numbered without gaps, as drivers do it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from x86emu.devices.virtio_device import VirtioDevice
from x86emu.devices.virtio_ring import Chain, VirtQueue

PAGE = 4096
QUEUE_SIZE = 128
F_STATS, F_DEFLATE_ON_OOM, F_REPORTING = 1, 2, 5
INFLATE, DEFLATE, STATISTICS, REPORTING = "inflate", "deflate", "statistics", "reporting"
ACTUAL = 4  # offset in the configuration
LARGEST_LIST = 1 << 16  # bytes of page numbers in one request

# Tags of the statistics (5.5.6.3); values are bytes but for the counts.
TAGS = (
    "swap_in", "swap_out", "major_faults", "minor_faults", "free_memory", "total_memory", "available_memory",
    "disk_caches", "huge_page_allocations", "huge_page_failures",
)  # fmt: skip


class VirtioBalloon(VirtioDevice):
    """`target` and `actual` are in bytes; `statistics` are what the driver told last, by the names in TAGS."""

    DEVICE_ID = 5
    TRANSITIONAL_PCI_ID = 0x1002
    CLASS_CODE = 0x00FF00
    QUEUES = (QUEUE_SIZE,) * 4
    FEATURES = 1 << F_STATS | 1 << F_DEFLATE_ON_OOM | 1 << F_REPORTING
    STATE = ("target_pages", "actual_pages", "statistics", "reported", "_held")

    def __init__(self, release: Callable[[int, int], object], *, name: str = "virtio-balloon") -> None:
        super().__init__(name)
        self.release = release
        self.target_pages = self.actual_pages = 0
        self.statistics: dict[str, int] = {}
        self.reported = 0  # bytes that free page reports gave back, all told
        self._held: tuple[int, list[tuple[int, int]]] | None = None  # the statistics buffer, ours until we ask again

    # --- the host's side

    def set_target(self, size: int) -> None:
        """Asks the driver to have `size` bytes of memory in the balloon."""
        self.target_pages = size // PAGE
        self.config_changed()

    @property
    def actual(self) -> int:
        """Bytes that the driver says are in the balloon."""
        return self.actual_pages * PAGE

    def request_statistics(self) -> bool:
        """Asks the driver for new statistics; False where it has not offered any yet."""
        names = self._names()
        if STATISTICS not in names:
            return False
        number = names.index(STATISTICS)
        self.wake(number)  # the first buffer is offered before the driver is ready
        if self._held is None:
            return False
        head, readable = self._held
        self._held = None
        self.queues[number].push(Chain(head, readable), 0)
        self.wake(number)
        return True

    # --- the driver's side

    def _names(self) -> list[str]:
        names = [INFLATE, DEFLATE]
        if self.accepted >> F_STATS & 1:
            names.append(STATISTICS)
        if self.accepted >> F_REPORTING & 1:
            names.append(REPORTING)
        return names

    def config_space(self) -> bytes:
        return struct.pack("<II", self.target_pages, self.actual_pages)

    def config_write(self, offset: int, data: bytes) -> None:
        field = bytearray(struct.pack("<I", self.actual_pages))
        for index, byte in enumerate(data, offset - ACTUAL):
            if 0 <= index < 4:
                field[index] = byte
        (self.actual_pages,) = struct.unpack("<I", field)

    def handle(self, index: int) -> None:
        names, queue = self._names(), self.queues[index]
        name = names[index] if index < len(names) else ""
        while name and (chain := queue.pop()) is not None:
            if name == INFLATE:
                self._inflate(queue, chain)
            elif name == STATISTICS:
                self._take_statistics(queue, chain)
                continue  # stays with the device
            elif name == REPORTING:
                self._take_report(chain)
            queue.push(chain, 0)

    def _inflate(self, queue: VirtQueue, chain: Chain) -> None:
        if chain.readable_bytes > LARGEST_LIST:
            return
        numbers = queue.gather(chain)
        first = length = 0
        for (number,) in struct.iter_unpack("<I", numbers[: len(numbers) & ~3]):
            address = number * PAGE
            if not queue.in_memory(address, PAGE):
                continue
            if length and address == first + length:
                length += PAGE
            elif length and address + PAGE == first:  # drivers hand out pages from the top down
                first, length = address, length + PAGE
            else:
                if length:
                    self.release(first, length)
                first, length = address, PAGE
        if length:
            self.release(first, length)

    def _take_statistics(self, queue: VirtQueue, chain: Chain) -> None:
        if self._held is not None:  # a second buffer: the first goes back
            queue.push(Chain(*self._held), 0)
        self._held = (chain.head, chain.readable)
        if chain.readable_bytes <= LARGEST_LIST:
            data = queue.gather(chain)
            for tag, value in struct.iter_unpack("<HQ", data[: len(data) // 10 * 10]):
                if tag < len(TAGS):
                    self.statistics[TAGS[tag]] = value

    def _take_report(self, chain: Chain) -> None:
        for address, length in chain.writable:
            first = -(-address // PAGE) * PAGE
            whole = (address + length) // PAGE * PAGE - first
            if whole > 0:
                self.release(first, whole)
                self.reported += whole

    def reset(self) -> None:
        super().reset()
        self.actual_pages = 0
        self.statistics = {}
        self._held = None
