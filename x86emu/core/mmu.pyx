# cython: language_level=3
"""Address translation and the slow side of every memory access (Intel SDM volume 3A, chapters 4, 5.11, 12; AMD APM 2, 5).

Handlers hit the software TLB inline (memory_access.pxd); all else comes here: filling, page crossings, MMIO, pages with
decoded code, data breakpoints, alignment checks and faults.  Permissions live in walk() alone.

Where the manual leaves a choice: accessed flags are set only when the walk succeeds (SDM 4.8 allows either; silicon does
not set them for an access that faults at a later level in a documented way).
"""
from libc.string cimport memset, memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.physical cimport backing_of
from x86emu.core.trace cimport holds_code, invalidate_code
from x86emu.core.interrupts cimport data_breakpoints
from x86emu.core.second_level cimport translate_guest_physical, second_level_new_generation
from x86emu.core.vmx cimport tertiary, TER_ENABLE_HLAT
from x86emu.core.vmx_apic cimport vmx_apic_access
from x86emu.core.avic cimport avic_store

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL
cdef enum:
    READ = 0
    WRITE = 1
    EXECUTE = 2
    # who asks
    AS_CPL = 0               # an explicit access at the current CPL
    AS_SYSTEM = 1            # an implicit supervisor access (descriptor tables, TSS)
    AS_USER = 2
    AS_SUPERVISOR = 3
    # what a translation says
    PAGE_WRITABLE = 1        # a write TLB entry may be made (permission and dirty flag)
    PAGE_USER = 2
    NEVER_KEY = 0xFFF
    # Keys come in groups of six: user, supervisor, supervisor with AC under SMAP; then the same for write entries of
    # pages that hold decoded code, which the inline compare never matches.
    CODE_KEY = 3
    KEYS_IN_GROUP = 6
    # page-fault error code (SDM 3A 4.7)
    PF_P = 1
    PF_W = 2
    PF_U = 4
    PF_RSVD = 8
    PF_I = 16
    PF_PK = 32
    PF_HLAT = 128
    HLAT_RESTART = 0x800         # bit 11 of an entry met by HLAT paging (4.5.1)
    # Vmx.walk_page: what the guest's paging says of a final address (SDM 3C table 28-7)
    WALK_USER = 1
    WALK_WRITABLE = 2
    WALK_NO_EXECUTE = 4


# ---------------------------------------------------------------- physical accesses

