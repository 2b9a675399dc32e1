# cython: language_level=3
# MOVS, STOS, LODS, CMPS, SCAS, their repeated forms, XLAT (SDM 1, 7.3.9; SDM 2B: REP).
#
# A repeated instruction goes page by page where both sides are plain memory, else element by element.  Registers hold an
# exact restart state after every step; every iteration costs one instruction of the budget, the first one having been
# charged with the trace.  Repeated CMPS and SCAS leave the flags as they were until they are complete (SDM 2B, REP, for
# faults; Intel's processors also where they are interrupted).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memchr, memmove, memset
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.mmu cimport host_pointer
from x86emu.core.string cimport *
from x86emu.core.vendor cimport is_amd

cdef uint64_t run_length(Cpu* c, int seg, uint64_t offset, uint64_t linear, uint64_t mask, uint32_t size,
                         bint down) noexcept nogil:
    cdef uint64_t n, room
    cdef uint64_t place = linear & (PAGE_SIZE - 1)
    cdef bint long_mode = (c.mode & MODE_CODE) == MODE_CODE64
    if place + size > PAGE_SIZE:
        return 0
    if down:
        n = place / size + 1
        room = (offset if long_mode else offset - c.seg[seg].low) / size + 1
    else:
        n = (PAGE_SIZE - place) / size
        room = (mask - offset) / size
        if not long_mode and c.seg[seg].high < mask:
            room = (c.seg[seg].high - offset + 1) / size
        if room == 0:
            room = 1
    return n if n < room else room

cdef uint8_t* run_pointer(Cpu* c, uint64_t linear, uint64_t n, uint32_t size, bint down, bint write) noexcept nogil:
    return host_pointer(c, linear - (n - 1) * size if down else linear, <uint32_t>(n * size), write)

cdef uint64_t iterations_allowed(Cpu* c, uint64_t n, bint first) noexcept nogil:
    cdef int64_t allowed = c.budget + first
    if c.rflags & FLAG_TF:
        allowed = first
    elif first and allowed < 1:
        allowed = 1
    if allowed <= 0:
        return 0
    return n if n < <uint64_t>allowed else <uint64_t>allowed

cdef void leave_unfinished(Cpu* c, Insn* i, bint began) noexcept nogil:
    unwind(c, i)
    if began:
        c.budget -= 1        # unwind() gave back the instruction itself, which paid for the first iteration

cdef inline void charge(Cpu* c, uint64_t n, bint first) noexcept nogil:
    c.budget -= <int64_t>n - first

# ----- single elements, any size -----
cdef bint load_element(Cpu* c, Insn* i, uint64_t linear, uint32_t size) noexcept nogil:
    """The element comes in c.mtmp."""
    cdef uint8_t b
    cdef uint16_t w
    cdef uint32_t d
    if size == 1:
        if not ld(c, i, linear, &b):
            return False
        c.mtmp = b
        return True
    elif size == 2:
        if not ld(c, i, linear, &w):
            return False
        c.mtmp = w
        return True
    elif size == 4:
        if not ld(c, i, linear, &d):
            return False
        c.mtmp = d
        return True
    return ld(c, i, linear, &c.mtmp)

cdef inline bint store_element(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value) noexcept nogil:
    if size == 1:
        return st(c, i, linear, <uint8_t>value)
    elif size == 2:
        return st(c, i, linear, <uint16_t>value)
    elif size == 4:
        return st(c, i, linear, <uint32_t>value)
    return st(c, i, linear, value)

cdef inline uint64_t host_element(uint8_t* p, uint32_t size) noexcept nogil:
    if size == 1:
        return p[0]
    elif size == 2:
        return (<uint16_t*>p)[0]
    elif size == 4:
        return (<uint32_t*>p)[0]
    return (<uint64_t*>p)[0]

