# cython: language_level=3
"""Saving and restoring the x87, MMX, SSE and extended state (Intel SDM volume 1, 10.5 and chapter 13; volume 2).

The layout is that of SDM 1, table 10-2 (FXSAVE area) and 13.4 (XSAVE area: legacy region, header, AVX at 576, PKRU at
2688, or both packed in the compacted format, which alone has the supervisor components CET_U and CET_S).  A component is
told as in use exactly when it is not in its initial configuration; XSAVEOPT uses that (the init optimization) and not the modified optimization, which is never demanded.

Where processors differ: with CR4.OSFXSR clear, FXSAVE and FXRSTOR leave XMM and MXCSR alone (as AMD's do; Intel leaves
it open); the x87 error pointers are always saved (as Intel's do; older AMD ones only with an exception pending).
"""
from libc.string cimport memset, memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.alignment cimport aligned
from x86emu.core.memory_access cimport ld, st, load_bytes, store_bytes
from x86emu.core.mmu cimport slow_probe
from x86emu.core.tlb cimport tlb_flush_all
from x86emu.core.mode cimport refresh_mode
from x86emu.core.cet cimport valid_cet, valid_ssp
from x86emu.core.model cimport (ProcessorModel, xsave_size, XCR0_X87, XCR0_SSE, XCR0_AVX, XCR0_PKRU, XSS_CET_U,
                                XSS_CET_S)

cdef enum:
    MXCSR_RESET = 0x1F80
    HEADER = 512
    EXTENDED = 576               # first byte after the header: AVX, in both formats
    PKRU_OFFSET = 2688           # in the standard format
    XSAVE_MAX = 2696
    COMPACTED_BIT = 63

cdef struct Area:                # an XSAVE area being put together or taken apart
    uint8_t b[2704]

cdef inline int vector_count(Cpu* c) noexcept nogil:
    return 16 if (c.mode & MODE_CODE) == MODE_CODE64 else 8

# ---------------------------------------------------------------- x87 part: bytes 0 to 23 and 32 to 159

cdef void put_x87(Cpu* c, uint8_t* area, bint wide) noexcept nogil:
    cdef int k
    cdef int top = (c.fpu.status >> 11) & 7
    cdef bint no_selectors = c.features[FEATURE_ZERO_FCS_FDS]
    (<uint16_t*>(area + 0))[0] = c.fpu.control
    (<uint16_t*>(area + 2))[0] = c.fpu.status
    area[4] = c.fpu.valid
    area[5] = 0
    (<uint16_t*>(area + 6))[0] = c.fpu.opcode & 0x7FF
    (<uint64_t*>(area + 8))[0] = c.fpu.instruction_pointer
    (<uint64_t*>(area + 16))[0] = c.fpu.data_pointer
    if not wide:
        (<uint64_t*>(area + 8))[0] &= 0xFFFFFFFFULL
        (<uint64_t*>(area + 16))[0] &= 0xFFFFFFFFULL
        if not no_selectors:
            (<uint16_t*>(area + 12))[0] = c.fpu.instruction_selector
            (<uint16_t*>(area + 20))[0] = c.fpu.data_selector
    for k in range(8):
        (<uint64_t*>(area + 32 + 16 * k))[0] = c.fpu.st[(top + k) & 7].mantissa
        (<uint64_t*>(area + 40 + 16 * k))[0] = c.fpu.st[(top + k) & 7].sign_exponent

