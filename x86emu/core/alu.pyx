# cython: language_level=3
# ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT (SDM 2A, 2B): handlers from _gen/forms_alu.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.alu cimport *

include "forms_alu.pxi"
include "register_alu.pxi"
