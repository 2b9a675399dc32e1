# cython: language_level=3
# Whole lines of 64 bytes: MOVDIR64B (SDM 2B) and CLZERO (AMD APM 3); and SERIALIZE (SDM 2B), which has nothing to wait for.
# Memory is coherent and in order here, so that a direct store is a store.
from libc.string cimport memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport load_bytes, store_bytes
from x86emu.core.mmu cimport canonical

cdef enum:
    LINE = 64

cdef bint line_address(Cpu* c, Insn* i, int seg, uint64_t offset, uint8_t access, uint64_t* linear) noexcept nogil:
    """Linear address of 64 bytes at an offset into a segment. False after raising #SS or #GP."""
    cdef Segment* s = &c.seg[seg]
    if (c.mode & MODE_CODE) == MODE_CODE64:
        linear[0] = offset + (s.base if seg >= FS else 0)
        return True
    if offset < s.low or offset + (LINE - 1) > s.high or not (s.access & access):
        fault_code(c, i, V_SS if seg == SS else V_GP, 0)
        return False
    linear[0] = <uint32_t>(s.base + offset)
    return True

cdef bint move_line(Cpu* c, Insn* i) noexcept nogil:
    """From the memory operand to ES:register, which must lie on a 64-byte boundary."""
    cdef uint8_t line[64]
    cdef uint64_t source, to
    cdef uint64_t offset = c.r[i.dst]
    if i.aux == 0:
        offset = <uint16_t>offset
    elif i.aux == 1:
        offset = <uint32_t>offset
    if not line_address(c, i, i.seg, ea_of(c, i), ACCESS_READ, &source) or not load_bytes(c, i, source, line, LINE):
        return False
    if not line_address(c, i, ES, offset, ACCESS_WRITE, &to):
        return False
    # i.seg is the source's segment, which may be SS
    if to & (LINE - 1) or ((c.mode & MODE_CODE) == MODE_CODE64 and not canonical(c, to)):
        fault_code(c, i, V_GP, 0)
        return False
    return store_bytes(c, i, to, line, LINE)

cdef void MOVDIR64B_Rq_M(Cpu* c, Insn* i) noexcept nogil:
    if not move_line(c, i):
        return
    chain(c, i)

cdef bint clear_line(Cpu* c, Insn* i, uint64_t offset) noexcept nogil:
    """The line that rAX points into."""
    cdef uint8_t line[64]
    cdef uint64_t to
    memset(line, 0, LINE)
    if not line_address(c, i, i.seg, offset & ~<uint64_t>(LINE - 1), ACCESS_WRITE, &to):
        return False
    return store_bytes(c, i, to, line, LINE)

cdef void CLZERO_w(Cpu* c, Insn* i) noexcept nogil:
    if not clear_line(c, i, <uint16_t>c.r[RAX]):
        return
    chain(c, i)

cdef void CLZERO_d(Cpu* c, Insn* i) noexcept nogil:
    if not clear_line(c, i, <uint32_t>c.r[RAX]):
        return
    chain(c, i)

cdef void CLZERO_q(Cpu* c, Insn* i) noexcept nogil:
    if not clear_line(c, i, c.r[RAX]):
        return
    chain(c, i)

cdef void SERIALIZE(Cpu* c, Insn* i) noexcept nogil:
    finish(c, i)

include "register_direct.pxi"
