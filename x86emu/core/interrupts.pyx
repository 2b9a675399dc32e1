# cython: language_level=3
"""Delivery of interrupts and exceptions in every mode, double faults and shutdown.

Intel SDM volume 3A chapter 6 (tables 6-1 and 6-5; 6.12 for gates and stack switches; 6.14 for IA-32e mode), volume 2A,
INT n (the order of checks), volume 3B, 21.1.4 (real mode) and 21.3 (virtual-8086 mode), 18.3.1.1 (RF in the pushed
EFLAGS).  EXT is 1 for everything but INT n, INT3 and INTO.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags
from x86emu.core.mmu cimport system_load, load_as, frame_pointer, canonical
from x86emu.core.mode cimport refresh_mode, refresh_transfer, refresh_code_base
from x86emu.core.cet cimport cet_enter
from x86emu.core.segmentation cimport *
from x86emu.core.features cimport *
from x86emu.core.early cimport real_mode_flags
from x86emu.core.vmx_exit cimport vmx_event_delivered, vmx_exception, vmx_shutdown
from x86emu.core.svm cimport svm_intercepts, SVM_SHUTDOWN
from x86emu.core.svm_exit cimport svm_exception, svm_exit
from x86emu.core.exits cimport note_exception, note_fault
from x86emu.core.tasks cimport task_switch, available_tss, TASK_EVENT
from x86emu.core.quick_protected cimport enter_handler_32
from x86emu.core.quick_transfers cimport enter_handler_64, write_frame_64

cdef enum:
    GATE_TASK = 5
    GATE_INTERRUPT16 = 6
    GATE_TRAP16 = 7
    GATE_INTERRUPT = 0xE
    GATE_TRAP = 0xF

cdef inline void _commit_rip(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    if i == NULL:
        c.r[REG_RIP] = rip
    else:
        finish_at(c, i, rip)

cdef bint _real_mode(Cpu* c, Insn* i, int vector, uint64_t return_rip, uint64_t flags, uint32_t ext) noexcept nogil:
    cdef uint64_t entry = 0
    cdef Stack s
    if <uint32_t>vector * 4 + 3 > c.idtr.limit:
        fault_code(c, i, V_GP, vector * 8 + 2 + ext)
        return False
    if not system_load(c, i, (c.idtr.base + vector * 4) & 0xFFFFFFFFULL, 4, &entry):
        return False
    if c.features[<int>FEATURE_PRE386]:
        flags = real_mode_flags(c, flags)
    stack_now(c, &s)
    if not stack_room(c, i, &s, 2, 3):
        return False
    if (entry & 0xFFFF) > c.seg[CS].limit:
        fault_code(c, i, V_GP, ext)
        return False
    if (not stack_push(c, i, &s, 2, flags & 0xFFFF) or not stack_push(c, i, &s, 2, c.seg[CS].selector)
            or not stack_push(c, i, &s, 2, return_rip & 0xFFFF)):
        return False
    commit_sp(c, &s)
    load_real(c, CS, <uint32_t>(entry >> 16) & 0xFFFF)
    c.rflags &= ~<uint64_t>(FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF)
    refresh_code_base(c)
    _commit_rip(c, i, entry & 0xFFFF)
    return True

cdef bint enter_v86_handler(Cpu* c, Insn* i, int vector, uint64_t return_rip) noexcept nogil:
    cdef uint64_t entry = 0
    cdef uint64_t flags = read_rflags(c) & ~<uint64_t>FLAG_RF
    cdef bint virtual = (c.rflags & FLAG_IOPL) != FLAG_IOPL
    cdef Stack s
    if not load_as(c, i, <uint64_t>vector * 4, 4, &entry, 3):
        return False
    if virtual:      # SDM 3B 21.3.3.4: IOPL 3 and VIF in place of IF in the image
        flags = (flags & ~<uint64_t>FLAG_IF) | FLAG_IOPL | (FLAG_IF if flags & FLAG_VIF else 0)
    stack_now(c, &s)
    if (not stack_push(c, i, &s, 2, flags & 0xFFFF) or not stack_push(c, i, &s, 2, c.seg[CS].selector)
            or not stack_push(c, i, &s, 2, return_rip & 0xFFFF)):
        return False
    commit_sp(c, &s)
    load_v86(c, CS, <uint32_t>(entry >> 16) & 0xFFFF)
    c.rflags &= ~<uint64_t>(FLAG_TF | FLAG_RF | FLAG_NT | (FLAG_VIF if virtual else FLAG_IF))
    refresh_mode(c)
    _commit_rip(c, i, entry & 0xFFFF)
    return True

cdef bint _through_task_gate(Cpu* c, Insn* i, uint64_t gate, bint has_error, uint32_t error, uint64_t return_rip,
                             uint64_t flags, uint32_t ext) noexcept nogil:
    cdef uint32_t selector = <uint32_t>(gate >> 16) & 0xFFFF
    cdef uint64_t raw = 0
    if not available_tss(c, i, selector, &raw, V_GP, ext):
        return False
    return task_switch(c, i, selector, raw, TASK_EVENT, return_rip, flags, has_error, error, ext)

cdef bint _handler_code(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, bint* inner, uint32_t ext) noexcept nogil:
    """The code segment that a gate names (SDM 2A, INT n: PROTECTED-MODE, TRAP-OR-INTERRUPT-GATE)."""
    cdef uint32_t attributes
    cdef uint32_t error = (selector & 0xFFFC) | ext
    cdef int dpl
    if not selector & 0xFFFC:
        fault_code(c, i, V_GP, ext)
        return False
    if not read_descriptor_or(c, i, selector, raw, V_GP, ext):
        return False
    attributes = attributes_of(raw[0])
    dpl = dpl_of(attributes)
    if not is_code(attributes) or dpl > <int>c.cpl:
        fault_code(c, i, V_GP, error)
        return False
    if long_mode(c) and (attributes & (ATTR_L | ATTR_DB)) != ATTR_L:
        fault_code(c, i, V_GP, error)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, error)
        return False
    inner[0] = not is_conforming(attributes) and dpl < <int>c.cpl
    if c.rflags & FLAG_VM and (not inner[0] or dpl != 0):
        fault_code(c, i, V_GP, error)
        return False
    return mark_accessed(c, i, selector, raw)

cdef bint _protected_mode(Cpu* c, Insn* i, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                          uint64_t flags, uint32_t ext) noexcept nogil:
    cdef uint64_t gate = 0
    cdef uint64_t raw = 0
    cdef uint64_t offset, stack_offset = 0
    cdef uint32_t type_, attributes, selector, stack_selector = 0
    cdef uint32_t size, words
    cdef uint32_t gate_error = vector * 8 + 2 + ext
    cdef bint inner = False
    cdef bint from_v86 = (c.rflags & FLAG_VM) != 0
    cdef int cpl = c.cpl
    cdef int k
    cdef Segment code, ss
    cdef Stack s
    if <uint32_t>vector * 8 + 7 > c.idtr.limit:
        fault_code(c, i, V_GP, gate_error)
        return False
    if not system_load(c, i, (c.idtr.base + vector * 8) & 0xFFFFFFFFULL, 8, &gate):
        return False
    attributes = attributes_of(gate)
    type_ = attributes & 0x1F
    if type_ != GATE_TASK and (type_ & 0x16) != 6:
        fault_code(c, i, V_GP, gate_error)
        return False
    if (kind == EVENT_SOFTWARE_INT or kind == EVENT_SOFTWARE_EXCEPTION) and dpl_of(attributes) < cpl:
        fault_code(c, i, V_GP, gate_error)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, gate_error)
        return False
    if type_ == GATE_TASK:
        return _through_task_gate(c, i, gate, has_error, error, return_rip, flags, ext)
    selector = <uint32_t>(gate >> 16) & 0xFFFF
    if not _handler_code(c, i, selector, &raw, &inner, ext):
        return False
    size = 4 if type_ & 8 else 2
    offset = gate & 0xFFFF
    if size == 4:
        offset |= (gate >> 32) & 0xFFFF0000ULL
    words = 3 + (1 if has_error else 0)
    if inner:
        cpl = dpl_of(attributes_of(raw))
        if not inner_stack_pointer(c, i, cpl, &stack_selector, &stack_offset, ext):
            return False
        if not inner_stack_segment(c, i, stack_selector, cpl, &ss, ext):
            return False
        stack_of(&s, &ss, stack_offset, cpl, (stack_selector & 0xFFFC) | ext)
        words += 6 if from_v86 else 2
    else:
        stack_now(c, &s)
        s.error = ext
    segment_from(&code, (selector & 0xFFFC) | cpl, raw)
    if not stack_room(c, i, &s, size, words):
        return False
    if offset > code.limit:
        fault_code(c, i, V_GP, ext)
        return False
    if from_v86:
        for k in range(5, -1, -1):               # GS, FS, DS, ES
            if k != SS and k != CS and not stack_push(c, i, &s, size, c.seg[k].selector):
                return False
    if inner and (not stack_push(c, i, &s, size, c.seg[SS].selector)
                  or not stack_push(c, i, &s, size, c.r[RSP] & 0xFFFFFFFFULL)):
        return False
    if (not stack_push(c, i, &s, size, flags & 0xFFFFFFFFULL) or not stack_push(c, i, &s, size, c.seg[CS].selector)
            or not stack_push(c, i, &s, size, return_rip)):
        return False
    if has_error and not stack_push(c, i, &s, size, error):
        return False
    if unlikely(c.mode & MODE_CET) and not cet_enter(c, i, cpl, 0, False, c.seg[CS].selector,
                                                     c.seg[CS].base + return_rip, ext):
        return False
    c.cpl = cpl
    c.rflags &= ~<uint64_t>(FLAG_TF | FLAG_NT | FLAG_VM | FLAG_RF)
    if not type_ & 1:
        c.rflags &= ~<uint64_t>FLAG_IF
    load_cache(c, CS, &code)
    if inner:
        load_cache(c, SS, &ss)
        c.r[RSP] = stack_offset & 0xFFFFFFFFULL
    commit_sp(c, &s)
    if from_v86:
        for k in range(6):
            if k != SS and k != CS:
                load_null(c, k, 0)
    refresh_mode(c)
    _commit_rip(c, i, offset)
    return True

cdef bint _long_mode(Cpu* c, Insn* i, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                     uint64_t flags, uint32_t ext) noexcept nogil:
    cdef uint64_t gate = 0
    cdef uint64_t gate_high = 0
    cdef uint64_t raw = 0
    cdef uint64_t offset, sp = 0
    cdef uint32_t attributes, selector, none = 0
    cdef uint32_t gate_error = vector * 8 + 2 + ext
    cdef bint inner = False
    cdef int cpl = c.cpl
    cdef int ist
    cdef uint64_t* frame
    cdef Segment code
    cdef Stack s
    if <uint32_t>vector * 16 + 15 > c.idtr.limit:
        fault_code(c, i, V_GP, gate_error)
        return False
    if (not system_load(c, i, c.idtr.base + vector * 16, 8, &gate)
            or not system_load(c, i, c.idtr.base + vector * 16 + 8, 8, &gate_high)):
        return False
    attributes = attributes_of(gate)
    if (attributes & 0x1E) != GATE_INTERRUPT:
        fault_code(c, i, V_GP, gate_error)
        return False
    if (kind == EVENT_SOFTWARE_INT or kind == EVENT_SOFTWARE_EXCEPTION) and dpl_of(attributes) < cpl:
        fault_code(c, i, V_GP, gate_error)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, gate_error)
        return False
    selector = <uint32_t>(gate >> 16) & 0xFFFF
    if not _handler_code(c, i, selector, &raw, &inner, ext):
        return False
    offset = (gate & 0xFFFF) | ((gate >> 32) & 0xFFFF0000ULL) | (gate_high << 32)
    ist = (gate >> 32) & 7
    if inner:
        cpl = dpl_of(attributes_of(raw))
    if ist:
        if not interrupt_stack_pointer(c, i, ist, &sp, ext):
            return False
    elif inner:
        if not inner_stack_pointer(c, i, cpl, &none, &sp, ext):
            return False
    elif code64(c):
        sp = c.r[RSP]
    else:            # from compatibility mode at the same privilege: the stack pointer as that mode sees it
        sp = c.r[RSP] & c.sp_mask
    stack_flat(&s, sp & 0xFFFFFFFFFFFFFFF0ULL, cpl, ext)
    if not stack_room(c, i, &s, 8, 6 if has_error else 5):
        return False
    if not canonical(c, offset):
        fault_code(c, i, V_GP, ext)
        return False
    frame = <uint64_t*>frame_pointer(c, s.sp - 48, 48, True, cpl)
    if frame != NULL:            # room for the error code as well
        write_frame_64(c, frame, flags, return_rip, has_error, error)
        s.sp -= 48 if has_error else 40
    elif (not stack_push(c, i, &s, 8, c.seg[SS].selector) or not stack_push(c, i, &s, 8, c.r[RSP])
            or not stack_push(c, i, &s, 8, flags) or not stack_push(c, i, &s, 8, c.seg[CS].selector)
            or not stack_push(c, i, &s, 8, return_rip)):
        return False
    elif has_error and not stack_push(c, i, &s, 8, error):
        return False
    if unlikely(c.mode & MODE_CET) and not cet_enter(c, i, cpl, ist, True, c.seg[CS].selector, c.cs_base + return_rip, ext):
        return False
    c.cpl = cpl
    c.rflags &= ~<uint64_t>(FLAG_TF | FLAG_NT | FLAG_RF)
    if not attributes & 1:
        c.rflags &= ~<uint64_t>FLAG_IF
    segment_from(&code, (selector & 0xFFFC) | cpl, raw)
    load_cache(c, CS, &code)
    if inner:
        load_null(c, SS, cpl)
    c.r[RSP] = s.sp
    refresh_transfer(c)
    _commit_rip(c, i, offset)
    return True

cdef bint enter_handler(Cpu* c, Insn* i, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                        uint64_t flags) noexcept nogil:
    cdef uint32_t ext = 0 if kind == EVENT_SOFTWARE_INT or kind == EVENT_SOFTWARE_EXCEPTION else 1
    if not c.cr0 & CR0_PE:
        return _real_mode(c, i, vector, return_rip, flags, ext)
    if long_mode(c):
        if likely(enter_handler_64(c, vector, kind, has_error, error, return_rip, flags)):
            return True
        return _long_mode(c, i, vector, kind, has_error, error, return_rip, flags, ext)
    if likely(enter_handler_32(c, vector, kind, has_error, error, return_rip, flags)):
        return True
    return _protected_mode(c, i, vector, kind, has_error, error, return_rip, flags, ext)

# ----- exceptions in a row (SDM 3A 6.15, interrupt 8; tables 6-4 and 6-5) -----

cdef enum:
    BENIGN = 0
    CONTRIBUTORY = 1
    PAGE_FAULT = 2
    DOUBLE_FAULT = 3

cdef int _class_of(Fault* f) noexcept nogil:
    if f.kind != EVENT_EXCEPTION:
        return BENIGN
    if f.vector == V_DE or (V_TS <= f.vector <= V_GP) or f.vector == V_CP:
        return CONTRIBUTORY
    if f.vector == V_PF or f.vector == V_VE:
        return PAGE_FAULT
    if f.vector == V_DF:
        return DOUBLE_FAULT
    return BENIGN

cdef inline void _note(Cpu* c, Fault* f) noexcept nogil:
    """What an exception leaves in CR2, DR6 and DR7, whether or not its handler can be entered; counts the event."""
    c.delivered[f.kind & 7][f.vector] += 1
    if f.kind != EVENT_EXCEPTION:
        return
    if unlikely(c.shared.exit_hook != NULL):
        note_exception(c, f)
    if f.vector == V_PF:
        c.cr2 = f.address
    elif f.vector == V_DB:
        c.dr[6] = (c.dr[6] & ~<uint64_t>DR6_B) | f.address
        c.dr[7] &= ~<uint64_t>DR7_GD
        c.debugctl &= ~<uint64_t>(DEBUGCTL_LBR | DEBUGCTL_BTF)       # SDM 3B 18.4.1, 18.4.3; APM 2, 13.1.1.6

cdef inline bint _sets_rf(Fault* f) noexcept nogil:
    """Faults push RF = 1, but for an instruction breakpoint (SDM 3B 18.3.1.1)."""
    if f.kind != EVENT_EXCEPTION or f.trap:
        return False
    if f.vector == V_DB:
        return (f.address & DR6_BD) != 0
    return f.vector != V_BP and f.vector != V_OF and f.vector != V_MC

cdef inline bint _leaves_guest(Cpu* c, Fault* f, Fault* during) noexcept nogil:
    """In guest mode: True where the hypervisor gets the event instead; the guest has been left then."""
    if c.virt.guest_mode == GUEST_SVM:
        return svm_exception(c, f, during)
    if c.virt.guest_mode == GUEST_VMX:
        return vmx_exception(c, f, during)
    return False

cdef bint _shutdown_leaves_guest(Cpu* c) noexcept nogil:
    if c.virt.guest_mode == GUEST_VMX:
        vmx_shutdown(c)
        return True
    if c.virt.guest_mode == GUEST_SVM and svm_intercepts(c, 3, 31):
        svm_exit(c, SVM_SHUTDOWN, 0, 0, 0, NULL)
        return True
    return False

cdef bint _deliver(Cpu* c, Fault event) noexcept nogil:
    cdef bint injected = c.virt.injecting != 0
    cdef Fault nested
    cdef Fault original = event
    cdef int first, second
    cdef uint64_t flags
    cdef uint64_t return_rip = c.virt.inject_rip if injected else c.r[REG_RIP]
    c.virt.injecting = 0
    if unlikely(c.virt.guest_mode != GUEST_NONE and not injected) and _leaves_guest(c, &event, NULL):
        return True
    c.interrupt_shadow = 0
    c.activity = ACTIVITY_ACTIVE
    if event.kind == EVENT_NMI and not (c.virt.guest_mode == GUEST_SVM and (injected or c.svm.virtual_nmi_enabled)):
        c.nmi_blocked = 1
    if not injected:
        _note(c, &event)
    while True:
        c.exit = EXIT_NONE
        flags = read_rflags(c)
        if _sets_rf(&event):
            flags |= FLAG_RF
        if enter_handler(c, NULL, event.vector, event.kind, event.has_error, event.error, return_rip, flags):
            if unlikely(c.vmx.trap_flag) and c.virt.guest_mode == GUEST_VMX:
                vmx_event_delivered(c)
            if unlikely(c.debugctl & DEBUGCTL_LBR):
                record_interrupt(c, return_rip)
            return True
        return_rip = c.r[REG_RIP]
        nested = c.fault
        if unlikely(c.virt.guest_mode != GUEST_NONE) and _leaves_guest(c, &nested, &original):
            return True
        _note(c, &nested)
        first = _class_of(&event)
        second = _class_of(&nested)
        if first == DOUBLE_FAULT and second != BENIGN:
            c.exit = EXIT_NONE
            note_fault(c, 2)
            if c.virt.guest_mode != GUEST_NONE and _shutdown_leaves_guest(c):
                return True
            c.activity = ACTIVITY_SHUTDOWN
            c.shutdown_cause = CAUSE_TRIPLE_FAULT
            return False
        if (first == CONTRIBUTORY and second == CONTRIBUTORY) or (first == PAGE_FAULT and second != BENIGN):
            c.first_fault = event
            c.second_fault = nested
            note_fault(c, 0)
            note_fault(c, 1)
            event.vector = V_DF
            event.kind = EVENT_EXCEPTION
            event.has_error = 1
            event.error = 0
            event.trap = 0
            event.address = 0
            if unlikely(c.shared.exit_hook != NULL):
                note_exception(c, &event)
            if unlikely(c.virt.guest_mode != GUEST_NONE) and _leaves_guest(c, &event, NULL):
                return True
        else:
            event = nested

cdef bint deliver_fault(Cpu* c) noexcept nogil:
    return _deliver(c, c.fault)

cdef bint deliver_event(Cpu* c, int vector, int kind, bint has_error, uint32_t error,
                        uint64_t cr2_or_dr6) noexcept nogil:
    cdef Fault event
    event.vector = <uint8_t>vector
    event.kind = <uint8_t>kind
    event.has_error = has_error
    event.trap = 1 if vector == V_DB else 0
    event.error = error
    event.address = cr2_or_dr6
    return _deliver(c, event)
