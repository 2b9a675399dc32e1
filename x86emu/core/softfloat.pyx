# cython: language_level=3
# IEEE 754 binary32 and binary64 arithmetic in integers, exact in result and flags on every host
# (SDM volume 1: 4.8.3.5 and table 4-7 for NaNs, 4.9 for exceptions, 11.5.2 and appendix E for SSE's order of them).
#
# One implementation serves all formats: `fb` is the number of fraction bits, 23 or 52 (or 10, half precision, which is only
# converted), always a constant, so that the compiler makes copies of each function.  A finite number is unpacked to sign, exponent and a significand with its
# leading one at bit 62; the lowest bit gathers what was shifted out.
#
# Departures from the manual: RCPPS and RSQRTPS, which it defines by an error bound only (1.5 * 2^-12), are here the exact
# value rounded to 12 fraction bits, so that every host gives the same result.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t

cdef extern from * nogil:
    ctypedef unsigned long long uint128_t "unsigned __int128"
    int __builtin_clzll(unsigned long long)
    bint likely(bint)
    bint unlikely(bint)

cdef enum:
    EXPONENT_OF_ZERO = -100000      # smaller than any other, so that zero is the operand that gets shifted away

# ----- fields -----
cdef inline int exponent_field(uint64_t v, int fb) noexcept nogil:
    return <int>((v >> fb) & <uint64_t>exponent_max(fb))

cdef inline uint64_t fraction_field(uint64_t v, int fb) noexcept nogil:
    return v & ((<uint64_t>1 << fb) - 1)

cdef inline uint64_t sign_bit(int fb) noexcept nogil:
    return <uint64_t>1 << (31 if fb == 23 else (63 if fb == 52 else 15))

cdef inline int exponent_max(int fb) noexcept nogil:
    """The exponent field of infinities and NaNs."""
    return 0xFF if fb == 23 else (0x7FF if fb == 52 else 0x1F)

cdef inline int exponent_bias(int fb) noexcept nogil:
    return 127 if fb == 23 else (1023 if fb == 52 else 15)

cdef inline uint64_t infinity(int fb) noexcept nogil:
    return <uint64_t>exponent_max(fb) << fb

cdef inline uint64_t quiet_bit(int fb) noexcept nogil:
    return <uint64_t>1 << (fb - 1)

cdef inline uint64_t indefinite(int fb) noexcept nogil:
    """The QNaN floating-point indefinite (SDM 1, 4.8.3.7)."""
    return sign_bit(fb) | infinity(fb) | quiet_bit(fb)

cdef inline uint64_t magnitude(uint64_t v, int fb) noexcept nogil:
    return v & (sign_bit(fb) - 1)

cdef inline bint is_nan(uint64_t v, int fb) noexcept nogil:
    return magnitude(v, fb) > infinity(fb)

cdef inline bint is_signalling(uint64_t v, int fb) noexcept nogil:
    return is_nan(v, fb) and not (v & quiet_bit(fb))

cdef inline bint is_infinite(uint64_t v, int fb) noexcept nogil:
    return magnitude(v, fb) == infinity(fb)

cdef inline bint is_zero(uint64_t v, int fb) noexcept nogil:
    return magnitude(v, fb) == 0

cdef inline bint is_denormal(uint64_t v, int fb) noexcept nogil:
    return exponent_field(v, fb) == 0 and fraction_field(v, fb) != 0

cdef inline bint is_negative(uint64_t v, int fb) noexcept nogil:
    return (v & sign_bit(fb)) != 0

cdef inline int rounding_of(FloatContext* e) noexcept nogil:
    return <int>((e.mxcsr >> MXCSR_RC_SHIFT) & 3)

cdef inline uint64_t operand(FloatContext* e, uint64_t v, int fb) noexcept nogil:
    """Denormals-are-zeros."""
    if unlikely((e.mxcsr & MXCSR_DAZ) and is_denormal(v, fb)):
        return v & sign_bit(fb)
    return v

cdef inline void note_denormal(FloatContext* e, uint64_t v, int fb) noexcept nogil:
    if unlikely(is_denormal(v, fb)):
        e.flags |= MXCSR_DE

