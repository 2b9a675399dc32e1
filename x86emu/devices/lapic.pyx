# cython: language_level=3
# Intel SDM vol. 3, chapter 11, "Advanced Programmable Interrupt Controller (APIC)": xAPIC (11.4 to 11.11) and x2APIC
# (11.12), with the IA32_APIC_BASE and IA32_TSC_DEADLINE registers.
# Departures: the ID register is read-only where there is an x2APIC (which processors let software change it is
# model-specific, section 11.4.6: the early ones do); the bus is instantaneous (delivery status is always idle); lowest-priority
# arbitration takes the lowest PPR and then the lowest ID, for the same run every time; focus checking and the
# suppression of EOI broadcasts are absent (version register bit 24 clear).  The timer's input clock is 1 GHz: one
# nanosecond of virtual time per tick before the divider, the same as the time-stamp counter.
"""Local APICs and the bus of messages between them and the I/O APICs."""
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cimport cython

from x86emu.bus.clock cimport Clock, Event
from x86emu.bus.platform cimport CpuSignals, Signals
from x86emu.devices.lapic_registers cimport *

from x86emu.errors import BusError, UserInputError

cdef int64_t FAR = <int64_t>1 << 62


# The APIC page

cdef uint64_t apic_read(void* controller, uint32_t offset, int size) noexcept nogil:
    cdef ApicState* s = <ApicState*>controller
    cdef uint32_t register = offset & 0xFF0
    cdef uint32_t value
    cdef int64_t now
    if register == CURRENT_COUNT:
        with gil:
            now = (<LocalApic>s.owner).clock.now()
        value = current_count(s, now)
    elif exists(s, register):
        value = read_register(s, register)
    else:
        raise_error(s, ESR_ILLEGAL_REGISTER)
        return 0
    return <uint64_t>value >> ((offset & 15) * 8) if (offset & 15) < 4 else 0


cdef void apic_write(void* controller, uint32_t offset, int size, uint64_t value) noexcept nogil:
    cdef ApicState* s = <ApicState*>controller
    if offset & 15 or size < 4:             # section 11.4.1: anything but aligned dwords is undefined; dropped
        return
    if not exists(s, offset) or offset == SELF_IPI:
        raise_error(s, ESR_ILLEGAL_REGISTER)
        return
    write_register(s, offset, <uint32_t>value)


cdef void write_register(ApicState* s, uint32_t offset, uint32_t value) noexcept nogil:
    if offset == ID:
        if not s.has_x2apic:
            s.id = value >> 24
    elif offset == TPR:
        s.tpr = value & 0xFF
        update_intr(s)
    elif offset == EOI:
        end_of_interrupt(s)
    elif offset == LDR:
        s.ldr = value & <uint32_t>0xFF000000U
    elif offset == DFR:
        s.dfr = value | 0x0FFFFFFF
    elif offset == SVR:
        write_svr(s, value)
    elif offset == ESR:
        s.esr = s.esr_pending
        s.esr_pending = 0
    elif offset == ICR_HIGH:
        s.icr = s.icr & 0xFFFFFFFFULL | <uint64_t>(value & <uint32_t>0xFF000000U) << 32
    elif offset == ICR_LOW:
        s.icr = s.icr & <uint64_t>0xFFFFFFFF00000000ULL | value & 0xCCFFF
        with gil:
            (<LocalApic>s.owner).send(s.icr)
    elif offset == DIVIDE or offset == INITIAL_COUNT:
        with gil:
            write_timer(<LocalApic>s.owner, offset, value)
    elif offset == LVT_CMCI:
        write_lvt(s, CMCI, value)
    elif LVT_TIMER_OFFSET <= offset <= LVT_ERROR_OFFSET:
        write_lvt(s, (offset - LVT_TIMER_OFFSET) >> 4, value)


