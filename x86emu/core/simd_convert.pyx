# cython: language_level=3
# Conversions between integers, singles and doubles (SDM 1, 11.4.4 and table 11-1; SDM 2A, CVT...).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport *
from x86emu.core.softfloat cimport *
from x86emu.core.simd_reals cimport begin

# ----- the host's conversions where they give the same: see simd_float.pyx -----
cdef inline bint plain_32(uint32_t v) noexcept nogil:
    """Normal and finite."""
    return <uint32_t>((v << 1) - 0x1000000U) < 0xFE000000U

cdef inline bint plain_64(uint64_t v) noexcept nogil:
    return <uint64_t>((v << 1) - 0x20000000000000ULL) < 0xFFC0000000000000ULL

cdef inline bint precision_masked(Cpu* c) noexcept nogil:
    return (c.mxcsr & MXCSR_PM) != 0

# Truncation of a plain number within the integer's range raises PE or nothing.
cdef inline bint fast_truncate(Cpu* c, uint8_t n, double v, bint plain, bint wide) noexcept nogil:
    cdef int64_t r
    if unlikely(not plain or not precision_masked(c)):
        return False
    if unlikely(not (-9.2e18 < v < 9.2e18 if wide else -2147483648.0 <= v < 2147483648.0)):
        return False
    r = <int64_t>v
    if <double>r != v:
        c.mxcsr |= MXCSR_PE
    c.r[n] = <uint64_t>r if wide else <uint32_t>r
    return True

