# cython: language_level=3
from x86emu.core.state cimport handler_t

# Whether a handler is one of INT n, INT3, INT1.
cdef bint enters_handler(handler_t handler) noexcept nogil