cdef void end_of_interrupt(ApicState* s) noexcept nogil:
    """Section 11.8.5."""
    cdef int vector = highest(s.isr)
    cdef int pin
    if vector < 0:
        return
    clear_bit(s.isr, vector)
    if test_bit(s.tmr, vector):
        for pin in range(2):
            if s.lvt[LINT0 + pin] & LVT_REMOTE_IRR and <int>(s.lvt[LINT0 + pin] & 0xFF) == vector:
                s.lvt[LINT0 + pin] &= ~<uint32_t>LVT_REMOTE_IRR
                sample_lint(s, pin, False)
        with gil:
            (<LocalApic>s.owner).bus.eoi(vector)
    update_intr(s)


cdef void write_lvt(ApicState* s, int index, uint32_t value) noexcept nogil:
    cdef uint32_t before, left = 0
    cdef int64_t now = 0
    if index == TIMER:
        with gil:
            (<LocalApic>s.owner).settle_timer()
            now = (<LocalApic>s.owner).clock.now()
        left = current_count(s, now)
    before = s.lvt[index]
    value = value & lvt_writable(index) | before & LVT_REMOTE_IRR
    if not value & LVT_LEVEL:
        value &= ~<uint32_t>LVT_REMOTE_IRR
    if not s.svr & SVR_ENABLE:
        value |= LVT_MASKED
    if index == TIMER and not s.has_tsc_deadline:
        value &= ~<uint32_t>0x40000
    s.lvt[index] = value
    if index == LINT0 or index == LINT1:
        sample_lint(s, index - LINT0, False)
    elif index == TIMER:
        # Section 11.5.4.1: a transition to or from TSC-deadline mode disarms the timer.
        if (before ^ value) & 0x40000:
            s.initial_count = 0
            s.tsc_deadline = 0
        elif (before ^ value) & 0x20000:        # between one-shot and periodic mode the count goes on from where it is
            s.timer_start = now - (<int64_t>(s.initial_count - left) << timer_shift(s)) if left else TIMER_STOPPED
        with gil:
            (<LocalApic>s.owner).arm_timer()
    update_intr(s)


cdef void sample_lint(ApicState* s, int pin, bint edge) noexcept nogil:
    """Acts on a LINT pin as its LVT entry says; `edge`: it has just risen."""
    cdef uint32_t entry = s.lvt[LINT0 + pin]
    cdef int mode = entry >> 8 & 7
    if entry & LVT_MASKED:
        return
    if mode == FIXED:
        if entry & LVT_LEVEL and pin == 0:      # LINT1 is edge-sensitive only (figure 11-8, trigger mode)
            if s.lint[0] and not entry & LVT_REMOTE_IRR:
                s.lvt[LINT0] |= LVT_REMOTE_IRR
                accept_vector(s, entry & 0xFF, True)
        elif edge:
            accept_vector(s, entry & 0xFF, False)
    elif edge and mode != EXTINT:
        with gil:
            (<LocalApic>s.owner).accept(mode, entry & 0xFF, False)


cdef void write_timer(LocalApic apic, uint32_t offset, uint32_t value) noexcept:
    cdef ApicState* s = &apic.state
    cdef int64_t now = apic.clock.now()
    cdef uint32_t left
    apic.settle_timer()
    if offset == INITIAL_COUNT:
        if timer_mode(s) >= TIMER_TSC_DEADLINE:     # section 11.5.4.1: ignored
            return
        s.initial_count = value
        s.timer_start = now
    else:
        left = current_count(s, now)
        s.divide = value & 0xB
        # The count goes on from where it is, at the new rate.
        if s.timer_start != TIMER_STOPPED:
            s.timer_start = now - (<int64_t>(s.initial_count - left) << timer_shift(s))
    apic.arm_timer()


# x2APIC registers and the MSRs outside their range


cdef bint apic_rdmsr(void* controller, uint32_t msr, uint64_t* value) noexcept nogil:
    cdef ApicState* s = <ApicState*>controller
    cdef uint32_t offset = (msr & 0xFF) << 4
    if msr == MSR_APIC_BASE:
        value[0] = s.base
        return True
    if msr == MSR_TSC_DEADLINE:
        with gil:
            (<LocalApic>s.owner).settle_timer()
        value[0] = s.tsc_deadline
        return s.has_tsc_deadline
    if msr >> 8 != 8 or not x2apic_mode(s) or not x2apic_readable(s, offset):
        return False
    value[0] = s.icr if offset == ICR_LOW else apic_read(controller, offset, 4)
    return True


