# cython: language_level=3
"""The trace cache: storage, lookup by backing address and mode, and self-modifying code.

A trace is keyed by where its bytes lie in the backing buffer, not by a linear or guest-physical address, so aliases
share it and no remapping can make it wrong; only a change of its bytes can.  Pages with decoded code get no write entry
in any TLB, so every store to them goes the slow way (mmu.pyx), which asks
invalidate_code() when it hits a decoded byte (SDM 3A 12.6: a processor notices modified code even without a jump).

A stale trace stays in memory until the next flush: its records unwind to the run loop, and its charge is so large that
no link enters it.  It stays in the lists too, with a copy of its records: code that is about to run again after a change
is often the same but for an immediate (builder.revive).  Another store to a stale trace forgets it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from libc.stdlib cimport malloc, free
from libc.string cimport memcpy, memset
from x86emu.core.state cimport *

cdef extern from "sys/mman.h" nogil:
    void* mmap(void* address, size_t length, int protection, int flags, int fd, long offset)
    int munmap(void* address, size_t length)
    int madvise(void* address, size_t length, int advice)
    enum:
        PROT_READ
        PROT_WRITE
        MAP_PRIVATE
        MAP_ANONYMOUS
        MAP_NORESERVE
        MADV_DONTNEED

cdef enum:
    ARENA_BYTES = 134217728

cdef struct Arena:
    uint8_t* start
    uint64_t used

cdef int64_t STALE_CHARGE = <int64_t>1 << 62
cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL


cdef void* new_arena() except NULL:
    cdef Arena* a = <Arena*>malloc(sizeof(Arena))
    if a == NULL:
        raise MemoryError
    a.start = <uint8_t*>mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
    if <int64_t>a.start == -1:
        free(a)
        raise MemoryError("no room for decoded traces")
    a.used = 64
    return a

cdef void free_arena(void* arena) noexcept:
    munmap((<Arena*>arena).start, ARENA_BYTES)
    free(arena)

cdef void* arena_bytes(Shared* s, uint64_t size) noexcept nogil:
    cdef Arena* a = <Arena*>s.arena
    cdef void* found
    size = (size + 63) & ~<uint64_t>63
    if a.used + size > ARENA_BYTES:
        return NULL
    found = a.start + a.used
    a.used += size
    return found

cdef Trace* new_trace(Shared* s, uint32_t n_records, uint32_t n_bytes) noexcept nogil:
    cdef Trace* t = <Trace*>arena_bytes(s, sizeof(Trace) + n_records * sizeof(Insn) + n_bytes)
    if t != NULL:
        t.bytes = <uint8_t*>&t.insns[n_records]
        t.kept = NULL
    return t

cdef void mark_bytes(Shared* s, uint64_t start, uint64_t end) noexcept nogil:
    """[start, end) within one page holds decoded bytes."""
    cdef uint64_t first = (start >> 6) & 63, last = ((end - 1) >> 6) & 63, line
    cdef uint64_t* words = s.memory.code_bytes[start >> 12]
    cdef bint fresh = s.memory.code_mask[start >> 12] == 0
    s.memory.code_mask[start >> 12] |= (NOTHING >> (63 - (last - first))) << first
    if words == NULL:
        words = <uint64_t*>arena_bytes(s, 64 * 8) if fresh else NULL
        if words == NULL:
            return                       # no room: the lines alone say it until the next flush
        s.memory.code_bytes[start >> 12] = words
    if fresh:
        memset(words, 0, 64 * 8)
    for line in range(first, last + 1):
        words[line] |= ((NOTHING << (start & 63) if line == first else NOTHING)
                        & (NOTHING >> (63 - ((end - 1) & 63)) if line == last else NOTHING))

cdef void mark_trace(Shared* s, Trace* t) noexcept nogil:
    """What of its first page a trace was decoded from."""
    if t.second_page != NOTHING:
        mark_bytes(s, t.address, (t.address | 0xFFF) + 1)
    elif t.gap_end:
        mark_bytes(s, t.address, t.address + t.gap_start)
        mark_bytes(s, t.address + t.gap_end, t.address + t.n_bytes)
    else:
        mark_bytes(s, t.address, t.address + t.n_bytes)

cdef inline bint in_page(Trace* t, uint64_t page) noexcept nogil:
    return t.address >> 12 == page

cdef inline Trace* next_in_page(Trace* t, uint64_t page) noexcept nogil:
    return t.page_next if in_page(t, page) else t.second_next

cdef void insert_trace(Shared* s, Trace* t) noexcept nogil:
    """Into the hash and its pages' lists. The caller has dropped write entries of pages that had no code before."""
    cdef uint64_t bucket = trace_bucket(t.address, t.mode), page = t.address >> 12
    cdef uint64_t first = 4096 - (t.address & 0xFFF)
    t.hash_next = s.hash[bucket]
    s.hash[bucket] = t
    t.page_next = s.memory.page_traces[page]
    s.memory.page_traces[page] = t
    mark_trace(s, t)
    if t.second_page != NOTHING:
        mark_bytes(s, t.second_page, t.second_page + t.n_bytes - first)
        t.second_next = s.memory.page_traces[t.second_page >> 12]
        if t.second_page >> 12 != page:
            s.memory.page_traces[t.second_page >> 12] = t
    s.n_traces += 1

