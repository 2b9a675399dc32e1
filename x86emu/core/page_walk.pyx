# cython: language_level=3
"""The page walk: linear to physical by 32-bit, PAE, 4-level, 5-level and HLAT paging, with the access rights, protection
keys, accessed and dirty flags, and #PF's error code (Intel SDM volume 3A, chapter 4; AMD APM volume 2, chapter 5).

Permissions live here alone. Where there is a second level, tables and the final address go through it.

Where the manual leaves a choice: accessed flags are set only when the walk succeeds (SDM 4.8 allows either; silicon does
not set them for an access that faults at a later level in a documented way).
"""
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.physical cimport load_at, load_entry, store_at
from x86emu.core.second_level cimport translate_guest_physical
from x86emu.core.vmx cimport tertiary, TER_ENABLE_HLAT

cdef enum:
    HLAT_RESTART = 0x800         # bit 11 of an entry met by HLAT paging (4.5.1)
    # page-fault error code (SDM 3A 4.7)
    PF_P = 1
    PF_W = 2
    PF_U = 4
    PF_RSVD = 8
    PF_I = 16
    PF_PK = 32
    PF_SS = 64
    PF_HLAT = 128
    SHADOW = 4                   # with READ or WRITE: a shadow-stack access
    # Vmx.walk_page: what the guest's paging says of a final address (SDM 3C table 28-7)
    WALK_USER = 1
    WALK_WRITABLE = 2
    WALK_NO_EXECUTE = 4
    WALK_SHADOW = 16             # a shadow-stack access

cdef bint page_fault(Cpu* c, Insn* i, uint64_t linear, uint32_t error) noexcept nogil:
    fault_code(c, i, V_PF, error)
    c.fault.address = linear
    return False

cdef inline void set_entry_flags(Cpu* c, uint64_t address, uint64_t entry, uint64_t flags, uint32_t size) noexcept nogil:
    if entry & flags != flags:
        store_at(c, NULL, address, size, entry | flags)

cdef void note_large(Cpu* c, uint64_t linear, int shift) noexcept nogil:
    """Remembers that part of a large page may be cached, for INVLPG."""
    cdef uint64_t frame
    if shift == 30:
        frame = linear >> 30
        frame = (frame ^ (frame >> 12)) & 4095
        c.huge_filter[frame >> 6] |= <uint64_t>1 << (frame & 63)
        return
    frame = (linear >> 21) & ~<uint64_t>(1 if shift == 22 else 0)
    while True:
        c.large_filter[((frame ^ (frame >> 12)) & 4095) >> 6] |= <uint64_t>1 << ((frame ^ (frame >> 12)) & 63)
        if shift != 22 or frame & 1:
            return
        frame |= 1

cdef inline bint table_address(Cpu* c, Insn* i, uint64_t* address) noexcept nogil:
    """Where a paging-structure entry is; in a guest its address goes through the second level first, as a write (APM 2,
    15.25.6: the walker may set its accessed and dirty flags)."""
    if likely(c.virt.second_level == SECOND_LEVEL_NONE):
        return True
    return translate_guest_physical(c, i, address[0], WRITE if c.virt.second_level == SECOND_LEVEL_NPT else READ, True, address)

cdef inline bint final_address(Cpu* c, Insn* i, int access, uint64_t* physical) noexcept nogil:
    if likely(c.virt.second_level == SECOND_LEVEL_NONE):
        return True
    return translate_guest_physical(c, i, physical[0], access, False, physical)

