# cython: language_level=3
# Conversions between the double-extended format and the x87's memory formats (SDM volume 1, 4.2, 4.7, 4.8; SDM 2A at
# FLD, FST, FIST, FISTTP, FBLD, FBSTP): what the inline paths of the .pxd do not do themselves.


cdef inline Stored stored(uint64_t value, uint32_t flags) noexcept nogil:
    cdef Stored s
    s.value = value
    s.flags = flags
    return s

cdef inline bint increments(uint32_t sign, bint odd, uint64_t rest, uint32_t control) noexcept nogil:
    """Whether the magnitude is incremented (SDM 1, table 4-8); rest is a fraction with a sticky last bit."""
    cdef uint32_t rc = control & CW_ROUNDING
    if rc == 0:
        return rest > 0x8000000000000000ULL or (rest == 0x8000000000000000ULL and odd)
    elif rc == 0x400:
        return sign != 0 and rest != 0
    elif rc == 0x800:
        return sign == 0 and rest != 0
    return 0


# ----- loads -----

cdef inline Result80 load_special(uint32_t sign, bint top_exponent, uint64_t fraction, int32_t e, bint quiet) noexcept nogil:
    """Zero, denormal, infinity or NaN; fraction stands below bit 63, e is the biased exponent of a denormal's J bit."""
    cdef int shift
    if top_exponent:
        if fraction == 0:
            return result80(0x8000000000000000ULL, sign | EXPONENT, 0)
        if not quiet:
            return result80(0x8000000000000000ULL | fraction, sign | EXPONENT, 0)
        return result80(0xC000000000000000ULL | fraction, sign | EXPONENT, 0 if (fraction >> 62) & 1 else SW_IE)
    if fraction == 0:
        return result80(0, sign, 0)
    shift = clz64(fraction)
    return result80(fraction << shift, sign | <uint32_t>(e - shift), SW_DE)

cdef Result80 load_general32(uint32_t v, bint quiet) noexcept nogil:
    return load_special((v >> 16) & SIGN, (v & 0x7F800000) != 0, <uint64_t>(v & 0x7FFFFF) << 40, BIAS - 126, quiet)

cdef Result80 load_general64(uint64_t v, bint quiet) noexcept nogil:
    return load_special(<uint32_t>(v >> 48) & SIGN, (v & 0x7FF0000000000000ULL) != 0,
                        (v << 11) & 0x7FFFFFFFFFFFFFFFULL, BIAS - 1022, quiet)

cdef Result80 load_bcd80(uint64_t low, uint32_t high) noexcept nogil:
    """Eighteen decimal digits and a sign. Digits above nine are undefined by the manual: they count as they are."""
    cdef uint64_t n = 0
    cdef int i
    cdef Result80 r
    n = ((high >> 4) & 0xF) * 10 + (high & 0xF)
    for i in range(15, -1, -1):
        n = n * 10 + ((low >> (4 * i)) & 0xF)
    r = load_integer(<int64_t>n)
    r.sign_exponent |= high & SIGN
    return r


# ----- stores -----

