# cython: language_level=3
from libc.stdint cimport int64_t, uint64_t
from x86emu.bus.platform cimport Wiring

cdef class Event:
    cdef readonly int64_t deadline
    cdef readonly bint active
    cdef object callback
    cdef uint64_t sequence

cdef class Clock:
    cdef Wiring wiring
    cdef int64_t base
    cdef list queue
    cdef Py_ssize_t cancelled
    cdef uint64_t sequence
    cpdef int64_t now(self)
    cpdef Event schedule(self, int64_t deadline, object callback)
    cpdef int64_t next_deadline(self)
    cpdef cancel(self, Event event)
    cpdef int run_due(self)
    cdef Event earliest(self)
    cdef run_one(self, Event event)
