# cython: language_level=3
"""VM entry (Intel SDM volume 3C, chapter 27): checks, loading of guest state and MSRs, event injection.

The checks are rows of x86emu/virt/vmx/checks.py; Vmx.failed_check remembers the one that an entry broke.  A VMCS lives in
guest memory only, in the layout of virt/vmx/fields.py; the controls that matter while the guest runs are copied at entry.
"""
from libc.string cimport memset, memcmp, memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.features cimport *
from x86emu.core.physical cimport backing_of
from x86emu.core.physical cimport physical_load
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_forget_tag, switch_pkrs, tlb_take_keys, tlb_flush_everything
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.cet cimport cet_reserved
from x86emu.core.model cimport ProcessorModel
from x86emu.core.second_level cimport second_level_new_generation
from x86emu.core.sysregs cimport tsc_read
from x86emu.core.vmx_apic cimport vmx_enter_virtual_apic
from x86emu.core.vmx_exit cimport load_host_state, record_exit, vmx_load_msrs
from x86emu.core.vmx_timer cimport vmx_start_timer, TIMER_WATCHED
from x86emu.core.exits cimport note_entry

include "vmx_checks.pxi"

assert VMCS_BYTES <= 2048 and sizeof(CheckEnvironment) <= 64 * 8      # Vmx.checked, checked_environment

cdef enum:
    ERROR_CONTROLS = 7
    ERROR_HOST = 8
    NO_VPID = 0x10000            # tag of guests without VPID: forgotten at every entry
    EPT_TAG = 0x80000000

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL

cdef uint64_t capability(Cpu* c, int number) noexcept nogil:
    """Capability MSR 480h + number."""
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    if number == 9:              # CR4_FIXED1
        return m.cr4_valid
    return m.vmx_capabilities[number]

cdef uint8_t* vmx_page(Cpu* c, uint64_t physical) noexcept nogil:
    cdef uint64_t read = backing_of(&c.shared.memory, physical & 0xFFFFFFFFFFFFF000ULL, 0, c.in_smm)
    cdef uint64_t write = backing_of(&c.shared.memory, physical & 0xFFFFFFFFFFFFF000ULL, 1, c.in_smm)
    if read == NOTHING or read != write or read + 4096 > c.shared.memory.backing_size:
        return NULL
    return c.shared.memory.backing + read

cdef void vmx_reset(Cpu* c) noexcept nogil:
    memset(&c.vmx, 0, sizeof(c.vmx))
    c.vmx.vmcs_pointer = NOTHING
    memset(c.vmx.checked_pointer, 0xFF, sizeof(c.vmx.checked_pointer))

cdef bint vmx_valid_eptp(Cpu* c, uint64_t eptp) noexcept nogil:
    cdef uint64_t able = capability(c, 12)
    if (eptp & 7) != 0 and (eptp & 7) != 6:
        return False
    if (eptp >> 3 & 7) != 3 and not ((eptp >> 3 & 7) == 4 and able >> 7 & 1):
        return False
    return not eptp & (c.maxphyaddr_mask | 0xF80) and (not eptp >> 6 & 1 or able >> 21 & 1)

cdef void vmx_take_eptp(Cpu* c, uint64_t eptp) noexcept nogil:
    cdef uint64_t root = eptp & 0x000FFFFFFFFFF000ULL
    c.vmx.eptp = eptp
    c.virt.second_level_root = root
    if c.virt.last_root != root or c.virt.last_tag != EPT_TAG:
        c.virt.last_root = root
        c.virt.last_tag = EPT_TAG
        second_level_new_generation(c)

# ---------------------------------------------------------------- checks

cdef bint bad_pdptes(Cpu* c, bint ept) noexcept nogil:
    """27.3.1.6: reserved bits of present PDPTEs, from the fields with EPT and from memory without."""
    cdef uint64_t reserved = (c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL) | 0xFFF00000000001E6ULL
    cdef uint64_t entry
    cdef int k
    if (not vget(c, F_GUEST_CR0) >> 31 & 1 or not vget(c, F_GUEST_CR4) & CR4_PAE
            or vget(c, F_ENTRY_CONTROLS) >> ENTRY_IA32E_MODE_GUEST & 1):
        return False
    for k in range(4):
        if ept:
            entry = vget(c, F_GUEST_PDPTE0 + 8 * k)
        else:
            entry = physical_load(c, (vget(c, F_GUEST_CR3) & 0xFFFFFFE0ULL) + 8 * k, 8)
        if entry & 1 and entry & reserved:
            return True
    return False

