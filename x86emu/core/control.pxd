# cython: language_level=3
# Near transfers of control (SDM 2A: JMP, "IF target outside the code segment limit THEN #GP(0)"; SDM 1, 6.3).
#
# A trace's terminal record is followed by one record-sized slot with two links: taken, not taken.  aux bit 0 says that
# the taken target lies in the terminal's page, bit 1 that the fall-through does, so that the link stays valid.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.mmu cimport canonical
from x86emu.core.trace cimport goto_linked, goto_linked_checked, goto_indirect, expect_return, goto_return
from x86emu.core.trace cimport goto_indirect_wide, goto_by, goto_entry, goto_unknown
from x86emu.core.trace cimport jump_entry, jump_slot, first_of_slot, leads_to
from x86emu.core.control_far cimport take_far, fall_far, refuse_target, refuse_call

cdef inline bint target_allowed(Cpu* c, uint64_t rip) noexcept nogil:
    """Whether rip lies in CS and is canonical; with 5-level paging False may just mean that check_target() must look."""
    if (c.mode & MODE_CODE) == MODE_CODE64:
        return <uint64_t>(<int64_t>(rip << 16) >> 16) == rip
    return rip <= c.seg[CS].limit

# By operand size: one of 64 bits is 64-bit mode's.
cdef inline bint target_allowed_q(Cpu* c, uint64_t rip) noexcept nogil:
    return rip + 0x800000000000ULL < 0x1000000000000ULL

cdef inline bint target_allowed_d(Cpu* c, uint64_t rip) noexcept nogil:
    return target_allowed(c, rip)

cdef inline bint target_allowed_w(Cpu* c, uint64_t rip) noexcept nogil:
    return target_allowed(c, rip)

cdef inline uint64_t next_rip_q(Cpu* c, Insn* i) noexcept nogil:
    return c.r[REG_RIP] + i.ip + i.length

cdef inline uint64_t next_rip_d(Cpu* c, Insn* i) noexcept nogil:
    return next_rip_of(c, i)

cdef inline uint64_t next_rip_w(Cpu* c, Insn* i) noexcept nogil:
    return next_rip_of(c, i)

cdef inline bint check_target(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """False: rip lies outside CS or is not canonical; #GP(0) is raised and nothing has changed."""
    if likely(target_allowed(c, rip) or ((c.mode & MODE_CODE) == MODE_CODE64 and canonical(c, rip))):
        return True
    refuse_target(c, i)
    return False

cdef inline bint check_call(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """check_target() of CALL in 64-bit mode."""
    if likely(target_allowed(c, rip) or canonical(c, rip)):
        return True
    refuse_call(c, i)
    return False

# Targets of direct branches by operand size.
cdef inline uint64_t target_w(Cpu* c, Insn* i) noexcept nogil:
    return <uint16_t>(c.r[REG_RIP] + <uint64_t>i.imm)

cdef inline uint64_t target_d(Cpu* c, Insn* i) noexcept nogil:
    return <uint32_t>(c.r[REG_RIP] + <uint64_t>i.imm)

cdef inline uint64_t target_q(Cpu* c, Insn* i) noexcept nogil:
    return c.r[REG_RIP] + <uint64_t>i.imm

# Taken and not-taken ends of a terminal; always the last statement of a handler.  The _q forms are 64-bit code's.
cdef inline void take_q(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    if likely(i.aux & 1):
        goto_linked(c, i, rip, <Trace**>&i[1])
    else:
        take_far(c, i, rip)

cdef inline void take_d(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    if likely(i.aux & 1 and rip <= c.seg[CS].limit):
        goto_linked_checked(c, i, rip, <Trace**>&i[1])
    else:
        take_far(c, i, rip)

cdef inline void take_w(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    take_d(c, i, rip)

cdef inline void fall_q(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t rip = c.r[REG_RIP] + i.ip + i.length
    if likely(i.aux & 2):
        goto_linked(c, i, rip, <Trace**>&i[1] + 1)
    else:
        fall_far(c, i, rip)

cdef inline void fall_d(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t rip = <uint32_t>(c.r[REG_RIP] + i.ip + i.length)
    if likely(i.aux & 2):
        goto_linked_checked(c, i, rip, <Trace**>&i[1] + 1)
    else:
        fall_far(c, i, rip)

cdef inline void fall_w(Cpu* c, Insn* i) noexcept nogil:
    if unlikely((c.mode & MODE_CODE) == MODE_CODE64):     # AMD: only a branch that is taken cuts RIP off
        fall_q(c, i)
    else:
        fall_d(c, i)

# The ends of indirect branches by operand size.
cdef inline void goto_indirect_q(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_indirect_wide(c, i, rip)

cdef inline void goto_indirect_d(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_indirect(c, i, rip)

cdef inline void goto_indirect_w(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_indirect(c, i, rip)

cdef inline void goto_return_q(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_indirect_wide(c, i, rip)

# What a near CALL leaves for the RET that belongs to it.
cdef inline void expect_return_q(Cpu* c, Insn* i) noexcept nogil:
    pass                             # in 64-bit code returns are found by the table of indirect branches

cdef inline void expect_return_d(Cpu* c, Insn* i) noexcept nogil:
    expect_return(c, i)

cdef inline void expect_return_w(Cpu* c, Insn* i) noexcept nogil:
    expect_return(c, i)

cdef inline void goto_return_d(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_return(c, i, rip)

cdef inline void goto_return_w(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_return(c, i, rip)
