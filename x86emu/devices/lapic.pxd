# cython: language_level=3
cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from x86emu.bus.clock cimport Clock, Event
from x86emu.bus.platform cimport CpuSignals, Signals

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
    int64_t timer_start             # virtual time at which the current count was initial_count
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

@cython.final
cdef class LocalApic:
    cdef ApicState state
    cdef readonly CpuSignals signals
    cdef readonly ApicBus bus
    cdef readonly object name
    cdef Clock clock
    cdef Event timer_event
    cdef object pic
    cdef arm_timer(self)
    cdef settle_timer(self)
    cdef send(self, uint64_t icr)
    cdef accept(self, int mode, int vector, bint level_triggered)
    cdef bint matches(self, uint32_t destination, bint logical)

@cython.final
cdef class ApicBus:
    cdef list lapics, ioapics
    cdef deliver_to(self, LocalApic sender, uint32_t destination, bint logical, int shorthand, int mode, int vector,
                    bint level_triggered)
    cdef eoi(self, int vector)
