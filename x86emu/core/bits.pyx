# cython: language_level=3
# Bit instructions (SDM 1, 7.3.6; SDM 2A: BT, BSF, BSR, CRC32, ADCX; SDM 2B: LZCNT, POPCNT, TZCNT): handlers from
# _gen/forms_bits.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.alu cimport rmw_pointer, rmw_load, rmw_store, set_cf

cdef extern from * nogil:
    int __builtin_ctzll(unsigned long long)
    int __builtin_clzll(unsigned long long)
    int __builtin_popcountll(unsigned long long)

cdef uint32_t CRC32C[256]     # remainders of the bytes modulo 11EDC6F41h, bits reflected

cdef void fill_crc32c():
    cdef uint32_t n, k, r
    for n in range(256):
        r = n
        for k in range(8):
            r = (r >> 1) ^ (0x82F63B78u if r & 1 else 0)
        CRC32C[n] = r

fill_crc32c()

cdef uint32_t crc32c(uint32_t crc, uint64_t data, uint32_t size) noexcept nogil:
    cdef uint32_t n
    for n in range(size):
        crc = (crc >> 8) ^ CRC32C[(crc ^ data) & 0xFF]
        data >>= 8
    return crc

cdef bint bit_string_allowed(Cpu* c, Insn* i, uint64_t linear, uint32_t size, bint write) noexcept nogil:
    """Segment check of the element that a bit index selected; the record's own check saw element 0."""
    cdef Segment* s = &c.seg[i.seg]
    cdef uint64_t offset = <uint32_t>(linear - s.base)
    if s.access & (ACCESS_WRITE if write else ACCESS_READ) and offset >= s.low and offset + size - 1 <= s.high:
        return True
    fault_code(c, i, V_SS if i.seg == SS else V_GP, 0)
    return False

include "forms_bits.pxi"
include "register_bits.pxi"
