# cython: language_level=3
# Multiplication, division, exchange-and-compare, CMC, CLC, STC from _gen/forms_integer.py; other flag control, PUSHF, POPF, random numbers,
# cache-line control (SDM 1, 7.3; SDM 2A, 2B).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.model cimport missing_flags
from x86emu.core.state cimport *
from x86emu.core.resume cimport resume
from x86emu.core.flags cimport *
from x86emu.core.memory_access cimport *
from x86emu.core.mmu cimport slow_probe
from x86emu.core.mode cimport refresh_mode
from x86emu.core.alu cimport *
from x86emu.core.stack cimport *
from x86emu.core.integer cimport *
from x86emu.core.features cimport *
from x86emu.core.early cimport real_mode_flags

cdef inline uint64_t next_random(Cpu* c) noexcept nogil:
    """RDRAND and RDSEED read one reproducible stream, SplitMix64 (Steele, Lea, Flood 2014); its state is saved with the
    processor, so that runs repeat."""
    cdef uint64_t z
    c.random_state += 0x9E3779B97F4A7C15ULL
    z = c.random_state
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBULL
    return z ^ (z >> 31)

include "forms_integer.pxi"

# ----- CMPXCHG8B, CMPXCHG16B -----
cdef bint cmpxchg8b(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t v
    cdef uint64_t ea = ea_of(c, i)
    cdef uint64_t expected = (c.r[RDX] << 32) | <uint32_t>c.r[RAX]
    if not ld_rmw(c, i, ea, &v):
        return False
    if v == expected:
        st(c, i, ea, <uint64_t>((c.r[RCX] << 32) | <uint32_t>c.r[RBX]))
        flags_eager(c, arithmetic_flags(c) | FLAG_ZF)
    else:
        st(c, i, ea, v)
        c.r[RAX] = <uint32_t>v
        c.r[RDX] = v >> 32
        flags_eager(c, arithmetic_flags(c) & ~<uint32_t>FLAG_ZF)
    return True

cdef void CMPXCHG8B_Mq(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not cmpxchg8b(c, i)):
        return
    chain(c, i)

# An aligned operand lies in one page: the second half cannot fault where the first does not.
cdef bint cmpxchg16b(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t low, high
    cdef uint64_t ea = ea_of(c, i)
    if ea & 15:
        fault_code(c, i, V_GP, 0)
        return False
    if not ld_rmw(c, i, ea, &low) or not ld_rmw(c, i, ea + 8, &high):
        return False
    if low == c.r[RAX] and high == c.r[RDX]:
        st(c, i, ea, c.r[RBX])
        st(c, i, ea + 8, c.r[RCX])
        flags_eager(c, arithmetic_flags(c) | FLAG_ZF)
    else:
        st(c, i, ea, low)
        st(c, i, ea + 8, high)
        c.r[RAX] = low
        c.r[RDX] = high
        flags_eager(c, arithmetic_flags(c) & ~<uint32_t>FLAG_ZF)
    return True

cdef void CMPXCHG16B_Mx(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not cmpxchg16b(c, i)):
        return
    chain(c, i)

# ----- flags -----
cdef void CLD(Cpu* c, Insn* i) noexcept nogil:
    c.rflags &= ~<uint64_t>FLAG_DF
    chain(c, i)

cdef void STD(Cpu* c, Insn* i) noexcept nogil:
    c.rflags |= FLAG_DF
    chain(c, i)

cdef void SAHF(Cpu* c, Insn* i) noexcept nogil:
    flags_eager(c, (FLAG_OF if get_of(c) else 0) | (<uint32_t>(c.r[RAX] >> 8) & 0xD5))
    chain(c, i)

cdef void LAHF(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RAX * 8 + 1, <uint8_t>(arithmetic_flags(c) | 2))
    chain(c, i)

cdef void SALC(Cpu* c, Insn* i) noexcept nogil:
    set_r(c, RAX * 8, <uint8_t>(0xFF if get_cf(c) else 0))
    chain(c, i)

# ----- PUSHF, POPF (SDM 2B; SDM 3B, 21.3 for the virtual-8086 mode extensions) -----
cdef inline uint32_t iopl(Cpu* c) noexcept nogil:
    return (<uint32_t>c.rflags >> 12) & 3

cdef bint pushf(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t image = read_rflags(c) & ~<uint64_t>(FLAG_VM | FLAG_RF)
    if c.rflags & FLAG_VM and iopl(c) < 3:
        if not c.cr4 & CR4_VME or size != 2:
            fault_code(c, i, V_GP, 0)
            return False
        image = (image & ~<uint64_t>FLAG_IF) | FLAG_IOPL | (FLAG_IF if image & FLAG_VIF else 0)
    if c.features[<int>FEATURE_PRE386] and not c.cr0 & CR0_PE:
        image = real_mode_flags(c, image)
    if size == 2:
        return push16(c, i, <uint16_t>image)
    elif size == 4:
        return push32(c, i, <uint32_t>image)
    return push64(c, i, image)

cdef void PUSHF_w(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not pushf(c, i, 2)):
        return
    chain(c, i)

cdef void PUSHF_d(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not pushf(c, i, 4)):
        return
    chain(c, i)

cdef void PUSHF_q_slowly(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not pushf(c, i, 8)):
        return
    chain(c, i)

cdef void PUSHF_q(Cpu* c, Insn* i) noexcept nogil:
    """64-bit mode has no virtual-8086 mode to ask for, and its stack neither base nor limit."""
    cdef uint64_t sp = c.r[RSP] - 8
    cdef TlbEntry* e = write_entry(c, sp)
    if likely(entry_holds(c, e, sp, <uint64_t>0)):
        (<uint64_t*>(e.addend + sp))[0] = read_rflags(c) & ~<uint64_t>FLAG_RF
        c.r[RSP] = sp
        chain(c, i)
    else:
        PUSHF_q_slowly(c, i)

cdef void popf(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    cdef uint64_t image = 0
    cdef uint16_t w
    cdef uint32_t d
    cdef uint64_t old = read_rflags(c)
    cdef uint64_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT
    cdef bint virtual_interrupts = False
    if size != 2:
        mask |= (FLAG_AC | FLAG_ID) & ~missing_flags(c)
    if c.rflags & FLAG_VM:
        if iopl(c) == 3:
            mask |= FLAG_IF
        elif c.cr4 & CR4_VME and size == 2:
            virtual_interrupts = True
        else:
            fault_code(c, i, V_GP, 0)
            return
    elif c.cpl == 0:
        mask |= FLAG_IF | FLAG_IOPL
    elif c.cpl <= iopl(c):
        mask |= FLAG_IF
    if size == 2:
        if not peek16(c, i, 0, &w):
            return
        image = w
    elif size == 4:
        if not peek32(c, i, 0, &d):
            return
        image = d
    elif not peek64(c, i, 0, &image):
        return
    if virtual_interrupts:
        if image & FLAG_TF or (image & FLAG_IF and c.rflags & FLAG_VIP):
            fault_code(c, i, V_GP, 0)
            return
        old = (old & ~<uint64_t>FLAG_VIF) | (FLAG_VIF if image & FLAG_IF else 0)
    set_sp(c, c.r[RSP] + size)
    image = ((old & ~mask) | (image & mask)) & ~<uint64_t>FLAG_RF
    write_rflags(c, image)
    if (old ^ image) & (FLAG_TF | FLAG_AC | FLAG_IF):
        refresh_mode(c)
    finish(c, i)
    resume(c, i)

cdef void POPF_w(Cpu* c, Insn* i) noexcept nogil:
    popf(c, i, 2)

cdef void POPF_d(Cpu* c, Insn* i) noexcept nogil:
    popf(c, i, 4)

cdef void POPF_q(Cpu* c, Insn* i) noexcept nogil:
    popf(c, i, 8)

# ----- processor number, cache lines -----
cdef void RDPID_Rd(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = <uint32_t>c.tsc_aux
    chain(c, i)

cdef void RDPID_Rq(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = c.tsc_aux
    chain(c, i)

# There is no cache to flush, but the address is checked as a load's.
cdef void CLFLUSH_Mb(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not slow_probe(c, i, ea_of(c, i), 1, 0)):
        return
    chain(c, i)

cdef void CLFLUSHOPT_Mb(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not slow_probe(c, i, ea_of(c, i), 1, 0)):
        return
    chain(c, i)

include "register_integer.pxi"
