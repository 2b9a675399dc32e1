# cython: language_level=3
"""APIC virtualization and virtual interrupts (Intel SDM volume 3C, chapter 30).

The virtual-APIC page is guest memory and the only home of the virtual registers; RVI and SVI are the guest interrupt
status in the VMCS.  A write to the APIC-access page is emulated once its instruction has ended (30.4.3): the instruction
is made to run by itself for that, so that an exit that it causes comes right behind it.
"""
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.physical cimport physical_load, physical_store
from x86emu.core.vmx cimport *
from x86emu.core.vmx_exit cimport vmx_request

cdef enum:
    READ = 0
    WRITE = 1
    EXECUTE = 2
    # offsets in the virtual-APIC page (table 30-1 and 11-6)
    V_ID = 0x020
    V_VERSION = 0x030
    V_TPR = 0x080
    V_PPR = 0x0A0
    V_EOI = 0x0B0
    V_LDR = 0x0D0
    V_DFR = 0x0E0
    V_SVR = 0x0F0
    V_ISR = 0x100
    V_IRR = 0x200
    V_ESR = 0x280
    V_ICR_LOW = 0x300
    V_ICR_HIGH = 0x310
    V_LVT_FIRST = 0x320
    V_INITIAL_COUNT = 0x380
    V_DIVIDE = 0x3E0
    V_SELF_IPI = 0x3F0
    LAPIC_EOI = 0x0B0
    LAPIC_ICR_LOW = 0x300
    LAPIC_ICR_HIGH = 0x310
    # bits of ICR_LOW (figure 11-12): what a self-IPI and a virtualized IPI must not have
    ICR_RESERVED = 0xFFF33000
    ICR_SHORTHAND = 0xC0000
    ICR_SELF = 0x40000
    ICR_NOT_FIXED_EDGE = 0x8700
    ICR_LOGICAL = 0x800
    # posted-interrupt descriptor (table 30-2)
    DESCRIPTOR_CONTROL = 32          # byte offset: bit 0 outstanding notification, 1 suppress, 23:16 vector, 63:32 target
    TYPE_GUEST_PHYSICAL = 15

# ---------------------------------------------------------------- registers of the page

cdef inline uint32_t load(Cpu* c, uint32_t offset) noexcept nogil:
    return <uint32_t>physical_load(c, c.vmx.virtual_apic + offset, 4)

cdef inline void store(Cpu* c, uint32_t offset, uint32_t value) noexcept nogil:
    physical_store(c, c.vmx.virtual_apic + offset, 4, value)

cdef inline bint delivers(Cpu* c) noexcept nogil:
    return secondary(c, SEC_VIRTUAL_INTERRUPT_DELIVERY)

cdef inline uint32_t rvi(Cpu* c) noexcept nogil:
    return <uint32_t>vget(c, F_GUEST_INTERRUPT_STATUS) & 0xFF

cdef inline uint32_t svi(Cpu* c) noexcept nogil:
    return <uint32_t>vget(c, F_GUEST_INTERRUPT_STATUS) >> 8 & 0xFF

cdef inline void set_rvi(Cpu* c, uint32_t vector) noexcept nogil:
    vput(c, F_GUEST_INTERRUPT_STATUS, (vget(c, F_GUEST_INTERRUPT_STATUS) & 0xFF00) | vector)

cdef inline void set_svi(Cpu* c, uint32_t vector) noexcept nogil:
    vput(c, F_GUEST_INTERRUPT_STATUS, (vget(c, F_GUEST_INTERRUPT_STATUS) & 0xFF) | vector << 8)

cdef void set_vector(Cpu* c, uint32_t registers, uint32_t vector, bint value) noexcept nogil:
    """One bit of VISR or VIRR: eight 32-bit registers, 16 bytes apart."""
    cdef uint32_t offset = registers + (vector >> 5 << 4)
    cdef uint32_t word = load(c, offset)
    cdef uint32_t bit = <uint32_t>1 << (vector & 31)
    store(c, offset, word | bit if value else word & ~bit)

cdef uint32_t highest(Cpu* c, uint32_t registers) noexcept nogil:
    """Highest vector whose bit is set; 0 where none is."""
    cdef int k, bit
    cdef uint32_t word
    for k in range(7, -1, -1):
        word = load(c, registers + 16 * k)
        if word:
            for bit in range(31, -1, -1):
                if word >> bit & 1:
                    return 32 * k + bit
    return 0

