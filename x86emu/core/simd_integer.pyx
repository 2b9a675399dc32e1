# cython: language_level=3
# Integer arithmetic, comparison and logic on MMX and XMM registers (SDM 2A to 2C under the mnemonics).
# The handlers come from _gen/forms_simd.py; what is not element by element has its function here.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd cimport *

ctypedef fused word_t:
    int16_t
    int32_t

include "simd_elementwise.pxi"

cdef inline int16_t saturate_word(int32_t v) noexcept nogil:
    return <int16_t>(-32768 if v < -32768 else (32767 if v > 32767 else v))

# PHADD and PHSUB: pairs of the destination give the low half of the result, pairs of the source the high half.
cdef inline void horizontal_add(word_t* d, word_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef word_t* r = <word_t*>room
    cdef int k
    for k in range(n // 2):
        r[k] = <word_t>(d[2 * k] + d[2 * k + 1])
        r[k + n // 2] = <word_t>(s[2 * k] + s[2 * k + 1])
    memcpy(d, r, n * sizeof(word_t))

cdef inline void horizontal_subtract(word_t* d, word_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef word_t* r = <word_t*>room
    cdef int k
    for k in range(n // 2):
        r[k] = <word_t>(d[2 * k] - d[2 * k + 1])
        r[k + n // 2] = <word_t>(s[2 * k] - s[2 * k + 1])
    memcpy(d, r, n * sizeof(word_t))

cdef inline void horizontal_add_saturated(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] + d[2 * k + 1])
        r[k + n // 2] = saturate_word(<int32_t>s[2 * k] + s[2 * k + 1])
    memcpy(d, r, n * 2)

cdef inline void horizontal_subtract_saturated(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] - d[2 * k + 1])
        r[k + n // 2] = saturate_word(<int32_t>s[2 * k] - s[2 * k + 1])
    memcpy(d, r, n * 2)

cdef inline void multiply_add_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int32_t r[4]
    cdef int k
    for k in range(n // 2):
        r[k] = <int32_t>d[2 * k] * s[2 * k] + <int32_t>d[2 * k + 1] * s[2 * k + 1]
    memcpy(d, r, n * 2)

cdef inline void multiply_add_bytes(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    """PMADDUBSW: unsigned bytes of the destination by signed bytes of the source."""
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] * <int8_t>s[2 * k] + <int32_t>d[2 * k + 1] * <int8_t>s[2 * k + 1])
    memcpy(d, r, n)

cdef inline void sum_of_differences(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    cdef uint64_t r[2]
    cdef uint32_t sum
    cdef int k, h
    for h in range(n // 8):
        sum = 0
        for k in range(8 * h, 8 * h + 8):
            sum += <uint32_t>(d[k] - s[k] if d[k] > s[k] else s[k] - d[k])
        r[h] = sum
    memcpy(d, r, n)

include "simd_horizontal.pxi"

cdef inline void multiple_sad(uint8_t* d, uint8_t* s, int control) noexcept nogil:
    """MPSADBW: eight sums of four absolute differences; bit 2 picks the destination's block, bits 1:0 the source's."""
    cdef uint16_t r[8]
    cdef uint8_t* a = d + (control & 4)
    cdef uint8_t* b = s + (control & 3) * 4
    cdef int k, m, sum
    for k in range(8):
        sum = 0
        for m in range(4):
            sum += a[k + m] - b[m] if a[k + m] > b[m] else b[m] - a[k + m]
        r[k] = <uint16_t>sum
    memcpy(d, r, 16)

cdef void MPSADBW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    multiple_sad(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), <int>i.imm)
    chain(c, i)

cdef void PHMINPOSUW_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t* s = <uint16_t*>xmm(c, i.src)
    cdef uint64_t least = 0
    cdef int k
    for k in range(1, 8):
        if s[k] < s[least]:
            least = <uint64_t>k
    c.vec[i.dst].q[0] = s[least] | least << 16
    c.vec[i.dst].q[1] = 0
    chain(c, i)

cdef void PTEST_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef Vec* a = &c.vec[i.dst]
    cdef Vec* b = &c.vec[i.src]
    flags_eager(c, (FLAG_ZF if (a.q[0] & b.q[0] | a.q[1] & b.q[1]) == 0 else 0)
                | (FLAG_CF if (~a.q[0] & b.q[0] | ~a.q[1] & b.q[1]) == 0 else 0))
    chain(c, i)

include "register_simd_integer.pxi"
