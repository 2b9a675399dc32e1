# cython: language_level=3
# AMD's virtual interrupt controller (AMD APM volume 2, 15.29): the guest's APIC accesses without exits.
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from x86emu.core.state cimport *

# An access to the guest-physical page AVIC_APIC_BAR that nested paging allows: gives the place in the backing page, or
# False where the guest is to be left. A store's effect is avic_store's.
cdef bint avic_access(Cpu* c, Insn* i, uint64_t guest_physical, int access, uint64_t* physical) noexcept nogil
# Carries out the store that avic_access() announced. False: the guest is left behind the instruction.
cdef bint avic_store(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil
# The vector that the guest can take as far as priorities go; -1 for none.
cdef int avic_candidate(Cpu* c) noexcept nogil
# Moves a vector from IRR to ISR.
cdef void avic_take(Cpu* c, int vector) noexcept nogil
# Looks at the backing page anew: virtual_interrupt tells whether there is a candidate.
cdef void avic_look(Cpu* c) noexcept nogil
cdef void avic_write_tpr(Cpu* c, uint64_t value) noexcept nogil
# x2APIC MSRs with x2AVIC. False: #GP(0), unless c.exit says that the guest is left.
cdef bint avic_reads_msr(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil
cdef bint avic_writes_msr(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil
cdef bint read_doorbell(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil
cdef bint write_doorbell(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil
