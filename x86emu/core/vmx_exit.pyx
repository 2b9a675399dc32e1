# cython: language_level=3
"""VM exits (Intel SDM volume 3C, chapter 28, and 26.2): what causes them between instructions, recording, saving, loading."""
from libc.string cimport memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.features cimport *
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport switch_pkrs, tlb_forget_host, tlb_forget_tag, tlb_take_keys
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.interrupts cimport deliver_event, deliver_fault, check_debug_trap, DR6_BD
from x86emu.core.msr cimport read_msr, write_msr
from x86emu.core.second_level cimport request_exit
from x86emu.core.smm cimport enter_smm
from x86emu.core.halting cimport monitor_triggered
from x86emu.core.vmx cimport *
from x86emu.core.vmx_apic cimport (vmx_emulate_apic_write, vmx_take_virtual_interrupt, vmx_posted_interrupt, vmx_virtual_tpr)
from x86emu.core.vmx_timer cimport vmx_timer_expired, vmx_timer_value
from x86emu.core.exits cimport note_exit

cdef enum:
    PENDING_ENABLED = 0x1000     # pending debug exceptions: at least one enabled breakpoint was met
    PENDING_BS = 0x4000
    TIME_STAMP_COUNTER = 0x10
    IDLE = 0
    GO_ON = 1
    TAKEN = 2
    UNBLOCKED_BY_IRET = 0x1000   # in interruption information and in exit qualifications

# ---------------------------------------------------------------- recording

cdef void record_exit(Cpu* c, uint64_t reason, uint64_t qualification) noexcept nogil:
    """Information 2 of the record is the exit's interruption information with the error code above it where there is one,
    else its instruction information."""
    cdef uint64_t information = vget(c, F_EXIT_INTERRUPTION_INFORMATION)
    if information & INFORMATION_VALID:
        information |= vget(c, F_EXIT_INTERRUPTION_ERROR_CODE) << 32
    else:
        information = vget(c, F_EXIT_INSTRUCTION_INFORMATION)
    note_exit(c, True, reason, qualification, information, c.r[REG_RIP] + vget(c, F_EXIT_INSTRUCTION_LENGTH),
              vget(c, F_IDT_VECTORING_INFORMATION) | vget(c, F_IDT_VECTORING_ERROR_CODE) << 32, c.vmx.vmcs_pointer,
              c.vmx.failed_check if reason >> 31 & 1 else 0)

cdef uint64_t event_information(Fault* f) noexcept nogil:
    return INFORMATION_VALID | f.vector | <uint64_t>f.kind << 8 | (INFORMATION_ERROR if f.has_error else 0)

cdef void vmx_request(Cpu* c, Insn* i, uint32_t reason, uint64_t qualification, uint32_t information) noexcept nogil:
    cdef uint32_t length = i.length if i != NULL else 0
    request_exit(c, i, reason, qualification, 0)
    c.vmx.exit_length = length
    c.vmx.exit_information = information
    c.vmx.exit_linear = 0

# ---------------------------------------------------------------- saving guest state (28.3)

