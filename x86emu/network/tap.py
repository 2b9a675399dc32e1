"""The host's tap interface (Linux, Documentation/networking/tuntap): frames to and from the host's own network stack.

It needs /dev/net/tun and, unless the interface was made for this user beforehand, CAP_NET_ADMIN.
"""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterable

from x86emu.errors import UserInputError
from x86emu.network.backend import QUEUE_FRAMES, NetworkBackend, Recorder, Timers

DEVICE = "/dev/net/tun"
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
NAME_BYTES = 16
LARGEST_FRAME = 65536
FRAMES_PER_POLL = 256


class TapNetwork(NetworkBackend):
    """The interface `name`, or a new one (`name` then says which).  UserInputError where it cannot be had."""

    def __init__(self, name: str, timers: Timers, recorder: Recorder | None = None) -> None:
        super().__init__(timers, recorder)
        shown = f"--net tap,ifname={name}" if name else "--net tap"
        if len(name.encode()) >= NAME_BYTES:
            raise UserInputError(f"{shown}: an interface's name has up to 15 characters; tap0 would do")
        self._descriptor = -1
        try:
            self._descriptor = os.open(DEVICE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)
            answer = fcntl.ioctl(self._descriptor, TUNSETIFF, request)
        except OSError as error:
            self.close()
            raise UserInputError(
                f"{shown}: the host gives no tap interface ({error.strerror}); one that the administrator made for this"
                " user (ip tuntap add mode tap user NAME) would do, or --net user, which needs no privileges"
            ) from None
        self.name = answer[:NAME_BYTES].rstrip(b"\0").decode()

    def received(self, frame: bytes, segment_size: int) -> None:
        try:
            os.write(self._descriptor, frame)
        except OSError:
            self.dropped += 1  # the interface is down, or its queue is full
        self.host_has_work()

    def poll(self) -> bool:
        for _ in range(FRAMES_PER_POLL):
            if len(self._queue) >= QUEUE_FRAMES:
                break
            try:
                frame = os.read(self._descriptor, LARGEST_FRAME)
            except OSError:
                break
            self.deliver(frame)
            self.host_has_work()  # more may follow
        return False

    def descriptors(self) -> Iterable[int]:
        return () if len(self._queue) >= QUEUE_FRAMES else (self._descriptor,)

    @property
    def waiting(self) -> bool:
        return True  # there is no telling who may send

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()
