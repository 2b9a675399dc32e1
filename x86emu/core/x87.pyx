# cython: language_level=3
"""Unmasked x87 exceptions (Intel SDM volume 1, 8.6 and 8.7; volume 3A, 2.5 on CR0.NE)."""
from x86emu.core.svm cimport svm_intercepts, SVM_FERR_FREEZE
from x86emu.core.second_level cimport request_exit


cdef void drive_ferr(Cpu* c) noexcept nogil:
    """FERR# follows the summary bit while CR0.NE is 0; the board hears of changes."""
    cdef uint32_t level = 1 if c.fpu.status & SW_ES and not c.cr0 & CR0_NE else 0
    if c.signals == NULL or c.signals.ferr == level:
        return
    c.signals.ferr = level
    if c.signals.ferr_moved != NULL:
        c.signals.ferr_moved(c.signals.ferr_listener, level)

cdef bint pending_exception(Cpu* c, Insn* i) noexcept nogil:
    """#MF if CR0.NE is set.

    Otherwise (MS-DOS compatibility mode, SDM 1, appendix D) FERR# has gone to the board, which makes IRQ 13 of it, and
    the processor stops before the waiting instruction until an interrupt comes; with IGNNE# it goes on.
    """
    if c.cr0 & CR0_NE:
        fault(c, i, V_MF)
        return False
    drive_ferr(c)
    if c.signals == NULL or c.signals.ignne or c.signals.ferr_moved == NULL:
        return True
    if c.virt.guest_mode == GUEST_SVM and svm_intercepts(c, 3, 30):      # APM 2, 15.13.5
        request_exit(c, i, SVM_FERR_FREEZE, 0, 0)
        return False
    unwind(c, i)
    c.activity = ACTIVITY_HLT
    c.exit = EXIT_YIELD
    return False

cdef bint unmasked(Cpu* c, uint32_t flags) noexcept nogil:
    cdef uint32_t found = flags & SW_EXCEPTIONS & ~<uint32_t>c.fpu.control
    c.fpu.status |= SW_ES | SW_B
    if found & SW_BEFORE:
        # C1 tells stack overflow from underflow; beside that, only what was found before computing counts.
        flags &= SW_BEFORE | SW_SF | (SW_C1 if flags & SW_SF else 0)
        c.fpu.status = <uint16_t>((c.fpu.status & ~SW_C1) | flags)
    if not c.cr0 & CR0_NE:
        drive_ferr(c)
    return not found & SW_BEFORE

cdef void refresh_summary(Cpu* c) noexcept nogil:
    if c.fpu.status & SW_EXCEPTIONS & ~c.fpu.control:
        c.fpu.status |= SW_ES | SW_B
    else:
        c.fpu.status &= <uint16_t>~(SW_ES | SW_B)
    if not c.cr0 & CR0_NE:
        drive_ferr(c)

cdef bint probe_store(Cpu* c, Insn* i, uint64_t ea, uint32_t n) noexcept nogil:
    return slow_probe(c, i, ea, n, 1)
