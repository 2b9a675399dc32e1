# cython: language_level=3
# AVX floating-point arithmetic, comparison, rounding, approximation (SDM 1, 14.1 to 14.4; SDM 2A to 2C under the mnemonics).
# Exceptions are those of all elements together, as with SSE: the destination changes only if none is unmasked.
# The handlers come from _gen/forms_avx_float.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.simd cimport float_done
from x86emu.core.softfloat cimport *
from x86emu.core.simd_reals cimport *
from x86emu.core.avx cimport *

cdef inline void keep_rest(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    """A scalar result in vec[SCRATCH], and the rest of the first source's 128 bits, to the destination. Pieces are read as
    they were written: a load of 16 bytes would wait for the store of 8."""
    cdef uint64_t high = c.vec[i.src].q[1]
    if size == 8:
        c.vec[i.dst].q[0] = c.vec[SCRATCH].q[0]
    else:
        c.vec[i.dst].q[0] = (c.vec[i.src].q[0] & 0xFFFFFFFF00000000ULL) | (<uint32_t*>&c.vec[SCRATCH])[0]
    c.vec[i.dst].q[1] = high

cdef inline void put_elements(Cpu* c, Insn* i, const void* result, uint32_t size) noexcept nogil:
    """4 or 8 bytes are a scalar result, 16 or 32 a whole register."""
    if size < 16:
        memcpy(&c.vec[SCRATCH], result, size)
        keep_rest(c, i, size)
        clear_upper(c, i.dst)
    else:
        put_result(c, i.dst, result, size)

# ----- arithmetic, the exact way: the rest of a handler -----
cdef bint exact(Cpu* c, Insn* i, int operation, int n, uint8_t a, uint8_t b, bits_t kind) noexcept nogil:
    cdef bits_t* p = <bits_t*>&c.vec[a]
    cdef bits_t* q = <bits_t*>&c.vec[b]
    cdef bits_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = calculated(&e, operation, p[k], q[k])
    if not float_done(c, i, e.flags):
        return False
    put_elements(c, i, r, n * sizeof(bits_t))
    return True

cdef void arithmetic_32(Cpu* c, Insn* i, int operation, int n, uint8_t a, uint8_t b) noexcept nogil:
    if exact(c, i, operation, n, a, b, <uint32_t>0):
        chain(c, i)

cdef void arithmetic_64(Cpu* c, Insn* i, int operation, int n, uint8_t a, uint8_t b) noexcept nogil:
    if exact(c, i, operation, n, a, b, <uint64_t>0):
        chain(c, i)

# ----- what has only the exact way -----
cdef inline bint horizontal_lanes(Cpu* c, Insn* i, int operation, int n, bits_t kind) noexcept nogil:
    cdef bits_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        horizontal(&e, <bits_t*>lane(c, i.src, k), <bits_t*>lane(c, i.index, k), r + k * (16 // sizeof(bits_t)), operation)
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 16 * n)
    return True

cdef bint horizontal_32(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    return horizontal_lanes(c, i, operation, n, <uint32_t>0)

cdef bint horizontal_64(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    return horizontal_lanes(c, i, operation, n, <uint64_t>0)

cdef inline bint alternate_lanes(Cpu* c, Insn* i, int n, bits_t kind) noexcept nogil:
    cdef bits_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        alternate(&e, <bits_t*>lane(c, i.src, k), <bits_t*>lane(c, i.index, k), r + k * (16 // sizeof(bits_t)))
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 16 * n)
    return True

cdef bint alternate_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return alternate_lanes(c, i, n, <uint32_t>0)

cdef bint alternate_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return alternate_lanes(c, i, n, <uint64_t>0)

cdef inline bint dot_product_lanes(Cpu* c, Insn* i, int n, bits_t kind) noexcept nogil:
    cdef bits_t r[8]
    cdef FloatContext e
    begin(&e, c)
    dot_product(c, &e, <bits_t*>&c.vec[i.src], <bits_t*>&c.vec[i.index], r, n * (16 // sizeof(bits_t)), <uint32_t>i.imm)
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, 16 * n)
    return True

cdef bint dot_product_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return dot_product_lanes(c, i, n, <uint32_t>0)

cdef bint dot_product_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return dot_product_lanes(c, i, n, <uint64_t>0)

cdef bint round_32(Cpu* c, Insn* i, int n, uint8_t source) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>&c.vec[source]
    cdef uint32_t r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f32_round(&e, s[k], <int>i.imm)
    if not float_done(c, i, e.flags):
        return False
    put_elements(c, i, r, 4 * n)
    return True

cdef bint round_64(Cpu* c, Insn* i, int n, uint8_t source) noexcept nogil:
    cdef uint64_t* s = <uint64_t*>&c.vec[source]
    cdef uint64_t r[4]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = f64_round(&e, s[k], <int>i.imm)
    if not float_done(c, i, e.flags):
        return False
    put_elements(c, i, r, 8 * n)
    return True

cdef bint approximate(Cpu* c, Insn* i, int n, bint of_root, uint8_t source) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>&c.vec[source]
    cdef uint32_t r[8]
    cdef int k
    for k in range(n):
        r[k] = f32_reciprocal_sqrt(s[k]) if of_root else f32_reciprocal(s[k])
    put_elements(c, i, r, 4 * n)
    return True

cdef inline bint quick_compare(bits_t* r, bits_t* p, bits_t* q, int n, uint32_t true_for) noexcept nogil:
    """Where no operand is a NaN or a denormal, nothing can be raised and the host compares."""
    cdef bits_t doubtful = 0
    cdef int k, relation
    for k in range(n):
        doubtful |= denormal(p[k]) | denormal(q[k]) | not_number(p[k]) | not_number(q[k])
    if unlikely(doubtful != 0):
        return False
    for k in range(n):
        if bits_t is uint32_t:
            relation = ((<float*>p)[k] >= (<float*>q)[k]) + ((<float*>p)[k] > (<float*>q)[k])
        else:
            relation = ((<double*>p)[k] >= (<double*>q)[k]) + ((<double*>p)[k] > (<double*>q)[k])
        r[k] = <bits_t>0 - <bits_t>(true_for >> relation & 1)
    return True

cdef inline bint compare(Cpu* c, Insn* i, int n, bits_t kind) noexcept nogil:
    cdef bits_t* p = <bits_t*>&c.vec[i.src]
    cdef bits_t* q = <bits_t*>&c.vec[i.index]
    cdef bits_t r[8]
    cdef FloatContext e
    cdef int k
    cdef uint32_t predicate = <uint32_t>i.imm & 31
    cdef uint32_t true_for = true_relations(predicate)
    cdef bint quiet = quiet_predicate(predicate)
    if quick_compare(r, p, q, n, true_for):
        put_elements(c, i, r, n * sizeof(bits_t))
        return True
    begin(&e, c)
    for k in range(n):
        r[k] = <bits_t>0 - <bits_t>(true_for >> relation_of(&e, p[k], q[k], quiet) & 1)
    if not float_done(c, i, e.flags):
        return False
    put_elements(c, i, r, n * sizeof(bits_t))
    return True

cdef bint compare_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return compare(c, i, n, <uint32_t>0)

cdef bint compare_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return compare(c, i, n, <uint64_t>0)

include "avx_floats.pxi"
include "register_avx_float.pxi"