# ---------------------------------------------------------------- 30.1 and 30.2

cdef void virtualize_ppr(Cpu* c) noexcept nogil:
    """30.1.3."""
    cdef uint32_t tpr = load(c, V_TPR) & 0xFF, in_service = svi(c)
    store(c, V_PPR, tpr if tpr >> 4 >= in_service >> 4 else in_service & 0xF0)

cdef void evaluate(Cpu* c) noexcept nogil:
    """30.2.1: whether a pending virtual interrupt is recognized."""
    c.vmx.virtual_ready = (not c.vmx.primary >> PRI_INTERRUPT_WINDOW_EXITING & 1
                           and rvi(c) >> 4 > (load(c, V_PPR) & 0xFF) >> 4)
    vmx_watch(c)

cdef void exit_after(Cpu* c, uint32_t reason, uint64_t qualification) noexcept nogil:
    """A trap-like exit, taken before anything else at the next boundary."""
    c.vmx.after_reason = reason + 1
    c.vmx.after_qualification = qualification
    vmx_watch(c)

cdef void virtualize_tpr(Cpu* c) noexcept nogil:
    """30.1.2: the threshold is compared once the instruction has ended."""
    if delivers(c):
        virtualize_ppr(c)
        evaluate(c)
    else:
        c.vmx.tpr_pending = 1
        vmx_watch(c)

cdef void virtualize_eoi(Cpu* c) noexcept nogil:
    """30.1.4."""
    cdef uint32_t vector = svi(c)
    set_vector(c, V_ISR, vector, False)
    set_svi(c, highest(c, V_ISR))
    virtualize_ppr(c)
    if vget(c, F_EOI_EXIT_BITMAP_0 + 8 * (vector >> 6)) >> (vector & 63) & 1:
        exit_after(c, REASON_VIRTUALIZED_EOI, vector)
    else:
        evaluate(c)

cdef void virtualize_self_ipi(Cpu* c, uint32_t vector) noexcept nogil:
    """30.1.5."""
    set_vector(c, V_IRR, vector, True)
    if vector > rvi(c):
        set_rvi(c, vector)
    evaluate(c)

cdef bint virtualize_ipi(Cpu* c, uint32_t vector, uint32_t target) noexcept nogil:
    """30.1.6: posts the vector to the target's descriptor and notifies its processor. False: an APIC-write VM exit."""
    cdef uint64_t descriptor, control
    if vector < 16 or target > (vget(c, F_LAST_PID_POINTER_INDEX) & 0xFFFF):
        return False
    descriptor = physical_load(c, vget(c, F_PID_POINTER_TABLE) + 8 * <uint64_t>target, 8)
    if not descriptor & 1 or descriptor & (c.maxphyaddr_mask | 0x3E):
        return False
    descriptor &= ~<uint64_t>1
    physical_store(c, descriptor + (vector >> 3), 1, physical_load(c, descriptor + (vector >> 3), 1) | 1 << (vector & 7))
    control = physical_load(c, descriptor + DESCRIPTOR_CONTROL, 8)
    if control & 3 == 0:             # neither outstanding nor suppressed
        physical_store(c, descriptor + DESCRIPTOR_CONTROL, 1, control | 1)
        notify(c, <uint32_t>(control >> 16) & 0xFF, <uint32_t>(control >> 32))
    return True

cdef void notify(Cpu* c, uint32_t vector, uint32_t target) noexcept nogil:
    """The notification as an ordinary interrupt message, by this processor's own local APIC."""
    cdef uint64_t base = 0
    cdef Signals* s = c.signals
    if s.apic_rdmsr == NULL or not s.apic_rdmsr(s.controller, 0x1B, &base):
        return
    if base & 0x400:
        s.apic_wrmsr(s.controller, 0x830, <uint64_t>target << 32 | vector)
    else:
        s.apic_write(s.controller, LAPIC_ICR_HIGH, 4, <uint64_t>(target >> 8 & 0xFF) << 24)
        s.apic_write(s.controller, LAPIC_ICR_LOW, 4, vector)

cdef void vmx_enter_virtual_apic(Cpu* c) noexcept nogil:
    if delivers(c):
        virtualize_ppr(c)
        evaluate(c)