cdef uint64_t bus_load(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil:
    cdef uint64_t v
    c.current = i
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_read != NULL:
        v = c.signals.apic_read(c.signals.controller, <uint32_t>(physical & 0xFFF), size)
    elif c.board.mmio_read != NULL:
        v = c.board.mmio_read(c.board.mmio, physical, size)
    else:
        v = NOTHING
    c.current = NULL
    if size < 8:
        v &= (<uint64_t>1 << (size * 8)) - 1
    return v

cdef void bus_store(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    c.current = i
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_write != NULL:
        c.signals.apic_write(c.signals.controller, <uint32_t>(physical & 0xFFF), size, value)
    elif c.board.mmio_write != NULL:
        c.board.mmio_write(c.board.mmio, physical, size, value)
    c.current = NULL

cdef inline uint64_t backing(Cpu* c, uint64_t physical, bint write) noexcept nogil:
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_read != NULL:
        return NOTHING
    return backing_of(&c.shared.memory, physical, write, c.in_smm)

cdef uint64_t load_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil:
    """Within one page."""
    cdef uint64_t offset = backing(c, physical, 0)
    cdef uint8_t* p
    if offset == NOTHING:
        return bus_load(c, i, physical, size)
    p = c.shared.memory.backing + offset
    if size == 1:
        return p[0]
    if size == 2:
        return (<uint16_t*>p)[0]
    if size == 4:
        return (<uint32_t*>p)[0]
    if size == 8:
        return (<uint64_t*>p)[0]
    cdef uint64_t v = 0
    memcpy(&v, p, size)
    return v

cdef inline uint64_t load_entry(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil:
    """A paging-structure entry: nearly always in the RAM above 1 MiB, the first of the ranges."""
    cdef MapRange* r = &c.shared.memory.ranges[0]
    cdef uint8_t* p
    if likely(physical >= r.start and physical >= 0x100000 and physical + 8 <= r.end
              and r.read_offset != 0xFFFFFFFFFFFFFFFFULL):
        p = c.shared.memory.backing + r.read_offset + (physical - r.start)
        return (<uint64_t*>p)[0] if size == 8 else (<uint32_t*>p)[0]
    return load_at(c, NULL, physical, size)

cdef void store_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    """Within one page."""
    cdef uint64_t offset = backing(c, physical, 1)
    if offset == NOTHING:
        bus_store(c, i, physical, size, value)
        return
    memcpy(c.shared.memory.backing + offset, &value, size)
    if holds_code(&c.shared.memory, offset, size):
        invalidate_code(c.shared, offset, size)

cdef uint64_t physical_load(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil:
    return load_at(c, NULL, physical, size)

cdef void physical_store(Cpu* c, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    store_at(c, NULL, physical, size, value)


# ---------------------------------------------------------------- the walk

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

cdef bint walk(Cpu* c, Insn* i, uint64_t linear, int access, bint user, bint implicit,
               uint64_t* physical, uint32_t* flags) noexcept nogil:
    """SDM 3A 4.3 to 4.7. False with #PF raised; otherwise the physical address and PAGE_ flags."""
    cdef uint64_t entry, table, reserved, high_reserved
    cdef uint64_t address[5]
    cdef uint64_t entries[5]
    cdef uint64_t guest_address[5]
    cdef int level, shift, depth = 0, k
    cdef bint nxe = (c.efer & EFER_NXE) != 0
    cdef bint wp = (c.cr0 & CR0_WP) != 0
    cdef uint64_t allow = 0x6          # R/W and U/S of every level, ANDed
    cdef uint64_t no_execute = 0
    cdef uint32_t error = (PF_W if access == WRITE else 0) | (PF_U if user else 0)
    cdef uint32_t entry_size = 8
    cdef uint32_t key_rights
    cdef bint hlat = False
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
        if c.cr4 & CR4_PKE and allow & 4 and c.efer & EFER_LMA:
            key_rights = (c.pkru >> (((entry >> 59) & 15) * 2)) & 3
            if key_rights & 1 or (key_rights & 2 and access == WRITE and (user or wp)):
                error |= PF_PK
        if user:
            if not allow & 4 or (access == WRITE and not allow & 2):
                return page_fault(c, i, linear, error)
        else:
            if allow & 4 and c.cr4 & CR4_SMAP and (implicit or not c.rflags & FLAG_AC):
                return page_fault(c, i, linear, error)
            if access == WRITE and wp and not allow & 2:
                return page_fault(c, i, linear, error)
        if error & PF_PK:
            return page_fault(c, i, linear, error)
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
    c.vmx.walk_page = (allow >> 2 & 1) | (allow & 2) | (WALK_NO_EXECUTE if no_execute and nxe else 0)
    return final_address(c, i, access, physical)

cdef inline bint is_user(Cpu* c, int who) noexcept nogil:
    if who == AS_CPL:
        return c.cpl == 3
    return who == AS_USER

cdef inline bint is_canonical(Cpu* c, uint64_t address) noexcept nogil:
    cdef int bits = 57 if c.cr4 & CR4_LA57 else 48
    cdef int64_t top = <int64_t>address >> (bits - 1)
    return top == 0 or top == -1

cdef bint canonical(Cpu* c, uint64_t address) noexcept nogil:
    return is_canonical(c, address)

cdef inline bint watched(Cpu* c, uint64_t linear) noexcept nogil:
    cdef int n
    if not c.dr[7] & 0xFF:
        return False
    for n in range(4):
        if (c.dr[7] >> (n * 2)) & 3 and (c.dr[7] >> (16 + n * 4)) & 1 and (c.dr[n] ^ linear) >> 12 == 0:
            return True
    return False

cdef bint resolve(Cpu* c, Insn* i, uint64_t linear, int access, int who, uint64_t* physical) noexcept nogil:
    """Linear to physical for a data access within one page, with all faults; fills the TLB."""
    cdef uint32_t flags
    cdef TlbEntry* t
    cdef uint64_t key, offset, page = linear & 0xFFFFFFFFFFFFF000ULL
    cdef bint user = is_user(c, who)
    if not walk(c, i, linear, access, user, who == AS_SYSTEM, physical, &flags):
        return False
    if c.signals.a20_masked:
        physical[0] &= ~<uint64_t>0x100000
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        if (physical[0] & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access:
            return vmx_apic_access(c, i, linear, access, physical)
        if c.vmx.uncached:
            c.vmx.uncached = 0
            return True
    if unlikely(c.svm.avic_store):
        if access == READ:
            c.svm.avic_store = 0
        return True              # the virtual APIC's page is never in the TLB
    if who == AS_SYSTEM and flags & PAGE_USER and c.cr4 & CR4_SMAP:
        return True
    if user:
        key = c.key_user
    elif flags & PAGE_USER and c.cr4 & CR4_SMAP:
        key = c.key_super_ac
    else:
        key = c.key_super
    if watched(c, linear):
        return True
    offset = backing(c, physical[0], access == WRITE)
    if offset == NOTHING:
        return True
    if access == WRITE:
        if c.shared.memory.code_mask[offset >> 12]:
            key += CODE_KEY
        t = &c.tlb_write[(linear >> PAGE_SHIFT) & TLB_MASK]
    else:
        t = &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK]
    t.tag = page | key
    t.addend = <uint64_t>(c.shared.memory.backing + offset) - linear
    return True

cdef bint check_linear(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    """Canonical form (#SS(0) for stack references, #GP(0) otherwise) and, where it is on, alignment (#AC(0))."""
    if c.efer & EFER_LMA and (c.mode & MODE_CODE) == MODE_CODE64:
        if not is_canonical(c, ea) or not is_canonical(c, ea + size - 1):
            fault_code(c, i, V_SS if i != NULL and i.seg == SS else V_GP, 0)
            return False
    return True

cdef bint check_alignment(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    if c.tlb_key == NEVER_KEY and ea & (size - 1) and size <= 8 and (size & (size - 1)) == 0:
        fault_code(c, i, V_AC, 0)
        return False
    return True

cdef uint8_t* second_chance(Cpu* c, uint64_t ea, uint32_t size, bint write) noexcept nogil:
    """User pages that supervisor code may touch (SMAP with AC set), and alignment-checked accesses, hit here."""
    cdef TlbEntry* t = (&c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK] if write
                        else &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK])
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | c.real_key) or (c.cpl != 3 and c.rflags & FLAG_AC and t.tag == (page | c.key_super_ac)):
        return <uint8_t*>(t.addend + ea)
    return NULL

cdef inline uint64_t beyond(Cpu* c, uint64_t ea, uint64_t n) noexcept nogil:
    """ea + n, wrapping as the mode's data addresses do; system structures lie above 4 GiB in compatibility mode too."""
    return ea + n if ea >> 32 else (ea + n) & c.ea_mask

cdef inline uint64_t system_linear(Cpu* c, uint64_t linear) noexcept nogil:
    """Descriptor tables and the TSS have 64-bit addresses in all of IA-32e mode."""
    return linear if c.efer & EFER_LMA else linear & 0xFFFFFFFFULL

cdef inline uint64_t load_host(uint8_t* p, uint32_t size) noexcept nogil:
    cdef uint64_t v = 0
    if size == 8:
        return (<uint64_t*>p)[0]
    if size == 4:
        return (<uint32_t*>p)[0]
    if size == 2:
        return (<uint16_t*>p)[0]
    if size == 1:
        return p[0]
    memcpy(&v, p, size)
    return v

cdef inline uint64_t key_of(Cpu* c, int who) noexcept nogil:
    if who == AS_CPL:
        return c.real_key
    return c.key_user if who == AS_USER else c.key_super

cdef bint load_who(Cpu* c, Insn* i, uint64_t ea, uint32_t size, uint64_t* value, int who, int access) noexcept nogil:
    """Loads size (1 to 8) bytes; access WRITE asks for write permission as well (read-modify-write)."""
    cdef uint64_t physical, second
    cdef uint32_t first
    cdef uint64_t low
    cdef TlbEntry* t = (&c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK] if access == WRITE
                        else &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK])
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | key_of(c, who)) or (access == WRITE and t.tag == (page | (key_of(c, who) + CODE_KEY))):
        value[0] = load_host(<uint8_t*>(t.addend + ea), size)
        return True
    if not check_linear(c, i, ea, size):
        return False
    c.vmx.access_size = size
    first = 4096 - <uint32_t>(ea & 0xFFF)
    if first >= size:
        if not resolve(c, i, ea, access, who, &physical):
            return False
        value[0] = load_at(c, i, physical, size)
    else:
        if not resolve(c, i, ea, access, who, &physical):
            return False
        if not resolve(c, i, beyond(c, ea, first), access, who, &second):
            return False
        low = load_bytes_at(c, i, physical, first)
        value[0] = low | (load_bytes_at(c, i, second, size - first) << (first * 8))
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, size, False)
    return True

cdef uint64_t load_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n) noexcept nogil:
    cdef uint64_t v = 0
    cdef uint32_t k
    if backing(c, physical, 0) != NOTHING:
        return load_at(c, i, physical, n)
    for k in range(n):
        v |= bus_load(c, i, physical + k, 1) << (8 * k)
    return v

cdef void store_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n, uint64_t value) noexcept nogil:
    cdef uint32_t k
    if backing(c, physical, 1) != NOTHING:
        store_at(c, i, physical, n, value)
        return
    for k in range(n):
        bus_store(c, i, physical + k, 1, (value >> (8 * k)) & 0xFF)

cdef void store_beside_code(Cpu* c, TlbEntry* t, uint64_t ea, uint32_t size, uint64_t value) noexcept nogil:
    """A store to a page with decoded code, by its cached translation. A page whose code is all gone becomes plain again,
    but only after a while: code that is rewritten over and over would pay for the change each time."""
    cdef Memory* m = &c.shared.memory
    cdef uint64_t offset = t.addend + ea - <uint64_t>m.backing
    if size == 4:
        (<uint32_t*>(m.backing + offset))[0] = <uint32_t>value
    elif size == 8:
        (<uint64_t*>(m.backing + offset))[0] = value
    else:
        memcpy(m.backing + offset, &value, size)
    if unlikely(holds_code(m, offset, size)):
        invalidate_code(c.shared, offset, size)
    if m.page_traces[offset >> 12] == NULL:
        c.shared.quiet_stores += 1
        if c.shared.quiet_stores & 63 == 0:
            m.code_mask[offset >> 12] = 0
            t.tag = 0

