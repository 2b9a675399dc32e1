# cython: language_level=3
# The power management timer (ACPI 1.0b, 4.7.3.3; Intel 82371AB data sheet, 7.2: PMTMR) as C code: operating systems
# take their time from it or calibrate others by it, and read it in loops.  All other registers of the block, and every
# write, are those of piix4_acpi.py.
"""The fast side of the register block at PMBASE."""
from libc.stdint cimport int64_t, uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.platform cimport Board, Wiring
from x86emu.bus.spaces cimport NativeHandlers, native_handlers

cdef enum:
    PMTMR = 8
    FREQUENCY = 3579545
    SECOND = 1000000000
    COUNTER_MASK = 0xFFFFFF

cdef struct TimerState:
    void* object                # the PmTimer
    int64_t* base               # virtual time at the start of the running slice
    Board* board                # NULL without one


cdef int64_t ticks_now(TimerState* s) noexcept nogil:
    cdef int64_t now = s.base[0]
    if s.board != NULL and s.board.elapsed != NULL:
        now += s.board.elapsed(s.board.engine)
    return now // SECOND * FREQUENCY + now % SECOND * FREQUENCY // SECOND

cdef uint64_t native_read(void* device, uint64_t offset, int size) noexcept nogil:
    if offset & ~<uint64_t>3 == PMTMR:
        return <uint64_t>(ticks_now(<TimerState*>device) & COUNTER_MASK) >> (8 * (offset & 3))
    return python_read(device, offset, size)

cdef void native_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    python_write(device, offset, size, value)

cdef uint64_t python_read(void* device, uint64_t offset, int size) noexcept with gil:
    cdef PmTimer timer = <PmTimer>(<TimerState*>device).object
    try:
        return timer.block.read_block(offset, size)
    except BaseException as error:
        timer.failed(error)
        return 0

cdef void python_write(void* device, uint64_t offset, int size, uint64_t value) noexcept with gil:
    cdef PmTimer timer = <PmTimer>(<TimerState*>device).object
    try:
        timer.block.write_block(offset, size, value)
    except BaseException as error:
        timer.failed(error)


cdef class PmTimer:
    """C handlers for a register block that has `read_block` and `write_block`; map `native` at PMBASE."""

    cdef TimerState state
    cdef object block
    cdef Clock clock
    cdef Wiring wiring
    cdef readonly NativeHandlers native

    def __init__(self, block, Clock clock):
        self.block = block
        self.clock = clock
        self.wiring = clock.wiring
        self.state.object = <void*>self
        self.state.base = &clock.base
        self.state.board = NULL if clock.wiring is None else &self.wiring.board
        self.native = native_handlers(self, &self.state, native_read, native_write)

    cdef void failed(self, error):
        if self.wiring is not None:
            self.wiring.exception = error
            self.wiring.board.stop = 1

    def ticks(self):
        """Ticks of 3.579545 MHz since the machine's start, of which the register shows 24 bits."""
        return ticks_now(&self.state)
