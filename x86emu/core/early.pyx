# cython: language_level=3
# Instructions of the 8086 that later processors changed (iAPX 86/88, 186/188 User's Manual; SDM volume 3B, 23.36; what
# the manuals leave out is as captured from the chips), and the coprocessor escape without a coprocessor.
#
# Departs from later processors: shift counts of CL are taken whole; DIV, IDIV and AAM return from #DE behind the
# instruction, and IDIV refuses the most negative quotient; AAA and AAS adjust AL and AH separately.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.stack cimport *
from x86emu.core.segmentation cimport load_real
from x86emu.core.mmu cimport fetch_byte
from x86emu.core.mode cimport refresh_mode

cdef enum:
    OP_ROL, OP_ROR, OP_RCL, OP_RCR, OP_SHL, OP_SHR, OP_SETMO, OP_SAR

cdef uint32_t shift_steps(Cpu* c, int operation, uint32_t value, uint32_t bits, uint32_t count) noexcept nogil:
    """count single steps on a value of 8 or 16 bits; the flags are those of the last step."""
    cdef uint32_t top = <uint32_t>1 << (bits - 1), mask = (top << 1) - 1
    cdef uint32_t carry = get_cf(c), overflow = get_of(c), before, flags, n
    if count == 0:
        return value
    flags = arithmetic_flags(c) & ~<uint32_t>(FLAG_CF | FLAG_OF)
    for n in range(count):
        before = value
        if operation == OP_ROL or operation == OP_RCL or operation == OP_SHL:
            value = (value << 1) & mask
            if operation == OP_ROL:
                value |= (before & top) != 0
            elif operation == OP_RCL:
                value |= carry
            carry = (before & top) != 0
            overflow = ((value & top) != 0) != carry
        else:
            value >>= 1
            if (operation == OP_ROR and before & 1) or (operation == OP_RCR and carry) or (
                    operation == OP_SAR and before & top):
                value |= top
            carry = before & 1
            overflow = ((value ^ before) & top) != 0
    if operation >= OP_SHL:
        flags_mixed(c, <uint64_t>(<int64_t><int8_t>value if bits == 8 else <int64_t><int16_t>value),
                    (FLAG_CF if carry else 0) | (FLAG_OF if overflow else 0))
    else:
        flags_eager(c, flags | (FLAG_CF if carry else 0) | (FLAG_OF if overflow else 0))
    return value

cdef inline void shift_b(Cpu* c, Insn* i, int operation) noexcept nogil:
    set_r(c, i.dst, <uint8_t>shift_steps(c, operation, get_r(c, i.dst, <uint8_t>0), 8, <uint8_t>c.r[RCX]))
    chain(c, i)

cdef inline void shift_w(Cpu* c, Insn* i, int operation) noexcept nogil:
    set_r(c, i.dst, <uint16_t>shift_steps(c, operation, <uint16_t>c.r[i.dst], 16, <uint8_t>c.r[RCX]))
    chain(c, i)

include "early_forms.pxi"

cdef inline void minus_one_flags(Cpu* c) noexcept nogil:
    flags_eager(c, FLAG_SF | FLAG_PF)

cdef void SETMO_Rb_1_8086(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, <uint8_t>0xFF)
    minus_one_flags(c)
    chain(c, i)

cdef void SETMO_Rw_1_8086(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, <uint16_t>0xFFFF)
    minus_one_flags(c)
    chain(c, i)

cdef void SETMOC_Rb_CL_8086(Cpu* c, Insn* i) noexcept nogil:
    if <uint8_t>c.r[RCX]:
        set_r(c, i.dst, <uint8_t>0xFF)
        minus_one_flags(c)
    chain(c, i)

cdef void SETMOC_Rw_CL_8086(Cpu* c, Insn* i) noexcept nogil:
    if <uint8_t>c.r[RCX]:
        set_r(c, i.dst, <uint16_t>0xFFFF)
        minus_one_flags(c)
    chain(c, i)

# ----- division -----
cdef void divide_error(Cpu* c, Insn* i) noexcept nogil:
    """#DE with the address of the next instruction."""
    cdef uint64_t next_one = next_rip_of(c, i)
    fault(c, i, V_DE)
    c.r[REG_RIP] = next_one