cdef void unlink_from_page(Shared* s, Trace* t, uint64_t page) noexcept nogil:
    cdef Trace** at = &s.memory.page_traces[page]
    while at[0] != NULL:
        if at[0] == t:
            at[0] = next_in_page(t, page)
            continue
        at = &at[0].page_next if in_page(at[0], page) else &at[0].second_next

cdef void recompute_mask(Shared* s, uint64_t page) noexcept nogil:
    """Which bytes still are decoded ones: those of stale traces stay marked until a store to one asks."""
    cdef Trace* other
    s.memory.code_mask[page] = 0
    other = s.memory.page_traces[page]
    while other != NULL:
        if in_page(other, page):
            mark_trace(s, other)
        if other.second_page != NOTHING and other.second_page >> 12 == page:
            mark_bytes(s, other.second_page, other.second_page + other.n_bytes - (4096 - (other.address & 0xFFF)))
        other = next_in_page(other, page)

cdef void remove_trace(Shared* s, Trace* t) noexcept nogil:
    cdef Trace** at = &s.hash[trace_bucket(t.address, t.mode)]
    while at[0] != NULL:
        if at[0] == t:
            at[0] = t.hash_next
            break
        at = &at[0].hash_next
    unlink_from_page(s, t, t.address >> 12)
    if t.second_page != NOTHING and t.second_page >> 12 != t.address >> 12:
        unlink_from_page(s, t, t.second_page >> 12)
    if not is_stale(t):
        make_stale(s, t)

cdef bint keep_records(Shared* s, Trace* t) noexcept nogil:
    """False where there is no room, or the trace crosses a page."""
    if t.second_page != NOTHING:
        return False
    if t.kept == NULL:
        t.kept = <Insn*>arena_bytes(s, t.n_records * sizeof(Insn))
        if t.kept == NULL:
            return False
        memcpy(t.kept, &t.insns[0], t.n_records * sizeof(Insn))
    return True

cdef void make_stale(Shared* s, Trace* t) noexcept nogil:
    cdef uint32_t k
    cdef int previous = -1, at
    cdef Insn* r
    t.n = STALE_CHARGE
    # Only where an instruction begins: one that is under way completes.
    for k in range(t.n_records):
        r = &t.insns[k]
        at = r.idx
        if at != previous:
            if t.gap_end and previous < <int>t.jump_idx < at:
                # behind the JMP that has no record: back to it, which may be what has changed
                r.idx = t.jump_idx
                r.ip = t.jump_ip
            elif r.seg & FUSED:
                # a pair in one record: back to the first of the two
                r.idx -= 1
                r.ip -= r.seg & ~FUSED
            r.fn = stale
            previous = at
    s.n_stale += 1

