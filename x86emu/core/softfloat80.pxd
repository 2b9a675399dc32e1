# cython: language_level=3
# Double-extended arithmetic in integers (SDM volume 1, 4.2, 4.8, 4.9 and chapter 8): exact on every host.
# Values travel as (mantissa, sign_exponent) in registers; every operation returns its result together with the
# status-word bits it sets (exceptions, and C1 = "rounded up in magnitude"), so no memory is touched on the way.
# The fast paths for two normal operands, round to nearest, 64-bit precision are inlined here; all else is in the .pyx.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport F80, likely, unlikely

cdef extern from *:
    ctypedef unsigned long long u128 "unsigned __int128"
    ctypedef long long i128 "__int128"
    int clz64 "__builtin_clzll"(unsigned long long) noexcept nogil

# Status word (SDM 1, figure 8-4)
cdef enum:
    SW_IE = 0x01
    SW_DE = 0x02
    SW_ZE = 0x04
    SW_OE = 0x08
    SW_UE = 0x10
    SW_PE = 0x20
    SW_SF = 0x40
    SW_ES = 0x80
    SW_C0 = 0x100
    SW_C1 = 0x200
    SW_C2 = 0x400
    SW_TOP = 0x3800
    SW_C3 = 0x4000
    SW_B = 0x8000
    SW_EXCEPTIONS = 0x3F
    SW_CONDITIONS = 0x4700
    # Exceptions found before anything is computed: unmasked, they leave the destination alone.
    SW_BEFORE = 0x07
    # Control word: 64-bit precision, round to nearest in bits 11:8
    CW_PRECISION = 0x300
    CW_ROUNDING = 0xC00
    CW_EXTENDED = 0x300

cdef enum:
    EXPONENT = 0x7FFF
    BIAS = 16383
    SIGN = 0x8000
    WRAP = 24576             # exponent adjustment of unmasked overflow and underflow (SDM 1, 4.9.1.4 and 4.9.1.5)

cdef enum Class80:
    CLASS_ZERO = 0
    CLASS_DENORMAL = 1       # and pseudo-denormal
    CLASS_NORMAL = 2
    CLASS_INFINITY = 3
    CLASS_QNAN = 4
    CLASS_SNAN = 5
    CLASS_UNSUPPORTED = 6    # unnormal, pseudo-infinity, pseudo-NaN (SDM 1, table 8-3)

cdef struct Result80:
    uint64_t mantissa
    uint32_t sign_exponent
    uint32_t flags

cdef inline uint64_t j_bit() noexcept nogil:
    return 0x8000000000000000ULL

cdef inline Result80 result80(uint64_t mantissa, uint32_t sign_exponent, uint32_t flags) noexcept nogil:
    cdef Result80 r
    r.mantissa = mantissa
    r.sign_exponent = sign_exponent
    r.flags = flags
    return r

cdef inline Result80 indefinite80(uint32_t flags) noexcept nogil:
    """The real indefinite, a quiet NaN (SDM 1, table 4-3)."""
    return result80(0xC000000000000000ULL, 0xFFFF, flags)

cdef inline int classify80(uint64_t m, uint32_t se) noexcept nogil:
    cdef uint32_t e = se & EXPONENT
    if e == 0:
        return CLASS_DENORMAL if m else CLASS_ZERO
    if not m >> 63:
        return CLASS_UNSUPPORTED
    if e != EXPONENT:
        return CLASS_NORMAL
    if not m << 1:
        return CLASS_INFINITY
    return CLASS_QNAN if (m >> 62) & 1 else CLASS_SNAN

cdef Result80 round_pack80(uint32_t sign, int32_t e, uint64_t hi, uint64_t lo, uint32_t control, uint32_t flags) noexcept nogil
cdef Result80 nan_result80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse) noexcept nogil
cdef Result80 nan_result80_1(uint64_t m, uint32_t se) noexcept nogil
cdef Result80 add_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t negate_b, uint32_t control) noexcept nogil
cdef Result80 mul_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil
cdef Result80 div_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil
cdef Result80 sqrt80(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
# FPREM (nearest = 0) and FPREM1 (nearest = 1): flags also hold C0, C1, C3 (quotient bits 2, 0, 1) and C2 (incomplete).
cdef Result80 rem80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control, bint nearest) noexcept nogil
cdef Result80 round_to_integer80(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Result80 scale80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil
# FXTRACT: the significand is returned, the unbiased exponent goes to *exponent.
cdef Result80 extract80(uint64_t m, uint32_t se, F80* exponent) noexcept nogil
# C3, C2, C0 of FCOM, and IE, DE. quiet: QNaNs do not raise IE (FUCOM).
cdef uint32_t compare_general80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, bint quiet) noexcept nogil


cdef inline Result80 nearest80(uint32_t sign, uint32_t e, uint64_t hi, uint64_t lo) noexcept nogil:
    """Round to nearest even, 64 bits; the caller looks at the exponent."""
    cdef uint32_t up = lo > 0x8000000000000000ULL or (lo == 0x8000000000000000ULL and hi & 1)
    hi += up
    if unlikely(hi == 0):
        hi = 0x8000000000000000ULL
        e += 1
    return result80(hi, sign | e, (SW_PE if lo else 0) | (up << 9))

