# cython: language_level=3
from libc.stdint cimport uint64_t, uint32_t
from x86emu.core.state cimport *

# SDM 3C 28.5 and 28.6: the host's state and MSRs from the current VMCS; guest mode ends.
cdef void load_host_state(Cpu* c) noexcept nogil
# Keeps what explain shows of the last exits.
cdef void record_exit(Cpu* c, uint64_t reason, uint64_t qualification) noexcept nogil
# Leaves the guest now. reason as the exit-reason field has it; during: the event that was being delivered, or NULL.
cdef void vmx_exit(Cpu* c, uint32_t reason, uint64_t qualification, Fault* during) noexcept nogil
# In guest mode, before an event's handler is entered: True where it causes an exit (which has been done then).
cdef bint vmx_exception(Cpu* c, Fault* f, Fault* during) noexcept nogil
cdef void vmx_shutdown(Cpu* c) noexcept nogil
# Between instructions of a guest: what waits at the wires, windows, the timer. As engine.take_wires.
cdef bint vmx_take_wires(Cpu* c) noexcept nogil
# Asks for an exit instead of instruction i.
cdef void vmx_request(Cpu* c, Insn* i, uint32_t reason, uint64_t qualification, uint32_t information) noexcept nogil
# The address of the page that an APIC access goes to; False: an exit has been requested.
cdef bint vmx_apic_access(Cpu* c, Insn* i, uint64_t linear, int access, uint64_t* physical) noexcept nogil
cdef uint64_t vmx_virtual_tpr(Cpu* c) noexcept nogil
cdef void vmx_write_virtual_tpr(Cpu* c, uint64_t value) noexcept nogil