cdef bint walk_quickly(Cpu* c, uint64_t linear, int access, bint user, uint64_t* physical, uint32_t* flags) noexcept nogil:
    """4-level paging outside a guest, where every entry is in order and allows the access; the last one's flags may be
    clear. False: nothing has changed, and walk() is to say what is the matter."""
    cdef uint64_t reserved = c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL
    cdef uint64_t entry, address, table = c.cr3 & 0x000FFFFFFFFFF000ULL, every = 0x26, no_execute = 0
    cdef int shift = 39
    if not c.efer & EFER_NXE:
        reserved |= 0x8000000000000000ULL
    while True:
        address = table + ((linear >> shift) & 0x1FF) * 8
        entry = load_entry(c, address, 8)
        if not entry & 1 or entry & reserved:
            return False
        no_execute |= entry
        if shift == 12:
            break
        if entry & 0x80:
            if shift != 21 or entry & 0x1FE000:
                return False
            break
        every &= entry
        table = entry & 0x000FFFFFFFFFF000ULL
        shift -= 9
    every &= entry | 0x20
    if not every & 0x20:
        return False
    if access == EXECUTE:
        if no_execute >> 63 or (user and not every & 4) or (not user and every & 4 and c.cr4 & CR4_SMEP):
            return False
    elif c.cr4 & (CR4_PKE | CR4_SMAP if every & 4 else CR4_PKS):
        return False
    elif (user and not every & 4) or (access == WRITE and not every & 2 and (user or c.cr0 & CR0_WP)):
        return False
    if access == WRITE and not every & 2:
        c.wp_overridden = 1
    set_entry_flags(c, address, entry, 0x60 if access == WRITE else 0x20, 8)
    physical[0] = (entry & 0x000FFFFFFFFFF000ULL & ~<uint64_t>((1 << shift) - 1)) | (linear & ((<uint64_t>1 << shift) - 1))
    flags[0] = (PAGE_USER if every & 4 else 0) | (PAGE_WRITABLE if access == WRITE else 0)
    if shift > 12:
        note_large(c, linear, shift)
    return True

cdef bint walk(Cpu* c, Insn* i, uint64_t linear, int access, bint user, bint implicit,
               uint64_t* physical, uint32_t* flags) noexcept nogil:
    if (c.efer & EFER_LMA and not c.cr4 & CR4_LA57 and c.virt.guest_mode == GUEST_NONE
            and walk_quickly(c, linear, access, user, physical, flags)):
        return True
    return walk_fully(c, i, linear, access, user, implicit, physical, flags)

cdef bint walk_shadow(Cpu* c, Insn* i, uint64_t linear, int access, bint user, uint64_t* physical) noexcept nogil:
    cdef uint32_t flags
    return walk_fully(c, i, linear, access | SHADOW, user, False, physical, &flags)

cdef bint is_shadow_stack(const uint64_t* entries, int depth, uint64_t allow, bint user) noexcept nogil:
    """A page of shadow stack is written (dirty) and read-only, and writable as far as the entries above it go."""
    cdef int k
    if (allow & 4 != 0) != user or entries[depth - 1] & 0x42 != 0x40:
        return False
    for k in range(depth - 1):
        if not entries[k] & 2:
            return False
    return True

