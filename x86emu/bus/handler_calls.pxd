# cython: language_level=3
# A Python handler's call, which is most of what an access to a Python device costs: by CPython's vectorcall protocol, with
# the small numbers that nearly all accesses consist of kept ready.
from libc.stdint cimport uint64_t

cdef inline uint64_t size_mask(int size) noexcept nogil:
    return (<uint64_t>1 << (size * 8)) - 1 if size < 8 else <uint64_t>0xFFFFFFFFFFFFFFFFULL

# False: the handler raised an exception, which is set.
cdef bint call_read(object handler, uint64_t offset, int size, uint64_t* value) noexcept
cdef bint call_write(object handler, uint64_t offset, int size, uint64_t value) noexcept
