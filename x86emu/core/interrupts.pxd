# cython: language_level=3
# Delivery of interrupts and exceptions (SDM 3A chapter 6; 6.14 for 64-bit mode; 3B 21.1.4 for real mode, 21.3 for V86).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

# Delivers an event between two instructions; rip (c.r[REG_RIP]) is what the handler returns to.  kind is an EventKind.
# cr2_or_dr6: the address of a #PF; DR6 bits of a #DB.  Faults met on the way are delivered in turn, up to shutdown.
# c.exit is EXIT_NONE afterwards.  False: the processor shut down; first_fault, second_fault and fault say of what.
cdef bint deliver_event(Cpu* c, int vector, int kind, bint has_error, uint32_t error,
                        uint64_t cr2_or_dr6) noexcept nogil
# The same for c.fault; what the run loop calls on EXIT_FAULT.
cdef bint deliver_fault(Cpu* c) noexcept nogil

# One attempt at entering the handler of a vector, for an instruction (i) or between instructions (i NULL).
# return_rip and flags are what is pushed; flags has RF as it is to be seen.  False: a fault was raised.
cdef bint enter_handler(Cpu* c, Insn* i, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                        uint64_t flags) noexcept nogil
# INT n in virtual-8086 mode by the interrupt vector table at linear address 0 (redirection bit clear).
cdef bint enter_v86_handler(Cpu* c, Insn* i, int vector, uint64_t return_rip) noexcept nogil

# ----- debug exceptions (SDM 3B chapter 18) -----
cdef enum:
    DEBUGCTL_LBR = 1
    DEBUGCTL_BTF = 2
    DR6_B = 0xF
    DR6_BD = 0x2000
    DR6_BS = 0x4000
    DR6_BT = 0x8000
    DR7_GD = 0x2000

cdef inline void record_branch(Cpu* c, uint64_t source) noexcept nogil:
    """With DEBUGCTL.LBR: a taken branch from source to the RIP now in force (APM 2, 13.1.1.6)."""
    c.lbr_from = source
    c.lbr_to = c.r[REG_RIP]

cdef inline void record_interrupt(Cpu* c, uint64_t source) noexcept nogil:
    """The same for an interrupt or exception: the branch before it is kept apart."""
    c.last_int_from = c.lbr_from
    c.last_int_to = c.lbr_to
    record_branch(c, source)

cdef inline uint64_t instruction_breakpoints(Cpu* c, uint64_t linear) noexcept nogil:
    """DR6 bits of the enabled instruction breakpoints at a linear address (RW = 00, LEN = 00)."""
    cdef uint64_t bits = 0
    cdef int n
    if not c.dr[7] & 0xFF:
        return 0
    for n in range(4):
        if (c.dr[7] >> (2 * n)) & 3 and not (c.dr[7] >> (16 + 4 * n)) & 0xF and c.dr[n] == linear:
            bits |= 1ULL << n
    return bits

cdef inline uint64_t _breakpoint_length(uint64_t code) noexcept nogil:
    return 8 if code == 2 else code + 1

cdef inline uint64_t data_breakpoints(Cpu* c, uint64_t linear, uint32_t size, bint write) noexcept nogil:
    """DR6 bits of the enabled data breakpoints that an access touches (RW = 01: writes, 11: reads and writes)."""
    cdef uint64_t bits = 0
    cdef uint64_t kind, length, start
    cdef int n
    if not c.dr[7] & 0xFF:
        return 0
    for n in range(4):
        kind = (c.dr[7] >> (16 + 4 * n)) & 3
        if (c.dr[7] >> (2 * n)) & 3 and (kind == 3 or (kind == 1 and write)):
            length = _breakpoint_length((c.dr[7] >> (18 + 4 * n)) & 3)
            start = c.dr[n] & ~(length - 1)
            if linear < start + length and start < linear + size:
                bits |= 1ULL << n
    return bits

cdef inline uint64_t port_breakpoints(Cpu* c, uint32_t port, uint32_t size) noexcept nogil:
    """DR6 bits of the enabled I/O breakpoints that an access touches (RW = 10, CR4.DE)."""
    cdef uint64_t bits = 0
    cdef uint64_t length, start
    cdef int n
    if not c.dr[7] & 0xFF or not c.cr4 & CR4_DE:
        return 0
    for n in range(4):
        if (c.dr[7] >> (2 * n)) & 3 and (c.dr[7] >> (16 + 4 * n)) & 3 == 2:
            length = _breakpoint_length((c.dr[7] >> (18 + 4 * n)) & 3)
            start = c.dr[n] & ~(length - 1)
            if port < start + length and start < port + size:
                bits |= 1ULL << n
    return bits

cdef inline void raise_debug(Cpu* c, uint64_t dr6, bint trap) noexcept nogil:
    """Fills c.fault with a #DB between instructions; deliver_fault() then sets DR6."""
    fault(c, NULL, V_DB)
    c.fault.address = dr6
    c.fault.trap = trap

cdef inline bint check_debug_trap(Cpu* c) noexcept nogil:
    """Between instructions: turns pending_debug (data breakpoints, single step, task trap) into a #DB trap, unless an
    instruction that loaded SS holds it off (SDM 3A 6.8.3). True: c.fault is to be delivered."""
    if not c.pending_debug or c.interrupt_shadow == 2:
        return False
    raise_debug(c, c.pending_debug, 1)
    c.pending_debug = 0
    return True
