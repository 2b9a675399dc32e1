# cython: language_level=3
# Performance counters (AMD APM 2, 13.2): MSRs C0010000h to C0010007h, C0010200h to C001020Bh, and RDPMC.
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.state cimport *

cdef bint read_perf_legacy(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil
cdef bint write_perf_legacy(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil
cdef bint read_perf_core(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil
cdef bint write_perf_core(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil
