# cython: language_level=3
# The rare ends of branches, out of line so that the handlers need no stack frame.  All are for tail position.
from libc.stdint cimport uint64_t
from x86emu.core.state cimport *

# The target is not within the terminal's page (or the fall-through is not): through the execute TLB.
cdef void take_far(Cpu* c, Insn* i, uint64_t rip) noexcept nogil
cdef void fall_far(Cpu* c, Insn* i, uint64_t rip) noexcept nogil
# The target lies outside CS or is not canonical: #GP(0).
cdef void refuse_target(Cpu* c, Insn* i) noexcept nogil
# The target of a CALL in 64-bit mode is not canonical: the fault of the push, where it has one, or #GP(0).
cdef void refuse_call(Cpu* c, Insn* i) noexcept nogil
