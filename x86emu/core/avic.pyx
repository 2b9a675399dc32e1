# cython: language_level=3
"""The advanced virtual interrupt controller (AMD APM volume 2, 15.29).

A guest reads and writes the registers of its local APIC in the backing page; what needs the hypervisor leaves the guest,
by table 15-22 either before the instruction (like a fault) or behind it (like a trap).  IPIs go by the physical and
logical APIC id tables.  Departures: a trap behind an instruction that does more than store (XCHG, STOS) loses the rest of
that instruction; host APIC ids are processor numbers, as everywhere in this package.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.second_level cimport request_exit

cdef enum:
    AVIC_INCOMPLETE_IPI = 0x401
    AVIC_NOACCEL = 0x402
    # registers, by offset
    ID = 0x20
    VERSION = 0x30
    TPR = 0x80
    APR = 0x90
    PPR = 0xA0
    EOI = 0xB0
    REMOTE_READ = 0xC0
    LDR = 0xD0
    DFR = 0xE0
    SVR = 0xF0
    ISR = 0x100
    TMR = 0x180
    IRR = 0x200
    ESR = 0x280
    ICR_LOW = 0x300
    ICR_HIGH = 0x310
    LVT_TIMER = 0x320
    LVT_ERROR = 0x370
    INITIAL_COUNT = 0x380
    CURRENT_COUNT = 0x390
    DIVIDE = 0x3E0
    SELF_IPI = 0x3F0
    EXTENDED_FEATURE = 0x400
    EXTENDED_LVT = 0x500
    # what an access does (table 15-22)
    ALLOWED = 0
    ACCELERATED = 1
    FAULT = 2
    TRAP = 3
    # why an IPI is incomplete
    INVALID_TYPE = 0
    NOT_RUNNING = 1
    INVALID_TARGET = 2
    INVALID_BACKING_PAGE = 3
    INVALID_VECTOR = 4
    STORE = 0x1000               # of Svm.avic_store
    LOAD = 0x2000

cdef uint64_t WRITE_BIT = 0x100000000ULL
cdef uint64_t PAGE_MASK = 0x000FFFFFFFFFF000ULL
cdef uint64_t ENTRY_VALID = 0x8000000000000000ULL
cdef uint64_t ENTRY_RUNNING = 0x4000000000000000ULL

cdef int read_class(uint32_t r) noexcept nogil:
    if r == APR or r == CURRENT_COUNT or r >= EXTENDED_FEATURE and not EXTENDED_LVT <= r <= EXTENDED_LVT + 0x30:
        return FAULT
    if ID <= r <= VERSION or TPR <= r <= ESR or ICR_LOW <= r <= INITIAL_COUNT or r == DIVIDE or r >= EXTENDED_LVT:
        return ALLOWED
    return FAULT

cdef int write_class(uint32_t r) noexcept nogil:
    if r == TPR or r == EOI or r == ICR_LOW:
        return ACCELERATED
    if r == ICR_HIGH:
        return ALLOWED
    if (r == ID or REMOTE_READ <= r <= SVR or r == ESR or LVT_TIMER <= r <= INITIAL_COUNT or r == DIVIDE
            or EXTENDED_LVT <= r <= EXTENDED_LVT + 0x30):
        return TRAP
    return FAULT

cdef inline uint32_t register_of(Cpu* c, uint32_t offset) noexcept nogil:
    return <uint32_t>physical_load(c, c.svm.avic_backing + offset, 4)

cdef inline void set_register(Cpu* c, uint32_t offset, uint32_t value) noexcept nogil:
    physical_store(c, c.svm.avic_backing + offset, 4, value)

cdef int highest(Cpu* c, uint32_t offset) noexcept nogil:
    """The highest vector set in IRR, ISR or TMR; -1 for none."""
    cdef int word, bit
    cdef uint32_t bits
    for word in range(7, -1, -1):
        bits = register_of(c, offset + 16 * word)
        if bits:
            for bit in range(31, -1, -1):
                if bits >> bit & 1:
                    return 32 * word + bit
    return -1

cdef inline void change_vector(Cpu* c, uint64_t backing, uint32_t offset, int vector, bint on) noexcept nogil:
    cdef uint64_t address = backing + offset + 16 * (vector >> 5)
    cdef uint32_t bits = <uint32_t>physical_load(c, address, 4), bit = <uint32_t>1 << (vector & 31)
    physical_store(c, address, 4, bits | bit if on else bits & ~bit)

cdef int processor_priority(Cpu* c) noexcept nogil:
    cdef int tpr = <int>(register_of(c, TPR) & 0xFF), served = highest(c, ISR)
    if served < 0 or (tpr >> 4) >= (served >> 4):
        return tpr
    return served & 0xF0

cdef int avic_candidate(Cpu* c) noexcept nogil:
    cdef int vector = highest(c, IRR)
    return vector if vector >= 16 and (vector >> 4) > (processor_priority(c) >> 4) else -1

cdef void avic_take(Cpu* c, int vector) noexcept nogil:
    change_vector(c, c.svm.avic_backing, IRR, vector, False)
    change_vector(c, c.svm.avic_backing, ISR, vector, True)
    set_register(c, PPR, processor_priority(c))
    avic_look(c)

cdef void avic_look(Cpu* c) noexcept nogil:
    c.virt.virtual_interrupt = avic_candidate(c) >= 0

cdef void avic_write_tpr(Cpu* c, uint64_t value) noexcept nogil:
    set_register(c, TPR, <uint32_t>value & 0xFF)
    c.virt.virtual_tpr = <uint32_t>(value >> 4) & 0xF
    set_register(c, PPR, processor_priority(c))
    avic_look(c)

cdef void behind(Cpu* c, Insn* i, uint64_t code, uint64_t info1, uint64_t info2) noexcept nogil:
    """Leaves the guest with the instruction done."""
    finish(c, i)
    request_exit(c, NULL, code, info1, info2)
    c.fault.trap = 1
    c.virt.exit_next_rip = c.r[REG_RIP]

# ---------------------------------------------------------------- IPIs (15.29.6)

cdef void doorbell(Cpu* c, uint32_t processor) noexcept nogil:
    cdef Cpu* other
    if processor >= <uint32_t>c.shared.n_cpus:
        return
    other = c.shared.cpus[processor]
    if other.virt.guest_mode == GUEST_SVM and other.svm.avic_enabled:
        other.virt.virtual_interrupt = 1         # it looks at its backing page when its turn comes
        if other != c and other.signals.kick != NULL:
            other.signals.kick(other.signals.cpu)

cdef bint incomplete(Cpu* c, Insn* i, uint64_t icr, uint64_t why, uint64_t index) noexcept nogil:
    behind(c, i, AVIC_INCOMPLETE_IPI, icr, why << 32 | index)
    return False

cdef uint64_t target_entry(Cpu* c, uint32_t id) noexcept nogil:
    """Row of the physical APIC id table; 0 beyond its end."""
    return physical_load(c, c.svm.avic_physical + 8 * <uint64_t>id, 8) if id <= c.svm.avic_max_index else 0

cdef int logical_target(Cpu* c, uint32_t index) noexcept nogil:
    cdef uint32_t entry = <uint32_t>physical_load(c, c.svm.avic_logical + 4 * index, 4)
    return <int>(entry & 0xFF) if entry >> 31 else -1

cdef bint send_ipi(Cpu* c, Insn* i, uint64_t icr) noexcept nogil:
    """False: the guest is left behind the instruction; the hypervisor sends the rest."""
    cdef uint32_t low = <uint32_t>icr, vector = low & 0xFF, shorthand = low >> 18 & 3, destination = <uint32_t>(icr >> 32)
    cdef uint32_t targets[512]
    cdef int n = 0, k, own = -1, waits = -1, id
    cdef uint64_t entry
    if low & 0x700 or low & 0x8000:              # fixed, edge-triggered IPIs only
        return incomplete(c, i, icr, INVALID_TYPE, 0)
    if vector < 16:
        return incomplete(c, i, icr, INVALID_VECTOR, 0)
    if shorthand == 1:
        change_vector(c, c.svm.avic_backing, IRR, <int>vector, True)
        change_vector(c, c.svm.avic_backing, TMR, <int>vector, False)
        avic_look(c)
        return True
    if not c.svm.x2avic:
        destination >>= 24
    if shorthand or (destination == (0xFFFFFFFFu if c.svm.x2avic else 0xFF)):
        own = <int>(register_of(c, ID) if c.svm.x2avic else register_of(c, ID) >> 24)
        for k in range(<int>c.svm.avic_max_index + 1):
            if target_entry(c, k) & ENTRY_VALID and not (shorthand == 3 and k == own):
                targets[n] = k
                n += 1
    elif not low & 0x800:
        targets[0] = destination
        n = 1
    elif c.svm.x2avic:                           # logical x2APIC ids: cluster and bit give the physical one
        for k in range(16):
            if destination >> k & 1:
                targets[n] = (destination >> 16) * 16 + k
                n += 1
    elif register_of(c, DFR) >> 28 == 0xF:       # flat model
        for k in range(8):
            if destination >> k & 1:
                id = logical_target(c, k)
                if id < 0:
                    return incomplete(c, i, icr, INVALID_TARGET, k)
                targets[n] = id
                n += 1
    else:
        for k in range(4):
            if destination >> k & 1:
                id = logical_target(c, 4 * (destination >> 4) + k)
                if id < 0:
                    return incomplete(c, i, icr, INVALID_TARGET, 4 * (destination >> 4) + k)
                targets[n] = id
                n += 1
    for k in range(n):
        entry = target_entry(c, targets[k])
        if not entry & ENTRY_VALID:
            return incomplete(c, i, icr, INVALID_TARGET, targets[k])
        if entry & c.maxphyaddr_mask & PAGE_MASK:
            return incomplete(c, i, icr, INVALID_BACKING_PAGE, targets[k])
    for k in range(n):
        entry = target_entry(c, targets[k])
        change_vector(c, entry & PAGE_MASK, IRR, <int>vector, True)
        change_vector(c, entry & PAGE_MASK, TMR, <int>vector, False)
        if entry & ENTRY_RUNNING:
            doorbell(c, <uint32_t>(entry & (0xFFF if c.svm.x2avic else 0xFF)))
        else:
            waits = <int>targets[k]
    avic_look(c)
    return True if waits < 0 else incomplete(c, i, icr, NOT_RUNNING, waits)

# ---------------------------------------------------------------- accesses

cdef bint end_of_interrupt(Cpu* c, Insn* i) noexcept nogil:
    cdef int vector = highest(c, ISR)
    if vector < 0:
        return True
    if register_of(c, TMR + 16 * (vector >> 5)) >> (vector & 31) & 1:    # level-triggered: the I/O APIC is to know
        behind(c, i, AVIC_NOACCEL, EOI | WRITE_BIT, vector)
        return False
    change_vector(c, c.svm.avic_backing, ISR, vector, False)
    set_register(c, PPR, processor_priority(c))
    avic_look(c)
    return True

cdef bint accelerate(Cpu* c, Insn* i, uint32_t r, uint64_t value) noexcept nogil:
    if r == TPR:
        avic_write_tpr(c, value)
        return True
    if r == EOI:
        return end_of_interrupt(c, i)
    set_register(c, ICR_LOW, <uint32_t>value & ~<uint32_t>0x1000)
    return send_ipi(c, i, <uint32_t>value | <uint64_t>register_of(c, ICR_HIGH) << 32)

cdef bint avic_access(Cpu* c, Insn* i, uint64_t guest_physical, int access, uint64_t* physical) noexcept nogil:
    cdef uint32_t r = <uint32_t>guest_physical & 0xFF0
    if (read_class(r) if access == 0 else write_class(r)) == FAULT:
        request_exit(c, i, AVIC_NOACCEL, r | (WRITE_BIT if access == 1 else 0), 0)
        return False
    physical[0] = c.svm.avic_backing | (guest_physical & 0xFFF)
    c.svm.avic_store = LOAD if access == 0 else STORE | (<uint32_t>guest_physical & 0xFFF)
    return True

cdef bint avic_store(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    cdef uint32_t r = c.svm.avic_store & 0xFF0
    cdef int what = write_class(r)
    c.svm.avic_store = 0
    if what == ACCELERATED and physical & 0xF == 0:
        return accelerate(c, i, r, value)
    physical_store(c, physical, size, value)
    if what == TRAP:
        behind(c, i, AVIC_NOACCEL, r | WRITE_BIT, 0)
        return False
    return True

# ---------------------------------------------------------------- x2APIC MSRs, doorbell

cdef bint avic_reads_msr(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    cdef uint32_t r = (number & 0xFF) << 4
    if r == EOI or r == SELF_IPI or r == ICR_HIGH or r == DFR or r == REMOTE_READ:
        return False                             # write-only, or not in x2APIC mode
    if read_class(r) == FAULT:
        request_exit(c, i, AVIC_NOACCEL, r, 0)
        return False
    value[0] = register_of(c, r)
    if r == ICR_LOW:
        value[0] |= <uint64_t>register_of(c, ICR_HIGH) << 32
    return True

cdef bint avic_writes_msr(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint32_t r = (number & 0xFF) << 4
    cdef int what = write_class(r)
    if r == SELF_IPI:
        return False if value >> 8 else send_ipi(c, i, 0x40000 | value)
    if r == ID or r == LDR or r == DFR or r == REMOTE_READ or r == ICR_HIGH or (value >> 32 and r != ICR_LOW):
        return False
    if r == TPR and value >> 8 or r == EOI and value:
        return False
    if what == FAULT:
        request_exit(c, i, AVIC_NOACCEL, r | WRITE_BIT, 0)
        return False
    if r == ICR_LOW:
        set_register(c, ICR_HIGH, <uint32_t>(value >> 32))
    if what == ACCELERATED:
        return accelerate(c, i, r, <uint32_t>value)
    set_register(c, r, <uint32_t>value)
    behind(c, i, AVIC_NOACCEL, r | WRITE_BIT, 0)
    return False

cdef bint read_doorbell(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    return False                                 # write-only

cdef bint write_doorbell(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if value >> 32:
        return False
    doorbell(c, <uint32_t>value)
    return True
