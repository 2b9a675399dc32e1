# cython: language_level=3
from libc.stdint cimport uint32_t
from x86emu.core.state cimport *

# Whether the running VMX guest's controls intercept the instruction that INTERCEPT record i stands before; the exit has
# been requested then, or a fault that comes first raised.
cdef bint vmx_intercept(Cpu* c, Insn* i) noexcept nogil
# A task switch in a guest (always an exit). source: 0 CALL, 1 IRET, 2 JMP, 3 task gate.
cdef void vmx_task_switch(Cpu* c, Insn* i, uint32_t selector, int source) noexcept nogil
