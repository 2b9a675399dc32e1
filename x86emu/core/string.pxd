# cython: language_level=3
# Addresses and counters of string instructions (SDM 1, 7.3.9; SDM 2A, CMPS; SDM 2B, MOVS, REP).  INS and OUTS use them too.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.early cimport *

cdef inline uint64_t address_mask(Insn* i) noexcept nogil:
    """All ones in the address size that rows with `asz` put into aux."""
    if i.aux == 2:
        return 0xFFFFFFFFFFFFFFFFULL
    return 0xFFFFFFFFULL if i.aux == 1 else 0xFFFFULL

cdef inline void set_index(Cpu* c, int register, uint64_t mask, uint64_t value) noexcept nogil:
    """Writes rSI, rDI or rCX in the address size."""
    if mask == 0xFFFFULL:
        c.r[register] = (c.r[register] & ~<uint64_t>0xFFFF) | <uint16_t>value
    else:
        c.r[register] = value & mask

cdef inline bint segment_linear(Cpu* c, Insn* i, int seg, uint64_t offset, uint32_t size, bint write,
                                uint64_t* linear) noexcept nogil:
    """Linear address of seg:offset after the segment checks. False: #GP(0) or #SS(0) is raised."""
    cdef Segment* s = &c.seg[seg]
    if likely((c.mode & MODE_CODE) == MODE_CODE64):
        linear[0] = offset + s.base if seg >= FS else offset
        return True
    if unlikely(not s.access & (ACCESS_WRITE if write else ACCESS_READ) or offset < s.low
                or offset + (size - 1) > s.high):
        fault_code(c, i, stack_fault(c) if seg == SS else V_GP, 0)
        if unlikely(c.features[<int>FEATURE_PRE386]):
            string_fault_80286(c)
        return False
    linear[0] = <uint32_t>(s.base + offset)
    return True

# How many elements from seg:offset on (upwards or downwards) lie in one page, in the segment, and short of the wrap of
# the address size; 0 where the first one crosses a page.
cdef uint64_t run_length(Cpu* c, int seg, uint64_t offset, uint64_t linear, uint64_t mask, uint32_t size,
                         bint down) noexcept nogil
# Host address of the lowest of n elements from linear on, or NULL where they are not plain memory.
cdef uint8_t* run_pointer(Cpu* c, uint64_t linear, uint64_t n, uint32_t size, bint down, bint write) noexcept nogil
# How many iterations may run now, at most n. One is always allowed; TF allows just one.
cdef uint64_t iterations_allowed(Cpu* c, uint64_t n, bint first) noexcept nogil
# Leaves a REP instruction to be restarted, `began` saying that an iteration of it has been done.
cdef void leave_unfinished(Cpu* c, Insn* i, bint began) noexcept nogil
