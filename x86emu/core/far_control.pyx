# cython: language_level=3
"""Far JMP, CALL and RET: real mode, direct transfers, call gates, task gates and TSSs, stack switches.

Intel SDM volume 2A, CALL and JMP; volume 2B, RET; volume 3A, 5.8 (privilege), 5.8.3 to 5.8.6 (gates, stacks, returns).
Departure: AMD's processors ignore REX.W on far pointers in memory (APM volume 3, JMP far): 16:32 there.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags
from x86emu.core.memory_access cimport ld
from x86emu.core.mmu cimport canonical
from x86emu.core.mode cimport refresh_transfer, refresh_code_base
from x86emu.core.quick_transfers cimport far_call_real, far_jump_real, far_return_real
from x86emu.core.resume cimport resume
from x86emu.core.trace cimport goto_indirect
from x86emu.core.cet cimport cet_enter, cet_jump, cet_return
from x86emu.core.segmentation cimport *
from x86emu.core.tasks cimport task_switch, available_tss, TASK_CALL, TASK_JMP
from x86emu.core.vendor cimport is_amd

cdef enum:
    TYPE_TSS16 = 1
    TYPE_CALL_GATE16 = 4
    TYPE_TASK_GATE = 5
    TYPE_TSS = 9
    TYPE_CALL_GATE = 0xC

cdef inline bint _outside(Cpu* c, Insn* i, Segment* code, uint64_t rip) noexcept nogil:
    """#GP(0) if rip is no place in a code segment: its limit, or canonical form in 64-bit code."""
    if long_mode(c) and code.attributes & ATTR_L:
        if canonical(c, rip):
            return False
    elif rip <= code.limit:
        return False
    fault_code(c, i, V_GP, 0)
    return True

cdef bint _push_return(Cpu* c, Insn* i, Stack* s, uint32_t size, uint64_t rip) noexcept nogil:
    return stack_push(c, i, s, size, c.seg[CS].selector) and stack_push(c, i, s, size, rip)

cdef bint _enforce(Cpu* c, Insn* i, Segment* code, bint call) noexcept nogil:
    """Control-flow enforcement of a transfer at the same CPL, whose faults come last."""
    cdef bint wide = long_mode(c) and code.attributes & ATTR_L
    if call:
        return cet_enter(c, i, c.cpl, 0, wide, c.seg[CS].selector, c.cs_base + next_rip_of(c, i), 0)
    return cet_jump(c, i, wide)

# ----- real and virtual-8086 mode -----

cdef void _far_real(Cpu* c, Insn* i, uint32_t selector, uint64_t rip, uint32_t size, bint call) noexcept nogil:
    cdef Stack s
    if call:
        stack_now(c, &s)
        if not stack_room(c, i, &s, size, 2):
            return
    # a transfer does not change the limit of CS, so the one in force checks the target
    if rip > c.seg[CS].limit:
        fault_code(c, i, V_GP, 0)
        return
    if call:
        if not _push_return(c, i, &s, size, next_rip_of(c, i)):
            return
        commit_sp(c, &s)
    if c.rflags & FLAG_VM:
        load_v86(c, CS, selector)
    else:
        load_real(c, CS, selector)
    refresh_code_base(c)
    finish_at(c, i, rip)

# ----- tasks -----

cdef bint _task_privilege(Cpu* c, Insn* i, uint32_t selector, uint32_t attributes) noexcept nogil:
    """DPL of a TSS descriptor or task gate against CPL and RPL."""
    if dpl_of(attributes) < <int>c.cpl or dpl_of(attributes) < <int>(selector & 3):
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, selector & 0xFFFC)
        return False
    return True

