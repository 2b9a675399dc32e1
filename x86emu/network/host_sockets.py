"""The host's sockets, none of which ever blocks: what they have is taken in at polls, one descriptor stands for all.

That descriptor is an epoll instance, which is readable as soon as one of the sockets has something to do.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
EVENTS_PER_POLL = 256


class HostSockets:
    """Sockets with what is to be called when one is ready."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._ready: dict[int, Callable[[int], None]] = {}
        self._masks: dict[int, int] = {}

    def add(self, sock: socket.socket, mask: int, ready: Callable[[int], None]) -> None:
        """Watches a socket; `ready(events)` is called at polls."""
        sock.setblocking(False)
        descriptor = sock.fileno()
        self._epoll.register(descriptor, mask)
        self._ready[descriptor], self._masks[descriptor] = ready, mask

    def watch(self, sock: socket.socket, mask: int) -> None:
        """Changes what a socket is watched for.  With 0 even a hang-up, which is always reported, goes unnoticed."""
        descriptor = sock.fileno()
        old = self._masks.get(descriptor)
        if old is None or old == mask:
            return
        if not mask:
            self._epoll.unregister(descriptor)
        elif not old:
            self._epoll.register(descriptor, mask)
        else:
            self._epoll.modify(descriptor, mask)
        self._masks[descriptor] = mask

    def remove(self, sock: socket.socket) -> None:
        """Closes a socket."""
        descriptor = sock.fileno()
        if descriptor >= 0:
            if self._masks.pop(descriptor, 0):
                self._epoll.unregister(descriptor)
            self._ready.pop(descriptor, None)
            sock.close()

    def poll(self) -> bool:
        """Lets every socket that is ready do its work; whether there was one."""
        if self._epoll.closed:
            return False
        events = self._epoll.poll(0, EVENTS_PER_POLL)
        for descriptor, event in events:
            ready = self._ready.get(descriptor)
            if ready is not None:
                ready(event)
        return bool(events)

    def descriptors(self) -> tuple[int, ...]:
        return () if self._epoll.closed else (self._epoll.fileno(),)

    def close(self) -> None:
        self._epoll.close()
