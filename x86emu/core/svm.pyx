# cython: language_level=3
"""World switches of AMD-V: VMRUN, #VMEXIT, and the further state of VMLOAD and VMSAVE (AMD APM volume 2, 15.5, 15.6, 15.20).

The host's state is kept in the processor (HostState), which 15.5.1 leaves open; the host save area in memory stays as
software wrote it.  The clean bits are allowed to be ignored (15.15): everything is loaded and checked at every VMRUN.
DR6 and DR7 are the guest's until an exit, which disables all breakpoints by setting DR7 to 400h.
"""
from libc.string cimport memcpy, memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.features cimport *
from x86emu.core.physical cimport backing_of
from x86emu.core.trace cimport invalidate_code
from x86emu.core.mmu cimport (refresh_mode, refresh_segment, tlb_flush_everything, tlb_forget_tag, tlb_take_keys,
                              load_pdptes)
from x86emu.core.second_level cimport second_level_new_generation, peek_guest_physical
from x86emu.core.model cimport ProcessorModel
from x86emu.core.msr cimport mtrr_type

include "svm_checks.pxi"

cdef enum:
    EVENT_INFO_ERROR = 0x800
    TYPE_EXTERNAL = 0
    TYPE_NMI = 2
    TYPE_EXCEPTION = 3
    TYPE_SOFTWARE = 4
    LBR_ENABLE = 1
    VIRTUAL_VMLOAD = 2
    TLB_FLUSH_ALL = 1
    TLB_FLUSH_ASID = 3
    TLB_FLUSH_NON_GLOBAL = 7
    DR7_DISABLED = 0x400

cdef uint64_t EXIT_INVALID = 0xFFFFFFFFFFFFFFFFULL

cdef inline uint64_t get64(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint64_t*>(block + offset))[0]

cdef inline uint32_t get32(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint32_t*>(block + offset))[0]

cdef inline uint32_t get16(const uint8_t* block, uint32_t offset) noexcept nogil:
    return (<const uint16_t*>(block + offset))[0]

cdef inline void put64(uint8_t* block, uint32_t offset, uint64_t value) noexcept nogil:
    (<uint64_t*>(block + offset))[0] = value

cdef inline void put32(uint8_t* block, uint32_t offset, uint32_t value) noexcept nogil:
    (<uint32_t*>(block + offset))[0] = value

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

cdef void load_host(Cpu* c) noexcept nogil:
    cdef HostState* h = &c.virt.host
    memcpy(c.seg, h.seg, 4 * sizeof(Segment))
    c.gdtr = h.gdtr
    c.idtr = h.idtr
    c.cr0 = h.cr0 | CR0_PE
    c.cr3 = h.cr3
    c.cr4 = h.cr4
    c.efer = h.efer
    write_rflags(c, h.rflags & ~<uint64_t>FLAG_VM)
    c.r[REG_RIP] = h.rip
    c.r[RSP] = h.rsp
    c.r[RAX] = h.rax
    c.pat = h.pat
    c.cpl = 0
    c.dr[7] = DR7_DISABLED
    c.pending_debug = 0
    c.interrupt_shadow = 0
    c.activity = ACTIVITY_ACTIVE
    c.exit = EXIT_NONE
    c.link = NULL
    c.current = NULL
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.virtual_interrupt = 0
    c.virt.injecting = 0
    c.virt.gif = 0
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA:
        if not load_pdptes(c, NULL, c.cr3):          # APM 2, 15.6: illegal host PDPEs shut the processor down
            c.exit = EXIT_NONE
            c.activity = ACTIVITY_SHUTDOWN
    tlb_take_keys(c)
    refresh_mode(c)

# ---------------------------------------------------------------- VMRUN

cdef void environment(Cpu* c, CheckEnvironment* e) noexcept nogil:
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

