# cython: language_level=3
"""INT n, INT3, INT1, INTO, BOUND, IRET, CLI and STI (Intel SDM volumes 2A and 2B; 3B 21.3 for virtual-8086 mode).

IRET in virtual-8086 mode with IOPL below 3 and CR4.VME works on VIF as volume 3B, 21.3.2 says; the pseudo-code of
IRET's page leaves it out.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.model cimport iret_flags, missing_flags
from x86emu.core.flags cimport read_rflags, write_rflags, get_of
from x86emu.core.memory_access cimport ld
from x86emu.core.mmu cimport system_load, frame_pointer, canonical
from x86emu.core.mode cimport refresh_mode, refresh_transfer, refresh_code_base
from x86emu.core.quick_protected cimport return_32
from x86emu.core.quick_transfers cimport interrupt_real, interrupt_return_real, return_64
from x86emu.core.resume cimport resume
from x86emu.core.trace cimport goto_indirect
from x86emu.core.cet cimport cet_return
from x86emu.core.segmentation cimport *
from x86emu.core.vmx cimport vmx_iret_unblocks
from x86emu.core.tasks cimport task_switch, interrupt_redirection_bit, TASK_IRET
from x86emu.core.interrupts cimport enter_handler, enter_v86_handler

cdef inline int iopl(Cpu* c) noexcept nogil:
    return <int>(c.rflags >> 12) & 3

# ----- software interrupts -----

cdef inline bint software_interrupt(Cpu* c, Insn* i, int vector, int kind) noexcept nogil:
    if enter_handler(c, i, vector, kind, 0, 0, next_rip_of(c, i), read_rflags(c) & ~<uint64_t>FLAG_RF):
        return True
    if unlikely(c.virt.guest_mode == GUEST_SVM):
        c.svm.software_event = <uint32_t>kind << 8 | <uint32_t>vector
    return False

cdef void INT3(Cpu* c, Insn* i) noexcept nogil:
    if software_interrupt(c, i, V_BP, EVENT_SOFTWARE_EXCEPTION):
        resume(c, i)

cdef void INT1(Cpu* c, Insn* i) noexcept nogil:
    if software_interrupt(c, i, V_DB, EVENT_ICEBP) and c.pending_debug:
        # a data breakpoint that a load of SS held off goes with this #DB
        c.dr[6] = (c.dr[6] & ~<uint64_t>0xF) | c.pending_debug
        c.pending_debug = 0

cdef void INTO(Cpu* c, Insn* i) noexcept nogil:
    if get_of(c):
        software_interrupt(c, i, V_OF, EVENT_SOFTWARE_EXCEPTION)
    else:
        finish(c, i)

cdef void INT_I(Cpu* c, Insn* i) noexcept nogil:
    if likely(interrupt_real(c, i, <uint8_t>i.imm)):
        goto_indirect(c, i, c.r[REG_RIP])    # nothing that waited can be taken now that could not be before
    elif software_interrupt_n(c, i):
        resume(c, i)

cdef bint software_interrupt_n(Cpu* c, Insn* i) noexcept nogil:
    cdef int vector = <int>(i.imm & 0xFF)
    cdef int redirected
    if c.rflags & FLAG_VM:
        redirected = interrupt_redirection_bit(c, i, vector) if c.cr4 & CR4_VME else 1
        if redirected < 0:
            return False
        if not redirected:
            enter_v86_handler(c, i, vector, next_rip_of(c, i))
            return False
        if iopl(c) < 3:
            fault_code(c, i, V_GP, 0)
            return False
    return software_interrupt(c, i, vector, EVENT_SOFTWARE_INT)

cdef bint enters_handler(handler_t handler) noexcept nogil:
    return handler == INT_I or handler == INT3 or handler == INT1

cdef inline void bound(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    """The lower bound is judged before the upper one is read, as processors do."""
    cdef uint_t lower = 0
    cdef uint_t upper = 0
    cdef uint64_t ea = ea_of(c, i)
    cdef bint outside
    if unlikely(not ld(c, i, ea, &lower)):
        return
    if uint_t is uint16_t:
        outside = <int16_t>c.r[i.dst] < <int16_t>lower
    else:
        outside = <int32_t>c.r[i.dst] < <int32_t>lower
    if not outside:
        if unlikely(not ld(c, i, (ea + sizeof(uint_t)) & c.ea_mask, &upper)):
            return
        if uint_t is uint16_t:
            outside = <int16_t>c.r[i.dst] > <int16_t>upper
        else:
            outside = <int32_t>c.r[i.dst] > <int32_t>upper
    if unlikely(outside):
        fault(c, i, V_BR)
        return
    chain(c, i)

cdef void BOUND_Rw_Ma(Cpu* c, Insn* i) noexcept nogil:
    bound(c, i, <uint16_t>0)

cdef void BOUND_Rd_Ma(Cpu* c, Insn* i) noexcept nogil:
    bound(c, i, <uint32_t>0)

# ----- the interrupt flag -----

cdef bint use_vif(Cpu* c, Insn* i, bint* virtual) noexcept nogil:
    """Which flag CLI and STI change (SDM 2A table 3-7, CLI): IF, or VIF with VME or PVI; else #GP(0)."""
    virtual[0] = False
    if c.rflags & FLAG_VM:
        if iopl(c) == 3:
            return True
        virtual[0] = (c.cr4 & CR4_VME) != 0
    else:
        if iopl(c) >= <int>c.cpl:
            return True
        virtual[0] = c.cpl == 3 and c.cr4 & CR4_PVI
    if not virtual[0]:
        fault_code(c, i, V_GP, 0)
    return virtual[0]

