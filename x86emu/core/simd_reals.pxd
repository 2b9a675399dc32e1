# cython: language_level=3
# What SSE and AVX floating-point instructions share (SDM 1, 11.4, 11.5 and 14.1; SDM 2A to 2C under the mnemonics): when the
# host's own arithmetic gives the same as softfloat, and the exact operations on 16 bytes.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.math cimport sqrt, sqrtf
from x86emu.core.state cimport Cpu, unlikely, likely
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

cdef inline void begin(FloatContext* e, Cpu* c) noexcept nogil:
    e.mxcsr = c.mxcsr
    e.flags = 0

# ----- the exact operations -----
cdef inline bits_t calculated(FloatContext* e, int operation, bits_t a, bits_t b) noexcept nogil:
    if bits_t is uint32_t:
        return f32_arithmetic(e, operation, a, b)
    else:
        return f64_arithmetic(e, operation, a, b)

cdef inline void horizontal(FloatContext* e, bits_t* d, bits_t* s, bits_t* r, int operation) noexcept nogil:
    """Pairs of the destination give the low half of the result, pairs of the source the high half."""
    cdef int k
    cdef int half = 8 // sizeof(bits_t)
    for k in range(half):
        r[k] = calculated(e, operation, d[2 * k], d[2 * k + 1])
        r[half + k] = calculated(e, operation, s[2 * k], s[2 * k + 1])

cdef inline void alternate(FloatContext* e, bits_t* d, bits_t* s, bits_t* r) noexcept nogil:
    """ADDSUBPS: subtracts even elements, adds odd ones."""
    cdef int k
    for k in range(16 // <int>sizeof(bits_t)):
        r[k] = calculated(e, FLOAT_ADD if k & 1 else FLOAT_SUB, d[k], s[k])

cdef inline bint stage_done(Cpu* c, FloatContext* e) noexcept nogil:
    """The exceptions of one step of an instruction: False if one is unmasked, otherwise they are in MXCSR and the next
    step begins without any."""
    if e.flags & ~(e.mxcsr >> MXCSR_MASK_SHIFT):
        return False
    c.mxcsr |= e.flags
    e.flags = 0
    return True

cdef inline void dot_product(Cpu* c, FloatContext* e, bits_t* d, bits_t* s, bits_t* r, int n, uint32_t control) noexcept nogil:
    """n elements, in lanes of 16 bytes. control: which products are made (bits 7:4), which elements get the sum (3:0).

    The order of the additions differs from element to element; it shows only in the choice among several NaNs, and is
    that of AMD's processors (the manual's pseudo-code has one order for all elements). Each step raises its exceptions
    before the next begins."""
    cdef bits_t p[8]
    cdef bits_t t[8]
    cdef int k
    for k in range(n):
        p[k] = calculated(e, FLOAT_MUL, d[k], s[k]) if control >> (4 + k % (16 // <int>sizeof(bits_t))) & 1 else 0
    if not stage_done(c, e):
        return
    for k in range(n):
        t[k] = calculated(e, FLOAT_ADD, p[k ^ 1], p[k]) if bits_t is uint32_t else calculated(e, FLOAT_ADD, p[k], p[k ^ 1])
    if bits_t is uint32_t:
        if not stage_done(c, e):
            return
        for k in range(n):
            p[k] = calculated(e, FLOAT_ADD, t[k], t[k ^ 2])
    else:
        for k in range(n):
            p[k] = t[k]
    for k in range(n):
        r[k] = p[k] if control >> (k % (16 // <int>sizeof(bits_t))) & 1 else 0

# ----- comparison -----
# One bit for each relation (less, equal, greater, unordered), by predicate (SDM 2A, table 3-1): EQ LT LE UNORD NEQ NLT NLE
# ORD, with AVX then EQ_U NGE NGT FALSE NEQ_O GE GT TRUE. AVX's bit 4 says which of them a quiet NaN makes invalid.
cdef inline uint32_t true_relations(uint32_t predicate) noexcept nogil:
    return <uint32_t>(0xF4650B9A7CED8312ULL >> 4 * (predicate & 15)) & 15

cdef inline bint quiet_predicate(uint32_t predicate) noexcept nogil:
    return (0x9999 >> (predicate & 15) ^ predicate >> 4) & 1

cdef inline int relation_of(FloatContext* e, bits_t a, bits_t b, bint quiet) noexcept nogil:
    if bits_t is uint32_t:
        return f32_compare(e, a, b, quiet)
    else:
        return f64_compare(e, a, b, quiet)