cdef void take_x87(Cpu* c, const uint8_t* area, bint wide) noexcept nogil:
    cdef int k, top
    cdef uint16_t status = (<const uint16_t*>(area + 2))[0] & 0x7F7F
    c.fpu.control = (<const uint16_t*>(area + 0))[0] & 0x1F7F | 0x40
    # ES and B follow from the exceptions that are pending and unmasked (SDM 1, 8.1.3.3).
    if status & ~c.fpu.control & 0x3F:
        status |= 0x8080
    c.fpu.status = status
    c.fpu.valid = area[4]
    c.fpu.opcode = (<const uint16_t*>(area + 6))[0] & 0x7FF
    if wide:
        c.fpu.instruction_pointer = (<const uint64_t*>(area + 8))[0]
        c.fpu.data_pointer = (<const uint64_t*>(area + 16))[0]
        c.fpu.instruction_selector = 0
        c.fpu.data_selector = 0
    else:
        c.fpu.instruction_pointer = (<const uint32_t*>(area + 8))[0]
        c.fpu.data_pointer = (<const uint32_t*>(area + 16))[0]
        c.fpu.instruction_selector = (<const uint16_t*>(area + 12))[0]
        c.fpu.data_selector = (<const uint16_t*>(area + 20))[0]
    top = (status >> 11) & 7
    for k in range(8):
        c.fpu.st[(top + k) & 7].mantissa = (<const uint64_t*>(area + 32 + 16 * k))[0]
        c.fpu.st[(top + k) & 7].sign_exponent = (<const uint16_t*>(area + 40 + 16 * k))[0]

cdef void initial_x87(Cpu* c) noexcept nogil:
    memset(&c.fpu, 0, sizeof(c.fpu))
    c.fpu.control = 0x37F

cdef bint x87_in_use(Cpu* c) noexcept nogil:
    cdef int k
    if (c.fpu.control != 0x37F or c.fpu.status or c.fpu.valid or c.fpu.opcode or c.fpu.instruction_selector
            or c.fpu.data_selector or c.fpu.instruction_pointer or c.fpu.data_pointer):
        return True
    for k in range(8):
        if c.fpu.st[k].mantissa or c.fpu.st[k].sign_exponent:
            return True
    return False

# ---------------------------------------------------------------- SSE part: MXCSR at 24, XMM from 160

cdef inline void put_mxcsr(Cpu* c, uint8_t* area) noexcept nogil:
    (<uint32_t*>(area + 24))[0] = c.mxcsr
    (<uint32_t*>(area + 28))[0] = (<ProcessorModel*>c.model).mxcsr_mask

cdef inline bint mxcsr_allowed(Cpu* c, Insn* i, uint32_t value) noexcept nogil:
    """False after raising #GP(0) for reserved bits."""
    if unlikely(value & ~(<ProcessorModel*>c.model).mxcsr_mask):
        fault_code(c, i, V_GP, 0)
        return False
    return True

cdef void put_xmm(Cpu* c, uint8_t* area) noexcept nogil:
    cdef int k
    for k in range(vector_count(c)):
        memcpy(area + 160 + 16 * k, &c.vec[k].q[0], 16)

cdef void take_xmm(Cpu* c, const uint8_t* area) noexcept nogil:
    cdef int k
    for k in range(vector_count(c)):
        memcpy(&c.vec[k].q[0], area + 160 + 16 * k, 16)

cdef void put_ymm_high(Cpu* c, uint8_t* to) noexcept nogil:
    cdef int k
    for k in range(vector_count(c)):
        memcpy(to + 16 * k, &c.vec[k].q[2], 16)

cdef void take_ymm_high(Cpu* c, const uint8_t* source) noexcept nogil:
    cdef int k
    for k in range(vector_count(c)):
        memcpy(&c.vec[k].q[2], source + 16 * k, 16)

cdef uint64_t components_in_use(Cpu* c) noexcept nogil:
    """XINUSE (SDM 1, 13.6)."""
    cdef uint64_t found = 0
    cdef int k
    if x87_in_use(c):
        found |= XCR0_X87
    for k in range(vector_count(c)):
        if c.vec[k].q[0] | c.vec[k].q[1]:
            found |= XCR0_SSE
        if c.vec[k].q[2] | c.vec[k].q[3]:
            found |= XCR0_AVX
    if c.pkru:
        found |= XCR0_PKRU
    if c.u_cet | c.pl_ssp[3]:
        found |= XSS_CET_U
    if c.pl_ssp[0] | c.pl_ssp[1] | c.pl_ssp[2]:
        found |= XSS_CET_S
    return found

