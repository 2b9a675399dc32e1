"""A virtio driver in Python: what a guest's driver does, at the function's registers and in its memory."""

from __future__ import annotations

import struct
from typing import Any

from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.virtio_pci import VirtioPci

IO, MEMORY = 0xC000, 0xFEB0_0000
DESC, AVAIL, USED, BUFFERS = 0x10000, 0x12000, 0x13000, 0x20000
NEXT, WRITE, INDIRECT = 1, 2, 4
VERSION_1, INDIRECT_DESC, EVENT_IDX = 1 << 32, 1 << 28, 1 << 29


class Driver:
    """Puts the model on a PCI bus with its BARs placed; `memory` is the fixture's, 1 MiB of RAM."""

    def __init__(self, model: Any, memory: Any) -> None:
        self.model, self.memory = model, memory
        self.ports, self.mmio = PortSpace(), MmioSpace()
        self.level = False
        bus = PciBus(self.ports, self.mmio, self._intx)
        limit = len(memory.bytes)
        self.function = VirtioPci(model, memory, lambda address, length: address + length <= limit)
        bus.add(self.function, 3)
        self.function.config_write(0x10, 4, IO)
        self.function.config_write(0x20, 4, MEMORY)
        self.function.config_write(4, 2, 7)
        self.size = 0
        self.next_desc = self.avail_index = self.seen = 0
        self.buffers = BUFFERS

    def _intx(self, pirq: int, level: bool) -> None:
        self.level = level

    # modern registers

    def get(self, offset: int, size: int) -> int:
        return self.mmio.read(MEMORY + offset, size)

    def put(self, offset: int, size: int, value: int) -> None:
        self.mmio.write(MEMORY + offset, size, value)

    @property
    def status(self) -> int:
        return self.get(0x14, 1)

    def offered(self) -> int:
        value = 0
        for half in (0, 1):
            self.put(0, 4, half)
            value |= self.get(4, 4) << 32 * half
        return value

    def start(self, features: int | None = None, queue: int = 0) -> None:
        """Initialisation in the order of section 3.1."""
        self.put(0x14, 1, 0)
        self.put(0x14, 1, 1)
        self.put(0x14, 1, 3)
        accepted = self.offered() & ~EVENT_IDX if features is None else features
        for half in (0, 1):
            self.put(8, 4, half)
            self.put(0xC, 4, accepted >> 32 * half & 0xFFFF_FFFF)
        self.put(0x14, 1, 0xB)
        assert self.status == 0xB
        self.setup_queue(queue)
        self.put(0x14, 1, 0xF)

    def setup_queue(self, queue: int, size: int = 16) -> None:
        self.queue, self.size = queue, size
        self.next_desc = self.avail_index = self.seen = 0
        self.memory.write(DESC, bytes(0x4000))
        self.put(0x16, 2, queue)
        self.put(0x18, 2, size)
        for offset, address in ((0x20, DESC), (0x28, AVAIL), (0x30, USED)):
            self.put(offset, 4, address)
            self.put(offset + 4, 4, 0)
        self.put(0x1C, 2, 1)

    def notify(self) -> None:
        self.put(0x3000 + 4 * self.queue, 2, self.queue)

    # rings

    def describe(self, index: int, address: int, length: int, flags: int = 0, following: int = 0) -> None:
        self.memory.write(DESC + 16 * index, struct.pack("<QIHH", address, length, flags, following))

    def offer(self, head: int) -> None:
        self.memory.write(AVAIL + 4 + 2 * (self.avail_index % self.size), struct.pack("<H", head))
        self.avail_index = self.avail_index + 1 & 0xFFFF
        self.memory.write(AVAIL + 2, struct.pack("<H", self.avail_index))

    def used(self) -> tuple[int, int] | None:
        """Head and length of the next used element."""
        (index,) = struct.unpack("<H", self.memory.read(USED + 2, 2))
        if index == self.seen:
            return None
        head, length = struct.unpack("<II", self.memory.read(USED + 4 + 8 * (self.seen % self.size), 8))
        self.seen = self.seen + 1 & 0xFFFF
        return head, length

    def request(self, readable: list[bytes], writable: list[int]) -> tuple[int, bytes]:
        """One chain; the used length, and what the writable buffers hold then."""
        at, places = BUFFERS, []
        count = len(readable) + len(writable)
        for number, part in enumerate([*readable, *writable]):
            length = part if isinstance(part, int) else len(part)
            self.memory.write(at, b"\xee" * part if isinstance(part, int) else part)
            flags = (WRITE if isinstance(part, int) else 0) | (NEXT if number < count - 1 else 0)
            self.describe(number, at, length, flags, number + 1)
            if isinstance(part, int):
                places.append((at, length))
            at += length
        self.offer(0)
        self.notify()
        done = self.used()
        assert done is not None and done[0] == 0, self.function.problem
        return done[1], b"".join(self.memory.read(*place) for place in places)
