# cython: language_level=3
# Interrupts, their returns and far transfers where nothing is out of order: what these functions need of descriptors
# and stacks is in the TLB and right, or they return False and have changed nothing; the general ones then look anew
# (SDM 3A 6.12 to 6.14; 3B 21.1).  They are for instructions that end their trace, or for events between two (i NULL).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.memory_access cimport read_entry, write_entry, entry_holds
from x86emu.core.stack cimport set_sp
from x86emu.core.features cimport *

cdef inline uint8_t* table_pointer(Cpu* c, uint64_t linear, uint32_t n) noexcept nogil:
    """Host address of n bytes of a system table, or NULL."""
    cdef TlbEntry* t = read_entry(c, linear)
    if likely(t.tag == (((linear + n - 1) & 0xFFFFFFFFFFFFF000ULL) | c.key_super)):
        return <uint8_t*>(t.addend + linear)
    return NULL

cdef inline void write_frame_64(Cpu* c, uint64_t* frame, uint64_t flags, uint64_t return_rip, bint has_error,
                                uint32_t error) noexcept nogil:
    """What a handler of IA-32e mode finds on its stack (SDM 3A 6.14.2); frame has room for the error code as well."""
    frame[5] = c.seg[SS].selector
    frame[4] = c.r[RSP]
    frame[3] = flags
    frame[2] = c.seg[CS].selector
    frame[1] = return_rip
    if has_error:
        frame[0] = error

# IA-32e mode, from 64-bit code to 64-bit code.
cdef bint enter_handler_64(Cpu* c, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                           uint64_t flags) noexcept nogil
cdef bint return_64(Cpu* c) noexcept nogil

# ----- real mode: segments of 64 KiB, which a load of the register leaves as they are but for the base -----

cdef enum:
    REAL_ATTRIBUTES = 0x93

cdef inline bint plainly_real(Cpu* c, Segment* s) noexcept nogil:
    return (not c.cr0 & CR0_PE and s.attributes == REAL_ATTRIBUTES and s.limit == 0xFFFF
            and not c.features[<int>FEATURE_PRE386])

cdef inline void go_real(Cpu* c, uint32_t selector, uint64_t rip) noexcept nogil:
    c.seg[CS].selector = <uint16_t>selector
    c.seg[CS].base = <uint64_t>(selector & 0xFFFF) << 4
    c.cs_base = c.seg[CS].base
    c.r[REG_RIP] = rip

cdef inline bint real_segment(Cpu* c, int seg, uint32_t selector) noexcept nogil:
    """Loads ES, DS, FS or GS; nothing else depends on them then."""
    cdef Segment* s = &c.seg[seg]
    if unlikely(seg == SS or not plainly_real(c, s)):
        return False
    s.selector = <uint16_t>selector
    s.base = <uint64_t>(selector & 0xFFFF) << 4
    if seg >= FS:
        c.r[REG_FS_BASE + seg - FS] = s.base
    return True

cdef inline bint far_jump_real(Cpu* c, uint32_t selector, uint64_t rip) noexcept nogil:
    if unlikely(not plainly_real(c, &c.seg[CS])):
        return False
    go_real(c, selector, rip)
    return True

cdef inline bint far_call_real(Cpu* c, Insn* i, uint32_t selector, uint64_t rip) noexcept nogil:
    cdef uint64_t sp = (c.r[RSP] - 4) & c.sp_mask
    cdef uint64_t linear = sp + c.stack_base
    cdef TlbEntry* t = write_entry(c, linear)
    if unlikely(sp >= c.stack_limit or not entry_holds(c, t, linear, <uint32_t>0) or not plainly_real(c, &c.seg[CS])):
        return False
    (<uint32_t*>(t.addend + linear))[0] = <uint32_t>c.seg[CS].selector << 16 | <uint16_t>next_rip_of(c, i)
    set_sp(c, sp)
    go_real(c, selector, rip)
    return True

cdef inline bint far_return_real(Cpu* c) noexcept nogil:
    cdef uint64_t sp = c.r[RSP] & c.sp_mask
    cdef uint64_t linear = sp + c.stack_base
    cdef TlbEntry* t = read_entry(c, linear)
    cdef uint32_t frame
    if unlikely(sp >= c.stack_limit or not entry_holds(c, t, linear, <uint32_t>0) or not plainly_real(c, &c.seg[CS])):
        return False
    frame = (<uint32_t*>(t.addend + linear))[0]
    set_sp(c, sp + 4)
    go_real(c, frame >> 16, frame & 0xFFFF)
    return True

# The six bytes of an interrupt's frame are asked for as eight.
cdef inline bint interrupt_real(Cpu* c, Insn* i, uint32_t vector) noexcept nogil:
    cdef uint64_t sp = (c.r[RSP] - 6) & c.sp_mask
    cdef uint64_t linear = sp + c.stack_base, entry = (c.idtr.base + vector * 4) & 0xFFFFFFFFULL
    cdef TlbEntry* t = write_entry(c, linear)
    cdef TlbEntry* table = read_entry(c, entry)
    cdef uint32_t target
    if unlikely(sp >= c.stack_limit or not entry_holds(c, t, linear, <uint64_t>0)
                or not entry_holds(c, table, entry, <uint32_t>0) or vector * 4 + 3 > c.idtr.limit
                or not plainly_real(c, &c.seg[CS])):
        return False
    target = (<uint32_t*>(table.addend + entry))[0]
    (<uint32_t*>(t.addend + linear))[0] = <uint32_t>c.seg[CS].selector << 16 | <uint16_t>next_rip_of(c, i)
    (<uint16_t*>(t.addend + linear + 4))[0] = <uint16_t>read_rflags(c)
    set_sp(c, sp)
    c.rflags &= ~<uint64_t>(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF)
    go_real(c, target >> 16, target & 0xFFFF)
    return True

cdef inline bint interrupt_return_real(Cpu* c) noexcept nogil:
    cdef uint64_t sp = c.r[RSP] & c.sp_mask
    cdef uint64_t linear = sp + c.stack_base
    cdef TlbEntry* t = read_entry(c, linear)
    cdef uint32_t frame, flags
    if unlikely(sp >= c.stack_limit or not entry_holds(c, t, linear, <uint64_t>0)
                or not plainly_real(c, &c.seg[CS]) or c.virt.guest_mode != GUEST_NONE):
        return False
    frame = (<uint32_t*>(t.addend + linear))[0]
    flags = (<uint16_t*>(t.addend + linear + 4))[0]
    c.nmi_blocked = 0
    set_sp(c, sp + 6)
    write_rflags(c, (c.rflags & ~<uint64_t>0xFFFF) | flags)
    go_real(c, frame >> 16, frame & 0xFFFF)
    return True
