# cython: language_level=3
# BMI1 and BMI2 (SDM 2A to 2C under the mnemonics): the handlers come from _gen/forms_bmi.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *

cdef extern from * nogil:
    ctypedef unsigned long long uint128_t "unsigned __int128"

ctypedef fused word_t:
    uint32_t
    uint64_t

cdef inline word_t extract_bits(word_t a, word_t control) noexcept nogil:
    """BEXTR: as many bits as bits 15:8 of the control say, from the bit that bits 7:0 say."""
    cdef uint32_t start = control & 0xFF, length = control >> 8 & 0xFF
    if start >= 8 * sizeof(word_t):
        return 0
    a >>= start
    return a if length >= 8 * sizeof(word_t) else a & ((<word_t>1 << length) - 1)

cdef inline word_t zero_high(word_t a, word_t index) noexcept nogil:
    cdef uint32_t n = index & 0xFF
    return a if n >= 8 * sizeof(word_t) else a & ((<word_t>1 << n) - 1)

cdef inline uint64_t deposit(uint64_t a, uint64_t mask) noexcept nogil:
    """PDEP: the low bits of a, in order, to the places of the mask's ones."""
    cdef uint64_t r = 0, lowest
    while mask:
        lowest = mask & (0 - mask)
        if a & 1:
            r |= lowest
        a >>= 1
        mask ^= lowest
    return r

cdef inline uint64_t collect(uint64_t a, uint64_t mask) noexcept nogil:
    """PEXT: the bits of a at the mask's ones, in order, to the low bits."""
    cdef uint64_t r = 0, lowest, to = 1
    while mask:
        lowest = mask & (0 - mask)
        if a & lowest:
            r |= to
        to <<= 1
        mask ^= lowest
    return r

include "forms_bmi.pxi"
include "register_bmi.pxi"
