# cython: language_level=3
# SSE floating-point arithmetic and comparison (SDM 1, 11.4 and 11.5; SDM 2A to 2C under the mnemonics).
#
# Two ways.  softfloat is exact in everything.  The host's own float and double arithmetic is used where it must give the
# same: rounding to nearest, PE already set (it is sticky) and masked, no operand a denormal, and a result well inside the
# normal range, or a zero that is exact.  A NaN or infinite operand shows in the result, which then is not normal.
# The handlers of ADD, SUB, MUL, DIV, SQRT, MIN and MAX come from _gen/forms_simd.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd cimport *
from x86emu.core.softfloat cimport *
from x86emu.core.simd_reals cimport *

# ----- the exact way: the rest of a handler. Locals whose address is taken stay in a function of their own, so that
# chain() remains a sibling call. -----
cdef inline bint exact_32(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    cdef uint32_t* d = <uint32_t*>xmm(c, i.dst)
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        r[k] = f32_arithmetic(&e, operation, d[k], s[k])
    if not float_done(c, i, e.flags):
        return False
    memcpy(d, r, 4 * n)
    return True

cdef void arithmetic_32(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    if exact_32(c, i, operation, n):
        chain(c, i)

cdef inline bint exact_64(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    cdef uint64_t* d = <uint64_t*>xmm(c, i.dst)
    cdef uint64_t* s = <uint64_t*>xmm(c, i.src)
    cdef uint64_t r[2]
    cdef FloatContext e
    cdef int k
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        r[k] = f64_arithmetic(&e, operation, d[k], s[k])
    if not float_done(c, i, e.flags):
        return False
    memcpy(d, r, 8 * n)
    return True

cdef void arithmetic_64(Cpu* c, Insn* i, int operation, int n) noexcept nogil:
    if exact_64(c, i, operation, n):
        chain(c, i)

include "simd_floats.pxi"

# ----- SSE3: horizontal, and alternately subtracting and adding -----
cdef bint horizontal_32(Cpu* c, Insn* i, int operation) noexcept nogil:
    cdef uint32_t r[4]
    cdef FloatContext e
    begin(&e, c)
    horizontal(&e, <uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), r, operation)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint alternate_32(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t r[4]
    cdef FloatContext e
    begin(&e, c)
    alternate(&e, <uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), r)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint horizontal_64(Cpu* c, Insn* i, int operation) noexcept nogil:
    cdef uint64_t r[2]
    cdef FloatContext e
    begin(&e, c)
    horizontal(&e, <uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), r, operation)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint alternate_64(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t r[2]
    cdef FloatContext e
    begin(&e, c)
    alternate(&e, <uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), r)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef void HADDPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not horizontal_32(c, i, FLOAT_ADD):
        return
    chain(c, i)

cdef void HADDPD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not horizontal_64(c, i, FLOAT_ADD):
        return
    chain(c, i)

cdef void HSUBPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not horizontal_32(c, i, FLOAT_SUB):
        return
    chain(c, i)

cdef void HSUBPD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not horizontal_64(c, i, FLOAT_SUB):
        return
    chain(c, i)

cdef void ADDSUBPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not alternate_32(c, i):
        return
    chain(c, i)

cdef void ADDSUBPD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if not alternate_64(c, i):
        return
    chain(c, i)

# ----- SSE4.1: dot products -----
cdef bint dot_product_32(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t r[4]
    cdef FloatContext e
    begin(&e, c)
    dot_product(c, &e, <uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src), r, 4, <uint32_t>i.imm)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef bint dot_product_64(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t r[2]
    cdef FloatContext e
    begin(&e, c)
    dot_product(c, &e, <uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src), r, 2, <uint32_t>i.imm)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 16)
    return True

cdef void DPPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not dot_product_32(c, i):
        return
    chain(c, i)

cdef void DPPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not dot_product_64(c, i):
        return
    chain(c, i)

# ----- rounding to integers, approximations -----
cdef bint round_32(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef uint32_t r[4]
    cdef FloatContext e
    cdef int k
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        r[k] = f32_round(&e, s[k], <int>i.imm)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 4 * n)
    return True

cdef bint round_64(Cpu* c, Insn* i, int n) noexcept nogil:
    cdef uint64_t* s = <uint64_t*>xmm(c, i.src)
    cdef uint64_t r[2]
    cdef FloatContext e
    cdef int k
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        r[k] = f64_round(&e, s[k], <int>i.imm)
    if not float_done(c, i, e.flags):
        return False
    memcpy(xmm(c, i.dst), r, 8 * n)
    return True

cdef void ROUNDPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not round_32(c, i, 4):
        return
    chain(c, i)

cdef void ROUNDSS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not round_32(c, i, 1):
        return
    chain(c, i)

cdef void ROUNDPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not round_64(c, i, 2):
        return
    chain(c, i)

cdef void ROUNDSD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not round_64(c, i, 1):
        return
    chain(c, i)

