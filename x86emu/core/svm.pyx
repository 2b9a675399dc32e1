# cython: language_level=3
"""VMRUN, and the further state of VMLOAD and VMSAVE (AMD APM volume 2, 15.5, 15.15, 15.20); exits are in svm_exit.pyx.

The host's state is kept in the processor (HostState), which 15.5.1 leaves open; the host save area in memory stays as
software wrote it.  What the clean bits vouch for is taken from the copy of the last exit's control block and neither
checked nor loaded from memory again; one control block is kept.  DR6 and DR7 are the guest's until an exit, which
disables all breakpoints by setting DR7 to 400h.
"""
from libc.string cimport memcpy, memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.features cimport *
from x86emu.core.physical cimport backing_of
from x86emu.core.trace cimport invalidate_code
from x86emu.core.physical cimport physical_load
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_flush_everything, tlb_forget_tag, tlb_take_keys
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.second_level cimport second_level_new_generation
from x86emu.core.cet cimport cet_reserved
from x86emu.core.model cimport ProcessorModel
from x86emu.core.avic cimport avic_look
from x86emu.core.exits cimport note_entry
from x86emu.core.svm_exit cimport refuse

include "svm_checks.pxi"

cdef enum:
    VIRTUAL_VMLOAD = 2
    TLB_FLUSH_ALL = 1
    TLB_FLUSH_ASID = 3
    TLB_FLUSH_NON_GLOBAL = 7
    # byte 63h
    INTERRUPT_MASKING = 1
    VIRTUAL_GIF = 2
    VIRTUAL_NMI = 4
    X2AVIC = 0x40
    AVIC = 0x80
    GUEST_MODE_EXECUTE_TRAP = 8  # of the nested paging controls
    DR6_WRITABLE = 0xE00F
    DR6_ONES = 0xFFFF0FF0
    DR7_WRITABLE = 0xFFFF23FF
    DR7_ONES = 0x400
    DEBUGCTL_VALID = 3

cdef uint64_t NO_BLOCK = 0xFFFFFFFFFFFFFFFFULL

cdef uint8_t* svm_page(Cpu* c, uint64_t physical, bint write) noexcept nogil:
    cdef uint64_t offset = backing_of(&c.shared.memory, physical & 0xFFFFFFFFFFFFF000ULL, write, c.in_smm)
    if offset == 0xFFFFFFFFFFFFFFFFULL or offset + 4096 > c.shared.memory.backing_size:
        return NULL
    return c.shared.memory.backing + offset

cdef void svm_page_written(Cpu* c, uint64_t physical) noexcept nogil:
    cdef uint64_t offset = backing_of(&c.shared.memory, physical & 0xFFFFFFFFFFFFF000ULL, 1, c.in_smm)
    if c.shared.memory.code_mask[offset >> 12]:
        invalidate_code(c.shared, offset, 4096)

# ---------------------------------------------------------------- segments in the block's form

cdef void load_segment(Cpu* c, int n, const uint8_t* field) noexcept nogil:
    cdef Segment* s = &c.seg[n]
    cdef uint32_t a = get16(field, 2)
    s.selector = <uint16_t>get16(field, 0)
    s.attributes = (a & 0xFF) | ((a & 0xF00) << 4)
    if not a & ATTR_P:
        s.attributes |= ATTR_UNUSABLE
    s.limit = get32(field, 4)
    s.base = get64(field, 8)

cdef void save_segment(Cpu* c, int n, uint8_t* field) noexcept nogil:
    cdef Segment* s = &c.seg[n]
    cdef uint32_t a = (s.attributes & 0xFF) | ((s.attributes >> 4) & 0xF00)
    if s.attributes & ATTR_UNUSABLE:
        a &= ~<uint32_t>ATTR_P
    (<uint16_t*>field)[0] = s.selector
    (<uint16_t*>(field + 2))[0] = <uint16_t>a
    put32(field, 4, s.limit)
    put64(field, 8, s.base)

