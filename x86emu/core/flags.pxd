# cython: language_level=3
# Lazy arithmetic flags (SDM volume 1, 3.4.3.1; the scheme is in state.pxd at FlagKind).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *

cdef extern from * nogil:
    int __builtin_parity(unsigned int)

cdef inline int64_t sx(uint_t v) noexcept nogil:
    """Sign-extends from the operand's size."""
    if uint_t is uint8_t:
        return <int64_t><int8_t>v
    elif uint_t is uint16_t:
        return <int64_t><int16_t>v
    elif uint_t is uint32_t:
        return <int64_t><int32_t>v
    else:
        return <int64_t>v

# ----- producers -----
cdef inline void flags_add(Cpu* c, uint_t a, uint_t b, uint_t result) noexcept nogil:
    c.f_result = sx(result)
    c.f_a = sx(a)
    c.f_b = sx(b)
    c.f_kind = FLAGS_ADD

cdef inline void flags_sub(Cpu* c, uint_t a, uint_t b, uint_t result) noexcept nogil:
    c.f_result = sx(result)
    c.f_a = sx(a)
    c.f_b = sx(b)
    c.f_kind = FLAGS_SUB

cdef inline void flags_logic(Cpu* c, uint_t result) noexcept nogil:
    c.f_result = sx(result)
    c.f_kind = FLAGS_LOGIC

cdef inline void flags_mixed(Cpu* c, uint_t result, uint32_t cf_of_af) noexcept nogil:
    """ZF, SF, PF from result; CF, OF, AF given as FLAG_ bits."""
    c.f_result = sx(result)
    c.f_b = cf_of_af
    c.f_kind = FLAGS_MIXED

cdef inline void flags_count(Cpu* c, uint_t a, uint_t result) noexcept nogil:
    """INC and DEC: CF stays."""
    c.f_b = get_cf(c)
    c.f_result = sx(result)
    c.f_a = sx(a)
    c.f_kind = FLAGS_COUNT

cdef inline void flags_shift(Cpu* c, uint_t a, uint32_t last, uint_t result) noexcept nogil:
    """SHR and SAR: bit `last` of a is the one shifted out last."""
    c.f_result = sx(result)
    c.f_a = sx(a)
    c.f_b = last
    c.f_kind = FLAGS_SHIFT

cdef inline void flags_eager(Cpu* c, uint32_t image) noexcept nogil:
    """All six arithmetic flags as FLAG_ bits."""
    c.f_b = image & FLAGS_ARITHMETIC
    c.f_result = 0 if image & FLAG_ZF else 1
    c.f_kind = FLAGS_EAGER

# ----- consumers -----
cdef inline bint get_cf(Cpu* c) noexcept nogil:
    cdef uint32_t k = c.f_kind
    if k & FLAGS_STORED:
        return c.f_b & 1
    elif k == FLAGS_SUB:
        return <uint64_t>c.f_a < <uint64_t>c.f_b
    elif k == FLAGS_LOGIC:
        return 0
    elif k == FLAGS_ADD:
        return <uint64_t>c.f_result < <uint64_t>c.f_a
    return (c.f_a >> c.f_b) & 1

cdef inline bint get_zf(Cpu* c) noexcept nogil:
    return c.f_result == 0

cdef inline bint get_sf(Cpu* c) noexcept nogil:
    if unlikely(c.f_kind == FLAGS_EAGER):
        return (c.f_b & FLAG_SF) != 0
    return c.f_result < 0

cdef inline bint get_pf(Cpu* c) noexcept nogil:
    if unlikely(c.f_kind == FLAGS_EAGER):
        return (c.f_b & FLAG_PF) != 0
    return not __builtin_parity(<uint8_t>c.f_result)