cdef inline void set_host_element(uint8_t* p, uint32_t size, uint64_t value) noexcept nogil:
    if size == 1:
        p[0] = <uint8_t>value
    elif size == 2:
        (<uint16_t*>p)[0] = <uint16_t>value
    elif size == 4:
        (<uint32_t*>p)[0] = <uint32_t>value
    else:
        (<uint64_t*>p)[0] = value

cdef inline void compare_flags(Cpu* c, uint64_t a, uint64_t b, uint32_t size) noexcept nogil:
    if size == 1:
        flags_sub(c, <uint8_t>a, <uint8_t>b, <uint8_t>(a - b))
    elif size == 2:
        flags_sub(c, <uint16_t>a, <uint16_t>b, <uint16_t>(a - b))
    elif size == 4:
        flags_sub(c, <uint32_t>a, <uint32_t>b, <uint32_t>(a - b))
    else:
        flags_sub(c, a, b, a - b)

cdef inline void set_accumulator(Cpu* c, uint64_t value, uint32_t size) noexcept nogil:
    if size == 1:
        set_r(c, RAX * 8, <uint8_t>value)
    elif size == 2:
        set_r(c, RAX, <uint16_t>value)
    elif size == 4:
        set_r(c, RAX, <uint32_t>value)
    else:
        c.r[RAX] = value

# ----- runs of plain memory -----
cdef void copy_run(uint8_t* to, uint8_t* source, uint64_t n, uint32_t size, bint down) noexcept nogil:
    """Element by element in the given order; to and source are the lowest elements. Overlap propagates as it must."""
    cdef uint64_t k, bytes = n * size
    if to + bytes <= source or source + bytes <= to or (to >= source if down else to <= source):
        memmove(to, source, bytes)
        return
    for k in range(n):
        if down:
            set_host_element(to + (n - 1 - k) * size, size, host_element(source + (n - 1 - k) * size, size))
        else:
            set_host_element(to + k * size, size, host_element(source + k * size, size))

cdef void fill_run(uint8_t* to, uint64_t n, uint32_t size, uint64_t value) noexcept nogil:
    cdef uint64_t k
    if size == 1:
        memset(to, <int>(value & 0xFF), n)
    elif size == 2:
        for k in range(n):
            (<uint16_t*>to)[k] = <uint16_t>value
    elif size == 4:
        for k in range(n):
            (<uint32_t*>to)[k] = <uint32_t>value
    else:
        for k in range(n):
            (<uint64_t*>to)[k] = value

# ----- one iteration -----
cdef inline uint64_t step_of(Cpu* c, uint32_t size) noexcept nogil:
    return <uint64_t>(-<int64_t>size) if c.rflags & FLAG_DF else size

