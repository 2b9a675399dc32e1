# cython: language_level=3
"""System management mode: SMI entry, the state save areas, RSM.

Intel SDM volume 3C chapter 32 (32.4 for the entry state, 32.5 for the checks of RSM, 32.10 auto HALT restart, 32.11
SMBASE relocation) and AMD APM volume 2 chapter 10 (table 10-1: the save area of processors with long mode).
Models with long mode use the AMD64 layout with revision 20064h whatever their vendor, others the 32-bit layout with
revision 20000h, as the firmware of PC emulators expects; its reserved bytes keep the hidden parts of the segment
registers and CR4.  An RSM that finds a forbidden state shuts the processor down.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.mmu cimport canonical
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_flush_everything
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.vmx cimport capability, secondary, SEC_UNRESTRICTED_GUEST
from x86emu.core.vmx_timer cimport vmx_watch_timer
from x86emu.core.vendor cimport has_long_mode

# Offsets from SMBASE
cdef enum:
    # both layouts
    REVISION = 0xFEFC
    RELOCATION_SUPPORTED = 0x20000
    REVISION_64 = 0x20064
    REVISION_32 = 0x20000
    # AMD64 layout (APM 2, table 10-1)
    S64_SEGMENTS = 0xFE00        # ES CS SS DS FS GS, 16 bytes each: selector, attributes, limit, base
    S64_GDTR = 0xFE60
    S64_LDTR = 0xFE70
    S64_IDTR = 0xFE80
    S64_TR = 0xFE90
    S64_IO_RESTART = 0xFEC8
    S64_HALT_RESTART = 0xFEC9
    S64_NMI_MASK = 0xFECA
    S64_CPL = 0xFECB
    S64_EFER = 0xFED0
    S64_SMBASE = 0xFF00
    S64_SSP = 0xFF18
    S64_CR4 = 0xFF48
    S64_CR3 = 0xFF50
    S64_CR0 = 0xFF58
    S64_DR7 = 0xFF60
    S64_DR6 = 0xFF68
    S64_RFLAGS = 0xFF70
    S64_RIP = 0xFF78
    S64_RAX = 0xFFF8             # downwards: RAX RCX RDX RBX RSP RBP RSI RDI R8 ... R15
    # 32-bit layout (SDM 3C table 32-1; hidden state in its reserved places)
    S32_SMBASE = 0xFEF8
    S32_HALT_RESTART = 0xFF02
    S32_CR4 = 0xFF14
    S32_NMI_MASK = 0xFF1C
    S32_CPL = 0xFF20
    S32_SEGMENTS_HIGH = 0xFF2C   # DS FS GS: attributes, limit, base
    S32_IDTR = 0xFF54            # limit, base
    S32_TR = 0xFF5C              # attributes, limit, base
    S32_GDTR = 0xFF70            # limit, base
    S32_LDTR = 0xFF78            # attributes, limit, base
    S32_SEGMENTS_LOW = 0xFF84    # ES CS SS
    S32_SELECTORS = 0xFFA8       # ES CS SS DS FS GS LDTR TR
    S32_DR7 = 0xFFC8
    S32_DR6 = 0xFFCC
    S32_EAX = 0xFFD0
    S32_EIP = 0xFFF0
    S32_EFLAGS = 0xFFF4
    S32_CR3 = 0xFFF8
    S32_CR0 = 0xFFFC
    DR7_RESET = 0x400
    CR4_DEFINED = 0x1FFFFFF

cdef inline void _put(Cpu* c, uint32_t offset, uint32_t size, uint64_t value) noexcept nogil:
    physical_store(c, (c.smbase + offset) & 0xFFFFFFFFULL, size, value)

cdef inline uint64_t _get(Cpu* c, uint32_t offset, uint32_t size) noexcept nogil:
    return physical_load(c, (c.smbase + offset) & 0xFFFFFFFFULL, size)

# ----- AMD64 layout -----

cdef inline uint32_t _place64(int seg) noexcept nogil:
    if seg == LDTR:
        return S64_LDTR
    if seg == TR:
        return S64_TR
    return S64_SEGMENTS + 16 * seg

cdef void _save64(Cpu* c, bint halted) noexcept nogil:
    cdef int k
    cdef uint32_t at
    cdef Segment* s
    for k in range(16):
        _put(c, S64_RAX - 8 * k, 8, c.r[k])
    for k in range(8):
        s = &c.seg[k]
        at = _place64(k)
        _put(c, at, 2, s.selector)
        # attributes in the VMCB's form: twelve bits; an unusable register is "not present"
        _put(c, at + 2, 2, (s.attributes & 0x60 if s.attributes & ATTR_UNUSABLE
                            else (s.attributes & 0xFF) | ((s.attributes >> 4) & 0xF00)))
        _put(c, at + 4, 4, s.limit)
        _put(c, at + 8, 8, s.base)
    _put(c, S64_GDTR + 4, 4, c.gdtr.limit)
    _put(c, S64_GDTR + 8, 8, c.gdtr.base)
    _put(c, S64_IDTR + 4, 4, c.idtr.limit)
    _put(c, S64_IDTR + 8, 8, c.idtr.base)
    _put(c, S64_IO_RESTART, 1, 0)
    _put(c, S64_HALT_RESTART, 1, halted)
    _put(c, S64_NMI_MASK, 1, c.nmi_blocked)
    _put(c, S64_CPL, 1, c.cpl)
    _put(c, S64_EFER, 8, c.efer)
    _put(c, REVISION, 4, REVISION_64)
    _put(c, S64_SMBASE, 4, c.smbase)
    _put(c, S64_SSP, 8, c.ssp)
    _put(c, S64_CR4, 8, c.cr4)
    _put(c, S64_CR3, 8, c.cr3)
    _put(c, S64_CR0, 8, c.cr0)
    _put(c, S64_DR7, 8, c.dr[7])
    _put(c, S64_DR6, 8, c.dr[6])
    _put(c, S64_RFLAGS, 8, read_rflags(c))
    _put(c, S64_RIP, 8, c.r[REG_RIP])

cdef void _load64(Cpu* c) noexcept nogil:
    cdef int k
    cdef uint32_t at, attributes
    cdef Segment* s
    for k in range(16):
        c.r[k] = _get(c, S64_RAX - 8 * k, 8)
    for k in range(8):
        s = &c.seg[k]
        at = _place64(k)
        attributes = <uint32_t>_get(c, at + 2, 2)
        s.selector = <uint16_t>_get(c, at, 2)
        s.attributes = (attributes & 0xFF) | ((attributes & 0xF00) << 4)
        if not attributes & ATTR_P:
            s.attributes |= ATTR_UNUSABLE
        s.limit = <uint32_t>_get(c, at + 4, 4)
        s.base = _get(c, at + 8, 8)
    c.gdtr.limit = <uint32_t>_get(c, S64_GDTR + 4, 4) & 0xFFFF
    c.gdtr.base = _get(c, S64_GDTR + 8, 8)
    c.idtr.limit = <uint32_t>_get(c, S64_IDTR + 4, 4) & 0xFFFF
    c.idtr.base = _get(c, S64_IDTR + 8, 8)
    c.nmi_blocked = <uint32_t>_get(c, S64_NMI_MASK, 1) & 1
    c.cpl = <uint32_t>_get(c, S64_CPL, 1) & 3
    c.efer = _get(c, S64_EFER, 8)
    c.ssp = _get(c, S64_SSP, 8)
    c.cr4 = _get(c, S64_CR4, 8)
    c.cr3 = _get(c, S64_CR3, 8)
    c.cr0 = _get(c, S64_CR0, 8)
    c.dr[7] = _get(c, S64_DR7, 8)
    c.dr[6] = _get(c, S64_DR6, 8)
    write_rflags(c, _get(c, S64_RFLAGS, 8))

# ----- 32-bit layout -----

cdef inline uint32_t _place32(int seg) noexcept nogil:
    if seg == LDTR:
        return S32_LDTR
    if seg == TR:
        return S32_TR
    if seg >= DS:
        return S32_SEGMENTS_HIGH + 12 * (seg - DS)
    return S32_SEGMENTS_LOW + 12 * seg

cdef inline uint32_t _register32(int k) noexcept nogil:
    """EAX ECX EDX EBX ESP EBP ESI EDI go upwards."""
    return S32_EAX + 4 * k

cdef void _save32(Cpu* c, bint halted) noexcept nogil:
    cdef int k
    cdef uint32_t at
    cdef Segment* s
    for k in range(8):
        _put(c, _register32(k), 4, c.r[k])
    for k in range(8):
        s = &c.seg[k]
        at = _place32(k)
        _put(c, S32_SELECTORS + 4 * k, 4, s.selector)
        _put(c, at, 4, s.attributes)
        _put(c, at + 4, 4, s.limit)
        _put(c, at + 8, 4, s.base)
    _put(c, S32_GDTR, 4, c.gdtr.limit)
    _put(c, S32_GDTR + 4, 4, c.gdtr.base)
    _put(c, S32_IDTR, 4, c.idtr.limit)
    _put(c, S32_IDTR + 4, 4, c.idtr.base)
    _put(c, S32_HALT_RESTART, 2, halted)
    _put(c, S32_NMI_MASK, 4, c.nmi_blocked)
    _put(c, S32_CPL, 4, c.cpl)
    _put(c, REVISION, 4, REVISION_32)
    _put(c, S32_SMBASE, 4, c.smbase)
    _put(c, S32_CR4, 4, c.cr4)
    _put(c, S32_CR3, 4, c.cr3)
    _put(c, S32_CR0, 4, c.cr0)
    _put(c, S32_DR7, 4, c.dr[7])
    _put(c, S32_DR6, 4, c.dr[6])
    _put(c, S32_EFLAGS, 4, read_rflags(c))
    _put(c, S32_EIP, 4, c.r[REG_RIP])

cdef void _load32(Cpu* c) noexcept nogil:
    cdef int k
    cdef uint32_t at
    cdef Segment* s
    for k in range(8):
        c.r[k] = _get(c, _register32(k), 4)
    for k in range(8):
        s = &c.seg[k]
        at = _place32(k)
        s.selector = <uint16_t>_get(c, S32_SELECTORS + 4 * k, 4)
        s.attributes = <uint32_t>_get(c, at, 4) & 0x1F0FF
        s.limit = <uint32_t>_get(c, at + 4, 4)
        s.base = _get(c, at + 8, 4)
    c.gdtr.limit = <uint32_t>_get(c, S32_GDTR, 4) & 0xFFFF
    c.gdtr.base = _get(c, S32_GDTR + 4, 4)
    c.idtr.limit = <uint32_t>_get(c, S32_IDTR, 4) & 0xFFFF
    c.idtr.base = _get(c, S32_IDTR + 4, 4)
    c.nmi_blocked = <uint32_t>_get(c, S32_NMI_MASK, 4) & 1
    c.cpl = <uint32_t>_get(c, S32_CPL, 4) & 3
    c.efer = 0
    c.cr4 = _get(c, S32_CR4, 4)
    c.cr3 = _get(c, S32_CR3, 4)
    c.cr0 = _get(c, S32_CR0, 4)
    c.dr[7] = _get(c, S32_DR7, 4)
    c.dr[6] = _get(c, S32_DR6, 4)
    write_rflags(c, _get(c, S32_EFLAGS, 4))

# ----- SMI and RSM -----

cdef void enter_smm(Cpu* c) noexcept nogil:
    cdef int k
    cdef bint halted = c.activity == ACTIVITY_HLT
    c.in_smm = 1                     # the save area is in SMRAM
    tlb_flush_everything(c)
    if has_long_mode(c):
        _save64(c, halted)
    else:
        _save32(c, halted)
    # A guest is suspended meanwhile: no intercepts, no second level (APM 2, 15.22.3).
    c.virt.smm_guest_mode = c.virt.guest_mode
    c.virt.smm_second_level = c.virt.second_level
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.activity = ACTIVITY_ACTIVE
    c.interrupt_shadow = 0
    c.nmi_blocked = 1
    c.cr0 &= ~(<uint64_t>(CR0_PE | CR0_EM | CR0_TS) | 1ULL << CR0_PG_BIT)
    c.cr4 = 0
    c.efer = 0
    c.dr[7] = DR7_RESET
    c.cpl = 0
    write_rflags(c, 0)
    for k in range(6):
        c.seg[k].selector = <uint16_t>(c.smbase >> 4) if k == CS else 0
        c.seg[k].base = c.smbase if k == CS else 0
        c.seg[k].limit = 0xFFFFFFFF
        c.seg[k].attributes = ATTR_G | 0x93
        refresh_segment(c, k)
    c.r[REG_RIP] = 0x8000
    tlb_flush_everything(c)
    refresh_mode(c)

cdef bint _allowed(Cpu* c) noexcept nogil:
    """SDM 3C 32.5: what makes RSM shut down."""
    if (c.cr0 >> CR0_PG_BIT & 1 and not c.cr0 & CR0_PE) or (c.cr0 & CR0_NW and not c.cr0 & CR0_CD):
        return False
    if c.cr0 >> 32 or c.cr4 & ~<uint64_t>CR4_DEFINED or (c.cr4 & CR4_CET and not c.cr0 & CR0_WP):
        return False
    if c.efer & EFER_LMA:
        return c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE and c.efer & EFER_LME and not c.rflags & FLAG_VM
    if c.cr0 >> CR0_PG_BIT & 1 and c.cr4 & CR4_PAE:
        return load_pdptes(c, NULL, c.cr3)
    return True

cdef void _back_to_vmx_operation(Cpu* c) noexcept nogil:
    """Bits that VMX operation fixes to 1 are so, whatever the save area says (SDM 3C 32.14.2)."""
    cdef uint64_t fixed = capability(c, 6)          # IA32_VMX_CR0_FIXED0
    if c.virt.guest_mode == GUEST_VMX and secondary(c, SEC_UNRESTRICTED_GUEST):
        fixed &= ~(<uint64_t>CR0_PE | 1ULL << CR0_PG_BIT)
    c.cr0 |= fixed
    c.cr4 |= capability(c, 8)                      # IA32_VMX_CR4_FIXED0
    vmx_watch_timer(c)                             # it has counted meanwhile

cdef void RSM(Cpu* c, Insn* i) noexcept nogil:
    cdef int k
    cdef bint halted, wide
    cdef uint64_t rip, smbase
    if not c.in_smm:
        fault(c, i, V_UD)
        return
    wide = has_long_mode(c)
    halted = _get(c, S64_HALT_RESTART if wide else S32_HALT_RESTART, 1) & 1
    rip = _get(c, S64_RIP if wide else S32_EIP, 8 if wide else 4)
    smbase = _get(c, S64_SMBASE if wide else S32_SMBASE, 4)
    if _get(c, REVISION, 4) & RELOCATION_SUPPORTED == 0:
        smbase = c.smbase
    if wide:
        _load64(c)
    else:
        _load32(c)
    c.smbase = smbase
    c.in_smm = 0
    c.virt.guest_mode = c.virt.smm_guest_mode
    c.virt.second_level = c.virt.smm_second_level
    c.virt.smm_guest_mode = GUEST_NONE
    c.virt.smm_second_level = SECOND_LEVEL_NONE
    if c.vmx.on:
        _back_to_vmx_operation(c)
    tlb_flush_everything(c)
    for k in range(8):
        refresh_segment(c, k)
    finish_at(c, i, rip)
    if not _allowed(c):
        c.exit = EXIT_YIELD
        c.activity = ACTIVITY_SHUTDOWN
        c.shutdown_cause = CAUSE_RSM
        refresh_mode(c)
        return
    refresh_mode(c)
    if halted:
        c.activity = ACTIVITY_HLT
        c.exit = EXIT_YIELD

include "register_smm.pxi"
