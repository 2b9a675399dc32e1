# cython: language_level=3
"""Shadow stacks and indirect-branch tracking (Intel SDM volume 1, chapter 17; volume 2 for the transfers; volume 3A,
6.12 and 6.14 for events; AMD APM volume 2, chapter 18).

Translations of shadow-stack pages live in the TLB beside the others, under keys of their own.

Departures: a frame is written before the token of its stack is marked busy, so that a fault between leaves the token
free; shadow stacks on memory-mapped devices work as memory does.  Of task switches the manual tells the parts (the TSS's
SSP, tokens, frames) and leaves open in which order their faults come.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.interrupts cimport data_breakpoints
from x86emu.core.mmu cimport canonical, load_as, system_load
from x86emu.core.page_walk cimport READ, WRITE, walk_shadow
from x86emu.core.physical cimport backing, load_at, store_at
from x86emu.core.segmentation cimport canonical_base, long_mode
from x86emu.core.tlb cimport SHADOW_KEY, set_mode
from x86emu.core.vmx_apic cimport vmx_apic_access

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL
cdef enum:
    FRAME = 24                   # CS, linear instruction pointer, SSP

# ---------------------------------------------------------------- accesses

cdef inline uint64_t key(Cpu* c, bint user) noexcept nogil:
    return c.key_user + SHADOW_KEY + (0 if user else 1)

cdef bint translate(Cpu* c, Insn* i, uint64_t linear, bint write, bint user, uint64_t* physical) noexcept nogil:
    cdef TlbEntry* t
    cdef uint64_t offset
    if not walk_shadow(c, i, linear, WRITE if write else READ, user, physical):
        return False
    if c.signals.a20_masked:
        physical[0] &= ~<uint64_t>0x100000
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        if (physical[0] & 0xFFFFFFFFFFFFF000ULL) == c.vmx.apic_access:
            return vmx_apic_access(c, i, linear, WRITE if write else READ, physical)
        if c.vmx.uncached:
            c.vmx.uncached = 0
            return True
    offset = backing(c, physical[0], write)
    if offset == NOTHING or c.dr[7] & 0xFF or (write and c.shared.memory.code_mask[offset >> 12]):
        return True
    t = &c.tlb_write[(linear >> PAGE_SHIFT) & TLB_MASK] if write else &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK]
    t.tag = (linear & 0xFFFFFFFFFFFFF000ULL) | key(c, user)
    t.addend = <uint64_t>(c.shared.memory.backing + offset) - linear
    return True

cdef bint shadow_access(Cpu* c, Insn* i, uint64_t linear, uint32_t size, int access, bint user,
                        uint64_t* value) noexcept nogil:
    cdef TlbEntry* t = (&c.tlb_write[(linear >> PAGE_SHIFT) & TLB_MASK] if access
                        else &c.tlb_read[(linear >> PAGE_SHIFT) & TLB_MASK])
    cdef uint64_t physical, low, high
    if t.tag == (((linear + size - 1) & 0xFFFFFFFFFFFFF000ULL) | key(c, user)):
        if access == SHADOW_STORE:
            memcpy(<uint8_t*>(t.addend + linear), value, size)
        else:
            value[0] = 0
            memcpy(value, <uint8_t*>(t.addend + linear), size)
        return True
    if not canonical(c, linear) or not canonical(c, linear + size - 1):
        fault_code(c, i, V_GP, 0)
        return False
    c.vmx.access_size = size
    if (linear & 0xFFF) + size > 4096:       # eight bytes that are aligned to four: two halves
        low = value[0] & 0xFFFFFFFFULL
        high = value[0] >> 32
        if access == SHADOW_STORE and not translate(c, i, linear + 4, True, user, &physical):
            return False
        if (not shadow_access(c, i, linear, 4, access, user, &low)
                or not shadow_access(c, i, linear + 4, 4, access, user, &high)):
            return False
        if access != SHADOW_STORE:
            value[0] = low | high << 32
        return True
    if not translate(c, i, linear, access != SHADOW_LOAD, user, &physical):
        return False
    if access == SHADOW_STORE:
        store_at(c, i, physical, size, value[0])
    else:
        value[0] = load_at(c, i, physical, size)
    if c.dr[7] & 0xFF:
        c.pending_debug |= data_breakpoints(c, linear, size, access == SHADOW_STORE)
    return True

cdef bint load(Cpu* c, Insn* i, uint64_t linear, bint user, uint64_t* value) noexcept nogil:
    return shadow_access(c, i, linear, 8, SHADOW_LOAD, user, value)

cdef bint store(Cpu* c, Insn* i, uint64_t linear, bint user, uint64_t value) noexcept nogil:
    return shadow_access(c, i, linear, 8, SHADOW_STORE, user, &value)

# ---------------------------------------------------------------- far transfers and events

cdef bint push_frame(Cpu* c, Insn* i, uint64_t* ssp, bint user, uint32_t cs, uint64_t lip, uint64_t old) noexcept nogil:
    """CS, linear instruction pointer and SSP at the next multiple of 8, with zeros in the gap."""
    cdef uint64_t zero = 0
    if ssp[0] & 4:
        if not shadow_access(c, i, ssp[0] - 4, 4, SHADOW_STORE, user, &zero):
            return False
        ssp[0] -= 4
    if (not store(c, i, ssp[0] - 8, user, cs) or not store(c, i, ssp[0] - 16, user, lip)
            or not store(c, i, ssp[0] - 24, user, old)):
        return False
    ssp[0] -= FRAME
    return True

cdef inline bint refuse(Cpu* c, Insn* i, uint32_t error) noexcept nogil:
    fault_code(c, i, V_GP, error)
    return False

cdef bint enter_stack(Cpu* c, Insn* i, int cpl, int ist, bint wide, uint32_t cs, uint64_t lip, uint32_t ext,
                      uint64_t* ssp) noexcept nogil:
    """The stack that code at `cpl` gets: the one of its level, of the interrupt SSP table, or the running one."""
    cdef bint user = cpl == 3
    cdef bint switched = cpl != <int>c.cpl or ist != 0
    cdef uint64_t token = 0, top
    if ist:
        if not system_load(c, i, c.interrupt_ssp_table + ist * 8, 8, ssp):
            return False
    elif cpl != <int>c.cpl:
        ssp[0] = c.pl_ssp[cpl]
    if not wide and ssp[0] >> 32:
        return refuse(c, i, ext)
    top = ssp[0]
    if switched:
        if top & 7:
            return refuse(c, i, ext)
        if not shadow_access(c, i, top, 8, SHADOW_LOAD_TO_STORE, user, &token):
            return False
        if token != top:                     # busy, or no token of this stack
            return refuse(c, i, ext)
    if (cpl == <int>c.cpl or c.cpl != 3) and not push_frame(c, i, ssp, user, cs, lip, c.ssp):
        return False
    return not switched or store(c, i, top, user, top | TOKEN_BUSY)

cdef bint cet_enter(Cpu* c, Insn* i, int cpl, int ist, bint wide, uint32_t cs, uint64_t lip, uint32_t ext) noexcept nogil:
    cdef uint64_t ssp = c.ssp
    # from virtual-8086 mode, which has no shadow stack, to CPL 0
    if cet_register(c, cpl)[0] & CET_SH_STK_EN and not enter_stack(c, i, cpl, ist, wide, cs, lip, ext, &ssp):
        return False
    if c.cpl == 3 and cpl != 3 and shadow_enabled(c, 3):
        c.pl_ssp[3] = c.ssp
    c.ssp = ssp
    if cet_register(c, cpl)[0] & CET_ENDBR_EN:
        cet_register(c, cpl)[0] = (cet_register(c, cpl)[0] & ~<uint64_t>CET_SUPPRESS) | CET_TRACKER
    return True

cdef bint cet_jump(Cpu* c, Insn* i, bint wide) noexcept nogil:
    if shadow_enabled(c, c.cpl) and not wide and c.ssp >> 32:
        return refuse(c, i, 0)
    expect_endbranch(c, c.cpl)
    return True

cdef bint leave_stack(Cpu* c, Insn* i, int cpl, bint wide, uint32_t cs, uint64_t lip, bint interrupt,
                      uint64_t* ssp, uint64_t* free) noexcept nogil:
    """Compares with the frame, gives the SSP in it, and the place of the token of a stack that is left, or 0."""
    cdef uint64_t frame_cs = 0, frame_lip = 0, previous = 0, at = c.ssp
    cdef bint user = c.cpl == 3
    if at & 7:
        fault_code(c, i, V_CP, CP_FAR_RET)
        return False
    if cpl != 3 or c.cpl == 3:
        if (not load(c, i, at + 16, user, &frame_cs) or not load(c, i, at + 8, user, &frame_lip)
                or not load(c, i, at, user, &previous)):
            return False
        at += FRAME
        if frame_cs != cs or frame_lip != lip or previous & 3:
            fault_code(c, i, V_CP, CP_FAR_RET)
            return False
        if not wide and previous >> 32:
            return refuse(c, i, 0)
        ssp[0] = previous
    if cpl != <int>c.cpl or (interrupt and long_mode(c) and previous != at):
        free[0] = at
    return True

cdef bint cet_return(Cpu* c, Insn* i, int cpl, bint wide, uint32_t cs, uint64_t lip, bint interrupt) noexcept nogil:
    cdef uint64_t ssp = c.ssp, free = 0
    cdef bint user = c.cpl == 3
    if shadow_enabled(c, c.cpl) and not leave_stack(c, i, cpl, wide, cs, lip, interrupt, &ssp, &free):
        return False
    if cpl == 3 and c.cpl != 3 and shadow_enabled(c, 3):
        ssp = c.pl_ssp[3]
        if not wide and ssp >> 32:
            return refuse(c, i, 0)
    if free and not free_token(c, i, free, user):
        return False
    c.ssp = ssp
    return True

# ---------------------------------------------------------------- task switches

cdef bint free_token(Cpu* c, Insn* i, uint64_t at, bint user) noexcept nogil:
    cdef uint64_t token = 0
    if at & 7 or not shadow_access(c, i, at, 8, SHADOW_LOAD_TO_STORE, user, &token):
        return c.exit != EXIT_FAULT
    return token != at | TOKEN_BUSY or store(c, i, at, user, at)

cdef bint cet_leave_task(Cpu* c, Insn* i, TaskShadow* t, uint64_t rip) noexcept nogil:
    cdef bint user = c.cpl == 3
    cdef uint64_t at = c.ssp
    cdef bint on = shadow_enabled(c, c.cpl)
    t.cs = c.seg[CS].selector
    t.lip = c.cs_base + rip
    t.ssp = c.ssp
    t.back = t.back and on
    if not on:
        return True
    if t.back:
        if at & 7:
            fault_code(c, i, V_CP, CP_FAR_RET)
            return False
        if (not load(c, i, at + 16, user, &t.cs) or not load(c, i, at + 8, user, &t.lip)
                or not load(c, i, at, user, &t.ssp)):
            return False
        at += FRAME
    if not t.nested and not user and not free_token(c, i, at, user):
        return False
    if user:
        c.pl_ssp[3] = at
    return True

cdef bint cet_enter_task(Cpu* c, TaskShadow* t, uint64_t rip, uint32_t ext) noexcept nogil:
    cdef uint64_t ssp = t.stack, token = 0
    cdef bint user = c.cpl == 3
    cdef uint32_t error = (c.seg[TR].selector & 0xFFFC) | ext
    if not t.back:
        expect_endbranch(c, c.cpl)
    if not shadow_enabled(c, c.cpl):
        return True
    if t.back:
        if t.cs != c.seg[CS].selector or t.lip != c.seg[CS].base + rip or t.ssp & 3 or t.ssp >> 32:
            fault_code(c, NULL, V_CP, CP_FAR_RET)
            return False
        c.ssp = t.ssp
        return True
    if not t.has_stack or ssp & 7:
        fault_code(c, NULL, V_TS, error)
        return False
    if not user:
        if not shadow_access(c, NULL, ssp, 8, SHADOW_LOAD_TO_STORE, user, &token):
            return False
        if token != ssp:
            fault_code(c, NULL, V_TS, error)
            return False
        token = ssp
    if t.nested and not push_frame(c, NULL, &ssp, user, <uint32_t>t.cs, t.lip, t.ssp):
        return False
    if not user and not store(c, NULL, token, user, token | TOKEN_BUSY):
        return False
    c.ssp = ssp
    return True

# ---------------------------------------------------------------- fast system calls

cdef void cet_system_call(Cpu* c) noexcept nogil:
    """c.cpl is still the caller's; CPL 0 begins without a shadow stack (SETSSBSY gives it one)."""
    if c.cpl == 3 and shadow_enabled(c, 3):
        c.pl_ssp[3] = c.ssp
    if c.s_cet & CET_SH_STK_EN:
        c.ssp = 0
    if c.s_cet & CET_ENDBR_EN:
        c.s_cet = (c.s_cet & ~<uint64_t>CET_SUPPRESS) | CET_TRACKER

