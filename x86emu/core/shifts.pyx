# cython: language_level=3
# Shifts and rotates: handlers from _gen/forms_shifts.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.alu cimport rmw_pointer, rmw_load, rmw_store
from x86emu.core.shifts cimport *

include "forms_shifts.pxi"
include "register_shifts.pxi"
