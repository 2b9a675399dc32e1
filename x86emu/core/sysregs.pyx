# cython: language_level=3
"""Control, debug and extended control registers, TLB and cache instructions, time stamps.

Intel SDM volume 3A, 2.5 and 2.6 (registers), 4.10.4 (TLB), 10.8.5 (switching to and from IA-32e mode); volume 3B, 17.2
(debug registers); volume 2 for each instruction; AMD APM volume 2, chapter 3, where a processor of AMD differs.

Departure, within what the manuals allow: caches are not modelled, so INVD and WBINVD only check their privilege.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.resume cimport resume
from x86emu.core.flags cimport *
from x86emu.core.features cimport *
from x86emu.core.memory_access cimport ld, st, load_bytes
from x86emu.core.segmentation cimport canonical_base
from x86emu.core.mmu cimport canonical
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport (refresh_key, tlb_flush_all, tlb_flush_page, tlb_flush_pcid, tlb_new_address_space,
                              tlb_take_keys)
from x86emu.core.mode cimport refresh_mode
from x86emu.core.engine cimport told_now, virtual_now
from x86emu.core.vmx cimport *
from x86emu.core.svm cimport svm_intercepts, SVM_CR0_WRITE_TRAP
from x86emu.core.svm_exit cimport svm_trap
from x86emu.core.avic cimport avic_write_tpr
from x86emu.core.vmx_apic cimport vmx_virtual_tpr, vmx_write_virtual_tpr
from x86emu.core.model cimport ProcessorModel, VENDOR_AMD, VENDOR_INTEL, XCR0_X87, XCR0_SSE, XCR0_AVX

cdef enum:
    CR4_FLUSHING = 0x17210B0     # PSE PAE PGE LA57 PCIDE(17) SMEP SMAP PKE PKS: what changes translations or their rights
    CR4_PDPTE_LOADING = 0x1000B0 # PSE PAE PGE SMEP (SDM 3A 4.4.1)
    DR6_ONES = 0xFFFF0FF0
    DR6_WRITABLE = 0xE00F
    DR6_BD = 0x2000
    DR7_WRITABLE = 0xFFFF23FF
    DR7_ONES = 0x400
    DR7_GD = 0x2000
    DR7_ENABLES = 0xFF

cdef inline bint not_cpl0(Cpu* c, Insn* i) noexcept nogil:
    """True after raising #GP(0) where the CPL is not 0 (virtual-8086 mode: 3, real mode: 0)."""
    if unlikely(c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef inline bint in_long_mode(Cpu* c) noexcept nogil:
    return (c.efer & EFER_LMA) != 0

cdef inline bint code_is_64(Cpu* c) noexcept nogil:
    return (c.mode & MODE_CODE) == MODE_CODE64

cdef inline bint pae_paging(Cpu* c, uint64_t cr0, uint64_t cr4) noexcept nogil:
    """PAE paging proper, with PDPTEs in registers."""
    return cr0 >> CR0_PG_BIT & 1 and cr4 & CR4_PAE and not in_long_mode(c)

# ---------------------------------------------------------------- CR0, CR3, CR4, CR8

cdef bint vmx_cr0_allowed(Cpu* c, uint64_t* value) noexcept nogil:
    """In VMX operation some bits are fixed (SDM 3C 24.8); a guest does not write those that its host owns (26.3)."""
    cdef uint64_t fixed = capability(c, 6)
    if c.virt.guest_mode == GUEST_VMX:
        value[0] = (value[0] & ~c.vmx.cr0_mask) | (c.cr0 & c.vmx.cr0_mask)
        if secondary(c, SEC_UNRESTRICTED_GUEST):
            fixed &= ~0x80000001ULL
    return (value[0] & fixed) == fixed

cdef bint write_cr0(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint64_t pg = <uint64_t>1 << CR0_PG_BIT
    cdef uint64_t old = c.cr0, new, changed
    cdef uint64_t efer = c.efer
    cdef uint32_t tr_type = c.seg[TR].attributes & ATTR_TYPE
    if value >> 32:
        fault_code(c, i, V_GP, 0)
        return False
    if unlikely(in_vmx_operation(c)) and not vmx_cr0_allowed(c, &value):
        fault_code(c, i, V_GP, 0)
        return False
    # Reserved bits of the lower half are ignored (SDM 3A 2.5). ET is 1 wherever there is an x87.
    new = (value & m.cr0_writable) | (old & CR0_ET)
    changed = old ^ new
    if (new & pg and not new & CR0_PE) or (new & CR0_NW and not new & CR0_CD) or (c.cr4 & CR4_CET and not new & CR0_WP):
        fault_code(c, i, V_GP, 0)
        return False
    if changed & pg:
        if new & pg:
            if efer & EFER_LME:      # SDM 3A 10.8.5: consistency checks on entering IA-32e mode
                if not c.cr4 & CR4_PAE or c.seg[CS].attributes & ATTR_L:
                    fault_code(c, i, V_GP, 0)
                    return False
                if m.vendor == VENDOR_INTEL and c.seg[TR].selector and tr_type <= 3:
                    fault_code(c, i, V_GP, 0)
                    return False
                efer |= EFER_LMA
        else:
            if code_is_64(c) or c.cr4 & CR4_PCIDE:
                fault_code(c, i, V_GP, 0)
                return False
            efer &= ~<uint64_t>EFER_LMA
    if changed & (pg | CR0_CD | CR0_NW) and new & pg and c.cr4 & CR4_PAE and not efer & EFER_LMA:
        if not load_pdptes(c, i, c.cr3):
            return False
    c.efer = efer
    c.cr0 = new
    if changed & (pg | CR0_PE) or (changed & new & CR0_WP and c.wp_overridden):
        tlb_flush_all(c)
    refresh_mode(c)
    return True

cdef bint write_cr3(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    cdef bint keep = 0
    if in_long_mode(c):
        if c.cr4 & CR4_PCIDE:
            keep = value >> 63
            value &= 0x7FFFFFFFFFFFFFFFULL
        if value & c.maxphyaddr_mask:
            fault_code(c, i, V_GP, 0)
            return False
    elif pae_paging(c, c.cr0, c.cr4):
        if not load_pdptes(c, i, value):
            return False
    c.cr3 = value
    if keep:
        tlb_take_keys(c)
    else:
        tlb_new_address_space(c)
    refresh_mode(c)
    return True

cdef bint write_cr4(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint64_t old = c.cr4, changed = c.cr4 ^ value
    if unlikely(in_vmx_operation(c)):
        if c.virt.guest_mode == GUEST_VMX:
            value = (value & ~c.vmx.cr4_mask) | (old & c.vmx.cr4_mask)
            changed = old ^ value
        if (value & capability(c, 8)) != capability(c, 8):
            fault_code(c, i, V_GP, 0)
            return False
    if value & ~m.cr4_valid or (c.in_smm and value & CR4_VMXE):     # SDM 3C 32.14.3: reserved in SMM
        fault_code(c, i, V_GP, 0)
        return False
    if value & CR4_CET and not c.cr0 & CR0_WP:
        fault_code(c, i, V_GP, 0)
        return False
    if in_long_mode(c):
        if not value & CR4_PAE or changed & CR4_LA57:
            fault_code(c, i, V_GP, 0)
            return False
    if value & CR4_PCIDE and not old & CR4_PCIDE and (not in_long_mode(c) or c.cr3 & 0xFFF):
        fault_code(c, i, V_GP, 0)
        return False
    if changed & CR4_PDPTE_LOADING and pae_paging(c, c.cr0, value):
        if not load_pdptes(c, i, c.cr3):
            return False
    c.cr4 = value
    if changed & CR4_FLUSHING:
        tlb_flush_all(c)
    refresh_mode(c)
    return True

cdef bint write_cr8(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    if value >> 4:
        fault_code(c, i, V_GP, 0)
        return False
    if c.virt.guest_mode == GUEST_VMX and c.vmx.primary >> PRI_USE_TPR_SHADOW & 1:
        vmx_write_virtual_tpr(c, value << 4)
        return True
    if unlikely(c.virt.guest_mode == GUEST_SVM and c.svm.avic_enabled):
        avic_write_tpr(c, value << 4)
        return True
    if c.virt.guest_mode == GUEST_SVM and c.virt.interrupt_masking:      # APM 2, 15.21.2
        c.virt.virtual_tpr = <uint32_t>value
        return True
    if c.signals.tpr_write != NULL:
        c.current = i
        c.signals.tpr_write(c.signals.controller, value)
        c.current = NULL
    return True

cdef uint64_t read_cr8(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t value = 0
    if c.virt.guest_mode == GUEST_SVM and (c.virt.interrupt_masking or c.svm.avic_enabled):
        return c.virt.virtual_tpr
    if c.virt.guest_mode == GUEST_VMX and c.vmx.primary >> PRI_USE_TPR_SHADOW & 1:
        return vmx_virtual_tpr(c) >> 4
    if c.signals.tpr_read != NULL:
        c.current = i
        value = c.signals.tpr_read(c.signals.controller)
        c.current = NULL
    return value

cdef inline bint control_register_exists(Cpu* c, Insn* i, uint8_t n) noexcept nogil:
    """False after raising #UD."""
    if n == 0 or n == 2 or n == 3 or (n == 4 and c.features[FEATURE_CPUID]) or (n == 8 and code_is_64(c)):
        return True
    fault(c, i, V_UD)
    return False

cdef inline uint64_t visible_cr0(Cpu* c) noexcept nogil:
    """In a VMX guest the bits that the host owns come from the read shadow (SDM 3C 26.3)."""
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        return (c.cr0 & ~c.vmx.cr0_mask) | (c.vmx.cr0_shadow & c.vmx.cr0_mask)
    return c.cr0

cdef bint read_control(Cpu* c, Insn* i, uint64_t* value) noexcept nogil:
    if not control_register_exists(c, i, i.src) or not_cpl0(c, i):
        return False
    if i.src == 0:
        value[0] = visible_cr0(c)
    elif i.src == 2:
        value[0] = c.cr2
    elif i.src == 3:
        value[0] = c.cr3
    elif i.src == 4:
        value[0] = c.cr4
        if c.virt.guest_mode == GUEST_VMX:
            value[0] = (c.cr4 & ~c.vmx.cr4_mask) | (c.vmx.cr4_shadow & c.vmx.cr4_mask)
    else:
        value[0] = read_cr8(c, i)
    return True

cdef bint write_control(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    if not control_register_exists(c, i, i.dst) or not_cpl0(c, i):
        return False
    if i.dst == 0:
        return write_cr0(c, i, value)
    if i.dst == 2:
        c.cr2 = value
        return True
    if i.dst == 3:
        return write_cr3(c, i, value)
    if i.dst == 4:
        return write_cr4(c, i, value)
    return write_cr8(c, i, value)

cdef void MOV_Rd_C(Cpu* c, Insn* i) noexcept nogil:
    if not read_control(c, i, &c.mtmp):
        return
    c.r[i.dst] = <uint32_t>c.mtmp
    chain(c, i)

cdef void MOV_Rq_C(Cpu* c, Insn* i) noexcept nogil:
    if not read_control(c, i, &c.mtmp):
        return
    c.r[i.dst] = c.mtmp
    chain(c, i)

cdef inline void control_written(Cpu* c, Insn* i, int n, uint64_t value) noexcept nogil:
    """Ends a write of CRn; a hypervisor may want to know (CR write traps, APM 2, 15.35.10)."""
    finish(c, i)
    if unlikely(c.virt.guest_mode == GUEST_SVM) and svm_intercepts(c, 4, 16 + n):
        svm_trap(c, SVM_CR0_WRITE_TRAP + n, value)

cdef void MOV_C_Rd(Cpu* c, Insn* i) noexcept nogil:
    cdef int n = i.dst
    cdef uint64_t value = <uint32_t>c.r[i.src]
    if write_control(c, i, value):
        control_written(c, i, n, value)
        resume(c, i)

cdef void MOV_C_Rq(Cpu* c, Insn* i) noexcept nogil:
    cdef int n = i.dst
    cdef uint64_t value = c.r[i.src]
    if write_control(c, i, value):
        control_written(c, i, n, value)
        resume(c, i)

# The memory operand of LMSW and SMSW is a word, of SMSW's register the operand size (SDM 2B, SMSW).
cdef inline void load_machine_status(Cpu* c, Insn* i, uint16_t value) noexcept nogil:
    # PE can be set but not cleared; only the lower four bits are loaded.
    if write_cr0(c, i, (c.cr0 & ~<uint64_t>0xE) | (value & 0xF)):
        control_written(c, i, 0, c.cr0)

cdef void LMSW_Rw(Cpu* c, Insn* i) noexcept nogil:
    if not not_cpl0(c, i):
        load_machine_status(c, i, <uint16_t>c.r[i.dst])

cdef void LMSW_Mw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t value
    if not_cpl0(c, i) or not ld(c, i, ea_of(c, i), &value):
        return
    load_machine_status(c, i, value)

cdef inline bint prevented_in_user_mode(Cpu* c, Insn* i) noexcept nogil:
    """True after raising #GP(0): user-mode instruction prevention."""
    if unlikely(c.cr4 & CR4_UMIP and c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef void SMSW_Rw(Cpu* c, Insn* i) noexcept nogil:
    if prevented_in_user_mode(c, i):
        return
    set_r(c, i.dst, <uint16_t>visible_cr0(c))
    chain(c, i)

cdef void SMSW_Rd(Cpu* c, Insn* i) noexcept nogil:
    if prevented_in_user_mode(c, i):
        return
    c.r[i.dst] = <uint32_t>visible_cr0(c)
    chain(c, i)

cdef void SMSW_Rq(Cpu* c, Insn* i) noexcept nogil:
    if prevented_in_user_mode(c, i):
        return
    c.r[i.dst] = visible_cr0(c)
    chain(c, i)

cdef void SMSW_Mw(Cpu* c, Insn* i) noexcept nogil:
    if prevented_in_user_mode(c, i) or not st(c, i, ea_of(c, i), <uint16_t>visible_cr0(c)):
        return
    chain(c, i)

cdef void CLTS(Cpu* c, Insn* i) noexcept nogil:
    if not_cpl0(c, i):
        return
    if c.virt.guest_mode != GUEST_VMX or not c.vmx.cr0_mask & CR0_TS:
        c.cr0 &= ~<uint64_t>CR0_TS
    refresh_mode(c)
    control_written(c, i, 0, c.cr0)
    resume(c, i)

# ---------------------------------------------------------------- debug registers

cdef bint debug_register(Cpu* c, Insn* i, uint8_t* n) noexcept nogil:
    """DR4 and DR5 are DR6 and DR7 unless CR4.DE is set (SDM 3B 17.2.2). False after raising the fault."""
    if n[0] > 7 or (c.cr4 & CR4_DE and (n[0] == 4 or n[0] == 5)):
        fault(c, i, V_UD)
        return False
    if not_cpl0(c, i):
        return False
    if c.dr[7] & DR7_GD:
        fault(c, i, V_DB)
        c.fault.address = DR6_BD
        return False
    if n[0] == 4 or n[0] == 5:
        n[0] += 2
    return True

cdef bint write_debug(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    cdef uint8_t n = i.dst
    cdef bint armed = c.dr[7] & DR7_ENABLES
    if not debug_register(c, i, &n):
        return False
    if n >= 6 and value >> 32:
        fault_code(c, i, V_GP, 0)
        return False
    if n == 6:
        c.dr[6] = (value & DR6_WRITABLE) | DR6_ONES
        return True
    if n == 7:
        c.dr[7] = (value & DR7_WRITABLE) | DR7_ONES
    else:
        c.dr[n] = value
    if armed or c.dr[7] & DR7_ENABLES:
        tlb_flush_all(c)         # a page under a breakpoint must not be in the TLB
        refresh_mode(c)
    return True

cdef bint read_debug(Cpu* c, Insn* i) noexcept nogil:
    cdef uint8_t n = i.src
    if not debug_register(c, i, &n):
        return False
    c.mtmp = c.dr[n]
    return True

cdef void MOV_Rd_D(Cpu* c, Insn* i) noexcept nogil:
    if not read_debug(c, i):
        return
    c.r[i.dst] = <uint32_t>c.mtmp
    chain(c, i)

cdef void MOV_Rq_D(Cpu* c, Insn* i) noexcept nogil:
    if not read_debug(c, i):
        return
    c.r[i.dst] = c.mtmp
    chain(c, i)

cdef void MOV_D_Rd(Cpu* c, Insn* i) noexcept nogil:
    if write_debug(c, i, <uint32_t>c.r[i.src]):
        finish(c, i)

cdef void MOV_D_Rq(Cpu* c, Insn* i) noexcept nogil:
    if write_debug(c, i, c.r[i.src]):
        finish(c, i)

# ---------------------------------------------------------------- TLB and caches

cdef void INVLPG_M(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear = ea_of(c, i)
    if not_cpl0(c, i):
        return
    if not code_is_64(c):        # the row has `noaccess`: the segment's base is not in the address
        linear = <uint32_t>(linear + c.seg[i.seg].base)
    elif i.seg == FS or i.seg == GS:
        linear += c.seg[i.seg].base
    if canonical(c, linear):
        tlb_flush_page(c, linear)
    finish(c, i)
    resume(c, i)

cdef bint invalidate_pcid(Cpu* c, Insn* i, uint64_t kind) noexcept nogil:
    """SDM 2A, INVPCID."""
    cdef uint64_t descriptor[2]
    cdef uint32_t pcid
    if not load_bytes(c, i, ea_of(c, i), descriptor, 16):
        return False
    pcid = descriptor[0] & 0xFFF
    if kind > 3 or (kind < 2 and (descriptor[0] >> 12 or (pcid and not c.cr4 & CR4_PCIDE))):
        fault_code(c, i, V_GP, 0)
        return False
    if kind == 0:
        if not canonical_base(c, descriptor[1]):
            fault_code(c, i, V_GP, 0)
            return False
        if pcid == (c.cr3 & 0xFFF if c.cr4 & CR4_PCIDE else 0):
            tlb_flush_page(c, descriptor[1])
        else:
            tlb_flush_pcid(c, pcid)          # more than asked for, which is allowed (SDM 3A 4.10.4.1)
    elif kind == 1:
        tlb_flush_pcid(c, pcid)
    else:
        tlb_flush_all(c)
    refresh_mode(c)
    return True

cdef void INVPCID_Rd_M(Cpu* c, Insn* i) noexcept nogil:
    if not not_cpl0(c, i) and invalidate_pcid(c, i, <uint32_t>c.r[i.dst]):
        finish(c, i)

cdef void INVPCID_Rq_M(Cpu* c, Insn* i) noexcept nogil:
    if not not_cpl0(c, i) and invalidate_pcid(c, i, c.r[i.dst]):
        finish(c, i)

cdef void INVD(Cpu* c, Insn* i) noexcept nogil:
    if not_cpl0(c, i):
        return
    chain(c, i)

cdef void WBINVD(Cpu* c, Insn* i) noexcept nogil:
    if not_cpl0(c, i):
        return
    chain(c, i)

# ---------------------------------------------------------------- time and counters

cdef uint64_t scaled_tsc(uint64_t value, uint64_t multiplier) noexcept nogil:
    """Bits 111:48 of the product."""
    cdef uint64_t low = (value & 0xFFFFFFFFULL) * (multiplier & 0xFFFFFFFFULL)
    cdef uint64_t middle = (value >> 32) * (multiplier & 0xFFFFFFFFULL) + (low >> 32)
    cdef uint64_t other = (value & 0xFFFFFFFFULL) * (multiplier >> 32) + (middle & 0xFFFFFFFFULL)
    cdef uint64_t high = (value >> 32) * (multiplier >> 32) + (middle >> 32) + (other >> 32)
    return high << 16 | (other & 0xFFFFFFFFULL) >> 16

cdef uint64_t tsc_at(Cpu* c, int64_t time) noexcept nogil:
    """What the TSC shows at a virtual time, to a guest with its offset and rate."""
    cdef uint64_t now = <uint64_t>(time + c.tsc_offset)
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        if c.vmx.tsc_multiplier != 1ULL << 48:       # SDM 3C 26.3: 16.48 fixed point
            now = scaled_tsc(now, c.vmx.tsc_multiplier)
        now += c.vmx.tsc_offset
    if unlikely(c.virt.guest_mode == GUEST_SVM):
        if c.virt.scales_tsc:            # APM 2, 15.30.5: 8.32 fixed point, and the product's middle bits
            now = (now >> 32) * c.virt.tsc_ratio + (((now & 0xFFFFFFFFULL) * (c.virt.tsc_ratio & 0xFFFFFFFFULL)) >> 32) \
                + (now & 0xFFFFFFFFULL) * (c.virt.tsc_ratio >> 32)
        now += c.virt.tsc_offset
    return now

cdef uint64_t tsc_now(Cpu* c, Insn* i) noexcept nogil:
    cdef int64_t time
    c.current = i
    time = virtual_now(c)
    c.current = NULL
    return tsc_at(c, time)

cdef uint64_t tsc_read(Cpu* c, Insn* i) noexcept nogil:
    cdef int64_t time
    c.current = i
    time = told_now(c)
    c.current = NULL
    return tsc_at(c, time)

cdef inline bint tsc_disabled(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(c.cr4 & CR4_TSD and c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef void RDTSC(Cpu* c, Insn* i) noexcept nogil:
    if tsc_disabled(c, i):
        return
    c.mtmp = tsc_read(c, i)
    c.r[RAX] = <uint32_t>c.mtmp
    c.r[RDX] = c.mtmp >> 32
    chain(c, i)

cdef void RDTSCP(Cpu* c, Insn* i) noexcept nogil:
    if tsc_disabled(c, i):
        return
    c.mtmp = tsc_read(c, i)
    c.r[RAX] = <uint32_t>c.mtmp
    c.r[RDX] = c.mtmp >> 32
    c.r[RCX] = <uint32_t>c.tsc_aux
    chain(c, i)

# ---------------------------------------------------------------- extended control registers, SMAP, protection keys

cdef void XGETBV(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t n = <uint32_t>c.r[RCX]
    cdef uint64_t value = c.xcr0
    if not c.cr4 & CR4_OSXSAVE:
        fault(c, i, V_UD)
        return
    if n > 1 or (n == 1 and not c.features[FEATURE_XGETBV1]):
        fault_code(c, i, V_GP, 0)
        return
    # XINUSE: every enabled component counts as in use (SDM 1, 13.6, allows that) but PKRU in its initial state.
    if n == 1 and c.pkru == 0:
        value &= ~<uint64_t>0x200
    c.r[RAX] = <uint32_t>value
    c.r[RDX] = value >> 32
    chain(c, i)

cdef void XSETBV(Cpu* c, Insn* i) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint64_t value = <uint32_t>c.r[RAX] | <uint64_t><uint32_t>c.r[RDX] << 32
    if not c.cr4 & CR4_OSXSAVE:
        fault(c, i, V_UD)
        return
    if not_cpl0(c, i):
        return
    if (<uint32_t>c.r[RCX] != 0 or value & ~m.xcr0_valid or not value & XCR0_X87
            or (value & XCR0_AVX and not value & XCR0_SSE)):
        fault_code(c, i, V_GP, 0)
        return
    c.xcr0 = value
    refresh_mode(c)
    finish(c, i)

cdef inline void set_access_override(Cpu* c, Insn* i, bint on) noexcept nogil:
    if c.cpl != 0:
        fault(c, i, V_UD)        # not #GP (SDM 2A, CLAC)
        return
    if on:
        c.rflags |= FLAG_AC
    else:
        c.rflags &= ~<uint64_t>FLAG_AC
    refresh_key(c)
    finish(c, i)
    resume(c, i)

cdef void CLAC(Cpu* c, Insn* i) noexcept nogil:
    set_access_override(c, i, 0)

cdef void STAC(Cpu* c, Insn* i) noexcept nogil:
    set_access_override(c, i, 1)

cdef void RDPKRU(Cpu* c, Insn* i) noexcept nogil:
    if not c.cr4 & CR4_PKE:
        fault(c, i, V_UD)
        return
    if <uint32_t>c.r[RCX] != 0:
        fault_code(c, i, V_GP, 0)
        return
    c.r[RAX] = c.pkru
    c.r[RDX] = 0
    chain(c, i)

cdef void WRPKRU(Cpu* c, Insn* i) noexcept nogil:
    if not c.cr4 & CR4_PKE:
        fault(c, i, V_UD)
        return
    if <uint32_t>c.r[RCX] != 0 or <uint32_t>c.r[RDX] != 0:
        fault_code(c, i, V_GP, 0)
        return
    if c.pkru != <uint32_t>c.r[RAX]:
        c.pkru = <uint32_t>c.r[RAX]
        tlb_flush_all(c)
        refresh_mode(c)
    finish(c, i)
    resume(c, i)

include "register_sysregs.pxi"