cdef void environment(Cpu* c, CheckEnvironment* e) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef int extra = 13 - 1 if capability(c, 0) >> 55 & 1 else 0       # the TRUE controls
    cdef uint64_t info = vget(c, F_ENTRY_INTERRUPTION_INFORMATION)
    cdef uint64_t activity = vget(c, F_GUEST_ACTIVITY)
    cdef uint64_t link = vget(c, F_VMCS_LINK_POINTER)
    e.pin_must = <uint32_t>capability(c, 1 + extra)
    e.pin_may = capability(c, 1 + extra) >> 32
    e.primary_must = <uint32_t>capability(c, 2 + extra)
    e.primary_may = capability(c, 2 + extra) >> 32
    e.exit_must = <uint32_t>capability(c, 3 + extra)
    e.exit_may = capability(c, 3 + extra) >> 32
    e.entry_must = <uint32_t>capability(c, 4 + extra)
    e.entry_may = capability(c, 4 + extra) >> 32
    e.secondary_may = capability(c, 11) >> 32
    e.tertiary_may = capability(c, 18)
    e.tertiary = vget(c, F_TERTIARY_CONTROLS) if vget(c, F_PRIMARY_CONTROLS) >> PRI_ACTIVATE_TERTIARY_CONTROLS & 1 else 0
    e.vm_functions_may = capability(c, 17)
    e.ept_five_levels = capability(c, 12) >> 7 & 1
    e.zero_length = capability(c, 5) >> 30 & 1
    e.any_error_code = capability(c, 0) >> 56 & 1
    e.cet_reserved = cet_reserved(c)
    e.secondary = vget(c, F_SECONDARY_CONTROLS) if vget(c, F_PRIMARY_CONTROLS) >> 31 & 1 else 0
    e.physical_reserved = c.maxphyaddr_mask
    e.cr0_fixed0 = capability(c, 6)
    e.cr0_fixed1 = capability(c, 7)
    e.cr0_guest_fixed0 = e.cr0_fixed0
    if e.secondary >> SEC_UNRESTRICTED_GUEST & 1:
        e.cr0_guest_fixed0 &= ~0x80000001ULL
    e.cr4_fixed0 = capability(c, 8)
    e.cr4_fixed1 = capability(c, 9)
    e.efer_valid = m.efer_valid
    e.host_long = (c.efer & EFER_LMA) != 0
    e.in_smm = c.in_smm
    e.virtual_tpr = 0
    if vget(c, F_PRIMARY_CONTROLS) >> PRI_USE_TPR_SHADOW & 1:
        e.virtual_tpr = physical_load(c, (vget(c, F_VIRTUAL_APIC_ADDRESS) & ~c.maxphyaddr_mask & ~<uint64_t>0xFFF) + 0x80, 1)
    e.ept_accessed_dirty = capability(c, 12) >> 21 & 1
    e.has_monitor_trap_flag = e.primary_may >> PRI_MONITOR_TRAP_FLAG & 1
    e.vmcs_pointer = c.vmx.vmcs_pointer
    e.v86 = vget(c, F_GUEST_RFLAGS) >> 17 & 1
    e.link_revision = NOTHING
    if link != NOTHING and not link & (c.maxphyaddr_mask | 0xFFF):
        e.link_revision = physical_load(c, link, 4)
    e.bad_pdptes = bad_pdptes(c, e.secondary >> SEC_ENABLE_EPT & 1)
    e.linear_bits = 57 if c.features[FEATURE_LA57] else 48 if c.features[FEATURE_LM] else 64
    e.event_type = info >> 8 & 7
    e.event_vector = info & 0xFF
    e.event_has_error = info >> 11 & 1
    e.event_may_error = (e.event_type == 3
                         and (vget(c, F_GUEST_CR0) & 1 or not e.secondary >> SEC_UNRESTRICTED_GUEST & 1))
    e.event_wants_error = e.event_may_error and e.event_vector < 32 and (0x27D00 >> e.event_vector) & 1
    e.event_wakes = False
    if activity == ACTIVITY_HLT:
        e.event_wakes = (e.event_type == 0 or e.event_type == 2 or (e.event_type == 7 and e.event_vector == 0)
                         or (e.event_type == 3 and (e.event_vector == 1 or e.event_vector == 18)))
    elif activity == ACTIVITY_SHUTDOWN:
        e.event_wakes = e.event_type == 2 or (e.event_type == 3 and e.event_vector == 18)

