# cython: language_level=3
# Control, debug and extended control registers, TLB instructions, time stamps.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

# MOV to CRn, for the handlers and for whoever models them elsewhere (LMSW, VM exits). False: a fault was raised.
cdef bint write_cr0(Cpu* c, Insn* i, uint64_t value) noexcept nogil
cdef bint write_cr3(Cpu* c, Insn* i, uint64_t value) noexcept nogil
cdef bint write_cr4(Cpu* c, Insn* i, uint64_t value) noexcept nogil

# The time stamp counter now: virtual nanoseconds plus the offset that WRMSR set (SDM 3B 18.17).
# The TSC of this moment, and as RDTSC reads it (engine.told_now).
cdef uint64_t tsc_now(Cpu* c, Insn* i) noexcept nogil
cdef uint64_t tsc_read(Cpu* c, Insn* i) noexcept nogil
