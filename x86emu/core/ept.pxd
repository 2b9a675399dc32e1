# cython: language_level=3
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *

# Guest-physical to physical address through the extended page tables, as second_level.translate_guest_physical; rights of
# the translation are 1 read, 2 write, 4 execute. False: an EPT violation or misconfiguration exit has been requested.
cdef bint ept_translate(Cpu* c, Insn* i, uint64_t guest_physical, int access, bint table_walk, uint64_t* physical,
                        uint32_t* rights) noexcept nogil
# Without effects; False where no read is allowed.
cdef bint ept_peek(Cpu* c, uint64_t guest_physical, uint64_t* physical) noexcept nogil
