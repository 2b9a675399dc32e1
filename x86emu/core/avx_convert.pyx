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

# ----- packed -----
cdef bint singles_to_dwords(Cpu* c, Insn* i, int n, bint truncate) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>&c.vec[i.src]
    cdef uint32_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = <uint32_t>f32_to_int(&e, s[k], 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 4 * n)
    return True

cdef bint doubles_to_dwords(Cpu* c, Insn* i, int n, bint truncate) noexcept nogil:
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = <uint32_t>f64_to_int(&e, c.vec[i.src].q[k], 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 4 * n)
    return True

cdef bint dwords_to_singles(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef int32_t* s = <int32_t*>&c.vec[i.src]
    cdef uint32_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = int_to_f32(&e, s[k])
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 4 * n)
    return True

cdef bint dwords_to_doubles(Cpu* c, Insn* i, int n) noexcept nogil:
    """Always exact."""
    cdef int32_t* s = <int32_t*>&c.vec[i.src]
    cdef double r[4]
    cdef int k
    for k in range(n):
        r[k] = <double>s[k]
    put_result(c, i.dst, r, 8 * n)
    return True

cdef bint singles_to_doubles(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>&c.vec[i.src]
    cdef uint64_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f32_to_f64(&e, s[k])
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 8 * n)
    return True

cdef bint doubles_to_singles(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f64_to_f32(&e, c.vec[i.src].q[k])
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 4 * n)
    return True

cdef bint halves_to_singles(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint16_t* s = <uint16_t*>&c.vec[i.src]
    cdef uint32_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f16_to_f32(&e, s[k])
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 4 * n)
    return True

cdef bint singles_to_halves(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>&c.vec[i.src]
    cdef uint16_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f32_to_f16(&e, s[k], <int>i.imm)
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 2 * n)
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

cdef bint single_to_double(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t r
    begin(&e, c)
    r = f32_to_f64(&e, <uint32_t>c.vec[i.index].q[0])
    if not float_done(c, i, e.flags):
        return False
    put_double(c, i, r)
    return True

cdef bint double_to_single(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint32_t r
    begin(&e, c)
    r = f64_to_f32(&e, c.vec[i.index].q[0])
    if not float_done(c, i, e.flags):
        return False
    put_single(c, i, r)
    return True

cdef bint integer_to_single(Cpu* c, Insn* i, int64_t v) noexcept nogil:
    cdef FloatContext e
    cdef uint32_t r
    begin(&e, c)
    r = int_to_f32(&e, v)
    if not float_done(c, i, e.flags):
        return False
    put_single(c, i, r)
    return True

cdef bint integer_to_double(Cpu* c, Insn* i, int64_t v) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t r
    begin(&e, c)
    r = int_to_f64(&e, v)
    if not float_done(c, i, e.flags):
        return False
    put_double(c, i, r)
    return True

include "avx_conversions.pxi"
include "register_avx_convert.pxi"
