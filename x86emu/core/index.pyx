# cython: language_level=3
# An index and the indirect branch through the table that it selects from: handlers from _gen/forms_index.py.
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.alu cimport *
from x86emu.core.shifts cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.stack cimport *
from x86emu.core.control cimport *

include "forms_index.pxi"
include "register_index.pxi"
