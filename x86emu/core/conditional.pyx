# cython: language_level=3
# CMP and TEST with the SETcc or CMOVcc behind them: handlers from _gen/forms_conditional.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport *

include "forms_conditional.pxi"
include "register_conditional.pxi"
