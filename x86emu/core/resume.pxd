# cython: language_level=3
# How an instruction ends that changed more than registers and memory (segments, CPL, flags, translations): where nothing
# waits between it and the next instruction, straight on with the trace that is there (SDM 3A table 6-2 for what may wait).
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.trace cimport goto_indirect

cdef inline bint wires_up(Cpu* c) noexcept nogil:
    """Whether anything waits at the processor's pins, a masked interrupt included."""
    cdef Signals* s = c.signals
    return (s.intr | s.nmi | s.smi | s.init | s.sipi | s.reset | <uint32_t>(c.pending_debug != 0)
            | c.virt.virtual_interrupt
            | (s.a20_masked ^ c.a20_seen)) != 0

cdef inline bint uneventful(Cpu* c) noexcept nogil:
    """Whether the run loop would find nothing to do before the next instruction."""
    return not (wires_up(c) or c.interrupt_shadow | c.exit | c.activity | c.vmx.trap_flag
                | (<uint32_t>c.rflags & (FLAG_TF | FLAG_RF)) | (<uint32_t>c.dr[7] & 0xFF))

cdef inline void resume_at(Cpu* c, Insn* i, uint64_t rip) noexcept nogil:
    """finish_at() for an instruction that ends its trace; the run loop is passed by where it can be. rip was checked.
    The handler returns right after."""
    c.current = NULL
    c.link = NULL
    if likely(uneventful(c)):
        goto_indirect(c, i, rip)
    else:
        c.r[REG_RIP] = rip

cdef inline void resume(Cpu* c, Insn* i) noexcept nogil:
    """resume_at() the next sequential instruction."""
    resume_at(c, i, next_rip_of(c, i))