cdef void _to_task(Cpu* c, Insn* i, uint32_t selector, uint64_t raw, bint call) noexcept nogil:
    cdef uint32_t attributes = attributes_of(raw)
    cdef uint64_t tss = 0
    if not _task_privilege(c, i, selector, attributes):
        return
    if (attributes & ATTR_TYPE) == TYPE_TASK_GATE:
        selector = <uint32_t>(raw >> 16) & 0xFFFF
    if not available_tss(c, i, selector, &tss, V_GP, 0):
        return
    task_switch(c, i, selector, tss, TASK_CALL if call else TASK_JMP, next_rip_of(c, i),
                read_rflags(c) & ~<uint64_t>FLAG_RF, 0, 0, 0)

# ----- call gates -----

cdef void _inner_call(Cpu* c, Insn* i, uint64_t gate, uint32_t selector, uint64_t raw, uint64_t rip,
                      uint32_t size) noexcept nogil:
    """CALL through a gate to more privilege: a stack from the TSS, with the parameters copied."""
    cdef int dpl = dpl_of(attributes_of(raw))
    cdef uint32_t count = 0 if size == 8 else <uint32_t>(gate >> 32) & 0x1F
    cdef uint32_t stack_selector = 0
    cdef uint64_t stack_offset = 0
    cdef uint64_t value = 0
    cdef uint32_t k
    cdef Segment code, ss
    cdef Stack old, new
    if not inner_stack_pointer(c, i, dpl, &stack_selector, &stack_offset, 0):
        return
    if size == 8:
        stack_flat(&new, stack_offset, dpl, 0)
    else:
        if not inner_stack_segment(c, i, stack_selector, dpl, &ss, 0):
            return
        stack_of(&new, &ss, stack_offset, dpl, stack_selector & 0xFFFC)
    if not stack_room(c, i, &new, size, count + 4):
        return
    segment_from(&code, (selector & 0xFFFC) | dpl, raw)
    if _outside(c, i, &code, rip):
        return
    if not mark_accessed(c, i, selector, &raw):
        return
    code.attributes |= ATTR_ACCESSED
    if not stack_push(c, i, &new, size, c.seg[SS].selector) or not stack_push(c, i, &new, size, c.r[RSP]):
        return
    stack_now(c, &old)
    for k in range(count):
        if (not stack_peek(c, i, &old, <uint64_t>(count - 1 - k) * size, size, &value)
                or not stack_push(c, i, &new, size, value)):
            return
    if not _push_return(c, i, &new, size, next_rip_of(c, i)):
        return
    if unlikely(c.mode & MODE_CET) and not cet_enter(c, i, dpl, 0, size == 8, c.seg[CS].selector,
                                                     c.cs_base + next_rip_of(c, i), 0):
        return
    c.cpl = dpl
    load_cache(c, CS, &code)
    if size == 8:
        load_null(c, SS, dpl)
        c.r[RSP] = new.sp
    else:
        load_cache(c, SS, &ss)
        c.r[RSP] = stack_offset & 0xFFFFFFFFULL
        commit_sp(c, &new)
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef void _through_gate(Cpu* c, Insn* i, uint32_t gate_selector, uint64_t gate, bint call) noexcept nogil:
    cdef uint32_t attributes = attributes_of(gate)
    cdef uint32_t selector = <uint32_t>(gate >> 16) & 0xFFFF
    cdef uint32_t size = 8 if long_mode(c) else (4 if attributes & 8 else 2)
    cdef uint64_t rip = gate & 0xFFFF
    cdef uint64_t raw = 0
    cdef uint64_t high = 0
    cdef int dpl
    cdef Segment code
    cdef Stack s
    if dpl_of(attributes) < <int>c.cpl or dpl_of(attributes) < <int>(gate_selector & 3):
        fault_code(c, i, V_GP, gate_selector & 0xFFFC)
        return
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, gate_selector & 0xFFFC)
        return
    if size != 2:
        rip |= (gate >> 32) & 0xFFFF0000ULL
    if size == 8:
        if not read_upper_descriptor(c, i, gate_selector, &high, V_GP, gate_selector & 0xFFFC):
            return
        if high & 0x1F0000000000ULL:         # the type field of the upper half must be 0 (SDM 3A 5.8.3.1)
            fault_code(c, i, V_GP, gate_selector & 0xFFFC)
            return
        rip |= high << 32
    if not selector & 0xFFFC:
        fault_code(c, i, V_GP, 0)
        return
    if not read_descriptor(c, i, selector, &raw):
        return
    attributes = attributes_of(raw)
    dpl = dpl_of(attributes)
    if (not is_code(attributes) or dpl > <int>c.cpl or (size == 8 and (attributes & (ATTR_L | ATTR_DB)) != ATTR_L)
            or (not call and not is_conforming(attributes) and dpl != <int>c.cpl)):
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, selector & 0xFFFC)
        return
    if call and not is_conforming(attributes) and dpl < <int>c.cpl:
        _inner_call(c, i, gate, selector, raw, rip, size)
        return
    if call:
        stack_now(c, &s)
        if size == 8 and not s.flat:         # from compatibility mode: the pushes are 64-bit mode's
            stack_flat(&s, s.sp, c.cpl, 0)
        if not stack_room(c, i, &s, size, 2):
            return
    segment_from(&code, (selector & 0xFFFC) | c.cpl, raw)
    if _outside(c, i, &code, rip):
        return
    if not mark_accessed(c, i, selector, &raw):
        return
    code.attributes |= ATTR_ACCESSED
    if call and not _push_return(c, i, &s, size, next_rip_of(c, i)):
        return
    if unlikely(c.mode & MODE_CET) and not _enforce(c, i, &code, call):
        return
    if call:
        commit_sp(c, &s)
    load_cache(c, CS, &code)
    refresh_transfer(c)
    finish_at(c, i, rip)

