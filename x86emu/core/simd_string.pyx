# cython: language_level=3
# PCMPESTRI, PCMPESTRM, PCMPISTRI, PCMPISTRM (SDM 2B, 4.1: "Imm8 control byte operation").
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.simd cimport *
from x86emu.core.avx cimport clear_upper

cdef enum:
    # imm8 bits 3:2
    EQUAL_ANY = 0
    RANGES = 1
    EQUAL_EACH = 2
    EQUAL_ORDERED = 3

cdef inline int element(void* v, int k, int control) noexcept nogil:
    """Element k: unsigned or signed bytes or words by imm8 bits 1:0."""
    control &= 3
    if control == 0:
        return (<uint8_t*>v)[k]
    elif control == 1:
        return (<uint16_t*>v)[k]
    elif control == 2:
        return (<int8_t*>v)[k]
    return (<int16_t*>v)[k]

cdef inline int implicit_length(void* v, int n, int control) noexcept nogil:
    cdef int k = 0
    while k < n and element(v, k, control) != 0:
        k += 1
    return k

cdef inline int explicit_length(int64_t length, int n) noexcept nogil:
    """The magnitude, at most n."""
    if length < 0:
        length = -length
    return n if length > n or length < 0 else <int>length

cdef uint32_t aggregate(void* first, int length_a, void* second, int length_b, int n, int control) noexcept nogil:
    """IntRes2: one bit for each element of the second operand."""
    cdef int mode = control >> 2 & 3
    cdef int k, m, low, high
    cdef int32_t a[16]
    cdef int32_t b[16]
    cdef int32_t hit[16]
    cdef uint32_t result = 0
    for k in range(n):
        a[k] = element(first, k, control)
        b[k] = element(second, k, control)
    for k in range(n, 16):
        b[k] = 0
    for k in range(16):
        hit[k] = 1 if mode == EQUAL_ORDERED else 0
    if mode == EQUAL_ANY:
        for m in range(length_a):
            low = a[m]
            for k in range(16):
                hit[k] |= <int32_t>(b[k] == low)
    elif mode == RANGES:
        for m in range(0, length_a - 1, 2):
            low = a[m]
            high = a[m + 1]
            for k in range(16):
                hit[k] |= <int32_t>(b[k] >= low) & <int32_t>(b[k] <= high)
    elif mode == EQUAL_EACH:
        for k in range(n):
            if k < length_a and k < length_b:
                hit[k] = <int32_t>(a[k] == b[k])
            else:
                hit[k] = <int32_t>(k >= length_a and k >= length_b)
    else:
        for m in range(length_a):
            for k in range(n - m):
                if k + m >= length_b or a[m] != b[k + m]:
                    hit[k] = 0
    for k in range(length_b if mode <= RANGES else n):
        result |= <uint32_t>hit[k] << k
    if control & 0x10:
        # negative polarity, with bit 5 only for the valid elements
        result ^= (<uint32_t>1 << (length_b if control & 0x20 else n)) - 1
    return result

cdef uint32_t compare_strings(Cpu* c, Insn* i, int64_t given_a, int64_t given_b, bint explicit) noexcept nogil:
    """The aggregate of both operands; sets the flags."""
    cdef void* a = xmm(c, i.dst)
    cdef void* b = xmm(c, i.src)
    cdef int control = <uint8_t>i.imm
    cdef int n = 8 if control & 1 else 16
    cdef int length_a = explicit_length(given_a, n) if explicit else implicit_length(a, n, control)
    cdef int length_b = explicit_length(given_b, n) if explicit else implicit_length(b, n, control)
    cdef uint32_t result = aggregate(a, length_a, b, length_b, n, control)
    flags_eager(c, (FLAG_CF if result else 0) | (FLAG_ZF if length_b < n else 0) | (FLAG_SF if length_a < n else 0)
                | (FLAG_OF if result & 1 else 0))
    return result

cdef void put_index(Cpu* c, Insn* i, uint32_t result) noexcept nogil:
    """ECX: the lowest or, with imm8 bit 6, the highest set bit; the number of elements if there is none."""
    cdef int k
    cdef int n = 8 if i.imm & 1 else 16
    cdef int index = n
    for k in range(n):
        if result >> k & 1 and (index == n or i.imm & 0x40):
            index = k
    c.r[RCX] = <uint32_t>index

cdef void put_mask(Cpu* c, Insn* i, uint32_t result) noexcept nogil:
    """XMM0: the bits, or with imm8 bit 6 a mask of elements."""
    cdef int k
    cdef uint8_t* bytes_ = <uint8_t*>xmm(c, 0)
    cdef uint16_t* words = <uint16_t*>xmm(c, 0)
    c.vec[0].q[0] = result
    c.vec[0].q[1] = 0
    if i.imm & 0x40:
        for k in range(8 if i.imm & 1 else 16):
            if i.imm & 1:
                words[k] = 0xFFFF if result >> k & 1 else 0
            else:
                bytes_[k] = 0xFF if result >> k & 1 else 0

cdef void PCMPESTRI_V_V_I_d(Cpu* c, Insn* i) noexcept nogil:
    put_index(c, i, compare_strings(c, i, <int32_t>c.r[RAX], <int32_t>c.r[RDX], 1))
    chain(c, i)

cdef void PCMPESTRI_V_V_I_q(Cpu* c, Insn* i) noexcept nogil:
    put_index(c, i, compare_strings(c, i, <int64_t>c.r[RAX], <int64_t>c.r[RDX], 1))
    chain(c, i)

cdef void PCMPISTRI_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    put_index(c, i, compare_strings(c, i, 0, 0, 0))
    chain(c, i)

cdef void PCMPESTRM_V_V_I_d(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, <int32_t>c.r[RAX], <int32_t>c.r[RDX], 1))
    chain(c, i)

cdef void PCMPESTRM_V_V_I_q(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, <int64_t>c.r[RAX], <int64_t>c.r[RDX], 1))
    chain(c, i)

cdef void PCMPISTRM_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, 0, 0, 0))
    chain(c, i)

# with VEX, the mask clears the upper half of YMM0
cdef void VPCMPESTRM_V_V_I_d(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, <int32_t>c.r[RAX], <int32_t>c.r[RDX], 1))
    clear_upper(c, 0)
    chain(c, i)

cdef void VPCMPESTRM_V_V_I_q(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, <int64_t>c.r[RAX], <int64_t>c.r[RDX], 1))
    clear_upper(c, 0)
    chain(c, i)

cdef void VPCMPISTRM_V_V_I(Cpu* c, Insn* i) noexcept nogil:
    put_mask(c, i, compare_strings(c, i, 0, 0, 0))
    clear_upper(c, 0)
    chain(c, i)

include "register_simd_string.pxi"
