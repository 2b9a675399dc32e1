# cython: language_level=3
cimport cython
from libc.stdint cimport uint32_t, uint64_t
from x86emu.bus.clock cimport Clock, Event
from x86emu.bus.platform cimport CpuSignals
from x86emu.devices.lapic_registers cimport ApicState

@cython.final
cdef class LocalApic:
    cdef ApicState state
    cdef readonly CpuSignals signals
    cdef readonly ApicBus bus
    cdef readonly object name
    cdef Clock clock
    cdef Event timer_event
    cdef object pic
    cdef uint32_t initial_id
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