cdef void svm_load_more(Cpu* c, const uint8_t* block) noexcept nogil:
    load_segment(c, FS, block + VMCB_FS)
    load_segment(c, GS, block + VMCB_GS)
    load_segment(c, LDTR, block + VMCB_LDTR)
    load_segment(c, TR, block + VMCB_TR)
    c.star = get64(block, VMCB_STAR)
    c.lstar = get64(block, VMCB_LSTAR)
    c.cstar = get64(block, VMCB_CSTAR)
    c.fmask = get64(block, VMCB_SFMASK)
    c.kernel_gs_base = canonicalized(c, get64(block, VMCB_KERNEL_GS_BASE))
    c.sysenter_cs = get64(block, VMCB_SYSENTER_CS)
    c.sysenter_esp = get64(block, VMCB_SYSENTER_ESP)
    c.sysenter_eip = get64(block, VMCB_SYSENTER_EIP)
    c.seg[FS].base = canonicalized(c, c.seg[FS].base)
    c.seg[GS].base = canonicalized(c, c.seg[GS].base)
    c.seg[TR].base = canonicalized(c, c.seg[TR].base)
    c.seg[LDTR].base = canonicalized(c, c.seg[LDTR].base)
    refresh_segment(c, LDTR)
    refresh_segment(c, TR)
    refresh_mode(c)

cdef inline uint64_t canonicalized(Cpu* c, uint64_t address) noexcept nogil:
    """APM 2, 15.5.1: bases are sign-extended from the width of linear addresses, not checked."""
    cdef int unused = 64 - (57 if c.features[FEATURE_LA57] else 48)
    return <uint64_t>((<int64_t>(address << unused)) >> unused)

cdef void svm_save_more(Cpu* c, uint8_t* block) noexcept nogil:
    save_segment(c, FS, block + VMCB_FS)
    save_segment(c, GS, block + VMCB_GS)
    save_segment(c, LDTR, block + VMCB_LDTR)
    save_segment(c, TR, block + VMCB_TR)
    put64(block, VMCB_STAR, c.star)
    put64(block, VMCB_LSTAR, c.lstar)
    put64(block, VMCB_CSTAR, c.cstar)
    put64(block, VMCB_SFMASK, c.fmask)
    put64(block, VMCB_KERNEL_GS_BASE, c.kernel_gs_base)
    put64(block, VMCB_SYSENTER_CS, c.sysenter_cs)
    put64(block, VMCB_SYSENTER_ESP, c.sysenter_esp)
    put64(block, VMCB_SYSENTER_EIP, c.sysenter_eip)

# ---------------------------------------------------------------- host state

cdef void save_host(Cpu* c) noexcept nogil:
    cdef HostState* h = &c.virt.host
    memcpy(h.seg, c.seg, 4 * sizeof(Segment))        # ES CS SS DS
    h.gdtr = c.gdtr
    h.idtr = c.idtr
    h.cr0 = c.cr0
    h.cr3 = c.cr3
    h.cr4 = c.cr4
    h.efer = c.efer
    h.rflags = read_rflags(c)
    h.rip = c.r[REG_RIP]
    h.rsp = c.r[RSP]
    h.rax = c.r[RAX]
    h.pat = c.pat
    h.debugctl = c.debugctl
    h.lbr_from = c.lbr_from
    h.lbr_to = c.lbr_to
    h.s_cet = c.s_cet
    h.ssp = c.ssp
    h.interrupt_ssp_table = c.interrupt_ssp_table
    c.svm.host_last_int_from = c.last_int_from
    c.svm.host_last_int_to = c.last_int_to

# ---------------------------------------------------------------- VMRUN

cdef bint bad_pdptes(Cpu* c, const uint8_t* registers, const uint8_t* paging) noexcept nogil:
    cdef uint64_t reserved = (c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL) | 0xFFF00000000001E6ULL
    cdef uint64_t cr0 = get64(registers, VMCB_CR0), entry
    cdef int k
    if (not (cr0 >> CR0_PG_BIT) & 1 or not get64(registers, VMCB_CR4) & CR4_PAE or get64(registers, VMCB_EFER) & EFER_LME
            or (get64(paging, VMCB_NP_ENABLE) & 1 and c.features[FEATURE_NPT])):
        return False
    for k in range(4):
        entry = physical_load(c, (get64(registers, VMCB_CR3) & 0xFFFFFFE0ULL) + 8 * k, 8)
        if entry & 1 and entry & reserved:
            return True
    return False

