# cython: language_level=3
# The trace cache, and how one trace goes on to the next (SDM 3A 12.1.3 on self-modifying code is kept by 64-byte lines).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

cdef enum:
    FUSED = 0x80     # Insn.seg of a record for two instructions that needs no segment: with the length of the first one

cdef void* new_arena() except NULL
cdef void free_arena(void* arena) noexcept
cdef Trace* new_trace(Shared* s, uint32_t n_records, uint32_t n_bytes) noexcept nogil       # NULL: the arena is full
cdef void insert_trace(Shared* s, Trace* t) noexcept nogil
cdef void remove_trace(Shared* s, Trace* t) noexcept nogil                # makes it stale, and forgets it
cdef void invalidate_code(Shared* s, uint64_t backing_offset, uint64_t n) noexcept nogil
cdef void flush_traces(Shared* s) noexcept nogil
cdef void stale(Cpu* c, Insn* i) noexcept nogil      # what a stale trace's records run

cdef inline bint is_stale(Trace* t) noexcept nogil:
    return t.n != t.n_instructions

cdef inline uint64_t bytes_from(uint64_t at, uint32_t n) noexcept nogil:
    """n (1 to 64) one bits from bit `at` on; what lies above bit 63 is cut off."""
    return (0xFFFFFFFFFFFFFFFFULL >> (64 - n)) << at

cdef inline bint holds_code(Memory* m, uint64_t offset, uint32_t size) noexcept nogil:
    """Whether a decoded instruction may lie in [offset, offset + size), up to 64 bytes within a page of the backing."""
    cdef uint64_t mask = m.code_mask[offset >> 12], first = (offset >> 6) & 63, last = ((offset + size - 1) >> 6) & 63
    cdef uint64_t* words
    if likely(not (mask >> first | mask >> last) & 1):
        return False
    words = m.code_bytes[offset >> 12]
    if words == NULL or words[first] & bytes_from(offset & 63, size):
        return True
    return last != first and words[last] & bytes_from(0, <uint32_t>((offset + size) & 63)) != 0

cdef inline uint64_t trace_bucket(uint64_t address, uint32_t mode) noexcept nogil:
    return (address ^ (address >> 15) ^ (<uint64_t>mode * 0x9E5)) & (TRACE_HASH - 1)

