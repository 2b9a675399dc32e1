# cython: language_level=3
"""SYSCALL, SYSRET, SYSENTER and SYSEXIT (Intel SDM volume 2B, AMD APM volume 3; SDM 3A 5.8.7 and 5.8.8).

Where the vendors differ the model decides:
* Intel: SYSCALL and SYSRET are #UD outside 64-bit mode, SYSRET to a non-canonical RIP is #GP(0) at CPL 0.
* AMD: both work in legacy mode (target in STAR[31:0]) and compatibility mode (CSTAR); a non-canonical RIP faults at
  CPL 3 behind SYSRET; SYSRET does not reload base, limit and rights of SS; SYSENTER and SYSEXIT are #UD in long mode.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.mmu cimport canonical
from x86emu.core.mode cimport refresh_transfer
from x86emu.core.tlb cimport refresh_key
from x86emu.core.resume cimport resume, resume_wide
from x86emu.core.cet cimport cet_system_call, cet_system_return
from x86emu.core.segmentation cimport *
from x86emu.core.vendor cimport is_amd
from x86emu.core.interrupts cimport DR6_BS

cdef enum:
    FLAT_CODE64 = 0xA09B         # accessed, DPL 0; | 60h for DPL 3
    FLAT_CODE32 = 0xC09B
    FLAT_DATA = 0xC093
    DPL3 = 0x60
    SYSRET_FLAGS = 0x3C7FD7

cdef inline void _flat(Cpu* c, int seg, uint64_t selector, uint32_t attributes) noexcept nogil:
    cdef Segment* s = &c.seg[seg]
    s.selector = <uint16_t>selector
    s.base = 0
    s.limit = 0xFFFFFFFF
    s.attributes = attributes    # what derives from it is refresh_transfer()'s

cdef inline void _step(Cpu* c) noexcept nogil:
    """Single step: the TF that SYSCALL or SYSRET leaves decides, at once (AMD APM 3, SYSCALL and SYSRET)."""
    if c.rflags & FLAG_TF:
        c.pending_debug |= DR6_BS

cdef void _syscall(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t next_rip = next_rip_of(c, i)
    cdef uint64_t selector = (c.star >> 32) & 0xFFFC
    cdef uint64_t flags, target
    if not c.efer & EFER_SCE or (not code64(c) and (not is_amd(c) or not protected_mode(c))):
        fault(c, i, V_UD)
        return
    flags = read_rflags(c) & ~<uint64_t>FLAG_RF
    c.r[RCX] = next_rip
    if c.mode & MODE_CET:
        cet_system_call(c)
    c.cpl = 0
    if long_mode(c):
        target = c.lstar if code64(c) else c.cstar
        c.r[11] = flags
        write_rflags(c, flags & ~(c.fmask & 0xFFFFFFFFULL))
        _flat(c, CS, selector, FLAT_CODE64)
    else:
        target = c.star & 0xFFFFFFFFULL
        c.rflags &= ~<uint64_t>(FLAG_VM | FLAG_IF | FLAG_RF)
        _flat(c, CS, selector, FLAT_CODE32)
    _flat(c, SS, selector + 8, FLAT_DATA)
    _step(c)
    refresh_transfer(c)
    finish_at(c, i, target)

cdef void SYSCALL(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t selector = (c.star >> 32) & 0xFFFC, flags
    if unlikely(not code64(c) or not c.efer & EFER_SCE):
        _syscall(c, i)
        resume(c, i)
        return
    flags = read_rflags(c) & ~<uint64_t>FLAG_RF
    c.r[RCX] = next_rip_of(c, i)
    c.r[11] = flags
    write_rflags(c, flags & ~(c.fmask & 0xFFFFFFFFULL))
    c.cpl = 0
    _flat(c, CS, selector, FLAT_CODE64)
    _flat(c, SS, selector + 8, FLAT_DATA)
    _step(c)
    refresh_key(c)
    finish_at(c, i, c.lstar)
    resume_wide(c, i)

cdef void SYSCALL_cet(Cpu* c, Insn* i) noexcept nogil:
    _syscall(c, i)
    resume(c, i)

cdef bint is_syscall(handler_t handler) noexcept nogil:
    return (handler == SYSCALL or handler == SYSRET_w or handler == SYSRET_d or handler == SYSRET_q or handler == SYSCALL_cet
            or handler == SYSRET_w_cet or handler == SYSRET_d_cet or handler == SYSRET_q_cet)

cdef inline void _sysret(Cpu* c, Insn* i, bint wide, bint enforced) noexcept nogil:
    cdef uint64_t selector = (c.star >> 48) & 0xFFFC
    cdef bint amd = is_amd(c)
    cdef uint64_t rip = c.r[RCX] if wide else c.r[RCX] & 0xFFFFFFFFULL
    if not c.efer & EFER_SCE or (not code64(c) and (not amd or not protected_mode(c))):
        fault(c, i, V_UD)
        return
    if c.cpl or (wide and not amd and not canonical(c, rip)):
        fault_code(c, i, V_GP, 0)
        return
    if enforced and not cet_system_return(c, i, wide):
        return
    if long_mode(c):
        write_rflags(c, c.r[11] & SYSRET_FLAGS)
    else:
        c.rflags |= FLAG_IF
    c.cpl = 3
    if wide:
        _flat(c, CS, (selector + 16) | 3, FLAT_CODE64 | DPL3)
    else:
        _flat(c, CS, selector | 3, FLAT_CODE32 | DPL3)
    if amd:
        c.seg[SS].selector = <uint16_t>((selector + 8) | 3)
        c.seg[SS].attributes |= DPL3
    else:
        _flat(c, SS, (selector + 8) | 3, FLAT_DATA | DPL3)
    _step(c)
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef void SYSRET_w(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 0, False)
    resume(c, i)

cdef void SYSRET_d(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 0, False)
    resume(c, i)

cdef void SYSRET_q(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 1, False)
    resume(c, i)                 # 64-bit mode, but after a fault

cdef void SYSRET_w_cet(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 0, True)
    resume(c, i)

cdef void SYSRET_d_cet(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 0, True)
    resume(c, i)

cdef void SYSRET_q_cet(Cpu* c, Insn* i) noexcept nogil:
    _sysret(c, i, 1, True)
    resume(c, i)

cdef void SYSENTER(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t selector = c.sysenter_cs & 0xFFFC
    cdef uint64_t target = c.sysenter_eip
    if long_mode(c) and is_amd(c):
        fault(c, i, V_UD)
        return
    if not c.cr0 & CR0_PE or not selector:
        fault_code(c, i, V_GP, 0)
        return
    if c.mode & MODE_CET:
        cet_system_call(c)
    c.rflags &= ~<uint64_t>(FLAG_VM | FLAG_IF | FLAG_RF)
    c.cpl = 0
    _flat(c, CS, selector, FLAT_CODE64 if long_mode(c) else FLAT_CODE32)
    _flat(c, SS, selector + 8, FLAT_DATA)
    c.r[RSP] = c.sysenter_esp
    if not long_mode(c):
        c.r[RSP] &= 0xFFFFFFFFULL
        target &= 0xFFFFFFFFULL
    refresh_transfer(c)
    finish_at(c, i, target)
    resume(c, i)

cdef inline void _sysexit(Cpu* c, Insn* i, bint wide) noexcept nogil:
    cdef uint64_t selector = c.sysenter_cs & 0xFFFC
    cdef uint64_t mask = 0xFFFFFFFFFFFFFFFFULL if wide else 0xFFFFFFFFULL
    cdef uint64_t rip = c.r[RDX] & mask
    if long_mode(c) and is_amd(c):
        fault(c, i, V_UD)
        return
    if not protected_mode(c) or not selector or c.cpl or (wide and not (canonical(c, rip) and canonical(c, c.r[RCX]))):
        fault_code(c, i, V_GP, 0)
        return
    if c.mode & MODE_CET and not cet_system_return(c, i, wide):
        return
    c.cpl = 3
    _flat(c, CS, (selector + (32 if wide else 16)) | 3, (FLAT_CODE64 if wide else FLAT_CODE32) | DPL3)
    _flat(c, SS, (selector + (40 if wide else 24)) | 3, FLAT_DATA | DPL3)
    c.r[RSP] = c.r[RCX] & mask
    c.rflags &= ~<uint64_t>FLAG_RF
    refresh_transfer(c)
    finish_at(c, i, rip)

cdef void SYSEXIT_w(Cpu* c, Insn* i) noexcept nogil:
    _sysexit(c, i, 0)
    resume(c, i)

cdef void SYSEXIT_d(Cpu* c, Insn* i) noexcept nogil:
    _sysexit(c, i, 0)
    resume(c, i)

cdef void SYSEXIT_q(Cpu* c, Insn* i) noexcept nogil:
    _sysexit(c, i, 1)
    resume(c, i)

include "register_system_calls.pxi"