cdef bint store_who(Cpu* c, Insn* i, uint64_t ea, uint32_t size, uint64_t value, int who) noexcept nogil:
    cdef uint64_t physical, second
    cdef uint32_t first
    cdef TlbEntry* t = &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]
    cdef uint64_t page = (ea + size - 1) & 0xFFFFFFFFFFFFF000ULL
    if t.tag == (page | key_of(c, who)):
        memcpy(<uint8_t*>(t.addend + ea), &value, size)
        return True
    if t.tag == (page | (key_of(c, who) + CODE_KEY)):
        store_beside_code(c, t, ea, size, value)
        return True
    if not check_linear(c, i, ea, size):
        return False
    c.vmx.access_size = size
    first = 4096 - <uint32_t>(ea & 0xFFF)
    c.svm.avic_store = 0         # of a read-modify-write instruction's load
    if not resolve(c, i, ea, WRITE, who, &physical):
        return False
    if unlikely(c.svm.avic_store):
        return avic_store(c, i, physical, size, value)
    if first >= size:
        store_at(c, i, physical, size, value)
    else:
        if not resolve(c, i, beyond(c, ea, first), WRITE, who, &second):
            return False
        store_bytes_at(c, i, physical, first, value)
        store_bytes_at(c, i, second, size - first, value >> (first * 8))
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, size, True)
    return True


cdef bint slow_load(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 0)
    if p != NULL:
        c.mtmp = load_host(p, size)
        return True
    return load_who(c, i, ea, size, &c.mtmp, AS_CPL, READ)

cdef bint slow_rmw(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 1)
    if p != NULL:
        c.mtmp = load_host(p, size)
        return True
    return load_who(c, i, ea, size, &c.mtmp, AS_CPL, WRITE)

cdef bint slow_store(Cpu* c, Insn* i, uint64_t ea, uint64_t value, uint32_t size) noexcept nogil:
    cdef uint8_t* p
    if not check_alignment(c, i, ea, size):
        return False
    p = second_chance(c, ea, size, 1)
    if p != NULL:
        memcpy(p, &value, size)
        return True
    return store_who(c, i, ea, size, value, AS_CPL)

cdef bint probe_who(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write, int who) noexcept nogil:
    cdef uint64_t physical, at = ea, end = ea + n
    cdef TlbEntry* t = (&c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK] if write
                        else &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK])
    if n == 0 or t.tag == (((ea + n - 1) & 0xFFFFFFFFFFFFF000ULL) | key_of(c, who)):
        return True
    if not check_linear(c, i, ea, n):
        return False
    c.vmx.access_size = n
    while at < end:
        if not resolve(c, i, beyond(c, ea, at - ea), WRITE if write else READ, who, &physical):
            return False
        at = (at | 0xFFF) + 1
        if at == 0:
            return True
    return True

