# cython: language_level=3
# CMP and TEST fused with the conditional branch behind them: handlers from _gen/forms_fused.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport *
from x86emu.core.control cimport *

include "forms_fused.pxi"
include "register_fused.pxi"
