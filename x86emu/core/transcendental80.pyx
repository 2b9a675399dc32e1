# cython: language_level=3
# The x87's transcendental instructions (SDM volume 1, 8.3.8 to 8.3.10; special cases from the tables at each instruction
# in SDM 2A) and its constants.
#
# Everything is computed with 128-bit significands, by argument reduction and power series whose coefficients are
# derived below from integer arithmetic when the module is loaded, so results are the same on every host and correctly
# rounded but for about one operand in 2^50.  Reduction for FSIN, FCOS, FSINCOS, FPTAN uses the 66-bit pi of the hardware
# (SDM 1, 8.3.8), which defines those results far from zero.  As in silicon, PE is set even where a nonzero result
# happens to be exact, and F2XM1 beyond -1..+1 and FYL2XP1 from -1 down return the operand unchanged.
#
#   function   reduced to                        series
#   2^x - 1    |x| < 1                           x * sum ln2^(k+1) x^k / (k+1)!
#   log2       s = (m-1)/(m+1), m near 1         2/ln2 * s * sum s^2k / (2k+1)
#   atan       t = (r-j/8)/(1+r*j/8), |t|<=1/16  t * sum (-1)^k t^2k / (2k+1)
#   sin, cos   |r| <= pi/4                       r * sum (-1)^k r^2k / (2k+1)!,  sum (-1)^k r^2k / (2k)!
import math
from fractions import Fraction


cdef struct Wide:
    # m * 2^(e - 127), m with its top bit set
    u128 m
    int32_t e

cdef enum:
    N_EXP = 30
    N_ATAN = 15
    N_ATANH = 24
    N_SIN = 16
    N_ANGLES = 9

# Binary fractions of 128 bits (Q0.128), except as noted.
cdef u128 EXP_COEFFICIENT[N_EXP]          # ln2^(k+1) / (k+1)!
cdef u128 ODD_RECIPROCAL[N_ATANH]         # 1 / (2k + 3)
cdef u128 SIN_COEFFICIENT[N_SIN]          # 1 / (2k + 3)!
cdef u128 COS_COEFFICIENT[N_SIN]          # 1 / (2k + 2)!
cdef u128 ANGLE[N_ANGLES]                 # atan(j / 8), Q2.126
cdef u128 PI                              # Q2.126
cdef u128 TWO_OVER_LN2                    # Q2.126
cdef u128 HALF_PI_66                      # pi / 2 cut to 66 bits, in units of 2^-65
cdef uint64_t CONSTANT[7][2]              # significand, 64 further bits
cdef int32_t CONSTANT_EXPONENT[7]


cdef u128 wide_int(object v):
    return ((<u128><uint64_t>(v >> 64)) << 64) | <uint64_t>(v & 0xFFFFFFFFFFFFFFFF)


