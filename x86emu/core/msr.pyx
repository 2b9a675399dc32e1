# cython: language_level=3
"""RDMSR and WRMSR (Intel SDM volume 2B; volume 4, chapter 2; AMD APM volume 2, appendix A).

Which MSRs there are, and those that only keep what is written, is the table x86emu/isa/msrs.py; here are the ones with
rules of their own.  Memory types (PAT, MTRRs) are checked and kept; with no caches modelled, nothing depends on them.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.resume cimport resume
from x86emu.core.features cimport *
from x86emu.core.cet cimport valid_cet, valid_ssp
from x86emu.core.segmentation cimport canonical_base
from x86emu.core.tlb cimport tlb_flush_all, tlb_flush_everything
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.model cimport ProcessorModel, VENDOR_AMD, VENDOR_INTEL, MISC_ENABLE_XD_OFF
from x86emu.core.engine cimport virtual_now
from x86emu.core.sysregs cimport tsc_read
from x86emu.core.vmx cimport capability
from x86emu.core.vmx_timer cimport vmx_timer_tsc_moved
from x86emu.core.vmx_apic cimport vmx_read_x2apic, vmx_write_x2apic
from x86emu.core.svm cimport svm_intercepts, SVM_EFER_WRITE_TRAP
from x86emu.core.svm_exit cimport svm_trap
from x86emu.core.counters cimport read_perf_legacy, write_perf_legacy, read_perf_core, write_perf_core
from x86emu.core.avic cimport read_doorbell, write_doorbell, avic_reads_msr, avic_writes_msr

cdef enum:
    # Fast strings, thermal control circuit, SpeedStep, MONITOR, limit of CPUID, xTPR messages off (SDM 4, table 2-2)
    MISC_ENABLE_WRITABLE = 0xC50009
    MTRR_VALID = 0x800
    MTRR_ENABLE = 0x800
    MTRR_FIXED_ENABLE = 0x400
    HWCR_MC_STATUS_WRITE_ENABLE = 0x40000
    FEATURE_CONTROL_LOCK = 1
    VM_CR_LOCK = 8
    VM_CR_SVMDIS = 16
    EFER_NUMBER = 0xC0000080

# ---------------------------------------------------------------- time

cdef bint read_tsc(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = tsc_read(c, i)
    return True

cdef void move_tsc(Cpu* c, Insn* i, int64_t offset) noexcept nogil:
    """Sets the TSC's offset here and where the local APIC sees it, which may have a deadline pending."""
    cdef int64_t before = c.tsc_offset
    c.tsc_offset = offset
    c.signals.tsc_offset = offset
    vmx_timer_tsc_moved(c, i, before)
    if c.signals.tsc_moved != NULL:
        c.current = i
        c.signals.tsc_moved(c.signals.controller)
        c.current = NULL

