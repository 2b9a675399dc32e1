# cython: language_level=3
# What the AVX handlers share (SDM 1, chapter 14): lanes of 128 bits, and where results are put.
#
# A handler that works lane by lane copies its first source to vec[SCRATCH], lets the function that SSE has (simd_lanes.pxd)
# change it there, and puts it into the destination last: destination and second source may be the same register.
# VEX.128 clears bits 255:128 of its destination.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy, memset
from x86emu.core.state cimport *

cdef enum:
    SCRATCH = 17

cdef inline void* lane(Cpu* c, uint8_t n, int k) noexcept nogil:
    """Bits 127:0 (k = 0) or 255:128 (k = 1) of a register."""
    return <void*>&c.vec[n].q[2 * k]

cdef inline void clear_upper(Cpu* c, uint8_t n) noexcept nogil:
    c.vec[n].q[2] = 0
    c.vec[n].q[3] = 0

cdef inline void begin_128(Cpu* c, uint8_t source) noexcept nogil:
    memcpy(&c.vec[SCRATCH], &c.vec[source], 16)

cdef inline void begin_256(Cpu* c, uint8_t source) noexcept nogil:
    memcpy(&c.vec[SCRATCH], &c.vec[source], 32)

cdef inline void end_128(Cpu* c, uint8_t n) noexcept nogil:
    memcpy(&c.vec[n], &c.vec[SCRATCH], 16)
    clear_upper(c, n)

cdef inline void end_256(Cpu* c, uint8_t n) noexcept nogil:
    memcpy(&c.vec[n], &c.vec[SCRATCH], 32)

cdef inline void put_result(Cpu* c, uint8_t n, const void* result, uint32_t size) noexcept nogil:
    """The low bytes of a register; the others become 0."""
    memcpy(&c.vec[n], result, size)
    memset(<uint8_t*>&c.vec[n] + size, 0, 32 - size)
