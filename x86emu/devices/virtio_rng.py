"""Virtio entropy device (Virtual I/O Device 1.2, section 5.4).

Its bytes are a function of a seed (SHA-256 in counter mode), so that a run can be had again bit by bit: good for tests,
not for keys that anybody should be unable to guess.  `seed` from the host's `os.urandom` gives the other thing.
"""

from __future__ import annotations

import hashlib

from x86emu.devices.virtio_device import VirtioDevice

QUEUE_SIZE = 8
LARGEST_ANSWER = 1 << 16  # of one request; the driver asks again


class VirtioRng(VirtioDevice):
    """Fills the buffers that the driver offers, up to 64 KiB of each chain."""

    DEVICE_ID = 4
    TRANSITIONAL_PCI_ID = 0x1005
    CLASS_CODE = 0x00FF00
    QUEUES = (QUEUE_SIZE,)
    STATE = ("seed", "position")

    def __init__(self, *, name: str = "virtio-rng", seed: bytes = b"x86emu") -> None:
        super().__init__(name)
        self.seed = seed
        self.position = 0  # blocks of 32 bytes used up; a reset of the device does not begin anew

    def stream(self, length: int) -> bytes:
        """The next `length` bytes; what is left of the last block is dropped."""
        blocks = -(-length // 32)
        first, self.position = self.position, self.position + blocks
        data = b"".join(
            hashlib.sha256(self.seed + number.to_bytes(8, "little")).digest() for number in range(first, first + blocks)
        )
        return data[:length]

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        while (chain := queue.pop()) is not None:
            data = self.stream(min(chain.writable_bytes, LARGEST_ANSWER))
            queue.scatter(chain, data)
            queue.push(chain, len(data))