cdef bint apic_wrmsr(void* controller, uint32_t msr, uint64_t value) noexcept nogil:
    cdef ApicState* s = <ApicState*>controller
    cdef uint32_t offset = (msr & 0xFF) << 4
    if msr == MSR_APIC_BASE:
        return write_base(s, value)
    if msr == MSR_TSC_DEADLINE:
        if s.has_tsc_deadline and timer_mode(s) == TIMER_TSC_DEADLINE:
            with gil:
                (<LocalApic>s.owner).settle_timer()
                s.tsc_deadline = value
                (<LocalApic>s.owner).arm_timer()
        return s.has_tsc_deadline
    if msr >> 8 != 8 or not x2apic_mode(s) or not x2apic_writes(s, offset):
        return False
    if offset == ICR_LOW:
        if value & 0xFFF32000ULL:              # section 11.12.9: reserved bits
            return False
        value &= ~<uint64_t>0x1000          # the delivery status of an xAPIC, which may be written back
        s.icr = value
        with gil:
            (<LocalApic>s.owner).send(value)
        return True
    if value >> 32 or <uint32_t>value & ~x2apic_writable(s, offset):
        return False
    if offset == SELF_IPI:                  # section 11.12.11: edge-triggered, fixed
        if value < 16:
            raise_error(s, ESR_SEND_ILLEGAL_VECTOR)
        else:
            accept_vector(s, <int>value, False)
    else:
        write_register(s, offset, <uint32_t>value)
    return True


cdef bint write_base(ApicState* s, uint64_t value) noexcept nogil:
    """IA32_APIC_BASE: the modes and the transitions between them (section 11.12.5)."""
    cdef uint64_t modes = BASE_ENABLE | (BASE_X2APIC if s.has_x2apic else 0)
    cdef uint64_t before = s.base & modes
    cdef uint64_t after = value & (BASE_ENABLE | BASE_X2APIC)
    if value & ~(s.base_mask | modes | BASE_BSP):
        return False
    if after == BASE_X2APIC:
        return False
    if before == (BASE_ENABLE | BASE_X2APIC) and after == BASE_ENABLE:
        return False
    if before == 0 and after == (BASE_ENABLE | BASE_X2APIC):
        return False
    s.base = value
    if before and not after:
        reset_registers(s)                  # section 11.4.3: enabled again, it is as after RESET
        with gil:
            s.id = (<LocalApic>s.owner).initial_id
            (<LocalApic>s.owner).arm_timer()
    elif after == (BASE_ENABLE | BASE_X2APIC) and before == BASE_ENABLE:
        s.ldr = (s.id >> 4) << 16 | <uint32_t>1 << (s.id & 15)      # section 11.12.10.2
        s.icr &= 0xFFFFFFFFULL
    update_page(s)
    return True


# The processor's side

cdef int acknowledge(void* controller) noexcept nogil:
    """Section 11.8.4: moves the highest deliverable vector from IRR to ISR. ExtINT takes its vector from the 8259."""
    cdef ApicState* s = <ApicState*>controller
    cdef int vector
    if extint_asserted(s):
        with gil:
            vector = acknowledge_8259(<LocalApic>s.owner)
        s.extint = 0
        update_intr(s)
        return vector
    vector = deliverable(s)
    if vector < 0:
        update_intr(s)
        return s.svr & 0xFF if enabled(s) else -1       # section 11.9: spurious; ISR is not touched
    clear_bit(s.irr, vector)
    set_bit(s.isr, vector)
    update_intr(s)
    return vector


cdef int acknowledge_8259(LocalApic apic) noexcept:
    return -1 if apic.pic is None else apic.pic.acknowledge()


cdef uint64_t tpr_read(void* controller) noexcept nogil:
    return (<ApicState*>controller).tpr >> 4


cdef void tpr_write(void* controller, uint64_t value) noexcept nogil:
    (<ApicState*>controller).tpr = (value & 0xF) << 4
    update_intr(<ApicState*>controller)