cdef bint write_tsc(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """In a guest, too, what is written is the processor's own TSC: ratio and offset go for reading (APM 2, 15.30.5; SDM
    3C 26.3)."""
    cdef int64_t delta
    c.current = i
    delta = <int64_t>value - (virtual_now(c) + c.tsc_offset)
    c.current = NULL
    move_tsc(c, i, c.tsc_offset + delta)
    c.tsc_adjust += <uint64_t>delta      # SDM 3B 18.17.3
    return True

cdef bint write_tsc_adjust(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    move_tsc(c, i, c.tsc_offset + <int64_t>(value - c.tsc_adjust))
    c.tsc_adjust = value
    return True

# ---------------------------------------------------------------- local APIC

cdef bint read_apic(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    cdef bint known
    if c.signals.apic_rdmsr == NULL:
        return False
    c.current = i
    known = c.signals.apic_rdmsr(c.signals.controller, number, value)
    c.current = NULL
    return known

cdef bint write_apic(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef bint allowed
    cdef uint64_t page = c.signals.apic_base
    if c.signals.apic_wrmsr == NULL:
        return False
    if number == 0x1B and (value & c.maxphyaddr_mask or (value & 0x400 and not c.features[FEATURE_X2APIC])):
        return False
    c.current = i
    allowed = c.signals.apic_wrmsr(c.signals.controller, number, value)
    c.current = NULL
    if c.signals.apic_base != page:      # another page answers as APIC now
        tlb_flush_everything(c)
        refresh_mode(c)
    return allowed

cdef bint read_x2apic(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    if unlikely(c.virt.guest_mode == GUEST_SVM and c.svm.x2avic):
        return avic_reads_msr(c, i, number, value)
    return read_apic(c, i, number, value)

cdef bint write_x2apic(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if unlikely(c.virt.guest_mode == GUEST_SVM and c.svm.x2avic):
        return avic_writes_msr(c, i, number, value)
    return write_apic(c, i, number, value)

# The local APIC knows the TSC: Signals.tsc_offset.
cdef bint read_tsc_deadline(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    return read_apic(c, i, number, value)

cdef bint write_tsc_deadline(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return write_apic(c, i, number, value)

# ---------------------------------------------------------------- protection keys

cdef bint write_pkrs(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """SDM 3A 4.6.2: bits 63:32 are reserved; what translations allow changes at once."""
    if value >> 32:
        return False
    if c.pkrs != <uint32_t>value:
        c.pkrs = <uint32_t>value
        tlb_flush_all(c)
    return True

# ---------------------------------------------------------------- control-flow enforcement (SDM 1, 17.1.3; 13.3 for XSS)

cdef bint write_u_cet(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if not valid_cet(c, value):
        return False
    c.u_cet = value
    return True                  # a VM entry or exit that loads it refreshes the mode itself

cdef bint write_s_cet(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if not valid_cet(c, value):
        return False
    c.s_cet = value
    refresh_mode(c)
    return True

cdef bint read_pl_ssp(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = c.pl_ssp[number - 0x6A4]
    return True

cdef bint write_pl_ssp(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if not valid_ssp(c, value):
        return False
    c.pl_ssp[number - 0x6A4] = value
    return True

cdef bint write_xss(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if value & ~(<ProcessorModel*>c.model).xss_valid:
        return False
    c.xss = value
    return True

# ---------------------------------------------------------------- EFER and segment bases

cdef bint write_efer(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint64_t changed = c.efer ^ value
    if value & ~m.efer_valid or value & EFER_NXE and c.misc_enable & MISC_ENABLE_XD_OFF:
        return False
    if changed & EFER_LME and c.cr0 >> CR0_PG_BIT & 1:
        return False
    if value & EFER_SVME and c.vm_cr & VM_CR_SVMDIS:
        return False
    c.efer = (value & ~<uint64_t>EFER_LMA) | (c.efer & EFER_LMA)
    if changed & EFER_NXE:
        tlb_flush_all(c)
    refresh_mode(c)
    return True

cdef bint read_fs_base(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = c.seg[FS].base
    return True

cdef bint write_fs_base(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return write_base(c, FS, value)

cdef bint read_gs_base(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = c.seg[GS].base
    return True

cdef bint write_gs_base(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return write_base(c, GS, value)

cdef bint write_base(Cpu* c, int seg, uint64_t value) noexcept nogil:
    if not canonical_base(c, value):
        return False
    c.seg[seg].base = value
    refresh_segment(c, seg)
    refresh_mode(c)
    return True

# ---------------------------------------------------------------- memory types

cdef inline bint valid_pat_type(uint32_t type) noexcept nogil:
    return type <= 7 and type != 2 and type != 3

cdef inline bint valid_mtrr_type(uint32_t type) noexcept nogil:
    return type <= 6 and type != 2 and type != 3

cdef bint write_pat(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef int k
    for k in range(8):
        if not valid_pat_type(<uint32_t>(value >> (8 * k)) & 0xFF):
            return False
    c.pat = value
    return True

cdef bint read_mtrr_variable(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    cdef uint32_t n = (number - 0x200) >> 1
    value[0] = c.mtrr_physmask[n] if number & 1 else c.mtrr_physbase[n]
    return True

cdef bint write_mtrr_variable(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint32_t n = (number - 0x200) >> 1
    if value & c.maxphyaddr_mask:
        return False
    if number & 1:
        if value & 0x7FF:
            return False
        c.mtrr_physmask[n] = value
    else:
        if value & 0xF00 or not valid_mtrr_type(value & 0xFF):
            return False
        c.mtrr_physbase[n] = value
    return True

cdef inline int fixed_index(uint32_t number) noexcept nogil:
    if number >= 0x268:
        return <int>(number - 0x268) + 3
    return 0 if number == 0x250 else <int>(number - 0x258) + 1

cdef bint read_mtrr_fixed(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    value[0] = c.mtrr_fixed[fixed_index(number)]
    # AMD's RdMem and WrMem bits show only while SYSCFG.MtrrFixDramModEn is set (APM 2, 7.9.1).
    if m.vendor == VENDOR_AMD and not c.syscfg & 0x80000:
        value[0] &= 0x0707070707070707ULL
    return True

cdef bint write_mtrr_fixed(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef int n = fixed_index(number), k
    cdef uint64_t dram = 0
    if m.vendor == VENDOR_AMD:
        if c.syscfg & 0x80000:
            dram = value & 0x1818181818181818ULL
            value &= ~0x1818181818181818ULL
        else:
            dram = c.mtrr_fixed[n] & 0x1818181818181818ULL
    for k in range(8):
        if not valid_mtrr_type(<uint32_t>(value >> (8 * k)) & 0xFF):
            return False
    c.mtrr_fixed[n] = value | dram
    return True

cdef bint write_mtrr_def_type(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if value & ~0xCFFULL or not valid_mtrr_type(value & 0xFF):
        return False
    c.mtrr_def_type = value
    return True

cdef int mtrr_type(Cpu* c, uint64_t physical) noexcept nogil:
    cdef int k, found = -1, type
    cdef uint64_t mask
    if not c.features[FEATURE_MTRR] or not c.mtrr_def_type & MTRR_ENABLE:
        return 0
    if physical < 0x100000 and c.mtrr_def_type & MTRR_FIXED_ENABLE:
        if physical < 0x80000:
            k = <int>(physical >> 16)
            return <int>(c.mtrr_fixed[0] >> (8 * k)) & 7
        if physical < 0xC0000:
            k = <int>((physical - 0x80000) >> 14)
            return <int>(c.mtrr_fixed[1 + (k >> 3)] >> (8 * (k & 7))) & 7
        k = <int>((physical - 0xC0000) >> 12)
        return <int>(c.mtrr_fixed[3 + (k >> 3)] >> (8 * (k & 7))) & 7
    for k in range(8):
        if not c.mtrr_physmask[k] & MTRR_VALID:
            continue
        mask = c.mtrr_physmask[k] & 0xFFFFFFFFFFFFF000ULL
        if (physical & mask) != (c.mtrr_physbase[k] & mask):
            continue
        type = <int>(c.mtrr_physbase[k] & 7)
        if found < 0 or type == 0:
            found = type
        elif found != 0 and (found == 4 or type == 4):
            found = 4            # write-through over write-back; other mixtures are undefined
    return found if found >= 0 else <int>(c.mtrr_def_type & 7)

# ---------------------------------------------------------------- machine check

cdef bint read_mcg_cap(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = (<ProcessorModel*>c.model).machine_check_cap
    return True

cdef bint write_mcg_cap(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return False                 # read-only

cdef bint read_mc_bank(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    cdef uint32_t n = number - 0x400
    if n >> 2 >= ((<ProcessorModel*>c.model).machine_check_cap & 0xFF):
        return False
    value[0] = c.mci[n]
    return True

cdef bint write_mc_bank(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """SDM 3B 16.3.2: status takes only 0, address and information only 0 on Intel's processors, and of family 6 control
    only all zeros or all ones."""
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint32_t n = number - 0x400
    if n >> 2 >= (m.machine_check_cap & 0xFF):
        return False
    if n & 3 and value:
        if m.vendor == VENDOR_INTEL:
            return False
        if n & 3 == 1 and not c.hwcr & HWCR_MC_STATUS_WRITE_ENABLE:
            return False
    if n & 3 == 0 and value and ~value and m.vendor == VENDOR_INTEL and m.signature >> 8 & 15 == 6:
        return False
    c.mci[n] = value
    return True

# ---------------------------------------------------------------- the rest

cdef bint read_writeonly(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    return False

cdef bint write_writeonly(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return True

cdef bint read_command(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    return False                 # write-only

cdef bint write_command(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """IBPB of PRED_CMD, L1D_FLUSH of FLUSH_CMD: nothing to forget, nothing to flush."""
    return value <= 1

cdef bint write_spec_ctrl(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """SDM 4, table 2-2; APM 2, 3.2.9: each bit is there with its bit of CPUID."""
    cdef const uint8_t* f = c.features
    cdef uint64_t valid = 0
    if f[FEATURE_SPEC_CTRL] or f[FEATURE_IBRS]:
        valid |= 1               # IBRS
    if f[FEATURE_STIBP] or f[FEATURE_AMD_STIBP]:
        valid |= 2               # STIBP
    if f[FEATURE_SSBD] or f[FEATURE_AMD_SSBD]:
        valid |= 4               # SSBD
    if f[FEATURE_IPRED_CTRL]:
        valid |= 0x18            # IPRED_DIS_U, IPRED_DIS_S
    if f[FEATURE_RRSBA_CTRL]:
        valid |= 0x60            # RRSBA_DIS_U, RRSBA_DIS_S
    if f[FEATURE_INTEL_PSFD] or f[FEATURE_AMD_PSFD]:
        valid |= 0x80            # PSFD
    if f[FEATURE_BHI_CTRL]:
        valid |= 0x400           # BHI_DIS_S
    if value & ~valid:
        return False
    c.spec_ctrl = value
    return True

cdef bint write_misc_enable(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint64_t writable = MISC_ENABLE_WRITABLE | (MISC_ENABLE_XD_OFF if c.features[FEATURE_NX] else 0)
    c.misc_enable = (c.misc_enable & ~writable) | (value & writable)
    return True

cdef bint write_feature_control(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint64_t valid = FEATURE_CONTROL_LOCK
    if c.features[FEATURE_VMX]:
        valid |= 4
    if c.features[FEATURE_SMX]:
        valid |= 0xFF02
    if c.feature_control & FEATURE_CONTROL_LOCK or value & ~valid:
        return False
    c.feature_control = value
    return True

cdef bint write_vm_cr(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """APM 2, 15.30.1: with LOCK set, LOCK and SVMDIS keep their values."""
    if value & ~0x1FULL or (value & VM_CR_SVMDIS and c.efer & EFER_SVME):
        return False
    if c.vm_cr & VM_CR_LOCK:
        value = (value & ~<uint64_t>(VM_CR_LOCK | VM_CR_SVMDIS)) | (c.vm_cr & (VM_CR_LOCK | VM_CR_SVMDIS))
    c.vm_cr = value
    return True

cdef bint read_svm_key(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    value[0] = 0                 # APM 2, 15.31.2: reads as zero
    return True

cdef bint write_svm_key(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    """APM 2, 15.31.2: sets the key while VM_CR is unlocked; the same key unlocks it again."""
    if not c.vm_cr & VM_CR_LOCK:
        c.virt.svm_key = value
    elif c.virt.svm_key and c.virt.svm_key == value:
        c.vm_cr &= ~<uint64_t>VM_CR_LOCK
    return True

cdef bint read_vmx_capability(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    """SDM 3D, appendix A: which of these MSRs there are depends on others of them."""
    cdef uint32_t n = number - 0x480
    if n == 11 and not capability(c, 2) >> 63:
        return False
    if n == 12 and not capability(c, 12):
        return False
    if n >= 13 and not capability(c, 0) >> 55 & 1:
        return False
    if n > 16 and not capability(c, <int>n):
        return False             # VM functions, tertiary controls
    value[0] = capability(c, <int>n)
    return True

cdef bint write_vmx_capability(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    return False                 # read-only

include "msr_dispatch.pxi"

cdef int virtual_apic_msr(Cpu* c, uint32_t number, bint write, uint64_t* value) noexcept nogil:
    """In a VMX guest with "virtualize x2APIC mode": 1 done, 0 #GP(0), -1 not virtualized."""
    if c.virt.guest_mode != GUEST_VMX or number >> 8 != 8 or c.cpl != 0:
        return -1
    return vmx_write_x2apic(c, number, value[0]) if write else vmx_read_x2apic(c, number, value)

cdef void RDMSR(Cpu* c, Insn* i) noexcept nogil:
    cdef int done = virtual_apic_msr(c, <uint32_t>c.r[RCX], False, &c.mtmp)
    if done < 0:
        done = c.cpl == 0 and read_msr(c, i, <uint32_t>c.r[RCX], &c.mtmp)
    if not done:
        if c.exit != EXIT_FAULT:     # else the guest is to be left (AVIC)
            fault_code(c, i, V_GP, 0)
        return
    c.r[RAX] = <uint32_t>c.mtmp
    c.r[RDX] = c.mtmp >> 32
    chain(c, i)

cdef void WRMSR(Cpu* c, Insn* i) noexcept nogil:
    cdef int done
    cdef bint traps = (unlikely(c.virt.guest_mode == GUEST_SVM) and <uint32_t>c.r[RCX] == EFER_NUMBER
                       and svm_intercepts(c, 4, 15))
    c.mtmp = <uint32_t>c.r[RAX] | c.r[RDX] << 32
    done = virtual_apic_msr(c, <uint32_t>c.r[RCX], True, &c.mtmp)
    if done < 0:
        done = c.cpl == 0 and write_msr(c, i, <uint32_t>c.r[RCX], c.mtmp)
    if not done:
        if c.exit != EXIT_FAULT:
            fault_code(c, i, V_GP, 0)
        return
    finish(c, i)
    if unlikely(traps):
        svm_trap(c, SVM_EFER_WRITE_TRAP, c.efer)
        return
    resume(c, i)

include "register_msr.pxi"
