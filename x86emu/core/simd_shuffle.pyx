# cython: language_level=3
# Unpacking, packing, shuffling, blending, inserting and extracting elements (SDM 2A to 2C under the mnemonics).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport ld, st
from x86emu.core.simd cimport *

ctypedef fused element_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef inline void unpack_low(element_t* d, element_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n // 2):
        r[2 * k] = d[k]
        r[2 * k + 1] = s[k]
    memcpy(d, r, n * sizeof(element_t))

cdef inline void unpack_high(element_t* d, element_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n // 2):
        r[2 * k] = d[n // 2 + k]
        r[2 * k + 1] = s[n // 2 + k]
    memcpy(d, r, n * sizeof(element_t))

cdef inline int32_t limit(int32_t v, int32_t low, int32_t high) noexcept nogil:
    return low if v < low else (high if v > high else v)

cdef inline void pack_signed_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = <int8_t>limit(d[k], -128, 127)
    for k in range(n):
        r[n + k] = <int8_t>limit(s[k], -128, 127)
    memcpy(d, r, 2 * n)

cdef inline void pack_unsigned_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef uint8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = <uint8_t>limit(d[k], 0, 255)
    for k in range(n):
        r[n + k] = <uint8_t>limit(s[k], 0, 255)
    memcpy(d, r, 2 * n)

cdef inline void pack_signed_dwords(int32_t* d, int32_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n):
        r[k] = <int16_t>limit(d[k], -32768, 32767)
    for k in range(n):
        r[n + k] = <int16_t>limit(s[k], -32768, 32767)
    memcpy(d, r, 4 * n)

cdef inline void pack_unsigned_dwords(int32_t* d, int32_t* s, int n) noexcept nogil:
    cdef uint16_t r[8]
    cdef int k
    for k in range(n):
        r[k] = <uint16_t>limit(d[k], 0, 65535)
    for k in range(n):
        r[n + k] = <uint16_t>limit(s[k], 0, 65535)
    memcpy(d, r, 4 * n)

cdef inline void shuffle_bytes(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    cdef uint8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = 0 if s[k] & 0x80 else d[s[k] & (n - 1)]
    memcpy(d, r, n)

include "simd_shuffles.pxi"

cdef inline void align_right(uint8_t* d, uint8_t* s, uint32_t by, uint32_t n) noexcept nogil:
    """PALIGNR: n bytes of d:s from byte number by on, zeros beyond its end."""
    cdef uint8_t joined[64]
    cdef uint32_t k
    memcpy(joined, s, n)
    memcpy(joined + n, d, n)
    for k in range(n):
        joined[2 * n + k] = 0
    memcpy(d, joined + (by if by < 2 * n else 2 * n), n)

cdef void PALIGNR_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    align_right(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), <uint8_t>i.imm, 16)
    chain(c, i)

cdef void PALIGNR_P_P_I(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    align_right(<uint8_t*>mm(c, i.dst), <uint8_t*>mm(c, i.src), <uint8_t>i.imm, 8)
    mmx_written(c, i.dst)
    chain(c, i)

cdef inline uint64_t pick_words(uint64_t s, uint32_t order) noexcept nogil:
    return ((s >> ((order & 3) * 16) & 0xFFFF) | (s >> ((order >> 2 & 3) * 16) & 0xFFFF) << 16
            | (s >> ((order >> 4 & 3) * 16) & 0xFFFF) << 32 | (s >> ((order >> 6 & 3) * 16)) << 48)

cdef void PSHUFD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef uint32_t order = <uint8_t>i.imm
    cdef uint32_t r[4]
    r[0] = s[order & 3]
    r[1] = s[order >> 2 & 3]
    r[2] = s[order >> 4 & 3]
    r[3] = s[order >> 6]
    memcpy(xmm(c, i.dst), r, 16)
    chain(c, i)

cdef void PSHUFLW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = pick_words(c.vec[i.src].q[0], <uint8_t>i.imm)
    c.vec[i.dst].q[1] = c.vec[i.src].q[1]
    chain(c, i)

cdef void PSHUFHW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[1] = pick_words(c.vec[i.src].q[1], <uint8_t>i.imm)
    c.vec[i.dst].q[0] = c.vec[i.src].q[0]
    chain(c, i)

cdef void SHUFPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t* d = <uint32_t*>xmm(c, i.dst)
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef uint32_t order = <uint8_t>i.imm
    cdef uint32_t r[4]
    r[0] = d[order & 3]
    r[1] = d[order >> 2 & 3]
    r[2] = s[order >> 4 & 3]
    r[3] = s[order >> 6]
    memcpy(d, r, 16)
    chain(c, i)

cdef void SHUFPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t r[2]
    r[0] = c.vec[i.dst].q[i.imm & 1]
    r[1] = c.vec[i.src].q[i.imm >> 1 & 1]
    memcpy(xmm(c, i.dst), r, 16)
    chain(c, i)

# ----- blends -----
cdef inline void blend(element_t* d, element_t* s, uint32_t mask, int n) noexcept nogil:
    cdef int k
    for k in range(n):
        if mask >> k & 1:
            d[k] = s[k]

cdef inline void blend_by_sign(element_t* d, element_t* s, element_t* mask, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n):
        r[k] = s[k] if mask[k] >> (8 * sizeof(element_t) - 1) else d[k]
    memcpy(d, r, 16)

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

cdef inline void insert_single(uint32_t* d, uint32_t v, uint32_t control) noexcept nogil:
    """INSERTPS: to the element that bits 5:4 name; then bits 3:0 clear elements."""
    cdef int k
    d[control >> 4 & 3] = v
    for k in range(4):
        if control >> k & 1:
            d[k] = 0

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
