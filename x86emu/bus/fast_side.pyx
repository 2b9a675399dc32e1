# cython: language_level=3
# What the devices with a part in C have in common; see the .pxd.
"""C handlers in front of a Python device."""
from libc.stdint cimport uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.platform cimport bus_read_t, bus_write_t
from x86emu.bus.spaces cimport native_handlers


cdef uint64_t python_read(void* state, uint64_t offset, int size) noexcept with gil:
    cdef FastSide side = <FastSide>(<FastState*>state).object
    try:
        return side.read_handler(offset, size)
    except BaseException as error:
        if side.wiring is not None:
            side.wiring.record_exception(error)
        return 0xFFFFFFFFFFFFFFFFULL


cdef void python_write(void* state, uint64_t offset, int size, uint64_t value) noexcept with gil:
    cdef FastSide side = <FastSide>(<FastState*>state).object
    try:
        side.write_handler(offset, size, value)
    except BaseException as error:
        if side.wiring is not None:
            side.wiring.record_exception(error)


cdef class FastSide:
    """Base of the C sides of devices; `native` is what to map beside the Python device's own handlers."""

    cdef attach(self, void* state, Clock clock, read_handler, write_handler, bus_read_t read, bus_write_t write):
        """Fills in the FastState that `state` begins with; the Python device's handlers, and the C ones."""
        cdef FastState* s = <FastState*>state
        self.read_handler = read_handler
        self.write_handler = write_handler
        self.clock = clock
        self.wiring = clock.wiring
        s.object = <void*>self
        s.base = &clock.base
        s.board = NULL if clock.wiring is None else &self.wiring.board
        self.native = native_handlers(self, state, read, write)