cdef void save_guest_state(Cpu* c) noexcept nogil:
    cdef Vmx* v = &c.vmx
    cdef Segment* s
    cdef int k
    vput(c, F_GUEST_CR0, c.cr0)
    vput(c, F_GUEST_CR3, c.cr3)
    vput(c, F_GUEST_CR4, c.cr4)
    vput(c, F_GUEST_SYSENTER_CS, c.sysenter_cs & 0xFFFFFFFFULL)
    vput(c, F_GUEST_SYSENTER_ESP, c.sysenter_esp)
    vput(c, F_GUEST_SYSENTER_EIP, c.sysenter_eip)
    if v.exit_controls >> EXIT_SAVE_DEBUG_CONTROLS & 1:
        vput(c, F_GUEST_DR7, c.dr[7])
        vput(c, F_GUEST_DEBUGCTL, c.debugctl)
    if v.exit_controls >> EXIT_SAVE_PAT & 1:
        vput(c, F_GUEST_PAT, c.pat)
    if v.exit_controls >> EXIT_SAVE_EFER & 1:
        vput(c, F_GUEST_EFER, c.efer)
    if capability(c, 4) >> (32 + ENTRY_LOAD_CET_STATE) & 1:
        vput(c, F_GUEST_S_CET, c.s_cet)
        vput(c, F_GUEST_SSP, c.ssp)
        vput(c, F_GUEST_INTERRUPT_SSP_TABLE, c.interrupt_ssp_table)
    if capability(c, 4) >> (32 + ENTRY_LOAD_PKRS) & 1:
        vput(c, F_GUEST_PKRS, c.pkrs)
    for k in range(8):
        s = &c.seg[k]
        vput(c, F_GUEST_ES_SELECTOR + 8 * k, s.selector)
        vput(c, F_GUEST_ES_BASE + 8 * k, s.base)
        vput(c, F_GUEST_ES_LIMIT + 8 * k, s.limit)
        if s.attributes & ATTR_UNUSABLE or (k != CS and k != TR and not s.attributes & ATTR_P):
            vput(c, F_GUEST_ES_ACCESS_RIGHTS + 8 * k, ATTR_UNUSABLE | (s.attributes & 0xF0FF))
        else:
            vput(c, F_GUEST_ES_ACCESS_RIGHTS + 8 * k, s.attributes & 0xF0FF)
    # the DPL of SS is the CPL whatever is in the register
    vput(c, F_GUEST_SS_ACCESS_RIGHTS, (vget(c, F_GUEST_SS_ACCESS_RIGHTS) & ~0x60ULL) | c.cpl << 5)
    vput(c, F_GUEST_GDTR_BASE, c.gdtr.base)
    vput(c, F_GUEST_GDTR_LIMIT, c.gdtr.limit & 0xFFFF)
    vput(c, F_GUEST_IDTR_BASE, c.idtr.base)
    vput(c, F_GUEST_IDTR_LIMIT, c.idtr.limit & 0xFFFF)
    vput(c, F_GUEST_RIP, c.r[REG_RIP])
    vput(c, F_GUEST_RSP, c.r[RSP])
    vput(c, F_GUEST_RFLAGS, read_rflags(c))
    vput(c, F_GUEST_ACTIVITY, c.activity if c.activity <= ACTIVITY_WAIT_FOR_SIPI else ACTIVITY_ACTIVE)
    vput(c, F_GUEST_INTERRUPTIBILITY,
         (c.interrupt_shadow & 3) | (4 if c.in_smm else 0) | (8 if c.nmi_blocked else 0))
    vput(c, F_GUEST_PENDING_DEBUG, 0)
    if c.pending_debug:
        vput(c, F_GUEST_PENDING_DEBUG, (c.pending_debug & 0x400F) | (PENDING_ENABLED if c.pending_debug & 0xF else 0))
    if c.virt.second_level == SECOND_LEVEL_EPT and c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA:
        for k in range(4):
            vput(c, F_GUEST_PDPTE0 + 8 * k, c.pdpte[k])
    if v.exit_controls >> EXIT_SAVE_PREEMPTION_TIMER & 1 and v.timer_on:
        vput(c, F_PREEMPTION_TIMER_VALUE, vmx_timer_value(c))
    if capability(c, 5) >> 5 & 1:
        vput(c, F_ENTRY_CONTROLS, (vget(c, F_ENTRY_CONTROLS) & ~(1ULL << ENTRY_IA32E_MODE_GUEST))
             | ((c.efer >> 10 & 1) << ENTRY_IA32E_MODE_GUEST))

cdef uint64_t msr_list_limit(Cpu* c) noexcept nogil:
    """Longer lists are undefined behaviour (A.6): here their first entry too many fails."""
    return 512 * ((capability(c, 5) >> 25 & 7) + 1)

cdef bint msr_in_lists(uint32_t number) noexcept nogil:
    """27.4, 28.4, 28.6: segment bases, x2APIC registers, SMBASE and the microcode trigger are not for the lists."""
    return not (number == 0xC0000100u or number == 0xC0000101u or number >> 8 == 8 or number == 0x79 or number == 0x9E)

