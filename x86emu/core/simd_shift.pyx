# cython: language_level=3
# Shifts of elements and of whole XMM registers (SDM 2B, PSLLW/PSLLD/PSLLQ, PSRAW/PSRAD, PSRLW ..., PSLLDQ, PSRLDQ).
# Counts beyond the element's width give zero, or copies of the sign for the arithmetic ones.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport *
from x86emu.core.simd_lanes cimport *

include "simd_shifts.pxi"

cdef void PSLLDQ_V_I(Cpu* c, Insn* i) noexcept nogil:
    shift_left_bytes(<uint64_t*>xmm(c, i.dst), <uint8_t>i.imm)
    chain(c, i)

cdef void PSRLDQ_V_I(Cpu* c, Insn* i) noexcept nogil:
    shift_right_bytes(<uint64_t*>xmm(c, i.dst), <uint8_t>i.imm)
    chain(c, i)

include "register_simd_shift.pxi"