# ----- protected mode -----

cdef void _far(Cpu* c, Insn* i, uint32_t selector, uint64_t rip, uint32_t size, bint call) noexcept nogil:
    cdef uint64_t raw = 0
    cdef uint32_t attributes, type_
    cdef Segment code
    cdef Stack s
    if not protected_mode(c):
        _far_real(c, i, selector, rip, size, call)
        return
    if not selector & 0xFFFC:
        fault_code(c, i, V_GP, 0)
        return
    if not read_descriptor(c, i, selector, &raw):
        return
    attributes = attributes_of(raw)
    if not attributes & ATTR_S:
        type_ = attributes & ATTR_TYPE
        if type_ == TYPE_CALL_GATE or (type_ == TYPE_CALL_GATE16 and not long_mode(c)):
            _through_gate(c, i, selector, raw, call)
        elif (type_ == TYPE_TASK_GATE or type_ == TYPE_TSS or type_ == TYPE_TSS16) and not long_mode(c):
            _to_task(c, i, selector, raw, call)
        else:
            fault_code(c, i, V_GP, selector & 0xFFFC)
        return
    if not is_code(attributes):
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return
    if not check_code_target(c, i, selector, raw):
        return
    segment_from(&code, (selector & 0xFFFC) | c.cpl, raw)
    if call:
        stack_now(c, &s)
        if not stack_room(c, i, &s, size, 2):
            return
    if _outside(c, i, &code, rip):
        return
    if not mark_accessed(c, i, selector, &raw):
        return
    code.attributes |= ATTR_ACCESSED
    if call and not _push_return(c, i, &s, size, next_rip_of(c, i)):
        return
    if unlikely(c.mode & MODE_CET) and not _enforce(c, i, &code, call):
        return
    if call:
        commit_sp(c, &s)
    load_cache(c, CS, &code)
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef void _far_indirect(Cpu* c, Insn* i, uint32_t size, bint call) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef uint64_t rip = 0
    cdef uint32_t rip32 = 0
    cdef uint16_t rip16 = 0
    cdef uint16_t selector = 0
    if size == 8 and is_amd(c):
        size = 4
    if size == 2:
        if not ld(c, i, ea, &rip16):
            return
        rip = rip16
    elif size == 4:
        if not ld(c, i, ea, &rip32):
            return
        rip = rip32
    elif not ld(c, i, ea, &rip):
        return
    if not ld(c, i, (ea + size) & c.ea_mask, &selector):
        return
    _far(c, i, selector, rip, size, call)