cdef bint vmx_load_msrs(Cpu* c, uint64_t list_, uint64_t n, uint64_t* failed) noexcept nogil:
    """27.4 and 28.6. False: entry number failed[0] (from 1) cannot be loaded."""
    cdef uint32_t number
    cdef uint32_t mode = c.virt.guest_mode
    cdef bint loaded
    cdef uint64_t k, limit = msr_list_limit(c)
    for k in range(n):
        failed[0] = k + 1
        number = <uint32_t>physical_load(c, list_ + 16 * k, 4)
        if k >= limit or physical_load(c, list_ + 16 * k + 4, 4) or not msr_in_lists(number):
            return False
        if number == TIME_STAMP_COUNTER:         # without the guest's offset
            c.virt.guest_mode = GUEST_NONE
        loaded = write_msr(c, NULL, number, physical_load(c, list_ + 16 * k + 8, 8))
        c.virt.guest_mode = mode
        if not loaded:
            return False
    return True

cdef bint store_msrs(Cpu* c) noexcept nogil:
    cdef uint64_t list_ = vget(c, F_EXIT_MSR_STORE_ADDRESS), n = vget(c, F_EXIT_MSR_STORE_COUNT), k
    cdef uint64_t value = 0, limit = msr_list_limit(c)
    cdef uint32_t number
    for k in range(n):
        number = <uint32_t>physical_load(c, list_ + 16 * k, 4)
        if (k >= limit or physical_load(c, list_ + 16 * k + 4, 4) or (number != 0xC0000100u and number != 0xC0000101u
                and not msr_in_lists(number)) or not read_msr(c, NULL, number, &value)):
            return False
        physical_store(c, list_ + 16 * k + 8, 8, value)
    return True

# ---------------------------------------------------------------- loading host state (28.5)

cdef inline void host_segment(Cpu* c, int n, uint64_t selector, uint64_t base, uint32_t attributes) noexcept nogil:
    cdef Segment* s = &c.seg[n]
    s.selector = <uint16_t>selector
    s.base = base
    s.limit = 0xFFFFFFFF
    s.attributes = attributes if selector or n == CS else attributes | ATTR_UNUSABLE

cdef void load_host_state(Cpu* c) noexcept nogil:
    cdef Vmx* v = &c.vmx
    cdef uint64_t kept = 0x7FFAFFD0ULL
    cdef bint wide = v.exit_controls >> EXIT_HOST_ADDRESS_SPACE_SIZE & 1
    cdef bint had_no_vpid = not secondary(c, SEC_ENABLE_VPID)
    cdef uint64_t failed = 0
    cdef int seg
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.virtual_interrupt = 0
    c.virt.injecting = 0
    v.timer_on = 0
    v.trap_flag = 0
    v.trap_pending = 0
    v.virtual_ready = 0
    v.apic_write = 0
    v.after_reason = 0
    v.alone = 0
    v.apic_access = 0xFFFFFFFFFFFFFFFFULL
    c.cr0 = (vget(c, F_HOST_CR0) & ~kept) | (c.cr0 & kept)
    c.cr3 = vget(c, F_HOST_CR3)
    c.cr4 = vget(c, F_HOST_CR4)
    if wide:
        c.cr4 |= CR4_PAE
    else:
        c.cr4 &= ~<uint64_t>CR4_PCIDE
    c.dr[7] = 0x400
    c.debugctl = 0
    c.sysenter_cs = vget(c, F_HOST_SYSENTER_CS)
    c.sysenter_esp = vget(c, F_HOST_SYSENTER_ESP)
    c.sysenter_eip = vget(c, F_HOST_SYSENTER_EIP)
    if v.exit_controls >> EXIT_LOAD_EFER & 1:
        c.efer = vget(c, F_HOST_EFER)
    else:
        c.efer = (c.efer & ~<uint64_t>(EFER_LMA | EFER_LME)) | (EFER_LMA | EFER_LME if wide else 0)
    if v.exit_controls >> EXIT_LOAD_PAT & 1:
        c.pat = vget(c, F_HOST_PAT)
    if v.exit_controls >> EXIT_LOAD_CET_STATE & 1:
        c.s_cet = vget(c, F_HOST_S_CET)
        c.ssp = vget(c, F_HOST_SSP)
        c.interrupt_ssp_table = vget(c, F_HOST_INTERRUPT_SSP_TABLE)
    if v.exit_controls >> EXIT_LOAD_PKRS & 1:
        switch_pkrs(c, <uint32_t>vget(c, F_HOST_PKRS))
    host_segment(c, CS, vget(c, F_HOST_CS_SELECTOR), 0, 0xA09B if wide else 0xC09B)
    host_segment(c, SS, vget(c, F_HOST_SS_SELECTOR), 0, 0xC093)
    host_segment(c, DS, vget(c, F_HOST_DS_SELECTOR), 0, 0xC093)
    host_segment(c, ES, vget(c, F_HOST_ES_SELECTOR), 0, 0xC093)
    host_segment(c, FS, vget(c, F_HOST_FS_SELECTOR), vget(c, F_HOST_FS_BASE), 0xC093)
    host_segment(c, GS, vget(c, F_HOST_GS_SELECTOR), vget(c, F_HOST_GS_BASE), 0xC093)
    host_segment(c, TR, vget(c, F_HOST_TR_SELECTOR), vget(c, F_HOST_TR_BASE), 0x8B)
    c.seg[TR].limit = 0x67
    c.seg[LDTR].selector = 0
    c.seg[LDTR].base = 0
    c.seg[LDTR].limit = 0
    c.seg[LDTR].attributes = ATTR_UNUSABLE
    c.gdtr.base = vget(c, F_HOST_GDTR_BASE)
    c.gdtr.limit = 0xFFFF
    c.idtr.base = vget(c, F_HOST_IDTR_BASE)
    c.idtr.limit = 0xFFFF
    c.r[REG_RIP] = vget(c, F_HOST_RIP)
    c.r[RSP] = vget(c, F_HOST_RSP)
    write_rflags(c, 2)
    c.cpl = 0
    c.activity = ACTIVITY_ACTIVE
    c.interrupt_shadow = 0
    c.pending_debug = 0
    c.monitor_armed = 0
    c.exit = EXIT_NONE
    c.link = NULL
    c.current = NULL
    if had_no_vpid:              # 30.4.3.1: without VPID an exit forgets linear translations
        tlb_forget_host(c)
    tlb_take_keys(c)
    for seg in range(8):
        refresh_segment(c, seg)
    refresh_mode(c)
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA and not load_pdptes(c, NULL, c.cr3):
        abort(c, 2)
        return
    if (vget(c, F_EXIT_MSR_LOAD_COUNT)
            and not vmx_load_msrs(c, vget(c, F_EXIT_MSR_LOAD_ADDRESS), vget(c, F_EXIT_MSR_LOAD_COUNT), &failed)):
        abort(c, 4)

