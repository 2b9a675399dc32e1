# cython: language_level=3
# How an instruction ends that changed more than registers and memory (segments, CPL, flags, translations): where nothing
# waits between it and the next instruction, straight on with the trace that is there (SDM 3A table 6-2 for what may wait).
# A fault has set c.exit, so that resume() does nothing then.
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.trace cimport goto_indirect, goto_indirect_wide

cdef inline bint wires_up(Cpu* c) noexcept nogil:
    """Whether anything waits at the processor's pins, a masked interrupt included."""
    return waiting(c) != 0

cdef inline uint64_t waiting(Cpu* c) noexcept nogil:
    """Not 0 where anything waits; the first wires by pairs, as platform.pxd has them."""
    cdef Signals* s = c.signals
    cdef uint64_t* pairs = <uint64_t*>&s.intr
    return (pairs[0] | pairs[1] | pairs[2] | c.pending_debug | (c.virt.virtual_interrupt | c.svm.virtual_nmi)
            | (s.a20_masked ^ c.a20_seen))

cdef inline bint uneventful(Cpu* c) noexcept nogil:
    """Whether the run loop would find nothing to do before the next instruction."""
    return (waiting(c) | (c.interrupt_shadow | c.exit | c.activity | c.vmx.trap_flag)
            | (c.rflags & (FLAG_TF | FLAG_RF)) | (c.dr[7] & 0xFF) | (c.debugctl & 1)) == 0

cdef inline void resume(Cpu* c, Insn* i) noexcept nogil:
    """Behind finish() or finish_at(), or a fault, of an instruction that ends its trace: goes on at RIP without the run
    loop where that would find nothing to do. Tail position, in a handler without a stack frame: what takes the address
    of a local variable belongs into a function of its own."""
    if likely(uneventful(c)):
        goto_indirect(c, i, c.r[REG_RIP])

cdef inline void resume_wide(Cpu* c, Insn* i) noexcept nogil:
    """resume() where what goes on is known to be 64-bit code."""
    if likely(uneventful(c)):
        goto_indirect_wide(c, i, c.r[REG_RIP])
