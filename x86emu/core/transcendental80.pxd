# cython: language_level=3
# The x87's transcendental instructions and constants (SDM volume 1, 8.3.8 and 8.3.10): well under one ulp, the same on
# every host. Operands and results as in softfloat80.pxd; results have 64 bits whatever precision control says.
from libc.stdint cimport uint32_t, uint64_t
from x86emu.core.softfloat80 cimport *

cdef Result80 exp2_minus_1(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Result80 y_log2_x(uint64_t xm, uint32_t xse, uint64_t ym, uint32_t yse, uint32_t control) noexcept nogil
cdef Result80 y_log2_x_plus_1(uint64_t xm, uint32_t xse, uint64_t ym, uint32_t yse, uint32_t control) noexcept nogil
cdef Result80 arctangent(uint64_t ym, uint32_t yse, uint64_t xm, uint32_t xse, uint32_t control) noexcept nogil
# flags hold C2, and the operand comes back, where |operand| >= 2^63.
cdef Result80 sine(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Result80 cosine(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Result80 tangent(uint64_t m, uint32_t se, uint32_t control) noexcept nogil
cdef Result80 load_constant(int index, uint32_t control) noexcept nogil