cdef inline Stored store_format(uint64_t m, uint32_t se, uint32_t control, int fraction_bits, int32_t max_e) noexcept nogil:
    """To a format with fraction_bits and the all-ones exponent field max_e."""
    cdef int a = classify80(m, se)
    cdef uint32_t sign = se & SIGN
    cdef uint64_t sign_bit = <uint64_t>(sign != 0) << (31 if fraction_bits == 23 else 63)
    cdef int k = 63 - fraction_bits
    cdef uint64_t infinity = <uint64_t>max_e << fraction_bits
    cdef uint64_t rest, kept
    cdef int32_t e
    cdef uint32_t flags = 0
    cdef int shift
    cdef bint tiny
    if a == CLASS_ZERO:
        return stored(sign_bit, 0)
    if a == CLASS_INFINITY:
        return stored(sign_bit | infinity, 0)
    if a == CLASS_UNSUPPORTED:
        return stored((<uint64_t>1 << (31 if fraction_bits == 23 else 63)) | infinity | (<uint64_t>1 << (fraction_bits - 1)), SW_IE)
    if a >= CLASS_QNAN:
        return stored(sign_bit | infinity | (<uint64_t>1 << (fraction_bits - 1)) | ((m << 1) >> (k + 1)),
                      SW_IE if a == CLASS_SNAN else 0)
    e = <int32_t>(se & EXPONENT) - BIAS + (max_e >> 1)
    if a == CLASS_DENORMAL:
        shift = clz64(m)
        m <<= shift
        e += 1 - shift
    rest = m << (64 - k)
    kept = m >> k
    if e <= 0:
        tiny = e < 0 or kept != (<uint64_t>2 << fraction_bits) - 1 or not increments(sign, 1, rest, control)
        if tiny:
            if not control & SW_UE:
                return stored(0, SW_UE)          # nothing is stored
            shift = 1 - e
            if shift >= 64:
                rest = 1
                kept = 0
            else:
                # kept holds fraction_bits + 1 bits: shift them right into the fraction field, keeping what falls out.
                m = (m >> shift) | ((m << (64 - shift)) != 0)
                rest = m << (64 - k)
                kept = m >> k
            if rest:
                flags = SW_PE | SW_UE
                if increments(sign, kept & 1, rest, control):
                    kept += 1
                    flags |= SW_C1
            return stored(sign_bit | kept, flags)
    if rest:
        flags = SW_PE
        if increments(sign, kept & 1, rest, control):
            kept += 1
            flags |= SW_C1
            if kept >> (fraction_bits + 1):
                kept >>= 1
                e += 1
    if e >= max_e:
        if not control & SW_OE:
            return stored(0, SW_OE)
        if increments(sign, 1, 0xFFFFFFFFFFFFFFFFULL, control):
            return stored(sign_bit | infinity, SW_OE | SW_PE | SW_C1)
        return stored(sign_bit | (infinity - 1), SW_OE | SW_PE)
    return stored(sign_bit | (<uint64_t>(e - 1) << fraction_bits) + kept, flags)

cdef Stored store_general32(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    return store_format(m, se, control, 23, 0xFF)

cdef Stored store_general64(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    return store_format(m, se, control, 52, 0x7FF)

cdef inline Stored round_magnitude(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    """|value| as an unsigned integer; IE if it is not below 2^64 or not a number."""
    cdef int a = classify80(m, se)
    cdef int32_t e = <int32_t>(se & EXPONENT) - BIAS
    cdef uint64_t rest, n
    if a == CLASS_ZERO:
        return stored(0, 0)
    if a >= CLASS_INFINITY or e > 63:
        return stored(0, SW_IE)
    if e == 63:
        return stored(m, 0)
    if e < 0:
        n = 0
        rest = m if e == -1 else 1
    else:
        n = m >> (63 - e)
        rest = m << (e + 1)
    if rest == 0:
        return stored(n, 0)
    if increments(se & SIGN, n & 1, rest, control):
        return stored(n + 1, SW_PE | SW_C1)
    return stored(n, SW_PE)

cdef Stored to_integer80(uint64_t m, uint32_t se, uint32_t control, int bits) noexcept nogil:
    cdef Stored s = round_magnitude(m, se, control)
    cdef uint64_t indefinite = <uint64_t>1 << (bits - 1)
    cdef bint negative = (se & SIGN) != 0
    if s.flags & SW_IE or s.value > indefinite or (s.value == indefinite and not negative):
        return stored(indefinite, SW_IE)
    if negative:
        s.value = <uint64_t>0 - s.value
    return s

cdef Stored store_bcd80(uint64_t m, uint32_t se, uint32_t control, uint16_t* high) noexcept nogil:
    cdef Stored s = round_magnitude(m, se, control)
    cdef uint64_t n = s.value
    cdef uint64_t low = 0
    cdef int i
    if s.flags & SW_IE or n > 999999999999999999ULL:
        high[0] = 0xFFFF
        return stored(0xC000000000000000ULL, SW_IE)
    for i in range(16):
        low |= (n % 10) << (4 * i)
        n = n / 10
    high[0] = <uint16_t>((se & SIGN) | ((n / 10) << 4) | (n % 10))
    s.value = low
    return s
