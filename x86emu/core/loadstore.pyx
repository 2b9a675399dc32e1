# cython: language_level=3
"""Records that stand before and after an instruction's own: segmentation, loads, stores, faults found while decoding.

Segmentation (Intel SDM volume 3A, chapter 3 and 5.3): only modes and operands that need it pay for it.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.alignment cimport ld_unaligned, st_unaligned
from x86emu.core.memory_access cimport *
from x86emu.core.early cimport *
from x86emu.core.stack cimport stack_probe
from x86emu.core.trace cimport goto_linked, goto_linked_checked, goto_indirect

include "loadstore_forms.pxi"

# aux of SEGMENT_EA: bits 1:0 address size (0, 1, 2 = 16, 32, 64), 2: read, 3: write, 4: add the base only (64-bit mode)
cdef void SEGMENT_EA(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t ea = c.r[i.base] + (c.r[i.index] << i.scale) + <uint64_t><int64_t>i.disp
    cdef Segment* s = &c.seg[i.seg]
    cdef uint32_t kind = i.aux & 3
    if kind == 0:
        ea = <uint16_t>ea
    elif kind == 1:
        ea = <uint32_t>ea
    if i.aux & 16:
        c.r[REG_LINEAR] = s.base + ea
    else:
        # i.imm is the operand's length in bytes
        if unlikely(ea < s.low or ea + <uint64_t>i.imm - 1 > s.high or (i.aux >> 2) & 3 & ~s.access) and not (
                c.features[<int>FEATURE_PRE186]):
            if not c.features[<int>FEATURE_PRE386] or not operand_80286(c, i, ea):
                fault_code(c, i, stack_fault(c) if i.seg == SS else V_GP, 0)
                return
        c.r[REG_LINEAR] = <uint32_t>(s.base + ea)
    chain(c, i)

# The same within a segment that may be read and written below a limit, for 16- and 32-bit addresses.
cdef inline bint plain_ea(Cpu* c, Insn* i, uint64_t ea) noexcept nogil:
    cdef Segment* s = &c.seg[i.seg]
    if unlikely(ea + <uint64_t>i.imm > s.plain):
        return False
    c.r[REG_LINEAR] = <uint32_t>(s.base + ea)
    return True

cdef void SEGMENT_EA_w(Cpu* c, Insn* i) noexcept nogil:
    if likely(plain_ea(c, i, <uint16_t>(c.r[i.base] + c.r[i.index] + <uint64_t><int64_t>i.disp))):
        chain(c, i)
    else:
        SEGMENT_EA(c, i)

cdef void SEGMENT_EA_disp16(Cpu* c, Insn* i) noexcept nogil:
    """SEGMENT_EA_w of an address without registers."""
    if likely(plain_ea(c, i, <uint16_t>i.disp)):
        chain(c, i)
    else:
        SEGMENT_EA(c, i)

cdef void SEGMENT_EA_d(Cpu* c, Insn* i) noexcept nogil:
    if likely(plain_ea(c, i, <uint32_t>(c.r[i.base] + (c.r[i.index] << i.scale) + <uint64_t><int64_t>i.disp))):
        chain(c, i)
    else:
        SEGMENT_EA(c, i)

cdef void STACK_PROBE(Cpu* c, Insn* i) noexcept nogil:
    """What POP to memory will load (i.imm bytes) can be read: its fault comes before those of the destination's segment."""
    if unlikely(not stack_probe(c, i, c.r[RSP], <uint32_t>i.imm, False)):
        return
    chain(c, i)

cdef void ADDRESS(Cpu* c, Insn* i) noexcept nogil:
    """An effective address without a segment (LEA) in an address size other than the mode's own."""
    cdef uint64_t ea = c.r[i.base] + (c.r[i.index] << i.scale) + <uint64_t><int64_t>i.disp
    if i.aux == 0:
        ea = <uint16_t>ea
    elif i.aux == 1:
        ea = <uint32_t>ea
    c.r[REG_LINEAR] = ea
    chain(c, i)

cdef void ABSOLUTE(Cpu* c, Insn* i) noexcept nogil:
    """A 64-bit offset in the instruction (MOV AL, moffs64)."""
    c.r[REG_LINEAR] = <uint64_t>i.imm
    chain(c, i)

cdef void RAISE_UD(Cpu* c, Insn* i) noexcept nogil:
    """No such instruction, or not on this model or in this mode (SDM 3A 6.15, interrupt 6)."""
    fault(c, i, V_UD)

cdef void RAISE_NM(Cpu* c, Insn* i) noexcept nogil:
    fault(c, i, V_NM)

cdef void RAISE_GP(Cpu* c, Insn* i) noexcept nogil:
    """More than 15 bytes (SDM 2A 2.3.11)."""
    fault_code(c, i, V_GP, 0)

cdef void END_TRACE(Cpu* c, Insn* i) noexcept nogil:
    """Goes on with the trace behind this one: its length or its page ended."""
    cdef uint64_t rip = next_rip_of(c, i)
    if i.aux & 1:
        goto_linked_checked(c, i, rip, <Trace**>&i[1])
    else:
        goto_indirect(c, i, rip)

cdef void HOOK(Cpu* c, Insn* i) noexcept nogil:
    """Before an instruction in MODE_HOOKED: tells whoever asked (--trace)."""
    if c.shared.hook != NULL:
        c.shared.hook(c, i)
        if unlikely(c.exit):
            unwind(c, i)
            return
    chain(c, i)

include "register_loadstore.pxi"
