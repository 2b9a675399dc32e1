# cython: language_level=3
"""Interrupts and IRETD between flat 32-bit segments where nothing is out of order (Intel SDM volume 3A, 6.12; 2A, IRET).

Flat code and stack before and after: base 0, limit 4 GiB, so that neither limits nor what mode.pyx derives of segments
changes but with the privilege level.  Everything else, CET included, is left to interrupts.pyx and
interrupt_instructions.pyx.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport write_rflags
from x86emu.core.model cimport iret_flags
from x86emu.core.mmu cimport frame_pointer
from x86emu.core.quick_transfers cimport table_pointer
from x86emu.core.tlb cimport refresh_key
from x86emu.core.segmentation cimport attributes_of, dpl_of, is_code, is_conforming

cdef enum:
    # Bits of a descriptor from bit 40 on, and what they are in a segment that can be used as it is
    CODE_BITS = 0x9D             # present, S, code, conforming, accessed
    CODE_WANTED = 0x99
    DATA_BITS = 0x9F             # present, S, code, expand-down, writable, accessed
    DATA_WANTED = 0x93
    GATE_BITS = 0x9E             # present, and interrupt or trap gate of 32 bits
    GATE_WANTED = 0x8E
    READABLE = 2
    TSS_32 = 8                   # of its type
    # The mode before and after
    MODE_BITS = MODE_CODE | MODE_STACK32 | MODE_PROTECTED | MODE_V86 | MODE_FLAT | MODE_LONG | MODE_CODE_CHECKED
    MODE_WANTED = MODE_CODE32 | MODE_STACK32 | MODE_PROTECTED | MODE_FLAT

cdef uint64_t SHAPE_BITS = 0xFFEF00FFFFFFFFFFULL     # all but access rights and AVL
cdef uint64_t FLAT_SHAPE = 0x00CF00000000FFFFULL     # base 0, limit FFFFFh pages, 32 bits

cdef inline uint8_t* low_pointer(Cpu* c, uint64_t linear, uint32_t n) noexcept nogil:
    """table_pointer() in the 4 GiB that there are outside IA-32e mode."""
    return table_pointer(c, linear & 0xFFFFFFFFULL, n)

cdef inline uint64_t flat_descriptor(Cpu* c, uint32_t selector, uint32_t bits, uint32_t wanted) noexcept nogil:
    """A descriptor of a flat segment in the GDT whose rights are as wanted, or 0."""
    cdef uint64_t* raw
    if unlikely(selector & 4 or not selector & 0xFFFC or (selector & 0xFFF8) + 7 > c.gdtr.limit):
        return 0
    raw = <uint64_t*>low_pointer(c, c.gdtr.base + (selector & 0xFFF8), 8)
    if unlikely(raw == NULL or (raw[0] & SHAPE_BITS) != FLAT_SHAPE or <uint32_t>(raw[0] >> 40) & bits != wanted):
        return 0
    return raw[0]

cdef inline void put(Segment* s, uint32_t selector, uint64_t raw, uint8_t access) noexcept nogil:
    """A flat segment with all that refresh_segment() derives of it."""
    s.base = 0
    s.limit = 0xFFFFFFFF
    s.attributes = attributes_of(raw)
    s.selector = <uint16_t>selector
    s.access = access
    s.low = 0
    s.high = 0xFFFFFFFF
    s.plain = 0 if access & ACCESS_EXECUTE else 0x100000000ULL

cdef inline void put_code(Cpu* c, uint32_t selector, uint64_t raw) noexcept nogil:
    put(&c.seg[CS], selector, raw, ACCESS_EXECUTE | (ACCESS_READ if (raw >> 40) & READABLE else 0))

cdef inline bint usual(Cpu* c) noexcept nogil:
    """Code and stack are flat, and CET does not look at what follows."""
    return (c.mode & MODE_BITS) == MODE_WANTED and c.cs_base == 0 and not c.cr4 & CR4_CET

cdef bint enter_handler_32(Cpu* c, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                           uint64_t flags) noexcept nogil:
    cdef uint64_t* gate
    cdef uint32_t* frame
    cdef uint32_t* stack
    cdef uint64_t code, data = 0, sp = c.r[RSP] & 0xFFFFFFFFULL, words
    cdef uint32_t rights, selector, privilege, stack_selector = 0
    if unlikely(not usual(c) or <uint32_t>vector * 8 + 7 > c.idtr.limit):
        return False
    gate = <uint64_t*>low_pointer(c, c.idtr.base + vector * 8, 8)
    if unlikely(gate == NULL):
        return False
    rights = <uint32_t>(gate[0] >> 40)
    selector = <uint32_t>(gate[0] >> 16) & 0xFFFF
    if unlikely((rights & GATE_BITS) != GATE_WANTED):
        return False
    if (kind == EVENT_SOFTWARE_INT or kind == EVENT_SOFTWARE_EXCEPTION) and (rights >> 5) & 3 < c.cpl:
        return False
    code = flat_descriptor(c, selector, CODE_BITS, CODE_WANTED)
    privilege = <uint32_t>(code >> 45) & 3
    if unlikely(code == 0 or privilege > c.cpl):
        return False
    words = 4 if has_error else 3
    if privilege < c.cpl:
        if unlikely(not c.seg[TR].attributes & TSS_32 or privilege * 8 + 11 > c.seg[TR].limit):
            return False
        stack = <uint32_t*>low_pointer(c, c.seg[TR].base + privilege * 8 + 4, 8)
        if unlikely(stack == NULL):
            return False
        sp = stack[0]
        stack_selector = stack[1] & 0xFFFF
        data = flat_descriptor(c, stack_selector, DATA_BITS | 0x60, DATA_WANTED | privilege << 5)
        if unlikely(data == 0 or (stack_selector & 3) != privilege):
            return False
        words += 2
    if unlikely(sp < words * 4):
        return False
    sp -= words * 4
    frame = <uint32_t*>frame_pointer(c, sp, <uint32_t>(words * 4), True, <int>privilege)
    if unlikely(frame == NULL):
        return False
    if has_error:
        frame[0] = error
        frame += 1
    frame[0] = <uint32_t>return_rip
    frame[1] = c.seg[CS].selector
    frame[2] = <uint32_t>flags
    if privilege < c.cpl:
        frame[3] = <uint32_t>c.r[RSP]
        frame[4] = c.seg[SS].selector
        put(&c.seg[SS], stack_selector, data, ACCESS_READ | ACCESS_WRITE)
        c.cpl = privilege
    c.rflags &= ~<uint64_t>(FLAG_TF | FLAG_NT | FLAG_RF | (0 if rights & 1 else FLAG_IF))
    put_code(c, (selector & 0xFFFC) | privilege, code)
    c.r[RSP] = sp
    c.r[REG_RIP] = (gate[0] & 0xFFFF) | ((gate[0] >> 32) & 0xFFFF0000ULL)
    refresh_key(c)
    return True

cdef inline bint stays_usable(Cpu* c, int seg, uint32_t privilege) noexcept nogil:
    """Whether a data segment register keeps what it holds when that privilege level is returned to (SDM 3A 5.8.6)."""
    cdef uint32_t attributes = c.seg[seg].attributes
    return (attributes & ATTR_UNUSABLE or dpl_of(attributes) >= <int>privilege
            or (is_code(attributes) and is_conforming(attributes)))

cdef bint return_32(Cpu* c) noexcept nogil:
    cdef uint32_t* frame
    cdef uint64_t code, data = 0, sp = c.r[RSP] & 0xFFFFFFFFULL, mask
    cdef uint32_t privilege, selector, stack_selector = 0
    if unlikely(not usual(c) or sp > 0xFFFFFFFFULL - 20 or c.rflags & FLAG_NT or c.virt.guest_mode != GUEST_NONE):
        return False
    frame = <uint32_t*>frame_pointer(c, sp, 12, False, c.cpl)
    if unlikely(frame == NULL or frame[2] & FLAG_VM):
        return False
    selector = frame[1] & 0xFFFF
    privilege = selector & 3
    code = flat_descriptor(c, selector, CODE_BITS | 0x60, CODE_WANTED | privilege << 5)
    if unlikely(code == 0 or privilege < c.cpl):
        return False
    if privilege > c.cpl:
        if unlikely(frame_pointer(c, sp, 20, False, c.cpl) == NULL):
            return False
        stack_selector = frame[4] & 0xFFFF
        data = flat_descriptor(c, stack_selector, DATA_BITS | 0x60, DATA_WANTED | privilege << 5)
        if unlikely(data == 0 or (stack_selector & 3) != privilege
                    or not (stays_usable(c, ES, privilege) and stays_usable(c, DS, privilege)
                            and stays_usable(c, FS, privilege) and stays_usable(c, GS, privilege))):
            return False
    mask = iret_flags(c, 4)
    c.nmi_blocked = 0
    write_rflags(c, (c.rflags & ~mask) | (frame[2] & mask))
    c.r[REG_RIP] = frame[0]
    if privilege > c.cpl:
        c.r[RSP] = frame[3]
        put(&c.seg[SS], stack_selector, data, ACCESS_READ | ACCESS_WRITE)
        c.cpl = privilege
    else:
        c.r[RSP] = (sp + 12) & 0xFFFFFFFFULL
    put_code(c, selector, code)
    refresh_key(c)
    return True
