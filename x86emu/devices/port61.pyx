# cython: language_level=3
# Port 61h (82371SB data sheet, NMI status and control register) as C code: firmware, boot loaders and memory testers
# spin on the refresh toggle and on counter 2's output (8254 data sheet, "Mode definitions") for their delays.  What the
# counter does is decided in i8254.py, which publishes it here; a count that waits for the end of a period, and every
# write, goes there.
"""The fast side of port 61h."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.fast_side cimport FastSide, FastState, python_read, python_write, ticks_now

cdef enum:
    FREQUENCY = 1193182
    REFRESH_TICKS = 18
    REFRESH = 0x10
    OUTPUT2 = 0x20

cdef struct Port61State:
    FastState fast
    uint32_t bits               # bits 3:0 as written
    int mode                    # of counter 2; -1: ask Python
    bint running, starts_high, idle_output, paused
    int64_t origin, reload, paused_at


cdef bint output(Port61State* s, int64_t tick) noexcept nogil:
    """The OUT pin of counter 2, as Counter.output() of i8254.py gives it while no count is pending."""
    cdef int64_t elapsed = (s.paused_at if s.paused else tick) - s.origin
    cdef int64_t high = (s.reload + 1) // 2
    if not s.running or elapsed < 0:
        return s.idle_output
    if s.mode <= 1:
        return elapsed >= s.reload
    if s.mode == 2:
        return s.reload == 1 or elapsed % s.reload != s.reload - 1
    if s.mode == 3:
        return (elapsed + (0 if s.starts_high else high)) % s.reload < high
    return elapsed != s.reload

cdef uint64_t native_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef Port61State* s = <Port61State*>device
    cdef int64_t tick
    if s.mode < 0:
        return python_read(device, offset, size)
    tick = ticks_now(&s.fast, FREQUENCY)
    return s.bits | (REFRESH if tick // REFRESH_TICKS & 1 else 0) | (OUTPUT2 if output(s, tick) else 0)


cdef class SpeakerPort(FastSide):
    """Port 61h's C handlers for a timer that has `read_port61` and `write_port61`; map `native` at the port."""

    cdef Port61State state

    def __init__(self, timer, Clock clock):
        self.state.mode = -1
        self.attach(&self.state, clock, timer.read_port61, timer.write_port61, native_read, python_write)

    def publish(self, int bits, counter):
        """Takes over the written bits and the state of counter 2 (a `Counter` of i8254.py)."""
        cdef Port61State* s = &self.state
        s.bits = bits
        if counter.pending is not None or counter.reload < 1 and counter.running:
            s.mode = -1
            return
        s.mode = counter.mode
        s.running = counter.running
        s.starts_high = counter.starts_high
        s.idle_output = counter.idle_output
        s.origin = counter.origin
        s.reload = counter.reload if counter.reload > 0 else 1
        s.paused = counter.paused_at is not None
        s.paused_at = counter.paused_at if s.paused else 0

    def read(self, int offset, int size):
        """What a guest reads from the port now."""
        return native_read(&self.state, offset, size)
