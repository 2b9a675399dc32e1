# cython: language_level=3
# The local APIC's state as plain data, and what can be said of it without a clock, a bus or the 8259: register
# offsets, priorities, acceptance, the INTR wire.  Intel SDM vol. 3, chapter 11; see lapic.pyx for departures.
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from x86emu.bus.platform cimport Signals

# Register offsets in the APIC page (table 11-1); an x2APIC register is MSR 800h + (offset >> 4).
cdef enum:
    ID = 0x020
    VERSION = 0x030
    TPR = 0x080
    APR = 0x090
    PPR = 0x0A0
    EOI = 0x0B0
    RRD = 0x0C0
    LDR = 0x0D0
    DFR = 0x0E0
    SVR = 0x0F0
    ISR = 0x100
    TMR = 0x180
    IRR = 0x200
    ESR = 0x280
    LVT_CMCI = 0x2F0
    ICR_LOW = 0x300
    ICR_HIGH = 0x310
    LVT_TIMER_OFFSET = 0x320
    LVT_ERROR_OFFSET = 0x370
    INITIAL_COUNT = 0x380
    CURRENT_COUNT = 0x390
    DIVIDE = 0x3E0
    SELF_IPI = 0x3F0

# Indices into lvt[], in the order of their registers from 320h; CMCI (2F0h) comes last.
cdef enum:
    TIMER = 0
    THERMAL = 1
    PERFORMANCE = 2
    LINT0 = 3
    LINT1 = 4
    ERROR = 5
    CMCI = 6

cdef enum:
    LVT_REMOTE_IRR = 0x4000
    LVT_LEVEL = 0x8000
    LVT_MASKED = 0x10000
    SVR_ENABLE = 0x100
    TIMER_ONE_SHOT = 0
    TIMER_PERIODIC = 1
    TIMER_TSC_DEADLINE = 2
    ESR_SEND_ILLEGAL_VECTOR = 0x20
    ESR_RECEIVE_ILLEGAL_VECTOR = 0x40
    ESR_ILLEGAL_REGISTER = 0x80

# Delivery modes (figure 11-12).
cdef enum:
    FIXED = 0
    LOWEST_PRIORITY = 1
    SMI = 2
    NMI = 4
    INIT = 5
    STARTUP = 6
    EXTINT = 7

cdef enum:
    MSR_APIC_BASE = 0x1B
    MSR_TSC_DEADLINE = 0x6E0
    BASE_BSP = 0x100
    BASE_X2APIC = 0x400
    BASE_ENABLE = 0x800

# A count that has run out in one-shot mode stays at 0 until the initial count is written, whatever the mode then is.
cdef enum: TIMER_STOPPED = -0x4000000000000000

cdef struct ApicState:
    # Saved.
    uint64_t base                   # IA32_APIC_BASE
    uint32_t tpr, ldr, dfr, svr, esr, esr_pending
    uint32_t isr[8]
    uint32_t tmr[8]
    uint32_t irr[8]
    uint64_t icr
    uint32_t lvt[7]
    uint32_t initial_count, divide
    int64_t timer_start             # virtual time at which the current count was initial_count, or TIMER_STOPPED
    uint64_t tsc_deadline
    uint8_t lint[2]                 # pin levels
    uint8_t extint                  # an ExtINT message waits for its acknowledge cycle
    # Fixed by the constructor.
    uint32_t id
    uint32_t lvt_count
    bint bsp, has_x2apic, has_tsc_deadline
    uint64_t base_mask              # physical address bits of IA32_APIC_BASE
    Signals* wires
    PyObject* owner


# Vectors as bits

cdef inline int highest(const uint32_t* bits) noexcept nogil:
    """The highest vector set, or -1."""
    cdef int word, bit
    for word in range(7, -1, -1):
        if bits[word]:
            bit = 31
            while not bits[word] >> bit & 1:
                bit -= 1
            return word * 32 + bit
    return -1


