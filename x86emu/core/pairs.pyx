# cython: language_level=3
# Arithmetic and logic on registers, and the conditional branch behind: handlers from _gen/forms_pairs.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport *
from x86emu.core.control cimport *
from x86emu.core.memory_access cimport *

include "forms_pairs.pxi"
include "register_pairs.pxi"
