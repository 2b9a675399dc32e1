# cython: language_level=3
"""The second level of address translation: nested paging (AMD APM volume 2, 15.25).

The nested tables have the form of the host's paging mode; every access counts as a user access (15.25.6), accesses to the
guest's own paging structures as writes.  With the guest mode execute trap U/S counts for fetches alone: code of CPL 0 to 2
comes from supervisor pages, code of CPL 3 from user pages.

Translations are cached by guest page beside the TLB, which holds the combined
ones, so that a walk of the guest's tables need not walk the nested ones each time.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from libc.string cimport memset
from x86emu.core.state cimport *
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.vmx cimport TER_GUEST_PAGING_VERIFICATION
from x86emu.core.ept cimport ept_translate, ept_peek
from x86emu.core.avic cimport avic_access

cdef enum:
    READ = 0
    WRITE = 1
    EXECUTE = 2
    RIGHT_READ = 1
    RIGHT_WRITE = 2
    RIGHT_EXECUTE = 4
    RIGHT_USER_EXECUTE = 8   # VMX with mode-based execute control
    ERROR_P = 1
    ERROR_W = 2
    ERROR_U = 4
    ERROR_RSVD = 8
    ERROR_I = 16
    EXIT_NPF = 0x400
    EPTP_ACCESSED_DIRTY = 0x40
    N_LEVELS = 5

cdef uint64_t FINAL_FAULT = 0x100000000ULL       # EXITINFO1: on the final address
cdef uint64_t TABLE_FAULT = 0x200000000ULL       # on the guest's own page tables

cdef struct NestedWalk:
    uint64_t physical
    uint32_t rights
    uint32_t error           # P and RSVD of the fault
    int depth
    uint32_t entry_size
    uint64_t address[6]
    uint64_t entries[6]

cdef void second_level_new_generation(Cpu* c) noexcept nogil:
    c.virt.next_generation += 1
    if c.virt.next_generation == 0:
        memset(c.virt.second_level_tlb, 0, sizeof(c.virt.second_level_tlb))
        c.virt.next_generation = 1
    c.virt.second_level_generation = c.virt.next_generation

cdef inline uint64_t entry_at(Cpu* c, NestedWalk* w, uint64_t address) noexcept nogil:
    cdef uint64_t entry = physical_load(c, address, w.entry_size)
    w.address[w.depth] = address
    w.entries[w.depth] = entry
    w.depth += 1
    return entry

cdef bint nested_walk(Cpu* c, uint64_t guest_physical, int access, NestedWalk* w) noexcept nogil:
    """Walks the nested tables in the host's paging mode. False: not allowed, with the error's bits."""
    cdef HostState* host = &c.virt.host
    cdef uint64_t table, entry, reserved, high_reserved
    cdef uint64_t allow = 6, no_execute = 0
    cdef bint nxe = (host.efer & EFER_NXE) != 0
    cdef int level, shift
    w.depth = 0
    w.error = 0
    w.entry_size = 8
    if not host.cr4 & CR4_PAE:
        if guest_physical >> 32:
            return False
        w.entry_size = 4
        level = 2
        table = c.virt.second_level_root & 0xFFFFF000ULL
        while True:
            shift = 12 if level == 1 else 22
            entry = entry_at(c, w, table + ((guest_physical >> shift) & 0x3FF) * 4)
            if not entry & 1:
                return False
            allow &= entry
            if level == 2 and entry & 0x80 and host.cr4 & CR4_PSE:
                if entry & 0x200000:
                    w.error = ERROR_P | ERROR_RSVD
                    return False
                table = (entry & 0xFFC00000ULL) | ((entry & 0x1FE000) << 19)
                break
            table = entry & 0xFFFFF000ULL
            shift = 12
            if level == 1:
                break
            level = 1
    else:
        high_reserved = (c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL) | (0 if nxe else 0x8000000000000000ULL)
        if host.efer & EFER_LMA:
            level = 5 if host.cr4 & CR4_LA57 else 4
            table = c.virt.second_level_root & 0x000FFFFFFFFFF000ULL
            if guest_physical >> (57 if level == 5 else 48):
                return False
        else:
            if guest_physical >> 32:
                return False
            entry = entry_at(c, w, (c.virt.second_level_root & 0xFFFFFFE0ULL) + ((guest_physical >> 30) & 3) * 8)
            w.depth = 0          # it has no accessed flag
            if not entry & 1:
                return False
            if entry & (high_reserved | 0xFFF00000000001E6ULL):
                w.error = ERROR_P | ERROR_RSVD
                return False
            level = 2
            table = entry & 0x000FFFFFFFFFF000ULL
            high_reserved |= 0x7FF0000000000000ULL
        while True:
            shift = 12 + 9 * (level - 1)
            entry = entry_at(c, w, table + ((guest_physical >> shift) & 0x1FF) * 8)
            if not entry & 1:
                return False
            reserved = high_reserved
            if level >= 2 and entry & 0x80:
                if level == 2:
                    reserved |= 0x1FE000
                elif level == 3:
                    reserved |= 0x3FFFE000
                else:
                    reserved |= 0x80
            if level >= 4:
                reserved |= 0x180        # APM 2, figures 5-20 and 5-25: bits 8:7 must be zero
            if entry & reserved:
                w.error = ERROR_P | ERROR_RSVD
                return False
            allow &= entry
            no_execute |= entry >> 63
            table = entry & 0x000FFFFFFFFFF000ULL
            if level == 1:
                break
            if entry & 0x80:
                table &= ~((<uint64_t>1 << shift) - 1)
                break
            level -= 1
    if ((access == WRITE and not allow & 2) or (access == EXECUTE and no_execute and nxe)
            or (not allow & 4 and not c.svm.guest_mode_execute_trap)
            or (c.svm.guest_mode_execute_trap and access == EXECUTE and (allow & 4 != 0) != (c.cpl == 3))):
        w.error = ERROR_P
        return False
    w.physical = table | (guest_physical & ((<uint64_t>1 << shift) - 1))
    # Whether code may come from the page depends on the CPL with the guest mode execute trap, so that is not cached.
    w.rights = RIGHT_READ | (0 if (no_execute and nxe) or c.svm.guest_mode_execute_trap else RIGHT_EXECUTE)
    if allow & 2 and (access == WRITE or w.entries[w.depth - 1] & 0x40):
        w.rights |= RIGHT_WRITE
    return True

cdef bint translate_guest_physical(Cpu* c, Insn* i, uint64_t guest_physical, int access, bint table_walk,
                                   uint64_t* physical) noexcept nogil:
    cdef NestedWalk w
    cdef uint64_t page = guest_physical & 0xFFFFFFFFFFFFF000ULL, error
    cdef SecondLevelEntry* e = &c.virt.second_level_tlb[(guest_physical >> 12) & (N_SECOND_LEVEL_ENTRIES - 1)]
    cdef uint32_t need = RIGHT_WRITE if access == WRITE else RIGHT_EXECUTE if access == EXECUTE else RIGHT_READ
    cdef int k
    cdef uint64_t flags
    cdef uint32_t rights
    if c.virt.second_level == SECOND_LEVEL_EPT:
        if access == EXECUTE and c.vmx.walk_page & 1:
            need = RIGHT_USER_EXECUTE
        if table_walk and c.vmx.eptp & EPTP_ACCESSED_DIRTY:          # the walker's accesses count as writes
            need |= RIGHT_WRITE
    if likely(e.guest_page == page and e.generation == c.virt.second_level_generation and (e.rights & need) == need):
        physical[0] = e.page | (guest_physical & 0xFFF)
        return True
    c.virt.guest_physical = guest_physical
    if c.virt.second_level == SECOND_LEVEL_EPT:
        if not ept_translate(c, i, guest_physical, access, table_walk, physical, &rights):
            return False
        if c.vmx.tertiary >> TER_GUEST_PAGING_VERIFICATION & 1:
            return True          # the walk of each access is to be verified
        e.guest_page = page
        e.page = physical[0] & 0xFFFFFFFFFFFFF000ULL
        e.generation = c.virt.second_level_generation
        e.rights = rights
        return True
    if not nested_walk(c, guest_physical, access, &w):
        error = w.error | ERROR_U | (ERROR_W if access == WRITE else 0)
        if access == EXECUTE and ((c.virt.host.efer & EFER_NXE and c.virt.host.cr4 & CR4_PAE)
                                  or c.virt.host.cr4 & CR4_SMEP or c.svm.guest_mode_execute_trap):
            error |= ERROR_I
        request_exit(c, i, EXIT_NPF, error | (TABLE_FAULT if table_walk else FINAL_FAULT), guest_physical)
        return False
    for k in range(w.depth):
        flags = 0x60 if access == WRITE and k == w.depth - 1 else 0x20
        if w.entries[k] & flags != flags:
            physical_store(c, w.address[k], w.entry_size, w.entries[k] | flags)
    if unlikely(c.svm.avic_enabled and not c.svm.x2avic and page == c.svm.avic_bar and not table_walk
                and access != EXECUTE):
        return avic_access(c, i, guest_physical, access, physical)
    e.guest_page = page
    e.page = w.physical & 0xFFFFFFFFFFFFF000ULL
    e.generation = c.virt.second_level_generation
    e.rights = w.rights
    physical[0] = w.physical
    return True

cdef bint peek_guest_physical(Cpu* c, uint64_t guest_physical, uint64_t* physical) noexcept nogil:
    cdef NestedWalk w
    if c.virt.second_level == SECOND_LEVEL_NONE:
        physical[0] = guest_physical
        return True
    if c.virt.second_level == SECOND_LEVEL_EPT:
        return ept_peek(c, guest_physical, physical)
    if not nested_walk(c, guest_physical, READ, &w):
        return False
    physical[0] = w.physical
    return True
