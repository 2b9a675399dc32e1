# cython: language_level=3
"""VMRUN, VMLOAD, VMSAVE, VMMCALL, STGI, CLGI, SKINIT, INVLPGA (AMD APM volume 3; volume 2, 15.5, 15.13, 15.17, 15.21, 15.33).

SKINIT is #UD also where SVM is enabled: no secure loader can be started without a TPM, and CPUID does not offer it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.mmu cimport canonical
from x86emu.core.tlb cimport tlb_flush_page, tlb_flush_everything, tlb_forget_tag, tlb_take_keys
from x86emu.core.mode cimport refresh_mode
from x86emu.core.second_level cimport translate_guest_physical, request_exit
from x86emu.core.svm cimport *

cdef enum:
    VIRTUAL_VMLOAD = 2                   # of Virtualization.lbr_virtualization
    SVM_INVLPGB_ILLEGAL = 0xA1
    INVLPGB_PCID = 2
    INVLPGB_ASID = 4

cdef inline bint refused(Cpu* c, Insn* i) noexcept nogil:
    """True after raising #UD without EFER.SVME, #GP(0) unless CPL 0. (The rows keep out real and virtual-8086 mode.)"""
    if unlikely(not c.efer & EFER_SVME):
        fault(c, i, V_UD)
        return True
    if unlikely(c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef inline uint64_t accumulator(Cpu* c, Insn* i) noexcept nogil:
    """rAX in the address size."""
    return <uint16_t>c.r[RAX] if i.aux == 0 else <uint32_t>c.r[RAX] if i.aux == 1 else c.r[RAX]

cdef bint block_address(Cpu* c, Insn* i, uint64_t* physical) noexcept nogil:
    """The block in rAX: aligned, within physical memory's addresses, and memory. In a guest the virtual VMLOAD and VMSAVE
    take a guest-physical address (15.33.1). False: #GP(0) or an exit."""
    physical[0] = accumulator(c, i)
    if physical[0] & 0xFFF or physical[0] & c.maxphyaddr_mask:
        fault_code(c, i, V_GP, 0)
        return False
    if (c.virt.second_level == SECOND_LEVEL_NPT and c.virt.lbr_virtualization & VIRTUAL_VMLOAD
            and not translate_guest_physical(c, i, physical[0], 1, False, physical)):
        return False
    if svm_page(c, physical[0], True) == NULL:
        fault_code(c, i, V_GP, 0)
        return False
    return True

cdef void VMRUN(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t physical = 0
    if refused(c, i) or not block_address(c, i, &physical):
        return
    finish(c, i)
    svm_enter(c, physical)

cdef void VMMCALL(Cpu* c, Insn* i) noexcept nogil:
    fault(c, i, V_UD)                    # nobody intercepts it

cdef void VMLOAD(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t physical = 0
    if refused(c, i):
        return
    if not block_address(c, i, &physical):
        return
    svm_load_more(c, svm_page(c, physical, False))
    finish(c, i)

cdef void VMSAVE(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t physical = 0
    if refused(c, i) or not block_address(c, i, &physical):
        return
    svm_save_more(c, svm_page(c, physical, True))
    svm_page_written(c, physical)
    finish(c, i)

cdef void STGI(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    if c.virt.guest_mode and c.virt.virtual_gif_enabled:
        c.virt.virtual_gif = 1
    else:
        c.virt.gif = 1
    finish(c, i)

cdef void CLGI(Cpu* c, Insn* i) noexcept nogil:
    if refused(c, i):
        return
    if c.virt.guest_mode and c.virt.virtual_gif_enabled:
        c.virt.virtual_gif = 0
    else:
        c.virt.gif = 0
    finish(c, i)

cdef void INVLPGB(Cpu* c, Insn* i) noexcept nogil:
    """APM 3, INVLPGB: rAX says what is valid, ECX how many pages, EDX the PCID and ASID. More is flushed than asked for,
    which is allowed: all of one ASID, or of the host, on every processor."""
    cdef uint64_t control = accumulator(c, i)
    cdef uint32_t asid = <uint32_t>c.r[RDX] & 0xFFFF
    cdef bint guest = c.virt.guest_mode == GUEST_SVM
    cdef int k
    if c.cpl != 0 or control & 0xFC0 or <uint32_t>c.r[RCX] & 0x7FFF0000u:
        fault_code(c, i, V_GP, 0)
        return
    if guest and svm_intercepts(c, 5, 1) and (control & INVLPGB_ASID or control & INVLPGB_PCID and not c.cr4 & CR4_PCIDE):
        request_exit(c, i, SVM_INVLPGB_ILLEGAL, 0, 0)
        return
    if guest and not control & INVLPGB_ASID:
        asid = c.virt.tag
    for k in range(c.shared.n_cpus):
        if (guest or control & INVLPGB_ASID) and asid:
            tlb_forget_tag(c.shared.cpus[k], asid)
        else:
            tlb_flush_everything(c.shared.cpus[k])
        tlb_take_keys(c.shared.cpus[k])
        refresh_mode(c.shared.cpus[k])
        c.shared.cpus[k].link = NULL
        if c.shared.cpus[k] != c and c.shared.cpus[k].signals.kick != NULL:
            c.shared.cpus[k].signals.kick(c.shared.cpus[k].signals.cpu)
    finish(c, i)

cdef void TLBSYNC(Cpu* c, Insn* i) noexcept nogil:
    """INVLPGB is done on all processors when it retires."""
    if c.cpl != 0:
        fault_code(c, i, V_GP, 0)
        return
    finish(c, i)

cdef void SKINIT(Cpu* c, Insn* i) noexcept nogil:
    fault(c, i, V_UD)

cdef void INVLPGA(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear = accumulator(c, i)
    cdef uint32_t tag = <uint32_t>c.r[RCX]
    if refused(c, i):
        return
    tlb_flush_page(c, linear)            # by place, whatever the address space
    if tag:
        tlb_forget_tag(c, tag)           # parts of large pages are not found by place
    tlb_take_keys(c)
    refresh_mode(c)
    finish(c, i)

include "register_svm_instructions.pxi"
