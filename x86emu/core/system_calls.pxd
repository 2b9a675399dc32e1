# cython: language_level=3
from x86emu.core.state cimport handler_t

# Whether a handler is SYSCALL or SYSRET: these trap by the TF that they leave, not by the one they met.
cdef bint is_syscall(handler_t handler) noexcept nogil
