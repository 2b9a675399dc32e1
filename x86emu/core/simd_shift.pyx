# cython: language_level=3
# Shifts of elements and of whole XMM registers (SDM 2B, PSLLW/PSLLD/PSLLQ, PSRAW/PSRAD, PSRLW ..., PSLLDQ, PSRLDQ).
# Counts beyond the element's width give zero, or copies of the sign for the arithmetic ones.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport *

ctypedef fused lane_t:
    uint16_t
    uint32_t
    uint64_t
    int16_t
    int32_t

cdef inline void shift_left(lane_t* d, uint64_t count, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef lane_t* r = <lane_t*>room
    cdef int k, by
    if count >= 8 * sizeof(lane_t):
        for k in range(n):
            d[k] = 0
        return
    by = <int>count
    for k in range(n):
        r[k] = <lane_t>(d[k] << by)
    memcpy(d, r, n * sizeof(lane_t))

cdef inline void shift_right(lane_t* d, uint64_t count, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef lane_t* r = <lane_t*>room
    cdef int k, by
    if count >= 8 * sizeof(lane_t):
        if lane_t is int16_t or lane_t is int32_t:
            count = 8 * sizeof(lane_t) - 1
        else:
            for k in range(n):
                d[k] = 0
            return
    by = <int>count
    for k in range(n):
        r[k] = <lane_t>(d[k] >> by)
    memcpy(d, r, n * sizeof(lane_t))

include "simd_shifts.pxi"

cdef void PSLLDQ_V_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t by = <uint8_t>i.imm
    cdef Vec* v = &c.vec[i.dst]
    if by > 15:
        v.q[0] = 0
        v.q[1] = 0
    elif by >= 8:
        v.q[1] = v.q[0] << 8 * (by - 8)
        v.q[0] = 0
    elif by:
        v.q[1] = v.q[1] << 8 * by | v.q[0] >> (64 - 8 * by)
        v.q[0] <<= 8 * by
    chain(c, i)

cdef void PSRLDQ_V_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t by = <uint8_t>i.imm
    cdef Vec* v = &c.vec[i.dst]
    if by > 15:
        v.q[0] = 0
        v.q[1] = 0
    elif by >= 8:
        v.q[0] = v.q[1] >> 8 * (by - 8)
        v.q[1] = 0
    elif by:
        v.q[0] = v.q[0] >> 8 * by | v.q[1] << (64 - 8 * by)
        v.q[1] >>= 8 * by
    chain(c, i)

include "register_simd_shift.pxi"
