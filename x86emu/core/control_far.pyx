# cython: language_level=3
# Branches that leave the page, and those that the processor refuses (SDM 2A, JMP): see control_far.pxd.
from libc.stdint cimport uint64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport FEATURE_BRANCH16
from x86emu.core.stack cimport stack_store
from x86emu.core.mmu cimport canonical
from x86emu.core.trace cimport goto_cached

cdef void refuse_target(Cpu* c, Insn* i) noexcept nogil:
    fault_code(c, i, V_GP, 0)

cdef void refuse_call(Cpu* c, Insn* i) noexcept nogil:
    """The manual has #GP first (SDM 2A, CALL), and AMD does it so; Intel's processors store the return address before."""
    if c.features[FEATURE_BRANCH16] or stack_store(c, i, c.r[RSP] - 8, next_rip_of(c, i)):
        fault_code(c, i, V_GP, 0)

cdef void take_far(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    if (c.mode & MODE_CODE) == MODE_CODE64:
        if unlikely(not canonical(c, rip)):
            fault_code(c, i, V_GP, 0)
            return
    elif unlikely(rip > c.seg[CS].limit):
        fault_code(c, i, V_GP, 0)
        return
    goto_cached(c, i, rip, <Trace**>&i[1])

cdef void fall_far(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    goto_cached(c, i, rip, <Trace**>&i[1] + 1)