cdef inline bint two_normals(uint64_t am, uint32_t ea, uint64_t bm, uint32_t eb, uint32_t control) noexcept nogil:
    """Both normal, and PC, RC are those of the fast paths."""
    return ((control & 0xF00) == CW_EXTENDED and (am & bm) >> 63 and ea - 1 < <uint32_t>0x7FFE
            and eb - 1 < <uint32_t>0x7FFE)

cdef inline Result80 add80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t negate_b, uint32_t control) noexcept nogil:
    """a + b, or a - b with negate_b = SIGN."""
    cdef uint32_t ea = ase & EXPONENT
    cdef uint32_t eb = bse & EXPONENT
    cdef uint32_t d, sign, different
    cdef u128 s, t
    cdef uint64_t x
    cdef int shift
    if unlikely(not two_normals(am, ea, bm, eb, control)):
        return add_general80(am, ase, bm, bse, negate_b, control)
    sign = ase & SIGN
    different = (ase ^ bse ^ negate_b) & SIGN
    if ea < eb or (ea == eb and am < bm):
        x = am
        am = bm
        bm = x
        d = eb - ea
        ea = eb
        sign ^= different
    else:
        d = ea - eb
    # Significands stand at bit 125: one bit for the carry, 62 and more for guard and sticky.
    s = <u128>am << 62
    t = <u128>bm << 62
    if likely(d <= 62):
        t = t >> d
    elif d < 126:
        t = (t >> d) | <u128>(((t >> d) << d) != t)
    else:
        t = 1
    if not different:
        s = s + t
        shift = 2 - <int>(s >> 126)
    else:
        s = s - t
        x = <uint64_t>(s >> 64)
        if likely(x != 0):
            shift = clz64(x)
        elif <uint64_t>s == 0:
            return result80(0, 0, 0)
        else:
            shift = 64 + clz64(<uint64_t>s)
    s = s << shift
    ea = ea + 2 - <uint32_t>shift
    if unlikely(<int32_t>ea < 1 or ea > 0x7FFD):
        return add_general80(am, sign | ((ea + <uint32_t>shift - 2) & EXPONENT), bm,
                             (sign ^ different) | ((ea + <uint32_t>shift - 2 - d) & EXPONENT), 0, control)
    return nearest80(sign, ea, <uint64_t>(s >> 64), <uint64_t>s)

cdef inline Result80 mul80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil:
    cdef uint32_t ea = ase & EXPONENT
    cdef uint32_t eb = bse & EXPONENT
    cdef u128 p
    cdef int32_t e
    if unlikely(not two_normals(am, ea, bm, eb, control)):
        return mul_general80(am, ase, bm, bse, control)
    p = <u128>am * bm
    e = <int32_t>(ea + eb) - (BIAS - 1)
    if not <uint64_t>(p >> 127):
        p = p << 1
        e -= 1
    if unlikely(e < 1 or e > 0x7FFD):
        return mul_general80(am, ase, bm, bse, control)
    return nearest80((ase ^ bse) & SIGN, <uint32_t>e, <uint64_t>(p >> 64), <uint64_t>p)

cdef inline Result80 div80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, uint32_t control) noexcept nogil:
    cdef uint32_t ea = ase & EXPONENT
    cdef uint32_t eb = bse & EXPONENT
    cdef u128 n
    cdef uint64_t q, r
    cdef int32_t e
    if unlikely(not two_normals(am, ea, bm, eb, control)):
        return div_general80(am, ase, bm, bse, control)
    e = <int32_t>(ea - eb) + BIAS
    if am >= bm:
        n = <u128>am << 63
    else:
        n = <u128>am << 64
        e -= 1
    if unlikely(e < 1 or e > 0x7FFD):
        return div_general80(am, ase, bm, bse, control)
    q = <uint64_t>(n / <u128>bm)
    r = <uint64_t>n - q * bm
    # A tie is impossible: it would need a 65-bit quotient with an exact remainder.
    return nearest80((ase ^ bse) & SIGN, <uint32_t>e, q,
                     0 if r == 0 else (0xC000000000000000ULL if r > bm - r else 0x4000000000000000ULL))

cdef inline uint32_t compare80(uint64_t am, uint32_t ase, uint64_t bm, uint32_t bse, bint quiet) noexcept nogil:
    """C3, C2, C0 as FCOM sets them, with IE and DE."""
    cdef uint32_t ea = ase & EXPONENT
    cdef uint32_t eb = bse & EXPONENT
    if unlikely(not ((am & bm) >> 63 and ea - 1 < <uint32_t>0x7FFE and eb - 1 < <uint32_t>0x7FFE)):
        return compare_general80(am, ase, bm, bse, quiet)
    if (ase ^ bse) & SIGN:
        return SW_C0 if ase & SIGN else 0
    if ea == eb and am == bm:
        return SW_C3
    return SW_C0 if (ea < eb or (ea == eb and am < bm)) != ((ase & SIGN) != 0) else 0
