# cython: language_level=3
"""Shadow-stack management and ENDBRANCH (Intel SDM volumes 2A to 2D; volume 1, 17.2 for the tokens).

Departure: RSTORSSP's and SETSSBSY's atomic exchange is a load and a store; nothing else runs between them.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.cet cimport *
from x86emu.core.flags cimport flags_eager, get_cf
from x86emu.core.mmu cimport canonical

cdef inline bint wide(Cpu* c) noexcept nogil:
    return (c.mode & MODE_CODE) == MODE_CODE64

cdef inline bint user(Cpu* c) noexcept nogil:
    return c.cpl == 3

cdef inline bint unavailable(Cpu* c, Insn* i) noexcept nogil:
    """True after raising #UD: no shadow stack at this CPL."""
    if likely(c.mode & MODE_SHADOW):
        return False
    fault(c, i, V_UD)
    return True

cdef inline bint refuse(Cpu* c, Insn* i) noexcept nogil:
    fault_code(c, i, V_GP, 0)
    return False

cdef bint supervisor_stack(Cpu* c, Insn* i) noexcept nogil:
    """SETSSBSY, CLRSSBSY: False after raising #UD without supervisor shadow stacks, or #GP(0) unless CPL is 0."""
    if not c.mode & MODE_CET or not c.s_cet & CET_SH_STK_EN or c.rflags & FLAG_VM:
        fault(c, i, V_UD)
        return False
    return c.cpl == 0 or refuse(c, i)

cdef bint operand(Cpu* c, Insn* i, uint64_t alignment, uint64_t* linear) noexcept nogil:
    linear[0] = ea_of(c, i)
    if wide(c) and not canonical(c, linear[0]):
        fault_code(c, i, V_SS if i.seg == SS else V_GP, 0)
        return False
    return not linear[0] & (alignment - 1) or refuse(c, i)

cdef inline void carry(Cpu* c, bint set) noexcept nogil:
    flags_eager(c, FLAG_CF if set else 0)

# ---------------------------------------------------------------- the pointer

cdef void RDSSPD_Rd(Cpu* c, Insn* i) noexcept nogil:
    if c.mode & MODE_SHADOW:
        c.r[i.dst] = <uint32_t>c.ssp
    chain(c, i)

cdef void RDSSPQ_Rq(Cpu* c, Insn* i) noexcept nogil:
    if c.mode & MODE_SHADOW:
        c.r[i.dst] = c.ssp
    chain(c, i)

