# cython: language_level=3
# Interrupts and IRET in 32-bit protected mode with flat segments, where nothing is out of order: as in quick_transfers.pxd
# what they need of descriptors and stacks is in the TLB and right, or they return False and have changed nothing.
# For instructions that end their trace, or for events between two.
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *

cdef bint enter_handler_32(Cpu* c, int vector, int kind, bint has_error, uint32_t error, uint64_t return_rip,
                           uint64_t flags) noexcept nogil
cdef bint return_32(Cpu* c) noexcept nogil
