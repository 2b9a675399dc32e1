# cython: language_level=3
# Double-extended arithmetic: everything that the fast paths of softfloat80.pxd do not do themselves.
# Intel SDM volume 1: 4.8.3 (classes), table 4-7 (NaN results), 4.9.1 (exceptions and the adjusted exponents of
# unmasked overflow and underflow), 8.1.5 (precision and rounding control), 8.5 (x87 exceptions).
# Where the manual leaves a choice, the choice is what silicon does:
#  * precision control 01b (reserved) works as 64 bits;
#  * with reduced precision, a denormal result is rounded at the same bit position of the register as a normal one;
#  * a denormal divided by zero raises ZE without DE; DE is not raised beside a NaN operand;
#  * masked overflow that gives infinity sets C1.


cdef inline uint64_t dropped(uint64_t hi, uint64_t lo, int k) noexcept nogil:
    """The fraction below bit k of hi, as a 64-bit binary fraction with a sticky last bit."""
    if k == 0:
        return lo
    return (hi << (64 - k)) | (lo >> k) | ((lo << (64 - k)) != 0)

cdef inline bint rounds_up(uint32_t sign, bint odd, uint64_t rest, uint32_t control) noexcept nogil:
    """Whether the magnitude is incremented (SDM 1, table 4-8)."""
    cdef uint32_t rc = control & CW_ROUNDING
    if rc == 0:
        return rest > 0x8000000000000000ULL or (rest == 0x8000000000000000ULL and odd)
    elif rc == 0x400:
        return sign != 0 and rest != 0
    elif rc == 0x800:
        return sign == 0 and rest != 0
    return 0

cdef inline int dropped_bits(uint32_t control) noexcept nogil:
    """Bits of the significand that precision control takes away."""
    cdef uint32_t pc = control & CW_PRECISION
    return 40 if pc == 0 else (11 if pc == 0x200 else 0)

cdef Result80 round_pack80(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, uint32_t control, uint32_t flags) noexcept nogil:
    """Rounds (-1)^sign * hi.lo * 2^(e - BIAS - 63); hi has its top bit set. lo is a fraction whose last bit is sticky."""
    cdef int k = dropped_bits(control)
    cdef uint64_t unit = <uint64_t>1 << k
    cdef uint64_t rest
    cdef int shift
    cdef bint up, tiny
    cdef u128 all_bits
    if e <= 0:
        # Tininess is detected after rounding, as if the exponent were unbounded.
        tiny = e < 0 or hi < <uint64_t>0 - unit or not rounds_up(sign, 1, dropped(hi, lo, k), control)
        if tiny and not control & SW_UE:
            flags |= SW_UE
            e += WRAP
        elif tiny:
            shift = 1 - e
            all_bits = (<u128>hi << 64) | lo
            if shift < 128:
                all_bits = (all_bits >> shift) | <u128>(((all_bits >> shift) << shift) != all_bits)
            else:
                all_bits = 1
            hi = <uint64_t>(all_bits >> 64)
            lo = <uint64_t>all_bits
            rest = dropped(hi, lo, k)
            hi &= ~(unit - 1)
            if rest:
                flags |= SW_PE | SW_UE
                if rounds_up(sign, (hi & unit) != 0, rest, control):
                    hi += unit
                    flags |= SW_C1
            return result80(hi, sign | <uint32_t>(hi >> 63), flags)
    rest = dropped(hi, lo, k)
    hi &= ~(unit - 1)
    up = rounds_up(sign, (hi & unit) != 0, rest, control)
    if up:
        hi += unit
        flags |= SW_C1
        if hi == 0:
            hi = 0x8000000000000000ULL
            e += 1
    if rest:
        flags |= SW_PE
    if e >= EXPONENT:
        flags |= SW_OE
        if not control & SW_OE:
            return result80(hi, sign | <uint32_t>(e - WRAP), flags)
        flags = (flags | SW_PE) & ~<uint32_t>SW_C1
        # Infinity unless the rounding direction points back to the largest finite number.
        if rounds_up(sign, 1, 0xFFFFFFFFFFFFFFFFULL, control):
            return result80(0x8000000000000000ULL, sign | EXPONENT, flags | SW_C1)
        return result80(~(unit - 1), sign | 0x7FFE, flags)
    return result80(hi, sign | <uint32_t>e, flags)