# In real mode nothing can be taken after a far transfer that could not be before: no look at what waits.
cdef void JMP_Aw(Cpu* c, Insn* i) noexcept nogil:
    if likely(far_jump_real(c, <uint16_t>(i.imm >> 32), i.imm & 0xFFFF)):
        goto_indirect(c, i, c.r[REG_RIP])
    else:
        _far(c, i, <uint32_t>(i.imm >> 32) & 0xFFFF, i.imm & 0xFFFF, 2, 0)
        resume(c, i)

cdef void JMP_Ad(Cpu* c, Insn* i) noexcept nogil:
    _far(c, i, <uint32_t>(i.imm >> 32) & 0xFFFF, <uint32_t>i.imm, 4, 0)
    resume(c, i)

cdef void CALL_Aw(Cpu* c, Insn* i) noexcept nogil:
    if likely(far_call_real(c, i, <uint16_t>(i.imm >> 32), i.imm & 0xFFFF)):
        goto_indirect(c, i, c.r[REG_RIP])
    else:
        _far(c, i, <uint32_t>(i.imm >> 32) & 0xFFFF, i.imm & 0xFFFF, 2, 1)
        resume(c, i)

cdef void CALL_Ad(Cpu* c, Insn* i) noexcept nogil:
    _far(c, i, <uint32_t>(i.imm >> 32) & 0xFFFF, <uint32_t>i.imm, 4, 1)
    resume(c, i)

cdef void JMP_Mp_w(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 2, 0)
    resume(c, i)

cdef void JMP_Mp_d(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 4, 0)
    resume(c, i)

cdef void JMP_Mp_q(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 8, 0)
    resume(c, i)

cdef void CALL_Mp_w(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 2, 1)
    resume(c, i)

cdef void CALL_Mp_d(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 4, 1)
    resume(c, i)

cdef void CALL_Mp_q(Cpu* c, Insn* i) noexcept nogil:
    _far_indirect(c, i, 8, 1)
    resume(c, i)

# ----- RET far -----

cdef void _return_real(Cpu* c, Insn* i, uint32_t size, uint32_t release) noexcept nogil:
    cdef uint64_t rip = 0
    cdef uint64_t selector = 0
    cdef Stack s
    stack_now(c, &s)
    if not stack_has(c, i, &s, size, 2):
        return
    if not stack_pop(c, i, &s, size, &rip) or not stack_pop(c, i, &s, size, &selector):
        return
    if rip > c.seg[CS].limit:
        fault_code(c, i, V_GP, 0)
        return
    s.sp = (s.sp + release) & s.mask
    commit_sp(c, &s)
    if c.rflags & FLAG_VM:
        load_v86(c, CS, <uint32_t>selector & 0xFFFF)
    else:
        load_real(c, CS, <uint32_t>selector & 0xFFFF)
    refresh_code_base(c)
    finish_at(c, i, rip)

cdef bint _return_stack(Cpu* c, Insn* i, uint32_t selector, int rpl, bint to64, Segment* s) noexcept nogil:
    """The outer SS that RET pops."""
    cdef uint64_t raw = 0
    cdef uint32_t attributes
    if not selector & 0xFFFC:
        if to64 and rpl != 3 and <int>(selector & 3) == rpl:
            s.attributes = ATTR_UNUSABLE
            return True
        fault_code(c, i, V_GP, 0)
        return False
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