cdef inline bint get_of(Cpu* c) noexcept nogil:
    cdef uint32_t k = c.f_kind
    if k == FLAGS_LOGIC:
        return 0
    elif k & FLAGS_STORED:
        if k == FLAGS_COUNT:
            return (c.f_a ^ c.f_result) < 0 and c.f_a != 0 and c.f_result != 0
        return (c.f_b & FLAG_OF) != 0
    elif k == FLAGS_SUB:
        return ((c.f_a ^ c.f_b) & (c.f_a ^ c.f_result)) < 0
    elif k == FLAGS_ADD:
        return ((c.f_a ^ c.f_result) & (c.f_b ^ c.f_result)) < 0
    return c.f_b == 0 and (c.f_a & ~c.f_result) < 0

cdef inline bint get_af(Cpu* c) noexcept nogil:
    cdef uint32_t k = c.f_kind
    if k & FLAGS_STORED:
        if k == FLAGS_COUNT:
            return ((c.f_a ^ c.f_result) >> 4) & 1
        return (c.f_b & FLAG_AF) != 0
    elif k == FLAGS_LOGIC or k == FLAGS_SHIFT:
        return 0
    return ((c.f_a ^ c.f_b ^ c.f_result) >> 4) & 1

cdef inline uint32_t arithmetic_flags(Cpu* c) noexcept nogil:
    """The six arithmetic flags as an EFLAGS image."""
    cdef uint32_t k = c.f_kind, image
    cdef int64_t result = c.f_result, overflow
    if k == FLAGS_EAGER:
        return <uint32_t>c.f_b
    # by kind once, not once for each flag; the sign goes from bit 63 to bit 7, the overflow to bit 11
    image = ((FLAG_ZF if result == 0 else 0) | (<uint32_t>(<uint64_t>result >> 56) & FLAG_SF)
             | (0 if __builtin_parity(<uint8_t>result) else FLAG_PF))
    if k == FLAGS_MIXED:
        return image | <uint32_t>c.f_b
    elif k == FLAGS_LOGIC:
        return image
    elif k == FLAGS_COUNT or k == FLAGS_SHIFT:
        return image | get_cf(c) | (FLAG_AF if get_af(c) else 0) | (FLAG_OF if get_of(c) else 0)
    elif k == FLAGS_SUB:
        overflow = (c.f_a ^ c.f_b) & (c.f_a ^ result)
    else:
        overflow = (c.f_a ^ result) & (c.f_b ^ result)
    return (image | get_cf(c) | (<uint32_t>(c.f_a ^ c.f_b ^ result) & FLAG_AF)
            | (<uint32_t>(<uint64_t>overflow >> 52) & FLAG_OF))

cdef inline uint64_t read_rflags(Cpu* c) noexcept nogil:
    return c.rflags | arithmetic_flags(c)

cdef inline void write_rflags(Cpu* c, uint64_t image) noexcept nogil:
    """Sets all of RFLAGS (the caller has masked what may change). TF, AC, VM, IF may alter the mode: see refresh_mode()."""
    flags_eager(c, <uint32_t>image)
    c.rflags = (image & 0x3F7F02ULL & ~<uint64_t>FLAGS_ARITHMETIC) | 2

# Conditions by the low four bits of Jcc/SETcc/CMOVcc (SDM 1, appendix B)
cdef inline bint condition(Cpu* c, int code) noexcept nogil:
    cdef bint v
    cdef int k = code >> 1
    if k == 0:
        v = get_of(c)
    elif k == 1:
        v = get_cf(c)
    elif k == 2:
        v = c.f_result == 0
    elif k == 3:
        v = c.f_result == 0 or get_cf(c)
    elif k == 4:
        v = get_sf(c)
    elif k == 5:
        v = get_pf(c)
    elif k == 6:
        v = (c.f_a < c.f_b) if c.f_kind == FLAGS_SUB else (get_sf(c) != get_of(c))
    else:
        v = c.f_result == 0 or ((c.f_a < c.f_b) if c.f_kind == FLAGS_SUB else (get_sf(c) != get_of(c)))
    return v != (code & 1)
