# cython: language_level=3
# What integer and shuffling SIMD instructions do to 16 bytes (8 for MMX), as functions of a destination, which is an
# operand too, and a source (SDM 2A to 2C under the mnemonics).  SSE applies them to registers, AVX to each 128-bit lane.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy

# ----- unpacking, packing, shuffling -----
ctypedef fused element_t:
    uint8_t
    uint16_t
    uint32_t
    uint64_t

cdef inline void unpack_low(element_t* d, element_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n // 2):
        r[2 * k] = d[k]
        r[2 * k + 1] = s[k]
    memcpy(d, r, n * sizeof(element_t))

cdef inline void unpack_high(element_t* d, element_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n // 2):
        r[2 * k] = d[n // 2 + k]
        r[2 * k + 1] = s[n // 2 + k]
    memcpy(d, r, n * sizeof(element_t))

cdef inline int32_t limit(int32_t v, int32_t low, int32_t high) noexcept nogil:
    return low if v < low else (high if v > high else v)

cdef inline void pack_signed_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = <int8_t>limit(d[k], -128, 127)
    for k in range(n):
        r[n + k] = <int8_t>limit(s[k], -128, 127)
    memcpy(d, r, 2 * n)

cdef inline void pack_unsigned_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef uint8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = <uint8_t>limit(d[k], 0, 255)
    for k in range(n):
        r[n + k] = <uint8_t>limit(s[k], 0, 255)
    memcpy(d, r, 2 * n)

cdef inline void pack_signed_dwords(int32_t* d, int32_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n):
        r[k] = <int16_t>limit(d[k], -32768, 32767)
    for k in range(n):
        r[n + k] = <int16_t>limit(s[k], -32768, 32767)
    memcpy(d, r, 4 * n)

cdef inline void pack_unsigned_dwords(int32_t* d, int32_t* s, int n) noexcept nogil:
    cdef uint16_t r[8]
    cdef int k
    for k in range(n):
        r[k] = <uint16_t>limit(d[k], 0, 65535)
    for k in range(n):
        r[n + k] = <uint16_t>limit(s[k], 0, 65535)
    memcpy(d, r, 4 * n)

cdef inline void shuffle_bytes(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    cdef uint8_t r[16]
    cdef int k
    for k in range(n):
        r[k] = 0 if s[k] & 0x80 else d[s[k] & (n - 1)]
    memcpy(d, r, n)

cdef inline void align_right(uint8_t* d, uint8_t* s, uint32_t by, uint32_t n) noexcept nogil:
    """PALIGNR: n bytes of d:s from byte number by on, zeros beyond its end."""
    cdef uint8_t joined[64]
    cdef uint32_t k
    memcpy(joined, s, n)
    memcpy(joined + n, d, n)
    for k in range(n):
        joined[2 * n + k] = 0
    memcpy(d, joined + (by if by < 2 * n else 2 * n), n)

cdef inline uint64_t pick_words(uint64_t s, uint32_t order) noexcept nogil:
    return ((s >> ((order & 3) * 16) & 0xFFFF) | (s >> ((order >> 2 & 3) * 16) & 0xFFFF) << 16
            | (s >> ((order >> 4 & 3) * 16) & 0xFFFF) << 32 | (s >> ((order >> 6 & 3) * 16)) << 48)

# The order of elements is in two bits each. Destination and source may be the same.
cdef inline void shuffle_dwords(uint32_t* d, uint32_t* s, uint32_t order) noexcept nogil:
    cdef uint32_t r[4]
    r[0] = s[order & 3]
    r[1] = s[order >> 2 & 3]
    r[2] = s[order >> 4 & 3]
    r[3] = s[order >> 6 & 3]
    memcpy(d, r, 16)

cdef inline void shuffle_low_words(uint64_t* d, uint64_t* s, uint32_t order) noexcept nogil:
    d[0] = pick_words(s[0], order)
    d[1] = s[1]

cdef inline void shuffle_high_words(uint64_t* d, uint64_t* s, uint32_t order) noexcept nogil:
    d[1] = pick_words(s[1], order)
    d[0] = s[0]

cdef inline void shuffle_singles(uint32_t* d, uint32_t* s, uint32_t order) noexcept nogil:
    """SHUFPS: two elements of each operand."""
    cdef uint32_t r[4]
    r[0] = d[order & 3]
    r[1] = d[order >> 2 & 3]
    r[2] = s[order >> 4 & 3]
    r[3] = s[order >> 6 & 3]
    memcpy(d, r, 16)

cdef inline void shuffle_doubles(uint64_t* d, uint64_t* s, uint32_t order) noexcept nogil:
    """SHUFPD: one element of each operand."""
    cdef uint64_t low = d[order & 1]
    d[1] = s[order >> 1 & 1]
    d[0] = low

# ----- blends -----
cdef inline void blend(element_t* d, element_t* s, uint32_t mask, int n) noexcept nogil:
    cdef int k
    for k in range(n):
        if mask >> k & 1:
            d[k] = s[k]

cdef inline void blend_by_sign(element_t* d, element_t* s, element_t* mask, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef element_t* r = <element_t*>room
    cdef int k
    for k in range(n):
        r[k] = s[k] if mask[k] >> (8 * sizeof(element_t) - 1) else d[k]
    memcpy(d, r, 16)

cdef inline void insert_single(uint32_t* d, uint32_t v, uint32_t control) noexcept nogil:
    """INSERTPS: to the element that bits 5:4 name; then bits 3:0 clear elements."""
    cdef int k
    d[control >> 4 & 3] = v
    for k in range(4):
        if control >> k & 1:
            d[k] = 0

# ----- integer arithmetic -----
ctypedef fused word_t:
    int16_t
    int32_t

cdef inline int16_t saturate_word(int32_t v) noexcept nogil:
    return <int16_t>(-32768 if v < -32768 else (32767 if v > 32767 else v))

# PHADD and PHSUB: pairs of the destination give the low half of the result, pairs of the source the high half.
cdef inline void horizontal_add(word_t* d, word_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef word_t* r = <word_t*>room
    cdef int k
    for k in range(n // 2):
        r[k] = <word_t>(d[2 * k] + d[2 * k + 1])
        r[k + n // 2] = <word_t>(s[2 * k] + s[2 * k + 1])
    memcpy(d, r, n * sizeof(word_t))

cdef inline void horizontal_subtract(word_t* d, word_t* s, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef word_t* r = <word_t*>room
    cdef int k
    for k in range(n // 2):
        r[k] = <word_t>(d[2 * k] - d[2 * k + 1])
        r[k + n // 2] = <word_t>(s[2 * k] - s[2 * k + 1])
    memcpy(d, r, n * sizeof(word_t))

cdef inline void horizontal_add_saturated(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] + d[2 * k + 1])
        r[k + n // 2] = saturate_word(<int32_t>s[2 * k] + s[2 * k + 1])
    memcpy(d, r, n * 2)

cdef inline void horizontal_subtract_saturated(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] - d[2 * k + 1])
        r[k + n // 2] = saturate_word(<int32_t>s[2 * k] - s[2 * k + 1])
    memcpy(d, r, n * 2)

cdef inline void multiply_add_words(int16_t* d, int16_t* s, int n) noexcept nogil:
    cdef int32_t r[4]
    cdef int k
    for k in range(n // 2):
        r[k] = <int32_t>d[2 * k] * s[2 * k] + <int32_t>d[2 * k + 1] * s[2 * k + 1]
    memcpy(d, r, n * 2)

cdef inline void multiply_add_bytes(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    """PMADDUBSW: unsigned bytes of the destination by signed bytes of the source."""
    cdef int16_t r[8]
    cdef int k
    for k in range(n // 2):
        r[k] = saturate_word(<int32_t>d[2 * k] * <int8_t>s[2 * k] + <int32_t>d[2 * k + 1] * <int8_t>s[2 * k + 1])
    memcpy(d, r, n)

cdef inline void sum_of_differences(uint8_t* d, uint8_t* s, int n) noexcept nogil:
    cdef uint64_t r[2]
    cdef uint32_t sum
    cdef int k, h
    for h in range(n // 8):
        sum = 0
        for k in range(8 * h, 8 * h + 8):
            sum += <uint32_t>(d[k] - s[k] if d[k] > s[k] else s[k] - d[k])
        r[h] = sum
    memcpy(d, r, n)

cdef inline void multiple_sad(uint8_t* d, uint8_t* s, int control) noexcept nogil:
    """MPSADBW: eight sums of four absolute differences; bit 2 picks the destination's block, bits 1:0 the source's."""
    cdef uint16_t r[8]
    cdef uint8_t* a = d + (control & 4)
    cdef uint8_t* b = s + (control & 3) * 4
    cdef int k, m, sum
    for k in range(8):
        sum = 0
        for m in range(4):
            sum += a[k + m] - b[m] if a[k + m] > b[m] else b[m] - a[k + m]
        r[k] = <uint16_t>sum
    memcpy(d, r, 16)

cdef inline void least_word(uint64_t* d, uint16_t* s) noexcept nogil:
    """PHMINPOSUW: the least of eight words and where it stands."""
    cdef uint64_t least = 0
    cdef int k
    for k in range(1, 8):
        if s[k] < s[least]:
            least = <uint64_t>k
    d[0] = s[least] | least << 16
    d[1] = 0

# ----- shifts: counts beyond the element's width give zero, or copies of the sign for the arithmetic ones -----
ctypedef fused lane_t:
    uint16_t
    uint32_t
    uint64_t
    int16_t
    int32_t

cdef inline void shift_left(lane_t* d, uint64_t count, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef lane_t* r = <lane_t*>room
    cdef int k, by
    if count >= 8 * sizeof(lane_t):
        for k in range(n):
            d[k] = 0
        return
    by = <int>count
    for k in range(n):
        r[k] = <lane_t>(d[k] << by)
    memcpy(d, r, n * sizeof(lane_t))

cdef inline void shift_right(lane_t* d, uint64_t count, int n) noexcept nogil:
    cdef uint64_t room[2]             # 16 bytes whatever the element
    cdef lane_t* r = <lane_t*>room
    cdef int k, by
    if count >= 8 * sizeof(lane_t):
        if lane_t is int16_t or lane_t is int32_t:
            count = 8 * sizeof(lane_t) - 1
        else:
            for k in range(n):
                d[k] = 0
            return
    by = <int>count
    for k in range(n):
        r[k] = <lane_t>(d[k] >> by)
    memcpy(d, r, n * sizeof(lane_t))

cdef inline void shift_left_bytes(uint64_t* v, uint32_t by) noexcept nogil:
    if by > 15:
        v[0] = 0
        v[1] = 0
    elif by >= 8:
        v[1] = v[0] << 8 * (by - 8)
        v[0] = 0
    elif by:
        v[1] = v[1] << 8 * by | v[0] >> (64 - 8 * by)
        v[0] <<= 8 * by

cdef inline void shift_right_bytes(uint64_t* v, uint32_t by) noexcept nogil:
    if by > 15:
        v[0] = 0
        v[1] = 0
    elif by >= 8:
        v[0] = v[1] >> 8 * (by - 8)
        v[1] = 0
    elif by:
        v[0] = v[0] >> 8 * by | v[1] << (64 - 8 * by)
        v[1] >>= 8 * by