cdef bint privileged_cli(Cpu* c, Insn* i) noexcept nogil:
    cdef bint virtual = False
    if not use_vif(c, i, &virtual):
        return False
    c.rflags &= ~<uint64_t>(FLAG_VIF if virtual else FLAG_IF)
    return True

cdef void CLI(Cpu* c, Insn* i) noexcept nogil:
    if likely(c.cpl == 0):       # real mode included
        c.rflags &= ~<uint64_t>FLAG_IF
    elif not privileged_cli(c, i):
        return
    chain(c, i)

cdef void STI(Cpu* c, Insn* i) noexcept nogil:
    cdef bint virtual = False
    if not use_vif(c, i, &virtual):
        return
    if virtual:
        if c.rflags & FLAG_VIP:
            fault_code(c, i, V_GP, 0)
            return
        c.rflags |= FLAG_VIF
    else:
        if not c.rflags & FLAG_IF:
            c.interrupt_shadow = 1
        c.rflags |= FLAG_IF
    finish(c, i)

# ----- IRET -----

cdef enum:
    IRET_REAL32 = 0x257FD5               # all but VM, VIF, VIP

cdef inline void _set_flags(Cpu* c, uint64_t image, uint64_t mask) noexcept nogil:
    mask &= ~missing_flags(c)
    write_rflags(c, (read_rflags(c) & ~mask) | (image & mask))