cdef int vmx_take_virtual_interrupt(Cpu* c) noexcept nogil:
    """30.2.2."""
    cdef uint32_t vector = rvi(c)
    set_vector(c, V_ISR, vector, True)
    set_svi(c, vector)
    store(c, V_PPR, vector & 0xF0)
    set_vector(c, V_IRR, vector, False)
    set_rvi(c, highest(c, V_IRR))
    c.vmx.virtual_ready = 0
    vmx_watch(c)
    return <int>vector

cdef bint vmx_posted_interrupt(Cpu* c, int vector) noexcept nogil:
    """30.6: the local APIC has been acknowledged."""
    cdef uint64_t descriptor = vget(c, F_POSTED_INTERRUPT_DESCRIPTOR)
    cdef uint32_t word, top = 0
    cdef int k, bit
    if <uint64_t>vector != (vget(c, F_POSTED_INTERRUPT_VECTOR) & 0xFF):
        return False
    physical_store(c, descriptor + DESCRIPTOR_CONTROL, 1, physical_load(c, descriptor + DESCRIPTOR_CONTROL, 1) & 0xFE)
    if c.signals.apic_write != NULL:
        c.signals.apic_write(c.signals.controller, LAPIC_EOI, 4, 0)
    for k in range(8):
        word = <uint32_t>physical_load(c, descriptor + 4 * k, 4)
        if word:
            physical_store(c, descriptor + 4 * k, 4, 0)
            store(c, V_IRR + 16 * k, load(c, V_IRR + 16 * k) | word)
            for bit in range(32):
                if word >> bit & 1:
                    top = 32 * k + bit
    if top > rvi(c):
        set_rvi(c, top)
    evaluate(c)
    return True

# ---------------------------------------------------------------- the APIC-access page (30.4)

cdef bint read_virtualized(Cpu* c, uint32_t offset) noexcept nogil:
    """30.4.2: whether a read of the register at this offset comes from the virtual-APIC page."""
    if offset == V_TPR:
        return True
    if secondary(c, SEC_APIC_REGISTER_VIRTUALIZATION):
        return (offset == V_ID or offset == V_VERSION or offset == V_EOI or offset == V_LDR or offset == V_DFR
                or offset == V_SVR or V_ISR <= offset <= V_ESR or V_ICR_LOW <= offset <= V_INITIAL_COUNT
                or offset == V_DIVIDE)
    return (offset == V_EOI or offset == V_ICR_LOW) and delivers(c)

cdef bint write_virtualized(Cpu* c, uint32_t offset) noexcept nogil:
    """30.4.3.1."""
    if offset == V_TPR:
        return True
    if secondary(c, SEC_APIC_REGISTER_VIRTUALIZATION):
        return (offset == V_ID or offset == V_EOI or offset == V_LDR or offset == V_DFR or offset == V_SVR
                or offset == V_ESR or V_ICR_LOW <= offset <= V_INITIAL_COUNT or offset == V_DIVIDE)
    if c.vmx.tertiary >> TER_IPI_VIRTUALIZATION & 1 and (offset == V_ICR_LOW or offset == V_ICR_HIGH):
        return True
    return (offset == V_EOI or offset == V_ICR_LOW) and delivers(c)

cdef bint vmx_apic_access(Cpu* c, Insn* i, uint64_t linear, int access, uint64_t* physical) noexcept nogil:
    cdef uint32_t offset = <uint32_t>(linear & 0xFFF), register = offset & 0xFF0
    if (i != NULL and c.vmx.primary >> PRI_USE_TPR_SHADOW & 1 and access != EXECUTE
            and (offset & 15) + c.vmx.access_size <= 4):
        if access == READ and read_virtualized(c, register):
            physical[0] = c.vmx.virtual_apic + offset
            return True
        if access == WRITE and write_virtualized(c, register):
            if not trace_of(i).mode & MODE_SINGLE:
                unwind(c, i)
                c.vmx.alone = 1
                c.exit = EXIT_NONE
                return False
            c.vmx.apic_write = 0x1000 | offset
            vmx_watch(c)
            physical[0] = c.vmx.virtual_apic + offset
            return True
    vmx_request(c, i, REASON_APIC_ACCESS, offset | <uint64_t>access << 12, 0)
    c.vmx.exit_linear = linear
    return False

cdef bint vmx_apic_physical_access(Cpu* c, Insn* i) noexcept nogil:
    vmx_request(c, i, REASON_APIC_ACCESS, TYPE_GUEST_PHYSICAL << 12, 0)
    return False