cdef bint slow_probe(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write) noexcept nogil:
    return probe_who(c, i, ea, n, write, AS_CPL)

cdef bint slow_bytes(Cpu* c, Insn* i, uint64_t ea, uint8_t* buffer, uint32_t n, bint write) noexcept nogil:
    cdef uint64_t physical[3]
    cdef uint32_t lengths[3]
    cdef int parts = 0, k
    cdef uint32_t done = 0, chunk, j
    cdef uint64_t offset
    if not check_linear(c, i, ea, n):
        return False
    c.vmx.access_size = n
    while done < n and parts < 3:
        chunk = 4096 - <uint32_t>((ea + done) & 0xFFF)
        if chunk > n - done:
            chunk = n - done
        if not resolve(c, i, (ea + done) & c.ea_mask, WRITE if write else READ, AS_CPL, &physical[parts]):
            return False
        lengths[parts] = chunk
        parts += 1
        done += chunk
    done = 0
    for k in range(parts):
        offset = backing(c, physical[k], write)
        if offset == NOTHING:
            for j in range(lengths[k]):
                if write:
                    bus_store(c, i, physical[k] + j, 1, buffer[done + j])
                else:
                    buffer[done + j] = <uint8_t>bus_load(c, i, physical[k] + j, 1)
        elif write:
            memcpy(c.shared.memory.backing + offset, buffer + done, lengths[k])
            if c.shared.memory.code_mask[offset >> 12]:
                invalidate_code(c.shared, offset, lengths[k])
        else:
            memcpy(buffer + done, c.shared.memory.backing + offset, lengths[k])
        done += lengths[k]
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, ea, n, write)
    return True

cdef uint8_t* host_pointer(Cpu* c, uint64_t ea, uint32_t n, bint write) noexcept nogil:
    if c.tlb_key == NEVER_KEY or (ea & 0xFFF) + n > 4096:
        return NULL
    return second_chance(c, ea, n, write)

cdef bint system_load(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value) noexcept nogil:
    linear = system_linear(c, linear)
    cdef TlbEntry* t = &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((linear + size - 1) & 0xFFFFFFFFFFFFF000ULL) | c.key_super)):
        value[0] = load_host(<uint8_t*>(t.addend + linear), size)
        return True
    return load_who(c, i, linear, size, value, AS_SYSTEM, READ)

cdef bint system_store(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value) noexcept nogil:
    return store_who(c, i, system_linear(c, linear), size, value, AS_SYSTEM)

cdef bint system_probe(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write) noexcept nogil:
    return probe_who(c, i, system_linear(c, linear), n, write, AS_SYSTEM)

cdef bint load_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value, int cpl) noexcept nogil:
    return load_who(c, i, linear, size, value, AS_USER if cpl == 3 else AS_SUPERVISOR, READ)

cdef bint store_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value, int cpl) noexcept nogil:
    return store_who(c, i, linear, size, value, AS_USER if cpl == 3 else AS_SUPERVISOR)