cdef void _iret_real(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t rip = 0
    cdef uint64_t selector = 0
    cdef uint64_t flags = 0
    cdef uint64_t mask = 0xFFFF if size == 2 else IRET_REAL32
    cdef bint v86 = (c.rflags & FLAG_VM) != 0
    cdef bint virtual = False
    cdef Stack s
    if v86 and iopl(c) < 3:
        virtual = size == 2 and c.cr4 & CR4_VME
        if not virtual:
            fault_code(c, i, V_GP, 0)
            return
    stack_now(c, &s)
    if not stack_has(c, i, &s, size, 3):
        return
    if (not stack_pop(c, i, &s, size, &rip) or not stack_pop(c, i, &s, size, &selector)
            or not stack_pop(c, i, &s, size, &flags)):
        return
    if rip > c.seg[CS].limit:
        fault_code(c, i, V_GP, 0)
        return
    if v86:
        mask &= ~<uint64_t>FLAG_IOPL
    if virtual:
        if flags & FLAG_TF or (flags & FLAG_IF and c.rflags & FLAG_VIP):
            fault_code(c, i, V_GP, 0)
            return
        if flags & FLAG_IF:
            flags |= FLAG_VIF
        mask = (mask & ~<uint64_t>FLAG_IF) | FLAG_VIF
    commit_sp(c, &s)
    if v86:
        load_v86(c, CS, <uint32_t>selector & 0xFFFF)
    else:
        load_real(c, CS, <uint32_t>selector & 0xFFFF)
    _set_flags(c, flags, mask)
    refresh_code_base(c)
    finish_at(c, i, rip)

cdef void _iret_to_v86(Cpu* c, Insn* i, Stack* s, uint64_t rip, uint64_t selector, uint64_t flags) noexcept nogil:
    cdef uint64_t sp = 0
    cdef uint64_t selectors[6]
    if not stack_has(c, i, s, 4, 6):
        return
    selectors[CS] = selector
    if (not stack_pop(c, i, s, 4, &sp) or not stack_pop(c, i, s, 4, &selectors[SS])
            or not stack_pop(c, i, s, 4, &selectors[ES]) or not stack_pop(c, i, s, 4, &selectors[DS])
            or not stack_pop(c, i, s, 4, &selectors[FS]) or not stack_pop(c, i, s, 4, &selectors[GS])):
        return
    if rip > 0xFFFF:
        fault_code(c, i, V_GP, 0)
        return
    if unlikely(c.mode & MODE_CET) and not cet_return(c, i, 3, False, 0, 0, True):
        return
    write_rflags(c, flags & ~missing_flags(c))
    c.cpl = 3
    cdef int k
    for k in range(6):
        load_v86(c, k, <uint32_t>selectors[k] & 0xFFFF)
    c.r[RSP] = sp
    refresh_mode(c)
    finish_at(c, i, rip)

cdef void _iret_task(Cpu* c, Insn* i) noexcept nogil:
    """Nested task return (SDM 2A, IRET: TASK-RETURN)."""
    cdef uint64_t link = 0
    cdef uint64_t raw = 0
    cdef uint32_t selector, attributes
    if not system_load(c, i, c.seg[TR].base, 2, &link):
        return
    selector = <uint32_t>link
    if selector & 4 or not selector & 0xFFFC:
        fault_code(c, i, V_TS, selector & 0xFFFC)
        return
    if not read_descriptor_or(c, i, selector, &raw, V_TS, 0):
        return
    attributes = attributes_of(raw)
    if (attributes & (ATTR_S | 7)) != 3:         # types 3 and Bh: busy
        fault_code(c, i, V_TS, selector & 0xFFFC)
        return
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, selector & 0xFFFC)
        return
    task_switch(c, i, selector, raw, TASK_IRET, next_rip_of(c, i), read_rflags(c), 0, 0, 0)

cdef bint _return_code(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw) noexcept nogil:
    """The code segment that IRET returns to."""
    cdef uint32_t attributes
    cdef uint32_t error = selector & 0xFFFC
    cdef int rpl = selector & 3
    cdef int dpl
    if not error:
        fault_code(c, i, V_GP, 0)
        return False
    if not read_descriptor(c, i, selector, raw):
        return False
    attributes = attributes_of(raw[0])
    dpl = dpl_of(attributes)
    if (not is_code(attributes) or rpl < <int>c.cpl
            or (long_mode(c) and (attributes & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB))
            or (dpl > rpl if is_conforming(attributes) else dpl != rpl)):
        fault_code(c, i, V_GP, error)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, error)
        return False
    return mark_accessed(c, i, selector, raw)

