# cython: language_level=3
"""x87 arithmetic (Intel SDM volume 1, 8.3.3 and 8.3.5): the basic operations, square root, partial remainders, scaling."""
from x86emu.core.softfloat80_convert cimport load32, load64, load_integer


cdef uint32_t denormal_operand(Cpu* c, uint32_t d, uint32_t flags) noexcept nogil:
    """DE for a denormal memory operand, whose conversion hid it from the operation: unless something graver came first."""
    if flags & (SW_IE | SW_ZE) or classify80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent) >= CLASS_QNAN:
        return 0
    return SW_DE

include "x87_arithmetic_forms.pxi"

cdef void FCHS(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, d)):
        c.fpu.st[d].sign_exponent ^= SIGN
        set_status(c, 0)
    else:
        stack_underflow(c, d)
    chain(c, i)

cdef void FABS(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, d)):
        c.fpu.st[d].sign_exponent &= EXPONENT
        set_status(c, 0)
    else:
        stack_underflow(c, d)
    chain(c, i)

cdef void stack_underflow(Cpu* c, uint32_t d) noexcept nogil:
    """An empty operand: the destination becomes the indefinite if IE is masked (SDM 1, 8.5.1.1)."""
    if goes_on(c, UNDERFLOW):
        set_register(c, d, indefinite80(0))
        set_status(c, UNDERFLOW)

cdef void FSQRT(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    cdef Result80 r
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, d)):
        r = sqrt80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)
    else:
        r = indefinite80(UNDERFLOW)
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags)
    chain(c, i)

cdef void FRNDINT(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    cdef Result80 r
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, d)):
        r = round_to_integer80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.control)
    else:
        r = indefinite80(UNDERFLOW)
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags)
    chain(c, i)

cdef void FSCALE(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    cdef uint32_t s = physical(c, 1)
    cdef Result80 r
    if not ready(c, i):
        return
    note(c, i)
    if likely((c.fpu.valid >> d) & (c.fpu.valid >> s) & 1):
        r = scale80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent,
                    c.fpu.control)
    else:
        r = indefinite80(UNDERFLOW)
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags)
    chain(c, i)

cdef inline void partial_remainder(Cpu* c, bint nearest) noexcept nogil:
    """ST0 by ST1; the quotient's low bits go to C0, C3, C1, and C2 says that the reduction is not complete."""
    cdef uint32_t d = physical(c, 0)
    cdef uint32_t s = physical(c, 1)
    cdef Result80 r
    if likely((c.fpu.valid >> d) & (c.fpu.valid >> s) & 1):
        r = rem80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent,
                  c.fpu.control, nearest)
    else:
        r = indefinite80(UNDERFLOW)
    # C0 and C3 keep their values where there is no quotient (invalid operand, NaN).
    c.fpu.status &= <uint16_t>~SW_C2
    if goes_on(c, r.flags):
        if not r.flags & SW_IE and (r.sign_exponent & EXPONENT) != EXPONENT:
            c.fpu.status &= <uint16_t>~(SW_C0 | SW_C3)
        set_register(c, d, r)
        set_status(c, r.flags)

cdef void FPREM(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    partial_remainder(c, 0)
    chain(c, i)

cdef void FPREM1(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    partial_remainder(c, 1)
    chain(c, i)

cdef void FXTRACT(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    extract(c)
    chain(c, i)

cdef void extract(Cpu* c) noexcept nogil:
    """The exponent replaces ST0, then the significand is pushed."""
    cdef uint32_t d = physical(c, 0)
    cdef uint32_t p = physical(c, 7)
    cdef F80 exponent
    cdef Result80 r
    if unlikely(not not_empty(c, d)):
        r = indefinite80(UNDERFLOW)
    elif unlikely(not_empty(c, p)):
        r = indefinite80(OVERFLOW)
    else:
        r = extract80(c.fpu.st[d].mantissa, c.fpu.st[d].sign_exponent, &exponent)
    if r.flags & SW_SF:
        exponent.mantissa = r.mantissa
        exponent.sign_exponent = <uint16_t>r.sign_exponent
    if goes_on(c, r.flags):
        c.fpu.st[d] = exponent
        c.fpu.valid |= <uint8_t>(1 << d)
        set_register(c, p, r)
        c.fpu.status = <uint16_t>((c.fpu.status & ~(SW_C1 | SW_TOP)) | (p << 11) | r.flags)

include "register_x87_arithmetic.pxi"
