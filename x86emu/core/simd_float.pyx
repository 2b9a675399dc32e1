# cython: language_level=3
# SSE floating-point arithmetic and comparison (SDM 1, 11.4 and 11.5; SDM 2A to 2C under the mnemonics).
#
# Two ways.  softfloat is exact in everything.  The host's own float and double arithmetic is used where it must give the
# same: rounding to nearest, PE already set (it is sticky) and masked, no operand a denormal, and a result well inside the
# normal range, or a zero that is exact.  A NaN or infinite operand shows in the result, which then is not normal.
# The handlers of ADD, SUB, MUL, DIV, SQRT, MIN and MAX come from _gen/forms_simd.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from libc.math cimport sqrt, sqrtf
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd cimport *
from x86emu.core.softfloat cimport *

ctypedef fused bits_t:
    uint32_t
    uint64_t

ctypedef fused real_t:
    float
    double

# ----- when the host's arithmetic will do -----
cdef inline bint host_rounds(uint32_t mxcsr) noexcept nogil:
    return (mxcsr & (MXCSR_RC | MXCSR_PM | MXCSR_PE)) == (MXCSR_PM | MXCSR_PE)

cdef inline bits_t unit(bits_t kind) noexcept nogil:
    """One step of the exponent field, shifted left by one like the arguments below."""
    return <bits_t>1 << (24 if bits_t is uint32_t else 53)

cdef inline bits_t denormal(bits_t v) noexcept nogil:
    """Not zero and exponent field 0."""
    return <bits_t>(<bits_t>((v << 1) - 1) < unit(v) - 1)

cdef inline bits_t not_number(bits_t v) noexcept nogil:
    return <bits_t>(<bits_t>(v << 1) > <bits_t>(0 - unit(v)))

cdef inline bits_t unusual(bits_t w) noexcept nogil:
    """Exponent field 0, 1 or the highest: underflow cannot be excluded, overflow, infinity, NaN."""
    return <bits_t>(<bits_t>((w << 1) - 2 * unit(w)) >= <bits_t>(0 - 3 * unit(w)))

cdef inline bits_t unusual_sum(bits_t w) noexcept nogil:
    """A sum that is zero is exact. (No `and`, `or`: branches would keep the compiler from vector code.)"""
    return unusual(w) & <bits_t>(<bits_t>(w << 1) != 0)

cdef inline bits_t unusual_product(bits_t w, bits_t u, bits_t v) noexcept nogil:
    return unusual(w) & ((<bits_t>(<bits_t>(u << 1) != 0) & <bits_t>(<bits_t>(v << 1) != 0)) | <bits_t>(<bits_t>(w << 1) != 0))

cdef inline bits_t unusual_quotient(bits_t w, bits_t u) noexcept nogil:
    return unusual(w) & (<bits_t>(<bits_t>(u << 1) != 0) | <bits_t>(<bits_t>(w << 1) != 0))