cdef void write_icr(Cpu* c, uint64_t icr, uint32_t offset) noexcept nogil:
    """A write to the interrupt command register, with the target in bits 63:32."""
    cdef uint32_t low = <uint32_t>icr
    if not low & (<uint32_t>ICR_RESERVED | ICR_NOT_FIXED_EDGE) and (low & 0xFF) >= 16:
        if low & ICR_SHORTHAND == ICR_SELF and delivers(c):
            virtualize_self_ipi(c, low & 0xFF)
            return
        if (not low & (ICR_SHORTHAND | ICR_LOGICAL) and c.vmx.tertiary >> TER_IPI_VIRTUALIZATION & 1
                and virtualize_ipi(c, low & 0xFF, <uint32_t>(icr >> 32))):
            return
    exit_after(c, REASON_APIC_WRITE, offset)

cdef void vmx_emulate_apic_write(Cpu* c) noexcept nogil:
    """30.4.3.2: by the offset of the write."""
    cdef uint32_t offset = c.vmx.apic_write & 0xFFF, register = offset & 0xFF0
    c.vmx.apic_write = 0
    if register == V_TPR:
        store(c, V_TPR, load(c, V_TPR) & 0xFF)
        virtualize_tpr(c)
    elif register == V_EOI and delivers(c):
        store(c, V_EOI, 0)
        virtualize_eoi(c)
    elif register == V_ICR_LOW and (delivers(c) or c.vmx.tertiary >> TER_IPI_VIRTUALIZATION & 1):
        write_icr(c, load(c, V_ICR_LOW) | <uint64_t>(load(c, V_ICR_HIGH) >> 24) << 32, offset)
    elif register == V_ICR_HIGH:
        store(c, V_ICR_HIGH, load(c, V_ICR_HIGH) & 0xFF000000u)
    else:
        exit_after(c, REASON_APIC_WRITE, offset)
    vmx_watch(c)

# ---------------------------------------------------------------- MOV CR8 and MSRs (30.3, 30.5)

cdef uint64_t vmx_virtual_tpr(Cpu* c) noexcept nogil:
    return physical_load(c, c.vmx.virtual_apic + V_TPR, 1)

cdef void vmx_write_virtual_tpr(Cpu* c, uint64_t value) noexcept nogil:
    store(c, V_TPR, <uint32_t>value & 0xFF)
    virtualize_tpr(c)

cdef int vmx_read_x2apic(Cpu* c, uint32_t number, uint64_t* value) noexcept nogil:
    cdef uint32_t offset = (number & 0xFF) << 4
    if not secondary(c, SEC_VIRTUALIZE_X2APIC_MODE):
        return -1
    if offset != V_TPR and not secondary(c, SEC_APIC_REGISTER_VIRTUALIZATION):
        return -1
    value[0] = physical_load(c, c.vmx.virtual_apic + offset, 8)
    return 1

cdef int vmx_write_x2apic(Cpu* c, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint32_t offset = (number & 0xFF) << 4
    if not secondary(c, SEC_VIRTUALIZE_X2APIC_MODE):
        return -1
    if offset == V_TPR:
        if value >> 8:
            return 0
        physical_store(c, c.vmx.virtual_apic + offset, 8, value)
        virtualize_tpr(c)
        return 1
    if offset == V_EOI and delivers(c):
        if value:
            return 0
        physical_store(c, c.vmx.virtual_apic + offset, 8, 0)
        virtualize_eoi(c)
        return 1
    if offset == V_SELF_IPI and delivers(c):
        if value >> 8:
            return 0
        physical_store(c, c.vmx.virtual_apic + offset, 8, value)
        if value >= 16:
            virtualize_self_ipi(c, <uint32_t>value)
        else:
            exit_after(c, REASON_APIC_WRITE, offset)
        return 1
    if offset == V_ICR_LOW and c.vmx.tertiary >> TER_IPI_VIRTUALIZATION & 1:
        if value & (<uint32_t>ICR_RESERVED & ~<uint32_t>0x1000):
            return 0
        physical_store(c, c.vmx.virtual_apic + offset, 8, value)
        if value & (ICR_SHORTHAND | ICR_LOGICAL | ICR_NOT_FIXED_EDGE) or not virtualize_ipi(
                c, <uint32_t>value & 0xFF, <uint32_t>(value >> 32)):
            exit_after(c, REASON_APIC_WRITE, offset)
        return 1
    return -1
