# cython: language_level=3
# Where translations of data are kept. No call: a handler that leaves everything but a hit to a second function needs no
# stack frame.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *

cdef inline TlbEntry* read_entry(Cpu* c, uint64_t ea) noexcept nogil:
    return &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK]

cdef inline TlbEntry* write_entry(Cpu* c, uint64_t ea) noexcept nogil:
    return &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]

cdef inline TlbEntry* data_entry(Cpu* c, uint64_t ea, bint write) noexcept nogil:
    return write_entry(c, ea) if write else read_entry(c, ea)

cdef inline bint entry_holds(Cpu* c, TlbEntry* t, uint64_t ea, uint_t kind) noexcept nogil:
    """Whether an operand of this type at ea is plain memory under entry t; it is then at t.addend + ea on the host."""
    return t.tag == (((ea + (sizeof(uint_t) - 1)) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)
