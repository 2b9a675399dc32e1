# cython: language_level=3
"""Protected-mode segmentation (Intel SDM volume 3A chapters 3 and 5; real and virtual-8086 mode: 3B chapter 21).

The order of checks is that of the instruction pages' pseudo-code (MOV, POP, LDS, CALL).  Departures:
* Loading a segment register in real mode changes selector and base only, so that a limit of 4 GiB set in protected
  mode stays ("unreal mode"); the manual leaves this open, every processor does it and firmware uses it.
* A null selector clears base and limit as Intel processors do; AMD's keep them unless the model has null_sel_clr_base.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.mmu cimport system_load, system_store, load_as, store_as, canonical
from x86emu.core.mode cimport refresh_segment
from x86emu.core.vendor cimport is_amd, clears_null_base

# ----- descriptors -----

cdef bint descriptor_address(Cpu* c, uint32_t selector, uint64_t* linear) noexcept nogil:
    cdef uint64_t base
    cdef uint32_t limit
    if selector & 4:
        if c.seg[LDTR].attributes & ATTR_UNUSABLE or not c.seg[LDTR].attributes & ATTR_P:
            return False
        base = c.seg[LDTR].base
        limit = c.seg[LDTR].limit
    else:
        base = c.gdtr.base
        limit = c.gdtr.limit
    if (selector & 0xFFF8) + 7 > limit:
        return False
    linear[0] = base + (selector & 0xFFF8)
    if not long_mode(c):
        linear[0] &= 0xFFFFFFFFULL
    return True

cdef bint read_descriptor_or(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector,
                             uint32_t ext) noexcept nogil:
    cdef uint64_t linear
    if not descriptor_address(c, selector, &linear):
        fault_code(c, i, vector, (selector & 0xFFFC) | ext)
        return False
    return system_load(c, i, linear, 8, raw)

cdef bint read_descriptor(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw) noexcept nogil:
    return read_descriptor_or(c, i, selector, raw, V_GP, 0)

cdef bint read_upper_descriptor(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector,
                                uint32_t error) noexcept nogil:
    cdef uint64_t linear
    if not descriptor_address(c, selector + 8, &linear):
        fault_code(c, i, vector, error)
        return False
    return system_load(c, i, linear, 8, raw)

cdef bint mark_accessed(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw) noexcept nogil:
    cdef uint64_t linear
    if raw[0] & (1ULL << 40):
        return True
    raw[0] |= 1ULL << 40
    if not descriptor_address(c, selector, &linear):
        return True
    return system_store(c, i, linear + 5, 1, (raw[0] >> 40) & 0xFF)

cdef bint mark_busy(Cpu* c, Insn* i, uint32_t selector, bint busy) noexcept nogil:
    cdef uint64_t linear, rights
    if not descriptor_address(c, selector & 0xFFF8, &linear):
        return True
    if not system_load(c, i, linear + 5, 1, &rights):
        return False
    return system_store(c, i, linear + 5, 1, (rights | 2) if busy else (rights & 0xFD))

# ----- segment registers -----

cdef void set_null(Cpu* c, int seg, uint32_t selector) noexcept nogil:
    cdef Segment* s = &c.seg[seg]
    s.selector = <uint16_t>selector
    s.attributes = ATTR_UNUSABLE
    if seg == SS:
        s.attributes |= c.cpl << ATTR_DPL_SHIFT
    if not is_amd(c) or clears_null_base(c):
        s.base = 0
        s.limit = 0

cdef void load_null(Cpu* c, int seg, uint32_t selector) noexcept nogil:
    set_null(c, seg, selector)
    refresh_segment(c, seg)

cdef void load_real(Cpu* c, int seg, uint32_t selector) noexcept nogil:
    cdef Segment* s = &c.seg[seg]
    if s.attributes & ATTR_UNUSABLE or seg > GS:
        s.attributes = 0x93
        s.limit = 0xFFFF
    # Code too is writable in real mode, and has no privilege: type 3 as after RESET (SDM 3A table 10-1).
    s.attributes &= ATTR_G | ATTR_DB | ATTR_AVL | (0 if s.attributes & ATTR_CODE else ATTR_EXPAND_DOWN)
    s.attributes |= 0x93
    s.selector = <uint16_t>selector
    s.base = <uint64_t>(selector & 0xFFFF) << 4
    refresh_segment(c, seg)

cdef void load_v86(Cpu* c, int seg, uint32_t selector) noexcept nogil:
    cdef Segment* s = &c.seg[seg]
    s.selector = <uint16_t>selector
    s.base = <uint64_t>(selector & 0xFFFF) << 4
    s.limit = 0xFFFF
    s.attributes = 0xF3
    refresh_segment(c, seg)

cdef void load_cache(Cpu* c, int seg, Segment* s) noexcept nogil:
    c.seg[seg].selector = s.selector
    c.seg[seg].base = s.base
    c.seg[seg].limit = s.limit
    c.seg[seg].attributes = s.attributes
    refresh_segment(c, seg)

cdef bint load_segment(Cpu* c, Insn* i, int seg, uint32_t selector) noexcept nogil:
    cdef uint64_t raw
    cdef uint32_t attributes
    cdef int rpl = selector & 3
    cdef int dpl
    cdef Segment s
    if not c.cr0 & CR0_PE:
        load_real(c, seg, selector)
        return True
    if c.rflags & FLAG_VM:
        load_v86(c, seg, selector)
        return True
    if not selector & 0xFFFC:
        # SS may be null in 64-bit mode only, at CPL 0 to 2 and with RPL = CPL (SDM 2B, MOV).
        if seg == SS and (not code64(c) or c.cpl == 3 or rpl != <int>c.cpl):
            fault_code(c, i, V_GP, 0)
            return False
        load_null(c, seg, selector)
        return True
    if not read_descriptor(c, i, selector, &raw):
        return False
    attributes = attributes_of(raw)
    dpl = dpl_of(attributes)
    if seg == SS:
        if rpl != <int>c.cpl or not is_writable_data(attributes) or dpl != <int>c.cpl:
            fault_code(c, i, V_GP, selector & 0xFFFC)
            return False
        if not attributes & ATTR_P:
            fault_code(c, i, V_SS, selector & 0xFFFC)
            return False
    else:
        if not attributes & ATTR_S or (attributes & (ATTR_CODE | ATTR_WRITABLE)) == ATTR_CODE:
            fault_code(c, i, V_GP, selector & 0xFFFC)
            return False
        if not (is_code(attributes) and is_conforming(attributes)) and (rpl > dpl or <int>c.cpl > dpl):
            fault_code(c, i, V_GP, selector & 0xFFFC)
            return False
        if not attributes & ATTR_P:
            fault_code(c, i, V_NP, selector & 0xFFFC)
            return False
    if not mark_accessed(c, i, selector, &raw):
        return False
    segment_from(&s, selector, raw)
    load_cache(c, seg, &s)
    return True

cdef bint check_code_target(Cpu* c, Insn* i, uint32_t selector, uint64_t raw) noexcept nogil:
    cdef uint32_t attributes = attributes_of(raw)
    cdef int dpl = dpl_of(attributes)
    if long_mode(c) and (attributes & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB):
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return False
    if is_conforming(attributes):
        if dpl > <int>c.cpl:
            fault_code(c, i, V_GP, selector & 0xFFFC)
            return False
    elif <int>(selector & 3) > <int>c.cpl or dpl != <int>c.cpl:
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, selector & 0xFFFC)
        return False
    return True

cdef bint inner_stack_segment(Cpu* c, Insn* i, uint32_t selector, int dpl, Segment* s, uint32_t ext) noexcept nogil:
    cdef uint64_t raw
    cdef uint32_t attributes
    if not selector & 0xFFFC:
        fault_code(c, i, V_TS, ext)
        return False
    if not read_descriptor_or(c, i, selector, &raw, V_TS, ext):
        return False
    attributes = attributes_of(raw)
    if <int>(selector & 3) != dpl or dpl_of(attributes) != dpl or not is_writable_data(attributes):
        fault_code(c, i, V_TS, (selector & 0xFFFC) | ext)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_SS, (selector & 0xFFFC) | ext)
        return False
    if not mark_accessed(c, i, selector, &raw):
        return False
    segment_from(s, selector, raw)
    return True

cdef bint inner_stack_pointer(Cpu* c, Insn* i, int dpl, uint32_t* selector, uint64_t* offset,
                              uint32_t ext) noexcept nogil:
    cdef Segment* tr = &c.seg[TR]
    cdef uint64_t value = 0
    cdef uint32_t at
    cdef uint32_t error = (<uint32_t>tr.selector & 0xFFFC) | ext
    selector[0] = 0
    if long_mode(c):
        at = dpl * 8 + 4
        if at + 7 > tr.limit:
            fault_code(c, i, V_TS, error)
            return False
        return system_load(c, i, tr.base + at, 8, offset)
    if tr.attributes & 8:                    # 32-bit TSS
        at = dpl * 8 + 4
        if at + 5 > tr.limit:
            fault_code(c, i, V_TS, error)
            return False
        if not system_load(c, i, (tr.base + at) & 0xFFFFFFFFULL, 4, offset):
            return False
        if not system_load(c, i, (tr.base + at + 4) & 0xFFFFFFFFULL, 2, &value):
            return False
    else:
        at = dpl * 4 + 2
        if at + 3 > tr.limit:
            fault_code(c, i, V_TS, error)
            return False
        if not system_load(c, i, (tr.base + at) & 0xFFFFFFFFULL, 2, offset):
            return False
        if not system_load(c, i, (tr.base + at + 2) & 0xFFFFFFFFULL, 2, &value):
            return False
    selector[0] = <uint32_t>value
    return True

cdef bint interrupt_stack_pointer(Cpu* c, Insn* i, int entry, uint64_t* offset, uint32_t ext) noexcept nogil:
    cdef Segment* tr = &c.seg[TR]
    cdef uint32_t at = entry * 8 + 28
    if at + 7 > tr.limit:
        fault_code(c, i, V_TS, (<uint32_t>tr.selector & 0xFFFC) | ext)
        return False
    return system_load(c, i, tr.base + at, 8, offset)

cdef void invalidate_inner_data_segments(Cpu* c) noexcept nogil:
    cdef int seg
    cdef uint32_t attributes
    for seg in range(6):
        if seg == CS or seg == SS:
            continue
        attributes = c.seg[seg].attributes
        if attributes & ATTR_UNUSABLE:
            # An unusable register keeps no selector for the outer level to see beyond a null one.
            continue
        if dpl_of(attributes) < <int>c.cpl and not (is_code(attributes) and is_conforming(attributes)):
            # the base stays: 64-bit kernels that wrote GS_BASE without a null GS rely on it
            c.seg[seg].selector = 0
            c.seg[seg].attributes = ATTR_UNUSABLE
            refresh_segment(c, seg)

# ----- stacks -----

cdef inline bint _valid(Cpu* c, Insn* i, Stack* s, uint64_t offset, uint32_t size) noexcept nogil:
    if s.flat:
        if canonical(c, offset) and canonical(c, offset + size - 1):
            return True
    elif offset >= s.low and offset + size - 1 <= s.high:
        return True
    fault_code(c, i, V_SS, s.error)
    return False

cdef inline bint _in_order(Stack* s, uint64_t low, uint64_t high) noexcept nogil:
    """Whether [low, high) lies in the stack without wrapping: by 48-bit canonical form, or within the limits."""
    if high <= low or high > s.mask:
        return False
    if s.flat:
        return <int64_t>(low << 16) >> 16 == <int64_t>low and <int64_t>(high - 1 << 16) >> 16 == <int64_t>(high - 1)
    return low >= s.low and high - 1 <= s.high

cdef bint stack_room(Cpu* c, Insn* i, Stack* s, uint32_t size, uint32_t count) noexcept nogil:
    cdef uint32_t k
    if likely(_in_order(s, s.sp - <uint64_t>(count * size), s.sp)):
        return True
    for k in range(1, count + 1):
        if not _valid(c, i, s, (s.sp - <uint64_t>(k * size)) & s.mask, size):
            return False
    return True

cdef bint stack_has(Cpu* c, Insn* i, Stack* s, uint32_t size, uint32_t count) noexcept nogil:
    cdef uint32_t k
    if likely(_in_order(s, s.sp, s.sp + <uint64_t>(count * size))):
        return True
    for k in range(count):
        if not _valid(c, i, s, (s.sp + <uint64_t>(k * size)) & s.mask, size):
            return False
    return True

cdef bint stack_push(Cpu* c, Insn* i, Stack* s, uint32_t size, uint64_t value) noexcept nogil:
    cdef uint64_t offset = (s.sp - size) & s.mask
    cdef uint64_t linear = s.base + offset
    if not _valid(c, i, s, offset, size):
        return False
    if not s.flat:
        linear &= 0xFFFFFFFFULL
    if not store_as(c, i, linear, size, value, s.cpl):
        return False
    s.sp = offset
    return True

cdef bint stack_peek(Cpu* c, Insn* i, Stack* s, uint64_t offset, uint32_t size, uint64_t* value) noexcept nogil:
    cdef uint64_t at = (s.sp + offset) & s.mask
    cdef uint64_t linear = s.base + at
    if not _valid(c, i, s, at, size):
        return False
    if not s.flat:
        linear &= 0xFFFFFFFFULL
    return load_as(c, i, linear, size, value, s.cpl)

cdef bint stack_pop(Cpu* c, Insn* i, Stack* s, uint32_t size, uint64_t* value) noexcept nogil:
    if not stack_peek(c, i, s, 0, size, value):
        return False
    s.sp = (s.sp + size) & s.mask
    return True