# ----- NaNs and unsupported formats -----

cdef Result80 nan_result80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse) noexcept nogil:
    """SDM 1, table 4-7, x87 column. At least one operand is a NaN or unsupported."""
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef bint take_a
    if a == CLASS_UNSUPPORTED or b == CLASS_UNSUPPORTED:
        return indefinite80(SW_IE)
    flags = SW_IE if a == CLASS_SNAN or b == CLASS_SNAN else 0
    if a < CLASS_QNAN:
        take_a = 0
    elif b < CLASS_QNAN:
        take_a = 1
    elif a != b:
        take_a = a == CLASS_QNAN       # a QNaN beside an SNaN is returned
    elif am != bm:
        take_a = am > bm               # the larger significand
    else:
        take_a = (ase & SIGN) == 0     # the positive one
    if take_a:
        return result80(am | 0x4000000000000000ULL, ase, flags)
    return result80(bm | 0x4000000000000000ULL, bse, flags)

cdef Result80 nan_result80_1(uint64_t m, uint32_t se) noexcept nogil:
    return nan_result80(m, se, 0, 0)

cdef inline Result80 unchanged(uint64_t m, uint32_t se, uint32_t flags) noexcept nogil:
    """The operand itself, but a pseudo-denormal in its normal form."""
    if not se & EXPONENT:
        se |= <uint32_t>(m >> 63)
    return result80(m, se, flags)

cdef inline int32_t normalize(uint64_t* m, uint32_t se) noexcept nogil:
    """Brings a nonzero finite significand's top bit up; returns the biased exponent (0 and below for denormals)."""
    cdef int32_t e = <int32_t>(se & EXPONENT)
    cdef int shift
    if e == 0:
        e = 1
        shift = clz64(m[0])
        m[0] <<= shift
        e -= shift
    return e


# ----- add, multiply, divide -----

cdef Result80 add_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t negate_b, uint32_t control) noexcept nogil:
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags, sign, sign_b
    cdef int32_t ea, eb, d
    cdef int shift
    cdef u128 s, t
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        return nan_result80(am, ase, bm, bse)
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    bse ^= negate_b
    sign = ase & SIGN
    sign_b = bse & SIGN
    if a == CLASS_INFINITY:
        if b == CLASS_INFINITY and sign != sign_b:
            return indefinite80(SW_IE)
        return result80(am, ase, flags)
    if b == CLASS_INFINITY:
        return result80(bm, bse, flags)
    if b == CLASS_ZERO:
        if a == CLASS_ZERO:
            if sign != sign_b:
                sign = SIGN if (control & CW_ROUNDING) == 0x400 else 0
            return result80(0, sign, flags)
        ea = normalize(&am, ase)
        return round_pack80(sign, ea, am, 0, control, flags)
    if a == CLASS_ZERO:
        eb = normalize(&bm, bse)
        return round_pack80(sign_b, eb, bm, 0, control, flags)
    ea = normalize(&am, ase)
    eb = normalize(&bm, bse)
    if ea < eb or (ea == eb and am < bm):
        am, bm = bm, am
        ea, eb = eb, ea
        sign, sign_b = sign_b, sign
    d = ea - eb
    s = <u128>am << 62
    t = <u128>bm << 62
    if d < 126:
        t = (t >> d) | <u128>(((t >> d) << d) != t)
    else:
        t = 1
    if sign == sign_b:
        s = s + t
    else:
        s = s - t
        if s == 0:
            return result80(0, SIGN if (control & CW_ROUNDING) == 0x400 else 0, flags)
    shift = clz64(<uint64_t>(s >> 64)) if <uint64_t>(s >> 64) else 64 + clz64(<uint64_t>s)
    s = s << shift
    return round_pack80(sign, ea + 2 - shift, <uint64_t>(s >> 64), <uint64_t>s, control, flags)