cdef inline bint movs(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t source, to, step = step_of(c, size)
    if not segment_linear(c, i, i.seg, c.r[RSI] & mask, size, False, &source):
        return False
    if not segment_linear(c, i, ES, c.r[RDI] & mask, size, True, &to):
        return False
    if not load_element(c, i, source, size) or not store_element(c, i, to, size, c.mtmp):
        return False
    set_index(c, RSI, mask, c.r[RSI] + step)
    set_index(c, RDI, mask, c.r[RDI] + step)
    return True

cdef inline bint stos(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t to
    if not segment_linear(c, i, ES, c.r[RDI] & mask, size, True, &to):
        return False
    if not store_element(c, i, to, size, c.r[RAX]):
        return False
    set_index(c, RDI, mask, c.r[RDI] + step_of(c, size))
    return True

cdef inline bint lods(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t source
    if not segment_linear(c, i, i.seg, c.r[RSI] & mask, size, False, &source):
        return False
    if not load_element(c, i, source, size):
        return False
    set_accumulator(c, c.mtmp, size)
    set_index(c, RSI, mask, c.r[RSI] + step_of(c, size))
    return True

cdef inline bint scas(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t to
    if not segment_linear(c, i, ES, c.r[RDI] & mask, size, False, &to):
        return False
    if not load_element(c, i, to, size):
        return False
    compare_flags(c, c.r[RAX], c.mtmp, size)
    set_index(c, RDI, mask, c.r[RDI] + step_of(c, size))
    return True

cdef inline bint cmps(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t source, to, a, step = step_of(c, size)
    if not segment_linear(c, i, i.seg, c.r[RSI] & mask, size, False, &source):
        return False
    if not load_element(c, i, source, size):
        return False
    a = c.mtmp
    if not segment_linear(c, i, ES, c.r[RDI] & mask, size, False, &to):
        return False
    if not load_element(c, i, to, size):
        return False
    compare_flags(c, a, c.mtmp, size)
    set_index(c, RSI, mask, c.r[RSI] + step)
    set_index(c, RDI, mask, c.r[RDI] + step)
    return True

# ----- repetition -----
cdef enum:
    MOVS = 0
    STOS = 1
    LODS = 2
    CMPS = 3
    SCAS = 4
    ANY = 2          # `until` of REP; REPE ends at ZF 0, REPNE at ZF 1

cdef inline bint iterate(Cpu* c, Insn* i, int operation, uint32_t size) noexcept nogil:
    if operation == MOVS:
        return movs(c, i, size)
    elif operation == STOS:
        return stos(c, i, size)
    elif operation == LODS:
        return lods(c, i, size)
    elif operation == CMPS:
        return cmps(c, i, size)
    return scas(c, i, size)

cdef inline bint blocks_differ(uint8_t* a, uint8_t* b) noexcept nogil:
    """Whether 64 bytes differ."""
    cdef uint64_t* x = <uint64_t*>a
    cdef uint64_t* y = <uint64_t*>b
    return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3])
            | (x[4] ^ y[4]) | (x[5] ^ y[5]) | (x[6] ^ y[6]) | (x[7] ^ y[7])) != 0

cdef uint64_t equal_elements(uint8_t* a, uint8_t* b, uint64_t n, uint32_t size) noexcept nogil:
    """How many elements at the least are equal before the first that differs, by whole blocks; a == NULL: one and the
    same value, b's first element, which the caller has found equal to the accumulator."""
    cdef uint64_t bytes = n * size, at = 0
    if a == NULL:
        a = b
        b += size                # all alike where every element equals the one before it
        bytes -= size
    while at + 64 <= bytes and not blocks_differ(a + at, b + at):
        at += 64
    return at / size

cdef uint64_t compare_run(Cpu* c, uint8_t* a, uint8_t* b, uint64_t n, uint32_t size, bint down, int until) noexcept nogil:
    """Compares up to n elements in order, a == NULL standing for the accumulator; flags are those of the last.
    Returns the number compared; the last one ended the repetition if ZF equals until."""
    cdef uint64_t k = 0
    cdef uint64_t x = c.r[RAX], y = 0, at
    cdef uint64_t mask = 0xFFFFFFFFFFFFFFFFULL >> (64 - size * 8)
    cdef uint8_t* found
    if not down and n >= 16:     # whole blocks that cannot end the repetition first
        if until == 0:
            if a != NULL or ((x ^ host_element(b, size)) & mask) == 0:
                k = equal_elements(a, b, n - 1, size)
        elif a == NULL and size == 1:
            found = <uint8_t*>memchr(b, <int>(x & 0xFF), n)
            k = n - 1 if found == NULL else <uint64_t>(found - b)
    while k < n:
        at = (n - 1 - k if down else k) * size
        if a != NULL:
            x = host_element(a + at, size)
        y = host_element(b + at, size)
        k += 1
        if (((x ^ y) & mask) == 0) == until:
            break
    compare_flags(c, x, y, size)
    return k

cdef void cut_off(Cpu* c, int operation) noexcept nogil:
    """Before the first iteration with 32-bit addresses in 64-bit mode, even if it faults or the count is 0: Intel's
    processors clear the upper halves of RCX and of the addresses of MOVS and STOS (as captured from one)."""
    if (c.mode & MODE_CODE) != MODE_CODE64 or is_amd(c):
        return
    c.r[RCX] = <uint32_t>c.r[RCX]
    if operation == MOVS:
        c.r[RSI] = <uint32_t>c.r[RSI]
    if operation == MOVS or operation == STOS:
        c.r[RDI] = <uint32_t>c.r[RDI]

cdef bint repeat(Cpu* c, Insn* i, int operation, uint32_t size, int until) noexcept nogil:
    """True: the instruction is complete. False: it faulted or is to be restarted; the handler returns."""
    cdef uint32_t kind = c.f_kind
    cdef int64_t result = c.f_result, a = c.f_a, b = c.f_b
    if iterations(c, i, operation, size, until):
        return True
    if until != ANY and c.r[RCX] & address_mask(i):
        c.f_kind = kind
        c.f_result = result
        c.f_a = a
        c.f_b = b
    return False

cdef bint iterations(Cpu* c, Insn* i, int operation, uint32_t size, int until) noexcept nogil:
    """What repeat() does, but for the flags."""
    cdef uint64_t mask = address_mask(i)
    cdef uint64_t count = c.r[RCX] & mask
    cdef uint64_t source = 0, to = 0, n, room, step
    cdef bint down = (c.rflags & FLAG_DF) != 0
    cdef bint first = True
    cdef bint has_source = operation == MOVS or operation == CMPS or operation == LODS
    cdef bint has_target = operation != LODS
    cdef bint writes = operation == MOVS or operation == STOS
    cdef uint8_t* p
    cdef uint8_t* q
    if unlikely(mask == 0xFFFFFFFFULL):
        cut_off(c, operation)
    while count != 0:
        n = iterations_allowed(c, count, first)
        if n == 0:
            leave_unfinished(c, i, True)
            return False
        p = NULL
        q = NULL
        if n > 1 and operation != LODS:
            if has_source:
                if not segment_linear(c, i, i.seg, c.r[RSI] & mask, size, False, &source):
                    c.budget -= not first
                    return False
                room = run_length(c, i.seg, c.r[RSI] & mask, source, mask, size, down)
                n = room if room < n else n
            if has_target:
                if not segment_linear(c, i, ES, c.r[RDI] & mask, size, writes, &to):
                    c.budget -= not first
                    return False
                room = run_length(c, ES, c.r[RDI] & mask, to, mask, size, down)
                n = room if room < n else n
            if n > 0:
                if has_source:
                    p = run_pointer(c, source, n, size, down, False)
                if p != NULL or not has_source:
                    q = run_pointer(c, to, n, size, down, writes)
        if q != NULL:
            if operation == MOVS:
                copy_run(q, p, n, size, down)
            elif operation == STOS:
                fill_run(q, n, size, c.r[RAX])
            else:
                n = compare_run(c, p, q, n, size, down, until)
            step = n * step_of(c, size)
            if has_source:
                set_index(c, RSI, mask, c.r[RSI] + step)
            set_index(c, RDI, mask, c.r[RDI] + step)
        else:
            n = 1
            if not iterate(c, i, operation, size):
                c.budget -= not first
                return False
        charge(c, n, first)
        first = False
        count -= n
        set_index(c, RCX, mask, count)
        if until != ANY and get_zf(c) == until:
            return True
    # Every iteration counts as one instruction, and so does the test that finds the count at zero.
    if not first:
        if c.budget <= 0:
            leave_unfinished(c, i, True)
            return False
        c.budget -= 1
    return True

include "forms_string.pxi"

cdef void XLAT_Rb_Xb(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear
    cdef uint8_t value
    if not segment_linear(c, i, i.seg, (c.r[RBX] + <uint8_t>c.r[RAX]) & address_mask(i), 1, False, &linear):
        return
    if not ld(c, i, linear, &value):
        return
    set_r(c, RAX * 8, value)
    chain(c, i)

include "register_string.pxi"
