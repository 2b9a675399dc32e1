# cython: language_level=3
from libc.stdint cimport int64_t
from x86emu.core.state cimport Cpu

# Virtual time in nanoseconds, exact where c.current is set (see state.retired).
cdef int64_t virtual_now(Cpu* c) noexcept nogil