cdef void tsc_moved(void* controller) noexcept nogil:
    with gil:
        (<LocalApic>(<ApicState*>controller).owner).arm_timer()


@cython.final
cdef class LocalApic:
    """The local APIC of one processor; the core reaches it through the processor's `signals`.

    `apic_id` is the initial APIC ID (below 255 without x2APIC), `bus` carries messages, `pic` has `acknowledge()` and
    answers ExtINT. `physical_bits` is the processor's MAXPHYADDR. Raises BusError for an ID that an xAPIC cannot have.
    """

    def __init__(self, uint32_t apic_id, CpuSignals signals not None, Clock clock not None, ApicBus bus not None, *,
                 bint bsp=False, object pic=None, bint x2apic=True, bint tsc_deadline=True, bint cmci=False,
                 int physical_bits=46):
        if apic_id >= 0xFF and not x2apic:
            raise BusError(f"APIC ID {apic_id} needs an x2APIC; an xAPIC has IDs 0 to 254")
        self.name = f"lapic {apic_id}"
        self.signals, self.clock, self.bus, self.pic = signals, clock, bus, pic
        self.state.id = self.initial_id = apic_id
        self.state.bsp = bsp
        self.state.has_x2apic = x2apic
        self.state.has_tsc_deadline = tsc_deadline
        self.state.lvt_count = 7 if cmci else 6
        self.state.base_mask = (((<uint64_t>1) << physical_bits) - 1) & ~<uint64_t>0xFFF
        self.state.owner = <PyObject*>self
        self.attach(signals)
        bus.lapics.append(self)
        self.reset()

    def attach(self, CpuSignals signals not None):
        """Makes this the interrupt controller of the processor behind `signals`."""
        cdef Signals* wires = &signals.wires
        self.signals = signals
        self.state.wires = wires
        signals.controller_object = self
        wires.controller = &self.state
        wires.acknowledge = acknowledge
        wires.apic_read = apic_read
        wires.apic_write = apic_write
        wires.apic_rdmsr = apic_rdmsr
        wires.apic_wrmsr = apic_wrmsr
        wires.tpr_read = tpr_read
        wires.tpr_write = tpr_write
        wires.tsc_moved = tsc_moved

    def reset(self):
        """The state after RESET (section 11.4.7.1): enabled as an xAPIC at FEE00000h, disabled by software."""
        self.state.id = self.initial_id
        self.state.base = 0xFEE00000 | BASE_ENABLE | (BASE_BSP if self.state.bsp else 0)
        reset_registers(&self.state)
        self.arm_timer()
        update_page(&self.state)

    def init(self):
        """INIT reaches the processor: its APIC's registers are reset, not its mode or IDs, and the wire is latched."""
        reset_registers(&self.state)
        self.arm_timer()
        update_intr(&self.state)
        self.signals.pulse_init()

    def set_lint(self, int pin, bint level):
        """Drives LINT0 (an 8259's INTR) or LINT1 (NMI). Disabled, the APIC passes them on as INTR and NMI."""
        cdef bint rising = level and not self.state.lint[pin]
        self.state.lint[pin] = level
        if not enabled(&self.state):
            if pin == 1 and rising:
                self.signals.pulse_nmi()
        else:
            sample_lint(&self.state, pin, rising)
        update_intr(&self.state)

    def raise_local(self, str source):
        """An event of an inner source: 'thermal', 'performance' or 'cmci' (sections 11.5.1, 15.5)."""
        cdef int index = {"thermal": THERMAL, "performance": PERFORMANCE, "cmci": CMCI}[source]
        cdef uint32_t entry = self.state.lvt[index]
        if not entry & LVT_MASKED:
            if index == PERFORMANCE:
                self.state.lvt[index] |= LVT_MASKED     # section 11.5.1: set when the interrupt is delivered
            self.accept(entry >> 8 & 7, entry & 0xFF, False)

    @property
    def apic_id(self):
        """The initial APIC ID."""
        return self.initial_id

    cdef accept(self, int mode, int vector, bint level_triggered):
        """A message for this APIC."""
        cdef ApicState* s = &self.state
        if mode == FIXED or mode == LOWEST_PRIORITY:
            accept_vector(s, vector, level_triggered)
        elif mode == SMI:
            self.signals.pulse_smi()
        elif mode == NMI:
            self.signals.pulse_nmi()
        elif mode == INIT:
            self.init()
        elif mode == STARTUP:
            self.signals.send_sipi(vector)
        elif mode == EXTINT:
            s.extint = 1
            update_intr(s)

    cdef bint matches(self, uint32_t destination, bint logical):
        """Sections 11.6.2 and 11.12.10: whether a message is for this APIC; FFFFFFFFh is everybody."""
        cdef const ApicState* s = &self.state
        cdef uint32_t mine
        if not enabled(s):
            return False
        if destination == <uint32_t>0xFFFFFFFFU:
            return True
        if not logical:
            return destination == s.id
        if x2apic_mode(s):
            return destination >> 16 == s.ldr >> 16 and destination & s.ldr & 0xFFFF
        mine = s.ldr >> 24
        if destination > 0xFF:
            return False
        if s.dfr >> 28 == 0xF:
            return (destination & mine) != 0
        return ((destination >> 4 == mine >> 4 or destination >> 4 == 0xF) and (destination & mine & 0xF) != 0)

    cdef send(self, uint64_t icr):
        """Section 11.6.1: an interprocessor interrupt."""
        cdef uint32_t destination
        cdef int vector = icr & 0xFF
        cdef int mode = icr >> 8 & 7
        cdef int shorthand = icr >> 18 & 3
        cdef bint level_deasserted = not icr >> 14 & 1 and icr >> 15 & 1
        if x2apic_mode(&self.state):
            destination = icr >> 32
        else:
            destination = icr >> 56
            if destination == 0xFF:
                destination = <uint32_t>0xFFFFFFFFU
        if mode == 3 or mode == EXTINT:             # reserved
            return
        if mode == INIT and level_deasserted:       # only sets arbitration IDs, which this bus does not need
            return
        if (mode == FIXED or mode == LOWEST_PRIORITY) and vector < 16:
            raise_error(&self.state, ESR_SEND_ILLEGAL_VECTOR)
            return
        # Table 11-3 calls these combinations invalid; NMI, SMI and INIT to itself are delivered all the same, as software
        # that tests processors expects of them.
        if (shorthand == 1 and mode != FIXED and mode != NMI and mode != SMI and mode != INIT) or (
                shorthand == 2 and mode != FIXED and mode != LOWEST_PRIORITY):
            return
        self.bus.deliver_to(self, destination, icr >> 11 & 1, shorthand, mode, vector, False)

    # Timer

    cdef arm_timer(self):
        """Puts the next expiry on the clock, if anybody would notice it."""
        cdef ApicState* s = &self.state
        cdef int64_t now = self.clock.now()
        cdef int64_t period, expiry = FAR
        cdef uint64_t tsc
        self.clock.cancel(self.timer_event)
        self.timer_event = None
        if timer_mode(s) == TIMER_TSC_DEADLINE:
            if s.tsc_deadline:
                tsc = <uint64_t>now + <uint64_t>s.wires.tsc_offset
                if s.tsc_deadline <= tsc:
                    self.timer_expired()
                    return
                if s.tsc_deadline - tsc < <uint64_t>(FAR - now):
                    expiry = now + <int64_t>(s.tsc_deadline - tsc)
        elif s.initial_count and s.timer_start != TIMER_STOPPED and not s.lvt[TIMER] & LVT_MASKED:
            period = <int64_t>s.initial_count << timer_shift(s)
            if now - s.timer_start < period:
                expiry = s.timer_start + period
            elif timer_mode(s) == TIMER_PERIODIC:
                expiry = s.timer_start + ((now - s.timer_start) // period + 1) * period
        if expiry < FAR:
            self.timer_event = self.clock.schedule(expiry, self.timer_expired)

    cdef settle_timer(self):
        """An expiry that is due, but not yet run because the slice goes on, comes before what changes the timer."""
        if self.timer_event is not None and self.timer_event.deadline <= self.clock.now():
            self.clock.cancel(self.timer_event)
            self.timer_expired()

    def timer_expired(self):
        """The timer's count has run out, or the time-stamp counter has reached its deadline."""
        cdef ApicState* s = &self.state
        self.timer_event = None
        if timer_mode(s) == TIMER_TSC_DEADLINE:
            s.tsc_deadline = 0
        if not s.lvt[TIMER] & LVT_MASKED:
            accept_vector(s, s.lvt[TIMER] & 0xFF, False)
        if timer_mode(s) == TIMER_PERIODIC:
            self.arm_timer()

    # Snapshots

    def save(self):
        """The saved registers, by name."""
        cdef ApicState* s = &self.state
        return {
            "id": s.id, "base": s.base, "tpr": s.tpr, "ldr": s.ldr, "dfr": s.dfr, "svr": s.svr, "esr": s.esr,
            "esr_pending": s.esr_pending, "isr": [s.isr[i] for i in range(8)], "tmr": [s.tmr[i] for i in range(8)],
            "irr": [s.irr[i] for i in range(8)], "icr": s.icr, "lvt": [s.lvt[i] for i in range(7)],
            "initial_count": s.initial_count, "divide": s.divide, "timer_start": s.timer_start,
            "tsc_deadline": s.tsc_deadline, "lint": [s.lint[0], s.lint[1]], "extint": s.extint,
        }

    def load(self, state):
        """Takes on what save() gave. Raises UserInputError where something is missing from it."""
        cdef ApicState* s = &self.state
        missing = [key for key in self.save() if key not in state]
        if missing:
            raise UserInputError(f"the saved state of {self.name} lacks {', '.join(missing)}; it is of another version")
        s.id, s.base, s.tpr = state["id"], state["base"], state["tpr"]
        s.ldr, s.dfr = state["ldr"], state["dfr"]
        s.svr, s.esr, s.esr_pending, s.icr = state["svr"], state["esr"], state["esr_pending"], state["icr"]
        for i in range(8):
            s.isr[i], s.tmr[i], s.irr[i] = state["isr"][i], state["tmr"][i], state["irr"][i]
        for i in range(7):
            s.lvt[i] = state["lvt"][i]
        s.initial_count, s.divide = state["initial_count"], state["divide"]
        s.timer_start, s.tsc_deadline = state["timer_start"], state["tsc_deadline"]
        s.lint[0], s.lint[1] = state["lint"]
        s.extint = state["extint"]
        self.arm_timer()
        update_page(s)


@cython.final
cdef class ApicBus:
    """The system bus as local and I/O APICs see it: messages to them, and EOIs back to the I/O APICs."""

    def __init__(self):
        self.lapics = []
        self.ioapics = []

    def add_ioapic(self, ioapic):
        """Has `ioapic.end_of_interrupt(vector)` called on the EOI of each level-triggered interrupt."""
        self.ioapics.append(ioapic)

    def deliver(self, uint32_t destination, bint logical, int mode, int vector, bint level_triggered):
        """A message from an I/O APIC or by MSI: `destination` has 8 bits, FFh being everybody (section 11.11)."""
        self.deliver_to(None, <uint32_t>0xFFFFFFFFU if destination == 0xFF else destination, logical, 0, mode, vector,
                        level_triggered)

    cdef deliver_to(self, LocalApic sender, uint32_t destination, bint logical, int shorthand, int mode, int vector,
                    bint level_triggered):
        cdef LocalApic apic, chosen = None
        for apic in self.lapics:
            if shorthand == 0:
                if not apic.matches(destination, logical):
                    continue
            elif not enabled(&apic.state) or shorthand == (3 if apic is sender else 1):
                continue                            # 1 is self, 2 is all, 3 is all but self
            if mode != LOWEST_PRIORITY:
                apic.accept(mode, vector, level_triggered)
            elif apic.state.svr & SVR_ENABLE and (chosen is None or ppr(&apic.state) < ppr(&chosen.state)):
                chosen = apic
        if chosen is not None:
            chosen.accept(FIXED, vector, level_triggered)

    cdef eoi(self, int vector):
        for ioapic in self.ioapics:
            ioapic.end_of_interrupt(vector)
