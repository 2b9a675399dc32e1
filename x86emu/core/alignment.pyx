# cython: language_level=3
# The exceptions of misaligned operands: see alignment.pxd.
from libc.stdint cimport uint64_t
from x86emu.core.state cimport *
from x86emu.core.mmu cimport canonical

cdef bint refuse_misaligned(Cpu* c, Insn* i, uint64_t ea) noexcept nogil:
    if (c.mode & MODE_CODE) == MODE_CODE64 and not canonical(c, ea):
        fault_code(c, i, V_SS if i != NULL and i.seg == SS else V_GP, 0)
    else:
        fault_code(c, i, V_AC, 0)
    return False
