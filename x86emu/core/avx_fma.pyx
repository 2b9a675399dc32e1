# cython: language_level=3
# FMA3: a product and a sum with one rounding (SDM 1, 14.5; SDM 2C under the mnemonics).
# The host's fma() is used where it must give the same as softfloat: see simd_reals.pxd. A zero may be an underflow here.
# The handlers come from _gen/forms_avx_float.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.math cimport fma, fmaf
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport float_done
from x86emu.core.softfloat cimport *
from x86emu.core.simd_reals cimport *
from x86emu.core.avx cimport *

cdef inline real_t host_fma(real_t a, real_t b, real_t addend) noexcept nogil:
    if real_t is float:
        return fmaf(a, b, addend)
    else:
        return fma(a, b, addend)

cdef inline bint fast(Cpu* c, bits_t* r, bits_t* x, bits_t* y, bits_t* z, int signs, int n, real_t kind) noexcept nogil:
    cdef real_t a, b, addend
    cdef int k
    if not host_rounds(c.mxcsr):
        return False
    for k in range(n):
        a = (<real_t*>x)[k]
        b = (<real_t*>y)[k]
        addend = (<real_t*>z)[k]
        if unlikely((denormal(x[k]) | denormal(y[k]) | denormal(z[k])) != 0):
            return False
        (<real_t*>r)[k] = host_fma(-a if signs & 1 else a, b, -addend if signs >> (1 + (k & 1)) & 1 else addend)
        if unlikely(unusual(r[k]) != 0):
            return False
    return True

cdef bint multiply_add_32(Cpu* c, Insn* i, uint8_t x, uint8_t y, uint8_t z, int signs, int n) noexcept nogil:
    """signs: bit 0 negates the product, bit 1 the addend of even elements, bit 2 that of odd ones."""
    cdef uint32_t* a = <uint32_t*>&c.vec[x]
    cdef uint32_t* b = <uint32_t*>&c.vec[y]
    cdef uint32_t* addend = <uint32_t*>&c.vec[z]
    cdef uint32_t r[8]
    cdef FloatContext e
    cdef int k
    if not fast(c, r, a, b, addend, signs, n, <float>0):
        begin(&e, c)
        for k in range(n):
            r[k] = f32_multiply_add(&e, a[k], b[k], addend[k], signs & 1, signs >> (1 + (k & 1)) & 1)
        if not float_done(c, i, e.flags):
            return False
    memcpy(&c.vec[i.dst], r, 4 * n)
    if n < 8:
        clear_upper(c, i.dst)
    return True

cdef bint multiply_add_64(Cpu* c, Insn* i, uint8_t x, uint8_t y, uint8_t z, int signs, int n) noexcept nogil:
    cdef uint64_t* a = <uint64_t*>&c.vec[x]
    cdef uint64_t* b = <uint64_t*>&c.vec[y]
    cdef uint64_t* addend = <uint64_t*>&c.vec[z]
    cdef uint64_t r[4]
    cdef FloatContext e
    cdef int k
    if not fast(c, r, a, b, addend, signs, n, <double>0):
        begin(&e, c)
        for k in range(n):
            r[k] = f64_multiply_add(&e, a[k], b[k], addend[k], signs & 1, signs >> (1 + (k & 1)) & 1)
        if not float_done(c, i, e.flags):
            return False
    memcpy(&c.vec[i.dst], r, 8 * n)
    if n < 4:
        clear_upper(c, i.dst)
    return True

include "avx_fused.pxi"
include "register_avx_fma.pxi"
