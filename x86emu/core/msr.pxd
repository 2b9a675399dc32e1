# cython: language_level=3
# RDMSR and WRMSR.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

# False: the MSR does not exist in this model, or the value is not allowed; the caller raises #GP(0) (or fails a VM
# entry). i is the instruction that asks; it must be set for exact time.
cdef bint read_msr(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil
cdef bint write_msr(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil
cdef void power_on_msrs(Cpu* c) noexcept nogil
# MTRR memory type of a physical address (SDM 3A 12.11.4.1), for whoever shows it; execution does not depend on it.
cdef int mtrr_type(Cpu* c, uint64_t physical) noexcept nogil