# ----- packed, between XMM registers -----
cdef bint singles_to_dwords(Cpu* c, Insn* i, bint truncate) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(4):
        r[k] = <uint32_t>f32_to_int(&e, s[k], 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint doubles_to_dwords(Cpu* c, Insn* i, bint truncate) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t low, high
    begin(&e, c)
    low = <uint32_t>f64_to_int(&e, c.vec[i.src].q[0], 32, truncate)
    high = <uint32_t>f64_to_int(&e, c.vec[i.src].q[1], 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = low | high << 32
    c.vec[i.dst].q[1] = 0
    return True

cdef bint dwords_to_singles(Cpu* c, Insn* i) noexcept nogil:
    cdef int32_t* s = <int32_t*>xmm(c, i.src)
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(4):
        r[k] = int_to_f32(&e, s[k])
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint singles_to_doubles(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t low, high
    begin(&e, c)
    low = f32_to_f64(&e, <uint32_t>c.vec[i.src].q[0])
    high = f32_to_f64(&e, <uint32_t>(c.vec[i.src].q[0] >> 32))
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = low
    c.vec[i.dst].q[1] = high
    return True

cdef bint doubles_to_singles(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t low, high
    begin(&e, c)
    low = f64_to_f32(&e, c.vec[i.src].q[0])
    high = f64_to_f32(&e, c.vec[i.src].q[1])
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = low | high << 32
    c.vec[i.dst].q[1] = 0
    return True

cdef void CVTPS2DQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not singles_to_dwords(c, i, 0):
        return
    chain(c, i)

cdef void CVTTPS2DQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not singles_to_dwords(c, i, 1):
        return
    chain(c, i)

cdef void CVTPD2DQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not doubles_to_dwords(c, i, 0):
        return
    chain(c, i)

cdef void CVTTPD2DQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not doubles_to_dwords(c, i, 1):
        return
    chain(c, i)

cdef void CVTDQ2PS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not dwords_to_singles(c, i):
        return
    chain(c, i)

cdef inline void dwords_to_doubles(Cpu* c, uint8_t dst, uint64_t pair) noexcept nogil:
    """Always exact."""
    (<double*>xmm(c, dst))[0] = <double><int32_t>pair
    (<double*>xmm(c, dst))[1] = <double><int32_t>(pair >> 32)

cdef void CVTDQ2PD_V_V(Cpu* c, Insn* i) noexcept nogil:
    dwords_to_doubles(c, i.dst, c.vec[i.src].q[0])
    chain(c, i)

cdef void CVTPS2PD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not singles_to_doubles(c, i):
        return
    chain(c, i)

cdef void CVTPD2PS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not doubles_to_singles(c, i):
        return
    chain(c, i)

# ----- scalar -----
cdef bint single_to_double(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t r
    begin(&e, c)
    r = f32_to_f64(&e, <uint32_t>c.vec[i.src].q[0])
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = r
    return True

cdef bint double_to_single(Cpu* c, Insn* i) noexcept nogil:
    cdef FloatContext e
    cdef uint32_t r
    begin(&e, c)
    r = f64_to_f32(&e, c.vec[i.src].q[0])
    if not float_done(c, i, e.flags):
        return False
    (<uint32_t*>xmm(c, i.dst))[0] = r
    return True

cdef bint integer_to_single(Cpu* c, Insn* i, int64_t v) noexcept nogil:
    cdef FloatContext e
    cdef uint32_t r
    begin(&e, c)
    r = int_to_f32(&e, v)
    if not float_done(c, i, e.flags):
        return False
    (<uint32_t*>xmm(c, i.dst))[0] = r
    return True

cdef bint integer_to_double(Cpu* c, Insn* i, int64_t v) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t r
    begin(&e, c)
    r = int_to_f64(&e, v)
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = r
    return True

cdef bint single_to_integer(Cpu* c, Insn* i, int bits, bint truncate) noexcept nogil:
    cdef FloatContext e
    cdef int64_t r
    begin(&e, c)
    r = f32_to_int(&e, <uint32_t>c.vec[i.src].q[0], bits, truncate)
    if not float_done(c, i, e.flags):
        return False
    c.r[i.dst] = <uint64_t>r if bits == 64 else <uint32_t>r
    return True

cdef bint double_to_integer(Cpu* c, Insn* i, int bits, bint truncate) noexcept nogil:
    cdef FloatContext e
    cdef int64_t r
    begin(&e, c)
    r = f64_to_int(&e, c.vec[i.src].q[0], bits, truncate)
    if not float_done(c, i, e.flags):
        return False
    c.r[i.dst] = <uint64_t>r if bits == 64 else <uint32_t>r
    return True

cdef void finish_to_integer(Cpu* c, Insn* i, int source, int bits) noexcept nogil:
    """The rest of CVTTSS2SI and CVTTSD2SI, the exact way."""
    if single_to_integer(c, i, bits, 1) if source == 32 else double_to_integer(c, i, bits, 1):
        chain(c, i)

cdef void finish_between_formats(Cpu* c, Insn* i, int source) noexcept nogil:
    if single_to_double(c, i) if source == 32 else double_to_single(c, i):
        chain(c, i)

cdef void CVTSS2SD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(plain_32(<uint32_t>c.vec[i.src].q[0])):
        (<double*>xmm(c, i.dst))[0] = <double>(<float*>xmm(c, i.src))[0]
        chain(c, i)
    else:
        finish_between_formats(c, i, 32)

cdef void CVTSD2SS_V_V(Cpu* c, Insn* i) noexcept nogil:
    # from just above the smallest normal single to just below the largest: neither underflow nor overflow
    if likely((c.mxcsr & (MXCSR_RC | MXCSR_PM | MXCSR_PE)) == (MXCSR_PM | MXCSR_PE)
              and <uint64_t>((c.vec[i.src].q[0] << 1) - (<uint64_t>(1023 - 125) << 53)) < <uint64_t>250 << 53):
        (<float*>xmm(c, i.dst))[0] = <float>(<double*>xmm(c, i.src))[0]
        chain(c, i)
    else:
        finish_between_formats(c, i, 64)

cdef void CVTSI2SS_V_Rd(Cpu* c, Insn* i) noexcept nogil:
    if not integer_to_single(c, i, <int32_t>c.r[i.src]):
        return
    chain(c, i)

cdef void CVTSI2SS_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    if not integer_to_single(c, i, <int64_t>c.r[i.src]):
        return
    chain(c, i)

cdef void CVTSI2SD_V_Rd(Cpu* c, Insn* i) noexcept nogil:
    (<double*>xmm(c, i.dst))[0] = <double><int32_t>c.r[i.src]
    chain(c, i)

cdef void CVTSI2SD_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    # below 2^53 the conversion is exact
    if likely(c.r[i.src] + 0x20000000000000ULL <= 0x40000000000000ULL):
        (<double*>xmm(c, i.dst))[0] = <double><int64_t>c.r[i.src]
    elif not integer_to_double(c, i, <int64_t>c.r[i.src]):
        return
    chain(c, i)

cdef void CVTSS2SI_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    if not single_to_integer(c, i, 32, 0):
        return
    chain(c, i)

cdef void CVTSS2SI_Rq_V(Cpu* c, Insn* i) noexcept nogil:
    if not single_to_integer(c, i, 64, 0):
        return
    chain(c, i)

cdef void CVTTSS2SI_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_truncate(c, i.dst, (<float*>xmm(c, i.src))[0], plain_32(<uint32_t>c.vec[i.src].q[0]), 0)):
        chain(c, i)
    else:
        finish_to_integer(c, i, 32, 32)

cdef void CVTTSS2SI_Rq_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_truncate(c, i.dst, (<float*>xmm(c, i.src))[0], plain_32(<uint32_t>c.vec[i.src].q[0]), 1)):
        chain(c, i)
    else:
        finish_to_integer(c, i, 32, 64)

cdef void CVTSD2SI_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    if not double_to_integer(c, i, 32, 0):
        return
    chain(c, i)

cdef void CVTSD2SI_Rq_V(Cpu* c, Insn* i) noexcept nogil:
    if not double_to_integer(c, i, 64, 0):
        return
    chain(c, i)

cdef void CVTTSD2SI_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_truncate(c, i.dst, (<double*>xmm(c, i.src))[0], plain_64(c.vec[i.src].q[0]), 0)):
        chain(c, i)
    else:
        finish_to_integer(c, i, 64, 32)

cdef void CVTTSD2SI_Rq_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_truncate(c, i.dst, (<double*>xmm(c, i.src))[0], plain_64(c.vec[i.src].q[0]), 1)):
        chain(c, i)
    else:
        finish_to_integer(c, i, 64, 64)

# ----- MMX registers (a memory operand, register 8, does not touch the x87 state) -----
cdef inline bint mmx_source_ready(Cpu* c, Insn* i) noexcept nogil:
    return i.src == 8 or mmx_ready(c, i)

cdef inline void mmx_source_used(Cpu* c, Insn* i) noexcept nogil:
    if i.src != 8:
        mmx_used(c)

cdef void CVTPI2PD_V_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_source_ready(c, i):
        return
    dwords_to_doubles(c, i.dst, c.fpu.st[i.src].mantissa)
    mmx_source_used(c, i)
    chain(c, i)

cdef bint pair_to_singles(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t pair = c.fpu.st[i.src].mantissa
    cdef FloatContext e
    cdef uint64_t low, high
    begin(&e, c)
    low = int_to_f32(&e, <int32_t>pair)
    high = int_to_f32(&e, <int32_t>(pair >> 32))
    if not float_done(c, i, e.flags):
        return False
    c.vec[i.dst].q[0] = low | high << 32
    return True

cdef void CVTPI2PS_V_P(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_source_ready(c, i) or not pair_to_singles(c, i):
        return
    mmx_source_used(c, i)
    chain(c, i)

cdef bint singles_to_pair(Cpu* c, Insn* i, bint truncate) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t low, high
    if not mmx_ready(c, i):
        return False
    begin(&e, c)
    low = <uint32_t>f32_to_int(&e, <uint32_t>c.vec[i.src].q[0], 32, truncate)
    high = <uint32_t>f32_to_int(&e, <uint32_t>(c.vec[i.src].q[0] >> 32), 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    c.fpu.st[i.dst].mantissa = low | high << 32
    mmx_written(c, i.dst)
    return True

cdef bint doubles_to_pair(Cpu* c, Insn* i, bint truncate) noexcept nogil:
    cdef FloatContext e
    cdef uint64_t low, high
    if not mmx_ready(c, i):
        return False
    begin(&e, c)
    low = <uint32_t>f64_to_int(&e, c.vec[i.src].q[0], 32, truncate)
    high = <uint32_t>f64_to_int(&e, c.vec[i.src].q[1], 32, truncate)
    if not float_done(c, i, e.flags):
        return False
    c.fpu.st[i.dst].mantissa = low | high << 32
    mmx_written(c, i.dst)
    return True

cdef void CVTPS2PI_P_V(Cpu* c, Insn* i) noexcept nogil:
    if not singles_to_pair(c, i, 0):
        return
    chain(c, i)

cdef void CVTTPS2PI_P_V(Cpu* c, Insn* i) noexcept nogil:
    if not singles_to_pair(c, i, 1):
        return
    chain(c, i)

cdef void CVTPD2PI_P_V(Cpu* c, Insn* i) noexcept nogil:
    if not doubles_to_pair(c, i, 0):
        return
    chain(c, i)

cdef void CVTTPD2PI_P_V(Cpu* c, Insn* i) noexcept nogil:
    if not doubles_to_pair(c, i, 1):
        return
    chain(c, i)

include "register_simd_convert.pxi"