def _derive_tables():
    """Fills the tables from rational series with 320-bit integers."""
    cdef int k
    scale = 1 << 320

    def atan(x):             # atan of a Fraction with |x| < 1
        total, power, n = 0, x.numerator * scale // x.denominator, 0
        while power:
            total += (-1) ** n * (power // (2 * n + 1))
            power = power * x.numerator ** 2 // x.denominator ** 2
            n += 1
        return total

    def log(x):              # natural logarithm of a Fraction near 1
        s = (x - 1) / (x + 1)
        total, power, n = 0, s.numerator * scale // s.denominator, 0
        while power not in (0, -1):
            total += power // (2 * n + 1)
            power = power * s.numerator ** 2 // s.denominator ** 2
            n += 1
        return 2 * total

    pi = 16 * atan(Fraction(1, 5)) - 4 * atan(Fraction(1, 239))
    ln2 = log(Fraction(2))
    ln10 = 3 * ln2 + log(Fraction(10, 8))
    power = scale
    for k in range(N_EXP):
        power = power * ln2 // scale // (k + 1)
        EXP_COEFFICIENT[k] = wide_int(power >> 192)
    for k in range(N_ATANH):
        ODD_RECIPROCAL[k] = wide_int((1 << 128) // (2 * k + 3))
    for k in range(N_SIN):
        SIN_COEFFICIENT[k] = wide_int((1 << 128) // math.factorial(2 * k + 3))
        COS_COEFFICIENT[k] = wide_int((1 << 128) // math.factorial(2 * k + 2))
    for k in range(N_ANGLES - 1):
        ANGLE[k] = wide_int(atan(Fraction(k, 8)) >> 194)
    ANGLE[8] = wide_int(pi >> 196)
    global PI, TWO_OVER_LN2, HALF_PI_66
    PI = wide_int(pi >> 194)
    TWO_OVER_LN2 = wide_int(2 * scale * scale // ln2 >> 194)
    HALF_PI_66 = wide_int(pi >> 256)
    values = [scale, scale * ln10 // ln2, scale * scale // ln2, pi, scale * ln2 // ln10, ln2]
    values[1] = ln10 * scale // ln2
    for k in range(6):
        v = values[k]
        CONSTANT_EXPONENT[k] = v.bit_length() - 321 + BIAS
        CONSTANT[k][0] = v >> (v.bit_length() - 64)
        CONSTANT[k][1] = (v >> (v.bit_length() - 128)) & 0xFFFFFFFFFFFFFFFF


_derive_tables()


# ----- 128-bit significands -----

cdef inline u128 mulhi(u128 a, u128 b) noexcept nogil:
    """floor(a * b / 2^128)"""
    cdef uint64_t a1 = <uint64_t>(a >> 64)
    cdef uint64_t a0 = <uint64_t>a
    cdef uint64_t b1 = <uint64_t>(b >> 64)
    cdef uint64_t b0 = <uint64_t>b
    cdef u128 low = <u128>a0 * b0
    cdef u128 mid1 = <u128>a1 * b0
    cdef u128 mid2 = <u128>a0 * b1
    cdef u128 mid = (low >> 64) + <uint64_t>mid1 + <uint64_t>mid2
    return <u128>a1 * b1 + (mid1 >> 64) + (mid2 >> 64) + (mid >> 64)

cdef inline int clz128(u128 v) noexcept nogil:
    return clz64(<uint64_t>(v >> 64)) if <uint64_t>(v >> 64) else 64 + clz64(<uint64_t>v)

cdef inline Wide wide(u128 m, int32_t e) noexcept nogil:
    """m * 2^(e - 127), normalized; m is not 0."""
    cdef Wide w
    cdef int shift = clz128(m)
    w.m = m << shift
    w.e = e - shift
    return w

cdef inline Wide wide80(uint64_t m, uint32_t se) noexcept nogil:
    """A nonzero finite operand's magnitude."""
    cdef int32_t e = <int32_t>(se & EXPONENT)
    return wide(<u128>m << 64, (e if e else 1) - BIAS)

cdef inline Wide wide_mul(Wide a, Wide b) noexcept nogil:
    return wide(mulhi(a.m, b.m), a.e + b.e + 1)

cdef inline uint64_t quotient_digit(u128* rest, u128 b) noexcept nogil:
    """The next 64 bits of rest / b for rest < b, b with its top bit set; rest becomes the new remainder."""
    cdef uint64_t b1 = <uint64_t>(b >> 64)
    cdef uint64_t b0 = <uint64_t>b
    cdef u128 estimate = rest[0] / <u128>b1
    cdef uint64_t q = 0xFFFFFFFFFFFFFFFFULL if estimate >> 64 else <uint64_t>estimate
    cdef u128 low = <u128>q * b0
    cdef i128 high = <i128>(rest[0] - <u128>q * b1) - <i128>(low >> 64)
    cdef uint64_t tail = <uint64_t>0 - <uint64_t>low
    if tail:
        high = high - 1
    while high < 0:          # at most twice
        q -= 1
        tail += b0
        high = high + b1 + (1 if tail < b0 else 0)
    rest[0] = (<u128>high << 64) | tail
    return q

cdef inline Wide wide_div(Wide a, Wide b) noexcept nogil:
    cdef u128 rest = a.m
    cdef uint64_t q1, q0
    cdef int32_t e = a.e - b.e - 1
    if rest >= b.m:
        rest = rest >> 1
        e += 1
    q1 = quotient_digit(&rest, b.m)
    q0 = quotient_digit(&rest, b.m)
    return wide((<u128>q1 << 64) | q0, e)

cdef inline u128 fixed(Wide a, int fraction_bits) noexcept nogil:
    """As an integer in units of 2^-fraction_bits (cut off)."""
    cdef int shift = 127 - a.e - fraction_bits
    return a.m >> shift if shift < 128 else 0

cdef inline u128 square(Wide a) noexcept nogil:
    """a^2 as a 128-bit fraction, for a < 1."""
    cdef int shift = -(2 * a.e + 2)
    return mulhi(a.m, a.m) >> shift if shift < 128 else 0

cdef inline Result80 rounded(uint32_t sign, Wide a, uint32_t control, uint32_t flags) noexcept nogil:
    """The result of a transcendental instruction: PE always, UE whenever it is tiny."""
    cdef Result80 r = round_pack80(sign, a.e + BIAS, <uint64_t>(a.m >> 64), <uint64_t>a.m, control | CW_PRECISION, flags)
    r.flags |= SW_PE
    if (r.sign_exponent & EXPONENT) == 0:
        r.flags |= SW_UE
    return r


# ----- F2XM1 -----

cdef Result80 exp2_minus_1(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t sign = se & SIGN
    cdef uint32_t flags = 0
    cdef Wide x
    cdef u128 f, s
    cdef int k
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_ZERO:
        return result80(m, se, 0)
    if a == CLASS_INFINITY:
        return result80(m, 0xBFFF, 0) if sign else result80(m, se, 0)
    if a == CLASS_DENORMAL:
        flags = SW_DE
    if (se & EXPONENT) >= BIAS:
        if (se & EXPONENT) == BIAS and m == 0x8000000000000000ULL and sign:
            return result80(m, 0xBFFE, SW_PE)
        return result80(m, se, SW_PE)            # 2^1 - 1 = 1; out of range: unchanged
    x = wide80(m, se)
    f = fixed(x, 128)
    s = EXP_COEFFICIENT[N_EXP - 1]
    if sign:
        for k in range(N_EXP - 2, -1, -1):
            s = EXP_COEFFICIENT[k] - mulhi(f, s)
    else:
        for k in range(N_EXP - 2, -1, -1):
            s = EXP_COEFFICIENT[k] + mulhi(f, s)
    return rounded(sign, wide_mul(x, wide(s, -1)), control, flags)


# ----- FYL2X, FYL2XP1 -----

cdef inline Wide log2_series(Wide s) noexcept nogil:
    """2 / ln 2 * atanh(s), for s below 0.18."""
    cdef u128 z = square(s)
    cdef u128 t = ODD_RECIPROCAL[N_ATANH - 1]
    cdef u128 product
    cdef int k
    for k in range(N_ATANH - 2, -1, -1):
        t = ODD_RECIPROCAL[k] + mulhi(z, t)
    t = mulhi(z, t)
    product = mulhi(s.m, t)
    if s.m + product < s.m:
        s.m = ((s.m + product) >> 1) | (<u128>1 << 127)
        s.e += 1
    else:
        s.m = s.m + product
    return wide_mul(s, wide(TWO_OVER_LN2, 1))

cdef inline Wide log2_of(Wide x, bint* negative) noexcept nogil:
    """log2(x) for x > 0; a significand of 0 for x = 1."""
    cdef u128 one = <u128>1 << 126
    cdef u128 m = x.m >> 1
    cdef u128 n, d, total
    cdef int32_t whole = x.e
    cdef Wide s
    if m > 0x5A827999FCEF3242ULL * (<u128>1 << 64):      # the square root of 2
        m = m >> 1
        whole += 1
    negative[0] = m < one
    n = one - m if m < one else m - one
    if n == 0:
        negative[0] = whole < 0
        if whole == 0:
            s.m = 0
            s.e = 0
            return s
        return wide(<u128><uint64_t>(-whole if whole < 0 else whole), 127)
    s = log2_series(wide_div(wide(n, 1), wide(m + one, 1)))
    if whole == 0:
        return s
    total = <u128><uint64_t>(-whole if whole < 0 else whole) << 111
    if negative[0] == (whole < 0):
        total = total + fixed(s, 111)
    else:
        total = total - fixed(s, 111)
    negative[0] = whole < 0
    return wide(total, 16)

cdef inline Result80 times_log(Wide logarithm, uint32_t sign, uint64_t ym, uint32_t yse, int y, uint32_t control, uint32_t flags) noexcept nogil:
    """y * logarithm, where neither is a NaN and the logarithm is finite (0 as a significand of 0)."""
    if y == CLASS_INFINITY:
        if not <uint64_t>(logarithm.m >> 64):
            return indefinite80(SW_IE)
        return result80(ym, sign | EXPONENT, flags)
    if y == CLASS_ZERO or not <uint64_t>(logarithm.m >> 64):
        return result80(0, sign, flags)
    return rounded(sign, wide_mul(logarithm, wide80(ym, yse)), control, flags)

cdef Result80 y_log2_x(uint64_t xm, uint32_t xse, uint64_t ym, uint32_t yse, uint32_t control) noexcept nogil:
    cdef int x = classify80(xm, xse)
    cdef int y = classify80(ym, yse)
    cdef uint32_t sign = yse & SIGN
    cdef uint32_t flags
    cdef bint negative = 0
    cdef Wide logarithm
    if x >= CLASS_QNAN or y >= CLASS_QNAN:
        return nan_result80(xm, xse, ym, yse)
    if x == CLASS_ZERO:
        if y == CLASS_ZERO:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, (sign ^ SIGN) | EXPONENT, 0 if y == CLASS_INFINITY else SW_ZE)
    if xse & SIGN:
        return indefinite80(SW_IE)
    flags = SW_DE if x == CLASS_DENORMAL or y == CLASS_DENORMAL else 0
    if x == CLASS_INFINITY:
        if y == CLASS_ZERO:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, sign | EXPONENT, flags)
    logarithm = log2_of(wide80(xm, xse), &negative)
    if negative:
        sign ^= SIGN
    return times_log(logarithm, sign, ym, yse, y, control, flags)

cdef Result80 y_log2_x_plus_1(uint64_t xm, uint32_t xse, uint64_t ym, uint32_t yse, uint32_t control) noexcept nogil:
    cdef int x = classify80(xm, xse)
    cdef int y = classify80(ym, yse)
    cdef uint32_t sign = (xse ^ yse) & SIGN
    cdef uint32_t flags
    cdef Wide a, logarithm
    cdef u128 f, one
    cdef bint negative = 0
    if x >= CLASS_QNAN or y >= CLASS_QNAN:
        return nan_result80(xm, xse, ym, yse)
    flags = SW_DE if x == CLASS_DENORMAL or y == CLASS_DENORMAL else 0
    if x == CLASS_ZERO:
        if y == CLASS_INFINITY:
            return indefinite80(SW_IE)
        return result80(0, sign, flags)
    if x == CLASS_INFINITY:
        if y == CLASS_ZERO or xse & SIGN:
            return indefinite80(SW_IE)
        return result80(0x8000000000000000ULL, sign | EXPONENT, flags)
    if xse & SIGN and (xse & EXPONENT) >= BIAS:
        if y == CLASS_INFINITY:
            return result80(ym, sign | EXPONENT, flags)
        if y == CLASS_ZERO:
            return result80(0, sign, flags)
        return result80(xm, xse, flags | SW_PE)  # x + 1 <= 0, which the manual leaves undefined: unchanged
    a = wide80(xm, xse)
    if a.e <= -2 and not (a.e == -2 and xse & SIGN and a.m >> 125 != 4):
        # s = x / (2 + x)
        f = fixed(a, 126)
        one = <u128>1 << 127
        logarithm = log2_series(wide_div(a, wide(one - f if xse & SIGN else one + f, 1)))
    else:
        if a.e < 126:
            one = <u128>1 << 126
            if a.e < 0:
                f = fixed(a, 126)
                a = wide(one - f if xse & SIGN else one + f, 1)
            else:
                f = a.m >> 1
                a = wide(f + (one >> a.e), a.e + 1)
        logarithm = log2_of(a, &negative)
    return times_log(logarithm, sign, ym, yse, y, control, flags)


# ----- FPATAN -----

cdef inline Wide atan_series(Wide t) noexcept nogil:
    """atan(t) for 0 < t <= 1/16."""
    cdef u128 z = square(t)
    cdef u128 s = ODD_RECIPROCAL[N_ATAN - 1]
    cdef int k
    for k in range(N_ATAN - 2, -1, -1):
        s = ODD_RECIPROCAL[k] - mulhi(z, s)
    return wide(t.m - mulhi(t.m, mulhi(z, s)), t.e)

cdef inline Wide atan_fraction(Wide r) noexcept nogil:
    """atan(r) for 0 < r <= 1."""
    cdef u128 f = fixed(r, 126)
    cdef int j = <int>((f + (<u128>1 << 122)) >> 123)
    cdef u128 c, numerator, denominator
    cdef bint negative
    if j == 0:
        return atan_series(r)
    c = <u128>j << 123
    negative = f < c
    numerator = c - f if negative else f - c
    if numerator == 0:
        return wide(ANGLE[j], 1)
    denominator = (<u128>1 << 126) + (f >> 3) * <u128>j
    f = fixed(atan_series(wide_div(wide(numerator, 1), wide(denominator, 1))), 126)
    return wide(ANGLE[j] - f if negative else ANGLE[j] + f, 1)

cdef Result80 arctangent(uint64_t ym, uint32_t yse, uint64_t xm, uint32_t xse, uint32_t control) noexcept nogil:
    cdef int x = classify80(xm, xse)
    cdef int y = classify80(ym, yse)
    cdef uint32_t sign = yse & SIGN
    cdef bint left = (xse & SIGN) != 0           # the left half plane
    cdef uint32_t flags
    cdef Wide a, b, r
    cdef bint steep
    if x >= CLASS_QNAN or y >= CLASS_QNAN:
        return nan_result80(xm, xse, ym, yse)
    flags = SW_DE if x == CLASS_DENORMAL or y == CLASS_DENORMAL else 0
    if y == CLASS_INFINITY:
        if x == CLASS_INFINITY:
            return rounded(sign, wide(ANGLE[8] * 3 if left else ANGLE[8], 1), control, flags)
        return rounded(sign, wide(PI, 0), control, flags)
    if y == CLASS_ZERO or x == CLASS_INFINITY:
        if left:
            return rounded(sign, wide(PI, 1), control, flags)
        return result80(0, sign, flags)
    if x == CLASS_ZERO:
        return rounded(sign, wide(PI, 0), control, flags)
    a = wide80(ym, yse)
    b = wide80(xm, xse)
    steep = a.e > b.e or (a.e == b.e and a.m > b.m)
    r = atan_fraction(wide_div(b, a) if steep else wide_div(a, b))
    if steep:
        r = wide((PI >> 1) + fixed(r, 126) if left else (PI >> 1) - fixed(r, 126), 1)
    elif left:
        r = wide(PI - fixed(r, 126), 1)
    return rounded(sign, r, control, flags)


# ----- FSIN, FCOS, FPTAN -----

cdef inline Wide sin_series(Wide r) noexcept nogil:
    cdef u128 z = square(r)
    cdef u128 s = SIN_COEFFICIENT[N_SIN - 1]
    cdef int k
    for k in range(N_SIN - 2, -1, -1):
        s = SIN_COEFFICIENT[k] - mulhi(z, s)
    return wide(r.m - mulhi(r.m, mulhi(z, s)), r.e)

cdef inline Wide cos_series(Wide r) noexcept nogil:
    cdef u128 z = square(r)
    cdef u128 s = COS_COEFFICIENT[N_SIN - 1]
    cdef int k
    for k in range(N_SIN - 2, -1, -1):
        s = COS_COEFFICIENT[k] - mulhi(z, s)
    s = mulhi(z, s)
    if s == 0:
        return wide(<u128>1 << 127, 0)
    return wide(<u128>0 - s, -1)

cdef inline Wide reduce_angle(uint64_t m, uint32_t se, uint32_t* quadrant, uint32_t* sign) noexcept nogil:
    """|x| = quadrant * pi/2 + (-1)^sign * result, 0 < result <= pi/4, for |x| < 2^63. Exact for the 66-bit pi."""
    cdef int32_t e = <int32_t>(se & EXPONENT) - BIAS
    cdef u128 x, q, r
    quadrant[0] = 0
    sign[0] = 0
    if e < -1:
        return wide80(m, se)
    x = <u128>m << (e + 2)
    q = x / HALF_PI_66
    r = x - q * HALF_PI_66
    if r > HALF_PI_66 >> 1:
        r = HALF_PI_66 - r
        q = q + 1
        sign[0] = SIGN
    quadrant[0] = <uint32_t>q & 3
    return wide(r, 62)

cdef inline Result80 out_of_range(uint64_t m, uint32_t se) noexcept nogil:
    return result80(m, se, SW_C2)

cdef Result80 sine(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t quadrant, sign
    cdef Wide r
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_INFINITY:
        return indefinite80(SW_IE)
    if a == CLASS_ZERO:
        return result80(m, se, 0)
    if (se & EXPONENT) >= BIAS + 63:
        return out_of_range(m, se)
    r = reduce_angle(m, se, &quadrant, &sign)
    if quadrant & 1:
        return rounded((se & SIGN) ^ ((quadrant & 2) << 14), cos_series(r), control, 0)
    return rounded((se & SIGN) ^ ((quadrant & 2) << 14) ^ sign, sin_series(r), control, SW_DE if a == CLASS_DENORMAL else 0)

cdef Result80 cosine(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t quadrant, sign
    cdef Wide r
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_INFINITY:
        return indefinite80(SW_IE)
    if a == CLASS_ZERO:
        return result80(0x8000000000000000ULL, BIAS, 0)
    if (se & EXPONENT) >= BIAS + 63:
        return out_of_range(m, se)
    r = reduce_angle(m, se, &quadrant, &sign)
    if quadrant & 1:
        return rounded(sign ^ (SIGN if quadrant == 1 else 0), sin_series(r), control, 0)
    return rounded((quadrant & 2) << 14, cos_series(r), control, SW_DE if a == CLASS_DENORMAL else 0)

cdef Result80 tangent(uint64_t m, uint32_t se, uint32_t control) noexcept nogil:
    cdef int a = classify80(m, se)
    cdef uint32_t quadrant, sign
    cdef Wide r
    if a >= CLASS_QNAN:
        return nan_result80_1(m, se)
    if a == CLASS_INFINITY:
        return indefinite80(SW_IE)
    if a == CLASS_ZERO:
        return result80(m, se, 0)
    if (se & EXPONENT) >= BIAS + 63:
        return out_of_range(m, se)
    r = reduce_angle(m, se, &quadrant, &sign)
    sign ^= se & SIGN
    if quadrant & 1:
        return rounded(sign ^ SIGN, wide_div(cos_series(r), sin_series(r)), control, 0)
    return rounded(sign, wide_div(sin_series(r), cos_series(r)), control, SW_DE if a == CLASS_DENORMAL else 0)


# ----- FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ -----

cdef Result80 load_constant(int index, uint32_t control) noexcept nogil:
    """No exception is raised, and C1 stays clear (SDM 2A, FLD1)."""
    cdef Result80 r
    if index == 6:
        return result80(0, 0, 0)
    r = round_pack80(0, CONSTANT_EXPONENT[index], CONSTANT[index][0], CONSTANT[index][1], control | CW_PRECISION | 0x3F, 0)
    r.flags = 0
    return r
