# cython: language_level=3
# Moves to, from and between XMM registers (SDM 2A to 2C under the mnemonics; SDM 1, 10.4.1 and 11.4.1).
# Non-temporal hints have no effect: memory is coherent here.  The plain loads and stores come from _gen/forms_simd.py.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy
from x86emu.core.state cimport *
from x86emu.core.alignment cimport aligned
from x86emu.core.memory_access cimport st
from x86emu.core.mmu cimport slow_bytes, slow_load, slow_probe, slow_store
from x86emu.core.tlb cimport NEVER_KEY
from x86emu.core.simd cimport *
from x86emu.core.simd_memory cimport *

cdef enum LoadKind:            # what becomes of the rest of the register
    LOAD_ZERO = 0              # cleared
    LOAD_TWICE = 1             # the same once more
    LOAD_LOW = 2               # the upper half stays
    LOAD_HIGH = 3              # to the upper half; the lower one stays

cdef inline void move_register(Cpu* c, Insn* i) noexcept nogil:
    memcpy(xmm(c, i.dst), xmm(c, i.src), 16)

cdef inline void set_pair(Cpu* c, uint8_t n, uint64_t low, uint64_t high) noexcept nogil:
    c.vec[n].q[0] = low
    c.vec[n].q[1] = high

# The slow way, and the rest of the handler: TLB misses, page crossings, MMIO, faults.
cdef void load_vector_slowly(Cpu* c, Insn* i, uint8_t n, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if aligned and ea & 15:
        fault_code(c, i, V_GP, 0)
        return
    if slow_bytes(c, i, ea, <uint8_t*>xmm(c, n), 16, 0):
        chain(c, i)

cdef void store_vector_slowly(Cpu* c, Insn* i, uint8_t n, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if aligned and ea & 15:
        fault_code(c, i, V_GP, 0)
        return
    if slow_bytes(c, i, ea, <uint8_t*>xmm(c, n), 16, 1):
        chain(c, i)

cdef void load_slowly(Cpu* c, Insn* i, uint32_t size, int kind) noexcept nogil:
    cdef uint64_t v
    if not slow_load(c, i, ea_of(c, i), size):
        return
    v = c.mtmp if size == 8 else <uint32_t>c.mtmp
    if kind == LOAD_ZERO:
        set_pair(c, i.dst, v, 0)
    elif kind == LOAD_TWICE:
        set_pair(c, i.dst, v, v)
    elif kind == LOAD_LOW:
        c.vec[i.dst].q[0] = v
    else:
        c.vec[i.dst].q[1] = v
    chain(c, i)

cdef void store_slowly(Cpu* c, Insn* i, uint32_t size, int word) noexcept nogil:
    cdef uint64_t v = c.vec[i.dst].q[word]
    if slow_store(c, i, ea_of(c, i), v if size == 8 else <uint32_t>v, size):
        chain(c, i)

include "simd_moves.pxi"

cdef void MOVSS_V_V(Cpu* c, Insn* i) noexcept nogil:
    (<uint32_t*>xmm(c, i.dst))[0] = (<uint32_t*>xmm(c, i.src))[0]
    chain(c, i)

cdef void MOVSD_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = c.vec[i.src].q[0]
    chain(c, i)

cdef void MOVQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = c.vec[i.src].q[0]
    c.vec[i.dst].q[1] = 0
    chain(c, i)

cdef void MOVDDUP_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = c.vec[i.src].q[0]
    c.vec[i.dst].q[1] = c.vec[i.dst].q[0]
    chain(c, i)

cdef void MOVHLPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = c.vec[i.src].q[1]
    chain(c, i)

cdef void MOVLHPS_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[1] = c.vec[i.src].q[0]
    chain(c, i)

cdef inline uint64_t twice(uint64_t v) noexcept nogil:
    return v | v << 32

cdef void MOVSLDUP_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = twice(<uint32_t>c.vec[i.src].q[0])
    c.vec[i.dst].q[1] = twice(<uint32_t>c.vec[i.src].q[1])
    chain(c, i)

cdef void MOVSHDUP_V_V(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = twice(c.vec[i.src].q[0] >> 32)
    c.vec[i.dst].q[1] = twice(c.vec[i.src].q[1] >> 32)
    chain(c, i)

# ----- general registers -----
cdef void MOVD_V_Rd(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = <uint32_t>c.r[i.src]
    c.vec[i.dst].q[1] = 0
    chain(c, i)

cdef void MOVD_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    c.vec[i.dst].q[0] = c.r[i.src]
    c.vec[i.dst].q[1] = 0
    chain(c, i)

cdef void MOVD_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = <uint32_t>c.vec[i.src].q[0]
    chain(c, i)

cdef void MOVD_Rq_V(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = c.vec[i.src].q[0]
    chain(c, i)

cdef inline uint64_t gather_signs(uint64_t v) noexcept nogil:
    """The top bits of eight bytes: each lands in bits 63:56, without carries between them."""
    return ((v & 0x8080808080808080ULL) >> 7) * 0x0102040810204080ULL >> 56

cdef void PMOVMSKB_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = gather_signs(c.vec[i.src].q[0]) | gather_signs(c.vec[i.src].q[1]) << 8
    chain(c, i)

cdef void MOVMSKPS_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t a = c.vec[i.src].q[0]
    cdef uint64_t b = c.vec[i.src].q[1]
    c.r[i.dst] = (a >> 31 & 1) | (a >> 63) << 1 | (b >> 31 & 1) << 2 | (b >> 63) << 3
    chain(c, i)

cdef void MOVMSKPD_Rd_V(Cpu* c, Insn* i) noexcept nogil:
    c.r[i.dst] = c.vec[i.src].q[0] >> 63 | (c.vec[i.src].q[1] >> 63) << 1
    chain(c, i)

# ----- MASKMOVDQU and MASKMOVQ: bytes of a register whose mask byte has its top bit set go to [rDI] -----
cdef bint mask_address(Cpu* c, Insn* i, int k, uint64_t* linear) noexcept nogil:
    """Linear address of byte k; i.seg is DS or the override, i.aux the address size."""
    cdef uint64_t offset = c.r[RDI] + <uint64_t>k
    cdef Segment* s = &c.seg[i.seg]
    if i.aux == 0:
        offset = <uint16_t>offset
    elif i.aux == 1:
        offset = <uint32_t>offset
    if (c.mode & MODE_CODE) == MODE_CODE64:
        linear[0] = offset + (s.base if i.seg >= FS else 0)
        return True
    if offset < s.low or offset > s.high or not (s.access & ACCESS_WRITE):
        fault_code(c, i, V_SS if i.seg == SS else V_GP, 0)
        return False
    linear[0] = <uint32_t>(s.base + offset)
    return True

cdef bint store_masked(Cpu* c, Insn* i, uint8_t* data, uint8_t* mask, int n) noexcept nogil:
    """All bytes are probed before the first is stored. A mask without any bit makes no access and no fault."""
    cdef uint64_t linear
    cdef int k
    if c.tlb_key == NEVER_KEY and (not mask_address(c, i, 0, &linear) or not aligned(c, i, linear, 8)):
        return False
    for k in range(n):
        if mask[k] & 0x80:
            if not mask_address(c, i, k, &linear) or not slow_probe(c, i, linear, 1, 1):
                return False
    for k in range(n):
        if mask[k] & 0x80:
            if not mask_address(c, i, k, &linear) or not st(c, i, linear, data[k]):
                return False
    return True

cdef void MASKMOVDQU_V_V_Xb(Cpu* c, Insn* i) noexcept nogil:
    if not store_masked(c, i, <uint8_t*>xmm(c, i.dst), <uint8_t*>xmm(c, i.src), 16):
        return
    chain(c, i)

cdef void MASKMOVQ_P_P_Xb(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i) or not store_masked(c, i, <uint8_t*>mm(c, i.dst), <uint8_t*>mm(c, i.src), 8):
        return
    mmx_used(c)
    chain(c, i)

include "register_simd_move.pxi"
