# cython: language_level=3
# AVX and AVX2 unpacking, packing, shuffling, blending, broadcasting, permuting, inserting (SDM 2A to 2C under the mnemonics).
# What works lane by lane comes from _gen/forms_avx.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd_lanes cimport *
from x86emu.core.avx cimport *

cdef inline void permute_singles(uint32_t* d, uint32_t* control) noexcept nogil:
    """VPERMILPS by a register: bits 1:0 of each element of the control."""
    cdef uint32_t r[4]
    cdef int k
    for k in range(4):
        r[k] = d[control[k] & 3]
    memcpy(d, r, 16)

cdef inline void permute_doubles(uint64_t* d, uint64_t* control) noexcept nogil:
    """VPERMILPD by a register: bit 1 of each element of the control."""
    cdef uint64_t low = d[control[0] >> 1 & 1]
    d[1] = d[control[1] >> 1 & 1]
    d[0] = low

cdef inline void pick_doubles(uint64_t* d, uint64_t* s, uint32_t order) noexcept nogil:
    d[0] = s[order & 1]
    d[1] = s[order >> 1 & 1]

cdef inline void duplicate_even(uint32_t* d, uint32_t* s) noexcept nogil:
    d[0] = s[0]
    d[1] = s[0]
    d[2] = s[2]
    d[3] = s[2]

cdef inline void duplicate_odd(uint32_t* d, uint32_t* s) noexcept nogil:
    d[0] = s[1]
    d[1] = s[1]
    d[2] = s[3]
    d[3] = s[3]

cdef inline void duplicate_low(uint64_t* d, uint64_t* s) noexcept nogil:
    d[0] = s[0]
    d[1] = s[0]

include "avx_shuffles.pxi"

# ----- halves of YMM registers -----
cdef void VINSERTF128_Y_Y_V_I(Cpu* c, Insn* i) noexcept nogil:
    begin_256(c, i.src)
    memcpy(lane(c, SCRATCH, <int>i.imm & 1), &c.vec[i.index], 16)
    end_256(c, i.dst)
    chain(c, i)

cdef void VEXTRACTF128_V_Y_I(Cpu* c, Insn* i) noexcept nogil:
    memcpy(&c.vec[SCRATCH], lane(c, i.src, <int>i.imm & 1), 16)
    end_128(c, i.dst)
    chain(c, i)

cdef inline void pick_half(Cpu* c, Insn* i, int k, uint32_t control) noexcept nogil:
    """VPERM2F128: bit 1 of the control picks the source, bit 0 its half, bit 3 gives zero."""
    cdef uint64_t* s = <uint64_t*>lane(c, i.index if control & 2 else i.src, control & 1)
    c.vec[SCRATCH].q[2 * k] = 0 if control & 8 else s[0]
    c.vec[SCRATCH].q[2 * k + 1] = 0 if control & 8 else s[1]

cdef void VPERM2F128_Y_Y_Y_I(Cpu* c, Insn* i) noexcept nogil:
    pick_half(c, i, 0, <uint8_t>i.imm)
    pick_half(c, i, 1, <uint8_t>i.imm >> 4)
    end_256(c, i.dst)
    chain(c, i)

# ----- permutations of a whole YMM register -----
cdef void VPERMD_Y_Y_Y(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t* control = <uint32_t*>&c.vec[i.src]
    cdef uint32_t* s = <uint32_t*>&c.vec[i.index]
    cdef uint32_t* r = <uint32_t*>&c.vec[SCRATCH]
    cdef int k
    for k in range(8):
        r[k] = s[control[k] & 7]
    end_256(c, i.dst)
    chain(c, i)

cdef void VPERMQ_Y_Y_I(Cpu* c, Insn* i) noexcept nogil:
    cdef int k
    for k in range(4):
        c.vec[SCRATCH].q[k] = c.vec[i.src].q[i.imm >> 2 * k & 3]
    end_256(c, i.dst)
    chain(c, i)

# ----- broadcasts -----
cdef inline void broadcast(Cpu* c, uint8_t n, uint64_t v, bint both_lanes) noexcept nogil:
    c.vec[n].q[0] = v
    c.vec[n].q[1] = v
    c.vec[n].q[2] = v if both_lanes else 0
    c.vec[n].q[3] = v if both_lanes else 0

cdef inline uint64_t of_bytes(uint64_t v) noexcept nogil:
    return (v & 0xFF) * 0x0101010101010101ULL

cdef inline uint64_t of_words(uint64_t v) noexcept nogil:
    return (v & 0xFFFF) * 0x0001000100010001ULL

cdef inline uint64_t of_dwords(uint64_t v) noexcept nogil:
    return (v & 0xFFFFFFFFU) * 0x0000000100000001ULL

cdef void VPBROADCASTB_V_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_bytes(c.vec[i.src].q[0]), 0)
    chain(c, i)