cdef void DIV_Rb_8086(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t divisor = get_r(c, i.dst, <uint8_t>0), dividend = <uint16_t>c.r[RAX]
    if divisor == 0 or dividend / divisor > 0xFF:
        divide_error(c, i)
        return
    set_r(c, RAX, <uint16_t>((dividend % divisor) << 8 | dividend / divisor))
    chain(c, i)

cdef void DIV_Rw_8086(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t divisor = <uint16_t>c.r[i.dst], dividend = <uint32_t><uint16_t>c.r[RDX] << 16 | <uint16_t>c.r[RAX]
    if divisor == 0 or dividend / divisor > 0xFFFF:
        divide_error(c, i)
        return
    set_r(c, RAX, <uint16_t>(dividend / divisor))
    set_r(c, RDX, <uint16_t>(dividend % divisor))
    chain(c, i)

cdef bint signed_divide(int64_t dividend, int64_t divisor, int64_t limit, int64_t* quotient, int64_t* rest) noexcept nogil:
    """Truncating division; False where the quotient's magnitude passes limit."""
    if divisor == 0:
        return False
    quotient[0] = dividend / divisor
    rest[0] = dividend % divisor
    return -limit <= quotient[0] <= limit

cdef inline void idiv_b(Cpu* c, Insn* i, int64_t sign) noexcept nogil:
    cdef int64_t quotient = 0, rest = 0
    if not signed_divide(<int16_t>c.r[RAX], <int8_t>get_r(c, i.dst, <uint8_t>0), 0x7F, &quotient, &rest):
        divide_error(c, i)
        return
    set_r(c, RAX, <uint16_t>(<uint16_t>(<uint8_t>rest) << 8 | <uint8_t>(quotient * sign)))
    chain(c, i)

cdef inline void idiv_w(Cpu* c, Insn* i, int64_t sign) noexcept nogil:
    cdef int64_t quotient = 0, rest = 0
    cdef int32_t dividend = <int32_t>(<uint32_t><uint16_t>c.r[RDX] << 16 | <uint16_t>c.r[RAX])
    if not signed_divide(dividend, <int16_t>c.r[i.dst], 0x7FFF, &quotient, &rest):
        divide_error(c, i)
        return
    set_r(c, RAX, <uint16_t>(quotient * sign))
    set_r(c, RDX, <uint16_t>rest)
    chain(c, i)

cdef void IDIV_Rb_8086(Cpu* c, Insn* i) noexcept nogil:
    idiv_b(c, i, 1)

cdef void IDIV_Rw_8086(Cpu* c, Insn* i) noexcept nogil:
    idiv_w(c, i, 1)

cdef void IDIV_Rb_8086rep(Cpu* c, Insn* i) noexcept nogil:
    idiv_b(c, i, -1)

cdef void IDIV_Rw_8086rep(Cpu* c, Insn* i) noexcept nogil:
    idiv_w(c, i, -1)

cdef void AAM_I_8086(Cpu* c, Insn* i) noexcept nogil:
    cdef uint8_t base = <uint8_t>i.imm, al = <uint8_t>c.r[RAX]
    if base == 0:
        flags_mixed(c, 0, 0)
        divide_error(c, i)
        return
    set_r(c, RAX, <uint16_t>((<uint16_t>(al / base) << 8) | (al % base)))
    flags_mixed(c, <uint64_t><int64_t><int8_t>(al % base), 0)
    chain(c, i)

# ----- DAA, DAS: with AF set the upper digit is adjusted above 9Fh only -----
cdef inline void decimal_adjust(Cpu* c, bint subtract) noexcept nogil:
    cdef uint8_t old = <uint8_t>c.r[RAX]
    cdef uint8_t al = old
    cdef uint8_t limit = 0x9F if get_af(c) else 0x99
    cdef uint32_t flags = 0
    if (old & 15) > 9 or get_af(c):
        al = <uint8_t>(al - 6 if subtract else al + 6)
        flags |= FLAG_AF
    if old > limit or get_cf(c):
        al = <uint8_t>(al - 0x60 if subtract else al + 0x60)
        flags |= FLAG_CF
    set_r(c, RAX, al)
    flags_mixed(c, <uint64_t><int64_t><int8_t>al, flags)

cdef void DAA_8086(Cpu* c, Insn* i) noexcept nogil:
    decimal_adjust(c, False)
    chain(c, i)

cdef void DAS_8086(Cpu* c, Insn* i) noexcept nogil:
    decimal_adjust(c, True)
    chain(c, i)

# ----- AAA, AAS: no carry from AL into AH -----
cdef inline void ascii_adjust(Cpu* c, int step) noexcept nogil:
    cdef uint8_t al = <uint8_t>c.r[RAX], ah = <uint8_t>(c.r[RAX] >> 8)
    cdef uint32_t flags = 0
    if (al & 15) > 9 or get_af(c):
        al = <uint8_t>(al + 6 * step)
        ah = <uint8_t>(ah + step)
        flags = FLAG_CF | FLAG_AF
    set_r(c, RAX, <uint16_t>(<uint16_t>ah << 8 | (al & 15)))
    flags_mixed(c, <uint8_t>(al & 15), flags)

cdef void AAA_8086(Cpu* c, Insn* i) noexcept nogil:
    ascii_adjust(c, 1)
    chain(c, i)

cdef void AAS_8086(Cpu* c, Insn* i) noexcept nogil:
    ascii_adjust(c, -1)
    chain(c, i)

# ----- stack, segment registers -----
cdef void PUSH_w_8086sp(Cpu* c, Insn* i) noexcept nogil:
    if not push16(c, i, <uint16_t>(c.r[RSP] - 2)):
        return
    chain(c, i)

cdef void PUSH_Rw_8086(Cpu* c, Insn* i) noexcept nogil:
    if not push16(c, i, <uint16_t>(c.r[RSP] - 2 if i.dst == RSP else c.r[i.dst])):
        return
    chain(c, i)

cdef void MOV_Rw_S_8086(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, i.dst, c.seg[i.src & 3].selector)
    chain(c, i)

cdef void MOV_S_Rw_8086(Cpu* c, Insn* i) noexcept nogil:
    load_real(c, i.dst & 3, <uint16_t>c.r[i.src])
    if i.dst & 3 == SS:
        c.interrupt_shadow = 2
    refresh_mode(c)
    finish(c, i)

cdef void ESC_Rw_8086(Cpu* c, Insn* i) noexcept nogil:
    """No coprocessor answers; a memory operand has been read by the record before."""
    chain(c, i)

# ----- string instructions at the end of a segment (as captured from an 80286) -----
cdef inline void step_index(Cpu* c, int register) noexcept nogil:
    set_r(c, register, <uint16_t>(c.r[register] - 2 if c.rflags & FLAG_DF else c.r[register] + 2))

cdef void string_fault_80286(Cpu* c) noexcept nogil:
    """MOVS reads before it writes, CMPS reads ES:DI first; a write is one element behind in CX."""
    cdef uint64_t at = c.seg[CS].base + c.r[REG_RIP]
    cdef uint8_t opcode = 0
    cdef int n, taken = 0
    cdef bint repeated = False
    if c.cr0 & CR0_PE or not c.features[<int>FEATURE_I286]:
        return
    for n in range(10):
        opcode = fetch_byte(c, at + n)
        if opcode == 0xF2 or opcode == 0xF3:
            repeated = True
        elif opcode != 0xF0 and (opcode & 0xE7) != 0x26:
            break
    if opcode == 0xA5:
        taken = 1
        if <uint16_t>c.r[RSI] != 0xFFFF:
            step_index(c, RDI)
            taken = 2
        step_index(c, RSI)
    elif opcode == 0xA7:
        if <uint16_t>c.r[RDI] != 0xFFFF:
            step_index(c, RSI)
            taken = 1
        step_index(c, RDI)
    elif opcode == 0xAD or opcode == 0x6F:
        step_index(c, RSI)
        taken = 1
    elif opcode == 0xAF:
        step_index(c, RDI)
        taken = 1
    elif opcode == 0xAB or opcode == 0x6D:
        step_index(c, RDI)
        taken = 2
    if repeated:
        set_r(c, RCX, <uint16_t>(c.r[RCX] - taken))

# ----- memory operands at the end of a segment (as captured from an 80286) -----
cdef bint operand_80286(Cpu* c, Insn* i, uint64_t offset) noexcept nogil:
    """POP has moved SP when it finds that it cannot store; LDS and LES read two words, the second may wrap."""
    cdef uint64_t at = c.seg[CS].base + rip_of(c, i)
    cdef uint8_t opcode = 0
    cdef int n
    if c.cr0 & CR0_PE or not c.features[<int>FEATURE_I286]:
        return False
    for n in range(10):
        opcode = fetch_byte(c, at + n)
        if opcode != 0xF0 and opcode != 0xF2 and opcode != 0xF3 and (opcode & 0xE7) != 0x26:
            break
    if (opcode == 0xC4 or opcode == 0xC5) and offset == 0xFFFE:
        return True
    if opcode == 0x8F and <uint16_t>c.r[RSP] != 0xFFFF:
        set_r(c, RSP, <uint16_t>(c.r[RSP] + 2))
    return False

include "register_early.pxi"
