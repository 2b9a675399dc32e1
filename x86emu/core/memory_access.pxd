# cython: language_level=3
# Loads and stores of the guest's data through the software TLB (SDM 3A, chapters 4 and 11).
# A hit is one compare and one add.  A page crossing, MMIO, a page with decoded code, a watchpoint, a fault: the slow way.
from libc.string cimport memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.mmu cimport slow_load, slow_store, slow_rmw, slow_bytes, slow_probe
from x86emu.core.tlb_entries cimport read_entry, write_entry, entry_holds

cdef inline bint ld(Cpu* c, Insn* i, uint64_t ea, uint_t* v) noexcept nogil:
    """Loads from linear address ea as the current CPL. False: a fault was raised; the handler returns."""
    cdef TlbEntry* t = read_entry(c, ea)
    if likely(entry_holds(c, t, ea, <uint_t>0)):
        v[0] = (<uint_t*>(t.addend + ea))[0]
        return True
    if slow_load(c, i, ea, sizeof(uint_t)):
        v[0] = <uint_t>c.mtmp
        return True
    return False

cdef inline bint st(Cpu* c, Insn* i, uint64_t ea, uint_t v) noexcept nogil:
    """Stores to linear address ea. False: a fault was raised; nothing was written."""
    cdef TlbEntry* t = write_entry(c, ea)
    if likely(entry_holds(c, t, ea, <uint_t>0)):
        (<uint_t*>(t.addend + ea))[0] = v
        return True
    return slow_store(c, i, ea, v, sizeof(uint_t))

cdef inline bint ld_rmw(Cpu* c, Insn* i, uint64_t ea, uint_t* v) noexcept nogil:
    """Loads what the same instruction will store back to with st(): write permission is checked now, so st() cannot fault."""
    cdef TlbEntry* t = write_entry(c, ea)
    if likely(entry_holds(c, t, ea, <uint_t>0)):
        v[0] = (<uint_t*>(t.addend + ea))[0]
        return True
    if slow_rmw(c, i, ea, sizeof(uint_t)):
        v[0] = <uint_t>c.mtmp
        return True
    return False

# Longer operands (FXSAVE, descriptors, m80, 16-byte vectors): slow_bytes(c, i, ea, buffer, n, write) moves n bytes
# with all faults taken before the first byte is changed; slow_probe(c, i, ea, n, write) only checks.
cdef inline bint load_bytes(Cpu* c, Insn* i, uint64_t ea, void* to, uint32_t n) noexcept nogil:
    cdef TlbEntry* t = read_entry(c, ea)
    if likely(n == 16 and t.tag == (((ea + 15) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        memcpy(to, <void*>(t.addend + ea), 16)       # one 16-byte move: two halves would not forward to a vector load
        return True
    return slow_bytes(c, i, ea, <uint8_t*>to, n, 0)

cdef inline bint store_bytes(Cpu* c, Insn* i, uint64_t ea, const void* source, uint32_t n) noexcept nogil:
    cdef TlbEntry* t = write_entry(c, ea)
    if likely(n == 16 and t.tag == (((ea + 15) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        memcpy(<void*>(t.addend + ea), source, 16)
        return True
    return slow_bytes(c, i, ea, <uint8_t*>source, n, 1)
