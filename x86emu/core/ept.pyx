# cython: language_level=3
"""Extended page tables (Intel SDM volume 3C, 29.3): translation, misconfigurations, violations, accessed and dirty flags.

Memory types are checked for validity and otherwise without effect: caches are not modelled.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.mmu cimport physical_load, physical_store
from x86emu.core.vmx cimport *
from x86emu.core.vmx_exit cimport vmx_request

cdef enum:
    READ = 0
    WRITE = 1
    EXECUTE = 2
    EPT_READ = 1
    EPT_WRITE = 2
    EPT_EXECUTE = 4
    EPT_LARGE = 0x80
    EPT_ACCESSED = 0x100
    EPT_DIRTY = 0x200
    EPTP_ACCESSED_DIRTY = 0x40
    QUALIFICATION_LINEAR = 0x80
    QUALIFICATION_FINAL = 0x100
    WALKED = 0
    MISCONFIGURED = 1
    NOT_PRESENT = 2

cdef struct EptWalk:
    uint64_t physical
    uint32_t allowed         # AND of the rights of all levels
    int depth
    uint64_t address[4]
    uint64_t entries[4]

cdef bint misconfigured(Cpu* c, uint64_t entry, int level) noexcept nogil:
    """29.3.3.1."""
    cdef uint64_t type
    cdef bint leaf = level == 1 or entry & EPT_LARGE
    if entry & EPT_WRITE and not entry & EPT_READ:
        return True
    if entry & EPT_EXECUTE and not entry & EPT_READ and not capability(c, 12) & 1:
        return True
    if entry & c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL:
        return True
    if level == 4:
        return entry & 0xF8 != 0
    if not leaf:
        return entry & 0x78 != 0
    if level == 3 and (not capability(c, 12) >> 17 & 1 or entry & 0x3FFFF000):
        return True
    if level == 2 and (not capability(c, 12) >> 16 & 1 or entry & 0x1FF000):
        return True
    type = entry >> 3 & 7
    return type == 2 or type == 3 or type == 7

cdef int ept_walk(Cpu* c, uint64_t guest_physical, EptWalk* w) noexcept nogil:
    cdef uint64_t table = c.virt.second_level_root, entry
    cdef int level = 4, shift
    w.depth = 0
    w.allowed = EPT_READ | EPT_WRITE | EPT_EXECUTE
    if guest_physical >> 48:
        w.allowed = 0
        return NOT_PRESENT
    while True:
        shift = 12 + 9 * (level - 1)
        w.address[w.depth] = table + ((guest_physical >> shift) & 0x1FF) * 8
        entry = physical_load(c, w.address[w.depth], 8)
        w.entries[w.depth] = entry
        w.depth += 1
        w.allowed &= <uint32_t>entry
        if not entry & 7:
            return NOT_PRESENT
        if misconfigured(c, entry, level):
            return MISCONFIGURED
        table = entry & 0x000FFFFFFFFFF000ULL
        if level == 1 or entry & EPT_LARGE:
            table &= ~((<uint64_t>1 << shift) - 1)
            w.physical = table | (guest_physical & ((<uint64_t>1 << shift) - 1))
            return WALKED
        level -= 1

cdef bint ept_translate(Cpu* c, Insn* i, uint64_t guest_physical, int access, bint table_walk, uint64_t* physical,
                        uint32_t* rights) noexcept nogil:
    cdef EptWalk w
    cdef bint flags = (c.vmx.eptp & EPTP_ACCESSED_DIRTY) != 0
    cdef uint32_t need = EPT_WRITE if access == WRITE else EPT_EXECUTE if access == EXECUTE else EPT_READ
    cdef uint64_t qualification = 0, wanted
    cdef int outcome, k
    if table_walk and flags:             # 29.3.5: the walker's accesses count as writes
        need |= EPT_WRITE
    if table_walk:
        need |= EPT_READ
    outcome = ept_walk(c, guest_physical, &w)
    if outcome == MISCONFIGURED:
        vmx_request(c, i, REASON_EPT_MISCONFIGURATION, 0, 0)
        c.vmx.exit_guest_physical = guest_physical
        return False
    if outcome == NOT_PRESENT or (w.allowed & need) != need:
        qualification = need | <uint64_t>w.allowed << 3
        if c.vmx.walk_linear_valid:
            qualification |= QUALIFICATION_LINEAR
            if not table_walk:
                qualification |= QUALIFICATION_FINAL
        vmx_request(c, i, REASON_EPT_VIOLATION, qualification, 0)
        c.vmx.exit_guest_physical = guest_physical
        c.vmx.exit_linear = c.vmx.walk_linear if c.vmx.walk_linear_valid else 0
        return False
    rights[0] = w.allowed
    if flags:
        for k in range(w.depth):
            wanted = EPT_ACCESSED
            if k == w.depth - 1:
                if need & EPT_WRITE:
                    wanted |= EPT_DIRTY
                elif not w.entries[k] & EPT_DIRTY:
                    rights[0] &= ~<uint32_t>EPT_WRITE        # the first write comes here for its flag
            if w.entries[k] & wanted != wanted:
                physical_store(c, w.address[k], 8, w.entries[k] | wanted)
    physical[0] = w.physical
    return True

cdef bint ept_peek(Cpu* c, uint64_t guest_physical, uint64_t* physical) noexcept nogil:
    cdef EptWalk w
    if ept_walk(c, guest_physical, &w) != WALKED or not w.allowed & EPT_READ:
        return False
    physical[0] = w.physical
    return True
