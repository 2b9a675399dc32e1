# cython: language_level=3
from libc.stdint cimport int64_t, uint64_t
from x86emu.core.engine cimport Schedule
from x86emu.core.memory cimport PhysicalMemory
from x86emu.core.processor cimport Processor
from x86emu.bus.platform cimport Wiring
from x86emu.bus.clock cimport Clock

cdef class Engine:
    cdef Schedule schedule
    cdef readonly PhysicalMemory memory
    cdef readonly Wiring wiring
    cdef readonly Clock clock
    cdef readonly list cpus
    cdef readonly object model
    cdef public int64_t quantum
    cdef readonly object stop_reason
    cdef object hook, exit_hook
    cdef int64_t guest_deadline(self)
    # A round of turns that an instruction limit has cut: where it began, the longest turn so far, whose turn it is, what
    # is left of that turn (0: all) and what was used of it, and how many processors were active.
    cdef bint round_cut
    cdef int64_t round_start, round_longest, round_span, round_done
    cdef int round_next, round_active