# ---------------------------------------------------------------- FXSAVE, FXRSTOR

cdef inline bint misaligned(Cpu* c, Insn* i, uint64_t address, uint64_t alignment) noexcept nogil:
    """True after raising #GP(0), or #AC(0) where that is checked and not even a doubleword is aligned."""
    if unlikely(address & (alignment - 1)):
        if aligned(c, i, address, 4):
            fault_code(c, i, V_GP, 0)
        return True
    return False

cdef inline bint without_xmm(Cpu* c) noexcept nogil:
    """FXSAVE and FXRSTOR skip XMM: no OSFXSR, or AMD's fast FXSAVE at CPL 0 in 64-bit mode (APM 2, 3.1.7)."""
    if not c.cr4 & CR4_OSFXSR:
        return True
    return c.efer & EFER_FFXSR and c.cpl == 0 and (c.mode & MODE_CODE) == MODE_CODE64

cdef bint save_fx(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef Area area
    cdef uint64_t address = ea_of(c, i)
    cdef uint32_t n = 160
    if misaligned(c, i, address, 16) or not slow_probe(c, i, address, 512, 1):
        return False
    put_x87(c, area.b, wide)
    (<uint64_t*>(area.b + 24))[0] = 0
    if c.cr4 & CR4_OSFXSR:
        put_mxcsr(c, area.b)
    if not without_xmm(c):
        put_xmm(c, area.b)
        n += 16 * vector_count(c)
    return store_bytes(c, i, address, area.b, n)

cdef bint restore_fx(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef Area area
    cdef uint64_t address = ea_of(c, i)
    if misaligned(c, i, address, 16) or not load_bytes(c, i, address, area.b, 512):
        return False
    if c.cr4 & CR4_OSFXSR:
        if not mxcsr_allowed(c, i, (<uint32_t*>(area.b + 24))[0]):
            return False
        c.mxcsr = (<uint32_t*>(area.b + 24))[0]
    take_x87(c, area.b, wide)
    if not without_xmm(c):
        take_xmm(c, area.b)
    return True

cdef void FXSAVE_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_fx(c, i, 0):
        return
    chain(c, i)

cdef void FXSAVE64_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_fx(c, i, 1):
        return
    chain(c, i)

cdef void FXRSTOR_M(Cpu* c, Insn* i) noexcept nogil:
    if not restore_fx(c, i, 0):
        return
    chain(c, i)

cdef void FXRSTOR64_M(Cpu* c, Insn* i) noexcept nogil:
    if not restore_fx(c, i, 1):
        return
    chain(c, i)

cdef void LDMXCSR_Md(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t value
    if not ld(c, i, ea_of(c, i), &value) or not mxcsr_allowed(c, i, value):
        return
    c.mxcsr = value
    chain(c, i)

cdef void STMXCSR_Md(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), c.mxcsr):
        return
    chain(c, i)

# ---------------------------------------------------------------- XSAVE, XSAVEOPT, XSAVEC, XRSTOR

cdef bint extended_state_ready(Cpu* c, Insn* i, uint64_t address) noexcept nogil:
    """#UD without CR4.OSXSAVE, #NM with CR0.TS, #GP(0) off a 64-byte boundary; False after raising one."""
    if not c.cr4 & CR4_OSXSAVE:
        fault(c, i, V_UD)
        return False
    if c.cr0 & CR0_TS:
        fault(c, i, V_NM)
        return False
    return not misaligned(c, i, address, 64)

cdef inline uint64_t requested(Cpu* c, bint of_supervisor) noexcept nogil:
    """RFBM: the requested-feature bitmap (SDM 1, 13.3)."""
    return (c.xcr0 | (c.xss if of_supervisor else 0)) & (<uint32_t>c.r[RAX] | c.r[RDX] << 32)

cdef inline uint32_t pkru_offset(uint64_t components, bint compacted) noexcept nogil:
    if not compacted:
        return PKRU_OFFSET
    return EXTENDED + 256 if components & XCR0_AVX else EXTENDED

cdef inline uint32_t cet_offset(uint64_t components, uint64_t component) noexcept nogil:
    """In the compacted format: behind all components with lower numbers."""
    return xsave_size(components & (component - 1), 1)

cdef bint store_cet(Cpu* c, Insn* i, uint64_t address, uint64_t which, uint64_t layout) noexcept nogil:
    cdef uint64_t user[2]
    user[0] = c.u_cet
    user[1] = c.pl_ssp[3]
    if which & XSS_CET_U and not store_bytes(c, i, address + cet_offset(layout, XSS_CET_U), user, 16):
        return False
    return not which & XSS_CET_S or store_bytes(c, i, address + cet_offset(layout, XSS_CET_S), c.pl_ssp, 24)

cdef bint cet_allowed(Cpu* c, Insn* i, const uint8_t* area, uint64_t present, uint64_t layout) noexcept nogil:
    """False after raising #GP(0) for what WRMSR would not take."""
    cdef const uint64_t* user = <const uint64_t*>(area + cet_offset(layout, XSS_CET_U))
    cdef const uint64_t* stacks = <const uint64_t*>(area + cet_offset(layout, XSS_CET_S))
    if ((present & XSS_CET_U and (not valid_cet(c, user[0]) or not valid_ssp(c, user[1])))
            or (present & XSS_CET_S and not (valid_ssp(c, stacks[0]) and valid_ssp(c, stacks[1]) and valid_ssp(c, stacks[2])))):
        fault_code(c, i, V_GP, 0)
        return False
    return True

cdef void take_cet(Cpu* c, const uint8_t* area, uint64_t rfbm, uint64_t present, uint64_t layout) noexcept nogil:
    if rfbm & XSS_CET_U:
        c.u_cet = (<const uint64_t*>(area + cet_offset(layout, XSS_CET_U)))[0] if present & XSS_CET_U else 0
        c.pl_ssp[3] = (<const uint64_t*>(area + cet_offset(layout, XSS_CET_U)))[1] if present & XSS_CET_U else 0
    if rfbm & XSS_CET_S:
        if present & XSS_CET_S:
            memcpy(c.pl_ssp, area + cet_offset(layout, XSS_CET_S), 24)
        else:
            memset(c.pl_ssp, 0, 24)

cdef bint store_components(Cpu* c, Insn* i, uint64_t address, Area* area, uint64_t which, uint64_t layout, bint mxcsr,
                           bint compacted, bint wide) noexcept nogil:
    """Writes the components in which, and MXCSR where asked; the whole area has been probed, so nothing faults."""
    cdef uint32_t at
    if which & XCR0_X87:
        put_x87(c, area.b, wide)
        if not store_bytes(c, i, address, area.b, 24) or not store_bytes(c, i, address + 32, area.b + 32, 128):
            return False
    if mxcsr:
        put_mxcsr(c, area.b)
        if not store_bytes(c, i, address + 24, area.b + 24, 8):
            return False
    if which & XCR0_SSE:
        put_xmm(c, area.b)
        if not store_bytes(c, i, address + 160, area.b + 160, 16 * vector_count(c)):
            return False
    if which & XCR0_AVX:
        put_ymm_high(c, area.b + EXTENDED)
        if not store_bytes(c, i, address + EXTENDED, area.b + EXTENDED, 16 * vector_count(c)):
            return False
    if which & XCR0_PKRU:
        at = pkru_offset(layout, compacted)
        (<uint64_t*>(area.b + at))[0] = c.pkru
        if not store_bytes(c, i, address + at, area.b + at, 8):
            return False
    return not which & (XSS_CET_U | XSS_CET_S) or store_cet(c, i, address, which, layout)

cdef bint save_standard(Cpu* c, Insn* i, bint wide, bint optimized) noexcept nogil:
    """XSAVE and XSAVEOPT (SDM 1, 13.7 and 13.9)."""
    cdef Area area
    cdef uint64_t address = ea_of(c, i), present
    cdef uint64_t rfbm, in_use
    if not extended_state_ready(c, i, address):
        return False
    rfbm = requested(c, False)
    in_use = components_in_use(c)
    if not slow_probe(c, i, address, xsave_size(rfbm, 0), 1) or not ld(c, i, address + HEADER, &present):
        return False
    if not store_components(c, i, address, &area, rfbm & in_use if optimized else rfbm, rfbm,
                            (rfbm & (XCR0_SSE | XCR0_AVX)) != 0, 0, wide):
        return False
    return st(c, i, address + HEADER, (present & ~rfbm) | (rfbm & in_use))

cdef bint save_compacted(Cpu* c, Insn* i, bint wide, bint of_supervisor) noexcept nogil:
    """XSAVEC and XSAVES (SDM 1, 13.10 and 13.11). MXCSR belongs to the SSE component here."""
    cdef Area area
    cdef uint64_t address = ea_of(c, i)
    cdef uint64_t rfbm, which
    if not extended_state_ready(c, i, address):
        return False
    rfbm = requested(c, of_supervisor)
    which = components_in_use(c)
    if c.mxcsr != MXCSR_RESET:
        which |= XCR0_SSE
    which &= rfbm
    if not slow_probe(c, i, address, xsave_size(rfbm, 1), 1):
        return False
    if not store_components(c, i, address, &area, which, rfbm, (which & XCR0_SSE) != 0, 1, wide):
        return False
    (<uint64_t*>area.b)[0] = which
    (<uint64_t*>area.b)[1] = rfbm | <uint64_t>1 << COMPACTED_BIT
    return store_bytes(c, i, address + HEADER, area.b, 16)

cdef bint supervisor(Cpu* c, Insn* i) noexcept nogil:
    """XSAVES and XRSTORS: #UD, #NM, then #GP(0) unless CPL is 0; False after raising one. What VMX controls of a guest's
    is judged before (vmx_intercepts.pyx)."""
    if not c.cr4 & CR4_OSXSAVE:
        fault(c, i, V_UD)
        return False
    if c.cr0 & CR0_TS:
        fault(c, i, V_NM)
        return False
    if c.cpl != 0:
        fault_code(c, i, V_GP, 0)
        return False
    return True

cdef bint header_allowed(Cpu* c, Insn* i, const uint64_t* header, bint of_supervisor) noexcept nogil:
    """SDM 1, 13.8 and 13.12: what makes XRSTOR and XRSTORS raise #GP(0); False after raising it."""
    cdef uint64_t present = header[0], format = header[1], rest = 0
    cdef bint compacted = format >> COMPACTED_BIT
    cdef int k
    cdef bint good
    if compacted:
        format &= 0x7FFFFFFFFFFFFFFFULL
        for k in range(2, 8):
            rest |= header[k]
        good = (c.features[FEATURE_XSAVEC] and not format & ~(c.xcr0 | (c.xss if of_supervisor else 0))
                and not present & ~format and rest == 0)
    else:
        good = not of_supervisor and not present & ~c.xcr0 and format == 0 and header[2] == 0
    if not good:
        fault_code(c, i, V_GP, 0)
    return good

cdef bint restore_extended(Cpu* c, Insn* i, bint wide, bint of_supervisor) noexcept nogil:
    """XRSTOR (SDM 1, 13.8), and XRSTORS (13.12), which takes the compacted format alone."""
    cdef Area area
    cdef uint64_t address = ea_of(c, i), rfbm, present, layout
    cdef uint32_t mxcsr, pkru, size
    cdef bint compacted, load_mxcsr
    if not extended_state_ready(c, i, address) or not load_bytes(c, i, address, area.b, EXTENDED):
        return False
    if not header_allowed(c, i, <uint64_t*>(area.b + HEADER), of_supervisor):
        return False
    rfbm = requested(c, of_supervisor)
    layout = (<uint64_t*>(area.b + HEADER))[1]
    compacted = layout >> COMPACTED_BIT
    present = (<uint64_t*>(area.b + HEADER))[0] & rfbm
    size = EXTENDED
    if present & (XCR0_AVX | XCR0_PKRU | XSS_CET_U | XSS_CET_S):
        size = xsave_size(layout if compacted else present, compacted)
        if not load_bytes(c, i, address + EXTENDED, area.b + EXTENDED, size - EXTENDED):
            return False
    if present & (XSS_CET_U | XSS_CET_S) and not cet_allowed(c, i, area.b, present, layout):
        return False
    # The standard format loads MXCSR whenever SSE or AVX is asked for, whatever XSTATE_BV says.
    load_mxcsr = (present & XCR0_SSE) != 0 if compacted else (rfbm & (XCR0_SSE | XCR0_AVX)) != 0
    mxcsr = (<uint32_t*>(area.b + 24))[0]
    if load_mxcsr:
        if not mxcsr_allowed(c, i, mxcsr):
            return False
        c.mxcsr = mxcsr
    elif rfbm & XCR0_SSE:
        c.mxcsr = MXCSR_RESET
    if present & XCR0_X87:
        take_x87(c, area.b, wide)
    elif rfbm & XCR0_X87:
        initial_x87(c)
    if rfbm & XCR0_SSE:
        if not present & XCR0_SSE:
            memset(area.b + 160, 0, 256)
        take_xmm(c, area.b)
    if rfbm & XCR0_AVX:
        if not present & XCR0_AVX:
            memset(area.b + EXTENDED, 0, 256)
        take_ymm_high(c, area.b + EXTENDED)
    if rfbm & XCR0_PKRU:
        pkru = (<uint32_t*>(area.b + pkru_offset(layout, compacted)))[0] if present & XCR0_PKRU else 0
        if pkru != c.pkru:
            c.pkru = pkru
            tlb_flush_all(c)
            refresh_mode(c)
    if rfbm & (XSS_CET_U | XSS_CET_S):
        take_cet(c, area.b, rfbm, present, layout)
    return True

cdef void XSAVE_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_standard(c, i, 0, 0):
        return
    chain(c, i)

cdef void XSAVE64_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_standard(c, i, 1, 0):
        return
    chain(c, i)

cdef void XSAVEOPT_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_standard(c, i, 0, 1):
        return
    chain(c, i)

cdef void XSAVEOPT64_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_standard(c, i, 1, 1):
        return
    chain(c, i)

cdef void XSAVEC_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_compacted(c, i, 0, False):
        return
    chain(c, i)

cdef void XSAVEC64_M(Cpu* c, Insn* i) noexcept nogil:
    if not save_compacted(c, i, 1, False):
        return
    chain(c, i)

cdef void XRSTOR_M(Cpu* c, Insn* i) noexcept nogil:
    if not restore_extended(c, i, 0, 0):
        return
    chain(c, i)

cdef void XRSTOR64_M(Cpu* c, Insn* i) noexcept nogil:
    if not restore_extended(c, i, 1, 0):
        return
    chain(c, i)

cdef void XSAVES_M(Cpu* c, Insn* i) noexcept nogil:
    if not supervisor(c, i) or not save_compacted(c, i, 0, True):
        return
    chain(c, i)

cdef void XSAVES64_M(Cpu* c, Insn* i) noexcept nogil:
    if not supervisor(c, i) or not save_compacted(c, i, 1, True):
        return
    chain(c, i)

cdef void XRSTORS_M(Cpu* c, Insn* i) noexcept nogil:
    if not supervisor(c, i) or not restore_extended(c, i, 0, 1):
        return
    chain(c, i)

cdef void XRSTORS64_M(Cpu* c, Insn* i) noexcept nogil:
    if not supervisor(c, i) or not restore_extended(c, i, 1, 1):
        return
    chain(c, i)

include "register_xstate.pxi"
