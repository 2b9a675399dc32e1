# cython: language_level=3
# Two-operand arithmetic and logic with lazy flags (SDM 2A: ADD, ADC, SUB, SBB, AND, OR, XOR, CMP, TEST, INC, DEC, NEG),
# and read-modify-write access with one TLB check.  Every *_value twin leaves the flags alone.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport *
from x86emu.core.mmu cimport slow_rmw, slow_store

cdef inline uint_t add_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a + b)

cdef inline uint_t or_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a | b)

cdef inline uint_t adc_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a + b + <uint_t>get_cf(c))

cdef inline uint_t sbb_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a - b - <uint_t>get_cf(c))

cdef inline uint_t and_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a & b)

cdef inline uint_t sub_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a - b)

cdef inline uint_t xor_value(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return <uint_t>(a ^ b)

cdef inline uint_t alu_add(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a + b)
    flags_add(c, a, b, result)
    return result

cdef inline uint_t alu_sub(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a - b)
    flags_sub(c, a, b, result)
    return result

cdef inline uint_t alu_cmp(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return alu_sub(c, a, b)

cdef inline uint_t alu_and(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a & b)
    flags_logic(c, result)
    return result

cdef inline uint_t alu_test(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    return alu_and(c, a, b)

cdef inline uint_t alu_or(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a | b)
    flags_logic(c, result)
    return result

cdef inline uint_t alu_xor(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a ^ b)
    flags_logic(c, result)
    return result

cdef inline int64_t carries_out(uint_t a, uint_t b, uint_t result) noexcept nogil:
    """Carries of a + b + CF out of every bit, the sign bit's in bit 63."""
    return sx(<uint_t>((a & b) | ((a | b) & ~result)))

cdef inline int64_t borrows_out(uint_t a, uint_t b, uint_t result) noexcept nogil:
    """Borrows of a - b - CF into every next bit, the sign bit's in bit 63."""
    return sx(<uint_t>((~a & b) | ((~a | b) & result)))

cdef inline uint_t alu_adc(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    """The sign bit's carry goes to bit 0, the overflow to bit 11."""
    cdef uint_t result = <uint_t>(a + b + <uint_t>get_cf(c))
    cdef uint64_t carries = <uint64_t>carries_out(a, b, result)
    cdef uint64_t overflow = <uint64_t>sx(<uint_t>((a ^ result) & (b ^ result)))
    flags_mixed(c, result, <uint32_t>(carries >> 63 | (overflow >> 52 & FLAG_OF) | ((a ^ b ^ result) & FLAG_AF)))
    return result

cdef inline uint_t alu_sbb(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a - b - <uint_t>get_cf(c))
    cdef uint64_t borrows = <uint64_t>borrows_out(a, b, result)
    cdef uint64_t overflow = <uint64_t>sx(<uint_t>((a ^ b) & (a ^ result)))
    flags_mixed(c, result, <uint32_t>(borrows >> 63 | (overflow >> 52 & FLAG_OF) | ((a ^ b ^ result) & FLAG_AF)))
    return result

# The same where the carry is the only flag that anything will read.
cdef inline uint_t adc_carry(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a + b + <uint_t>get_cf(c))
    set_cf_alone(c, carries_out(a, b, result) < 0)
    return result

cdef inline uint_t sbb_carry(Cpu* c, uint_t a, uint_t b) noexcept nogil:
    cdef uint_t result = <uint_t>(a - b - <uint_t>get_cf(c))
    set_cf_alone(c, borrows_out(a, b, result) < 0)
    return result

cdef inline uint_t alu_inc(Cpu* c, uint_t a) noexcept nogil:
    cdef uint_t result = <uint_t>(a + 1)
    flags_count(c, a, result)
    return result

cdef inline uint_t alu_dec(Cpu* c, uint_t a) noexcept nogil:
    cdef uint_t result = <uint_t>(a - 1)
    flags_count(c, a, result)
    return result

cdef inline uint_t alu_neg(Cpu* c, uint_t a) noexcept nogil:
    return alu_sub(c, <uint_t>0, a)

cdef inline uint_t alu_not(Cpu* c, uint_t a) noexcept nogil:
    return <uint_t>~a

cdef inline uint_t inc_value(Cpu* c, uint_t a) noexcept nogil:
    return <uint_t>(a + 1)

cdef inline uint_t dec_value(Cpu* c, uint_t a) noexcept nogil:
    return <uint_t>(a - 1)

cdef inline uint_t neg_value(Cpu* c, uint_t a) noexcept nogil:
    return <uint_t>(0 - a)

# CF and OF alone, or CF alone, the other flags as they were
cdef inline void set_cf_of(Cpu* c, uint32_t cf_of) noexcept nogil:
    if c.f_kind == FLAGS_MIXED or c.f_kind == FLAGS_EAGER:
        c.f_b = (c.f_b & ~<int64_t>(FLAG_CF | FLAG_OF)) | cf_of
    else:
        c.f_b = (FLAG_AF if get_af(c) else 0) | cf_of
        c.f_kind = FLAGS_MIXED

cdef inline void set_cf_alone(Cpu* c, bint cf) noexcept nogil:
    """CF, where nothing will read the others."""
    c.f_b = cf
    c.f_kind = FLAGS_MIXED

cdef inline void set_cf(Cpu* c, bint cf) noexcept nogil:
    if c.f_kind == FLAGS_MIXED or c.f_kind == FLAGS_EAGER:
        c.f_b = (c.f_b & ~<int64_t>FLAG_CF) | cf
    else:
        c.f_b = (FLAG_AF if get_af(c) else 0) | (FLAG_OF if get_of(c) else 0) | cf
        c.f_kind = FLAGS_MIXED

# Read-modify-write: rmw_pointer() gives the host address of plain writable memory or NULL, rmw_load() the value (False:
# a fault was raised), rmw_store() cannot fail after it.
cdef inline void* rmw_pointer(Cpu* c, uint64_t ea, uint_t kind) noexcept nogil:
    cdef TlbEntry* t = &c.tlb_write[(ea >> PAGE_SHIFT) & TLB_MASK]
    if likely(t.tag == (((ea + (sizeof(uint_t) - 1)) & 0xFFFFFFFFFFFFF000ULL) | c.tlb_key)):
        return <void*>(t.addend + ea)
    return NULL

cdef inline bint rmw_load(Cpu* c, Insn* i, uint64_t ea, void* p, uint_t* value) noexcept nogil:
    if likely(p != NULL):
        value[0] = (<uint_t*>p)[0]
        return True
    if slow_rmw(c, i, ea, sizeof(uint_t)):
        value[0] = <uint_t>c.mtmp
        return True
    return False

cdef inline void rmw_store(Cpu* c, Insn* i, uint64_t ea, void* p, uint_t value) noexcept nogil:
    if likely(p != NULL):
        (<uint_t*>p)[0] = value
    else:
        slow_store(c, i, ea, value, sizeof(uint_t))
