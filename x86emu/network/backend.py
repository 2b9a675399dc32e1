"""What a network is to the Ethernet device that is plugged into it.

Frames go without the frame check sequence.  `send` takes one from the guest.  Frames for the guest wait in a queue;
the device is woken, looks at the first by `next_frame`, and says `frame_taken` when it has found room for it: what it
has no room for stays.  A frame with a `segment_size` above 0 is a TCP segment over IPv4 that is larger than the MTU,
to be seen as segments of so many bytes; the checksum in it covers the pseudo-header only.

What comes from the host is put in at polls only (the machine's services), so that a run depends on nothing but the
points of virtual time at which it came.  Answers that a network gives by itself come `LATENCY` later in virtual time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from x86emu.network.packets import SHORTEST_FRAME

LATENCY = 20_000  # nanoseconds of virtual time from a frame of the guest to the answer
QUEUE_FRAMES = 2048  # more are dropped, as a switch does


class Timers(Protocol):
    """Virtual time in nanoseconds, and calls at a point of it."""

    def now(self) -> int: ...

    def schedule(self, deadline: int, callback: Callable[[], object], /) -> Any: ...

    def cancel(self, event: Any, /) -> None: ...


class Recorder(Protocol):
    """Is told of every frame."""

    def record(self, frame: bytes, now: int) -> None: ...

    def close(self) -> None: ...


def _nothing() -> None:
    pass


def _no() -> bool:
    return False


class NetworkBackend:
    """Base of the networks: a cable with nothing at its other end."""

    takes_segments = False  # whether `send` may be given frames with a segment size

    def __init__(self, timers: Timers, recorder: Recorder | None = None) -> None:
        self.timers = timers
        self.recorder = recorder
        self.wake: Callable[[], None] = _nothing  # the device's: there are frames
        self.segments_wanted: Callable[[], bool] = _no  # the device's: whether it takes frames with a segment size
        self.host_has_work: Callable[[], None] = _nothing  # the machine's: have `poll` called soon
        self.dropped = 0
        self._queue: deque[tuple[bytes, int]] = deque()
        self._delivery: Any = None

    # --- the device's side

    def send(self, frame: bytes, segment_size: int = 0) -> None:
        """Takes a frame of the guest."""
        if self.recorder is not None:
            self.recorder.record(frame, self.timers.now())
        self.received(frame, segment_size)

    def next_frame(self) -> tuple[bytes, int] | None:
        """The first frame for the guest and its segment size; it stays in the queue."""
        return self._queue[0] if self._queue else None

    def frame_taken(self) -> None:
        """Removes the first frame from the queue."""
        self._queue.popleft()

    def discard(self) -> None:
        """Drops all that waits: nobody listens."""
        self._queue.clear()

    # --- the network's side

    def received(self, frame: bytes, segment_size: int) -> None:
        """What the network does with a frame of the guest."""

    def deliver(self, frame: bytes, segment_size: int = 0) -> None:
        """Queues a frame for the guest, whose device is woken `LATENCY` later."""
        if len(self._queue) >= QUEUE_FRAMES:
            self.dropped += 1
            return
        if len(frame) < SHORTEST_FRAME:
            frame = frame.ljust(SHORTEST_FRAME, b"\0")
        if self.recorder is not None:
            self.recorder.record(frame, self.timers.now())
        self._queue.append((frame, segment_size))
        if self._delivery is None:
            self._delivery = self.timers.schedule(self.timers.now() + LATENCY, self._deliver)

    def _deliver(self) -> None:
        self._delivery = None
        if self._queue:
            self.wake()

    # --- the host's side (machine.host_services)

    def poll(self) -> bool:
        """Takes in what has come from the host; never True: a network does not ask to quit."""
        return False

    def descriptors(self) -> Iterable[int]:
        return ()

    @property
    def waiting(self) -> bool:
        return False

    def close(self) -> None:
        if self.recorder is not None:
            self.recorder.close()
