# cython: language_level=3
# Moves of MMX registers, EMMS, and what else exists only on them (SDM 1, chapter 9; SDM 2A to 2C under the mnemonics).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport ld, st
from x86emu.core.simd cimport *

cdef void EMMS(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    mmx_used(c)
    c.fpu.valid = 0
    chain(c, i)

cdef void MOVQ_P_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.fpu.st[i.dst].mantissa = c.fpu.st[i.src].mantissa
    mmx_written(c, i.dst)
    chain(c, i)

cdef void MOVD_P_Rd(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.fpu.st[i.dst].mantissa = <uint32_t>c.r[i.src]
    mmx_written(c, i.dst)
    chain(c, i)

cdef void MOVD_P_Rq(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.fpu.st[i.dst].mantissa = c.r[i.src]
    mmx_written(c, i.dst)
    chain(c, i)

cdef void MOVD_Rd_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.r[i.dst] = <uint32_t>c.fpu.st[i.src].mantissa
    mmx_used(c)
    chain(c, i)

cdef void MOVD_Rq_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.r[i.dst] = c.fpu.st[i.src].mantissa
    mmx_used(c)
    chain(c, i)

cdef inline bint load_mmx(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    cdef uint_t v = kind
    if not mmx_ready(c, i) or not ld(c, i, ea_of(c, i), &v):
        return False
    c.fpu.st[i.dst].mantissa = v
    mmx_written(c, i.dst)
    return True

cdef inline bint store_mmx(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    if not mmx_ready(c, i) or not st(c, i, ea_of(c, i), <uint_t>c.fpu.st[i.dst].mantissa):
        return False
    mmx_used(c)
    return True

cdef void MOVD_P_Md(Cpu* c, Insn* i) noexcept nogil:
    if not load_mmx(c, i, <uint32_t>0):
        return
    chain(c, i)

cdef void MOVD_P_Mq(Cpu* c, Insn* i) noexcept nogil:
    if not load_mmx(c, i, <uint64_t>0):
        return
    chain(c, i)

cdef void MOVQ_P_Mq(Cpu* c, Insn* i) noexcept nogil:
    if not load_mmx(c, i, <uint64_t>0):
        return
    chain(c, i)

cdef void MOVD_Md_P(Cpu* c, Insn* i) noexcept nogil:
    if not store_mmx(c, i, <uint32_t>0):
        return
    chain(c, i)

cdef void MOVD_Mq_P(Cpu* c, Insn* i) noexcept nogil:
    if not store_mmx(c, i, <uint64_t>0):
        return
    chain(c, i)

cdef void MOVQ_Mq_P(Cpu* c, Insn* i) noexcept nogil:
    if not store_mmx(c, i, <uint64_t>0):
        return
    chain(c, i)

cdef void MOVNTQ_Mq_P(Cpu* c, Insn* i) noexcept nogil:
    if not store_mmx(c, i, <uint64_t>0):
        return
    chain(c, i)

cdef void MOVQ2DQ_V_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.vec[i.dst].q[0] = c.fpu.st[i.src].mantissa
    c.vec[i.dst].q[1] = 0
    mmx_used(c)
    chain(c, i)

cdef void MOVDQ2Q_P_V(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.fpu.st[i.dst].mantissa = c.vec[i.src].q[0]
    mmx_written(c, i.dst)
    chain(c, i)

cdef void PMOVMSKB_Rd_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.r[i.dst] = ((c.fpu.st[i.src].mantissa & 0x8080808080808080ULL) >> 7) * 0x0102040810204080ULL >> 56
    mmx_used(c)
    chain(c, i)

cdef void PINSRW_P_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    (<uint16_t*>mm(c, i.dst))[i.imm & 3] = <uint16_t>c.r[i.src]
    mmx_written(c, i.dst)
    chain(c, i)

cdef void PINSRW_P_Mw_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t v
    if not mmx_ready(c, i) or not ld(c, i, ea_of(c, i), &v):
        return
    (<uint16_t*>mm(c, i.dst))[i.imm & 3] = v
    mmx_written(c, i.dst)
    chain(c, i)

cdef void PEXTRW_Rd_P_I(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    c.r[i.dst] = (<uint16_t*>mm(c, i.src))[i.imm & 3]
    mmx_used(c)
    chain(c, i)

cdef void PSHUFW_P_P_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t s, r = 0
    cdef int k
    if not mmx_ready(c, i):
        return
    s = c.fpu.st[i.src].mantissa
    for k in range(4):
        r |= (s >> ((i.imm >> 2 * k & 3) * 16) & 0xFFFF) << 16 * k
    c.fpu.st[i.dst].mantissa = r
    mmx_written(c, i.dst)
    chain(c, i)

include "register_simd_mmx.pxi"
