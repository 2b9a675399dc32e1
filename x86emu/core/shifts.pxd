# cython: language_level=3
# Shifts and rotates (SDM 2B: SAL/SAR/SHL/SHR, RCL/RCR/ROL/ROR, SHLD, SHRD).
#
# The count is masked to 5 bits (6 for 64-bit operands); zero leaves all flags alone.  Flags that the manual leaves
# undefined: AF is cleared; OF for counts above one follows the same formula as for one, from the last step's result.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport set_cf_of, set_cf_alone

cdef inline uint32_t masked(uint_t a, uint32_t count) noexcept nogil:
    return count & (63 if uint_t is uint64_t else 31)

cdef inline uint_t top(uint_t a) noexcept nogil:
    """The most significant bit as 0 or 1."""
    return <uint_t>(a >> (sizeof(uint_t) * 8 - 1))

cdef inline uint_t shl(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint64_t carry
    cdef uint_t result
    if n == 0:
        return a
    result = <uint_t>(<uint64_t>a << n)
    if uint_t is uint64_t:
        carry = (a >> (64 - n)) & 1
    else:
        carry = ((<uint64_t>a << n) >> (sizeof(uint_t) * 8)) & 1
    flags_mixed(c, result, <uint32_t>(carry | (FLAG_OF if top(result) != carry else 0)))
    return result

cdef inline uint_t shr(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint_t result
    if n == 0:
        return a
    result = <uint_t>(<uint64_t>a >> n)
    if uint_t is uint8_t or uint_t is uint16_t:      # the count may exceed the size
        flags_mixed(c, result, <uint32_t>(((<uint64_t>a >> (n - 1)) & 1)
                                          | (FLAG_OF if top(<uint_t>(result ^ <uint_t>(result << 1))) else 0)))
    else:
        flags_shift(c, a, n - 1, result)
    return result

cdef inline uint_t sar(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint_t result
    if n == 0:
        return a
    result = <uint_t>(sx(a) >> n)
    flags_shift(c, a, n - 1, result)
    return result

cdef inline uint_t shl_value(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    return <uint_t>(<uint64_t>a << masked(a, count))

cdef inline uint_t shr_value(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    return <uint_t>(<uint64_t>a >> masked(a, count))

cdef inline uint_t sar_value(Cpu* c, uint_t a, uint32_t count) noexcept nogil:
    return <uint_t>(sx(a) >> masked(a, count))

# alone: nothing will read another flag than CF.
cdef inline void rotated(Cpu* c, uint32_t cf_of, bint alone) noexcept nogil:
    if alone:
        set_cf_alone(c, cf_of & FLAG_CF)
    else:
        set_cf_of(c, cf_of)

cdef inline uint_t rol(Cpu* c, uint_t a, uint32_t count, bint alone) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint32_t k = n & (sizeof(uint_t) * 8 - 1)
    cdef uint_t result = a
    if n == 0:
        return a
    if k:
        result = <uint_t>((a << k) | (a >> (sizeof(uint_t) * 8 - k)))
    rotated(c, <uint32_t>((result & 1) | (FLAG_OF if top(result) != (result & 1) else 0)), alone)
    return result

cdef inline uint_t ror(Cpu* c, uint_t a, uint32_t count, bint alone) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint32_t k = n & (sizeof(uint_t) * 8 - 1)
    cdef uint_t result = a
    if n == 0:
        return a
    if k:
        result = <uint_t>((a >> k) | (a << (sizeof(uint_t) * 8 - k)))
    rotated(c, <uint32_t>(top(result) | (FLAG_OF if top(<uint_t>(result ^ <uint_t>(result << 1))) else 0)), alone)
    return result

cdef inline uint_t rcl(Cpu* c, uint_t a, uint32_t count, bint alone) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint_t carry, result
    if uint_t is uint8_t:
        n %= 9
    elif uint_t is uint16_t:
        n %= 17
    if n == 0:
        if masked(a, count):        # a whole turn: OF (undefined) as after any other count
            rotated(c, <uint32_t>(get_cf(c) | (FLAG_OF if top(a) != get_cf(c) else 0)), alone)
        return a
    result = <uint_t>((<uint64_t>a << n) | (<uint64_t>get_cf(c) << (n - 1)) | (<uint64_t>a >> 1 >> (sizeof(uint_t) * 8 - n)))
    carry = <uint_t>((<uint64_t>a >> (sizeof(uint_t) * 8 - n)) & 1)
    rotated(c, <uint32_t>(carry | (FLAG_OF if top(result) != carry else 0)), alone)
    return result

cdef inline uint_t rcr(Cpu* c, uint_t a, uint32_t count, bint alone) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint_t carry, result
    if uint_t is uint8_t:
        n %= 9
    elif uint_t is uint16_t:
        n %= 17
    if n == 0:
        if masked(a, count):
            rotated(c, <uint32_t>(get_cf(c) | (FLAG_OF if top(<uint_t>(a ^ <uint_t>(a << 1))) else 0)), alone)
        return a
    result = <uint_t>((<uint64_t>a >> n) | (<uint64_t>get_cf(c) << (sizeof(uint_t) * 8 - n))
                      | (<uint64_t>a << 1 << (sizeof(uint_t) * 8 - n)))
    carry = <uint_t>((<uint64_t>a >> (n - 1)) & 1)
    rotated(c, <uint32_t>(carry | (FLAG_OF if top(<uint_t>(result ^ <uint_t>(result << 1))) else 0)), alone)
    return result

# 16-bit SHLD and SHRD with counts above 16 (undefined) shift through destination:source:destination, as processors do.
cdef inline uint_t shld(Cpu* c, uint_t a, uint_t b, uint32_t count) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint64_t wide, carry
    cdef uint_t result
    if n == 0:
        return a
    if uint_t is uint16_t:
        wide = <uint64_t>a << 32 | <uint64_t>b << 16 | a
        result = <uint_t>((wide << n) >> 32)
        carry = ((wide << n) >> 48) & 1
    else:
        result = <uint_t>((a << n) | (b >> (sizeof(uint_t) * 8 - n)))
        carry = (a >> (sizeof(uint_t) * 8 - n)) & 1
    flags_mixed(c, result, <uint32_t>(carry | (FLAG_OF if top(<uint_t>(a ^ result)) else 0)))
    return result

cdef inline uint_t shrd(Cpu* c, uint_t a, uint_t b, uint32_t count) noexcept nogil:
    cdef uint32_t n = masked(a, count)
    cdef uint64_t wide, carry
    cdef uint_t result
    if n == 0:
        return a
    if uint_t is uint16_t:
        wide = <uint64_t>a << 32 | <uint64_t>b << 16 | a
        result = <uint_t>(wide >> n)
        carry = (wide >> (n - 1)) & 1
    else:
        result = <uint_t>((a >> n) | (b << (sizeof(uint_t) * 8 - n)))
        carry = (a >> (n - 1)) & 1
    flags_mixed(c, result, <uint32_t>(carry | (FLAG_OF if top(<uint_t>(result ^ <uint_t>(result << 1))) else 0)))
    return result
