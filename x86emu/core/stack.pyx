# cython: language_level=3
# The general path of implicit stack accesses (SDM 3A, 5.3 "Limit checking"; SDM 1, 3.3.7.1 for canonical addresses):
# whatever is wrong with the address itself is #SS(0); page faults come from the MMU.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.early cimport *
from x86emu.core.alignment cimport aligned
from x86emu.core.memory_access cimport read_entry, write_entry, entry_holds
from x86emu.core.mmu cimport slow_load, slow_store, slow_probe, canonical

cdef bint stack_linear(Cpu* c, Insn* i, uint64_t sp, uint32_t size, bint write, uint64_t* linear) noexcept nogil:
    cdef Segment* s = &c.seg[SS]
    sp &= c.sp_mask
    if (c.mode & MODE_CODE) == MODE_CODE64:
        if not canonical(c, sp) or not canonical(c, sp + size - 1):
            fault_code(c, i, V_SS, 0)
            return False
        linear[0] = sp
        return True
    if not s.access & (ACCESS_WRITE if write else ACCESS_READ) or sp < s.low or sp + size - 1 > s.high:
        # processors find an operand misaligned before they find that it ends outside
        if sp < s.low or sp > s.high or size & (size - 1) or aligned(c, i, s.base + sp, size):
            fault_code(c, i, stack_fault(c), 0)
        return False
    linear[0] = <uint32_t>(s.base + sp)
    return True

cdef bint stack_store_slow(Cpu* c, Insn* i, uint64_t sp, uint64_t value, uint32_t size) noexcept nogil:
    cdef uint64_t linear = 0
    cdef TlbEntry* t
    if c.features[<int>FEATURE_PRE186] and (sp & 0xFFFF) == 0xFFFF and size == 2:      # wraps within the segment
        return slow_store(c, i, c.seg[SS].base + 0xFFFF, value & 0xFF, 1) and slow_store(c, i, c.seg[SS].base, value >> 8, 1)
    if not stack_linear(c, i, sp, size, True, &linear):
        return False
    t = write_entry(c, linear)
    if size == 2 and entry_holds(c, t, linear, <uint16_t>0):
        (<uint16_t*>(t.addend + linear))[0] = <uint16_t>value
        return True
    return slow_store(c, i, linear, value, size)

cdef bint stack_load_slow(Cpu* c, Insn* i, uint64_t sp, uint32_t size) noexcept nogil:
    cdef uint64_t linear = 0
    cdef TlbEntry* t
    if c.features[<int>FEATURE_PRE186] and (sp & 0xFFFF) == 0xFFFF and size == 2:
        if not slow_load(c, i, c.seg[SS].base, 1):
            return False
        linear = c.mtmp << 8
        if not slow_load(c, i, c.seg[SS].base + 0xFFFF, 1):
            return False
        c.mtmp = linear | (c.mtmp & 0xFF)
        return True
    if not stack_linear(c, i, sp, size, False, &linear):
        return False
    t = read_entry(c, linear)
    if size == 2 and entry_holds(c, t, linear, <uint16_t>0):
        c.mtmp = (<uint16_t*>(t.addend + linear))[0]
        return True
    return slow_load(c, i, linear, size)

cdef bint stack_probe(Cpu* c, Insn* i, uint64_t sp, uint32_t size, bint write) noexcept nogil:
    cdef uint64_t linear = 0
    if not stack_linear(c, i, sp, size, write, &linear):
        return False
    return slow_probe(c, i, linear, size, write)
