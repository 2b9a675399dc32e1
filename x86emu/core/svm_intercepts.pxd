# cython: language_level=3
from x86emu.core.state cimport *

# Whether the running SVM guest's controls intercept the instruction that INTERCEPT record i stands before; the exit has
# been requested then.
cdef bint svm_intercept(Cpu* c, Insn* i) noexcept nogil
