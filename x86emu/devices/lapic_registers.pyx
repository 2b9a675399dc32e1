# cython: language_level=3
# Intel SDM vol. 3, chapter 11: the parts of the local APIC that are functions of its state alone.
"""Local APIC registers: reading, acceptance of vectors, errors, reset, and which bits an x2APIC lets be written."""
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

cdef uint32_t LVT_WRITABLE[7]
LVT_WRITABLE[:] = [0x700FF, 0x107FF, 0x107FF, 0x1A7FF, 0x1A7FF, 0x100FF, 0x107FF]


cdef uint32_t lvt_writable(int index) noexcept nogil:
    """The bits of a local vector table entry that software can write."""
    return LVT_WRITABLE[index]


cdef void raise_error(ApicState* s, uint32_t bits) noexcept nogil:
    """Section 11.5.3: errors gather until ESR is written; each new one is an event of the LVT's error entry."""
    cdef uint32_t entry = s.lvt[ERROR]
    if s.esr_pending & bits == bits:
        return
    s.esr_pending |= bits
    if not entry & LVT_MASKED and (entry & 0xFF) >= 16:
        set_bit(s.irr, entry & 0xFF)
        clear_bit(s.tmr, entry & 0xFF)
        update_intr(s)


cdef void accept_vector(ApicState* s, int vector, bint level_triggered) noexcept nogil:
    """Section 11.8.4: a fixed interrupt arrives."""
    if vector < 16:
        raise_error(s, ESR_RECEIVE_ILLEGAL_VECTOR)
        return
    if not s.svr & SVR_ENABLE:
        return
    set_bit(s.irr, vector)
    if level_triggered:
        set_bit(s.tmr, vector)
    else:
        clear_bit(s.tmr, vector)
    update_intr(s)


cdef void reset_registers(ApicState* s) noexcept nogil:
    """Sections 11.4.7.1 and 11.4.7.3: the state after reset or INIT; IDs and IA32_APIC_BASE stay."""
    cdef int index
    s.tpr = s.esr = s.esr_pending = 0
    s.ldr = 0
    s.dfr = <uint32_t>0xFFFFFFFFU
    s.svr = 0xFF
    memset(s.isr, 0, sizeof(s.isr))
    memset(s.tmr, 0, sizeof(s.tmr))
    memset(s.irr, 0, sizeof(s.irr))
    s.icr = 0
    for index in range(7):
        s.lvt[index] = LVT_MASKED
    s.initial_count = s.divide = 0
    s.timer_start = 0
    s.tsc_deadline = 0
    s.extint = 0
    if x2apic_mode(s):
        s.ldr = (s.id >> 4) << 16 | <uint32_t>1 << (s.id & 15)


cdef uint32_t current_count(const ApicState* s, int64_t now) noexcept nogil:
    cdef uint64_t ticks
    if s.initial_count == 0 or s.timer_start == TIMER_STOPPED or timer_mode(s) >= TIMER_TSC_DEADLINE:
        return 0
    ticks = <uint64_t>(now - s.timer_start) >> timer_shift(s)
    if timer_mode(s) == TIMER_PERIODIC:
        return s.initial_count - <uint32_t>(ticks % s.initial_count)
    return s.initial_count - <uint32_t>ticks if ticks < s.initial_count else 0


cdef uint32_t read_register(const ApicState* s, uint32_t offset) noexcept nogil:
    if offset == ID:
        return s.id if x2apic_mode(s) else s.id << 24
    if offset == VERSION:
        return 0x14 | (s.lvt_count - 1) << 16
    if offset == TPR:
        return s.tpr
    if offset == PPR:
        return ppr(s)
    if offset == LDR:
        return s.ldr
    if offset == DFR:
        return s.dfr
    if offset == SVR:
        return s.svr
    if ISR <= offset < ISR + 0x80:
        return s.isr[(offset - ISR) >> 4]
    if TMR <= offset < TMR + 0x80:
        return s.tmr[(offset - TMR) >> 4]
    if IRR <= offset < IRR + 0x80:
        return s.irr[(offset - IRR) >> 4]
    if offset == ESR:
        return s.esr
    if offset == ICR_LOW:
        return <uint32_t>s.icr
    if offset == ICR_HIGH:
        return <uint32_t>(s.icr >> 32)
    if LVT_TIMER_OFFSET <= offset <= LVT_ERROR_OFFSET:
        return s.lvt[(offset - LVT_TIMER_OFFSET) >> 4]
    if offset == LVT_CMCI:
        return s.lvt[CMCI]
    if offset == INITIAL_COUNT:
        return s.initial_count
    if offset == DIVIDE:
        return s.divide
    return 0


cdef bint exists(const ApicState* s, uint32_t offset) noexcept nogil:
    """Whether the APIC page has a register at `offset` (table 11-1)."""
    if offset == LVT_CMCI:
        return s.lvt_count > 6
    return (offset == ID or offset == VERSION or TPR <= offset <= ESR or ICR_LOW <= offset <= CURRENT_COUNT
            or offset == DIVIDE)


cdef void write_svr(ApicState* s, uint32_t value) noexcept nogil:
    cdef int index
    s.svr = value & 0x3FF
    if not value & SVR_ENABLE:              # section 11.4.7.2: software-disabled
        for index in range(7):
            s.lvt[index] |= LVT_MASKED
    update_intr(s)


cdef uint32_t x2apic_writable(const ApicState* s, uint32_t offset) noexcept nogil:
    """The bits of a register that may be written as ones in x2APIC mode; others raise #GP(0)."""
    if offset == TPR or offset == SELF_IPI:
        return 0xFF
    if offset == SVR:
        return 0x3FF
    if offset == INITIAL_COUNT:
        return <uint32_t>0xFFFFFFFFU
    if offset == DIVIDE:
        return 0xB
    if offset == LVT_CMCI:
        return LVT_WRITABLE[CMCI]
    if offset == LVT_TIMER_OFFSET and not s.has_tsc_deadline:
        return 0x300FF
    if LVT_TIMER_OFFSET <= offset <= LVT_ERROR_OFFSET:
        return LVT_WRITABLE[(offset - LVT_TIMER_OFFSET) >> 4] | 0x5000      # read-only bits may be written back
    return 0                                # EOI, ESR


cdef bint x2apic_readable(const ApicState* s, uint32_t offset) noexcept nogil:
    return exists(s, offset) and not (offset == EOI or offset == DFR or offset == APR or offset == RRD
                                      or offset == ICR_HIGH)


cdef bint x2apic_writes(const ApicState* s, uint32_t offset) noexcept nogil:
    return (offset == TPR or offset == EOI or offset == SVR or offset == ESR or offset == ICR_LOW
            or LVT_TIMER_OFFSET <= offset <= INITIAL_COUNT or offset == DIVIDE or offset == SELF_IPI
            or offset == LVT_CMCI and s.lvt_count > 6)