cdef inline const uint8_t* area(Cpu* c, const uint8_t* block, uint32_t clean, uint32_t bit) noexcept nogil:
    """Where the fields of an area are read from."""
    return &c.svm.cached[0] if clean & bit else block

cdef void environment(Cpu* c, const uint8_t* block, uint32_t clean, CheckEnvironment* e) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    e.cr3_reserved = c.maxphyaddr_mask
    e.cr4_reserved = ~m.cr4_valid
    e.efer_reserved = ~m.efer_valid
    e.has_long_mode = c.features[FEATURE_LM]
    e.has_npt = c.features[FEATURE_NPT]
    e.asids = m.asids
    e.physical_mask = ~c.maxphyaddr_mask
    e.host_paging = (c.cr0 >> CR0_PG_BIT) & 1
    e.ncr3_reserved = c.maxphyaddr_mask
    e.has_vnmi = c.features[FEATURE_VNMI]
    e.has_avic = c.features[FEATURE_AVIC]
    e.cet_reserved = cet_reserved(c)
    e.user_shadow_stack = c.u_cet & CET_SH_STK_EN
    e.bad_pdptes = bad_pdptes(c, area(c, block, clean, CLEAN_CONTROL_REGISTERS),
                              area(c, block, clean, CLEAN_NESTED_PAGING))

cdef void keep_fields(Cpu* c, const uint8_t* block, uint32_t clean) noexcept nogil:
    """What a dirty area of the control area says now is what its clean bit will vouch for."""
    cdef uint8_t* kept = c.svm.cached
    if clean & CLEAN_INTERCEPTS == 0:
        memcpy(kept, block, 24)
        memcpy(kept + VMCB_PAUSE_FILTER_THRESHOLD, block + VMCB_PAUSE_FILTER_THRESHOLD, 4)
        put64(kept, VMCB_TSC_OFFSET, get64(block, VMCB_TSC_OFFSET))
    if clean & CLEAN_PERMISSION_MAPS == 0:
        put64(kept, VMCB_IOPM_BASE_PA, get64(block, VMCB_IOPM_BASE_PA))
        put64(kept, VMCB_MSRPM_BASE_PA, get64(block, VMCB_MSRPM_BASE_PA))
    if clean & CLEAN_ASID == 0:
        put32(kept, VMCB_GUEST_ASID, get32(block, VMCB_GUEST_ASID))
    if clean & CLEAN_TPR == 0:
        put64(kept, VMCB_V_TPR, get64(block, VMCB_V_TPR))
    if clean & CLEAN_NESTED_PAGING == 0:
        put64(kept, VMCB_NP_ENABLE, get64(block, VMCB_NP_ENABLE))
        put64(kept, VMCB_N_CR3, get64(block, VMCB_N_CR3))
        put64(kept, VMCB_G_PAT, get64(block, VMCB_G_PAT))
    if clean & CLEAN_AVIC == 0:
        put64(kept, VMCB_AVIC_APIC_BAR, get64(block, VMCB_AVIC_APIC_BAR))
        memcpy(kept + VMCB_AVIC_BACKING_PAGE, block + VMCB_AVIC_BACKING_PAGE, 32)
    if clean & CLEAN_CET == 0:
        memcpy(kept + VMCB_S_CET, block + VMCB_S_CET, 24)
    if clean & CLEAN_LBR == 0:
        memcpy(kept + VMCB_DBGCTL, block + VMCB_DBGCTL, 40)

