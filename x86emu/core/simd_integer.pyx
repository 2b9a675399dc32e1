# cython: language_level=3
# Integer arithmetic, comparison and logic on MMX and XMM registers (SDM 2A to 2C under the mnemonics).
# The handlers come from _gen/forms_simd.py; what is not element by element has its function here.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd cimport *
from x86emu.core.simd_lanes cimport *

include "simd_elementwise.pxi"

include "simd_horizontal.pxi"

cdef void MPSADBW_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    multiple_sad(<uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), <int>i.imm)
    chain(c, i)

cdef void PHMINPOSUW_V_V(Cpu* c, Insn* i) noexcept nogil:
    least_word(<uint64_t*>xmm(c, i.dst), <uint16_t*>xmm(c, i.src))
    chain(c, i)

cdef void PTEST_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef Vec* a = &c.vec[i.dst]
    cdef Vec* b = &c.vec[i.src]
    flags_eager(c, (FLAG_ZF if (a.q[0] & b.q[0] | a.q[1] & b.q[1]) == 0 else 0)
                | (FLAG_CF if (~a.q[0] & b.q[0] | ~a.q[1] & b.q[1]) == 0 else 0))
    chain(c, i)

include "register_simd_integer.pxi"