cdef void abort(Cpu* c, uint32_t indicator) noexcept nogil:
    """28.7: a VMX abort leaves its indicator in the VMCS and shuts the processor down."""
    (<uint32_t*>(c.vmx.vmcs + 4))[0] = indicator
    c.exit = EXIT_NONE
    c.activity = ACTIVITY_SHUTDOWN
    c.shutdown_cause = CAUSE_VMX_ABORT

# ---------------------------------------------------------------- the exit

cdef void leave(Cpu* c, uint32_t reason, uint64_t qualification, uint64_t interruption, uint32_t error, uint32_t length,
                Fault* during) noexcept nogil:
    cdef Vmx* v = &c.vmx
    cdef uint32_t nmi_blocked = 0
    vput(c, F_EXIT_REASON, reason)
    vput(c, F_EXIT_QUALIFICATION, qualification)
    vput(c, F_EXIT_INTERRUPTION_INFORMATION, interruption)
    vput(c, F_EXIT_INTERRUPTION_ERROR_CODE, error)
    vput(c, F_EXIT_INSTRUCTION_LENGTH, length)
    if during != NULL:
        vput(c, F_IDT_VECTORING_INFORMATION, event_information(during))
        vput(c, F_IDT_VECTORING_ERROR_CODE, during.error if during.has_error else 0)
        if during.kind == EVENT_NMI:
            c.nmi_blocked = 0    # the NMI has not been delivered
    else:
        vput(c, F_IDT_VECTORING_INFORMATION, 0)
        vput(c, F_IDT_VECTORING_ERROR_CODE, 0)
    vput(c, F_ENTRY_INTERRUPTION_INFORMATION, vget(c, F_ENTRY_INTERRUPTION_INFORMATION) & 0x7FFFFFFFULL)
    record_exit(c, reason, qualification)
    save_guest_state(c)
    if v.pin >> PIN_VIRTUAL_NMIS & 1:
        nmi_blocked = v.host_nmi_blocked
    else:
        nmi_blocked = c.nmi_blocked
    if reason == REASON_EXCEPTION and (interruption >> 8 & 7) == EVENT_NMI:
        nmi_blocked = 1
    c.nmi_blocked = nmi_blocked
    c.virt.guest_mode = GUEST_NONE       # the TSC is stored without the guest's offset
    c.virt.second_level = SECOND_LEVEL_NONE
    if not store_msrs(c):
        abort(c, 1)
        return
    load_host_state(c)

