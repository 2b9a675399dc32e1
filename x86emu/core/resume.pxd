# cython: language_level=3
# How an instruction ends that changed more than registers and memory (segments, CPL, flags, translations): where nothing
# waits between it and the next instruction, straight on with the trace that is there (SDM 3A table 6-2 for what may wait).
# A fault has set c.exit, so that resume() does nothing then.
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.trace cimport goto_indirect

cdef inline bint wires_up(Cpu* c) noexcept nogil:
    """Whether anything waits at the processor's pins, a masked interrupt included."""
    cdef Signals* s = c.signals
    return (s.intr | s.nmi | s.smi | s.init | s.sipi | s.reset | <uint32_t>(c.pending_debug != 0)
            | c.virt.virtual_interrupt | c.svm.virtual_nmi
            | (s.a20_masked ^ c.a20_seen)) != 0

cdef inline bint uneventful(Cpu* c) noexcept nogil:
    """Whether the run loop would find nothing to do before the next instruction."""
    return not (wires_up(c) or c.interrupt_shadow | c.exit | c.activity | c.vmx.trap_flag
                | (<uint32_t>c.rflags & (FLAG_TF | FLAG_RF)) | (<uint32_t>c.dr[7] & 0xFF) | (<uint32_t>c.debugctl & 1))

cdef inline void resume(Cpu* c, Insn* i) noexcept nogil:
    """Behind finish() or finish_at(), or a fault, of an instruction that ends its trace: goes on at RIP without the run
    loop where that would find nothing to do. Tail position, in a handler without a stack frame: what takes the address
    of a local variable belongs into a function of its own."""
    if likely(uneventful(c)):
        goto_indirect(c, i, c.r[REG_RIP])
