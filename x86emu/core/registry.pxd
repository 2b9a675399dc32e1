# cython: language_level=3
from libc.stdint cimport uintptr_t
from x86emu.core.state cimport handler_t

cdef int register_handler(bytes name, handler_t function) except -1
cdef handler_t find_handler(str name) except NULL
