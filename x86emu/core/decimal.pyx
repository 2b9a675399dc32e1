# cython: language_level=3
# Decimal arithmetic (SDM 1, 7.3.3 and 7.3.4; SDM 2A: AAA, AAD, AAM, AAS, DAA, DAS).
# Undefined flags: OF is cleared, CF and AF of AAM and AAD too; SF, ZF, PF follow AL.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *

cdef inline void decimal_adjust(Cpu* c, bint subtract) noexcept nogil:
    cdef uint8_t old = <uint8_t>c.r[RAX]
    cdef uint8_t al = old
    cdef bint old_cf = get_cf(c)
    cdef uint32_t flags = 0
    if (al & 15) > 9 or get_af(c):
        if old_cf or (old < 6 if subtract else old > 0xF9):
            flags |= FLAG_CF
        al = <uint8_t>(al - 6 if subtract else al + 6)
        flags |= FLAG_AF
    if old > 0x99 or old_cf:
        al = <uint8_t>(al - 0x60 if subtract else al + 0x60)
        flags |= FLAG_CF
    elif not subtract:
        flags &= ~<uint32_t>FLAG_CF
    set_r(c, RAX, al)
    flags_mixed(c, al, flags)

cdef void DAA(Cpu* c, Insn* i) noexcept nogil:
    decimal_adjust(c, False)
    chain(c, i)

cdef void DAS(Cpu* c, Insn* i) noexcept nogil:
    decimal_adjust(c, True)
    chain(c, i)

cdef inline void ascii_adjust(Cpu* c, bint subtract) noexcept nogil:
    cdef uint16_t ax = <uint16_t>c.r[RAX]
    cdef uint32_t flags = 0
    if (ax & 15) > 9 or get_af(c):
        ax = <uint16_t>(ax - 0x106 if subtract else ax + 0x106)
        flags = FLAG_CF | FLAG_AF
    ax &= 0xFF0F
    set_r(c, RAX, ax)
    flags_mixed(c, <uint8_t>ax, flags)

cdef void AAA(Cpu* c, Insn* i) noexcept nogil:
    ascii_adjust(c, False)
    chain(c, i)

cdef void AAS(Cpu* c, Insn* i) noexcept nogil:
    ascii_adjust(c, True)
    chain(c, i)

cdef void AAM_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t base = <uint8_t>i.imm, al = <uint8_t>c.r[RAX]
    if unlikely(base == 0):
        fault(c, i, V_DE)
        return
    set_r(c, RAX, <uint16_t>(((al / base) << 8) | (al % base)))
    flags_mixed(c, <uint8_t>(al % base), 0)
    chain(c, i)

cdef void AAD_I(Cpu* c, Insn* i) noexcept nogil:
    cdef uint8_t al = <uint8_t>(<uint8_t>c.r[RAX] + <uint8_t>(c.r[RAX] >> 8) * <uint8_t>i.imm)
    set_r(c, RAX, <uint16_t>al)
    flags_mixed(c, al, 0)
    chain(c, i)

include "register_decimal.pxi"
