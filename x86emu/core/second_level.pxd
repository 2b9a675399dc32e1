# cython: language_level=3
# The second level of address translation: nested paging (AMD APM 2, 15.25), extended page tables (SDM 3C chapter 29).
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *

# Guest-physical to physical address for an access (0 read, 1 write, 2 execute) by instruction i (NULL: event delivery or
# fetch). table_walk: the access is the walker's to one of the guest's paging structures.  False: an exit was requested.
cdef bint translate_guest_physical(Cpu* c, Insn* i, uint64_t guest_physical, int access, bint table_walk,
                                   uint64_t* physical) noexcept nogil
# What was cached of second-level structures counts no more.
cdef void second_level_new_generation(Cpu* c) noexcept nogil
# Whether a guest-physical address can be reached for a read, without any effect: for explain and instruction bytes.
cdef bint peek_guest_physical(Cpu* c, uint64_t guest_physical, uint64_t* physical) noexcept nogil

cdef inline void request_exit(Cpu* c, Insn* i, uint64_t code, uint64_t info1, uint64_t info2) noexcept nogil:
    """Leaves guest mode as soon as instruction i is unwound: a fault of its own kind, which delivery turns into the exit."""
    fault(c, i, 0)
    c.fault.kind = EVENT_WORLD_EXIT
    c.virt.exit_code = code
    c.virt.exit_info1 = info1
    c.virt.exit_info2 = info2
    c.virt.exit_next_rip = 0
