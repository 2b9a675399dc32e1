# cython: language_level=3
"""x87 data transfer and constants (Intel SDM volume 1, 8.3.2 and 8.3.4): FLD, FST, FILD, FIST, FISTTP, FBLD, FBSTP, FXCH,
FCMOVcc, and the constants."""
from x86emu.core.flags cimport get_cf, get_zf, get_pf
from x86emu.core.softfloat80_convert cimport *
from x86emu.core.transcendental80 cimport load_constant


cdef void suppressed_store(Cpu* c, Insn* i, uint64_t ea, uint32_t flags) noexcept nogil:
    """An unmasked exception other than PE: memory and stack keep what they have (SDM 1, 8.5.4 and 8.5.5). Memory is not
    even looked at: processors raise no page fault."""
    note_data(c, i, ea)
    if unmasked(c, flags):
        set_status(c, flags)

cdef void stack_underflow(Cpu* c, uint32_t d) noexcept nogil:
    if goes_on(c, UNDERFLOW):
        set_register(c, d, indefinite80(0))
        set_status(c, UNDERFLOW)

include "x87_transfer_forms.pxi"

cdef void FLD_Mt(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if not ready(c, i) or not load_m80(c, i, ea):
        return
    note_data(c, i, ea)
    push(c, result80(c.fpu.st[8].mantissa, c.fpu.st[8].sign_exponent, 0))
    chain(c, i)

cdef void FLD_STi(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = physical(c, i.src)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, s)):
        push(c, result80(c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent, 0))
    else:
        push(c, indefinite80(UNDERFLOW))
    chain(c, i)

cdef void FSTP_Mt(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = physical(c, 0)
    cdef uint64_t ea = ea_of(c, i)
    if not ready(c, i):
        return
    if likely(not_empty(c, s)):
        if not store_m80(c, i, ea, c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent):
            return
        note_data(c, i, ea)
        set_status(c, 0)
        pop(c)
    elif c.fpu.control & SW_IE:
        if not store_m80(c, i, ea, 0xC000000000000000ULL, 0xFFFF):
            return
        note_data(c, i, ea)
        set_status(c, UNDERFLOW)
        pop(c)
    else:
        suppressed_store(c, i, ea, UNDERFLOW)
    chain(c, i)

cdef void FBLD_Mt(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if not ready(c, i) or not load_m80(c, i, ea):
        return
    note_data(c, i, ea)
    push(c, load_bcd80(c.fpu.st[8].mantissa, c.fpu.st[8].sign_exponent))
    chain(c, i)

cdef bint store_bcd(Cpu* c, Insn* i, uint64_t ea) noexcept nogil:
    cdef uint32_t s = physical(c, 0)
    cdef uint16_t high = 0xFFFF
    cdef Stored v
    if likely(not_empty(c, s)):
        v = store_bcd80(c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent, c.fpu.control, &high)
    else:
        v.value = 0xC000000000000000ULL
        v.flags = UNDERFLOW
    if v.flags & SW_IE & ~<uint32_t>c.fpu.control:
        suppressed_store(c, i, ea, v.flags)
        return True
    if not store_m80(c, i, ea, v.value, high):
        return False
    note_data(c, i, ea)
    if v.flags & SW_PE & ~<uint32_t>c.fpu.control:
        unmasked(c, v.flags)
    set_status(c, v.flags)
    pop(c)
    return True

cdef void FBSTP_Mt(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i) or not store_bcd(c, i, ea_of(c, i)):
        return
    chain(c, i)

cdef void FST_STi(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = physical(c, 0)
    cdef uint32_t d = physical(c, i.src)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, s)):
        copy_register(c, d, s)
        set_status(c, 0)
    else:
        stack_underflow(c, d)
    chain(c, i)

cdef void FSTP_STi(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = physical(c, 0)
    cdef uint32_t d = physical(c, i.src)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, s)):
        copy_register(c, d, s)
        set_status(c, 0)
        pop(c)
    elif goes_on(c, UNDERFLOW):
        set_register(c, d, indefinite80(0))
        set_status(c, UNDERFLOW)
        pop(c)
    chain(c, i)

cdef void FSTPNCE_STi(Cpu* c, Insn* i) noexcept nogil:
    """D9 D8+i: FSTP that checks nothing; an empty ST0 is popped and leaves the destination alone."""
    cdef uint32_t s = physical(c, 0)
    cdef uint32_t d = physical(c, i.src)
    if not ready(c, i):
        return
    note(c, i)
    if likely(not_empty(c, s)):
        copy_register(c, d, s)
    set_status(c, 0)
    pop(c)
    chain(c, i)

cdef void FXCH_ST0_STi(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t a = physical(c, 0)
    cdef uint32_t b = physical(c, i.src)
    cdef uint64_t m
    cdef uint16_t se
    if not ready(c, i):
        return
    note(c, i)
    if likely((c.fpu.valid >> a) & (c.fpu.valid >> b) & 1):
        m = c.fpu.st[a].mantissa
        se = c.fpu.st[a].sign_exponent
        c.fpu.st[a].mantissa = c.fpu.st[b].mantissa
        c.fpu.st[a].sign_exponent = c.fpu.st[b].sign_exponent
        c.fpu.st[b].mantissa = m
        c.fpu.st[b].sign_exponent = se
        set_status(c, 0)
    else:
        exchange_empty(c, a, b)
    chain(c, i)

cdef void exchange_empty(Cpu* c, uint32_t a, uint32_t b) noexcept nogil:
    """Empty registers take part as indefinites (SDM 2A, FXCH) if IE is masked."""
    cdef F80 v
    if goes_on(c, UNDERFLOW):
        if not not_empty(c, a):
            set_register(c, a, indefinite80(0))
        if not not_empty(c, b):
            set_register(c, b, indefinite80(0))
        v = c.fpu.st[a]
        c.fpu.st[a] = c.fpu.st[b]
        c.fpu.st[b] = v
        set_status(c, UNDERFLOW)

include "register_x87_transfer.pxi"