cdef void load_intercepts(Cpu* c, const uint8_t* block) noexcept nogil:
    cdef Virtualization* v = &c.virt
    memcpy(v.intercepts, block, 24)
    v.tsc_offset = get64(block, VMCB_TSC_OFFSET)
    v.pause_reload = get16(block, VMCB_PAUSE_FILTER_COUNT) if c.features[FEATURE_PAUSEFILTER] else 0
    v.pause_threshold = get16(block, VMCB_PAUSE_FILTER_THRESHOLD) if c.features[FEATURE_PFTHRESHOLD] else 0
    v.pause_count = v.pause_reload
    v.pause_last = 0
    v.scales_tsc = c.features[FEATURE_TSC_SCALE] and v.tsc_ratio != 0x100000000ULL

cdef void load_virtual_interrupts(Cpu* c, const uint8_t* block) noexcept nogil:
    cdef Virtualization* v = &c.virt
    cdef uint32_t flags = block[VMCB_V_INTR_MASKING], priority = block[VMCB_V_INTR_PRIO], pending = block[VMCB_V_IRQ]
    v.virtual_tpr = block[VMCB_V_TPR] & 0xF
    v.virtual_interrupt = pending & 1
    v.virtual_gif = (pending >> 1) & 1
    v.virtual_priority = priority & 0xF
    v.ignore_tpr = (priority >> 4) & 1
    v.interrupt_masking = flags & INTERRUPT_MASKING
    v.virtual_gif_enabled = flags & VIRTUAL_GIF and c.features[FEATURE_VGIF]
    v.virtual_vector = block[VMCB_V_INTR_VECTOR]
    c.svm.virtual_nmi_enabled = flags & VIRTUAL_NMI and c.features[FEATURE_VNMI]
    c.svm.virtual_nmi = (pending >> 3) & 1 if c.svm.virtual_nmi_enabled else 0
    c.svm.virtual_nmi_blocked = (pending >> 4) & 1
    c.svm.avic_enabled = flags & AVIC and c.features[FEATURE_AVIC]
    c.svm.x2avic = c.svm.avic_enabled and flags & X2AVIC and c.features[FEATURE_X2AVIC]

cdef void load_avic(Cpu* c, const uint8_t* block) noexcept nogil:
    cdef uint64_t page = ~c.maxphyaddr_mask & 0x000FFFFFFFFFF000ULL
    c.svm.avic_bar = get64(block, VMCB_AVIC_APIC_BAR) & 0x000FFFFFFFFFF000ULL
    c.svm.avic_backing = get64(block, VMCB_AVIC_BACKING_PAGE) & page
    c.svm.avic_logical = get64(block, VMCB_AVIC_LOGICAL_TABLE) & page
    c.svm.avic_physical = get64(block, VMCB_AVIC_PHYSICAL_TABLE) & page
    c.svm.avic_max_index = <uint32_t>get64(block, VMCB_AVIC_PHYSICAL_TABLE) & (0x1FF if c.svm.x2avic else 0xFF)

cdef void load_controls(Cpu* c, const uint8_t* block, uint32_t clean) noexcept nogil:
    cdef Virtualization* v = &c.virt
    cdef const uint8_t* maps = area(c, block, clean, CLEAN_PERMISSION_MAPS)
    load_intercepts(c, area(c, block, clean, CLEAN_INTERCEPTS))
    v.io_map = get64(maps, VMCB_IOPM_BASE_PA) & ~c.maxphyaddr_mask & 0xFFFFFFFFFFFFF000ULL
    v.msr_map = get64(maps, VMCB_MSRPM_BASE_PA) & ~c.maxphyaddr_mask & 0xFFFFFFFFFFFFF000ULL
    v.tag = get32(area(c, block, clean, CLEAN_ASID), VMCB_GUEST_ASID)
    load_virtual_interrupts(c, area(c, block, clean, CLEAN_TPR))
    if c.svm.avic_enabled:
        load_avic(c, area(c, block, clean, CLEAN_AVIC))
    v.lbr_virtualization = 0
    if c.features[FEATURE_LBRV]:
        v.lbr_virtualization |= <uint32_t>get64(block, VMCB_LBR_VIRTUALIZATION_ENABLE) & LBR_ENABLE
    if c.features[FEATURE_V_VMSAVE_VMLOAD]:
        v.lbr_virtualization |= <uint32_t>get64(block, VMCB_LBR_VIRTUALIZATION_ENABLE) & VIRTUAL_VMLOAD