cdef bint walk_fully(Cpu* c, Insn* i, uint64_t linear, int access, bint user, bint implicit,
                     uint64_t* physical, uint32_t* flags) noexcept nogil:
    """SDM 3A 4.3 to 4.7. False with #PF raised; otherwise the physical address and PAGE_ flags."""
    cdef bint shadow = (access & SHADOW) != 0
    cdef uint64_t entry, table, reserved, high_reserved
    cdef uint64_t address[5]
    cdef uint64_t entries[5]
    cdef uint64_t guest_address[5]
    cdef int level, shift, depth = 0, k
    cdef bint nxe = (c.efer & EFER_NXE) != 0
    cdef bint wp = (c.cr0 & CR0_WP) != 0
    cdef uint64_t allow = 0x6          # R/W and U/S of every level, ANDed
    cdef uint64_t no_execute = 0
    cdef uint32_t error = (PF_W if access & 3 == WRITE else 0) | (PF_U if user else 0) | (PF_SS if shadow else 0)
    cdef uint32_t entry_size = 8
    cdef uint32_t key_rights
    cdef bint hlat = False
    access &= 3
    if access == EXECUTE and ((nxe and c.cr4 & CR4_PAE) or c.cr4 & CR4_SMEP):
        error |= PF_I
    c.vmx.walk_linear = linear
    c.vmx.walk_linear_valid = 1
    c.vmx.verify_paging = 0
    if not (c.cr0 >> CR0_PG_BIT) & 1:
        c.vmx.walk_page = WALK_USER | WALK_WRITABLE
        physical[0] = linear & 0xFFFFFFFFULL
        flags[0] = PAGE_WRITABLE | PAGE_USER
        return final_address(c, i, access, physical)
    if not c.cr4 & CR4_PAE:
        # ---- 32-bit paging (4.3)
        entry_size = 4
        table = c.cr3 & 0xFFFFF000ULL
        level = 2
        while True:
            shift = 12 if level == 1 else 22
            address[depth] = table + ((linear >> shift) & 0x3FF) * 4
            guest_address[depth] = address[depth]
            if not table_address(c, i, &address[depth]):
                return False
            entry = load_entry(c, address[depth], 4)
            entries[depth] = entry
            depth += 1
            if not entry & 1:
                return page_fault(c, i, linear, error)
            if level == 2 and entry & 0x80 and c.cr4 & CR4_PSE:
                if c.features_pse36:
                    # bits 20:13 are physical address bits 39:32; those above MAXPHYADDR and bit 21 are reserved
                    if entry & 0x200000 or ((entry & 0x1FE000) << 19) & c.maxphyaddr_mask:
                        return page_fault(c, i, linear, error | PF_P | PF_RSVD)
                    table = (entry & 0xFFC00000ULL) | ((entry & 0x1FE000) << 19)
                else:
                    if entry & 0x3FE000:
                        return page_fault(c, i, linear, error | PF_P | PF_RSVD)
                    table = entry & 0xFFC00000ULL
                allow &= entry
                break
            allow &= entry
            table = entry & 0xFFFFF000ULL
            if level == 1:
                break
            level = 1
    else:
        high_reserved = c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL
        if c.efer & EFER_LMA:
            # ---- 4-level and 5-level paging (4.5)
            level = 5 if c.cr4 & CR4_LA57 else 4
            table = c.cr3 & 0x000FFFFFFFFFF000ULL
            if unlikely(c.virt.guest_mode == GUEST_VMX) and tertiary(c, TER_ENABLE_HLAT):
                hlat = (linear & c.vmx.hlat_prefix) == c.vmx.hlat_prefix
                if hlat:
                    table = c.vmx.hlat_root & 0x000FFFFFFFFFF000ULL
                    error |= PF_HLAT
        else:
            # ---- PAE paging (4.4): the PDPTEs were checked when CR3 was loaded
            k = <int>((linear >> 30) & 3)
            if c.virt.second_level == SECOND_LEVEL_NPT:      # APM 2, 15.25.10: read anew at every walk
                address[0] = (c.cr3 & 0xFFFFFFE0ULL) + 8 * k
                if not table_address(c, i, &address[0]):
                    return False
                entry = load_at(c, NULL, address[0], 8)
                if entry & 1 and entry & (high_reserved | 0xFFF00000000001E6ULL):
                    return page_fault(c, i, linear, error | PF_P | PF_RSVD)
            else:
                entry = c.pdpte[k]
            if not entry & 1:
                return page_fault(c, i, linear, error)
            table = entry & 0x000FFFFFFFFFF000ULL
            level = 2
            high_reserved |= 0x7FF0000000000000ULL
        if not nxe:
            high_reserved |= 0x8000000000000000ULL
        while True:
            shift = 12 + 9 * (level - 1)
            address[depth] = table + ((linear >> shift) & 0x1FF) * 8
            guest_address[depth] = address[depth]
            if not table_address(c, i, &address[depth]):
                return False
            entry = load_entry(c, address[depth], 8)
            entries[depth] = entry
            depth += 1
            if not entry & 1:
                return page_fault(c, i, linear, error)
            if unlikely(hlat) and entry & HLAT_RESTART:      # again, with ordinary paging
                hlat = False
                error &= ~<uint32_t>PF_HLAT
                level = 5 if c.cr4 & CR4_LA57 else 4
                table = c.cr3 & 0x000FFFFFFFFFF000ULL
                depth = 0
                allow = 6
                no_execute = 0
                continue
            reserved = high_reserved
            if level >= 2 and entry & 0x80:
                if level == 2:
                    reserved |= 0x1FE000
                elif level == 3 and c.features_pdpe1gb:
                    reserved |= 0x3FFFE000
                else:
                    reserved |= 0x80       # PS is reserved at this level
            if entry & reserved:
                return page_fault(c, i, linear, error | PF_P | PF_RSVD)
            allow &= entry
            no_execute |= entry >> 63
            table = entry & 0x000FFFFFFFFFF000ULL
            if level == 1:
                break
            if entry & 0x80:
                table &= ~<uint64_t>((1 << shift) - 1)
                break
            level -= 1
    shift = 12 if level == 1 else shift
    error = (error | PF_P) & ~<uint32_t>PF_HLAT
    # ---- access rights (4.6)
    if access == EXECUTE:
        if user:
            if not allow & 4:
                return page_fault(c, i, linear, error)
        elif allow & 4 and c.cr4 & CR4_SMEP:
            return page_fault(c, i, linear, error)
        if no_execute and nxe:
            return page_fault(c, i, linear, error)
    else:
        # a protection-key violation shows in the error code whatever else is wrong (4.7)
        if c.cr4 & (CR4_PKE if allow & 4 else CR4_PKS) and c.efer & EFER_LMA:
            key_rights = ((c.pkru if allow & 4 else c.pkrs) >> (((entry >> 59) & 15) * 2)) & 3
            if key_rights & 1 or (key_rights & 2 and access == WRITE and (user or wp)):
                error |= PF_PK
        if unlikely(shadow):
            if not is_shadow_stack(entries, depth, allow, user):
                return page_fault(c, i, linear, error)
        elif user:
            if not allow & 4 or (access == WRITE and not allow & 2):
                return page_fault(c, i, linear, error)
        else:
            if allow & 4 and c.cr4 & CR4_SMAP and (implicit or not c.rflags & FLAG_AC):
                return page_fault(c, i, linear, error)
            if access == WRITE and wp and not allow & 2:
                return page_fault(c, i, linear, error)
        if error & PF_PK:
            return page_fault(c, i, linear, error)
        # Without WP read-only pages and keys do not keep the supervisor from writing: setting it flushes what was so cached
        if access == WRITE and not wp and not user and (not allow & 2 or c.cr4 & (CR4_PKE if allow & 4 else CR4_PKS)):
            c.wp_overridden = 1
    # ---- accessed and dirty flags (4.8)
    if c.virt.second_level == SECOND_LEVEL_EPT:          # setting a flag takes write permission (SDM 3C 29.3.3.2)
        for k in range(depth):
            if (entries[k] & (0x60 if access == WRITE and k == depth - 1 else 0x20)
                    != (0x60 if access == WRITE and k == depth - 1 else 0x20)):
                if not translate_guest_physical(c, i, guest_address[k], WRITE, True, &address[k]):
                    return False
    for k in range(depth - 1):
        set_entry_flags(c, address[k], entries[k], 0x20, entry_size)
    set_entry_flags(c, address[depth - 1], entries[depth - 1], 0x60 if access == WRITE else 0x20, entry_size)
    physical[0] = table | (linear & ((<uint64_t>1 << shift) - 1))
    if shift > 12:
        note_large(c, linear, shift)
    flags[0] = PAGE_USER if allow & 4 else 0
    if access == WRITE:
        flags[0] |= PAGE_WRITABLE
    c.vmx.walk_page = ((allow >> 2 & 1) | (allow & 2) | (WALK_NO_EXECUTE if no_execute and nxe else 0)
                       | (WALK_SHADOW if shadow else 0))
    return final_address(c, i, access, physical)

cdef bint load_pdptes(Cpu* c, Insn* i, uint64_t cr3) noexcept nogil:
    """SDM 3A 4.4.1. Under nested paging the walk reads them itself."""
    if c.virt.second_level == SECOND_LEVEL_NPT:
        return True
    cdef uint64_t entries[4]
    cdef uint64_t address
    cdef int k
    cdef uint64_t reserved = (c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL) | 0xFFF00000000001E6ULL
    for k in range(4):
        address = (cr3 & 0xFFFFFFE0ULL) + 8 * k
        if c.virt.second_level == SECOND_LEVEL_EPT:
            c.vmx.walk_linear_valid = 0          # an access without a linear address
            if not translate_guest_physical(c, i, address, READ, False, &address):
                return False
        entries[k] = load_at(c, NULL, address, 8)
        if entries[k] & 1 and entries[k] & reserved:
            fault_code(c, i, V_GP, 0)
            return False
    for k in range(4):
        c.pdpte[k] = entries[k]
    return True
