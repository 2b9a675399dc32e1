# cython: language_level=3
# Implicit stack accesses at the current CPL (SDM 1, 6.2; SDM 3A, 5.3 for the limit checks; #SS(0) for what they refuse).
#
# push*(c, i, value) and pop*(c, i, &value) return False after raising the fault; RSP changes only after the access has
# succeeded.  Instructions with several accesses read with peek*(c, i, offset, &value) and write with
# stack_store(c, i, sp, value), and commit RSP by set_sp() at the end.  All sp arguments are offsets in SS and are
# masked by the stack address size here.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.tlb_entries cimport read_entry, write_entry, entry_holds

cdef bint stack_store_slow(Cpu* c, Insn* i, uint64_t sp, uint64_t value, uint32_t size) noexcept nogil
cdef bint stack_load_slow(Cpu* c, Insn* i, uint64_t sp, uint32_t size) noexcept nogil          # value in c.mtmp
# Checks [sp, sp + size) against SS (limit, rights, canonical form) and gives the linear address. False: #SS(0) raised.
cdef bint stack_linear(Cpu* c, Insn* i, uint64_t sp, uint32_t size, bint write, uint64_t* linear) noexcept nogil
# As an access of size bytes at sp would, but changes nothing: SS checks and page rights.
cdef bint stack_probe(Cpu* c, Insn* i, uint64_t sp, uint32_t size, bint write) noexcept nogil

cdef inline bint stack_store(Cpu* c, Insn* i, uint64_t sp, uint_t value) noexcept nogil:
    """Stores at SS:sp."""
    cdef TlbEntry* t
    cdef uint64_t linear
    if uint_t is uint64_t:       # 64-bit mode's alone: no base, no limit, no mask
        t = write_entry(c, sp)
        if likely(entry_holds(c, t, sp, <uint_t>0)):
            (<uint_t*>(t.addend + sp))[0] = value
            return True
        return stack_store_slow(c, i, sp, value, sizeof(uint_t))
    sp &= c.sp_mask
    linear = sp + c.stack_base
    if likely(sp < c.stack_limit):
        t = write_entry(c, linear)
        if likely(entry_holds(c, t, linear, <uint_t>0)):
            (<uint_t*>(t.addend + linear))[0] = value
            return True
    return stack_store_slow(c, i, sp, value, sizeof(uint_t))

cdef inline bint stack_load(Cpu* c, Insn* i, uint64_t sp, uint_t* value) noexcept nogil:
    """Loads from SS:sp."""
    cdef TlbEntry* t
    cdef uint64_t linear
    if uint_t is uint64_t:
        t = read_entry(c, sp)
        if likely(entry_holds(c, t, sp, <uint_t>0)):
            value[0] = (<uint_t*>(t.addend + sp))[0]
            return True
        if stack_load_slow(c, i, sp, sizeof(uint_t)):
            value[0] = <uint_t>c.mtmp
            return True
        return False
    sp &= c.sp_mask
    linear = sp + c.stack_base
    if likely(sp < c.stack_limit):
        t = read_entry(c, linear)
        if likely(entry_holds(c, t, linear, <uint_t>0)):
            value[0] = (<uint_t*>(t.addend + linear))[0]
            return True
    if stack_load_slow(c, i, sp, sizeof(uint_t)):
        value[0] = <uint_t>c.mtmp
        return True
    return False

cdef inline void set_sp(Cpu* c, uint64_t sp) noexcept nogil:
    """Sets rSP in the stack's address size; bits above it stay."""
    c.r[RSP] = (c.r[RSP] & ~c.sp_mask) | (sp & c.sp_mask)

cdef inline void move_sp(Cpu* c, uint64_t sp, uint_t kind) noexcept nogil:
    """set_sp() behind an access of this type; one of 64 bits is 64-bit mode's, which has no other stack address size."""
    if uint_t is uint64_t:
        c.r[RSP] = sp
    else:
        set_sp(c, sp)

cdef inline bint push(Cpu* c, Insn* i, uint_t value) noexcept nogil:
    cdef uint64_t sp = c.r[RSP] - sizeof(uint_t)
    if unlikely(not stack_store(c, i, sp, value)):
        return False
    move_sp(c, sp, value)
    return True

cdef inline bint pop(Cpu* c, Insn* i, uint_t* value) noexcept nogil:
    if unlikely(not stack_load(c, i, c.r[RSP], value)):
        return False
    move_sp(c, c.r[RSP] + sizeof(uint_t), value[0])
    return True

cdef inline bint push16(Cpu* c, Insn* i, uint16_t value) noexcept nogil:
    return push(c, i, value)

cdef inline bint push32(Cpu* c, Insn* i, uint32_t value) noexcept nogil:
    return push(c, i, value)

cdef inline bint push64(Cpu* c, Insn* i, uint64_t value) noexcept nogil:
    return push(c, i, value)

cdef inline bint pop16(Cpu* c, Insn* i, uint16_t* value) noexcept nogil:
    return pop(c, i, value)

cdef inline bint pop32(Cpu* c, Insn* i, uint32_t* value) noexcept nogil:
    return pop(c, i, value)

cdef inline bint pop64(Cpu* c, Insn* i, uint64_t* value) noexcept nogil:
    return pop(c, i, value)

# What the n-th byte above the top of the stack holds; rSP stays.
cdef inline bint peek16(Cpu* c, Insn* i, uint64_t offset, uint16_t* value) noexcept nogil:
    return stack_load(c, i, c.r[RSP] + offset, value)

cdef inline bint peek32(Cpu* c, Insn* i, uint64_t offset, uint32_t* value) noexcept nogil:
    return stack_load(c, i, c.r[RSP] + offset, value)

cdef inline bint peek64(Cpu* c, Insn* i, uint64_t offset, uint64_t* value) noexcept nogil:
    return stack_load(c, i, c.r[RSP] + offset, value)
