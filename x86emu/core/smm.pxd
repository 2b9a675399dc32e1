# cython: language_level=3
# System management mode (SDM 3C chapter 32; AMD APM volume 2 chapter 10).
from x86emu.core.state cimport Cpu

# Takes an SMI between two instructions: saves the state at SMBASE, enters SMM. The caller checked that c.in_smm is 0.
cdef void enter_smm(Cpu* c) noexcept nogil
