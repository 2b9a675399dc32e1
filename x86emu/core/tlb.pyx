# cython: language_level=3
"""The software TLB's keys and what flushes them (Intel SDM volume 3A, 4.10.4; 3C, 28.4 for VPIDs; AMD APM volume 2, 15.16 for
ASIDs).

Every linear address space has three keys: user, supervisor, and supervisor with user pages it may touch. Host address
spaces are found by PCID; a guest's by its tag (ASID or VPID), second-level root and PCID, so that a world switch flushes
nothing. To flush a space is to give it new keys.
"""
from libc.string cimport memset
from libc.stdint cimport uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.second_level cimport second_level_new_generation

cdef void forget_fetches(Cpu* c) noexcept nogil:
    """What indirect branches remember of translations holds no more."""
    c.fetch_epoch += <uint64_t>1 << EPOCH_SHIFT
    if c.fetch_epoch == 0:               # come around: what the first epochs left must not hold again
        memset(c.jump_cache, 0, sizeof(c.jump_cache))
        memset(c.slot_cache, 0, sizeof(c.slot_cache))
    set_mode(c, c.mode)

cdef uint32_t new_keys(Cpu* c) noexcept nogil:
    cdef uint32_t key
    if c.next_key > 0xFF0:
        memset(c.tlb_read, 0, sizeof(c.tlb_read))
        memset(c.tlb_write, 0, sizeof(c.tlb_write))
        memset(c.tlb_exec, 0, sizeof(c.tlb_exec))
        memset(c.victim_read, 0, sizeof(c.victim_read))
        memset(c.victim_write, 0, sizeof(c.victim_write))
        memset(c.pcid_key, 0, sizeof(c.pcid_key))
        memset(c.virt.address_spaces, 0, sizeof(c.virt.address_spaces))
        memset(c.large_filter, 0, sizeof(c.large_filter))
        memset(c.huge_filter, 0, sizeof(c.huge_filter))
        c.next_key = 1
        forget_fetches(c)
    key = c.next_key
    c.next_key += KEYS_WITH_SHADOW if c.features[<int>FEATURE_CET_SS] else KEYS_IN_GROUP
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

cdef void tlb_forget_host(Cpu* c) noexcept nogil:
    if c.pcids_used:
        memset(c.pcid_key, 0, sizeof(c.pcid_key))
        c.pcids_used = 0
    c.pcid_key[0] = 0

cdef void forget_everything(Cpu* c) noexcept nogil:
    tlb_forget_host(c)
    memset(c.virt.address_spaces, 0, sizeof(c.virt.address_spaces))
    c.virt.last_tag = 0
    c.wp_overridden = 0

cdef void tlb_take_keys(Cpu* c) noexcept nogil:
    cdef uint32_t pcid = current_pcid(c)
    cdef uint32_t key
    if unlikely(c.wp_overridden) and c.cr0 & CR0_WP:     # a world switch may have set WP as well
        forget_everything(c)
    if unlikely(c.virt.guest_mode != GUEST_NONE):
        key = guest_keys(c, pcid)
    else:
        key = c.pcid_key[pcid]
        if key == 0:
            key = new_keys(c)
            c.pcid_key[pcid] = <uint16_t>key
            if pcid:
                c.pcids_used = 1
    c.key_user = <uint16_t>key
    c.key_super = c.key_user + 1
    c.key_super_ac = c.key_user + 2
    refresh_key(c)

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
    set_mode(c, c.mode)
    c.exec_half = (c.real_key & 1) * (EXEC_TLB_SIZE // 2)
    c.tlb_key = c.real_key
    if c.cpl == 3 and c.cr0 & CR0_AM and c.rflags & FLAG_AC:
        c.tlb_key = NEVER_KEY

cdef void tlb_flush_everything(Cpu* c) noexcept nogil:
    # The filters of large pages stay: a bit too many only makes an INVLPG flush more, and new_keys() clears them.
    if c.next_key == 0:
        c.next_key = 0xFFF
    forget_everything(c)
    second_level_new_generation(c)
    tlb_take_keys(c)

cdef void switch_pkrs(Cpu* c, uint32_t rights) noexcept nogil:
    if c.pkrs != rights:                 # the old one's are in every space's entries
        c.pkrs = rights
        tlb_flush_everything(c)

cdef void tlb_flush_all(Cpu* c) noexcept nogil:
    cdef int k
    if c.virt.guest_mode == GUEST_NONE:
        tlb_flush_everything(c)
        return
    for k in range(N_ADDRESS_SPACES):    # a guest flushes what carries its own tag
        if c.virt.address_spaces[k].tag == c.virt.tag:
            c.virt.address_spaces[k].key = 0
    tlb_take_keys(c)

cdef void tlb_new_address_space(Cpu* c) noexcept nogil:
    forget_pcid(c, current_pcid(c))
    tlb_take_keys(c)

cdef void tlb_flush_pcid(Cpu* c, uint32_t pcid) noexcept nogil:
    forget_pcid(c, pcid)
    tlb_take_keys(c)

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
    c.victim_read[n & VICTIM_MASK].tag = 0
    c.victim_write[n & VICTIM_MASK].tag = 0
    n = (linear >> PAGE_SHIFT) & (EXEC_TLB_SIZE - 1)
    c.tlb_exec[n].tag = 0
    c.tlb_exec[n ^ (EXEC_TLB_SIZE // 2)].tag = 0          # user mode and supervisor mode: exec_entry()
    forget_fetches(c)

cdef void drop_write_entries(Cpu* c, uint64_t backing_offset) noexcept nogil:
    """A page has got its first decoded code: stores to it must go the slow way from now on."""
    cdef uint64_t page = <uint64_t>(c.shared.memory.backing + (backing_offset & ~<uint64_t>0xFFF))
    cdef int k
    for k in range(TLB_SIZE):
        if c.tlb_write[k].tag and ((c.tlb_write[k].addend + (c.tlb_write[k].tag & 0xFFFFFFFFFFFFF000ULL)) == page):
            c.tlb_write[k].tag = 0
    for k in range(VICTIM_MASK + 1):
        if c.victim_write[k].tag and ((c.victim_write[k].addend + (c.victim_write[k].tag & 0xFFFFFFFFFFFFF000ULL)) == page):
            c.victim_write[k].tag = 0
