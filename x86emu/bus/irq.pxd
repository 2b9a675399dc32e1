# cython: language_level=3
cdef class IrqLine:
    cdef readonly bint level
    cdef readonly object name
    cdef object sink
    cdef int number
    cpdef set_level(self, bint level)
