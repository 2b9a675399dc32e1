"""The host's side of a machine beyond its serial port: networks, displays, the monitor.

A service is looked at whenever the run loop looks at the host (every `POLL_NANOSECONDS` of virtual time, and at once
when one of its descriptors becomes readable while an idle guest waits).  Only then may it change what the guest sees,
so that a run is a function of the points of virtual time at which input came in.
"""

from __future__ import annotations

import select
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from x86emu.machine.consoles import SerialConsole
    from x86emu.serial_backends import SerialBackend


class HostService(Protocol):
    """What the run loop asks of a service.  None of the methods waits."""

    def poll(self) -> bool:
        """Takes in what has come from the host and hands it to the guest; True where its user wants to quit."""
        ...

    def descriptors(self) -> Iterable[int]:
        """File descriptors that are readable when `poll` has something to do."""
        ...

    @property
    def waiting(self) -> bool:
        """Whether the guest may be waiting for the host: an answer from a socket, a person.

        While that is so, virtual time of an idle guest goes no faster than the wall clock.
        """
        ...

    def close(self) -> None:
        """Gives back what it holds of the host; may be called twice."""
        ...


class BackEndService:
    """The back end of a console beside COM1, looked at as any service is."""

    def __init__(self, console: SerialConsole, backend: SerialBackend) -> None:
        self.console = console
        self.backend = backend
        console.attach(backend)

    def poll(self) -> bool:
        return self.console.poll()

    def descriptors(self) -> Iterable[int]:
        return self.backend.descriptors()

    @property
    def waiting(self) -> bool:
        return self.backend.interactive

    def close(self) -> None:
        self.backend.close()


def wait_for_host(descriptors: Iterable[int], seconds: float) -> None:
    """Sleeps, but not longer than until one of `descriptors` is readable; a closed one is passed over."""
    usable = [descriptor for descriptor in descriptors if descriptor >= 0]
    if not usable:
        time.sleep(seconds)
        return
    poller = select.poll()
    for descriptor in usable:
        poller.register(descriptor, select.POLLIN)
    for _, event in poller.poll(seconds * 1000):
        if event & select.POLLNVAL:
            time.sleep(seconds)
            return
