# cython: language_level=3
"""x87 transcendental instructions (Intel SDM volume 1, 8.3.7 and 8.3.8); the functions are in transcendental80.pyx."""
from x86emu.core.transcendental80 cimport *


cdef inline Result80 st_unary(Cpu* c, uint32_t d, int function) noexcept nogil:
    if unlikely(not not_empty(c, d)):
        return indefinite80(UNDERFLOW)
    if function == 0:
        return exp2_minus_1(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)
    elif function == 1:
        return sine(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)
    elif function == 2:
        return cosine(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)
    return tangent(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)

cdef void unary(Cpu* c, int function) noexcept nogil:
    """ST0 becomes function(ST0). The trigonometric ones set C2 or clear it."""
    cdef uint32_t d = physical(c, 0)
    cdef Result80 r = st_unary(c, d, function)
    if function:
        c.fpu.status &= <uint16_t>~SW_C2
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags)

cdef void binary(Cpu* c, int function) noexcept nogil:
    """ST1 becomes function(ST0, ST1), then a pop."""
    cdef uint32_t x = physical(c, 0)
    cdef uint32_t y = physical(c, 1)
    cdef Result80 r
    if unlikely(not (c.fpu.valid >> x) & (c.fpu.valid >> y) & 1):
        r = indefinite80(UNDERFLOW)
    elif function == 0:
        r = y_log2_x(c.fpu.st[x].mantissa, c.fpu.st[x].sign_exponent,
                     c.fpu.st[y].mantissa, c.fpu.st[y].sign_exponent, c.fpu.control)
    elif function == 1:
        r = y_log2_x_plus_1(c.fpu.st[x].mantissa, c.fpu.st[x].sign_exponent,
                            c.fpu.st[y].mantissa, c.fpu.st[y].sign_exponent, c.fpu.control)
    else:
        r = arctangent(c.fpu.st[y].mantissa, c.fpu.st[y].sign_exponent,
                       c.fpu.st[x].mantissa, c.fpu.st[x].sign_exponent, c.fpu.control)
    if goes_on(c, r.flags):
        set_register(c, y, r)
        set_status(c, r.flags)
        pop(c)

cdef void two_results(Cpu* c, int function) noexcept nogil:
    """FPTAN (tangent, then 1.0) and FSINCOS (sine, then cosine): one replaces ST0, the other is pushed."""
    cdef uint32_t d = physical(c, 0)
    cdef uint32_t p = physical(c, 7)
    cdef Result80 first, second
    if unlikely(not not_empty(c, d)):
        first = indefinite80(UNDERFLOW)
    elif unlikely(not_empty(c, p)):
        first = indefinite80(OVERFLOW)
    else:
        first = st_unary(c, d, function)
    second = first
    c.fpu.status &= <uint16_t>~SW_C2
    if first.flags & SW_C2:
        set_status(c, SW_C2)
        return
    if (first.sign_exponent & EXPONENT) != EXPONENT or (first.mantissa << 1) == 0:
        if function == 3:
            second = result80(0x8000000000000000ULL, BIAS, 0)
        else:
            second = st_unary(c, d, 2)
            # C1 is that of the last rounding; UE is the sine's alone.
            second.flags |= first.flags & ~<uint32_t>SW_C1
            first.flags = second.flags
    if goes_on(c, first.flags):
        set_register(c, d, first)
        set_register(c, p, second)
        c.fpu.status = <uint16_t>((c.fpu.status & ~(SW_C1 | SW_TOP)) | (p << 11) | first.flags)

cdef void F2XM1(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    unary(c, 0)
    chain(c, i)

cdef void FSIN(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    unary(c, 1)
    chain(c, i)

cdef void FCOS(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    unary(c, 2)
    chain(c, i)

cdef void FPTAN(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    two_results(c, 3)
    chain(c, i)

cdef void FSINCOS(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    two_results(c, 1)
    chain(c, i)

cdef void FYL2X(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    binary(c, 0)
    chain(c, i)

cdef void FYL2XP1(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    binary(c, 1)
    chain(c, i)

cdef void FPATAN(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    binary(c, 2)
    chain(c, i)

include "register_x87_transcendental.pxi"
