# cython: language_level=3
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport Cpu

cdef enum:
    KEY_BITS = 12
    EPOCH_SHIFT = 32             # Cpu.fetch_key: the key, 20 bits of the mode, the epoch
    # Keys come in groups of six: user, supervisor, supervisor with AC under SMAP; then the same for write entries of
    # pages that hold decoded code, which the inline compare never matches. Behind them those of shadow-stack accesses,
    # user and supervisor, on processors that have them.
    KEYS_IN_GROUP = 6
    KEYS_WITH_SHADOW = 8
    NEVER_KEY = 0xFFF            # no entry has it: every access goes the slow way
    CODE_KEY = 3                 # from a key to the one of write entries of pages with decoded code
    SHADOW_KEY = 6               # from a space's user key to that of its user shadow stacks; supervisor ones follow
    VICTIM_MASK = 63             # of a page's number: its place among the victims

cdef void tlb_flush_all(Cpu* c) noexcept nogil              # MOV CR0/CR4 changes, INVPCID 2 and 3
cdef void tlb_flush_everything(Cpu* c) noexcept nogil       # every guest's too: the map of memory itself changed
cdef void tlb_forget_tag(Cpu* c, uint32_t tag) noexcept nogil    # what an ASID or VPID tagged
cdef void tlb_forget_host(Cpu* c) noexcept nogil            # no guest's, not the second level's; tlb_take_keys() follows
cdef void tlb_take_keys(Cpu* c) noexcept nogil              # after a world switch, or MOV CR3 that keeps what PCID tagged
cdef void tlb_new_address_space(Cpu* c) noexcept nogil      # MOV CR3 without the no-flush bit
cdef void tlb_flush_pcid(Cpu* c, uint32_t pcid) noexcept nogil
cdef void tlb_flush_page(Cpu* c, uint64_t linear) noexcept nogil
cdef void switch_pkrs(Cpu* c, uint32_t rights) noexcept nogil  # a world switch loads it
cdef inline void set_mode(Cpu* c, uint32_t mode) noexcept nogil:
    """Cpu.mode has a part in what indirect branches remember."""
    c.mode = mode
    c.fetch_key = c.fetch_epoch | <uint64_t>mode << KEY_BITS | c.real_key

cdef void refresh_key(Cpu* c) noexcept nogil               # CPL or RFLAGS.AC alone changed (STAC, CLAC)
cdef void drop_write_entries(Cpu* c, uint64_t backing_offset) noexcept nogil
