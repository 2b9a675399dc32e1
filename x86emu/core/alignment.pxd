# cython: language_level=3
# Alignment checking at CPL 3 (SDM 3A 6.15, interrupt 17, and table 6-7), where ld() and st() do not do it: operands whose
# length is not their alignment, and those that are never checked.
from libc.stdint cimport uint8_t, uint64_t, uint32_t
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport ld, st
from x86emu.core.mmu cimport slow_bytes
from x86emu.core.tlb cimport NEVER_KEY

# Raises #AC(0), or #SS(0) or #GP(0) for an address that is not canonical (whose last byte is not asked).  Returns False.
cdef bint refuse_misaligned(Cpu* c, Insn* i, uint64_t ea) noexcept nogil

cdef inline bint aligned(Cpu* c, Insn* i, uint64_t ea, uint32_t to) noexcept nogil:
    """False after raising the exception: alignment is checked, and linear address ea is no multiple of `to` (2, 4, 8)."""
    return likely(c.tlb_key != NEVER_KEY or not ea & (to - 1)) or refuse_misaligned(c, i, ea)

# As ld() and st(), but never #AC (SDM 2A, exception types 11 and 12; VMASKMOV).
cdef inline bint ld_unaligned(Cpu* c, Insn* i, uint64_t ea, uint_t* v) noexcept nogil:
    if unlikely(c.tlb_key == NEVER_KEY):
        return slow_bytes(c, i, ea, <uint8_t*>v, sizeof(uint_t), 0)
    return ld(c, i, ea, v)

cdef inline bint st_unaligned(Cpu* c, Insn* i, uint64_t ea, uint_t v) noexcept nogil:
    if unlikely(c.tlb_key == NEVER_KEY):
        return slow_bytes(c, i, ea, <uint8_t*>&v, sizeof(uint_t), 1)
    return st(c, i, ea, v)