cdef bint release(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    """INCSSP touches the first and the last element."""
    cdef uint64_t n = c.r[i.dst] & 0xFF, value = 0
    if (unavailable(c, i) or not shadow_access(c, i, c.ssp, size, SHADOW_LOAD, user(c), &value)
            or (n > 1 and not shadow_access(c, i, c.ssp + (n - 1) * size, size, SHADOW_LOAD, user(c), &value))):
        return False
    c.ssp += n * size
    if not wide(c):
        c.ssp &= 0xFFFFFFFFULL
    return True

cdef void INCSSPD_Rd(Cpu* c, Insn* i) noexcept nogil:
    if release(c, i, 4):
        chain(c, i)

cdef void INCSSPQ_Rq(Cpu* c, Insn* i) noexcept nogil:
    if release(c, i, 8):
        chain(c, i)

# ---------------------------------------------------------------- writes

cdef bint write(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t linear
    if not c.mode & MODE_SHADOW or not cet_register(c, c.cpl)[0] & CET_WR_SHSTK_EN:
        fault(c, i, V_UD)
        return False
    return operand(c, i, size, &linear) and shadow_access(c, i, linear, size, SHADOW_STORE, user(c), &c.r[i.dst])

cdef bint write_user(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t linear
    if not c.mode & MODE_CET or c.rflags & FLAG_VM:
        fault(c, i, V_UD)
        return False
    if c.cpl:
        return refuse(c, i)
    return operand(c, i, size, &linear) and shadow_access(c, i, linear, size, SHADOW_STORE, True, &c.r[i.dst])

cdef void WRSSD_Md_Rd(Cpu* c, Insn* i) noexcept nogil:
    if write(c, i, 4):
        chain(c, i)

cdef void WRSSQ_Mq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if write(c, i, 8):
        chain(c, i)

cdef void WRUSSD_Md_Rd(Cpu* c, Insn* i) noexcept nogil:
    if write_user(c, i, 4):
        chain(c, i)

cdef void WRUSSQ_Mq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if write_user(c, i, 8):
        chain(c, i)

# ---------------------------------------------------------------- switching stacks

cdef enum:
    TOKEN_WIDE = 1               # restore token: the stack is 64-bit code's
    TOKEN_PREVIOUS = 2           # it is a previous-SSP token

cdef bint restore(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear, token = 0, previous = c.ssp | TOKEN_PREVIOUS | (TOKEN_WIDE if wide(c) else 0)
    if (unavailable(c, i) or not operand(c, i, 8, &linear)
            or not shadow_access(c, i, linear, 8, SHADOW_LOAD_TO_STORE, user(c), &token)):
        return False
    if (token & 3 != (TOKEN_WIDE if wide(c) else 0) or (not wide(c) and token >> 32)
            or ((token & ~3ULL) - 8) & ~7ULL != linear):
        fault_code(c, i, V_CP, CP_RSTORSSP)
        return False
    if not shadow_access(c, i, linear, 8, SHADOW_STORE, user(c), &previous):
        return False
    c.ssp = linear
    carry(c, token & 4 != 0)     # the stack's own pointer was aligned to 4 only
    return True

cdef void RSTORSSP_Mq(Cpu* c, Insn* i) noexcept nogil:
    if restore(c, i):
        chain(c, i)

cdef bint save_previous(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t token = 0, hole = 0, zero = 0, at = c.ssp
    if unavailable(c, i):
        return False
    if at & 7:
        return refuse(c, i)
    if not shadow_access(c, i, at, 8, SHADOW_LOAD, user(c), &token):
        return False
    at += 8
    if get_cf(c):                # RSTORSSP found a hole of 4 bytes above the token
        if not shadow_access(c, i, at, 4, SHADOW_LOAD, user(c), &hole):
            return False
        if hole:
            return refuse(c, i)
        at += 4
    if not token & TOKEN_PREVIOUS or (not wide(c) and token >> 32):
        return refuse(c, i)
    token &= ~3ULL
    if not shadow_access(c, i, token - 4, 4, SHADOW_STORE, user(c), &zero):
        return False
    zero = token | (TOKEN_WIDE if wide(c) else 0)
    if not shadow_access(c, i, (token & ~7ULL) - 8, 8, SHADOW_STORE, user(c), &zero):
        return False
    c.ssp = at
    return True

cdef void SAVEPREVSSP(Cpu* c, Insn* i) noexcept nogil:
    if save_previous(c, i):
        chain(c, i)

# ---------------------------------------------------------------- supervisor shadow-stack tokens

cdef bint take_stack(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear = c.pl_ssp[0], token = 0, busy = linear | TOKEN_BUSY
    if not supervisor_stack(c, i):
        return False
    if linear & 7 or (not wide(c) and linear >> 32):
        return refuse(c, i)
    if not shadow_access(c, i, linear, 8, SHADOW_LOAD_TO_STORE, False, &token):
        return False
    if token != linear:
        fault_code(c, i, V_CP, CP_SETSSBSY)
        return False
    if not shadow_access(c, i, linear, 8, SHADOW_STORE, False, &busy):
        return False
    c.ssp = linear
    return True

cdef void SETSSBSY(Cpu* c, Insn* i) noexcept nogil:
    if take_stack(c, i):
        chain(c, i)

cdef bint free_stack(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear, token = 0
    if (not supervisor_stack(c, i) or not operand(c, i, 8, &linear)
            or not shadow_access(c, i, linear, 8, SHADOW_LOAD_TO_STORE, False, &token)):
        return False
    if token == linear | TOKEN_BUSY and not shadow_access(c, i, linear, 8, SHADOW_STORE, False, &linear):
        return False
    carry(c, token != linear | TOKEN_BUSY)
    c.ssp = 0
    return True

cdef void CLRSSBSY_Mq(Cpu* c, Insn* i) noexcept nogil:
    if free_stack(c, i):
        chain(c, i)

# ---------------------------------------------------------------- ENDBRANCH

cdef void ENDBR(Cpu* c, Insn* i) noexcept nogil:
    chain(c, i)

cdef void ENDBR_tracked(Cpu* c, Insn* i) noexcept nogil:
    """Where the tracker waits, the trace builder looks at the branch's target itself; here only suppression ends."""
    if wide(c) == i.aux:
        cet_register(c, c.cpl)[0] &= ~<uint64_t>CET_SUPPRESS
    chain(c, i)

include "register_cet_instructions.pxi"
