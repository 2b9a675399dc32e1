# cython: language_level=3
# Unpacking, packing, shuffling, blending, inserting and extracting elements (SDM 2A to 2C under the mnemonics).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport ld, st
from x86emu.core.simd cimport *
from x86emu.core.simd_lanes cimport *

include "simd_shuffles.pxi"

cdef void PALIGNR_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    align_right(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), <uint8_t>i.imm, 16)
    chain(c, i)

cdef void PALIGNR_P_P_I(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    align_right(<uint8_t*>mm(c, i.dst), <uint8_t*>mm(c, i.src), <uint8_t>i.imm, 8)
    mmx_written(c, i.dst)
    chain(c, i)

cdef void PSHUFD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    shuffle_dwords(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <uint8_t>i.imm)
    chain(c, i)

cdef void PSHUFLW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    shuffle_low_words(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint8_t>i.imm)
    chain(c, i)

cdef void PSHUFHW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    shuffle_high_words(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint8_t>i.imm)
    chain(c, i)

cdef void SHUFPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    shuffle_singles(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <uint8_t>i.imm)
    chain(c, i)

cdef void SHUFPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    shuffle_doubles(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint8_t>i.imm)
    chain(c, i)

# ----- blends -----
cdef void BLENDPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    blend(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <uint32_t>i.imm, 4)
    chain(c, i)

cdef void BLENDPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    blend(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint32_t>i.imm, 2)
    chain(c, i)

cdef void PBLENDW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    blend(<uint16_t*>xmm(c, i.dst), <uint16_t*>xmm(c, i.src), <uint32_t>i.imm, 8)
    chain(c, i)

cdef void PBLENDVB_V_V_XMM0(Cpu* c, Insn* i) noexcept nogil:
    blend_by_sign(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), <uint8_t*>xmm(c, 0), 16)
    chain(c, i)

cdef void BLENDVPS_V_V_XMM0(Cpu* c, Insn* i) noexcept nogil:
    blend_by_sign(<uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), <uint32_t*>xmm(c, 0), 4)
    chain(c, i)

cdef void BLENDVPD_V_V_XMM0(Cpu* c, Insn* i) noexcept nogil:
    blend_by_sign(<uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), <uint64_t*>xmm(c, 0), 2)
    chain(c, i)

# ----- insertion and extraction -----
cdef void PINSRB_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    (<uint8_t*>xmm(c, i.dst))[i.imm & 15] = <uint8_t>c.r[i.src]
    chain(c, i)

cdef void PINSRW_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    (<uint16_t*>xmm(c, i.dst))[i.imm & 7] = <uint16_t>c.r[i.src]
    chain(c, i)

cdef void PINSRD_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    (<uint32_t*>xmm(c, i.dst))[i.imm & 3] = <uint32_t>c.r[i.src]
    chain(c, i)

cdef void PINSRD_V_Rq_I(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[i.imm & 1] = c.r[i.src]
    chain(c, i)

cdef void PINSRB_V_Mb_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint8_t v
    if not ld(c, i, ea_of(c, i), &v):
        return
    (<uint8_t*>xmm(c, i.dst))[i.imm & 15] = v
    chain(c, i)

cdef void PINSRW_V_Mw_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t v
    if not ld(c, i, ea_of(c, i), &v):
        return
    (<uint16_t*>xmm(c, i.dst))[i.imm & 7] = v
    chain(c, i)

cdef void PEXTRB_Rd_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = (<uint8_t*>xmm(c, i.src))[i.imm & 15]
    chain(c, i)

cdef void PEXTRB_Mb_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), (<uint8_t*>xmm(c, i.dst))[i.imm & 15]):
        return
    chain(c, i)

cdef void PEXTRW_Rd_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = (<uint16_t*>xmm(c, i.src))[i.imm & 7]
    chain(c, i)

cdef void PEXTRW_Mw_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), (<uint16_t*>xmm(c, i.dst))[i.imm & 7]):
        return
    chain(c, i)

cdef void PEXTRD_Rd_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = (<uint32_t*>xmm(c, i.src))[i.imm & 3]
    chain(c, i)

cdef void PEXTRD_Rq_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = c.vec[i.src].q[i.imm & 1]
    chain(c, i)

cdef void EXTRACTPS_Rd_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = (<uint32_t*>xmm(c, i.src))[i.imm & 3]
    chain(c, i)

cdef void INSERTPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    insert_single(<uint32_t*>xmm(c, i.dst), (<uint32_t*>xmm(c, i.src))[i.imm >> 6 & 3], <uint32_t>i.imm)
    chain(c, i)

cdef void INSERTPS_V_Md_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t v
    if not ld(c, i, ea_of(c, i), &v):
        return
    insert_single(<uint32_t*>xmm(c, i.dst), v, <uint32_t>i.imm)
    chain(c, i)

include "register_simd_shuffle.pxi"
