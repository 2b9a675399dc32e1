# cython: language_level=3
# HLT, MONITOR and MWAIT.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

# Whether what an MWAIT of this processor waits for has happened: the monitored 64 bytes differ from what MONITOR saw,
# or cannot be looked at. The run loop asks while activity is ACTIVITY_MWAIT.
cdef bint monitor_triggered(Cpu* c) noexcept nogil
