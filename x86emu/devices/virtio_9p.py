"""Virtio 9P transport (Virtual I/O Device 1.3 reserves device 9; the layout is that of Linux's include/uapi
virtio_9p.h): one queue, whose chains hold a request to read and room for its answer, and a tag to mount by.
"""

from __future__ import annotations

import struct
from typing import Any, Protocol

from x86emu.devices.virtio_device import VirtioDevice
from x86emu.errors import UserInputError

QUEUE_SIZE = 128
F_MOUNT_TAG = 0
LONGEST_TAG = 31
LARGEST_REQUEST = 1 << 21


class Server(Protocol):
    """What answers the requests."""

    def handle(self, request: bytes, room: int) -> bytes: ...

    def reset(self) -> None: ...

    def save(self) -> dict[str, Any]: ...

    def load(self, state: dict[str, Any]) -> None: ...


class Virtio9p(VirtioDevice):
    """A folder under the name `tag`; `server` answers."""

    DEVICE_ID = 9
    TRANSITIONAL_PCI_ID = 0x1009
    CLASS_CODE = 0x018000
    QUEUES = (QUEUE_SIZE,)
    FEATURES = 1 << F_MOUNT_TAG

    def __init__(self, server: Server, tag: str, *, name: str = "virtio-9p") -> None:
        super().__init__(name)
        self.server = server
        self.tag = tag.encode()
        if not self.tag or len(self.tag) > LONGEST_TAG:
            raise UserInputError(f"--share tag={tag}: is no tag; one of 1 to {LONGEST_TAG} bytes would do")

    def config_space(self) -> bytes:
        return struct.pack("<H", len(self.tag)) + self.tag

    def handle(self, index: int) -> None:
        queue = self.queues[index]
        while (chain := queue.pop()) is not None:
            written = 0
            if chain.readable_bytes <= LARGEST_REQUEST:
                answer = self.server.handle(queue.gather(chain), chain.writable_bytes)[: chain.writable_bytes]
                queue.scatter(chain, answer)
                written = len(answer)
            queue.push(chain, written)

    def reset(self) -> None:
        super().reset()
        self.server.reset()

    def save(self) -> dict[str, object]:
        return super().save() | {"server": self.server.save()}

    def load(self, state: dict[str, Any]) -> None:
        self.server.load(state["server"])
        super().load(state)