cdef inline uint64_t invalid(FloatContext* e, int fb) noexcept nogil:
    e.flags |= MXCSR_IE
    return indefinite(fb)

cdef inline uint64_t propagate_nan(FloatContext* e, uint64_t a, uint64_t b, int fb) noexcept nogil:
    """SDM 1, table 4-7 for SSE: the first operand if it is a NaN, else the second, made quiet."""
    if is_signalling(a, fb) or is_signalling(b, fb):
        e.flags |= MXCSR_IE
    return (a if is_nan(a, fb) else b) | quiet_bit(fb)

# ----- unpacking, rounding, packing -----
cdef inline uint64_t shift_right_jam(uint64_t v, int n) noexcept nogil:
    """v >> n with a 1 in the lowest bit if any one was lost."""
    if n <= 0:
        return v
    if n >= 64:
        return 1 if v else 0
    return (v >> n) | (1 if v & ((<uint64_t>1 << n) - 1) else 0)

cdef inline uint128_t shift_right_jam_128(uint128_t v, int n) noexcept nogil:
    if n <= 0:
        return v
    if n >= 128:
        return 1 if v else 0
    return (v >> n) | (1 if v & ((<uint128_t>1 << n) - 1) else 0)

cdef inline uint64_t significand_of(uint64_t v, int fb, int* exponent) noexcept nogil:
    """Of a finite number: significand with the leading one at bit 62 (0 for zero) and the unbiased exponent."""
    cdef int field = exponent_field(v, fb)
    cdef uint64_t s = fraction_field(v, fb)
    cdef int n
    if field != 0:
        exponent[0] = field - exponent_bias(fb)
        return (s | <uint64_t>1 << fb) << (62 - fb)
    if s == 0:
        exponent[0] = EXPONENT_OF_ZERO
        return 0
    n = __builtin_clzll(s) - 1
    exponent[0] = 1 - exponent_bias(fb) + (62 - fb) - n
    return s << n

cdef inline uint64_t round_increment(int rounding, bint negative, uint64_t s, int drop) noexcept nogil:
    """What to add to s so that cutting its low `drop` bits rounds it."""
    cdef uint64_t mask = (<uint64_t>1 << drop) - 1
    if rounding == ROUND_NEAREST:
        return (mask >> 1) + ((s >> drop) & 1)
    if rounding == ROUND_ZERO:
        return 0
    if (rounding == ROUND_UP) != negative:
        return mask
    return 0

cdef uint64_t round_and_pack(FloatContext* e, bint negative, int exponent, uint64_t s, int fb) noexcept nogil:
    """The number s / 2^62 * 2^exponent, 2^62 <= s < 2^63, rounded to the format, with OE, UE, PE (SDM 1, 4.9.1.4-6).

    A result is tiny if it is below the smallest normal number after rounding to the format's precision with an
    unbounded exponent. A masked underflow is flagged only if the result is inexact too, an unmasked one if tiny."""
    cdef int drop = 62 - fb
    cdef int rounding = rounding_of(e)
    cdef uint64_t lost = s & ((<uint64_t>1 << drop) - 1)
    cdef uint64_t r = (s + round_increment(rounding, negative, s, drop)) >> drop
    cdef uint64_t sign = sign_bit(fb) if negative else 0
    cdef int rounded_exponent = exponent
    cdef int smallest = 1 - exponent_bias(fb)
    if r >> (fb + 1):
        r >>= 1
        rounded_exponent += 1
    if unlikely(rounded_exponent < smallest):
        if not (e.mxcsr & (MXCSR_UE << MXCSR_MASK_SHIFT)):
            e.flags |= MXCSR_UE | (MXCSR_PE if lost else 0)
            return sign                 # nobody gets it
        if e.mxcsr & MXCSR_FTZ:
            e.flags |= MXCSR_UE | MXCSR_PE
            return sign
        s = shift_right_jam(s, smallest - exponent)
        if s & ((<uint64_t>1 << drop) - 1):
            e.flags |= MXCSR_UE | MXCSR_PE
        return sign | ((s + round_increment(rounding, negative, s, drop)) >> drop)
    if unlikely(rounded_exponent > exponent_bias(fb)):
        e.flags |= MXCSR_OE
        if lost or (e.mxcsr & (MXCSR_OE << MXCSR_MASK_SHIFT)):
            e.flags |= MXCSR_PE
        if rounding == ROUND_NEAREST or (rounding == ROUND_UP and not negative) or (rounding == ROUND_DOWN and negative):
            return sign | infinity(fb)
        return sign | (infinity(fb) - 1)
    if lost:
        e.flags |= MXCSR_PE
    return sign | (<uint64_t>(rounded_exponent - smallest) << fb) + r