cdef void _return_far(Cpu* c, Insn* i, uint32_t size, uint32_t release) noexcept nogil:
    cdef uint64_t rip = 0
    cdef uint64_t value = 0
    cdef uint64_t sp = 0
    cdef uint64_t raw = 0
    cdef uint32_t selector, attributes
    cdef uint32_t ss_selector = 0
    cdef int rpl, dpl
    cdef bint to64
    cdef Segment code, ss
    cdef Stack s
    if not protected_mode(c):
        _return_real(c, i, size, release)
        return
    stack_now(c, &s)
    if not stack_has(c, i, &s, size, 2):
        return
    if not stack_pop(c, i, &s, size, &rip) or not stack_pop(c, i, &s, size, &value):
        return
    selector = <uint32_t>value & 0xFFFF
    if not selector & 0xFFFC:
        fault_code(c, i, V_GP, 0)
        return
    if not read_descriptor(c, i, selector, &raw):
        return
    attributes = attributes_of(raw)
    dpl = dpl_of(attributes)
    rpl = selector & 3
    if (not is_code(attributes) or rpl < <int>c.cpl
            or (long_mode(c) and (attributes & (ATTR_L | ATTR_DB)) == (ATTR_L | ATTR_DB))
            or (dpl > rpl if is_conforming(attributes) else dpl != rpl)):
        fault_code(c, i, V_GP, selector & 0xFFFC)
        return
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, selector & 0xFFFC)
        return
    segment_from(&code, selector, raw)
    to64 = long_mode(c) and attributes & ATTR_L
    s.sp = (s.sp + release) & s.mask
    if rpl > <int>c.cpl:
        if not stack_has(c, i, &s, size, 2):
            return
        if not stack_pop(c, i, &s, size, &sp) or not stack_pop(c, i, &s, size, &value):
            return
        ss_selector = <uint32_t>value & 0xFFFF
        if not _return_stack(c, i, ss_selector, rpl, to64, &ss):
            return
    if _outside(c, i, &code, rip):
        return
    if not mark_accessed(c, i, selector, &raw):
        return
    code.attributes |= ATTR_ACCESSED
    if unlikely(c.mode & MODE_CET) and not cet_return(c, i, rpl, to64, selector, (0 if to64 else code.base) + rip, False):
        return
    load_cache(c, CS, &code)
    if rpl > <int>c.cpl:
        c.cpl = rpl
        if ss.attributes & ATTR_UNUSABLE:
            load_null(c, SS, ss_selector)
        else:
            load_cache(c, SS, &ss)
        if to64:
            s.mask = 0xFFFFFFFFFFFFFFFFULL
        else:
            s.mask = 0xFFFFFFFF if ss.attributes & ATTR_DB else 0xFFFF
        s.sp = (sp + release) & s.mask       # the parameters on the outer stack too
        commit_sp(c, &s)
        invalidate_inner_data_segments(c)
    else:
        commit_sp(c, &s)
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef void RETF_w(Cpu* c, Insn* i) noexcept nogil:
    if likely(far_return_real(c)):
        goto_indirect(c, i, c.r[REG_RIP])
    else:
        _return_far(c, i, 2, 0)
        resume(c, i)

cdef void RETF_d(Cpu* c, Insn* i) noexcept nogil:
    _return_far(c, i, 4, 0)
    resume(c, i)

cdef void RETF_q(Cpu* c, Insn* i) noexcept nogil:
    _return_far(c, i, 8, 0)
    resume(c, i)

cdef void RETF_I_w(Cpu* c, Insn* i) noexcept nogil:
    _return_far(c, i, 2, i.imm & 0xFFFF)
    resume(c, i)

cdef void RETF_I_d(Cpu* c, Insn* i) noexcept nogil:
    _return_far(c, i, 4, i.imm & 0xFFFF)
    resume(c, i)

cdef void RETF_I_q(Cpu* c, Insn* i) noexcept nogil:
    _return_far(c, i, 8, i.imm & 0xFFFF)
    resume(c, i)

include "register_far_control.pxi"
