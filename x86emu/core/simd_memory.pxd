# cython: language_level=3
# Loads and stores of vector registers that hit the TLB; everything else is left to the caller, so that a handler needs no
# stack frame (SDM 3A, chapter 4).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport xmm

# The fast way: a TLB hit, no call, so that the handler needs no stack frame. False: nothing happened.
cdef inline TlbEntry* read_entry(Cpu* c, uint64_t ea, uint32_t n) noexcept nogil:
    cdef TlbEntry* t = &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK]
    return t if t.tag == (((ea + (n - 1)) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key) else NULL

cdef inline TlbEntry* write_entry(Cpu* c, uint64_t ea, uint32_t n) noexcept nogil:
    cdef TlbEntry* t = &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]
    return t if t.tag == (((ea + (n - 1)) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key) else NULL

cdef inline bint load_vector(Cpu* c, Insn* i, uint8_t n, uint32_t size, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = read_entry(c, ea, size)
    if unlikely(t == NULL or (aligned and ea & (size - 1))):
        return False
    memcpy(xmm(c, n), <void*>(t.addend + ea), size)
    return True

cdef inline bint store_vector(Cpu* c, Insn* i, uint8_t n, uint32_t size, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = write_entry(c, ea, size)
    if unlikely(t == NULL or (aligned and ea & (size - 1))):
        return False
    memcpy(<void*>(t.addend + ea), xmm(c, n), size)
    return True

cdef inline bint load_32(Cpu* c, Insn* i, uint32_t* v) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = read_entry(c, ea, 4)
    if unlikely(t == NULL):
        return False
    v[0] = (<uint32_t*>(t.addend + ea))[0]
    return True

cdef inline bint load_64(Cpu* c, Insn* i, uint64_t* v) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = read_entry(c, ea, 8)
    if unlikely(t == NULL):
        return False
    v[0] = (<uint64_t*>(t.addend + ea))[0]
    return True

cdef inline bint store_32(Cpu* c, Insn* i, uint32_t v) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = write_entry(c, ea, 4)
    if unlikely(t == NULL):
        return False
    (<uint32_t*>(t.addend + ea))[0] = v
    return True

cdef inline bint store_64(Cpu* c, Insn* i, uint64_t v) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef TlbEntry* t = write_entry(c, ea, 8)
    if unlikely(t == NULL):
        return False
    (<uint64_t*>(t.addend + ea))[0] = v
    return True
