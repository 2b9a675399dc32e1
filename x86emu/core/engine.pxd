# cython: language_level=3
from libc.stdint cimport int64_t, uint32_t, uint64_t
from x86emu.core.state cimport Cpu

# What the C side of one machine's run loop shares.
cdef struct Schedule:
    Cpu* running             # NULL between slices
    int64_t base             # virtual time at the slice's beginning
    bint several             # there is more than one processor
    int64_t told             # the latest time that a processor was told by its TSC

# Virtual time in nanoseconds, exact where c.current is set (see state.retired).
cdef int64_t virtual_now(Cpu* c) noexcept nogil
# The same as software may compare it between processors: no two are told the same time, and none an earlier one than
# another was told before.
cdef int64_t told_now(Cpu* c) noexcept nogil
# Nanoseconds since the running slice began: what bus.clock.Clock.now() adds to its base.
cdef int64_t slice_elapsed(void* schedule) noexcept nogil
cdef void shorten_slice(void* schedule, int64_t deadline) noexcept nogil
cdef void kick(void* cpu) noexcept nogil

cdef enum StopReason:
    STOP_NONE = 0
    STOP_TRIPLE_FAULT = 1
    STOP_UNMODELLED = 2

cdef enum SliceEnd:
    SLICE_DONE = 0           # the budget is used up, or another processor may go on
    SLICE_IDLE = 1           # halted: only an event wakes it
    SLICE_STOP = 2           # c.stop_reason or board.stop

cdef void reset_processor(Cpu* c, bint power_on) noexcept nogil
cdef int run_slice(Cpu* c, int64_t instructions, int64_t* executed) noexcept nogil
