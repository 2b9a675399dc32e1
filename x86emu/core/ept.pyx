# cython: language_level=3
"""Extended page tables (Intel SDM volume 3C, 29.3): translation, violations, accessed and dirty flags, and what hangs on
them: mode-based execute control, sub-page write permissions (29.3.4), page-modification logging (29.3.6), paging-write
control and guest-paging verification (29.3.3.2).

Memory types are checked for validity and otherwise without effect: caches are not modelled.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.vmx cimport *
from x86emu.core.vmx_apic cimport vmx_apic_physical_access
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
    EPT_USER_EXECUTE = 0x400
    EPTP_ACCESSED_DIRTY = 0x40
    EPTP_FIVE_LEVELS = 4
    RIGHT_USER_EXECUTE = 8
    PAGE_USER = 1                # Vmx.walk_page
    PAGE_WRITABLE = 2
    PAGE_NO_EXECUTE = 4
    QUALIFICATION_USER_EXECUTE = 0x40
    QUALIFICATION_LINEAR = 0x80
    QUALIFICATION_FINAL = 0x100
    QUALIFICATION_PAGE_SHIFT = 9
    QUALIFICATION_GUEST_PAGING = 0x8000
    SPP_MISS = 0x800
    WALKED = 0
    MISCONFIGURED = 1
    NOT_PRESENT = 2

cdef uint64_t ADDRESS = 0x000FFFFFFFFFF000ULL
cdef uint64_t VERIFY_GUEST_PAGING = 1ULL << 57
cdef uint64_t PAGING_WRITE = 1ULL << 58
cdef uint64_t SUB_PAGE = 1ULL << 61
cdef uint64_t SUPPRESS_VE = 1ULL << 63

cdef struct EptWalk:
    uint64_t physical
    uint32_t allowed         # AND of the rights of all levels: bits 2:0 as in an entry, 3 execute for user-mode addresses
    int depth
    int level                # of the last entry read
    uint64_t address[5]
    uint64_t entries[5]

cdef bint misconfigured(Cpu* c, uint64_t entry, int level) noexcept nogil:
    """29.3.3.1."""
    cdef uint64_t type, able = capability(c, 12)
    cdef bint leaf = level == 1 or (level <= 3 and entry & EPT_LARGE)
    cdef uint64_t execute = EPT_EXECUTE | (EPT_USER_EXECUTE if secondary(c, SEC_MODE_BASED_EXECUTE) else 0)
    if not entry & EPT_READ and (entry & EPT_WRITE or (entry & execute and not able & 1)):
        return True
    if entry & c.maxphyaddr_mask & ADDRESS:
        return True
    if level >= 4:
        return entry & 0xF8 != 0
    if not leaf:
        return entry & 0x78 != 0
    if level == 3 and (not able >> 17 & 1 or entry & 0x3FFFF000):
        return True
    if level == 2 and (not able >> 16 & 1 or entry & 0x1FF000):
        return True
    type = entry >> 3 & 7
    return type == 2 or type == 3 or type == 7

cdef int ept_walk(Cpu* c, uint64_t guest_physical, EptWalk* w) noexcept nogil:
    cdef uint64_t table = c.virt.second_level_root, entry
    cdef int level = 5 if (c.vmx.eptp >> 3 & 7) == EPTP_FIVE_LEVELS else 4, shift
    cdef bint by_mode = secondary(c, SEC_MODE_BASED_EXECUTE)
    cdef uint64_t present = 7 | (EPT_USER_EXECUTE if by_mode else 0)
    w.depth = 0
    w.level = level
    w.allowed = EPT_READ | EPT_WRITE | EPT_EXECUTE | RIGHT_USER_EXECUTE
    if guest_physical >> (57 if level == 5 else 48):
        w.allowed = 0
        w.entries[0] = 0
        w.depth = 1
        return NOT_PRESENT
    while True:
        shift = 12 + 9 * (level - 1)
        w.level = level
        w.address[w.depth] = table + ((guest_physical >> shift) & 0x1FF) * 8
        entry = physical_load(c, w.address[w.depth], 8)
        w.entries[w.depth] = entry
        w.depth += 1
        w.allowed &= <uint32_t>(entry & 7) | (<uint32_t>(entry >> 7) & 8 if by_mode else <uint32_t>(entry << 1) & 8)
        if not entry & present:
            return NOT_PRESENT
        if misconfigured(c, entry, level):
            return MISCONFIGURED
        table = entry & ADDRESS
        if level == 1 or (level <= 3 and entry & EPT_LARGE):
            table &= ~((<uint64_t>1 << shift) - 1)
            w.physical = table | (guest_physical & ((<uint64_t>1 << shift) - 1))
            return WALKED
        level -= 1

cdef bint violation(Cpu* c, Insn* i, uint64_t guest_physical, EptWalk* w, uint64_t qualification, bint table_walk) noexcept nogil:
    """28.2.1, table 28-7. Always False."""
    qualification |= <uint64_t>(w.allowed & 7) << 3
    if w.allowed & RIGHT_USER_EXECUTE and secondary(c, SEC_MODE_BASED_EXECUTE):
        qualification |= QUALIFICATION_USER_EXECUTE
    if c.vmx.walk_linear_valid:
        qualification |= QUALIFICATION_LINEAR
        if not table_walk:
            qualification |= QUALIFICATION_FINAL
            if capability(c, 12) >> 22 & 1:
                qualification |= <uint64_t>c.vmx.walk_page << QUALIFICATION_PAGE_SHIFT
    vmx_request(c, i, REASON_EPT_VIOLATION, qualification, 0)
    c.vmx.exit_guest_physical = guest_physical
    c.vmx.exit_linear = c.vmx.walk_linear if c.vmx.walk_linear_valid else 0
    c.vmx.ve_suppressed = w.entries[w.depth - 1] >> 63 != 0
    return False

cdef bint exit_at(Cpu* c, Insn* i, uint32_t reason, uint64_t qualification, uint64_t guest_physical) noexcept nogil:
    vmx_request(c, i, reason, qualification, 0)
    c.vmx.exit_guest_physical = guest_physical
    c.vmx.exit_linear = c.vmx.walk_linear if c.vmx.walk_linear_valid else 0
    return False

# ---------------------------------------------------------------- sub-page write permissions (29.3.4)

cdef int sub_page_allows(Cpu* c, Insn* i, uint64_t guest_physical) noexcept nogil:
    """1: all 128-byte regions that the write touches may be written; 0: not so; -1: an SPP-related exit was requested."""
    cdef uint64_t table = c.vmx.sub_page_table, entry, first, last, k
    cdef int level
    for level in range(4, 1, -1):
        entry = physical_load(c, table + (guest_physical >> (12 + 9 * (level - 1)) & 0x1FF) * 8, 8)
        if not entry & 1:
            exit_at(c, i, REASON_SPP, SPP_MISS, guest_physical)
            return -1
        if entry & (c.maxphyaddr_mask | 0xFFE):
            exit_at(c, i, REASON_SPP, 0, guest_physical)
            return -1
        table = entry & ADDRESS
    entry = physical_load(c, table + (guest_physical >> 12 & 0x1FF) * 8, 8)
    if entry & 0xAAAAAAAAAAAAAAAAULL:
        exit_at(c, i, REASON_SPP, 0, guest_physical)
        return -1
    first = (guest_physical & 0xFFF) >> 7
    last = min((guest_physical & 0xFFF) + max(c.vmx.access_size, 1) - 1, 0xFFF) >> 7
    for k in range(first, last + 1):
        if not entry >> (2 * k) & 1:
            return 0
    return 1

# ---------------------------------------------------------------- accessed and dirty flags, page-modification log

cdef bint log_page(Cpu* c, Insn* i, uint64_t guest_physical) noexcept nogil:
    """29.3.6: before the dirty flag of a page is set. False: the log is full."""
    cdef uint64_t index = vget(c, F_PML_INDEX) & 0xFFFF
    if index > 511:
        return exit_at(c, i, REASON_PML_FULL, 0, guest_physical)
    physical_store(c, c.vmx.pml_address + 8 * index, 8, guest_physical & 0xFFFFFFFFFFFFF000ULL)
    vput(c, F_PML_INDEX, (index - 1) & 0xFFFF)
    return True

cdef bint set_flags(Cpu* c, Insn* i, uint64_t guest_physical, EptWalk* w, bint write, uint32_t* rights) noexcept nogil:
    """29.3.5."""
    cdef int k, leaf = w.depth - 1
    cdef uint64_t wanted
    if write:
        if not w.entries[leaf] & EPT_DIRTY and secondary(c, SEC_ENABLE_PML) and not log_page(c, i, guest_physical):
            return False
    elif not w.entries[leaf] & EPT_DIRTY:
        rights[0] &= ~<uint32_t>EPT_WRITE            # the first write comes here for its flag
    for k in range(w.depth):
        wanted = EPT_ACCESSED | (EPT_DIRTY if k == leaf and write else 0)
        if w.entries[k] & wanted != wanted:
            physical_store(c, w.address[k], 8, w.entries[k] | wanted)
    return True

# ---------------------------------------------------------------- translation

cdef bint ept_translate(Cpu* c, Insn* i, uint64_t guest_physical, int access, bint table_walk, uint64_t* physical,
                        uint32_t* rights) noexcept nogil:
    cdef EptWalk w
    cdef bint flags = (c.vmx.eptp & EPTP_ACCESSED_DIRTY) != 0
    cdef uint32_t need = EPT_WRITE if access == WRITE else EPT_EXECUTE if access == EXECUTE else EPT_READ
    cdef uint32_t right, qualification
    cdef uint64_t leaf
    cdef int outcome, granted
    if table_walk:                       # 29.3.5: with flags, the walker's accesses count as writes
        need |= EPT_READ | (EPT_WRITE if flags else 0)
    qualification = need
    right = need
    outcome = ept_walk(c, guest_physical, &w)
    if outcome == MISCONFIGURED:
        vmx_request(c, i, REASON_EPT_MISCONFIGURATION, 0, 0)
        c.vmx.exit_guest_physical = guest_physical
        return False
    if outcome == NOT_PRESENT:
        return violation(c, i, guest_physical, &w, qualification, table_walk)
    leaf = w.entries[w.depth - 1]
    if access == EXECUTE and c.vmx.walk_page & PAGE_USER and secondary(c, SEC_MODE_BASED_EXECUTE):
        right = RIGHT_USER_EXECUTE
    rights[0] = w.allowed
    if table_walk and leaf & PAGING_WRITE and tertiary(c, TER_EPT_PAGING_WRITE):
        right &= ~<uint32_t>EPT_WRITE
    if (w.allowed & right) != right:
        granted = 0
        if (access == WRITE and not table_walk and w.level == 1 and leaf & SUB_PAGE and w.allowed & EPT_READ
                and secondary(c, SEC_SUB_PAGE_WRITE_PERMISSION)):
            granted = sub_page_allows(c, i, guest_physical)
            if granted < 0:
                return False
        if not granted:
            return violation(c, i, guest_physical, &w, qualification, table_walk)
        c.vmx.uncached = 1               # the next write may be to another sub-page
    if tertiary(c, TER_GUEST_PAGING_VERIFICATION):
        if table_walk:
            c.vmx.verify_paging |= not leaf & PAGING_WRITE
        elif leaf & VERIFY_GUEST_PAGING and c.vmx.walk_linear_valid and c.vmx.verify_paging:
            return violation(c, i, guest_physical, &w, qualification | QUALIFICATION_GUEST_PAGING, table_walk)
    if flags and not set_flags(c, i, guest_physical, &w, need & EPT_WRITE != 0, rights):
        return False
    physical[0] = w.physical
    if table_walk and (w.physical & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access:
        return vmx_apic_physical_access(c, i)
    return True

cdef bint ept_peek(Cpu* c, uint64_t guest_physical, uint64_t* physical) noexcept nogil:
    cdef EptWalk w
    if ept_walk(c, guest_physical, &w) != WALKED or not w.allowed & EPT_READ:
        return False
    physical[0] = w.physical
    return True
