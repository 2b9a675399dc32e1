# cython: language_level=3
# Multiplication, division, compare-and-exchange (SDM 2A: MUL, IMUL, DIV, IDIV, CMPXCHG, XADD).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *

cdef extern from * nogil:
    ctypedef unsigned long long uint128_t "unsigned __int128"
    ctypedef long long int128_t "__int128"

# MUL and one-operand IMUL: CF = OF = the upper half is significant. SF, ZF, PF (undefined) follow the lower half.
cdef inline void mul(Cpu* c, uint_t b) noexcept nogil:
    cdef uint64_t wide
    cdef uint128_t widest
    cdef uint_t low, high
    if uint_t is uint64_t:
        widest = <uint128_t>c.r[RAX] * b
        low = <uint64_t>widest
        high = <uint64_t>(widest >> 64)
    else:
        wide = <uint64_t><uint_t>c.r[RAX] * b
        low = <uint_t>wide
        high = <uint_t>(wide >> (sizeof(uint_t) * 8))
    if uint_t is uint8_t:
        set_r(c, RAX, <uint16_t>wide)
    else:
        set_r(c, RAX, low)
        set_r(c, RDX, high)
    flags_mixed(c, low, FLAG_CF | FLAG_OF if high != 0 else 0)

cdef inline void imul(Cpu* c, uint_t b) noexcept nogil:
    cdef int64_t wide
    cdef int128_t widest
    cdef uint_t low, high
    if uint_t is uint64_t:
        widest = <int128_t><int64_t>c.r[RAX] * <int64_t>b
        low = <uint64_t>widest
        high = <uint64_t>(widest >> 64)
    else:
        wide = sx(<uint_t>c.r[RAX]) * sx(b)
        low = <uint_t>wide
        high = <uint_t>(wide >> (sizeof(uint_t) * 8))
    if uint_t is uint8_t:
        set_r(c, RAX, <uint16_t>wide)
    else:
        set_r(c, RAX, low)
        set_r(c, RDX, high)
    flags_mixed(c, low, FLAG_CF | FLAG_OF if high != <uint_t>(sx(low) >> 63) else 0)

cdef inline uint_t imul_truncated(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    """Two- and three-operand IMUL: CF = OF = the product does not fit."""
    cdef int128_t widest
    cdef int64_t wide
    cdef uint_t low
    cdef bint lost
    if uint_t is uint64_t:
        widest = <int128_t><int64_t>a * <int64_t>b
        low = <uint64_t>widest
        lost = <int128_t><int64_t>low != widest
    else:
        wide = sx(a) * sx(b)
        low = <uint_t>wide
        lost = sx(low) != wide
    flags_mixed(c, low, FLAG_CF | FLAG_OF if lost else 0)
    return low

cdef inline uint_t imul_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(<uint64_t>a * <uint64_t>b)

# DIV and IDIV: False with #DE raised. Flags are undefined and stay. IDIV divides magnitudes, so that no quotient can
# trap on the host.
cdef inline bint div(Cpu* c, Insn* i, uint_t b) noexcept nogil:
    cdef uint64_t dividend, quotient
    cdef uint128_t widest, divisor = b      # of one type: Cython would narrow a mixed division
    if b == 0:
        fault(c, i, V_DE)
        return False
    if uint_t is uint64_t:
        if likely(c.r[RDX] == 0):
            dividend = c.r[RAX]
            c.r[RAX] = dividend / b
            c.r[RDX] = dividend % b
            return True
        if c.r[RDX] >= b:
            fault(c, i, V_DE)
            return False
        widest = (<uint128_t>c.r[RDX] << 64) | c.r[RAX]
        c.r[RAX] = <uint64_t>(widest / divisor)
        c.r[RDX] = <uint64_t>(widest % divisor)
        return True
    else:
        if uint_t is uint8_t:
            dividend = <uint16_t>c.r[RAX]
        else:
            dividend = (<uint64_t><uint_t>c.r[RDX] << (sizeof(uint_t) * 8)) | <uint_t>c.r[RAX]
        if uint_t is uint32_t:
            quotient = dividend / b
            dividend = dividend % b
        else:
            quotient = <uint32_t>dividend / <uint32_t>b      # a host divides 32 bits sooner than 64
            dividend = <uint32_t>dividend % <uint32_t>b
        if quotient > <uint_t>~<uint_t>0:
            fault(c, i, V_DE)
            return False
        divided(c, b, quotient, dividend)
        return True

cdef inline void divided(Cpu* c, uint_t kind, uint64_t quotient, uint64_t remainder) noexcept nogil:
    if uint_t is uint8_t:
        set_r(c, RAX, <uint16_t>(<uint8_t>quotient | <uint16_t>(remainder << 8)))
    else:
        set_r(c, RAX, <uint_t>quotient)
        set_r(c, RDX, <uint_t>remainder)

cdef inline bint idiv(Cpu* c, Insn* i, uint_t b) noexcept nogil:
    cdef uint64_t divisor, dividend, quotient, remainder
    cdef uint128_t widest, wide_divisor
    cdef int64_t signed_dividend
    cdef bint negative, negative_divisor = sx(b) < 0
    divisor = <uint64_t>(-sx(b)) if negative_divisor else <uint64_t>sx(b)
    if divisor == 0:
        fault(c, i, V_DE)
        return False
    if uint_t is uint64_t:
        widest = (<uint128_t>c.r[RDX] << 64) | c.r[RAX]
        negative = <int64_t>c.r[RDX] < 0
        if negative:
            widest = 0 - widest
        if <uint64_t>(widest >> 64) >= divisor:
            fault(c, i, V_DE)
            return False
        wide_divisor = divisor
        quotient = <uint64_t>(widest / wide_divisor)
        remainder = <uint64_t>(widest % wide_divisor)
    else:
        if uint_t is uint8_t:
            signed_dividend = <int16_t>c.r[RAX]
        else:
            signed_dividend = <int64_t>((<uint64_t>c.r[RDX] << (sizeof(uint_t) * 8)) | <uint_t>c.r[RAX])
            if uint_t is uint16_t:
                signed_dividend = <int32_t>signed_dividend
        negative = signed_dividend < 0
        dividend = <uint64_t>(-signed_dividend) if negative else <uint64_t>signed_dividend
        if uint_t is uint32_t:
            quotient = dividend / divisor
            remainder = dividend % divisor
        else:
            quotient = <uint32_t>dividend / <uint32_t>divisor
            remainder = <uint32_t>dividend % <uint32_t>divisor
    # -2^(n-1) is the one quotient whose magnitude may have the top bit
    if quotient > (<uint64_t>1 << (sizeof(uint_t) * 8 - 1)) - (0 if negative != negative_divisor else 1):
        fault(c, i, V_DE)
        return False
    divided(c, b, 0 - quotient if negative != negative_divisor else quotient, 0 - remainder if negative else remainder)
    return True
