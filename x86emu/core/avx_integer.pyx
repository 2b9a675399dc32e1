# cython: language_level=3
# AVX and AVX2 arithmetic, comparison, logic and shifts of integers (SDM 2B, 2C under the mnemonics): the handlers come from
# _gen/forms_avx.py, with what SSE does to a lane.  AVX-VNNI has its own functions here.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd_lanes cimport *
from x86emu.core.avx cimport *

include "avx_integers.pxi"

cdef void PTEST_Y_Y(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t* a = c.vec[i.dst].q
    cdef uint64_t* b = c.vec[i.src].q
    cdef uint64_t both = a[0] & b[0] | a[1] & b[1] | a[2] & b[2] | a[3] & b[3]
    cdef uint64_t rest = ~a[0] & b[0] | ~a[1] & b[1] | ~a[2] & b[2] | ~a[3] & b[3]
    flags_eager(c, (FLAG_ZF if both == 0 else 0) | (FLAG_CF if rest == 0 else 0))
    chain(c, i)

cdef inline void test_signs(Cpu* c, Insn* i, uint64_t mask, int n) noexcept nogil:
    """VTESTPS, VTESTPD: ZF and CF as PTEST's, of the sign bits alone."""
    cdef uint64_t both = 0, rest = 0
    cdef int k
    for k in range(n):
        both |= c.vec[i.dst].q[k] & c.vec[i.src].q[k] & mask
        rest |= ~c.vec[i.dst].q[k] & c.vec[i.src].q[k] & mask
    flags_eager(c, (FLAG_ZF if both == 0 else 0) | (FLAG_CF if rest == 0 else 0))

cdef void VTESTPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    test_signs(c, i, 0x8000000080000000ULL, 2)
    chain(c, i)

cdef void VTESTPS_Y_Y(Cpu* c, Insn* i) noexcept nogil:
    test_signs(c, i, 0x8000000080000000ULL, 4)
    chain(c, i)

cdef void VTESTPD_V_V(Cpu* c, Insn* i) noexcept nogil:
    test_signs(c, i, 0x8000000000000000ULL, 2)
    chain(c, i)

cdef void VTESTPD_Y_Y(Cpu* c, Insn* i) noexcept nogil:
    test_signs(c, i, 0x8000000000000000ULL, 4)
    chain(c, i)

# ----- AVX-VNNI -----
cdef inline int32_t saturated(int64_t v) noexcept nogil:
    return <int32_t>(-2147483648LL if v < -2147483648LL else (2147483647 if v > 2147483647 else v))

cdef inline void accumulate_bytes(Cpu* c, Insn* i, int n, bint saturate) noexcept nogil:
    """VPDPBUSD: unsigned bytes of the first source by signed bytes of the second, four products an element."""
    cdef uint8_t* a = <uint8_t*>&c.vec[i.src]
    cdef int8_t* b = <int8_t*>&c.vec[i.index]
    cdef int32_t* d = <int32_t*>&c.vec[i.dst]
    cdef int32_t* r = <int32_t*>&c.vec[SCRATCH]
    cdef int64_t sum
    cdef int k, m
    for k in range(n):
        sum = d[k]
        for m in range(4 * k, 4 * k + 4):
            sum += <int32_t>a[m] * b[m]
        r[k] = saturated(sum) if saturate else <int32_t>sum

cdef inline void accumulate_words(Cpu* c, Insn* i, int n, bint saturate) noexcept nogil:
    cdef int16_t* a = <int16_t*>&c.vec[i.src]
    cdef int16_t* b = <int16_t*>&c.vec[i.index]
    cdef int32_t* d = <int32_t*>&c.vec[i.dst]
    cdef int32_t* r = <int32_t*>&c.vec[SCRATCH]
    cdef int64_t sum
    cdef int k
    for k in range(n):
        sum = <int64_t>d[k] + <int64_t><int32_t>a[2 * k] * b[2 * k] + <int64_t><int32_t>a[2 * k + 1] * b[2 * k + 1]
        r[k] = saturated(sum) if saturate else <int32_t>sum

include "register_avx_integer.pxi"