cdef void load_controls(Cpu* c, const uint8_t* block) noexcept nogil:
    cdef Virtualization* v = &c.virt
    cdef uint32_t flags, priority
    memcpy(v.intercepts, block, 24)
    v.io_map = get64(block, VMCB_IOPM_BASE_PA) & ~c.maxphyaddr_mask & 0xFFFFFFFFFFFFF000ULL
    v.msr_map = get64(block, VMCB_MSRPM_BASE_PA) & ~c.maxphyaddr_mask & 0xFFFFFFFFFFFFF000ULL
    v.tsc_offset = get64(block, VMCB_TSC_OFFSET)
    v.scales_tsc = c.features[FEATURE_TSC_SCALE] and v.tsc_ratio != 0x100000000ULL
    v.virtual_tpr = block[VMCB_V_TPR] & 0xF
    v.virtual_interrupt = block[VMCB_V_IRQ] & 1
    v.virtual_gif = (block[VMCB_V_IRQ] >> 1) & 1
    priority = block[VMCB_V_INTR_PRIO]
    v.virtual_priority = priority & 0xF
    v.ignore_tpr = (priority >> 4) & 1
    flags = block[VMCB_V_INTR_MASKING]
    v.interrupt_masking = flags & 1
    v.virtual_gif_enabled = (flags >> 1) & 1 if c.features[FEATURE_VGIF] else 0
    v.virtual_vector = block[VMCB_V_INTR_VECTOR]
    v.lbr_virtualization = 0
    if c.features[FEATURE_LBRV]:
        v.lbr_virtualization |= <uint32_t>get64(block, VMCB_LBR_VIRTUALIZATION_ENABLE) & LBR_ENABLE
    if c.features[FEATURE_V_VMSAVE_VMLOAD]:
        v.lbr_virtualization |= <uint32_t>get64(block, VMCB_LBR_VIRTUALIZATION_ENABLE) & VIRTUAL_VMLOAD
    v.pause_reload = get16(block, VMCB_PAUSE_FILTER_COUNT) if c.features[FEATURE_PAUSEFILTER] else 0
    v.pause_threshold = get16(block, VMCB_PAUSE_FILTER_THRESHOLD) if c.features[FEATURE_PFTHRESHOLD] else 0
    v.pause_count = v.pause_reload
    v.pause_last = 0

cdef void load_guest(Cpu* c, const uint8_t* block) noexcept nogil:
    load_segment(c, ES, block + VMCB_ES)
    load_segment(c, CS, block + VMCB_CS)
    load_segment(c, SS, block + VMCB_SS)
    load_segment(c, DS, block + VMCB_DS)
    c.gdtr.limit = get32(block, VMCB_GDTR + 4) & 0xFFFF
    c.gdtr.base = canonicalized(c, get64(block, VMCB_GDTR + 8))
    c.idtr.limit = get32(block, VMCB_IDTR + 4) & 0xFFFF
    c.idtr.base = canonicalized(c, get64(block, VMCB_IDTR + 8))
    c.cr0 = get64(block, VMCB_CR0) | CR0_ET
    c.cr2 = get64(block, VMCB_CR2)
    c.cr3 = get64(block, VMCB_CR3)
    c.cr4 = get64(block, VMCB_CR4)
    c.efer = get64(block, VMCB_EFER) & ~<uint64_t>EFER_LMA
    if c.efer & EFER_LME and c.cr0 >> CR0_PG_BIT & 1:
        c.efer |= EFER_LMA
    c.dr[6] = get64(block, VMCB_DR6)
    c.dr[7] = get64(block, VMCB_DR7) | 0x400
    write_rflags(c, (get64(block, VMCB_RFLAGS) & 0x3F7FD5) | 2)
    c.r[REG_RIP] = get64(block, VMCB_RIP)
    c.r[RSP] = get64(block, VMCB_RSP)
    c.r[RAX] = get64(block, VMCB_RAX)
    c.cpl = block[VMCB_CPL] & 3
    if not c.cr0 & CR0_PE:
        c.cpl = 0
    elif c.rflags & FLAG_VM:
        c.cpl = 3
    c.interrupt_shadow = get64(block, VMCB_INTERRUPT_SHADOW) & 1
    c.pending_debug = 0
    c.activity = ACTIVITY_ACTIVE
    if c.virt.lbr_virtualization & LBR_ENABLE:
        c.debugctl = get64(block, VMCB_DBGCTL)
        c.lbr_from = get64(block, VMCB_BR_FROM)
        c.lbr_to = get64(block, VMCB_BR_TO)

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
    elif type == TYPE_SOFTWARE:
        c.fault.kind = EVENT_SOFTWARE_INT
    else:
        c.fault.kind = EVENT_EXCEPTION
    if (type == TYPE_SOFTWARE or (type == TYPE_EXCEPTION and (c.fault.vector == V_BP or c.fault.vector == V_OF))) \
            and c.features[FEATURE_NRIP_SAVE]:
        c.virt.inject_rip = get64(block, VMCB_NRIP)
    c.virt.injecting = 1
    c.exit = EXIT_FAULT

