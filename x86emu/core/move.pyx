# cython: language_level=3
# Data transfer (SDM 1, 7.3.1): MOV, MOVZX, MOVSX, LEA, XCHG, CMOVcc, SETcc, PUSH, POP, LEAVE, PUSHA, POPA from
# _gen/forms_move.py; here what has few forms: BSWAP, MOVBE, MOVNTI, CBW, CWD, ENTER.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alignment cimport aligned
from x86emu.core.memory_access cimport *
from x86emu.core.mmu cimport slow_probe
from x86emu.core.alu cimport rmw_pointer, rmw_load, rmw_store
from x86emu.core.stack cimport *

cdef extern from * nogil:
    uint16_t __builtin_bswap16(uint16_t)
    uint32_t __builtin_bswap32(uint32_t)
    uint64_t __builtin_bswap64(uint64_t)

include "forms_move.pxi"

cdef void NOP(Cpu* c, Insn* i) noexcept nogil:
    chain(c, i)

# BSWAP of a 16-bit register is undefined; processors clear it.
cdef void BSWAP_Rw(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, <uint16_t>0)
    chain(c, i)

cdef void BSWAP_Rd(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, __builtin_bswap32(<uint32_t>c.r[i.dst]))
    chain(c, i)

cdef void BSWAP_Rq(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = __builtin_bswap64(c.r[i.dst])
    chain(c, i)

cdef void MOVBE_Rw_Mw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t v
    if unlikely(not ld(c, i, ea_of(c, i), &v)):
        return
    set_r(c, i.dst, __builtin_bswap16(v))
    chain(c, i)

cdef void MOVBE_Rd_Md(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t v
    if unlikely(not ld(c, i, ea_of(c, i), &v)):
        return
    set_r(c, i.dst, __builtin_bswap32(v))
    chain(c, i)

cdef void MOVBE_Rq_Mq(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t v
    if unlikely(not ld(c, i, ea_of(c, i), &v)):
        return
    c.r[i.dst] = __builtin_bswap64(v)
    chain(c, i)

cdef void MOVBE_Mw_Rw(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not st(c, i, ea_of(c, i), __builtin_bswap16(<uint16_t>c.r[i.dst]))):
        return
    chain(c, i)

cdef void MOVBE_Md_Rd(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not st(c, i, ea_of(c, i), __builtin_bswap32(<uint32_t>c.r[i.dst]))):
        return
    chain(c, i)

cdef void MOVBE_Mq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not st(c, i, ea_of(c, i), __builtin_bswap64(c.r[i.dst]))):
        return
    chain(c, i)

cdef void MOVNTI_Md_Rd(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not st(c, i, ea_of(c, i), <uint32_t>c.r[i.dst])):
        return
    chain(c, i)

cdef void MOVNTI_Mq_Rq(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not st(c, i, ea_of(c, i), c.r[i.dst])):
        return
    chain(c, i)

# CBW, CWDE, CDQE and CWD, CDQ, CQO
cdef void CBW_w(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RAX, <uint16_t><int8_t>c.r[RAX])
    chain(c, i)

cdef void CBW_d(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RAX, <uint32_t><int16_t>c.r[RAX])
    chain(c, i)

cdef void CBW_q(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RAX, <uint64_t><int32_t>c.r[RAX])
    chain(c, i)

cdef void CWD_w(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RDX, <uint16_t>(<int16_t>c.r[RAX] >> 15))
    chain(c, i)

cdef void CWD_d(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RDX, <uint32_t>(<int32_t>c.r[RAX] >> 31))
    chain(c, i)

cdef void CWD_q(Cpu* c, Insn* i) noexcept nogil:
    c.r[RDX] = <uint64_t>(<int64_t>c.r[RAX] >> 63)
    chain(c, i)

# ENTER (SDM 2A): all stores happen before rSP and rBP change, so that a fault restarts it.  The final probe is the
# documented check that the new top of the stack could be written.
cdef bint copy_frame_pointer(Cpu* c, Insn* i, uint64_t frame, uint64_t sp, uint32_t size) noexcept nogil:
    cdef uint16_t w
    cdef uint32_t d
    cdef uint64_t q
    if size == 2:
        return stack_load(c, i, frame, &w) and stack_store(c, i, sp, w)
    elif size == 4:
        return stack_load(c, i, frame, &d) and stack_store(c, i, sp, d)
    return stack_load(c, i, frame, &q) and stack_store(c, i, sp, q)

cdef bint push_register(Cpu* c, Insn* i, uint64_t sp, uint64_t value, uint32_t size) noexcept nogil:
    if size == 2:
        return stack_store(c, i, sp, <uint16_t>value)
    elif size == 4:
        return stack_store(c, i, sp, <uint32_t>value)
    return stack_store(c, i, sp, value)

cdef bint enter(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint32_t level = i.disp & 31
    cdef uint32_t n
    cdef uint64_t sp = c.r[RSP] - size
    cdef uint64_t frame = sp, linear = 0
    cdef uint64_t parent = c.r[RBP]
    if not push_register(c, i, sp, c.r[RBP], size):
        return False
    if level:
        for n in range(1, level):
            parent -= size
            sp -= size
            if not copy_frame_pointer(c, i, parent, sp, size):
                return False
        sp -= size
        if not push_register(c, i, sp, (c.r[RSP] & ~c.sp_mask) | (frame & c.sp_mask), size):
            return False
    sp -= <uint16_t>i.imm
    if not stack_linear(c, i, sp, size, True, &linear) or not aligned(c, i, linear, size):
        return False
    if not slow_probe(c, i, linear, size, True):
        return False
    c.r[RBP] = (c.r[RBP] & ~c.sp_mask) | (frame & c.sp_mask)     # by the stack's address size, as rSP
    set_sp(c, sp)
    return True

cdef void ENTER_I_I_w(Cpu* c, Insn* i) noexcept nogil:
    if not enter(c, i, 2):
        return
    chain(c, i)

cdef void ENTER_I_I_d(Cpu* c, Insn* i) noexcept nogil:
    if not enter(c, i, 4):
        return
    chain(c, i)

cdef void ENTER_I_I_q(Cpu* c, Insn* i) noexcept nogil:
    if not enter(c, i, 8):
        return
    chain(c, i)

include "register_move.pxi"
