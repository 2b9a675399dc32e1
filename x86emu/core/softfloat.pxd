# cython: language_level=3
# IEEE 754 binary32 and binary64 arithmetic as SSE performs it (SDM volume 1, 4.8, 4.9, 11.5 and appendix E).
# Values are raw bit patterns: binary32 in a uint32_t, binary64 in a uint64_t.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t

# MXCSR (SDM 1, figure 10-3)
cdef enum Mxcsr:
    MXCSR_IE = 0x1
    MXCSR_DE = 0x2
    MXCSR_ZE = 0x4
    MXCSR_OE = 0x8
    MXCSR_UE = 0x10
    MXCSR_PE = 0x20
    MXCSR_FLAGS = 0x3F
    MXCSR_BEFORE = 0x7          # found before the operation is carried out: they suppress the others when unmasked
    MXCSR_DAZ = 0x40
    MXCSR_PM = 0x1000
    MXCSR_MASK_SHIFT = 7
    MXCSR_RC_SHIFT = 13
    MXCSR_RC = 0x6000
    MXCSR_FTZ = 0x8000
    MXCSR_VALID = 0xFFFF

cdef enum Rounding:
    ROUND_NEAREST = 0
    ROUND_DOWN = 1
    ROUND_UP = 2
    ROUND_ZERO = 3

# Relations as compare() gives them.
cdef enum Relation:
    RELATION_LESS = 0
    RELATION_EQUAL = 1
    RELATION_GREATER = 2
    RELATION_UNORDERED = 3

cdef struct FloatContext:
    uint32_t mxcsr              # controls; its flags are not looked at
    uint32_t flags              # exceptions raised, as MXCSR_IE .. MXCSR_PE; only ever OR-ed to

cdef enum FloatOperation:
    FLOAT_ADD = 0
    FLOAT_SUB = 1
    FLOAT_MUL = 2
    FLOAT_DIV = 3
    FLOAT_MIN = 4
    FLOAT_MAX = 5
    FLOAT_SQRT = 6              # of the second operand

cdef uint32_t f32_arithmetic(FloatContext* e, int operation, uint32_t a, uint32_t b) noexcept nogil
cdef uint64_t f64_arithmetic(FloatContext* e, int operation, uint64_t a, uint64_t b) noexcept nogil
# a * b + addend with one rounding; the product or the addend may be negated
cdef uint32_t f32_multiply_add(FloatContext* e, uint32_t a, uint32_t b, uint32_t addend, bint negate_product,
                               bint negate_addend) noexcept nogil
cdef uint64_t f64_multiply_add(FloatContext* e, uint64_t a, uint64_t b, uint64_t addend, bint negate_product,
                               bint negate_addend) noexcept nogil
cdef uint32_t f16_to_f32(FloatContext* e, uint16_t a) noexcept nogil
cdef uint16_t f32_to_f16(FloatContext* e, uint32_t a, int control) noexcept nogil
# quiet: a quiet NaN is no invalid operation (UCOMIS, and the CMP predicates EQ, NEQ, ORD, UNORD)
cdef int f32_compare(FloatContext* e, uint32_t a, uint32_t b, bint quiet) noexcept nogil
cdef int f64_compare(FloatContext* e, uint64_t a, uint64_t b, bint quiet) noexcept nogil
cdef uint64_t f32_to_f64(FloatContext* e, uint32_t a) noexcept nogil
cdef uint32_t f64_to_f32(FloatContext* e, uint64_t a) noexcept nogil
# To a signed integer of 32 or 64 bits; out of range or NaN: the integer indefinite (only the top bit set) and IE.
cdef int64_t f32_to_int(FloatContext* e, uint32_t a, int bits, bint truncate) noexcept nogil
cdef int64_t f64_to_int(FloatContext* e, uint64_t a, int bits, bint truncate) noexcept nogil
cdef uint32_t int_to_f32(FloatContext* e, int64_t v) noexcept nogil
cdef uint64_t int_to_f64(FloatContext* e, int64_t v) noexcept nogil
# ROUNDPS and its kin: control is their immediate (bits 1:0 rounding, 2 take MXCSR.RC, 3 no PE)
cdef uint32_t f32_round(FloatContext* e, uint32_t a, int control) noexcept nogil
cdef uint64_t f64_round(FloatContext* e, uint64_t a, int control) noexcept nogil
cdef uint32_t f32_reciprocal(uint32_t a) noexcept nogil
cdef uint32_t f32_reciprocal_sqrt(uint32_t a) noexcept nogil
