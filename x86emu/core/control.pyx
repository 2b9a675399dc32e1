# cython: language_level=3
# Near transfers of control: Jcc, JMP, CALL, RET, LOOP, JCXZ from _gen/forms_control.py; UD and PAUSE.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.stack cimport *
from x86emu.core.control cimport *

include "forms_control.pxi"

cdef void UD2(Cpu* c, Insn* i) noexcept nogil:
    fault(c, i, V_UD)

# A spinning processor has nothing to do but wait for another: it gives the rest of its slice away.
cdef void PAUSE(Cpu* c, Insn* i) noexcept nogil:
    finish(c, i)
    c.exit = EXIT_YIELD

include "register_control.pxi"