cdef inline uint64_t normalize_and_pack(FloatContext* e, bint negative, int exponent, uint64_t s, int fb) noexcept nogil:
    """round_and_pack() for any s != 0."""
    cdef int n = __builtin_clzll(s)
    if n == 0:
        return round_and_pack(e, negative, exponent + 1, shift_right_jam(s, 1), fb)
    return round_and_pack(e, negative, exponent - (n - 1), s << (n - 1), fb)

# ----- arithmetic -----
cdef inline uint64_t add(FloatContext* e, uint64_t a, uint64_t b, bint subtract, int fb) noexcept nogil:
    cdef int ea, eb, t
    cdef uint64_t sa, sb, u
    cdef bint negative
    if unlikely(is_nan(a, fb) or is_nan(b, fb)):
        return propagate_nan(e, a, b, fb)
    if subtract:
        b ^= sign_bit(fb)
    if unlikely(is_infinite(a, fb) and is_infinite(b, fb) and a != b):
        return invalid(e, fb)
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    if unlikely(is_infinite(a, fb)):
        return a
    if unlikely(is_infinite(b, fb)):
        return b
    negative = is_negative(a, fb)
    sa = significand_of(a, fb, &ea)
    sb = significand_of(b, fb, &eb)
    if ea < eb or (ea == eb and sa < sb):
        t = ea
        ea = eb
        eb = t
        u = sa
        sa = sb
        sb = u
        if negative != is_negative(b, fb):
            negative = not negative
    sb = shift_right_jam(sb, ea - eb)
    if (a ^ b) & sign_bit(fb):
        sa -= sb
        if sa == 0:
            return sign_bit(fb) if rounding_of(e) == ROUND_DOWN else 0
    else:
        sa += sb
        if sa == 0:
            return a            # both zero, of one sign
    return normalize_and_pack(e, negative, ea, sa, fb)

cdef inline uint64_t multiply(FloatContext* e, uint64_t a, uint64_t b, int fb) noexcept nogil:
    cdef uint64_t sign = (a ^ b) & sign_bit(fb)
    cdef int ea, eb
    cdef uint64_t sa, sb, s
    cdef uint128_t product
    if unlikely(is_nan(a, fb) or is_nan(b, fb)):
        return propagate_nan(e, a, b, fb)
    if unlikely((is_infinite(a, fb) and is_zero(b, fb)) or (is_zero(a, fb) and is_infinite(b, fb))):
        return invalid(e, fb)
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    if unlikely(is_infinite(a, fb) or is_infinite(b, fb)):
        return sign | infinity(fb)
    if is_zero(a, fb) or is_zero(b, fb):
        return sign
    sa = significand_of(a, fb, &ea)
    sb = significand_of(b, fb, &eb)
    product = <uint128_t>sa * sb
    s = <uint64_t>(product >> 62)
    if product & 0x3FFFFFFFFFFFFFFFULL:
        s |= 1
    return normalize_and_pack(e, sign != 0, ea + eb, s, fb)

