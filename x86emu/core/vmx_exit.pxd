# cython: language_level=3
from libc.stdint cimport uint64_t, uint32_t, int64_t
from x86emu.core.state cimport *

# SDM 3C 28.5 and 28.6: the host's state and MSRs from the current VMCS; guest mode ends.
cdef void load_host_state(Cpu* c) noexcept nogil
# Keeps what explain shows of the last exits.
cdef void record_exit(Cpu* c, uint64_t reason, uint64_t qualification) noexcept nogil
# Leaves the guest now. reason as the exit-reason field has it; during: the event that was being delivered, or NULL.
cdef void vmx_exit(Cpu* c, uint32_t reason, uint64_t qualification, Fault* during) noexcept nogil
# In guest mode, before an event's handler is entered: True where it causes an exit (which has been done then).
cdef bint vmx_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil
# An event's handler was entered under the monitor trap flag.
cdef void vmx_event_delivered(Cpu* c) noexcept nogil
cdef void vmx_shutdown(Cpu* c) noexcept nogil
# Between instructions of a guest: what waits at the wires, windows, the timer. As engine.take_wires.
cdef bint vmx_take_wires(Cpu* c) noexcept nogil
# Asks for an exit instead of instruction i.
cdef void vmx_request(Cpu* c, Insn* i, uint32_t reason, uint64_t qualification, uint32_t information) noexcept nogil
# Loads an MSR list. False: entry number failed[0] (from 1) cannot be loaded.
cdef bint vmx_load_msrs(Cpu* c, uint64_t list_, uint64_t n, uint64_t* failed) noexcept nogil
# Whether a halted guest has something to do: what vmx_take_wires() would take.
cdef bint vmx_awake(Cpu* c) noexcept nogil
