# cython: language_level=3
"""Interrupts and IRETQ in 64-bit mode where nothing is out of order (Intel SDM volume 3A, 6.14; 2A, IRET): see the .pxd."""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.flags cimport write_rflags
from x86emu.core.mmu cimport frame_pointer
from x86emu.core.model cimport iret_flags
from x86emu.core.tlb cimport refresh_key
from x86emu.core.segmentation cimport base_of, limit_of, attributes_of, bounds_of, invalidate_inner_data_segments, set_null

cdef enum:
    # Bits of a descriptor from bit 40 on, and what they are in a segment that can be used as it is
    CODE_BITS = 0x609D           # L and D; present, S, code, conforming, accessed
    CODE_WANTED = 0x2099
    DATA_BITS = 0x9B             # present, S, code, writable, accessed
    DATA_WANTED = 0x93
    GATE_BITS = 0x9E             # present, and interrupt or trap gate of 64 bits
    GATE_WANTED = 0x8E
    DPL_BITS = 0x60

cdef inline uint64_t global_descriptor(Cpu* c, uint32_t selector) noexcept nogil:
    """A descriptor of the GDT, or 0."""
    cdef uint64_t* raw
    if unlikely(selector & 4 or (selector & 0xFFF8) + 7 > c.gdtr.limit):
        return 0
    raw = <uint64_t*>table_pointer(c, c.gdtr.base + (selector & 0xFFF8), 8)
    return raw[0] if raw != NULL else 0

cdef inline void put(Cpu* c, int seg, uint32_t selector, uint64_t raw) noexcept nogil:
    """A segment register in 64-bit mode, where nothing derived from it counts."""
    cdef Segment* s = &c.seg[seg]
    s.base = base_of(raw)
    s.limit = limit_of(raw)
    s.attributes = attributes_of(raw)
    s.selector = <uint16_t>selector
    bounds_of(s)

cdef bint enter_handler_64(Cpu* c, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                           uint64_t flags) noexcept nogil:
    cdef uint64_t* gate
    cdef uint64_t* frame
    cdef uint64_t raw, offset, sp = c.r[RSP]
    cdef uint32_t rights, selector, privilege
    if unlikely((c.mode & (MODE_CODE | MODE_CET)) != MODE_CODE64 or <uint32_t>vector * 16 + 15 > c.idtr.limit):
        return False
    gate = <uint64_t*>table_pointer(c, c.idtr.base + vector * 16, 16)
    if unlikely(gate == NULL):
        return False
    rights = <uint32_t>(gate[0] >> 40)
    selector = <uint32_t>(gate[0] >> 16) & 0xFFFF
    offset = (gate[0] & 0xFFFF) | ((gate[0] >> 32) & 0xFFFF0000ULL) | (gate[1] << 32)
    if unlikely((rights & GATE_BITS) != GATE_WANTED or (gate[0] >> 32) & 7 or not selector & 0xFFFC
                or <uint64_t>(<int64_t>(offset << 16) >> 16) != offset):
        return False
    if (kind == EVENT_SOFTWARE_INT or kind == EVENT_SOFTWARE_EXCEPTION) and (rights >> 5) & 3 < c.cpl:
        return False
    raw = global_descriptor(c, selector)
    privilege = <uint32_t>(raw >> 45) & 3
    if unlikely((raw >> 40) & CODE_BITS != CODE_WANTED or privilege > c.cpl):
        return False
    if privilege < c.cpl:
        if unlikely(privilege * 8 + 11 > c.seg[TR].limit):
            return False
        frame = <uint64_t*>table_pointer(c, c.seg[TR].base + privilege * 8 + 4, 8)
        if unlikely(frame == NULL):
            return False
        sp = frame[0]
    sp = (sp & 0xFFFFFFFFFFFFFFF0ULL) - 48               # room for the error code as well
    frame = <uint64_t*>frame_pointer(c, sp, 48, True, <int>privilege)
    if unlikely(frame == NULL):
        return False
    write_frame_64(c, frame, flags, return_rip, has_error, error)
    if not has_error:
        sp += 8
    c.rflags &= ~<uint64_t>(FLAG_TF | FLAG_NT | FLAG_RF | (0 if rights & 1 else FLAG_IF))
    put(c, CS, (selector & 0xFFFC) | privilege, raw)
    if privilege < c.cpl:
        c.cpl = privilege
        set_null(c, SS, privilege)
    c.r[RSP] = sp
    c.r[REG_RIP] = offset
    refresh_key(c)
    return True

cdef bint return_64(Cpu* c) noexcept nogil:
    cdef uint64_t* frame = <uint64_t*>frame_pointer(c, c.r[RSP], 40, False, c.cpl)
    cdef uint64_t raw, stack = 0, mask
    cdef uint32_t privilege
    cdef uint16_t selector, stack_selector
    if unlikely(frame == NULL or c.rflags & FLAG_NT or c.virt.guest_mode != GUEST_NONE):
        return False
    selector = <uint16_t>frame[1]
    stack_selector = <uint16_t>frame[4]
    privilege = selector & 3
    raw = global_descriptor(c, selector)
    if unlikely(not selector & 0xFFFC or privilege < c.cpl or (stack_selector & 3) != privilege
                or (raw >> 40) & (CODE_BITS | DPL_BITS) != (CODE_WANTED | privilege << 5)
                or <uint64_t>(<int64_t>(frame[0] << 16) >> 16) != frame[0]):
        return False
    if stack_selector & 0xFFFC:
        stack = global_descriptor(c, stack_selector)
        if unlikely((stack >> 40) & (DATA_BITS | DPL_BITS) != (DATA_WANTED | privilege << 5)):
            return False
    elif privilege == 3:
        return False
    mask = iret_flags(c, 8)
    c.nmi_blocked = 0
    write_rflags(c, (c.rflags & ~mask) | (frame[2] & mask))
    c.r[REG_RIP] = frame[0]
    c.r[RSP] = frame[3]
    put(c, CS, selector, raw)
    if privilege > c.cpl:
        c.cpl = privilege
        invalidate_inner_data_segments(c)
    if stack:
        put(c, SS, stack_selector, stack)
    else:
        set_null(c, SS, stack_selector)
    refresh_key(c)
    return True