cdef void load_tables(Cpu* c, const uint8_t* block) noexcept nogil:
    c.gdtr.limit = get32(block, VMCB_GDTR + 4) & 0xFFFF
    c.gdtr.base = canonicalized(c, get64(block, VMCB_GDTR + 8))
    c.idtr.limit = get32(block, VMCB_IDTR + 4) & 0xFFFF
    c.idtr.base = canonicalized(c, get64(block, VMCB_IDTR + 8))

cdef void load_control_registers(Cpu* c, const uint8_t* block) noexcept nogil:
    c.cr0 = get64(block, VMCB_CR0) | CR0_ET
    c.cr3 = get64(block, VMCB_CR3)
    c.cr4 = get64(block, VMCB_CR4)
    c.efer = get64(block, VMCB_EFER) & ~<uint64_t>EFER_LMA
    if c.efer & EFER_LME and c.cr0 >> CR0_PG_BIT & 1:
        c.efer |= EFER_LMA

cdef void load_guest(Cpu* c, const uint8_t* block, uint32_t clean) noexcept nogil:
    cdef const uint8_t* from_ = area(c, block, clean, CLEAN_SEGMENTS)
    load_segment(c, ES, from_ + VMCB_ES)
    load_segment(c, CS, from_ + VMCB_CS)
    load_segment(c, SS, from_ + VMCB_SS)
    load_segment(c, DS, from_ + VMCB_DS)
    c.cpl = from_[VMCB_CPL] & 3
    load_tables(c, area(c, block, clean, CLEAN_DESCRIPTOR_TABLES))
    load_control_registers(c, area(c, block, clean, CLEAN_CONTROL_REGISTERS))
    c.cr2 = get64(area(c, block, clean, CLEAN_CR2), VMCB_CR2)
    from_ = area(c, block, clean, CLEAN_DEBUG_REGISTERS)
    c.dr[6] = (get64(from_, VMCB_DR6) & DR6_WRITABLE) | DR6_ONES
    c.dr[7] = (get64(from_, VMCB_DR7) & DR7_WRITABLE) | DR7_ONES
    if c.features[FEATURE_CET_SS]:
        from_ = area(c, block, clean, CLEAN_CET)
        c.s_cet = get64(from_, VMCB_S_CET) & ~cet_reserved(c)
        c.ssp = get64(from_, VMCB_SSP)
        c.interrupt_ssp_table = get64(from_, VMCB_ISST_ADDR)
    write_rflags(c, (get64(block, VMCB_RFLAGS) & 0x3F7FD5) | 2)
    c.r[REG_RIP] = get64(block, VMCB_RIP)
    c.r[RSP] = get64(block, VMCB_RSP)
    c.r[RAX] = get64(block, VMCB_RAX)
    if not c.cr0 & CR0_PE:
        c.cpl = 0
    elif c.rflags & FLAG_VM:
        c.cpl = 3
    c.interrupt_shadow = get64(block, VMCB_INTERRUPT_SHADOW) & 1
    c.pending_debug = 0
    c.activity = ACTIVITY_ACTIVE
    c.svm.software_event = 0
    if c.virt.lbr_virtualization & LBR_ENABLE:
        from_ = area(c, block, clean, CLEAN_LBR)
        c.debugctl = get64(from_, VMCB_DBGCTL) & DEBUGCTL_VALID
        c.lbr_from = get64(from_, VMCB_BR_FROM)
        c.lbr_to = get64(from_, VMCB_BR_TO)
        c.last_int_from = get64(from_, VMCB_LAST_EXCP_FROM)
        c.last_int_to = get64(from_, VMCB_LAST_EXCP_TO)