cdef inline uint64_t divide(FloatContext* e, uint64_t a, uint64_t b, int fb) noexcept nogil:
    cdef uint64_t sign = (a ^ b) & sign_bit(fb)
    cdef int ea, eb
    cdef uint64_t sa, sb, s
    cdef uint128_t dividend
    if unlikely(is_nan(a, fb) or is_nan(b, fb)):
        return propagate_nan(e, a, b, fb)
    if unlikely((is_infinite(a, fb) and is_infinite(b, fb)) or (is_zero(a, fb) and is_zero(b, fb))):
        return invalid(e, fb)
    if unlikely(is_zero(b, fb) and not is_infinite(a, fb)):
        e.flags |= MXCSR_ZE
        return sign | infinity(fb)
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    if unlikely(is_infinite(a, fb)):
        return sign | infinity(fb)
    if unlikely(is_infinite(b, fb)) or is_zero(a, fb):
        return sign
    sa = significand_of(a, fb, &ea)
    sb = significand_of(b, fb, &eb)
    dividend = <uint128_t>sa << 63
    s = <uint64_t>(dividend // sb)
    if dividend % sb:
        s |= 1
    return normalize_and_pack(e, sign != 0, ea - eb - 1, s, fb)

cdef inline uint64_t multiply_add(FloatContext* e, uint64_t a, uint64_t b, uint64_t addend, bint negate_product,
                                  bint negate_addend, int fb) noexcept nogil:
    """a * b + addend, rounded once; either may be negated, which does not touch a NaN (SDM 1, 14.5.2 and 14.5.3).

    Of several NaNs the first in the order a, b, addend counts. Infinity times zero is invalid unless the addend is a
    quiet NaN."""
    cdef int exponent, eb, ec, n
    cdef uint64_t sa, sb, sc
    cdef bint negative, other
    cdef uint128_t p, q
    a = operand(e, a, fb)
    b = operand(e, b, fb)
    addend = operand(e, addend, fb)
    if unlikely(is_nan(a, fb) or is_nan(b, fb) or is_nan(addend, fb)):
        if is_signalling(a, fb) or is_signalling(b, fb) or is_signalling(addend, fb):
            e.flags |= MXCSR_IE
        return (a if is_nan(a, fb) else (b if is_nan(b, fb) else addend)) | quiet_bit(fb)
    negative = is_negative(a, fb) != is_negative(b, fb)
    if negate_product:
        negative = not negative
    other = is_negative(addend, fb) != negate_addend
    if unlikely(is_infinite(a, fb) or is_infinite(b, fb)):
        if is_zero(a, fb) or is_zero(b, fb) or (is_infinite(addend, fb) and other != negative):
            return invalid(e, fb)
        note_denormal(e, a, fb)
        note_denormal(e, b, fb)
        note_denormal(e, addend, fb)
        return infinity(fb) | (sign_bit(fb) if negative else 0)
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    note_denormal(e, addend, fb)
    if unlikely(is_infinite(addend, fb)):
        return infinity(fb) | (sign_bit(fb) if other else 0)
    sa = significand_of(a, fb, &exponent)
    sb = significand_of(b, fb, &eb)
    sc = significand_of(addend, fb, &ec)
    if sa == 0 or sb == 0:
        exponent = 2 * EXPONENT_OF_ZERO
    else:
        exponent += eb
    p = <uint128_t>sa * sb           # both have their leading one at bit 124, or at 125
    q = <uint128_t>sc << 62
    if p == 0 and q == 0:
        if negative == other:
            return sign_bit(fb) if negative else 0
        return sign_bit(fb) if rounding_of(e) == ROUND_DOWN else 0
    if exponent >= ec:
        q = shift_right_jam_128(q, exponent - ec)
    else:
        p = shift_right_jam_128(p, ec - exponent)
        exponent = ec
    if negative == other:
        p += q
    elif p >= q:
        p -= q
    else:
        p = q - p
        negative = other
    if p == 0:
        return sign_bit(fb) if rounding_of(e) == ROUND_DOWN else 0
    # to 63 bits, and a sticky one
    if p >> 64:
        n = 64 - __builtin_clzll(<uint64_t>(p >> 64)) + 64
    else:
        n = 64 - __builtin_clzll(<uint64_t>p)
    exponent += n - 125
    p = shift_right_jam_128(p, n - 63) if n > 63 else p << (63 - n)
    return round_and_pack(e, negative, exponent, <uint64_t>p, fb)

cdef uint64_t integer_sqrt(uint128_t v, bint* inexact) noexcept nogil:
    """Floor of the square root of v < 2^126, digit by digit."""
    cdef uint128_t rest = v
    cdef uint128_t root = 0
    cdef uint128_t bit = <uint128_t>1 << 124
    while bit != 0:
        if rest >= root + bit:
            rest -= root + bit
            root = (root >> 1) + bit
        else:
            root >>= 1
        bit >>= 2
    inexact[0] = rest != 0
    return <uint64_t>root

cdef inline uint64_t square_root(FloatContext* e, uint64_t a, int fb) noexcept nogil:
    cdef int exponent
    cdef uint64_t s
    cdef bint inexact
    cdef uint128_t wide
    if unlikely(is_nan(a, fb)):
        return propagate_nan(e, a, a, fb)
    if is_zero(a, fb):
        return a
    if unlikely(is_negative(a, fb)):
        return invalid(e, fb)
    note_denormal(e, a, fb)
    if unlikely(is_infinite(a, fb)):
        return a
    s = significand_of(a, fb, &exponent)
    # the root of s * 2^62 (or 2^63 for an odd exponent) has 63 bits
    wide = <uint128_t>s << 62
    if exponent & 1:
        wide <<= 1
        exponent -= 1
    s = integer_sqrt(wide, &inexact)
    if inexact:
        s |= 1
    return normalize_and_pack(e, 0, exponent >> 1, s, fb)

cdef inline int relation(uint64_t a, uint64_t b, int fb) noexcept nogil:
    """Of two numbers that are not NaN."""
    cdef bint less
    if a == b or (is_zero(a, fb) and is_zero(b, fb)):
        return RELATION_EQUAL
    if is_negative(a, fb) != is_negative(b, fb):
        less = is_negative(a, fb)
    else:
        less = (a < b) != is_negative(a, fb)
    return RELATION_LESS if less else RELATION_GREATER

cdef inline uint64_t minimum_maximum(FloatContext* e, uint64_t a, uint64_t b, int wanted, int fb) noexcept nogil:
    """The second operand if either is a NaN (any NaN is invalid here) or both are zero (SDM 2B, MINPS)."""
    if unlikely(is_nan(a, fb) or is_nan(b, fb)):
        e.flags |= MXCSR_IE
        return b
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    return a if relation(a, b, fb) == wanted else b

cdef inline int compare(FloatContext* e, uint64_t a, uint64_t b, bint quiet, int fb) noexcept nogil:
    a = operand(e, a, fb)
    b = operand(e, b, fb)
    if unlikely(is_nan(a, fb) or is_nan(b, fb)):
        if not quiet or is_signalling(a, fb) or is_signalling(b, fb):
            e.flags |= MXCSR_IE
        return RELATION_UNORDERED
    note_denormal(e, a, fb)
    note_denormal(e, b, fb)
    return relation(a, b, fb)

cdef inline uint64_t arithmetic(FloatContext* e, int operation, uint64_t a, uint64_t b, int fb) noexcept nogil:
    a = operand(e, a, fb)
    b = operand(e, b, fb)
    if operation == FLOAT_ADD:
        return add(e, a, b, 0, fb)
    elif operation == FLOAT_SUB:
        return add(e, a, b, 1, fb)
    elif operation == FLOAT_MUL:
        return multiply(e, a, b, fb)
    elif operation == FLOAT_DIV:
        return divide(e, a, b, fb)
    elif operation == FLOAT_MIN:
        return minimum_maximum(e, a, b, RELATION_LESS, fb)
    elif operation == FLOAT_MAX:
        return minimum_maximum(e, a, b, RELATION_GREATER, fb)
    return square_root(e, b, fb)

# ----- conversions -----
cdef inline uint64_t round_to_integer(uint64_t v, int fb, int rounding, bint* inexact) noexcept nogil:
    """Magnitude of a finite |v| < 2^62 as an integer."""
    cdef int exponent
    cdef uint64_t s = significand_of(v, fb, &exponent)
    cdef uint64_t lost
    if exponent >= fb:
        inexact[0] = 0
        return s >> (62 - exponent)
    # |v| < 2^52: two places for the fraction, the lower one gathering the rest
    s = shift_right_jam(s, 60 - exponent)
    lost = s & 3
    inexact[0] = lost != 0
    return (s + round_increment(rounding, is_negative(v, fb), s, 2)) >> 2

cdef inline int64_t to_integer(FloatContext* e, uint64_t v, int bits, bint truncate, int fb) noexcept nogil:
    cdef uint64_t limit = <uint64_t>1 << (bits - 1)
    cdef uint64_t m
    cdef bint inexact
    v = operand(e, v, fb)
    if exponent_field(v, fb) >= exponent_bias(fb) + 62:
        # 2^62 and up, infinities, NaNs
        if bits == 64 and exponent_field(v, fb) == exponent_bias(fb) + 62:
            m = (fraction_field(v, fb) | <uint64_t>1 << fb) << (62 - fb)
            return <int64_t>(0 - m) if is_negative(v, fb) else <int64_t>m
        if bits == 64 and is_negative(v, fb) and magnitude(v, fb) == <uint64_t>(exponent_bias(fb) + 63) << fb:
            return <int64_t>limit
        e.flags |= MXCSR_IE
        return <int64_t>limit if bits == 64 else -<int64_t>limit
    m = round_to_integer(v, fb, ROUND_ZERO if truncate else rounding_of(e), &inexact)
    if m > limit or (m == limit and not is_negative(v, fb)):
        e.flags |= MXCSR_IE
        return <int64_t>limit if bits == 64 else -<int64_t>limit
    if inexact:
        e.flags |= MXCSR_PE
    return <int64_t>(0 - m) if is_negative(v, fb) else <int64_t>m

cdef inline uint64_t from_integer(FloatContext* e, int64_t v, int fb) noexcept nogil:
    if v == 0:
        return 0
    return normalize_and_pack(e, v < 0, 62, <uint64_t>0 - <uint64_t>v if v < 0 else <uint64_t>v, fb)

cdef inline uint64_t round_in_format(FloatContext* e, uint64_t v, int control, int fb) noexcept nogil:
    cdef uint64_t sign = v & sign_bit(fb)
    cdef uint64_t m
    cdef int n
    cdef bint inexact
    v = operand(e, v, fb)
    if unlikely(is_nan(v, fb)):
        return propagate_nan(e, v, v, fb)
    if exponent_field(v, fb) >= exponent_bias(fb) + fb:
        return v                # has no fraction
    m = round_to_integer(v, fb, rounding_of(e) if control & 4 else control & 3, &inexact)
    if inexact and not (control & 8):
        e.flags |= MXCSR_PE
    if m == 0:
        return sign
    n = 63 - __builtin_clzll(m)
    return sign | (<uint64_t>(exponent_bias(fb) + n - 1) << fb) + (m << (fb - n))

cdef uint32_t f32_arithmetic(FloatContext* e, int operation, uint32_t a, uint32_t b) noexcept nogil:
    return <uint32_t>arithmetic(e, operation, a, b, 23)

cdef uint64_t f64_arithmetic(FloatContext* e, int operation, uint64_t a, uint64_t b) noexcept nogil:
    return arithmetic(e, operation, a, b, 52)

cdef int f32_compare(FloatContext* e, uint32_t a, uint32_t b, bint quiet) noexcept nogil:
    return compare(e, a, b, quiet, 23)

cdef int f64_compare(FloatContext* e, uint64_t a, uint64_t b, bint quiet) noexcept nogil:
    return compare(e, a, b, quiet, 52)

cdef uint64_t f32_to_f64(FloatContext* e, uint32_t a) noexcept nogil:
    cdef uint64_t v = operand(e, a, 23)
    cdef uint64_t sign = sign_bit(52) if is_negative(v, 23) else 0
    cdef uint64_t s
    cdef int exponent
    if unlikely(is_nan(v, 23)):
        if is_signalling(v, 23):
            e.flags |= MXCSR_IE
        return sign | infinity(52) | quiet_bit(52) | fraction_field(v, 23) << 29
    if unlikely(is_infinite(v, 23)):
        return sign | infinity(52)
    if is_zero(v, 23):
        return sign
    note_denormal(e, v, 23)
    s = significand_of(v, 23, &exponent)
    return sign | (<uint64_t>(exponent + 1022) << 52) + (s >> 10)

cdef uint32_t f64_to_f32(FloatContext* e, uint64_t a) noexcept nogil:
    cdef uint64_t v = operand(e, a, 52)
    cdef uint64_t sign = sign_bit(23) if is_negative(v, 52) else 0
    cdef uint64_t s
    cdef int exponent
    if unlikely(is_nan(v, 52)):
        if is_signalling(v, 52):
            e.flags |= MXCSR_IE
        return <uint32_t>(sign | infinity(23) | quiet_bit(23) | fraction_field(v, 52) >> 29)
    if unlikely(is_infinite(v, 52)):
        return <uint32_t>(sign | infinity(23))
    if is_zero(v, 52):
        return <uint32_t>sign
    note_denormal(e, v, 52)
    s = significand_of(v, 52, &exponent)
    return <uint32_t>round_and_pack(e, sign != 0, exponent, s, 23)

cdef uint32_t f32_multiply_add(FloatContext* e, uint32_t a, uint32_t b, uint32_t addend, bint negate_product,
                               bint negate_addend) noexcept nogil:
    return <uint32_t>multiply_add(e, a, b, addend, negate_product, negate_addend, 23)

cdef uint64_t f64_multiply_add(FloatContext* e, uint64_t a, uint64_t b, uint64_t addend, bint negate_product,
                               bint negate_addend) noexcept nogil:
    return multiply_add(e, a, b, addend, negate_product, negate_addend, 52)

cdef uint32_t f16_to_f32(FloatContext* e, uint16_t a) noexcept nogil:
    """Exact; denormal operands are taken as they are and not told (SDM 2C, VCVTPH2PS)."""
    cdef uint64_t sign = sign_bit(23) if is_negative(a, 10) else 0
    cdef uint64_t s
    cdef int exponent
    if unlikely(is_nan(a, 10)):
        if is_signalling(a, 10):
            e.flags |= MXCSR_IE
        return <uint32_t>(sign | infinity(23) | quiet_bit(23) | fraction_field(a, 10) << 13)
    if unlikely(is_infinite(a, 10)):
        return <uint32_t>(sign | infinity(23))
    if is_zero(a, 10):
        return <uint32_t>sign
    s = significand_of(a, 10, &exponent)
    return <uint32_t>(sign | (<uint64_t>(exponent + 126) << 23) + (s >> 39))

cdef uint16_t f32_to_f16(FloatContext* e, uint32_t a, int control) noexcept nogil:
    """control: bits 1:0 rounding, bit 2 takes MXCSR's. Flush-to-zero does not count (SDM 2C, VCVTPS2PH)."""
    cdef uint64_t v = operand(e, a, 23)
    cdef uint64_t sign = sign_bit(10) if is_negative(v, 23) else 0
    cdef uint64_t s
    cdef FloatContext own
    cdef uint16_t r
    cdef int exponent
    if unlikely(is_nan(v, 23)):
        if is_signalling(v, 23):
            e.flags |= MXCSR_IE
        return <uint16_t>(sign | infinity(10) | quiet_bit(10) | fraction_field(v, 23) >> 13)
    if unlikely(is_infinite(v, 23)):
        return <uint16_t>(sign | infinity(10))
    if is_zero(v, 23):
        return <uint16_t>sign
    note_denormal(e, v, 23)
    own.flags = 0
    own.mxcsr = e.mxcsr & ~<uint32_t>MXCSR_FTZ
    if not control & 4:
        own.mxcsr = (own.mxcsr & ~<uint32_t>MXCSR_RC) | <uint32_t>(control & 3) << MXCSR_RC_SHIFT
    s = significand_of(v, 23, &exponent)
    r = <uint16_t>round_and_pack(&own, sign != 0, exponent, s, 10)
    if own.flags & MXCSR_UE and exponent_field(v, 23) == 0:
        own.flags |= MXCSR_PE            # of a denormal processors tell it even where 11 bits hold the value
    e.flags |= own.flags
    return r

cdef int64_t f32_to_int(FloatContext* e, uint32_t a, int bits, bint truncate) noexcept nogil:
    return to_integer(e, a, bits, truncate, 23)

cdef int64_t f64_to_int(FloatContext* e, uint64_t a, int bits, bint truncate) noexcept nogil:
    return to_integer(e, a, bits, truncate, 52)

cdef uint32_t int_to_f32(FloatContext* e, int64_t v) noexcept nogil:
    return <uint32_t>from_integer(e, v, 23)

cdef uint64_t int_to_f64(FloatContext* e, int64_t v) noexcept nogil:
    return from_integer(e, v, 52)

cdef uint32_t f32_round(FloatContext* e, uint32_t a, int control) noexcept nogil:
    return <uint32_t>round_in_format(e, a, control, 23)

cdef uint64_t f64_round(FloatContext* e, uint64_t a, int control) noexcept nogil:
    return round_in_format(e, a, control, 52)

# ----- approximations (SDM 2B, RCPPS and RSQRTPS): no exceptions, denormals are zeros, tiny results are zero -----
cdef inline uint32_t pack_approximation(uint32_t sign, int exponent, uint64_t s) noexcept nogil:
    """s has its leading one at bit 62 or 61; rounded to 12 fraction bits."""
    if not (s >> 62):
        s <<= 1
        exponent -= 1
    if exponent < -126:
        return sign                  # tiny before rounding
    s += <uint64_t>1 << 49
    if s >> 63:
        s >>= 1
        exponent += 1
    return sign | (<uint32_t>(exponent + 126) << 23) + (<uint32_t>(s >> 50) << 11)

cdef uint32_t f32_reciprocal(uint32_t a) noexcept nogil:
    cdef uint32_t sign = a & 0x80000000U
    cdef int exponent
    cdef uint64_t s
    if is_nan(a, 23):
        return a | 0x400000
    if exponent_field(a, 23) == 0:
        return sign | 0x7F800000
    if is_infinite(a, 23):
        return sign
    s = significand_of(a, 23, &exponent)
    return pack_approximation(sign, -exponent, <uint64_t>((<uint128_t>1 << 124) // s))

cdef uint32_t f32_reciprocal_sqrt(uint32_t a) noexcept nogil:
    cdef int exponent
    cdef uint64_t s
    cdef bint inexact
    if is_nan(a, 23):
        return a | 0x400000
    if exponent_field(a, 23) == 0:
        return (a & 0x80000000U) | 0x7F800000
    if is_negative(a, 23):
        return 0xFFC00000U
    if is_infinite(a, 23):
        return 0
    s = significand_of(a, 23, &exponent)
    # a = s / 2^62 * 2^exponent with an even exponent; 1 / sqrt(a) = 2^62 / sqrt(s * 2^62) * 2^(-exponent / 2)
    if exponent & 1:
        s = integer_sqrt(<uint128_t>s << 63, &inexact)
        exponent -= 1
    else:
        s = integer_sqrt(<uint128_t>s << 62, &inexact)
    return pack_approximation(0, -(exponent >> 1), <uint64_t>((<uint128_t>1 << 124) // s))

# ----- the Python face: the same functions on integers that hold the bit patterns -----
OPERATIONS: tuple[str, ...] = ("add", "sub", "mul", "div", "min", "max", "sqrt")

def calculate(str operation, int bits, a: int, b: int, mxcsr: int) -> tuple[int, int]:
    """Performs one of `OPERATIONS` on two numbers given as bit patterns of 32 or 64 bits under MXCSR's controls.

    Returns the result's bit pattern and the exception flags raised (MXCSR bits 5:0). `sqrt` is of `b`.
    Raises ValueError for another operation or width. SDM volume 1, chapter 11.5."""
    cdef FloatContext e
    if operation not in OPERATIONS or bits not in (32, 64):
        raise ValueError(f"no operation {operation!r} on {bits} bits; there are {', '.join(OPERATIONS)} on 32 and 64")
    e.mxcsr = mxcsr
    e.flags = 0
    if bits == 32:
        return f32_arithmetic(&e, OPERATIONS.index(operation), a, b), e.flags
    return f64_arithmetic(&e, OPERATIONS.index(operation), a, b), e.flags
