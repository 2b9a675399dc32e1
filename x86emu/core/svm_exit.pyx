# cython: language_level=3
"""#VMEXIT (AMD APM volume 2, 15.6, 15.12, 15.13): what it writes to the control block, and the host's state afterwards."""
from libc.string cimport memcpy, memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.features cimport *
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_take_keys
from x86emu.core.mode cimport refresh_mode
from x86emu.core.second_level cimport request_exit
from x86emu.core.exits cimport note_exit
from x86emu.core.svm cimport *

cdef enum:
    DR7_DISABLED = 0x400
    DR6_BS = 0x4000

cdef uint64_t EXIT_INVALID = 0xFFFFFFFFFFFFFFFFULL

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
    c.s_cet = h.s_cet
    c.ssp = h.ssp
    c.interrupt_ssp_table = h.interrupt_ssp_table
    c.cpl = 0
    c.dr[7] = DR7_DISABLED
    # TF of the VMRUN's own time traps behind it, on the host's side (15.5.1)
    c.pending_debug = DR6_BS if h.rflags & FLAG_TF else 0
    c.interrupt_shadow = 0
    c.activity = ACTIVITY_ACTIVE
    c.exit = EXIT_NONE
    c.link = NULL
    c.current = NULL
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.virtual_interrupt = 0
    c.virt.injecting = 0
    c.svm.avic_enabled = 0
    c.svm.x2avic = 0
    c.svm.avic_store = 0
    c.svm.virtual_nmi_enabled = 0
    c.svm.virtual_nmi = 0
    c.svm.guest_mode_execute_trap = 0
    c.svm.software_event = 0
    c.virt.gif = 0
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and not c.efer & EFER_LMA:
        if not load_pdptes(c, NULL, c.cr3):          # APM 2, 15.6: illegal host PDPEs shut the processor down
            c.exit = EXIT_NONE
            c.activity = ACTIVITY_SHUTDOWN
            c.shutdown_cause = CAUSE_HOST_PDPTE
    tlb_take_keys(c)
    refresh_mode(c)

cdef void refuse(Cpu* c, uint8_t* block, uint32_t failed) noexcept nogil:
    """The VMRUN fails: nothing of the guest's state is touched; the host goes on behind the instruction."""
    put64(block, VMCB_EXITCODE, EXIT_INVALID)
    put64(block, VMCB_EXITINFO1, 0)
    put64(block, VMCB_EXITINFO2, 0)
    put64(block, VMCB_EXITINTINFO, 0)
    note_exit(c, False, EXIT_INVALID, 0, 0, 0, 0, c.virt.vmcb, failed)
    svm_page_written(c, c.virt.vmcb)
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.gif = 0
    c.exit = EXIT_NONE

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
    note_exit(c, False, code, info1, info2, next_rip, event_information(event) if event != NULL else 0, v.vmcb, 0)
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
        if c.svm.avic_enabled:               # V_IRQ means nothing then, and the core's copy of it something else
            v.virtual_interrupt = block[VMCB_V_IRQ] & 1
        block[VMCB_V_IRQ] = <uint8_t>((block[VMCB_V_IRQ] & 0xFC) | v.virtual_interrupt | v.virtual_gif << 1)
        if c.svm.virtual_nmi_enabled:
            block[VMCB_V_IRQ] = <uint8_t>((block[VMCB_V_IRQ] & 0xE7) | c.svm.virtual_nmi << 3 | c.svm.virtual_nmi_blocked << 4)
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
        if c.features[FEATURE_CET_SS]:
            put64(block, VMCB_S_CET, c.s_cet)
            put64(block, VMCB_SSP, c.ssp)
            put64(block, VMCB_ISST_ADDR, c.interrupt_ssp_table)
        if v.second_level == SECOND_LEVEL_NPT:
            put64(block, VMCB_G_PAT, c.pat)
        if v.lbr_virtualization & LBR_ENABLE:
            put64(block, VMCB_DBGCTL, c.debugctl)
            put64(block, VMCB_BR_FROM, c.lbr_from)
            put64(block, VMCB_BR_TO, c.lbr_to)
            put64(block, VMCB_LAST_EXCP_FROM, c.last_int_from)
            put64(block, VMCB_LAST_EXCP_TO, c.last_int_to)
            c.debugctl = v.host.debugctl
            c.lbr_from = v.host.lbr_from
            c.lbr_to = v.host.lbr_to
            c.last_int_from = c.svm.host_last_int_from
            c.last_int_to = c.svm.host_last_int_to
        memcpy(c.svm.cached + VMCB_ES, block + VMCB_ES, sizeof(c.svm.cached) - VMCB_ES)
        put64(c.svm.cached, VMCB_V_TPR, get64(block, VMCB_V_TPR))
        svm_page_written(c, v.vmcb)
    load_host(c)

cdef void svm_trap(Cpu* c, uint64_t code, uint64_t value) noexcept nogil:
    """Leaves the guest behind an instruction that has retired (EFER and CR write traps, 15.33)."""
    request_exit(c, NULL, code, value, 0)
    c.fault.trap = 1
    c.virt.exit_next_rip = c.r[REG_RIP]

cdef bint svm_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil:
    """Exceptions are intercepted before their effects; #DB has changed DR6 already (APM 2, 15.12.2).

    An INT n whose delivery faults is reported as the event that was being delivered (15.7.2)."""
    cdef uint64_t info1 = 0, info2 = 0
    cdef Fault software
    if during == NULL and c.svm.software_event and not f.trap:
        software.vector = <uint8_t>c.svm.software_event
        software.kind = <uint8_t>(c.svm.software_event >> 8)
        software.has_error = 0
        during = &software
    c.svm.software_event = 0
    if f.kind == EVENT_WORLD_EXIT:
        if c.interrupt_shadow_before and not f.trap:
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