cdef void inject(Cpu* c, const uint8_t* block) noexcept nogil:
    """APM 2, 15.20: the event is delivered before the guest's first instruction, whatever is intercepted."""
    cdef uint64_t event = get64(block, VMCB_EVENTINJ)
    cdef uint32_t type = <uint32_t>(event >> 8) & 7
    if not event >> 31 & 1:
        return
    c.fault.vector = <uint8_t>event
    c.fault.has_error = type == TYPE_EXCEPTION and event & EVENT_INFO_ERROR != 0
    c.fault.error = <uint32_t>(event >> 32)
    c.fault.address = c.cr2
    c.fault.trap = 1
    c.virt.inject_rip = c.r[REG_RIP]
    if type == TYPE_EXTERNAL:
        c.fault.kind = EVENT_EXTERNAL
    elif type == TYPE_NMI:
        c.fault.kind = EVENT_NMI
        c.fault.vector = V_NMI
        if c.svm.virtual_nmi_enabled:
            c.svm.virtual_nmi_blocked = 1        # 15.21.10
    elif type == TYPE_SOFTWARE:
        c.fault.kind = EVENT_SOFTWARE_INT
    else:
        c.fault.kind = EVENT_EXCEPTION
    if (type == TYPE_SOFTWARE or (type == TYPE_EXCEPTION and (c.fault.vector == V_BP or c.fault.vector == V_OF))) \
            and c.features[FEATURE_NRIP_SAVE]:
        c.virt.inject_rip = get64(block, VMCB_NRIP)
    c.virt.injecting = 1
    c.exit = EXIT_FAULT

cdef void forget_control_block(Cpu* c) noexcept nogil:
    c.svm.cached_vmcb = NO_BLOCK

cdef void svm_enter(Cpu* c, uint64_t vmcb) noexcept nogil:
    cdef uint8_t* block = svm_page(c, vmcb, True)
    cdef const uint8_t* paging
    cdef CheckEnvironment e
    cdef uint32_t failed, control, clean = 0
    cdef uint64_t root = 0
    if c.svm.cached_vmcb == vmcb and c.features[FEATURE_VMCB_CLEAN]:
        clean = get32(block, VMCB_VMCB_CLEAN)
    save_host(c)
    c.virt.vmcb = vmcb
    environment(c, block, clean, &e)
    failed = failed_check(block, c.svm.cached, clean, &e)
    c.virt.failed_check = failed
    c.virt.host_if = (c.rflags & FLAG_IF) != 0
    if failed:
        forget_control_block(c)
        refuse(c, block, failed)
        return
    note_entry(c)
    load_controls(c, block, clean)
    c.virt.gif = 1
    c.virt.guest_mode = GUEST_SVM
    c.virt.second_level = SECOND_LEVEL_NONE
    c.svm.guest_mode_execute_trap = 0
    paging = area(c, block, clean, CLEAN_NESTED_PAGING)
    if get64(paging, VMCB_NP_ENABLE) & 1 and c.features[FEATURE_NPT]:
        c.virt.second_level = SECOND_LEVEL_NPT
        c.svm.guest_mode_execute_trap = get64(paging, VMCB_NP_ENABLE) & GUEST_MODE_EXECUTE_TRAP and c.features[FEATURE_GMET]
        root = get64(paging, VMCB_N_CR3)
        c.pat = get64(paging, VMCB_G_PAT)
    c.virt.second_level_root = root
    control = block[VMCB_TLB_CONTROL] & 7
    if control == TLB_FLUSH_ALL:
        tlb_flush_everything(c)
    elif control == TLB_FLUSH_ASID or control == TLB_FLUSH_NON_GLOBAL:
        tlb_forget_tag(c, c.virt.tag)
    load_guest(c, block, clean)
    keep_fields(c, block, clean)
    c.svm.cached_vmcb = vmcb
    if c.dr[7] & 0xFF:
        tlb_forget_tag(c, c.virt.tag)    # a page under a breakpoint must not be in the TLB
    if c.virt.last_tag != c.virt.tag or c.virt.last_root != root:
        c.virt.last_tag = c.virt.tag
        c.virt.last_root = root
        second_level_new_generation(c)
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA:
        load_pdptes(c, NULL, c.cr3)      # a row has seen to it that they are good
    tlb_take_keys(c)
    refresh_mode(c)
    c.link = NULL
    if c.svm.avic_enabled:
        avic_look(c)
    inject(c, block)
