# cython: language_level=3
# Virtual time (docs/architecture.md, "Time is virtual"): nanoseconds, counted in retired instructions, and the queue
# of what is to happen when.  Nothing here or below reads the host's clock.
"""The virtual clock: int64 nanoseconds since power-on, and the event queue."""
from heapq import heapify, heappop, heappush

from libc.stdint cimport int64_t

from x86emu.bus.platform cimport Wiring

FOREVER = 0x7FFFFFFFFFFFFFFF


cdef class Event:
    """A scheduled callback. `deadline` is in nanoseconds; `active` until it has run or was cancelled."""


cdef class Clock:
    """Virtual nanoseconds and the events that wait for them, run in order of (deadline, order of scheduling)."""

    def __init__(self, Wiring wiring=None):
        self.wiring = wiring
        self.queue = []

    cpdef int64_t now(self):
        """Nanoseconds since power-on, exact also inside a running slice."""
        if self.wiring is not None and self.wiring.board.elapsed != NULL:
            return self.base + self.wiring.board.elapsed(self.wiring.board.engine)
        return self.base

    cpdef Event schedule(self, int64_t deadline, object callback):
        """Calls `callback()` as soon as now() >= `deadline`. A deadline in the past is due at once."""
        cdef Event event = Event.__new__(Event)
        event.deadline = deadline
        event.active = True
        event.callback = callback
        event.sequence = self.sequence
        self.sequence += 1
        heappush(self.queue, (deadline, event.sequence, event))
        # The running slice ends at the earliest deadline known when it began: only a new earliest one matters.
        if (self.wiring is not None and self.wiring.board.shorten != NULL
                and self.queue[0][2] is event):
            self.wiring.board.shorten(self.wiring.board.engine, deadline)
        return event

    cpdef cancel(self, Event event):
        """Takes `event` out; None, or one that has run or was cancelled already, is ignored."""
        if event is None or not event.active:
            return
        event.active = False
        event.callback = None
        self.cancelled += 1
        if self.cancelled > 64 and self.cancelled * 2 > len(self.queue):
            self.queue = [entry for entry in self.queue if entry[2].active]
            heapify(self.queue)
            self.cancelled = 0

    cdef Event earliest(self):
        cdef Event event
        while self.queue:
            event = self.queue[0][2]
            if event.active:
                return event
            heappop(self.queue)
            self.cancelled -= 1
        return None

    cpdef int64_t next_deadline(self):
        """The earliest deadline in nanoseconds; 2^63-1 if nothing is scheduled."""
        cdef Event event = self.earliest()
        return 0x7FFFFFFFFFFFFFFFLL if event is None else event.deadline

    cdef run_one(self, Event event):
        heappop(self.queue)
        event.active = False
        callback = event.callback
        event.callback = None
        callback()

    cpdef int run_due(self):
        """Runs every event whose deadline has come, also those scheduled by them; returns how many."""
        cdef int count = 0
        cdef Event event = self.earliest()
        while event is not None and event.deadline <= self.now():
            self.run_one(event)
            count += 1
            event = self.earliest()
        return count

    def advance_to(self, int64_t target):
        """Moves time on to `target` ns, running each event at its own deadline. Time never moves back."""
        cdef Event event = self.earliest()
        while event is not None and event.deadline <= target:
            if event.deadline > self.base:
                self.base = event.deadline
            self.run_one(event)
            event = self.earliest()
        if target > self.base:
            self.base = target

    def advance(self, int64_t nanoseconds):
        """Moves time on by `nanoseconds`, as advance_to() does."""
        self.advance_to(self.base + nanoseconds)

    def save(self):
        """Virtual time. Events are saved by the devices that scheduled them."""
        return {"now": self.now()}

    def load(self, state):
        """Sets virtual time and forgets all events; the devices schedule theirs anew when they load."""
        self.base = state["now"]
        self.queue = []
        self.cancelled = 0