cdef bint cet_system_return(Cpu* c, Insn* i, bint wide) noexcept nogil:
    if shadow_enabled(c, 3):
        if not wide and c.pl_ssp[3] >> 32:
            return refuse(c, i, 0)
        c.ssp = c.pl_ssp[3]
    return True

# ---------------------------------------------------------------- targets of indirect branches

cdef bint legacy_target(Cpu* c, uint64_t linear) noexcept nogil:
    """The bit of the legacy code page bitmap (SDM 1, 17.3.5). False also after a page fault."""
    cdef uint64_t cet = cet_register(c, c.cpl)[0], byte = 0
    cdef int unused = 64 - (57 if c.cr4 & CR4_LA57 else 48)
    cdef uint64_t at = (cet & 0xFFFFFFFFFFFFF000ULL) + ((linear << unused) >> unused >> 15)
    if not load_as(c, NULL, at, 1, &byte, c.cpl):
        return False
    return byte >> (linear >> 12 & 7) & 1

cdef bint meet_branch_target(Cpu* c, uint64_t linear, const uint8_t* p) noexcept nogil:
    cdef uint64_t* cet = cet_register(c, c.cpl)
    cdef uint8_t last = 0xFA if (c.mode & MODE_CODE) == MODE_CODE64 else 0xFB
    if p[0] == 0xF3 and p[1] == 0x0F and p[2] == 0x1E and p[3] == last:
        cet[0] &= ~<uint64_t>(CET_TRACKER | CET_SUPPRESS)
    elif cet[0] & CET_LEG_IW_EN and legacy_target(c, linear):
        cet[0] &= ~<uint64_t>CET_TRACKER
        if not cet[0] & CET_SUPPRESS_DIS:
            cet[0] |= CET_SUPPRESS
    else:
        if c.exit != EXIT_FAULT:
            fault_code(c, NULL, V_CP, CP_ENDBRANCH)
        return False
    set_mode(c, c.mode & ~<uint32_t>MODE_WAIT)
    return True

# ---------------------------------------------------------------- MSRs

cdef uint64_t cet_reserved(Cpu* c) noexcept nogil:
    cdef uint64_t allowed = 0
    if c.features[<int>FEATURE_CET_SS]:
        allowed = CET_SH_STK_EN | CET_WR_SHSTK_EN
    if c.features[<int>FEATURE_CET_IBT]:
        allowed |= 0xFFFFFFFFFFFFFC3CULL
    return ~allowed

cdef bint valid_cet(Cpu* c, uint64_t value) noexcept nogil:
    cdef uint64_t both = CET_SUPPRESS | CET_TRACKER
    return not value & cet_reserved(c) and value & both != both and canonical_base(c, value)

cdef bint valid_ssp(Cpu* c, uint64_t value) noexcept nogil:
    return not value & 3 and canonical_base(c, value)
