# cython: language_level=3
# What every x87 handler shares (SDM volume 1, 8.1 and 8.5): the register stack, pointers to the last instruction and
# operand, masked and unmasked responses.  Registers are kept by physical number, TOP in the status word, and the tag
# word as one "not empty" bit each; FNSTENV rebuilds the full tags from the contents.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.alignment cimport aligned
from x86emu.core.memory_access cimport *
from x86emu.core.softfloat80 cimport *

# A waiting instruction met a pending unmasked exception. False: #MF was raised, or the processor waits for the interrupt
# that FERR# causes, and the handler returns; True: IGNNE# lets it go on.
cdef bint pending_exception(Cpu* c, Insn* i) noexcept nogil
# An exception among flags is unmasked: sets ES and B. True: the result is to be stored all the same (OE, UE, PE), and
# the caller adds flags to the status word; False: flags are noted, nothing is stored, nothing popped.
cdef bint unmasked(Cpu* c, uint32_t flags) noexcept nogil
# ES and B from the exceptions and the masks, after either was loaded.
cdef void refresh_summary(Cpu* c) noexcept nogil
# Takes a fault of the destination of a store that an unmasked exception suppresses.
cdef bint probe_store(Cpu* c, Insn* i, uint64_t ea, uint32_t n) noexcept nogil

cdef enum:
    UNDERFLOW = SW_IE | SW_SF
    OVERFLOW = SW_IE | SW_SF | SW_C1

cdef inline void note(Cpu* c, Insn* i) noexcept nogil:
    """FOP, FIP and FCS (SDM 1, 8.1.8 and 8.1.9): of every instruction that is not a control instruction."""
    c.fpu.instruction_pointer = c.r[REG_RIP] + i.ip
    c.fpu.instruction_selector = c.seg[CS].selector
    c.fpu.opcode = <uint16_t>i.imm

cdef inline void note_data(Cpu* c, Insn* i, uint64_t ea) noexcept nogil:
    """note(), and FDP and FDS of a memory operand at linear address ea."""
    note(c, i)
    if (c.mode & MODE_CODE) == MODE_CODE64 and i.seg < FS:
        c.fpu.data_pointer = ea
    else:
        c.fpu.data_pointer = ea - c.seg[i.seg].base
    c.fpu.data_selector = c.seg[i.seg].selector

cdef inline bint ready(Cpu* c, Insn* i) noexcept nogil:
    """Every waiting instruction begins with this. False: a fault was raised."""
    if unlikely(c.fpu.status & SW_ES):
        return pending_exception(c, i)
    return True

cdef inline bint quick(uint32_t status, uint32_t control) noexcept nogil:
    """No exception pending, all masked, 64-bit precision, round to nearest: what nearly all code runs with."""
    return not status & SW_ES and (control & 0xF3F) == 0x33F

cdef inline void* plain_read(Cpu* c, uint64_t ea, uint32_t n) noexcept nogil:
    """Host address of n bytes that the TLB maps for reading, or NULL."""
    cdef TlbEntry* t = &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((ea + (n - 1)) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        return <void*>(t.addend + ea)
    return NULL

cdef inline uint32_t physical(Cpu* c, uint32_t n) noexcept nogil:
    """Physical number of ST(n)."""
    return ((c.fpu.status >> 11) + n) & 7

cdef inline bint not_empty(Cpu* c, uint32_t p) noexcept nogil:
    return (c.fpu.valid >> p) & 1

cdef inline bint goes_on(Cpu* c, uint32_t flags) noexcept nogil:
    """Whether the destination is written."""
    return likely(not flags & SW_EXCEPTIONS & ~<uint32_t>c.fpu.control) or unmasked(c, flags)

cdef inline void set_register(Cpu* c, uint32_t p, Result80 r) noexcept nogil:
    c.fpu.st[p].mantissa = r.mantissa
    c.fpu.st[p].sign_exponent = <uint16_t>r.sign_exponent
    c.fpu.valid |= <uint8_t>(1 << p)

cdef inline void copy_register(Cpu* c, uint32_t to, uint32_t source) noexcept nogil:
    """Field by field: a copy of the whole record would wait for the two stores that wrote it."""
    c.fpu.st[to].mantissa = c.fpu.st[source].mantissa
    c.fpu.st[to].sign_exponent = c.fpu.st[source].sign_exponent
    c.fpu.valid |= <uint8_t>(1 << to)

cdef inline void set_status(Cpu* c, uint32_t flags) noexcept nogil:
    c.fpu.status = <uint16_t>((c.fpu.status & ~SW_C1) | flags)

cdef inline void pop(Cpu* c) noexcept nogil:
    cdef uint32_t s = c.fpu.status
    c.fpu.valid &= <uint8_t>~(1 << ((s >> 11) & 7))
    c.fpu.status = <uint16_t>((s & ~SW_TOP) | ((s + 0x800) & SW_TOP))

cdef inline void push(Cpu* c, Result80 r) noexcept nogil:
    """Pushes r and notes its flags; a full stack gives the indefinite (SDM 1, 8.5.1.1).

    DE, which only FLD of a denormal raises here, does not suppress the push even when unmasked (so does silicon)."""
    cdef uint32_t p = physical(c, 7)
    if unlikely(not_empty(c, p) and not r.flags & SW_SF):
        r = indefinite80(OVERFLOW)
    if goes_on(c, r.flags) or r.flags & SW_DE:
        set_register(c, p, r)
        c.fpu.status = <uint16_t>((c.fpu.status & ~(SW_C1 | SW_TOP)) | (p << 11) | r.flags)

cdef inline bint load_m80(Cpu* c, Insn* i, uint64_t ea) noexcept nogil:
    """Ten bytes to the temporary register 8. False: a fault was raised."""
    cdef TlbEntry* t = &c.tlb_read[(ea >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((ea + 9) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        c.fpu.st[8].mantissa = (<uint64_t*>(t.addend + ea))[0]
        c.fpu.st[8].sign_exponent = (<uint16_t*>(t.addend + ea + 8))[0]
        return True
    return aligned(c, i, ea, 8) and slow_bytes(c, i, ea, <uint8_t*>&c.fpu.st[8], 10, 0)

cdef inline bint store_m80(Cpu* c, Insn* i, uint64_t ea, uint64_t mantissa, uint32_t sign_exponent) noexcept nogil:
    """Ten bytes; by way of register 8 where they take the slow way. False: a fault was raised, nothing was written."""
    cdef TlbEntry* t = &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((ea + 9) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        (<uint64_t*>(t.addend + ea))[0] = mantissa
        (<uint16_t*>(t.addend + ea + 8))[0] = <uint16_t>sign_exponent
        return True
    c.fpu.st[8].mantissa = mantissa
    c.fpu.st[8].sign_exponent = <uint16_t>sign_exponent
    return aligned(c, i, ea, 8) and slow_bytes(c, i, ea, <uint8_t*>&c.fpu.st[8], 10, 1)