# ---------------------------------------------------------------- loading

cdef void load_controls(Cpu* c) noexcept nogil:
    cdef Vmx* v = &c.vmx
    v.pin = <uint32_t>vget(c, F_PIN_CONTROLS)
    v.primary = <uint32_t>vget(c, F_PRIMARY_CONTROLS)
    v.secondary = <uint32_t>vget(c, F_SECONDARY_CONTROLS) if v.primary >> 31 & 1 else 0
    v.tertiary = vget(c, F_TERTIARY_CONTROLS) if v.primary >> PRI_ACTIVATE_TERTIARY_CONTROLS & 1 else 0
    v.exit_controls = <uint32_t>vget(c, F_EXIT_CONTROLS)
    v.entry_controls = <uint32_t>vget(c, F_ENTRY_CONTROLS)
    v.exception_bitmap = <uint32_t>vget(c, F_EXCEPTION_BITMAP)
    v.error_mask = <uint32_t>vget(c, F_PAGE_FAULT_ERROR_CODE_MASK)
    v.error_match = <uint32_t>vget(c, F_PAGE_FAULT_ERROR_CODE_MATCH)
    v.cr0_mask = vget(c, F_CR0_MASK)
    v.cr4_mask = vget(c, F_CR4_MASK)
    v.cr0_shadow = vget(c, F_CR0_READ_SHADOW)
    v.cr4_shadow = vget(c, F_CR4_READ_SHADOW)
    v.io_bitmap_a = vget(c, F_IO_BITMAP_A)
    v.io_bitmap_b = vget(c, F_IO_BITMAP_B)
    v.msr_bitmap = vget(c, F_MSR_BITMAP)
    v.virtual_apic = vget(c, F_VIRTUAL_APIC_ADDRESS)
    v.apic_access = vget(c, F_APIC_ACCESS_ADDRESS) if v.secondary >> SEC_VIRTUALIZE_APIC_ACCESSES & 1 else NOTHING
    v.tsc_offset = vget(c, F_TSC_OFFSET) if v.primary >> PRI_USE_TSC_OFFSETTING & 1 else 0
    v.tsc_multiplier = vget(c, F_TSC_MULTIPLIER)
    if not v.primary >> PRI_USE_TSC_OFFSETTING & 1 or not secondary(c, SEC_USE_TSC_SCALING):
        v.tsc_multiplier = 1ULL << 48
    v.xss_bitmap = vget(c, F_XSS_EXITING_BITMAP)
    v.pml_address = vget(c, F_PML_ADDRESS)
    v.ve_information = vget(c, F_VIRTUALIZATION_EXCEPTION_INFORMATION)
    v.sub_page_table = vget(c, F_SUB_PAGE_PERMISSION_POINTER)
    v.ple_last = 0
    if v.tertiary:
        load_hlat(c)
    v.trap_flag = v.primary >> PRI_MONITOR_TRAP_FLAG & 1
    v.trap_pending = 0
    v.tpr_pending = 0
    v.virtual_ready = 0
    v.apic_write = 0
    v.after_reason = 0
    v.alone = 0
    v.iret_at = -1
    vmx_start_timer(c)