cdef Result80 mul_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil:
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef uint32_t sign = (ase ^ bse) & SIGN
    cdef int32_t e
    cdef u128 p
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        return nan_result80(am, ase, bm, bse)
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    if a == CLASS_INFINITY or b == CLASS_INFINITY:
        if a == CLASS_ZERO or b == CLASS_ZERO:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, sign | EXPONENT, flags)
    if a == CLASS_ZERO or b == CLASS_ZERO:
        return result80(0, sign, flags)
    e = normalize(&am, ase)
    e += normalize(&bm, bse) - (BIAS - 1)
    p = <u128>am * bm
    if not <uint64_t>(p >> 127):
        p = p << 1
        e -= 1
    return round_pack80(sign, e, <uint64_t>(p >> 64), <uint64_t>p, control, flags)

cdef Result80 div_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil:
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef uint32_t sign = (ase ^ bse) & SIGN
    cdef int32_t e
    cdef u128 n
    cdef uint64_t q, r
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        return nan_result80(am, ase, bm, bse)
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    if a == CLASS_INFINITY:
        if b == CLASS_INFINITY:
            return indefinite80(SW_IE)
        return result80(am, sign | EXPONENT, flags)
    if b == CLASS_INFINITY:
        return result80(0, sign, flags)
    if b == CLASS_ZERO:
        if a == CLASS_ZERO:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, sign | EXPONENT, SW_ZE)
    if a == CLASS_ZERO:
        return result80(0, sign, flags)
    e = normalize(&am, ase)
    e += BIAS - normalize(&bm, bse)
    if am >= bm:
        n = <u128>am << 63
    else:
        n = <u128>am << 64
        e -= 1
    q = <uint64_t>(n / <u128>bm)
    r = <uint64_t>n - q * bm
    return round_pack80(sign, e, q, 0 if r == 0 else (0xC000000000000000ULL if r > bm - r else 0x4000000000000000ULL),
                        control, flags)


# ----- square root -----

cdef extern from "math.h":
    double c_sqrt "sqrt"(double) noexcept nogil

cdef uint64_t integer_sqrt(u128 n) noexcept nogil:
    """floor(sqrt(n)) for n >= 2^126: a double's estimate, one Newton step, then corrected exactly."""
    cdef double estimate = c_sqrt(<double><uint64_t>(n >> 64)) * 4294967296.0
    cdef u128 s
    if estimate >= 18446744073709549568.0:
        s = 0xFFFFFFFFFFFFF800ULL
    else:
        s = <uint64_t>estimate
    s = (s + n / s) >> 1
    if s >> 64:
        s = 0xFFFFFFFFFFFFFFFFULL
    while s * s > n:
        s -= 1
    while n - s * s > s + s:
        s += 1
    return <uint64_t>s