cdef void vmx_exit(Cpu* c, uint32_t reason, uint64_t qualification, Fault* during) noexcept nogil:
    vput(c, F_EXIT_INSTRUCTION_INFORMATION, 0)
    leave(c, reason, qualification, 0, 0, 0, during)

cdef void vmx_shutdown(Cpu* c) noexcept nogil:
    vmx_exit(c, REASON_TRIPLE_FAULT, 0, NULL)

cdef void vmx_event_delivered(Cpu* c) noexcept nogil:
    """26.5.2: the MTF VM exit is pending on the boundary behind the delivery."""
    c.vmx.trap_pending = 1
    vmx_watch(c)

cdef bint becomes_ve(Cpu* c, Fault* during) noexcept nogil:
    """26.5.7.1: whether the EPT violation that was requested is a virtualization exception instead of an exit."""
    return (c.virt.exit_code == REASON_EPT_VIOLATION and secondary(c, SEC_EPT_VIOLATION_VE) and during == NULL
            and not c.vmx.ve_suppressed and c.cr0 & CR0_PE != 0 and physical_load(c, c.vmx.ve_information + 4, 4) == 0)

cdef void virtualization_exception(Cpu* c, Fault* f) noexcept nogil:
    """26.5.7.2: the information area, and the fault."""
    cdef uint64_t area = c.vmx.ve_information
    physical_store(c, area, 4, REASON_EPT_VIOLATION)
    physical_store(c, area + 4, 4, 0xFFFFFFFFULL)
    physical_store(c, area + 8, 8, c.virt.exit_info1)
    physical_store(c, area + 16, 8, c.vmx.exit_linear)
    physical_store(c, area + 24, 8, c.vmx.exit_guest_physical)
    physical_store(c, area + 32, 2, vget(c, F_EPTP_INDEX) & 0xFFFF)
    f.vector = V_VE
    f.kind = EVENT_EXCEPTION
    f.has_error = 0
    f.trap = 0
    f.error = 0
    f.address = 0

cdef bint vmx_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil:
    cdef Vmx* v = &c.vmx
    cdef bint selected
    cdef uint64_t qualification = 0, unblocked = 0
    cdef uint32_t length = 0
    if not f.trap:
        v.apic_write = 0         # the instruction that asked for it has not ended
        if during == NULL and v.iret_at == retired(c) and v.iret_unblocks:
            unblocked = UNBLOCKED_BY_IRET
    v.iret_at = -1
    if f.kind == EVENT_WORLD_EXIT and becomes_ve(c, during):
        virtualization_exception(c, f)
    if f.kind == EVENT_WORLD_EXIT:
        if c.interrupt_shadow_before:
            c.interrupt_shadow = c.interrupt_shadow_before
        qualification = c.virt.exit_info1
        if c.virt.exit_code == REASON_EPT_VIOLATION or c.virt.exit_code == REASON_EPT_MISCONFIGURATION:
            vput(c, F_GUEST_PHYSICAL_ADDRESS, v.exit_guest_physical)
        elif c.virt.exit_code == REASON_SPP or c.virt.exit_code == REASON_PML_FULL:
            vput(c, F_GUEST_PHYSICAL_ADDRESS, v.exit_guest_physical)
        if (c.virt.exit_code == REASON_EPT_VIOLATION or c.virt.exit_code == REASON_SPP
                or c.virt.exit_code == REASON_PML_FULL):
            qualification |= unblocked
        if during != NULL:
            if c.virt.exit_code == REASON_APIC_ACCESS:
                qualification = (qualification & 0xFFF) | 3 << 12
            if 4 <= during.kind <= 6:
                v.exit_length = <uint32_t>(c.virt.inject_rip - c.r[REG_RIP]) & 15
        vput(c, F_GUEST_LINEAR_ADDRESS, v.exit_linear)
        vput(c, F_EXIT_INSTRUCTION_INFORMATION, v.exit_information)
        leave(c, <uint32_t>c.virt.exit_code, qualification, 0, 0, v.exit_length, during)
        return True
    if f.kind != EVENT_EXCEPTION and f.kind != EVENT_SOFTWARE_EXCEPTION and f.kind != EVENT_ICEBP or f.vector > 31:
        return False
    selected = (v.exception_bitmap >> f.vector) & 1
    if f.vector == V_PF and (f.error & v.error_mask) != v.error_match:
        selected = not selected
    if not selected:
        return False
    if f.vector == V_PF:
        qualification = f.address
    elif f.vector == V_DB:
        qualification = f.address
    if f.kind != EVENT_EXCEPTION:
        length = v.exit_length
    if c.interrupt_shadow_before and not f.trap:
        c.interrupt_shadow = c.interrupt_shadow_before
    if not f.trap and f.kind == EVENT_EXCEPTION and f.vector != V_DF and (f.vector != V_DB or f.address & DR6_BD):
        c.rflags |= FLAG_RF
    vput(c, F_EXIT_INSTRUCTION_INFORMATION, 0)
    leave(c, REASON_EXCEPTION, qualification, event_information(f) | (unblocked if f.vector != V_DF else 0),
          f.error if f.has_error else 0, length, during)
    return True

