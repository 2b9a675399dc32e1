# cython: language_level=3
# Bit instructions (SDM 1, 7.3.6; SDM 2A: BT, BSF, BSR, CRC32, ADCX; SDM 2B: LZCNT, POPCNT, TZCNT): handlers from
# _gen/forms_bits.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.alu cimport rmw_pointer, rmw_load, rmw_store, set_cf, set_cf_alone

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

cdef bint bit_string(Cpu* c, Insn* i, uint64_t linear, uint64_t distance, uint32_t size, bint write) noexcept nogil:
    """Where addresses have 16 or 32 bits: the linear address, in c.mtmp, of the element that a bit index selected. The
    offset wraps in the address size (aux); the segment check that came before saw only element 0."""
    cdef Segment* s = &c.seg[i.seg]
    cdef bint long_mode = (c.mode & MODE_CODE) == MODE_CODE64
    cdef uint64_t base = 0 if long_mode and i.seg < FS else s.base
    cdef uint64_t offset = (linear - base + distance) & (0xFFFFFFFFULL if i.aux else 0xFFFFULL)
    if not long_mode and (not s.access & (ACCESS_WRITE if write else ACCESS_READ) or offset < s.low
                          or offset + size - 1 > s.high):
        fault_code(c, i, V_SS if i.seg == SS else V_GP, 0)
        return False
    c.mtmp = (base + offset) & c.ea_mask
    return True

include "forms_bits.pxi"
include "register_bits.pxi"