cdef Result80 sqrt80(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t flags = 0
    cdef int32_t e
    cdef u128 n, r
    cdef uint64_t s
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_ZERO:
        return result80(m, se, 0)
    if se & SIGN:
        return indefinite80(SW_IE)
    if a == CLASS_INFINITY:
        return result80(m, se, 0)
    if a == CLASS_DENORMAL:
        flags = SW_DE
    e = normalize(&m, se) - BIAS
    n = <u128>m << (64 if e & 1 else 63)
    s = integer_sqrt(n)
    r = n - <u128>s * s
    # (s + 1/2)^2 = s^2 + s + 1/4: the remainder is more than half exactly when it exceeds s.
    return round_pack80(0, (e >> 1) + BIAS, s, 0 if r == 0 else (0xC000000000000000ULL if r > s else 0x4000000000000000ULL),
                        control, flags)


# ----- partial remainder -----

cdef Result80 rem80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control, bint nearest) noexcept nogil:
    """SDM 2A, FPREM and FPREM1. An exponent difference of 64 or more is reduced by 32 + (difference mod 32)."""
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef uint32_t sign = ase & SIGN
    cdef int32_t ea, eb, d, n
    cdef u128 x
    cdef u128 q = 0
    cdef uint64_t r
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        return nan_result80(am, ase, bm, bse)
    if a == CLASS_INFINITY or b == CLASS_ZERO:
        return indefinite80(SW_IE)
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    if a == CLASS_ZERO:
        return result80(am, ase, flags)
    control |= CW_PRECISION
    if b == CLASS_INFINITY:
        return unchanged(am, ase, flags)
    ea = normalize(&am, ase)
    eb = normalize(&bm, bse)
    d = ea - eb
    if d >= 64:
        n = (d & 31) | 32
        r = <uint64_t>((<u128>am << n) % <u128>bm)
        if r == 0:
            return result80(0, sign, flags | SW_C2)
        d = clz64(r)
        return round_pack80(sign, ea - n - d, r << d, 0, control, flags | SW_C2)
    if d < -1 or (d == -1 and not nearest):
        return round_pack80(sign, ea, am, 0, control, flags)
    if d == -1:
        # a < b: the nearest quotient is 1 when a is above b / 2.
        if am <= bm:
            return round_pack80(sign, ea, am, 0, control, flags)
        q = 1
        x = (<u128>bm << 1) - am
        d = clz64(<uint64_t>(x >> 64)) if <uint64_t>(x >> 64) else 64 + clz64(<uint64_t>x)
        x = x << d
        return round_pack80(sign ^ SIGN, ea - (d - 64), <uint64_t>(x >> 64), <uint64_t>x, control, flags | SW_C1)
    x = <u128>am << d
    q = x / <u128>bm
    r = <uint64_t>(x - q * bm)
    if nearest and (r > bm - r or (r == bm - r and <uint64_t>q & 1)):
        q += 1
        r = bm - r
        sign ^= SIGN
    flags |= (((<uint32_t>q & 4) << 6) | ((<uint32_t>q & 2) << 13) | ((<uint32_t>q & 1) << 9))
    if r == 0:
        return result80(0, ase & SIGN, flags)
    d = clz64(r)
    return round_pack80(sign, eb - d, r << d, 0, control, flags)


# ----- round to integer, scale, extract -----

cdef Result80 round_to_integer80(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t flags = 0
    cdef uint32_t sign = se & SIGN
    cdef int32_t e = <int32_t>(se & EXPONENT) - BIAS
    cdef int k
    cdef uint64_t rest, unit
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_ZERO or a == CLASS_INFINITY:
        return result80(m, se, 0)
    if a == CLASS_DENORMAL:
        flags = SW_DE
    if e >= 63:
        return result80(m, se, flags)
    if e < 0:
        rest = m if e == -1 else 1                # only its relation to one half matters
        if rounds_up(sign, 0, rest, control):
            return result80(0x8000000000000000ULL, sign | BIAS, flags | SW_PE | SW_C1)
        return result80(0, sign, flags | SW_PE)
    k = 63 - e
    unit = <uint64_t>1 << k
    rest = m << (64 - k)
    m &= ~(unit - 1)
    if rest == 0:
        return result80(m, se, flags)
    flags |= SW_PE
    if rounds_up(sign, (m & unit) != 0, rest, control):
        flags |= SW_C1
        m += unit
        if m == 0:
            m = 0x8000000000000000ULL
            se += 1
    return result80(m, se, flags)

cdef Result80 scale80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil:
    """a * 2^trunc(b) (SDM 2A, FSCALE and its table)."""
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef uint32_t sign = ase & SIGN
    cdef int32_t e, n
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        return nan_result80(am, ase, bm, bse)
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    if b == CLASS_INFINITY:
        if bse & SIGN:
            if a == CLASS_INFINITY:
                return indefinite80(SW_IE)
            return result80(0, sign, flags)
        if a == CLASS_ZERO:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, sign | EXPONENT, flags)
    if a == CLASS_INFINITY or a == CLASS_ZERO or b == CLASS_ZERO:
        return unchanged(am, ase, flags)
    control |= CW_PRECISION
    e = <int32_t>(bse & EXPONENT) - BIAS
    if e < 0:
        n = 0
    elif e > 16:
        n = 0x18000                               # beyond any exponent there is
    else:
        n = <int32_t>(bm >> (63 - e))
    if bse & SIGN:
        n = -n
    e = normalize(&am, ase) + n
    if e > EXPONENT + WRAP - 1 and not control & SW_OE:
        return result80(0x8000000000000000ULL, sign | EXPONENT, flags | SW_OE | SW_PE | SW_C1)
    if e < 1 - WRAP and not control & SW_UE:
        return result80(0, sign, flags | SW_UE | SW_PE)
    return round_pack80(sign, e, am, 0, control, flags)

