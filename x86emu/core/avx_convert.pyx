# cython: language_level=3
# AVX conversions between integers, singles and doubles, and F16C's of half-precision numbers (SDM 1, 14.4; SDM 2A, 2C:
# VCVT...). The scalar ones to integers are SSE's (simd_convert.pyx).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport float_done
from x86emu.core.softfloat cimport *
from x86emu.core.simd_reals cimport begin
from x86emu.core.avx cimport *

cdef bint dwords_to_doubles(Cpu* c, Insn* i, int n) noexcept nogil:
    """Always exact."""
    cdef int32_t* s = <int32_t*>&c.vec[i.src]
    cdef double r[4]
    cdef int k
    for k in range(n):
        r[k] = <double>s[k]
    put_result(c, i.dst, r, 8 * n)
    return True

# ----- scalar: bits 127:32 or 127:64 are the first source's -----
cdef inline void put_single(Cpu* c, Insn* i, uint32_t v) noexcept nogil:
    c.vec[i.dst].q[0] = (c.vec[i.src].q[0] & 0xFFFFFFFF00000000ULL) | v
    c.vec[i.dst].q[1] = c.vec[i.src].q[1]
    clear_upper(c, i.dst)

cdef inline void put_double(Cpu* c, Insn* i, uint64_t v) noexcept nogil:
    c.vec[i.dst].q[0] = v
    c.vec[i.dst].q[1] = c.vec[i.src].q[1]
    clear_upper(c, i.dst)

include "avx_conversions.pxi"
include "register_avx_convert.pxi"