cdef void _iret_protected(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t rip = 0
    cdef uint64_t selector = 0
    cdef uint64_t flags = 0
    cdef uint64_t sp = 0
    cdef uint64_t ss_selector = 0
    cdef uint64_t raw = 0
    cdef uint64_t mask
    cdef Segment code, ss
    cdef Stack s
    cdef int rpl
    cdef bint outer, to64, with_stack
    cdef uint64_t* frame = NULL
    stack_now(c, &s)
    if not stack_has(c, i, &s, size, 3):
        return
    if size == 8 and s.flat:
        frame = <uint64_t*>frame_pointer(c, s.sp, 40, False, c.cpl)
    if frame != NULL:
        rip = frame[0]
        selector = frame[1]
        flags = frame[2]
        s.sp += 24
    elif (not stack_pop(c, i, &s, size, &rip) or not stack_pop(c, i, &s, size, &selector)
            or not stack_pop(c, i, &s, size, &flags)):
        return
    selector &= 0xFFFF
    if flags & FLAG_VM and size == 4 and c.cpl == 0 and not long_mode(c):
        _iret_to_v86(c, i, &s, rip, selector, flags)
        return
    if not _return_code(c, i, <uint32_t>selector, &raw):
        return
    rpl = <int>(selector & 3)
    outer = rpl > <int>c.cpl
    with_stack = outer or code64(c)
    segment_from(&code, <uint32_t>selector, raw)
    to64 = long_mode(c) and code.attributes & ATTR_L
    if with_stack:
        if not stack_has(c, i, &s, size, 2):
            return
        if frame != NULL:
            sp = frame[3]
            ss_selector = frame[4]
        elif not stack_pop(c, i, &s, size, &sp) or not stack_pop(c, i, &s, size, &ss_selector):
            return
        ss_selector &= 0xFFFF
        if not ss_selector & 0xFFFC:
            if not to64 or rpl == 3 or <int>(ss_selector & 3) != rpl:
                fault_code(c, i, V_GP, 0)
                return
            ss.attributes = ATTR_UNUSABLE
        elif not _return_stack(c, i, <uint32_t>ss_selector, rpl, &ss):
            return
    if to64:
        if not canonical(c, rip):
            fault_code(c, i, V_GP, 0)
            return
    elif rip > code.limit:
        fault_code(c, i, V_GP, 0)
        return
    if unlikely(c.mode & MODE_CET) and not cet_return(c, i, rpl, to64, <uint32_t>selector, (0 if to64 else code.base) + rip,
                                                      True):
        return
    mask = iret_flags(c, size)
    c.cpl = rpl
    load_cache(c, CS, &code)
    if with_stack:
        if ss.attributes & ATTR_UNUSABLE:
            load_null(c, SS, <uint32_t>ss_selector)
        else:
            load_cache(c, SS, &ss)
        if to64:
            s.mask = 0xFFFFFFFFFFFFFFFFULL
        else:
            s.mask = 0xFFFFFFFF if ss.attributes & ATTR_DB else 0xFFFF
        s.sp = sp
    commit_sp(c, &s)
    _set_flags(c, flags, mask)
    if outer:
        invalidate_inner_data_segments(c)
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef bint _return_stack(Cpu* c, Insn* i, uint32_t selector, int rpl, Segment* s) noexcept nogil:
    cdef uint64_t raw = 0
    cdef uint32_t attributes
    if not read_descriptor(c, i, selector, &raw):
        return False
    attributes = attributes_of(raw)
    if <int>(selector & 3) != rpl or not is_writable_data(attributes) or dpl_of(attributes) != rpl:
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_SS, selector & 0xFFFC)
        return False
    if not mark_accessed(c, i, selector, &raw):
        return False
    segment_from(s, selector, raw)
    return True

cdef void _iret(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    if unlikely(c.virt.guest_mode == GUEST_SVM and c.svm.virtual_nmi_enabled):
        c.svm.virtual_nmi_blocked = 0        # APM 2, 15.21.10
    elif likely(c.virt.guest_mode != GUEST_VMX) or vmx_iret_unblocks(c):
        c.nmi_blocked = 0        # even where the IRET faults (SDM 3A 6.7.1)
    if not c.cr0 & CR0_PE or c.rflags & FLAG_VM:
        _iret_real(c, i, size)
    elif c.rflags & FLAG_NT:
        if long_mode(c):
            fault_code(c, i, V_GP, 0)
        else:
            _iret_task(c, i)
    else:
        _iret_protected(c, i, size)

cdef void IRET_w(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not interrupt_return_real(c)):
        _iret(c, i, 2)
    resume(c, i)

cdef void IRET_d(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not return_32(c)):
        _iret(c, i, 4)
    resume(c, i)

cdef void IRET_q(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not return_64(c)):
        _iret(c, i, 8)
    resume(c, i)

cdef void IRET_q_cet(Cpu* c, Insn* i) noexcept nogil:
    _iret(c, i, 8)
    resume(c, i)

include "register_interrupt_instructions.pxi"