cdef void load_hlat(Cpu* c) noexcept nogil:
    """25.6.22: HLAT paging translates the addresses whose highest bits, as many as the prefix size says, are all 1."""
    cdef uint64_t size = vget(c, F_HLAT_PREFIX_SIZE) & 0xFFFF, prefix = 0
    if size:
        prefix = ~<uint64_t>0 << (64 - min(size, 52))
    if c.vmx.hlat_root != vget(c, F_HLAT_POINTER) or c.vmx.hlat_prefix != prefix:
        c.vmx.hlat_root = vget(c, F_HLAT_POINTER)
        c.vmx.hlat_prefix = prefix
        tlb_flush_everything(c)

cdef uint64_t vmx_host_tsc(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t mode = c.virt.guest_mode
    cdef uint64_t now
    c.virt.guest_mode = GUEST_NONE
    now = tsc_read(c, i)
    c.virt.guest_mode = mode
    return now

cdef void load_control_registers(Cpu* c) noexcept nogil:
    """27.3.2.1. ET, NW, CD and the reserved bits of CR0 keep their values."""
    cdef Vmx* v = &c.vmx
    cdef uint64_t kept = 0x7FFAFFD0ULL
    cdef bint long_guest = v.entry_controls >> ENTRY_IA32E_MODE_GUEST & 1
    c.cr0 = (vget(c, F_GUEST_CR0) & ~kept) | (c.cr0 & kept)
    c.cr3 = vget(c, F_GUEST_CR3)
    c.cr4 = vget(c, F_GUEST_CR4)
    if v.entry_controls >> ENTRY_LOAD_DEBUG_CONTROLS & 1:
        c.dr[7] = (vget(c, F_GUEST_DR7) & 0xFFFF2FFFULL) | 0x400
        c.debugctl = vget(c, F_GUEST_DEBUGCTL)
    c.sysenter_cs = vget(c, F_GUEST_SYSENTER_CS)
    c.sysenter_esp = vget(c, F_GUEST_SYSENTER_ESP)
    c.sysenter_eip = vget(c, F_GUEST_SYSENTER_EIP)
    if v.entry_controls >> ENTRY_LOAD_EFER & 1:
        c.efer = vget(c, F_GUEST_EFER)
    else:
        c.efer &= ~<uint64_t>EFER_LMA
        if long_guest:
            c.efer |= EFER_LMA
        if c.cr0 >> CR0_PG_BIT & 1:
            c.efer = (c.efer & ~<uint64_t>EFER_LME) | (EFER_LME if long_guest else 0)
    if v.entry_controls >> ENTRY_LOAD_PAT & 1:
        c.pat = vget(c, F_GUEST_PAT)
    if v.entry_controls >> ENTRY_LOAD_CET_STATE & 1:
        c.s_cet = vget(c, F_GUEST_S_CET)
        c.ssp = vget(c, F_GUEST_SSP)
        c.interrupt_ssp_table = vget(c, F_GUEST_INTERRUPT_SSP_TABLE)
    if v.entry_controls >> ENTRY_LOAD_PKRS & 1:
        switch_pkrs(c, <uint32_t>vget(c, F_GUEST_PKRS))

cdef void load_segments(Cpu* c) noexcept nogil:
    cdef int k
    cdef Segment* s
    for k in range(8):
        s = &c.seg[k]
        s.selector = <uint16_t>vget(c, F_GUEST_ES_SELECTOR + 8 * k)
        s.base = vget(c, F_GUEST_ES_BASE + 8 * k)
        s.limit = <uint32_t>vget(c, F_GUEST_ES_LIMIT + 8 * k)
        s.attributes = <uint32_t>vget(c, F_GUEST_ES_ACCESS_RIGHTS + 8 * k) & 0x1FFFF
    c.gdtr.base = vget(c, F_GUEST_GDTR_BASE)
    c.gdtr.limit = <uint32_t>vget(c, F_GUEST_GDTR_LIMIT)
    c.idtr.base = vget(c, F_GUEST_IDTR_BASE)
    c.idtr.limit = <uint32_t>vget(c, F_GUEST_IDTR_LIMIT)

cdef void inject(Cpu* c) noexcept nogil:
    """27.6: the event is delivered before the guest's first instruction, whatever the exception bitmap says."""
    cdef uint64_t info = vget(c, F_ENTRY_INTERRUPTION_INFORMATION)
    cdef uint32_t kind = <uint32_t>(info >> 8) & 7
    if not info & INFORMATION_VALID:
        return
    if kind == 7:                # a pending MTF VM exit
        c.vmx.trap_pending = 1
        return
    c.fault.vector = <uint8_t>info
    c.fault.kind = <uint8_t>kind
    c.fault.has_error = info & INFORMATION_ERROR != 0
    c.fault.error = <uint32_t>vget(c, F_ENTRY_EXCEPTION_ERROR_CODE)
    c.fault.address = 0
    c.fault.trap = 1
    c.virt.inject_rip = c.r[REG_RIP]
    if 4 <= kind <= 6:
        c.virt.inject_rip += vget(c, F_ENTRY_INSTRUCTION_LENGTH)
        if (c.mode & MODE_CODE) != MODE_CODE64:
            c.virt.inject_rip &= 0xFFFFFFFFULL
    c.virt.injecting = 1
    c.exit = EXIT_FAULT
    if c.vmx.trap_flag:
        c.vmx.trap_pending = 1

cdef void fail_entry(Cpu* c, uint32_t reason, uint64_t qualification) noexcept nogil:
    """27.8: as a VM exit, but that no guest state is saved and the other exit fields stay."""
    vput(c, F_EXIT_REASON, 0x80000000ULL | reason)
    vput(c, F_EXIT_QUALIFICATION, qualification)
    record_exit(c, 0x80000000ULL | reason, qualification)
    load_host_state(c)

cdef void vmx_watch(Cpu* c) noexcept nogil:
    """Sets the flag that makes the run loop call vmx_take_wires() between traces."""
    cdef Vmx* v = &c.vmx
    c.virt.virtual_interrupt = ((v.primary & (1 << PRI_INTERRUPT_WINDOW_EXITING | 1 << PRI_NMI_WINDOW_EXITING))
                                | v.timer_on & TIMER_WATCHED | v.trap_pending | v.tpr_pending | v.virtual_ready | v.apic_write
                                | v.after_reason) != 0

cdef uint32_t check_vmcs(Cpu* c, CheckEnvironment* e, int* error) noexcept nogil:
    """The first row that the VMCS breaks, 0 for none; error: the VM-instruction error where that is a VMfail.

    What was checked before and has not changed since is not checked again: a validated copy of the VMCS is kept, and
    controls, host state and guest segments are compared with it, each as a whole.
    """
    cdef int slot = <int>(c.vmx.vmcs_pointer >> 12 & 3)
    cdef uint8_t* vmcs = c.vmx.vmcs
    cdef uint8_t* copy = &c.vmx.checked[slot][0]
    cdef bint known = (c.vmx.checked_pointer[slot] == c.vmx.vmcs_pointer
                       and memcmp(e, &c.vmx.checked_environment[slot][0], sizeof(CheckEnvironment)) == 0)
    cdef bint same = known
    cdef uint32_t failed
    if not (known and unchanged_controls(vmcs, copy)):
        same = False
        failed = failed_controls_check(vmcs, e)
        if failed:
            error[0] = ERROR_CONTROLS
            return failed
    if not (known and unchanged_host(vmcs, copy)):
        same = False
        failed = failed_host_check(vmcs, e)
        if failed:
            error[0] = ERROR_HOST
            return failed
    if known and unchanged_segments(vmcs, copy):
        failed = failed_changing_check(vmcs, e)
    else:
        same = False
        failed = failed_guest_check(vmcs, e)
    if not same and not failed:
        memcpy(copy, vmcs, VMCS_BYTES)
        memcpy(&c.vmx.checked_environment[slot][0], e, sizeof(CheckEnvironment))
        c.vmx.checked_pointer[slot] = c.vmx.vmcs_pointer
    return failed

cdef int vmx_enter(Cpu* c, bint launch) noexcept nogil:
    cdef CheckEnvironment e
    cdef uint32_t failed, tag
    cdef int error = 0
    cdef uint64_t entry = 0, state
    cdef int k
    environment(c, &e)
    failed = check_vmcs(c, &e, &error)
    c.vmx.failed_check = failed
    if error:
        return error
    load_controls(c)
    c.vmx.host_nmi_blocked = c.nmi_blocked
    if failed:
        fail_entry(c, REASON_ENTRY_GUEST_STATE, qualification_of_check(failed))
        return 0
    # ---- the guest's state
    load_control_registers(c)
    load_segments(c)
    write_rflags(c, vget(c, F_GUEST_RFLAGS))
    c.r[REG_RIP] = vget(c, F_GUEST_RIP)
    c.r[RSP] = vget(c, F_GUEST_RSP)
    c.cpl = 3 if c.rflags & FLAG_VM else (c.seg[SS].attributes >> ATTR_DPL_SHIFT) & 3
    if not c.cr0 & CR0_PE:
        c.cpl = 0
    state = vget(c, F_GUEST_INTERRUPTIBILITY)
    c.interrupt_shadow = <uint32_t>state & 3
    c.nmi_blocked = state >> 3 & 1
    c.pending_debug = 0
    if vget(c, F_GUEST_PENDING_DEBUG) & 0x1000 or vget(c, F_GUEST_PENDING_DEBUG) & 0x4000:
        c.pending_debug = vget(c, F_GUEST_PENDING_DEBUG) & 0x400F
    if vget(c, F_ENTRY_INTERRUPTION_INFORMATION) & INFORMATION_VALID and e.event_type != 7 and not state & 2:
        c.pending_debug = 0      # 27.7.3: an injected event leaves none but under MOV SS
    c.activity = <uint32_t>vget(c, F_GUEST_ACTIVITY)
    if c.activity and vget(c, F_ENTRY_INTERRUPTION_INFORMATION) & INFORMATION_VALID:
        c.activity = ACTIVITY_ACTIVE
    c.link = NULL
    # ---- translations
    c.virt.guest_mode = GUEST_VMX
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.second_level_root = 0
    if secondary(c, SEC_ENABLE_EPT):
        c.virt.second_level = SECOND_LEVEL_EPT
        vmx_take_eptp(c, vget(c, F_EPT_POINTER))
    tag = NO_VPID
    if secondary(c, SEC_ENABLE_VPID):
        tag = <uint32_t>vget(c, F_VIRTUAL_PROCESSOR_ID) & 0xFFFF
    c.virt.tag = tag
    if tag == NO_VPID or c.dr[7] & 0xFF:
        tlb_forget_tag(c, tag)
        c.virt.last_tag = 0      # and what is cached of EPT, as 30.4.3.1 allows
    tlb_take_keys(c)
    for k in range(8):
        refresh_segment(c, k)
    refresh_mode(c)
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA:
        for k in range(4):
            if c.virt.second_level:
                c.pdpte[k] = vget(c, F_GUEST_PDPTE0 + 8 * k)
            else:
                c.pdpte[k] = physical_load(c, (c.cr3 & 0xFFFFFFE0ULL) + 8 * k, 8)
    if (vget(c, F_ENTRY_MSR_LOAD_COUNT)
            and not vmx_load_msrs(c, vget(c, F_ENTRY_MSR_LOAD_ADDRESS), vget(c, F_ENTRY_MSR_LOAD_COUNT), &entry)):
        c.virt.guest_mode = GUEST_NONE
        c.virt.second_level = SECOND_LEVEL_NONE
        fail_entry(c, REASON_ENTRY_MSR, entry)
        return 0
    if launch:
        (<uint32_t*>(c.vmx.vmcs + 8))[0] = 1
    note_entry(c)
    inject(c)
    # 27.7.4 to 27.7.8: a TPR below the threshold exits right after the entry
    vmx_enter_virtual_apic(c)
    if (c.vmx.primary >> PRI_USE_TPR_SHADOW & 1 and secondary(c, SEC_VIRTUALIZE_APIC_ACCESSES)
            and not secondary(c, SEC_VIRTUAL_INTERRUPT_DELIVERY)):
        c.vmx.tpr_pending = 1
    vmx_watch(c)
    return 0