# ---------------------------------------------------------------- between instructions (26.2, 27.7)

cdef bint below_threshold(Cpu* c) noexcept nogil:
    return (vmx_virtual_tpr(c) >> 4) < (vget(c, F_TPR_THRESHOLD) & 15)

cdef int take_one(Cpu* c) noexcept nogil:
    """One event. 0: none, and nothing to run; 1: none, the guest goes on; 2: an event was taken."""
    cdef Signals* s = c.signals
    cdef Vmx* v = &c.vmx
    cdef int vector
    cdef uint32_t reason
    cdef bint windows = c.activity != ACTIVITY_SHUTDOWN and c.activity != ACTIVITY_WAIT_FOR_SIPI
    if v.apic_write:             # 30.4.3.2: what the instruction before has caused comes before all else
        vmx_emulate_apic_write(c)
    if v.after_reason:
        reason = v.after_reason - 1
        v.after_reason = 0
        vmx_exit(c, reason, v.after_qualification, NULL)
        return TAKEN
    if v.tpr_pending:
        v.tpr_pending = 0
        vmx_watch(c)
        if below_threshold(c):
            vmx_exit(c, REASON_TPR_THRESHOLD, 0, NULL)
            return TAKEN
    if s.smi and not c.in_smm and c.activity != ACTIVITY_WAIT_FOR_SIPI:
        s.smi = 0
        enter_smm(c)
        return TAKEN
    if s.init and not c.in_smm and c.activity != ACTIVITY_WAIT_FOR_SIPI:
        s.init = 0
        vmx_exit(c, REASON_INIT, 0, NULL)
        return TAKEN
    if s.sipi:
        vector = s.sipi & 0xFF
        s.sipi = 0
        if c.activity == ACTIVITY_WAIT_FOR_SIPI:
            vmx_exit(c, REASON_SIPI, vector, NULL)
            return TAKEN
    if v.trap_pending:
        v.trap_pending = 0
        vmx_exit(c, REASON_TRAP_FLAG, 0, NULL)
        return TAKEN
    if c.pending_debug and windows and check_debug_trap(c):
        c.activity = ACTIVITY_ACTIVE
        deliver_fault(c)
        return TAKEN
    if v.timer_on and c.activity != ACTIVITY_WAIT_FOR_SIPI and vmx_timer_expired(c):
        vmx_exit(c, REASON_TIMER, 0, NULL)
        return TAKEN
    if v.primary >> PRI_NMI_WINDOW_EXITING & 1 and windows and not c.nmi_blocked and c.interrupt_shadow != 2:
        vmx_exit(c, REASON_NMI_WINDOW, 0, NULL)
        return TAKEN
    if s.nmi and c.activity != ACTIVITY_WAIT_FOR_SIPI:
        if v.pin >> PIN_NMI_EXITING & 1:
            if not (v.host_nmi_blocked if v.pin >> PIN_VIRTUAL_NMIS & 1 else c.nmi_blocked) and c.interrupt_shadow != 2:
                s.nmi = 0
                vput(c, F_EXIT_INSTRUCTION_INFORMATION, 0)
                leave(c, REASON_EXCEPTION, 0, INFORMATION_VALID | EVENT_NMI << 8 | V_NMI, 0, 0, NULL)
                return TAKEN
        elif not c.nmi_blocked and c.interrupt_shadow != 2:
            s.nmi = 0
            c.activity = ACTIVITY_ACTIVE
            deliver_event(c, V_NMI, EVENT_NMI, 0, 0, 0)
            return TAKEN
    if v.primary >> PRI_INTERRUPT_WINDOW_EXITING & 1 and windows and c.rflags & FLAG_IF and c.interrupt_shadow == 0:
        vmx_exit(c, REASON_INTERRUPT_WINDOW, 0, NULL)
        return TAKEN
    if v.virtual_ready and windows and c.rflags & FLAG_IF and c.interrupt_shadow == 0:
        c.activity = ACTIVITY_ACTIVE
        deliver_event(c, vmx_take_virtual_interrupt(c), EVENT_EXTERNAL, 0, 0, 0)
        return TAKEN
    if s.intr and c.interrupt_shadow == 0 and windows:
        if v.pin & 1 << PIN_EXTERNAL_INTERRUPT_EXITING:
            vector = -1
            if v.exit_controls >> EXIT_ACKNOWLEDGE_INTERRUPT_ON_EXIT & 1:
                if s.acknowledge != NULL:
                    vector = s.acknowledge(s.controller)
                if vector < 0:
                    return GO_ON if c.activity == ACTIVITY_ACTIVE else IDLE
            if v.pin >> PIN_PROCESS_POSTED_INTERRUPTS & 1 and vmx_posted_interrupt(c, vector):
                return TAKEN
            vput(c, F_EXIT_INSTRUCTION_INFORMATION, 0)
            leave(c, REASON_EXTERNAL, 0, INFORMATION_VALID | vector if vector >= 0 else 0, 0, 0, NULL)
            return TAKEN
        if c.rflags & FLAG_IF:
            c.activity = ACTIVITY_ACTIVE
            vector = -1
            if s.acknowledge != NULL:
                vector = s.acknowledge(s.controller)
            if vector >= 0:
                deliver_event(c, vector, EVENT_EXTERNAL, 0, 0, 0)
            return TAKEN
        if c.activity == ACTIVITY_MWAIT and c.monitor_armed & 2:
            c.activity = ACTIVITY_ACTIVE
    if c.activity == ACTIVITY_MWAIT and monitor_triggered(c):
        c.activity = ACTIVITY_ACTIVE
    return GO_ON if c.activity == ACTIVITY_ACTIVE else IDLE

