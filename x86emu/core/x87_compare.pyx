# cython: language_level=3
"""x87 comparisons and classification (Intel SDM volume 1, 8.3.6): FCOM, FUCOM, FICOM, FCOMI, FTST, FXAM.

Departs from the pseudo-code of SDM 2A as silicon does: an unmasked invalid operation does not keep the condition codes
or EFLAGS from being set to "unordered".
"""
from x86emu.core.flags cimport flags_eager
from x86emu.core.softfloat80_convert cimport load32, load64, load_integer


cdef uint32_t denormal_operand(Cpu* c, uint32_t a, uint32_t result) noexcept nogil:
    """DE for a denormal memory operand, whose conversion hid it from the comparison."""
    if result & SW_IE or classify80(c.fpu.st[a].mantissa, c.fpu.st[a].sign_exponent) >= CLASS_QNAN:
        return 0
    return SW_DE

cdef inline bint compare_goes_on(Cpu* c, uint32_t flags) noexcept nogil:
    """Notes the exceptions of FCOMI and its like; whether the stack pops."""
    cdef uint32_t c1 = c.fpu.status & SW_C1
    if likely(flags == 0):
        return True
    if flags & SW_SF:
        c1 = 0
    if goes_on(c, flags):
        c.fpu.status = <uint16_t>((c.fpu.status & ~SW_C1) | flags | c1)
        return True
    c.fpu.status |= <uint16_t>c1
    return False

include "x87_compare_forms.pxi"

cdef void FXAM(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t a = physical(c, 0)
    if not ready(c, i):
        return
    note(c, i)
    c.fpu.status = <uint16_t>((c.fpu.status & ~SW_CONDITIONS) | examine(c, a))
    chain(c, i)

cdef uint32_t examine(Cpu* c, uint32_t a) noexcept nogil:
    """SDM 1, table 8-11; C1 is the sign even of an empty register."""
    cdef uint32_t sign = SW_C1 if c.fpu.st[a].sign_exponent & SIGN else 0
    cdef int k
    if not not_empty(c, a):
        return sign | SW_C3 | SW_C0
    k = classify80(c.fpu.st[a].mantissa, c.fpu.st[a].sign_exponent)
    if k == CLASS_ZERO:
        return sign | SW_C3
    elif k == CLASS_DENORMAL:
        return sign | SW_C3 | SW_C2
    elif k == CLASS_NORMAL:
        return sign | SW_C2
    elif k == CLASS_INFINITY:
        return sign | SW_C2 | SW_C0
    elif k == CLASS_UNSUPPORTED:
        return sign
    return sign | SW_C0

include "register_x87_compare.pxi"
