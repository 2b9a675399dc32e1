# cython: language_level=3
"""What is derived from the segment registers, control registers, EFER and RFLAGS, so that handlers need not look at them:
the execution mode that is part of a trace's key, address and stack masks, segment limits and rights, the TLB key.

Intel SDM volume 3A, chapter 3 (segmentation), 2.5 (control registers) and volume 1, 3.1 (modes of operation).
"""
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.cet cimport cet_mode
from x86emu.core.tlb cimport refresh_key, set_mode

cdef inline bint read_and_written(Segment* s) noexcept nogil:
    return (s.access & (ACCESS_READ | ACCESS_WRITE)) == (ACCESS_READ | ACCESS_WRITE)

cdef void refresh_segment(Cpu* c, int n) noexcept nogil:
    cdef Segment* s = &c.seg[n]
    cdef uint32_t a = s.attributes
    s.access = 0
    s.low = 0
    s.high = s.limit
    s.plain = 0
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
    elif read_and_written(s):
        s.plain = s.high + 1

cdef inline bint flat(Segment* s) noexcept nogil:
    return s.base == 0 and s.limit == 0xFFFFFFFFU and s.low == 0 and read_and_written(s)

cdef inline bint flat_data(Cpu* c) noexcept nogil:
    return flat(&c.seg[ES]) and flat(&c.seg[SS]) and flat(&c.seg[DS])

cdef inline void refresh_stack(Cpu* c) noexcept nogil:
    """What pushes and pops need of SS outside 64-bit mode."""
    cdef Segment* s = &c.seg[SS]
    c.stack_base = s.base
    c.stack_limit = 0
    if s.low == 0 and s.high >= 8 and s.base + s.high <= 0xFFFFFFFFULL and read_and_written(s):
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
        if flat_data(c):
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
    if c.cr4 & CR4_CET:
        mode |= cet_mode(c)
    c.mode = mode | (c.mode & MODE_HOOKED)
    refresh_key(c)

cdef void refresh_transfer(Cpu* c) noexcept nogil:
    if (c.mode & (MODE_CODE | MODE_CET)) == MODE_CODE64 and c.efer & EFER_LMA and c.seg[CS].attributes & ATTR_L:
        refresh_key(c)           # from 64-bit mode to 64-bit mode: nothing else depends on what changed
    else:
        refresh_mode(c)

cdef void refresh_code_base(Cpu* c) noexcept nogil:
    if (c.mode & MODE_CODE) != (MODE_CODE32 if c.seg[CS].attributes & ATTR_DB else MODE_CODE16):
        refresh_mode(c)
        return
    c.cs_base = c.seg[CS].base
    c.cs_high = c.seg[CS].high
    set_mode(c, c.mode & ~<uint32_t>MODE_CODE_CHECKED | (MODE_CODE_CHECKED if c.cs_high != 0xFFFFFFFFULL else 0))
    refresh_key(c)

cdef void refresh_data_segment(Cpu* c, int seg) noexcept nogil:
    if seg == SS:
        refresh_mode(c)
    elif seg < FS and (c.mode & MODE_CODE) != MODE_CODE64:
        set_mode(c, c.mode & ~<uint32_t>MODE_FLAT | (MODE_FLAT if flat_data(c) else 0))