cdef void svm_enter(Cpu* c, uint64_t vmcb) noexcept nogil:
    cdef uint8_t* block = svm_page(c, vmcb, True)
    cdef CheckEnvironment e
    cdef uint32_t failed, control
    cdef uint64_t root = 0
    save_host(c)
    c.virt.vmcb = vmcb
    environment(c, &e)
    failed = failed_check(block, &e)
    c.virt.failed_check = failed
    c.virt.host_if = (c.rflags & FLAG_IF) != 0
    if failed:
        refuse(c, block)
        return
    load_controls(c, block)
    c.virt.gif = 1
    c.virt.guest_mode = GUEST_SVM
    c.virt.tag = get32(block, VMCB_GUEST_ASID)
    c.virt.second_level = SECOND_LEVEL_NONE
    if get64(block, VMCB_NP_ENABLE) & 1 and c.features[FEATURE_NPT]:
        c.virt.second_level = SECOND_LEVEL_NPT
        root = get64(block, VMCB_N_CR3)
        c.pat = get64(block, VMCB_G_PAT)
    c.virt.second_level_root = root
    control = block[VMCB_TLB_CONTROL] & 7
    if control == TLB_FLUSH_ALL:
        tlb_flush_everything(c)
    elif control == TLB_FLUSH_ASID or control == TLB_FLUSH_NON_GLOBAL:
        tlb_forget_tag(c, c.virt.tag)
    load_guest(c, block)
    if c.dr[7] & 0xFF:
        tlb_forget_tag(c, c.virt.tag)    # a page under a breakpoint must not be in the TLB
    if c.virt.last_tag != c.virt.tag or c.virt.last_root != root:
        c.virt.last_tag = c.virt.tag
        c.virt.last_root = root
        second_level_new_generation(c)
    if (c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA
            and not load_pdptes(c, NULL, c.cr3)):
        load_host(c)
        refuse(c, block)
        return
    tlb_take_keys(c)
    refresh_mode(c)
    c.link = NULL
    inject(c, block)

cdef void record(Cpu* c, uint64_t code, uint64_t info1, uint64_t info2) noexcept nogil:
    cdef ExitRecord* r = &c.virt.exits[c.virt.n_exits % N_EXIT_RECORDS]
    c.virt.n_exits += 1
    r.code = code
    r.info1 = info1
    r.info2 = info2
    r.rip = c.r[REG_RIP]
    r.cs_base = c.cs_base
    r.cr3 = c.cr3
    r.guest_physical = c.virt.guest_physical
    r.instructions = retired(c)

cdef void refuse(Cpu* c, uint8_t* block) noexcept nogil:
    """The VMRUN fails: nothing of the guest's state is touched; the host goes on behind the instruction."""
    put64(block, VMCB_EXITCODE, EXIT_INVALID)
    put64(block, VMCB_EXITINFO1, 0)
    put64(block, VMCB_EXITINFO2, 0)
    put64(block, VMCB_EXITINTINFO, 0)
    record(c, EXIT_INVALID, 0, 0)
    svm_page_written(c, c.virt.vmcb)
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.gif = 0
    c.exit = EXIT_NONE

# ---------------------------------------------------------------- #VMEXIT

cdef uint64_t event_information(Fault* f) noexcept nogil:
    cdef uint64_t type
    if f.kind == EVENT_EXTERNAL:
        type = TYPE_EXTERNAL
    elif f.kind == EVENT_NMI:
        type = TYPE_NMI
    elif f.kind == EVENT_SOFTWARE_INT:
        type = TYPE_SOFTWARE
    else:
        type = TYPE_EXCEPTION
    return (0x80000000ULL | f.vector | type << 8
            | (EVENT_INFO_ERROR | <uint64_t>f.error << 32 if f.has_error else 0))

cdef void fetch_for_decode(Cpu* c, uint8_t* block) noexcept nogil:
    """Decode assists: the instruction's bytes, as far as its page goes, where the fetch had gone through."""
    cdef uint64_t linear = (c.r[REG_RIP] + c.cs_base) & c.ea_mask
    cdef TlbEntry* e = exec_entry(c, linear)
    cdef uint32_t n = 4096 - <uint32_t>(linear & 0xFFF)
    block[VMCB_BYTES_FETCHED] = 0
    memset(block + VMCB_INSTRUCTION_BYTES, 0, 15)
    if e.tag != ((linear & 0xFFFFFFFFFFFFF000ULL) | c.real_key):
        return
    if n > 15:
        n = 15
    block[VMCB_BYTES_FETCHED] = <uint8_t>n
    memcpy(block + VMCB_INSTRUCTION_BYTES, c.shared.memory.backing + (linear + e.addend), n)

