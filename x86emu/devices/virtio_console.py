"""Virtio console (Virtual I/O Device 1.2, section 5.3): one port, queue 0 to the guest and queue 1 from it.

With emergency write (5.3.4, bit 2 of the features).  Left out: several ports, the window's size.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.devices.virtio_device import VirtioDevice

RECEIVE, TRANSMIT = 0, 1
QUEUE_SIZE = 64
F_EMERG_WRITE = 2
EMERGENCY_WRITE = 8  # offset in the configuration
LARGEST_WRITE = 1 << 20
LARGEST_BACKLOG = 1 << 20  # bytes that wait for the guest; more from the host is dropped, as on a serial line


class VirtioConsole(VirtioDevice):
    """`output(data)` gets what the guest sends; `receive(data)` is the host's side; `kick` works queue 0 off."""

    DEVICE_ID = 3
    TRANSITIONAL_PCI_ID = 0x1003
    CLASS_CODE = 0x078000
    QUEUES = (QUEUE_SIZE, QUEUE_SIZE)
    FEATURES = 1 << F_EMERG_WRITE
    STATE = ("waiting",)

    def __init__(self, output: Callable[[bytes], object] | None = None, *, name: str = "virtio-console") -> None:
        super().__init__(name)
        self.output = output
        self.waiting = bytearray()
        self.kick: Callable[[], object] | None = None

    def config_space(self) -> bytes:
        return bytes(2) + bytes(2) + (1).to_bytes(4, "little") + bytes(4)

    def config_write(self, offset: int, data: bytes) -> None:
        if offset == EMERGENCY_WRITE and self.output is not None:
            self.output(data[:1])

    def receive(self, data: bytes) -> None:
        """Bytes for the guest; they wait until it offers buffers."""
        self.waiting += data[: LARGEST_BACKLOG - len(self.waiting)]
        if self.kick is not None:
            self.kick()

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        if index == RECEIVE:
            while self.waiting and (chain := queue.pop()) is not None:
                part = bytes(self.waiting[: chain.writable_bytes])
                queue.scatter(chain, part)
                del self.waiting[: len(part)]
                queue.push(chain, len(part))
            return
        while (chain := queue.pop()) is not None:
            if chain.readable_bytes <= LARGEST_WRITE and self.output is not None:
                self.output(queue.gather(chain))
            queue.push(chain, 0)

    def reset(self) -> None:
        super().reset()
        self.waiting.clear()