cdef Result80 extract80(uint64_t m, uint32_t se, F80* exponent) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef Result80 r
    cdef int32_t e
    cdef uint32_t sign = 0
    cdef int shift
    if a >= CLASS_QNAN:
        r = nan_result80_1(m, se)
        exponent.mantissa = r.mantissa
        exponent.sign_exponent = <uint16_t>r.sign_exponent
        return r
    if a == CLASS_INFINITY:
        exponent.mantissa = 0x8000000000000000ULL
        exponent.sign_exponent = EXPONENT
        return result80(m, se, 0)
    if a == CLASS_ZERO:
        exponent.mantissa = 0x8000000000000000ULL
        exponent.sign_exponent = 0xFFFF
        return result80(m, se, SW_ZE)
    e = normalize(&m, se) - BIAS
    if e == 0:
        exponent.mantissa = 0
        exponent.sign_exponent = 0
    else:
        if e < 0:
            sign = SIGN
            e = -e
        shift = clz64(<uint64_t>e)
        exponent.mantissa = <uint64_t>e << shift
        exponent.sign_exponent = <uint16_t>(sign | <uint32_t>(BIAS + 63 - shift))
    return result80(m, (se & SIGN) | BIAS, SW_DE if a == CLASS_DENORMAL else 0)


# ----- comparison -----

cdef uint32_t compare_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, bint quiet) noexcept nogil:
    cdef int a = classify80(am, ase)
    cdef int b = classify80(bm, bse)
    cdef uint32_t flags
    cdef int32_t ea, eb
    cdef bint less
    if a >= CLASS_QNAN or b >= CLASS_QNAN:
        if quiet and a <= CLASS_QNAN and b <= CLASS_QNAN:
            return SW_C3 | SW_C2 | SW_C0
        return SW_C3 | SW_C2 | SW_C0 | SW_IE
    flags = SW_DE if a == CLASS_DENORMAL or b == CLASS_DENORMAL else 0
    if a == CLASS_ZERO and b == CLASS_ZERO:
        return flags | SW_C3
    if a == CLASS_ZERO:
        return flags | (0 if bse & SIGN else SW_C0)
    if b == CLASS_ZERO or (ase ^ bse) & SIGN:
        return flags | (SW_C0 if ase & SIGN else 0)
    # Infinities take part as the largest exponent there is.
    ea = normalize(&am, ase)
    eb = normalize(&bm, bse)
    if ea == eb and am == bm:
        return flags | SW_C3
    less = ea < eb or (ea == eb and am < bm)
    return flags | (SW_C0 if less != ((ase & SIGN) != 0) else 0)
