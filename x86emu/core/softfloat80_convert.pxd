# cython: language_level=3
# Conversions between the double-extended format and the x87's memory formats (SDM volume 1, 4.2.2, 4.7, 8.2).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport likely, unlikely
from x86emu.core.softfloat80 cimport *

cdef struct Stored:
    # An operand for memory and the status-word bits that its conversion sets.
    uint64_t value
    uint32_t flags

cdef Result80 load_general32(uint32_t v, bint quiet) noexcept nogil
cdef Result80 load_general64(uint64_t v, bint quiet) noexcept nogil
cdef Stored store_general32(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Stored store_general64(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
# bits: 16, 32 or 64. Out of range: IE and the integer indefinite. control's rounding bits rule; FISTTP passes chop.
cdef Stored to_integer80(uint64_t m, uint32_t se, uint32_t control, int bits) noexcept nogil
cdef Result80 load_bcd80(uint64_t low, uint32_t high) noexcept nogil
# value is the low 8 bytes; the upper two go to *high.
cdef Stored store_bcd80(uint64_t m, uint32_t se, uint32_t control, uint16_t* high) noexcept nogil


cdef inline Result80 load32(uint32_t v, bint quiet) noexcept nogil:
    """Exact. quiet: an SNaN is quieted and raises IE (FLD); otherwise the arithmetic that uses it will do that."""
    cdef uint32_t e = (v >> 23) & 0xFF
    if unlikely(e == 0 or e == 0xFF):
        return load_general32(v, quiet)
    return result80(0x8000000000000000ULL | (<uint64_t>(v & 0x7FFFFF) << 40), ((v >> 16) & SIGN) | (e + (BIAS - 127)), 0)

cdef inline Result80 load64(uint64_t v, bint quiet) noexcept nogil:
    """Exact. quiet: an SNaN is quieted and raises IE (FLD); otherwise the arithmetic that uses it will do that."""
    cdef uint32_t e = <uint32_t>(v >> 52) & 0x7FF
    if unlikely(e == 0 or e == 0x7FF):
        return load_general64(v, quiet)
    return result80(0x8000000000000000ULL | (v << 11), (<uint32_t>(v >> 48) & SIGN) | (e + (BIAS - 1023)), 0)

cdef inline Result80 load_integer(int64_t v) noexcept nogil:
    cdef uint64_t m
    cdef int shift
    if v == 0:
        return result80(0, 0, 0)
    m = <uint64_t>v if v > 0 else <uint64_t>0 - <uint64_t>v
    shift = clz64(m)
    return result80(m << shift, (SIGN if v < 0 else 0) | <uint32_t>(BIAS + 63 - shift), 0)

cdef inline Stored store32(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    """To single precision; here normal numbers that stay normal, to nearest."""
    cdef Stored s
    cdef uint32_t e = (se & EXPONENT) - (BIAS - 127)
    cdef uint64_t rest = m << 24
    cdef uint32_t up
    if unlikely(control & CW_ROUNDING or e - 1 >= <uint32_t>0xFD or not m >> 63):
        return store_general32(m, se, control)
    up = rest > 0x8000000000000000ULL or (rest == 0x8000000000000000ULL and (m >> 40) & 1)
    # The J bit adds one to the exponent field, and so does a carry out of the fraction.
    s.value = ((se & SIGN) << 16) + ((e - 1) << 23) + <uint32_t>(m >> 40) + up
    s.flags = (SW_PE if rest else 0) | (up << 9)
    return s

cdef inline Stored store64(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef Stored s
    cdef uint32_t e = (se & EXPONENT) - (BIAS - 1023)
    cdef uint64_t rest = m << 53
    cdef uint32_t up
    if unlikely(control & CW_ROUNDING or e - 1 >= <uint32_t>0x7FD or not m >> 63):
        return store_general64(m, se, control)
    up = rest > 0x8000000000000000ULL or (rest == 0x8000000000000000ULL and (m >> 11) & 1)
    s.value = (<uint64_t>(se & SIGN) << 48) + (<uint64_t>(e - 1) << 52) + (m >> 11) + up
    s.flags = (SW_PE if rest else 0) | (up << 9)
    return s