cdef void approximate(Cpu* c, Insn* i, int n, bint of_root) noexcept nogil:
    cdef uint32_t* d = <uint32_t*>xmm(c, i.dst)
    cdef uint32_t* s = <uint32_t*>xmm(c, i.src)
    cdef int k
    for k in range(n):
        d[k] = f32_reciprocal_sqrt(s[k]) if of_root else f32_reciprocal(s[k])

cdef void RCPPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    approximate(c, i, 4, 0)
    chain(c, i)

cdef void RCPSS_V_V(Cpu* c, Insn* i) noexcept nogil:
    approximate(c, i, 1, 0)
    chain(c, i)

cdef void RSQRTPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    approximate(c, i, 4, 1)
    chain(c, i)

cdef void RSQRTSS_V_V(Cpu* c, Insn* i) noexcept nogil:
    approximate(c, i, 1, 1)
    chain(c, i)

# ----- comparison -----
cdef inline bint compare(Cpu* c, Insn* i, int n, bits_t kind) noexcept nogil:
    cdef bits_t* d = <bits_t*>xmm(c, i.dst)
    cdef bits_t* s = <bits_t*>xmm(c, i.src)
    cdef bits_t r[4]
    cdef FloatContext e
    cdef int k
    cdef uint32_t predicate = <uint32_t>i.imm & 7
    cdef uint32_t true_for = true_relations(predicate)
    cdef bint quiet = quiet_predicate(predicate)
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        r[k] = <bits_t>0 - <bits_t>(true_for >> relation_of(&e, d[k], s[k], quiet) & 1)
    if not float_done(c, i, e.flags):
        return False
    memcpy(d, r, n * sizeof(bits_t))
    return True

cdef bint compare_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return compare(c, i, n, <uint32_t>0)

cdef bint compare_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return compare(c, i, n, <uint64_t>0)

cdef void CMPPS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not compare_32(c, i, 4):
        return
    chain(c, i)

cdef void CMPSS_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not compare_32(c, i, 1):
        return
    chain(c, i)

cdef void CMPPD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not compare_64(c, i, 2):
        return
    chain(c, i)

cdef void CMPSD_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    if not compare_64(c, i, 1):
        return
    chain(c, i)

cdef inline uint32_t flags_of(int relation) noexcept nogil:
    """COMISS: ZF, PF, CF; the other three are cleared."""
    if relation == RELATION_LESS:
        return FLAG_CF
    if relation == RELATION_EQUAL:
        return FLAG_ZF
    if relation == RELATION_GREATER:
        return 0
    return FLAG_ZF | FLAG_PF | FLAG_CF

cdef inline bint exact_flags_32(Cpu* c, Insn* i, bint quiet) noexcept nogil:
    cdef FloatContext e
    cdef int relation
    e.mxcsr = c.mxcsr
    e.flags = 0
    relation = f32_compare(&e, <uint32_t>c.vec[i.dst].q[0], <uint32_t>c.vec[i.src].q[0], quiet)
    if not float_done(c, i, e.flags):
        return False
    flags_eager(c, flags_of(relation))
    return True

cdef void compare_flags_32(Cpu* c, Insn* i, bint quiet) noexcept nogil:
    if exact_flags_32(c, i, quiet):
        chain(c, i)

cdef inline bint exact_flags_64(Cpu* c, Insn* i, bint quiet) noexcept nogil:
    cdef FloatContext e
    cdef int relation
    e.mxcsr = c.mxcsr
    e.flags = 0
    relation = f64_compare(&e, c.vec[i.dst].q[0], c.vec[i.src].q[0], quiet)
    if not float_done(c, i, e.flags):
        return False
    flags_eager(c, flags_of(relation))
    return True

cdef void compare_flags_64(Cpu* c, Insn* i, bint quiet) noexcept nogil:
    if exact_flags_64(c, i, quiet):
        chain(c, i)

cdef inline bint fast_compare_flags(Cpu* c, bits_t* u, bits_t* v) noexcept nogil:
    """Neither a NaN nor a denormal: nothing can be raised."""
    cdef int relation
    if unlikely((denormal(u[0]) | denormal(v[0]) | not_number(u[0]) | not_number(v[0])) != 0):
        return False
    if bits_t is uint32_t:
        relation = ((<float*>u)[0] >= (<float*>v)[0]) + ((<float*>u)[0] > (<float*>v)[0])
    else:
        relation = ((<double*>u)[0] >= (<double*>v)[0]) + ((<double*>u)[0] > (<double*>v)[0])
    flags_eager(c, flags_of(relation))
    return True

cdef void UCOMISS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_compare_flags(c, <uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))):
        chain(c, i)
    else:
        compare_flags_32(c, i, 1)

cdef void COMISS_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_compare_flags(c, <uint32_t*>xmm(c, i.dst), <uint32_t*>xmm(c, i.src))):
        chain(c, i)
    else:
        compare_flags_32(c, i, 0)

cdef void UCOMISD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_compare_flags(c, <uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src))):
        chain(c, i)
    else:
        compare_flags_64(c, i, 1)

cdef void COMISD_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_compare_flags(c, <uint64_t*>xmm(c, i.dst), <uint64_t*>xmm(c, i.src))):
        chain(c, i)
    else:
        compare_flags_64(c, i, 0)

include "register_simd_float.pxi"
