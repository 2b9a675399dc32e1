# cython: language_level=3
# A copy or a shift with the arithmetic on its result in one record: handlers from _gen/forms_three_operands.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport *
from x86emu.core.shifts cimport *

include "forms_three_operands.pxi"
include "register_three_operands.pxi"