cdef inline bits_t not_positive(bits_t v) noexcept nogil:
    """Neither a positive normal number nor +0."""
    return <bits_t>(<bits_t>(v - unit(v) // 2) >= <bits_t>(0 - unit(v)) // 2 - unit(v) // 2) & <bits_t>(v != 0)

cdef inline real_t square_root(real_t v) noexcept nogil:
    if real_t is float:
        return sqrtf(v)
    else:
        return sqrt(v)

# ----- the exact way: the rest of a handler. Locals whose address is taken stay in a function of their own, so that
# chain() remains a sibling call. -----
cdef inline bits_t calculated(FloatContext* e, int operation, bits_t a, bits_t b) noexcept nogil:
    if bits_t is uint32_t:
        return f32_arithmetic(e, operation, a, b)
    else:
        return f64_arithmetic(e, operation, a, b)

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
cdef inline bint horizontal(Cpu* c, Insn* i, int operation, bits_t kind) noexcept nogil:
    cdef bits_t* d = <bits_t*>xmm(c, i.dst)
    cdef bits_t* s = <bits_t*>xmm(c, i.src)
    cdef bits_t r[4]
    cdef FloatContext e
    cdef int k
    cdef int half = 8 // sizeof(bits_t)
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(half):
        r[k] = calculated(&e, operation, d[2 * k], d[2 * k + 1])
        r[half + k] = calculated(&e, operation, s[2 * k], s[2 * k + 1])
    if not float_done(c, i, e.flags):
        return False
    memcpy(d, r, 16)
    return True

cdef inline bint alternate(Cpu* c, Insn* i, bits_t kind) noexcept nogil:
    cdef bits_t* d = <bits_t*>xmm(c, i.dst)
    cdef bits_t* s = <bits_t*>xmm(c, i.src)
    cdef bits_t r[4]
    cdef FloatContext e
    cdef int k
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(16 // <int>sizeof(bits_t)):
        r[k] = calculated(&e, FLOAT_ADD if k & 1 else FLOAT_SUB, d[k], s[k])
    if not float_done(c, i, e.flags):
        return False
    memcpy(d, r, 16)
    return True

cdef bint horizontal_32(Cpu* c, Insn* i, int operation) noexcept nogil:
    return horizontal(c, i, operation, <uint32_t>0)

cdef bint horizontal_64(Cpu* c, Insn* i, int operation) noexcept nogil:
    return horizontal(c, i, operation, <uint64_t>0)

cdef bint alternate_32(Cpu* c, Insn* i) noexcept nogil:
    return alternate(c, i, <uint32_t>0)

cdef bint alternate_64(Cpu* c, Insn* i) noexcept nogil:
    return alternate(c, i, <uint64_t>0)

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
cdef inline bint dot_product(Cpu* c, Insn* i, bits_t kind) noexcept nogil:
    """imm8: which products are made (bits 7:4), which elements get the sum (3:0).

    The order of the additions differs from element to element; it shows only in the choice among several NaNs, and is
    that of AMD's processors (the manual's pseudo-code has one order for all elements).  Products and sums have their
    exceptions one after the other: an unmasked one of a product keeps the sums from being made (SDM 2A, DPPS)."""
    cdef bits_t* d = <bits_t*>xmm(c, i.dst)
    cdef bits_t* s = <bits_t*>xmm(c, i.src)
    cdef bits_t p[4]
    cdef bits_t t[4]
    cdef FloatContext e
    cdef int k
    cdef int n = 16 // sizeof(bits_t)
    e.mxcsr = c.mxcsr
    e.flags = 0
    for k in range(n):
        p[k] = calculated(&e, FLOAT_MUL, d[k], s[k]) if i.imm >> (4 + k) & 1 else 0
    if not float_done(c, i, e.flags):
        return False
    e.flags = 0
    if bits_t is uint32_t:
        for k in range(n):
            t[k] = calculated(&e, FLOAT_ADD, p[k ^ 1], p[k])
        if not float_done(c, i, e.flags):
            return False
        e.flags = 0
        for k in range(n):
            p[k] = calculated(&e, FLOAT_ADD, t[k], t[k ^ 2])
    else:
        t[0] = calculated(&e, FLOAT_ADD, p[0], p[1])
        t[1] = calculated(&e, FLOAT_ADD, p[1], p[0])
        memcpy(p, t, 16)
    if not float_done(c, i, e.flags):
        return False
    for k in range(n):
        d[k] = p[k] if i.imm >> k & 1 else 0
    return True

cdef bint dot_product_32(Cpu* c, Insn* i) noexcept nogil:
    return dot_product(c, i, <uint32_t>0)

cdef bint dot_product_64(Cpu* c, Insn* i) noexcept nogil:
    return dot_product(c, i, <uint64_t>0)

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
# One bit for each relation (less, equal, greater, unordered), by predicate: EQ LT LE UNORD NEQ NLT NLE ORD.
cdef enum:
    PREDICATES = 0x7CED8312
    QUIET_PREDICATES = 0x99         # of these a quiet NaN is no invalid operation

cdef inline int relation_of(FloatContext* e, bits_t a, bits_t b, bint quiet) noexcept nogil:
    if bits_t is uint32_t:
        return f32_compare(e, a, b, quiet)
    else:
        return f64_compare(e, a, b, quiet)

cdef inline bint compare(Cpu* c, Insn* i, int n, bits_t kind) noexcept nogil:
    cdef bits_t* d = <bits_t*>xmm(c, i.dst)
    cdef bits_t* s = <bits_t*>xmm(c, i.src)
    cdef bits_t r[4]
    cdef FloatContext e
    cdef int k
    cdef uint32_t predicate = <uint32_t>i.imm & 7
    cdef uint32_t true_for = <uint32_t>PREDICATES >> (4 * predicate)
    cdef bint quiet = QUIET_PREDICATES >> predicate & 1
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
