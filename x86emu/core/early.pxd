# cython: language_level=3
# What the processors before the 80386 have fixed (iAPX 286 Programmer's Reference Manual, 2.3.4.1 and appendix C).
from libc.stdint cimport uint64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *

# In real mode of the 80286 a string instruction has moved its registers on when it finds a word across the segment's end.
# To be called when the fault has been raised, with RIP at the instruction and registers as before the element.
cdef void string_fault_80286(Cpu* c) noexcept nogil

# In real mode of the 80286, for an operand that lies across the segment's end: True where it may be used nevertheless;
# otherwise what the instruction has done before its fault. To be called before the fault is raised.
cdef bint operand_80286(Cpu* c, Insn* i, uint64_t offset) noexcept nogil

cdef inline int stack_fault(Cpu* c) noexcept nogil:
    """Vector of a limit violation in the stack segment: in real mode of the 80286 it is 13 as for every other."""
    if c.features[<int>FEATURE_PRE386] and not c.cr0 & CR0_PE:
        return V_GP
    return V_SS

cdef inline uint64_t real_mode_flags(Cpu* c, uint64_t flags) noexcept nogil:
    """Bits 15:12 of FLAGS as pushed in real mode: ones on the 8086 and 80186, zeros on the 80286."""
    if c.features[<int>FEATURE_I286]:
        return flags & 0xFFF
    return flags | 0xF000