cdef inline Trace* probe_trace(Cpu* c, uint64_t rip) noexcept nogil:
    """The cached trace at rip under the mode now in force, or NULL: through the execute TLB and the trace hash, no faults."""
    cdef uint64_t linear = rip + c.cs_base
    cdef TlbEntry* t = exec_entry(c, linear)
    cdef uint64_t address
    cdef Trace* trace
    if unlikely(t.tag != ((linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key)):
        return NULL
    address = linear + t.addend
    trace = c.shared.hash[trace_bucket(address, c.mode)]
    while trace != NULL:
        if likely(trace.address == address and trace.mode == c.mode):
            if unlikely(trace.second_page != 0xFFFFFFFFFFFFFFFFULL):
                return NULL          # crosses a page: the run loop checks the second one
            return trace
        trace = trace.hash_next
    return NULL

cdef inline void enter_trace(Cpu* c, Trace* t) noexcept nogil:
    """Charges the budget and runs t; back to the run loop where the budget does not suffice. Tail position."""
    c.budget -= t.n
    if unlikely(c.budget < 0 or (c.mode & MODE_CODE_CHECKED and c.r[REG_RIP] + t.n_bytes - 1 > c.cs_high)):
        c.budget += t.n
        return
    if LOOP_FORM:
        c.next = &t.insns[0]
    else:
        t.insns[0].fn(c, &t.insns[0])

cdef inline void goto_linked(Cpu* c, Insn* i, uint64_t rip, Trace** link) noexcept nogil:
    """Goes on at rip, a target in the same page as instruction i, through link once it is known. Tail position."""
    cdef Trace* t = link[0]
    c.r[REG_RIP] = rip
    if likely(t != NULL):
        c.budget -= t.n
        if unlikely(c.budget < 0):
            c.budget += t.n
            if is_stale(t):
                c.link = link
            return
        if LOOP_FORM:
            c.next = &t.insns[0]
        else:
            t.insns[0].fn(c, &t.insns[0])
        return
    c.link = link            # the run loop finds the trace and patches the link

cdef inline void goto_linked_checked(Cpu* c, Insn* i, uint64_t rip, Trace** link) noexcept nogil:
    """goto_linked() for 16- and 32-bit code, where CS may have a limit. Tail position."""
    cdef Trace* t = link[0]
    c.r[REG_RIP] = rip
    if likely(t != NULL):
        c.budget -= t.n
        if unlikely(c.budget < 0 or rip + t.n_bytes - 1 > c.cs_high):
            c.budget += t.n
            if is_stale(t):
                c.link = link
            return
        if LOOP_FORM:
            c.next = &t.insns[0]
        else:
            t.insns[0].fn(c, &t.insns[0])
        return
    c.link = link

# Looks for the trace at a backing address in the hash, keeps it in cache, and goes on with it. Tail position.
cdef void goto_uncached(Cpu* c, uint64_t address, uint64_t rip, Trace** cache) noexcept nogil

cdef inline void goto_cached(Cpu* c, Insn* i, uint64_t rip, Trace** cache) noexcept nogil:
    """Goes on at any rip (checked against limit and canonical form by the caller); cache[0] is tried first, whatever
    trace it holds: what identifies a trace is compared. Tail position."""
    cdef uint64_t linear = rip + c.cs_base
    cdef TlbEntry* e = exec_entry(c, linear)
    cdef uint64_t address = linear + e.addend
    cdef Trace* t = cache[0]
    c.r[REG_RIP] = rip
    if unlikely(e.tag != ((linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key)):
        return
    if likely(t != NULL and t.address == address and t.mode == c.mode):
        c.budget -= t.n
        if unlikely(c.budget < 0 or rip + t.n_bytes - 1 > c.cs_high):
            c.budget += t.n
            cache[0] = NULL          # it may be stale
            return
        if LOOP_FORM:
            c.next = &t.insns[0]
        else:
            t.insns[0].fn(c, &t.insns[0])
    else:
        goto_uncached(c, address, rip, cache)

# ----- indirect branches, by a table of where they went -----
#
# The host mispredicts where such branches go, and waits for the first handler's address: the table has it, so that it
# does not depend on the trace.  In 64-bit code, where linear addresses are offsets, an entry under the key now in force
# stands for the translation and for the checks of the target as well.

cdef inline JumpEntry* jump_entry(Cpu* c, uint64_t rip) noexcept nogil:
    return <JumpEntry*>(<uint8_t*>c.jump_cache + (((rip << 5) ^ (rip >> 4)) & (4095 << 5)))

cdef inline JumpEntry* jump_slot(Cpu* c, uint64_t ea) noexcept nogil:
    """The entry of a branch that reads its target at ea: known sooner than the target, which it has only to confirm."""
    return <JumpEntry*>(<uint8_t*>c.slot_cache + ((ea << 2) & (1023 << 5)))

cdef inline handler_t first_of_slot(Cpu* c, uint64_t ea) noexcept nogil:
    """JumpEntry.first of the entry that jump_slot() finds."""
    return (<handler_t*>(<uint8_t*>c.slot_first + (ea & (1023 << 3))))[0]

cdef inline bint leads_to(Cpu* c, JumpEntry* entry, uint64_t rip) noexcept nogil:
    """Whether 64-bit code at rip is the entry's trace."""
    return entry.rip == rip and entry.key == c.fetch_key

cdef inline void goto_entry(Cpu* c, JumpEntry* entry, handler_t first, uint64_t rip) noexcept nogil:
    """Goes on with what leads_to() has found, whose first record's handler is given. Tail position."""
    cdef Trace* t = entry.trace
    c.r[REG_RIP] = rip
    c.budget -= t.n
    if unlikely(c.budget < 0):
        c.budget += t.n
        entry.key = 0                # it may be stale
        entry.trace = NULL
        return
    if LOOP_FORM:
        c.next = &t.insns[0]
    else:
        first(c, &t.insns[0])

# What is not in the table: finds the trace in the hash and puts it there, or goes back to the run loop.
cdef void goto_unknown(Cpu* c, uint64_t rip, JumpEntry* entry) noexcept nogil

cdef inline void goto_indirect_wide(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """goto_indirect() within 64-bit code."""
    cdef JumpEntry* entry = jump_entry(c, rip)
    if likely(leads_to(c, entry, rip)):
        goto_entry(c, entry, entry.first, rip)
    else:
        goto_unknown(c, rip, entry)

cdef inline void goto_by(Cpu* c, JumpEntry* entry, uint64_t rip) noexcept nogil:
    """Goes on at any rip, checked as for goto_cached(), where the branch goes to several places. Tail position."""
    cdef uint64_t linear = rip + c.cs_base
    cdef TlbEntry* e = exec_entry(c, linear)
    cdef Trace* t = entry.trace
    if likely(t != NULL and t.address == linear + e.addend and t.mode == c.mode
              and e.tag == ((linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key) and rip + t.n_bytes - 1 <= c.cs_high):
        goto_entry(c, entry, entry.first, rip)
    else:
        goto_unknown(c, rip, entry)

cdef inline void goto_indirect(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """goto_by() with the entry of the target."""
    goto_by(c, jump_entry(c, rip), rip)

cdef inline void expect_return(Cpu* c, Insn* i) noexcept nogil:
    """A near CALL outside 64-bit code: the RET that belongs to it will look into the call's second link."""
    c.return_top = (c.return_top + 1) & 31
    c.return_links[c.return_top] = <Trace**>&i[1] + 1

cdef inline Trace** expected_return(Cpu* c) noexcept nogil:
    cdef Trace** cache = c.return_links[c.return_top]
    c.return_top = (c.return_top - 1) & 31
    if unlikely(cache == NULL):
        cache = &c.no_link
    return cache

cdef inline void goto_return(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """A near RET: goto_cached() with the second link of the CALL that it most likely belongs to. Tail position."""
    goto_cached(c, i, rip, expected_return(c))
