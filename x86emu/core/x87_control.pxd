# cython: language_level=3
from x86emu.core.x87 cimport *

# The full tag word from the contents (SDM 1, 8.1.7), for FNSTENV, FNSAVE and whoever shows the state.
cdef uint32_t full_tag_word(Cpu* c) noexcept nogil
