# cython: language_level=3
"""Unmasked x87 exceptions (Intel SDM volume 1, 8.6 and 8.7; volume 3A, 2.5 on CR0.NE)."""


cdef void pending_exception(Cpu* c, Insn* i) noexcept nogil:
    """#MF; in MS-DOS compatibility mode (CR0.NE = 0) FERR# goes out and, IGNNE# being active, the instruction waits no more.

    FERR# reaches the board by IRQ 13 of the 8259 pair (SDM 3A, 8.7.2). The processor stops before the waiting instruction
    until an interrupt comes; the handler's FNCLEX or FNINIT clears the condition.
    """
    fault(c, i, V_MF)

cdef bint unmasked(Cpu* c, uint32_t flags) noexcept nogil:
    cdef uint32_t found = flags & SW_EXCEPTIONS & ~<uint32_t>c.fpu.control
    c.fpu.status |= SW_ES | SW_B
    if found & SW_BEFORE:
        # C1 tells stack overflow from underflow; beside that, only what was found before computing counts.
        flags &= SW_BEFORE | SW_SF | (SW_C1 if flags & SW_SF else 0)
        c.fpu.status = <uint16_t>((c.fpu.status & ~SW_C1) | flags)
        return False
    return True

cdef void refresh_summary(Cpu* c) noexcept nogil:
    if c.fpu.status & SW_EXCEPTIONS & ~c.fpu.control:
        c.fpu.status |= SW_ES | SW_B
    else:
        c.fpu.status &= <uint16_t>~(SW_ES | SW_B)

cdef bint probe_store(Cpu* c, Insn* i, uint64_t ea, uint32_t n) noexcept nogil:
    return slow_probe(c, i, ea, n, 1)