cdef bint probe_as(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil:
    return probe_who(c, i, linear, n, write, AS_USER if cpl == 3 else AS_SUPERVISOR)

cdef bint translate_code(Cpu* c, uint64_t linear, uint64_t* physical) noexcept nogil:
    """For instruction fetch: fills the execute TLB where memory backs the page; faults are raised outside any trace."""
    cdef uint32_t flags
    cdef uint64_t offset
    cdef TlbEntry* t
    if c.efer & EFER_LMA and (c.mode & MODE_CODE) == MODE_CODE64 and not is_canonical(c, linear):
        fault_code(c, NULL, V_GP, 0)
        return False
    if not walk(c, NULL, linear, EXECUTE, c.cpl == 3, False, physical, &flags):
        return False
    if c.signals.a20_masked:
        physical[0] &= ~<uint64_t>0x100000
    if unlikely(c.virt.guest_mode == GUEST_VMX and (physical[0] & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access):
        return vmx_apic_access(c, NULL, linear, EXECUTE, physical)
    offset = backing(c, physical[0], 0)
    if offset != NOTHING:
        t = exec_entry(c, linear)
        t.tag = (linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key
        t.addend = offset - linear
    return True

cdef uint8_t fetch_byte(Cpu* c, uint64_t physical) noexcept nogil:
    return <uint8_t>load_at(c, NULL, physical, 1)


# ---------------------------------------------------------------- TLB control

# Every linear address space has three keys: user, supervisor, and supervisor with user pages it may touch.  Host address
# spaces are found by PCID; a guest's by its tag (ASID or VPID), second-level root and PCID, so that a world switch
# flushes nothing.

cdef uint32_t new_keys(Cpu* c) noexcept nogil:
    cdef uint32_t key
    if c.next_key > 0xFF0:
        memset(c.tlb_read, 0, sizeof(c.tlb_read))
        memset(c.tlb_write, 0, sizeof(c.tlb_write))
        memset(c.tlb_exec, 0, sizeof(c.tlb_exec))
        memset(c.pcid_key, 0, sizeof(c.pcid_key))
        memset(c.virt.address_spaces, 0, sizeof(c.virt.address_spaces))
        memset(c.large_filter, 0, sizeof(c.large_filter))
        memset(c.huge_filter, 0, sizeof(c.huge_filter))
        c.next_key = 1
    key = c.next_key
    c.next_key += KEYS_IN_GROUP
    return key

cdef inline uint32_t current_pcid(Cpu* c) noexcept nogil:
    return <uint32_t>(c.cr3 & 0xFFF) if c.cr4 & CR4_PCIDE else 0

cdef uint32_t guest_keys(Cpu* c, uint32_t pcid) noexcept nogil:
    """The keys of the guest's address space; a row of the table is taken over in turn where none is free."""
    cdef AddressSpace* space
    cdef int k, free = -1
    for k in range(N_ADDRESS_SPACES):
        space = &c.virt.address_spaces[k]
        if space.key == 0:
            if free < 0:
                free = k
        elif space.tag == c.virt.tag and space.pcid == pcid and space.root == c.virt.second_level_root:
            return space.key
    if free < 0:
        free = <int>c.virt.next_address_space
        c.virt.next_address_space = (c.virt.next_address_space + 1) % N_ADDRESS_SPACES
    cdef uint32_t key = new_keys(c)
    space = &c.virt.address_spaces[free]
    space.root = c.virt.second_level_root
    space.tag = c.virt.tag
    space.pcid = pcid
    space.key = key
    return key

cdef void take_keys(Cpu* c) noexcept nogil:
    cdef uint32_t pcid = current_pcid(c)
    cdef uint32_t key
    if unlikely(c.virt.guest_mode != GUEST_NONE):
        key = guest_keys(c, pcid)
    else:
        key = c.pcid_key[pcid]
        if key == 0:
            key = new_keys(c)
            c.pcid_key[pcid] = <uint16_t>key
    c.key_user = <uint16_t>key
    c.key_super = c.key_user + 1
    c.key_super_ac = c.key_user + 2
    refresh_key(c)

cdef void tlb_take_keys(Cpu* c) noexcept nogil:
    take_keys(c)

cdef void tlb_forget_tag(Cpu* c, uint32_t tag) noexcept nogil:
    cdef int k
    for k in range(N_ADDRESS_SPACES):
        if c.virt.address_spaces[k].tag == tag:
            c.virt.address_spaces[k].key = 0
    if c.virt.last_tag == tag:
        c.virt.last_tag = 0              # the second-level cache starts anew, too

cdef void forget_pcid(Cpu* c, uint32_t pcid) noexcept nogil:
    cdef int k
    if c.virt.guest_mode == GUEST_NONE:
        c.pcid_key[pcid] = 0
        return
    for k in range(N_ADDRESS_SPACES):
        if c.virt.address_spaces[k].tag == c.virt.tag and c.virt.address_spaces[k].pcid == pcid:
            c.virt.address_spaces[k].key = 0

cdef void refresh_key(Cpu* c) noexcept nogil:
    c.real_key = c.key_user if c.cpl == 3 else c.key_super
    c.tlb_key = c.real_key
    if c.cpl == 3 and c.cr0 & CR0_AM and c.rflags & FLAG_AC:
        c.tlb_key = NEVER_KEY

cdef void tlb_flush_everything(Cpu* c) noexcept nogil:
    if c.next_key == 0:
        c.next_key = 0xFFF
    memset(c.pcid_key, 0, sizeof(c.pcid_key))
    memset(c.virt.address_spaces, 0, sizeof(c.virt.address_spaces))
    c.virt.last_tag = 0
    memset(c.large_filter, 0, sizeof(c.large_filter))
    memset(c.huge_filter, 0, sizeof(c.huge_filter))
    second_level_new_generation(c)
    take_keys(c)

cdef void tlb_flush_all(Cpu* c) noexcept nogil:
    cdef int k
    if c.virt.guest_mode == GUEST_NONE:
        tlb_flush_everything(c)
        return
    for k in range(N_ADDRESS_SPACES):    # a guest flushes what carries its own tag
        if c.virt.address_spaces[k].tag == c.virt.tag:
            c.virt.address_spaces[k].key = 0
    take_keys(c)

cdef void tlb_new_address_space(Cpu* c) noexcept nogil:
    forget_pcid(c, current_pcid(c))
    take_keys(c)

cdef void tlb_switch_address_space(Cpu* c) noexcept nogil:
    take_keys(c)

cdef void tlb_flush_pcid(Cpu* c, uint32_t pcid) noexcept nogil:
    forget_pcid(c, pcid)
    take_keys(c)

cdef void tlb_flush_page(Cpu* c, uint64_t linear) noexcept nogil:
    cdef uint64_t frame = linear >> 21, huge = linear >> 30
    cdef uint64_t n = (linear >> PAGE_SHIFT) & TLB_MASK
    frame = (frame ^ (frame >> 12)) & 4095
    huge = (huge ^ (huge >> 12)) & 4095
    if (c.large_filter[frame >> 6] >> (frame & 63)) & 1 or (c.huge_filter[huge >> 6] >> (huge & 63)) & 1:
        tlb_flush_all(c)
        return
    c.tlb_read[n].tag = 0
    c.tlb_write[n].tag = 0
    c.tlb_exec[n].tag = 0
    c.tlb_exec[n ^ (TLB_SIZE / 2)].tag = 0          # user mode and supervisor mode: exec_entry()

cdef void drop_write_entries(Cpu* c, uint64_t backing_offset) noexcept nogil:
    """A page has got its first decoded code: stores to it must go the slow way from now on."""
    cdef uint64_t page = <uint64_t>(c.shared.memory.backing + (backing_offset & ~<uint64_t>0xFFF))
    cdef int k
    for k in range(TLB_SIZE):
        if c.tlb_write[k].tag and ((c.tlb_write[k].addend + (c.tlb_write[k].tag & 0xFFFFFFFFFFFFF000ULL)) == page):
            c.tlb_write[k].tag = 0

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


# ---------------------------------------------------------------- derived state

cdef void refresh_segment(Cpu* c, int n) noexcept nogil:
    cdef Segment* s = &c.seg[n]
    cdef uint32_t a = s.attributes
    s.access = 0
    s.low = 0
    s.high = s.limit
    if n == FS:
        c.r[REG_FS_BASE] = s.base
    elif n == GS:
        c.r[REG_GS_BASE] = s.base
    if a & ATTR_UNUSABLE or not a & ATTR_P:
        return
    if not c.cr0 & CR0_PE or c.rflags & FLAG_VM:
        s.access = ACCESS_READ | ACCESS_WRITE | ACCESS_EXECUTE
    elif a & ATTR_S:
        if a & ATTR_CODE:
            s.access = ACCESS_EXECUTE | (ACCESS_READ if a & ATTR_WRITABLE else 0)
        else:
            s.access = ACCESS_READ | (ACCESS_WRITE if a & ATTR_WRITABLE else 0)
    if a & ATTR_S and not a & ATTR_CODE and a & ATTR_EXPAND_DOWN:
        s.low = <uint64_t>s.limit + 1
        s.high = 0xFFFFFFFFULL if a & ATTR_DB else 0xFFFF

cdef inline bint flat(Segment* s) noexcept nogil:
    if s.base != 0 or s.limit != 0xFFFFFFFFU or s.low != 0:
        return False
    return (s.access & (ACCESS_READ | ACCESS_WRITE)) == (ACCESS_READ | ACCESS_WRITE)

cdef inline void refresh_stack(Cpu* c) noexcept nogil:
    """What pushes and pops need of SS outside 64-bit mode."""
    cdef Segment* s = &c.seg[SS]
    c.stack_base = s.base
    c.stack_limit = 0
    if (s.low == 0 and s.high >= 8 and s.base + s.high <= 0xFFFFFFFFULL
            and (s.access & (ACCESS_READ | ACCESS_WRITE)) == (ACCESS_READ | ACCESS_WRITE)):
        c.stack_limit = s.high - 6

cdef void refresh_mode(Cpu* c) noexcept nogil:
    cdef uint32_t mode
    cdef int n
    if c.efer & EFER_LMA and c.seg[CS].attributes & ATTR_L:
        # limits and rights do not count here; they are derived again when 64-bit mode is left
        c.r[REG_FS_BASE] = c.seg[FS].base
        c.r[REG_GS_BASE] = c.seg[GS].base
        mode = MODE_CODE64 | MODE_FLAT | MODE_STACK32
        c.ea_mask = 0xFFFFFFFFFFFFFFFFULL
        c.sp_mask = 0xFFFFFFFFFFFFFFFFULL
        c.stack_base = 0
        c.stack_limit = 0xFFFFFFFFFFFFFFFFULL
        c.cs_base = 0
        c.cs_high = 0xFFFFFFFFFFFFFFFFULL
    else:
        for n in range(6):
            refresh_segment(c, n)
        c.cs_base = c.seg[CS].base
        c.cs_high = c.seg[CS].high
        mode = MODE_CODE32 if c.seg[CS].attributes & ATTR_DB else MODE_CODE16
        c.ea_mask = 0xFFFFFFFFULL
        if c.seg[SS].attributes & ATTR_DB:
            mode |= MODE_STACK32
            c.sp_mask = 0xFFFFFFFFULL
        else:
            c.sp_mask = 0xFFFFULL
        refresh_stack(c)
        if flat(&c.seg[ES]) and flat(&c.seg[SS]) and flat(&c.seg[DS]):
            mode |= MODE_FLAT
        if c.cs_high != 0xFFFFFFFFULL:
            mode |= MODE_CODE_CHECKED
    if c.cr0 & CR0_PE:
        mode |= MODE_PROTECTED
        if c.rflags & FLAG_VM:
            mode |= MODE_V86
    if c.efer & EFER_LMA:
        mode |= MODE_LONG
    if c.cr0 & CR0_EM:
        mode |= MODE_EM
    if c.cr0 & CR0_TS:
        mode |= MODE_TS
    if c.cr4 & CR4_OSFXSR:
        mode |= MODE_SSE
    if c.cr4 & CR4_OSXSAVE and (c.xcr0 & 6) == 6:
        mode |= MODE_AVX
    if c.virt.guest_mode != GUEST_NONE:
        mode |= MODE_GUEST
    c.mode = mode | (c.mode & MODE_HOOKED)
    refresh_key(c)

cdef void refresh_transfer(Cpu* c) noexcept nogil:
    if (c.mode & MODE_CODE) == MODE_CODE64 and c.efer & EFER_LMA and c.seg[CS].attributes & ATTR_L:
        refresh_key(c)           # from 64-bit mode to 64-bit mode: nothing else depends on what changed
    else:
        refresh_mode(c)

cdef void refresh_code_base(Cpu* c) noexcept nogil:
    if (c.mode & MODE_CODE) != (MODE_CODE32 if c.seg[CS].attributes & ATTR_DB else MODE_CODE16):
        refresh_mode(c)
        return
    c.cs_base = c.seg[CS].base
    c.cs_high = c.seg[CS].high
    c.mode = c.mode & ~<uint32_t>MODE_CODE_CHECKED | (MODE_CODE_CHECKED if c.cs_high != 0xFFFFFFFFULL else 0)
    refresh_key(c)

cdef void refresh_data_segment(Cpu* c, int seg) noexcept nogil:
    if seg == SS:
        refresh_mode(c)
    elif seg < FS and (c.mode & MODE_CODE) != MODE_CODE64:
        c.mode &= ~<uint32_t>MODE_FLAT
        if flat(&c.seg[ES]) and flat(&c.seg[SS]) and flat(&c.seg[DS]):
            c.mode |= MODE_FLAT

cdef uint8_t* frame_pointer(Cpu* c, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil:
    cdef TlbEntry* t = (&c.tlb_write[(linear >> PAGE_SHIFT) & TLB_MASK] if write
                        else &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK])
    if t.tag == (((linear + n - 1) & 0xFFFFFFFFFFFFF000ULL) | (c.key_user if cpl == 3 else c.key_super)):
        return <uint8_t*>(t.addend + linear)
    return NULL