cdef bint overlaps(Trace* t, uint64_t start, uint64_t end) noexcept nogil:
    cdef uint64_t first = t.n_bytes
    if t.second_page != NOTHING:
        first = 4096 - (t.address & 0xFFF)
        if t.second_page < end and t.second_page + t.n_bytes - first > start:
            return True
    if t.gap_end and start >= t.address + t.gap_start and end <= t.address + t.gap_end:
        return False
    return t.address < end and t.address + first > start

cdef void invalidate_code(Shared* s, uint64_t backing_offset, uint64_t n) noexcept nogil:
    """Bytes [backing_offset, +n) have changed: every trace decoded from one of them becomes stale."""
    cdef uint64_t page = backing_offset >> 12, end = backing_offset + n, page_end
    cdef Trace* t
    cdef Trace* following
    cdef bint found
    while page << 12 < end:
        if s.memory.code_mask[page]:
            found = False
            t = s.memory.page_traces[page]
            while t != NULL:
                following = next_in_page(t, page)
                if overlaps(t, backing_offset, end):
                    if not is_stale(t) and keep_records(s, t):
                        make_stale(s, t)
                    else:
                        remove_trace(s, t)
                    found = True
                t = following
            if not found and s.memory.page_traces[page] != NULL:
                # Data in a line with code, or lines whose code is gone: look which only now and then.
                s.quiet_stores += 1
                if s.quiet_stores & 63 == 0:
                    recompute_mask(s, page)
        page += 1

cdef void goto_uncached(Cpu* c, uint64_t address, uint64_t rip, Trace** cache) noexcept nogil:
    cdef Trace* t = c.shared.hash[trace_bucket(address, c.mode)]
    while t != NULL and (t.address != address or t.mode != c.mode):
        t = t.hash_next
    if unlikely(t == NULL or t.second_page != NOTHING or is_stale(t)):
        return                   # none yet, or it crosses a page: the run loop builds it, or checks its second page
    cache[0] = t
    enter_trace(c, t)

cdef void goto_unknown(Cpu* c, uint64_t rip, JumpEntry* entry) noexcept nogil:
    cdef Trace* t
    c.r[REG_RIP] = rip
    t = probe_trace(c, rip)
    if unlikely(t == NULL or is_stale(t)):
        return                   # none yet, or it crosses a page: the run loop builds it, or checks its second page
    entry.rip = rip
    entry.key = c.fetch_key
    entry.trace = t
    entry.first = t.insns[0].fn
    if &c.slot_cache[0] <= entry < &c.slot_cache[1024]:
        c.slot_first[entry - &c.slot_cache[0]] = entry.first
    enter_trace(c, t)

cdef void flush_traces(Shared* s) noexcept nogil:
    """Forgets everything. Only between traces: the storage is reused."""
    cdef Arena* a = <Arena*>s.arena
    cdef int n
    for n in range(s.n_cpus):
        memset(s.cpus[n].return_links, 0, sizeof(s.cpus[n].return_links))
        memset(s.cpus[n].jump_cache, 0, sizeof(s.cpus[n].jump_cache))
        memset(s.cpus[n].slot_cache, 0, sizeof(s.cpus[n].slot_cache))
        s.cpus[n].no_link = NULL
    cdef uint64_t pages = s.memory.backing_size >> 12
    madvise(s.hash, TRACE_HASH * sizeof(Trace*), MADV_DONTNEED)
    madvise(s.memory.code_mask, pages * 8 + 4096, MADV_DONTNEED)
    madvise(s.memory.page_traces, pages * 8 + 4096, MADV_DONTNEED)
    madvise(s.memory.code_bytes, pages * 8 + 4096, MADV_DONTNEED)
    madvise(a.start, a.used, MADV_DONTNEED)
    a.used = 64
    s.n_traces = 0
    s.n_flushes += 1
    s.flush_wanted = 0

cdef void stale(Cpu* c, Insn* i) noexcept nogil:
    """The instruction's bytes have changed since it was decoded: back to the run loop, which decodes it anew."""
    unwind(c, i)
