# cython: language_level=3
from libc.stdint cimport uint32_t
from x86emu.core.state cimport *

# The trace at the current RIP, decoded if need be. NULL: a fault was raised (c.exit). single: of one instruction.
cdef Trace* find_trace(Cpu* c, bint single) noexcept nogil
