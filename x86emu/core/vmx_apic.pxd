# cython: language_level=3
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *

# The address of the page that an access to the APIC-access page goes to. False: an exit has been requested, or the
# instruction is to run again by itself.
cdef bint vmx_apic_access(Cpu* c, Insn* i, uint64_t linear, int access, uint64_t* physical) noexcept nogil
# An access to the APIC-access page by its guest-physical address: always an exit.
cdef bint vmx_apic_physical_access(Cpu* c, Insn* i) noexcept nogil
# VTPR, for MOV from and to CR8.
cdef uint64_t vmx_virtual_tpr(Cpu* c) noexcept nogil
cdef void vmx_write_virtual_tpr(Cpu* c, uint64_t value) noexcept nogil
# RDMSR and WRMSR of 800h to 8FFh with "virtualize x2APIC mode". -1: as outside guests; 0: #GP(0); 1: done.
cdef int vmx_read_x2apic(Cpu* c, uint32_t number, uint64_t* value) noexcept nogil
cdef int vmx_write_x2apic(Cpu* c, uint32_t number, uint64_t value) noexcept nogil
# What a write that has just ended asks for: the emulation of APIC writes.
cdef void vmx_emulate_apic_write(Cpu* c) noexcept nogil
# VM entry with virtual-interrupt delivery.
cdef void vmx_enter_virtual_apic(Cpu* c) noexcept nogil
# The vector of the recognized virtual interrupt, which is in service then.
cdef int vmx_take_virtual_interrupt(Cpu* c) noexcept nogil
# An external interrupt with "process posted interrupts": True where it was the notification.
cdef bint vmx_posted_interrupt(Cpu* c, int vector) noexcept nogil