cdef bint vmx_take_wires(Cpu* c) noexcept nogil:
    cdef int outcome
    while True:                  # an exit may wait behind the delivery of an event: MTF, the timer
        outcome = take_one(c)
        if outcome != TAKEN or c.virt.guest_mode != GUEST_VMX or c.exit:
            return outcome != IDLE

cdef bint vmx_awake(Cpu* c) noexcept nogil:
    cdef Vmx* v = &c.vmx
    cdef Signals* s = c.signals
    cdef uint32_t nmi_blocked = c.nmi_blocked
    if c.activity == ACTIVITY_WAIT_FOR_SIPI:
        return s.sipi != 0
    if v.pin >> PIN_NMI_EXITING & 1 and v.pin >> PIN_VIRTUAL_NMIS & 1:
        nmi_blocked = v.host_nmi_blocked
    if (s.nmi and not nmi_blocked) or s.init or s.smi or v.after_reason or v.apic_write or v.trap_pending or v.tpr_pending:
        return True
    if c.activity == ACTIVITY_SHUTDOWN:
        return False
    if s.intr and (c.rflags & FLAG_IF or v.pin & 1 << PIN_EXTERNAL_INTERRUPT_EXITING):
        return True
    return v.virtual_ready and c.rflags & FLAG_IF != 0
