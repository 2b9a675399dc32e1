# cython: language_level=3
# #VMEXIT (AMD APM 2, 15.6): from a guest to its host.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from x86emu.core.state cimport *

# Leaves the guest: writes its state and the exit to the control block and puts the host's state in force. event: what
# was being delivered, or NULL.
cdef void svm_exit(Cpu* c, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next_rip, Fault* event) noexcept nogil
# In guest mode, before an exception's handler is entered: True where it is intercepted; the guest has been left then.
cdef bint svm_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil
# Leaves the guest behind an instruction that has retired.
cdef void svm_trap(Cpu* c, uint64_t code, uint64_t value) noexcept nogil
# The VMRUN fails by row failed - 1.
cdef void refuse(Cpu* c, uint8_t* block, uint32_t failed) noexcept nogil
cdef void load_host(Cpu* c) noexcept nogil