cdef void svm_exit(Cpu* c, uint64_t code, uint64_t info1, uint64_t info2, uint64_t next_rip, Fault* event) noexcept nogil:
    cdef Virtualization* v = &c.virt
    cdef uint8_t* block = svm_page(c, v.vmcb, True)
    record(c, code, info1, info2)
    if block != NULL:
        put64(block, VMCB_EXITCODE, code)
        put64(block, VMCB_EXITINFO1, info1)
        put64(block, VMCB_EXITINFO2, info2)
        put64(block, VMCB_EXITINTINFO, event_information(event) if event != NULL else 0)
        put64(block, VMCB_EVENTINJ, get64(block, VMCB_EVENTINJ) & ~<uint64_t>0x80000000ULL)
        if c.features[FEATURE_NRIP_SAVE]:
            put64(block, VMCB_NRIP, next_rip)
        if c.features[FEATURE_DECODEASSISTS] and (code == SVM_NPF or code == 0x40 + V_PF):
            fetch_for_decode(c, block)
        put64(block, VMCB_INTERRUPT_SHADOW, c.interrupt_shadow != 0)
        block[VMCB_V_TPR] = <uint8_t>((block[VMCB_V_TPR] & 0xF0) | v.virtual_tpr)
        block[VMCB_V_IRQ] = <uint8_t>((block[VMCB_V_IRQ] & 0xFC) | v.virtual_interrupt | v.virtual_gif << 1)
        save_segment(c, ES, block + VMCB_ES)
        save_segment(c, CS, block + VMCB_CS)
        save_segment(c, SS, block + VMCB_SS)
        save_segment(c, DS, block + VMCB_DS)
        put32(block, VMCB_GDTR + 4, c.gdtr.limit)
        put64(block, VMCB_GDTR + 8, c.gdtr.base)
        put32(block, VMCB_IDTR + 4, c.idtr.limit)
        put64(block, VMCB_IDTR + 8, c.idtr.base)
        block[VMCB_CPL] = <uint8_t>c.cpl
        put64(block, VMCB_EFER, c.efer)
        put64(block, VMCB_CR0, c.cr0)
        put64(block, VMCB_CR2, c.cr2)
        put64(block, VMCB_CR3, c.cr3)
        put64(block, VMCB_CR4, c.cr4)
        put64(block, VMCB_DR6, c.dr[6])
        put64(block, VMCB_DR7, c.dr[7])
        put64(block, VMCB_RFLAGS, read_rflags(c))
        put64(block, VMCB_RIP, c.r[REG_RIP])
        put64(block, VMCB_RSP, c.r[RSP])
        put64(block, VMCB_RAX, c.r[RAX])
        if v.second_level == SECOND_LEVEL_NPT:
            put64(block, VMCB_G_PAT, c.pat)
        if v.lbr_virtualization & LBR_ENABLE:
            put64(block, VMCB_DBGCTL, c.debugctl)
            put64(block, VMCB_BR_FROM, c.lbr_from)
            put64(block, VMCB_BR_TO, c.lbr_to)
            c.debugctl = v.host.debugctl
            c.lbr_from = v.host.lbr_from
            c.lbr_to = v.host.lbr_to
        svm_page_written(c, v.vmcb)
    load_host(c)

cdef bint svm_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil:
    """Exceptions are intercepted before their effects; #DB has changed DR6 already (APM 2, 15.12.2)."""
    cdef uint64_t info1 = 0, info2 = 0
    if f.kind == EVENT_WORLD_EXIT:
        if c.interrupt_shadow_before:
            c.interrupt_shadow = c.interrupt_shadow_before
        svm_exit(c, c.virt.exit_code, c.virt.exit_info1, c.virt.exit_info2, c.virt.exit_next_rip, during)
        return True
    if f.kind != EVENT_EXCEPTION or f.vector > 31 or not (c.virt.intercepts[2] >> f.vector) & 1:
        return False
    if f.has_error:
        info1 = f.error
    if f.vector == V_PF:
        info2 = f.address
    elif f.vector == V_DB:
        c.dr[6] = (c.dr[6] & ~<uint64_t>0xF) | f.address
        c.dr[7] &= ~<uint64_t>0x2000
    if c.interrupt_shadow_before and not f.trap:
        c.interrupt_shadow = c.interrupt_shadow_before
    svm_exit(c, 0x40 + f.vector, info1, info2, 0, during)
    return True