cdef inline void set_bit(uint32_t* bits, int vector) noexcept nogil:
    bits[vector >> 5] |= <uint32_t>1 << (vector & 31)


cdef inline void clear_bit(uint32_t* bits, int vector) noexcept nogil:
    bits[vector >> 5] &= ~(<uint32_t>1 << (vector & 31))


cdef inline bint test_bit(const uint32_t* bits, int vector) noexcept nogil:
    return bits[vector >> 5] >> (vector & 31) & 1


# Priorities and the INTR wire

cdef inline bint enabled(const ApicState* s) noexcept nogil:
    return (s.base & BASE_ENABLE) != 0


cdef inline bint x2apic_mode(const ApicState* s) noexcept nogil:
    return (s.base & BASE_X2APIC) != 0


cdef inline uint32_t ppr(const ApicState* s) noexcept nogil:
    """Section 11.8.3.1: the higher of the task priority and the class of the highest vector in service."""
    cdef int serving = highest(s.isr)
    if serving < 0 or (s.tpr & 0xF0) >= <uint32_t>(serving & 0xF0):
        return s.tpr
    return serving & 0xF0


cdef inline int deliverable(const ApicState* s) noexcept nogil:
    """The vector that would be dispensed to the processor, or -1."""
    cdef int vector
    if not enabled(s):
        return -1
    vector = highest(s.irr)
    return vector if vector >= 0 and <uint32_t>(vector & 0xF0) > (ppr(s) & 0xF0) else -1


cdef inline bint extint_asserted(const ApicState* s) noexcept nogil:
    """The 8259's INTR reaches the processor: through LINT0, or as the pin of a disabled APIC, or by a message."""
    if not enabled(s):
        return s.lint[0]
    return s.extint or (s.lint[0] and not s.lvt[LINT0] & LVT_MASKED and (s.lvt[LINT0] >> 8 & 7) == EXTINT)


cdef inline void update_intr(ApicState* s) noexcept nogil:
    cdef uint32_t level = deliverable(s) >= 0 or extint_asserted(s)
    cdef Signals* wires = s.wires
    if level != wires.intr:
        wires.intr = level
        if level and wires.kick != NULL:
            wires.kick(wires.cpu)


cdef inline void kick(ApicState* s) noexcept nogil:
    if s.wires.kick != NULL:
        s.wires.kick(s.wires.cpu)


cdef inline void update_page(ApicState* s) noexcept nogil:
    s.wires.apic_base = s.base & s.base_mask if enabled(s) and not x2apic_mode(s) else <uint64_t>0xFFFFFFFFFFFFFFFFULL
    update_intr(s)
    kick(s)


# Timer

cdef inline int timer_shift(const ApicState* s) noexcept nogil:
    """Figure 11-10: the divisor as a power of two; 111b divides by 1."""
    return ((s.divide & 3 | (s.divide & 8) >> 1) + 1) & 7


cdef inline int timer_mode(const ApicState* s) noexcept nogil:
    return s.lvt[TIMER] >> 17 & 3


# The rest, in lapic_registers.pyx
cdef uint32_t lvt_writable(int index) noexcept nogil
cdef void raise_error(ApicState* s, uint32_t bits) noexcept nogil
cdef void accept_vector(ApicState* s, int vector, bint level_triggered) noexcept nogil
cdef void reset_registers(ApicState* s) noexcept nogil
cdef uint32_t current_count(const ApicState* s, int64_t now) noexcept nogil
cdef uint32_t read_register(const ApicState* s, uint32_t offset) noexcept nogil
cdef bint exists(const ApicState* s, uint32_t offset) noexcept nogil
cdef void write_svr(ApicState* s, uint32_t value) noexcept nogil
cdef uint32_t x2apic_writable(const ApicState* s, uint32_t offset) noexcept nogil
cdef bint x2apic_readable(const ApicState* s, uint32_t offset) noexcept nogil
cdef bint x2apic_writes(const ApicState* s, uint32_t offset) noexcept nogil