cdef void VPBROADCASTB_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_bytes(c.vec[i.src].q[0]), 1)
    chain(c, i)

cdef void VPBROADCASTW_V_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_words(c.vec[i.src].q[0]), 0)
    chain(c, i)

cdef void VPBROADCASTW_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_words(c.vec[i.src].q[0]), 1)
    chain(c, i)

cdef void VPBROADCASTD_V_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.vec[i.src].q[0]), 0)
    chain(c, i)

cdef void VPBROADCASTD_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.vec[i.src].q[0]), 1)
    chain(c, i)

cdef void VPBROADCASTQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, c.vec[i.src].q[0], 0)
    chain(c, i)

cdef void VPBROADCASTQ_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, c.vec[i.src].q[0], 1)
    chain(c, i)

cdef void VBROADCASTSS_V_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.vec[i.src].q[0]), 0)
    chain(c, i)

cdef void VBROADCASTSS_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.vec[i.src].q[0]), 1)
    chain(c, i)

cdef void VBROADCASTSD_Y_V(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, c.vec[i.src].q[0], 1)
    chain(c, i)

# from memory: the value has been loaded into a general register
cdef void VBROADCASTSS_V_Rd(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.r[i.src]), 0)
    chain(c, i)

cdef void VBROADCASTSS_Y_Rd(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, of_dwords(c.r[i.src]), 1)
    chain(c, i)

cdef void VBROADCASTSD_Y_Rq(Cpu* c, Insn* i) noexcept nogil:
    broadcast(c, i.dst, c.r[i.src], 1)
    chain(c, i)

cdef void VBROADCASTF128_Y_V(Cpu* c, Insn* i) noexcept nogil:
    memcpy(lane(c, i.dst, 0), lane(c, i.src, 0), 16)
    memcpy(lane(c, i.dst, 1), lane(c, i.src, 0), 16)
    chain(c, i)

# ----- blends by the signs of a fourth register, whose number is the immediate -----
cdef inline void blend_lane(Cpu* c, Insn* i, int k, element_t kind) noexcept nogil:
    blend_by_sign(<element_t*>lane(c, SCRATCH, k), <element_t*>lane(c, i.index, k),
                  <element_t*>lane(c, <uint8_t>i.imm, k), 16 // sizeof(element_t))

# ----- insertion of elements; Rb, Rw: a memory operand, in a general register by now -----
cdef inline void insert_byte(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    (<uint8_t*>lane(c, SCRATCH, 0))[i.imm & 15] = <uint8_t>c.r[i.index]
    end_128(c, i.dst)

cdef inline void insert_word(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    (<uint16_t*>lane(c, SCRATCH, 0))[i.imm & 7] = <uint16_t>c.r[i.index]
    end_128(c, i.dst)

cdef void VPINSRB_V_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    insert_byte(c, i)
    chain(c, i)

cdef void VPINSRB_V_V_Rb_I(Cpu* c, Insn* i) noexcept nogil:
    insert_byte(c, i)
    chain(c, i)

cdef void VPINSRW_V_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    insert_word(c, i)
    chain(c, i)

cdef void VPINSRW_V_V_Rw_I(Cpu* c, Insn* i) noexcept nogil:
    insert_word(c, i)
    chain(c, i)

cdef void VPINSRD_V_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    (<uint32_t*>lane(c, SCRATCH, 0))[i.imm & 3] = <uint32_t>c.r[i.index]
    end_128(c, i.dst)
    chain(c, i)

cdef void VPINSRD_V_V_Rq_I(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    c.vec[SCRATCH].q[i.imm & 1] = c.r[i.index]
    end_128(c, i.dst)
    chain(c, i)

cdef void VINSERTPS_V_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    insert_single(<uint32_t*>lane(c, SCRATCH, 0), (<uint32_t*>lane(c, i.index, 0))[i.imm >> 6 & 3], <uint32_t>i.imm)
    end_128(c, i.dst)
    chain(c, i)

cdef void VINSERTPS_V_V_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    begin_128(c, i.src)
    insert_single(<uint32_t*>lane(c, SCRATCH, 0), <uint32_t>c.r[i.index], <uint32_t>i.imm)
    end_128(c, i.dst)
    chain(c, i)

include "register_avx_shuffle.pxi"
