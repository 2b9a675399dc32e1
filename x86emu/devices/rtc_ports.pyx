# cython: language_level=3
# Ports 70h and 71h (82371SB data sheet 2.5.6) as C code for the one thing that software spins on: the update-in-progress
# bit of the MC146818's register A, for up to a second (data sheet, "Update cycle").  mc146818.py decides what the clock
# does and publishes it here; all else goes there.
"""The fast side of the real-time clock's ports."""
from libc.stdint cimport int64_t, uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.fast_side cimport FastSide, FastState, python_read, python_write, time_now

cdef enum:
    REGISTER_A = 10
    UPDATE_IN_PROGRESS = 0x80
    SECOND = 1000000000

cdef struct RtcState:
    FastState fast
    int index
    bint tells_mask             # the index register's bit 7 goes to Python
    bint updates                # register A can show an update in progress
    int register_a
    int64_t phase               # a moment at which an update ends
    int64_t update_length       # ns before that in which the bit is up


cdef uint64_t native_read(void* device, uint64_t offset, int size) noexcept nogil:
    cdef RtcState* s = <RtcState*>device
    cdef int64_t left
    if offset == 0 or s.index != REGISTER_A:
        return python_read(device, offset, size)
    if not s.updates:
        return s.register_a
    left = (s.phase - time_now(&s.fast)) % SECOND
    if left < 0:
        left += SECOND
    return s.register_a | (UPDATE_IN_PROGRESS if 0 < left <= s.update_length else 0)

cdef void native_write(void* device, uint64_t offset, int size, uint64_t value) noexcept nogil:
    cdef RtcState* s = <RtcState*>device
    if offset == 0 and not s.tells_mask:
        s.index = value & 0x7F
    else:
        python_write(device, offset, size, value)


cdef class RtcPorts(FastSide):
    """The C handlers of a clock that has `read` and `write`, and the index register; map `native` at port 70h."""

    cdef RtcState state

    def __init__(self, rtc, Clock clock, *, bint tells_mask):
        self.state.tells_mask = tells_mask
        self.attach(&self.state, clock, rtc.read, rtc.write, native_read, native_write)

    @property
    def index(self):
        """The index register, without the NMI mask."""
        return self.state.index

    @index.setter
    def index(self, int value):
        self.state.index = value

    def publish(self, int register_a, bint updates, int64_t phase, int64_t update_length):
        """Takes over register A as written and, with `updates`, when an update is in progress (ns)."""
        self.state.register_a = register_a
        self.state.updates = updates
        self.state.phase = phase
        self.state.update_length = update_length

    def read(self, int offset, int size):
        """What a guest reads from the port now."""
        return native_read(&self.state, offset, size)
