# cython: language_level=3
# The HPET's page (IA-PC HPET specification 1.0a, chapter 2) as C code where guests spin on it: reads of the running main
# counter, and writes of the comparator of a timer that interrupts nobody; Linux calibrates its driver by hundreds of
# thousands of both.  hpet.py decides what the counter does and publishes it here; everything else goes there.
"""The fast side of the HPET's page."""
from libc.stdint cimport int64_t, uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.fast_side cimport FastSide, FastState, python_read, python_write, time_now

cdef enum:
    PERIOD_NS = 10
    MAIN_COUNTER = 0x0F0
    FIRST_COMPARATOR = 0x108
    TIMER_STRIDE = 0x20
    TIMERS = 3

cdef int64_t FAR = <int64_t>1 << 62  # ns: what lies further away is left to Python's integers

cdef struct PageState:
    FastState fast
    bint running                # the main counter counts
    int64_t started             # virtual time at which it would have been 0
    bint idle[TIMERS]           # a write of the comparator has no further effect


cdef uint64_t native_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef PageState* s = <PageState*>device
    cdef int64_t now
    if offset & ~<uint64_t>7 == MAIN_COUNTER and s.running:
        now = time_now(&s.fast)
        if now >= s.started:
            return <uint64_t>((now - s.started) // PERIOD_NS) >> (8 * (offset & 7))
    return python_read(device, offset, size)

cdef void native_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    cdef PageState* s = <PageState*>device
    cdef uint64_t place = offset - FIRST_COMPARATOR
    if size == 8 and place % TIMER_STRIDE == 0 and place // TIMER_STRIDE < TIMERS and s.idle[place // TIMER_STRIDE]:
        set_comparator(s, place // TIMER_STRIDE, value)
    else:
        python_write(device, offset, size, value)

cdef void set_comparator(PageState* s, uint64_t number, uint64_t value) noexcept with gil:
    (<HpetPage>s.fast.object).timers[number].comparator = value


cdef class HpetPage(FastSide):
    """C handlers of an `Hpet`'s page; map `native` where it is."""

    cdef PageState state
    cdef list timers

    def __init__(self, hpet, list timers, Clock clock):
        self.timers = timers
        self.attach(&self.state, clock, hpet.read, hpet.write, native_read, native_write)

    def publish_counter(self, bint running, started):
        """Whether the main counter runs, and the virtual time at which it would have been 0."""
        self.state.running = running and -FAR < started < FAR
        self.state.started = started if self.state.running else 0

    def publish_timer(self, int number, bint idle):
        """Whether a write of the timer's comparator only changes what is read from there."""
        self.state.idle[number] = idle
