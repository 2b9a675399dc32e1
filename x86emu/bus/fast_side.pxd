# cython: language_level=3
# The fast side of a device: the part of its registers that software spins on, as C code in front of the Python device.
# A fast side has a struct of what it needs, whose first member is a FastState, and C handlers that answer from it or
# call python_read() and python_write().
from libc.stdint cimport int64_t, uint64_t
from x86emu.bus.clock cimport Clock
from x86emu.bus.platform cimport Board, Wiring, bus_read_t, bus_write_t
from x86emu.bus.spaces cimport NativeHandlers

cdef struct FastState:
    void* object                # the FastSide
    int64_t* base               # virtual time at the start of the running slice
    Board* board                # NULL without one

cdef inline int64_t time_now(FastState* s) noexcept nogil:
    """Clock.now() without the GIL."""
    if s.board != NULL and s.board.elapsed != NULL:
        return s.base[0] + s.board.elapsed(s.board.engine)
    return s.base[0]

cdef inline int64_t ticks_now(FastState* s, int64_t frequency) noexcept nogil:
    """Ticks at `frequency` (Hz) since the machine's start."""
    cdef int64_t now = time_now(s)
    return now // 1000000000 * frequency + now % 1000000000 * frequency // 1000000000

# bus_read_t and bus_write_t that call the Python device; all ones after an exception, which the wiring records.
cdef uint64_t python_read(void* state, uint64_t offset, int size) noexcept with gil
cdef void python_write(void* state, uint64_t offset, int size, uint64_t value) noexcept with gil

cdef class FastSide:
    cdef object read_handler, write_handler
    cdef Clock clock
    cdef Wiring wiring
    cdef readonly NativeHandlers native
    cdef attach(self, void* state, Clock clock, read_handler, write_handler, bus_read_t read, bus_write_t write)
