# cython: language_level=3
# AVX moves: loads and stores, whole and masked, gathers, moves between registers (SDM 2B, 2C under the mnemonics).
# The plain ones come from _gen/forms_avx.py.
#
# Masked moves and gathers do not touch memory where the mask's sign bit is 0: no fault, no accessed bit. Their rows have
# `elements` or `vsib`, so that segmentation is done here, for each element.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy, memset
from x86emu.core.state cimport *
from x86emu.core.alignment cimport ld_unaligned, st_unaligned
from x86emu.core.mmu cimport slow_bytes, slow_load, slow_probe
from x86emu.core.simd_memory cimport load_vector, store_vector, load_32, load_64
from x86emu.core.avx cimport *

cdef inline void set_low(Cpu* c, uint8_t n, uint64_t low, uint64_t high) noexcept nogil:
    c.vec[n].q[0] = low
    c.vec[n].q[1] = high
    clear_upper(c, n)

# ----- the slow way, and the rest of the handler: TLB misses, page crossings, MMIO, faults -----
cdef void load_slowly(Cpu* c, Insn* i, uint8_t n, uint32_t size, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if aligned and ea & (size - 1):
        fault_code(c, i, V_GP, 0)
        return
    if not slow_bytes(c, i, ea, <uint8_t*>&c.vec[n], size, 0):
        return
    if size == 16:
        clear_upper(c, n)
    chain(c, i)

cdef void store_slowly(Cpu* c, Insn* i, uint8_t n, uint32_t size, bint aligned) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    if aligned and ea & (size - 1):
        fault_code(c, i, V_GP, 0)
        return
    if slow_bytes(c, i, ea, <uint8_t*>&c.vec[n], size, 1):
        chain(c, i)

cdef void load_scalar_slowly(Cpu* c, Insn* i, uint32_t size) noexcept nogil:
    if not slow_load(c, i, ea_of(c, i), size):
        return
    set_low(c, i.dst, c.mtmp if size == 8 else <uint32_t>c.mtmp, 0)
    chain(c, i)

include "avx_moves.pxi"

# ----- between registers -----
cdef void VMOVSS_V_V_V(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t low = (c.vec[i.src].q[0] & 0xFFFFFFFF00000000ULL) | <uint32_t>c.vec[i.index].q[0]
    set_low(c, i.dst, low, c.vec[i.src].q[1])
    chain(c, i)

cdef void VMOVSD_V_V_V(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.vec[i.index].q[0], c.vec[i.src].q[1])
    chain(c, i)

cdef void VMOVHLPS_V_V_V(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.vec[i.index].q[1], c.vec[i.src].q[1])
    chain(c, i)

cdef void VMOVLHPS_V_V_V(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.vec[i.src].q[0], c.vec[i.index].q[0])
    chain(c, i)

# from memory: the value has been loaded into a general register
cdef void VMOVLPS_V_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.r[i.index], c.vec[i.src].q[1])
    chain(c, i)

cdef void VMOVHPS_V_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.vec[i.src].q[0], c.r[i.index])
    chain(c, i)

cdef void VMOVQ_V_V(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.vec[i.src].q[0], 0)
    chain(c, i)

cdef void VMOVD_V_Rd(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, <uint32_t>c.r[i.src], 0)
    chain(c, i)

cdef void VMOVD_V_Rq(Cpu* c, Insn* i) noexcept nogil:
    set_low(c, i.dst, c.r[i.src], 0)
    chain(c, i)

cdef inline uint64_t gather_signs(uint64_t v) noexcept nogil:
    """The top bits of eight bytes: each lands in bits 63:56, without carries between them."""
    return ((v & 0x8080808080808080ULL) >> 7) * 0x0102040810204080ULL >> 56

cdef void PMOVMSKB_Rd_Y(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t* q = c.vec[i.src].q
    c.r[i.dst] = gather_signs(q[0]) | gather_signs(q[1]) << 8 | gather_signs(q[2]) << 16 | gather_signs(q[3]) << 24
    chain(c, i)

cdef inline uint64_t two_signs(uint64_t v) noexcept nogil:
    return (v >> 31 & 1) | (v >> 63) << 1

cdef void MOVMSKPS_Rd_Y(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t* q = c.vec[i.src].q
    c.r[i.dst] = two_signs(q[0]) | two_signs(q[1]) << 2 | two_signs(q[2]) << 4 | two_signs(q[3]) << 6
    chain(c, i)

cdef void MOVMSKPD_Rd_Y(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t* q = c.vec[i.src].q
    c.r[i.dst] = q[0] >> 63 | (q[1] >> 63) << 1 | (q[2] >> 63) << 2 | (q[3] >> 63) << 3
    chain(c, i)

cdef inline int vector_registers(Cpu* c) noexcept nogil:
    return 16 if (c.mode & MODE_CODE) == MODE_CODE64 else 8

cdef void VZEROUPPER(Cpu* c, Insn* i) noexcept nogil:
    cdef int n
    for n in range(vector_registers(c)):
        clear_upper(c, <uint8_t>n)
    chain(c, i)

cdef void VZEROALL(Cpu* c, Insn* i) noexcept nogil:
    memset(&c.vec[0], 0, vector_registers(c) * sizeof(Vec))
    chain(c, i)

# ----- masked moves -----
ctypedef fused mask_t:
    uint32_t
    uint64_t

cdef inline bint linear_of(Cpu* c, Insn* i, uint64_t offset, uint32_t size, uint8_t access, uint64_t* linear) noexcept nogil:
    """Linear address of one element at an offset into segment i.seg. False after raising #SS or #GP."""
    cdef Segment* s = &c.seg[i.seg]
    if (c.mode & MODE_CODE) == MODE_CODE64:
        linear[0] = offset + (s.base if i.seg >= FS else 0)
        return True
    if offset < s.low or offset + (size - 1) > s.high or not (s.access & access):
        fault_code(c, i, V_SS if i.seg == SS else V_GP, 0)
        return False
    linear[0] = <uint32_t>(s.base + offset)
    return True

cdef inline bint masked_load(Cpu* c, Insn* i, int n, mask_t kind) noexcept nogil:
    cdef mask_t* mask = <mask_t*>&c.vec[i.src]
    cdef mask_t* r = <mask_t*>&c.vec[SCRATCH]
    cdef uint64_t offset = ea_of(c, i), linear
    cdef int k
    for k in range(n):
        r[k] = 0
        if mask[k] >> (8 * sizeof(mask_t) - 1):
            if not linear_of(c, i, offset + k * sizeof(mask_t), sizeof(mask_t), ACCESS_READ, &linear):
                return False
            if not ld_unaligned(c, i, linear, &r[k]):
                return False
    put_result(c, i.dst, r, n * sizeof(mask_t))
    return True

cdef inline bint masked_store(Cpu* c, Insn* i, int n, mask_t kind) noexcept nogil:
    """All elements are probed before the first is stored."""
    cdef mask_t* mask = <mask_t*>&c.vec[i.dst]
    cdef mask_t* data = <mask_t*>&c.vec[i.src]
    cdef uint64_t offset = ea_of(c, i), linear
    cdef int k
    for k in range(n):
        if mask[k] >> (8 * sizeof(mask_t) - 1):
            if not linear_of(c, i, offset + k * sizeof(mask_t), sizeof(mask_t), ACCESS_WRITE, &linear):
                return False
            if not slow_probe(c, i, linear, sizeof(mask_t), 1):
                return False
    for k in range(n):
        if mask[k] >> (8 * sizeof(mask_t) - 1):
            if not linear_of(c, i, offset + k * sizeof(mask_t), sizeof(mask_t), ACCESS_WRITE, &linear):
                return False
            if not st_unaligned(c, i, linear, data[k]):
                return False
    return True

cdef bint masked_load_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return masked_load(c, i, n, <uint32_t>0)

cdef bint masked_load_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return masked_load(c, i, n, <uint64_t>0)

cdef bint masked_store_32(Cpu* c, Insn* i, int n) noexcept nogil:
    return masked_store(c, i, n, <uint32_t>0)

cdef bint masked_store_64(Cpu* c, Insn* i, int n) noexcept nogil:
    return masked_store(c, i, n, <uint64_t>0)

# ----- gathers -----
cdef inline bint gather(Cpu* c, Insn* i, int n, int index_bits, mask_t kind, int length) noexcept nogil:
    """dst, mask (src) and index differ. The mask's signs first fill their elements. Elements are then taken from the lowest;
    each clears its element of the mask, so that after a fault the instruction goes on where it was.

    length is the vector length in bytes: as far as that, whatever n, processors fill the mask."""
    cdef mask_t* d = <mask_t*>&c.vec[i.dst]
    cdef mask_t* mask = <mask_t*>&c.vec[i.src]
    cdef uint64_t offset, linear
    cdef int64_t index
    cdef int k
    for k in range(length // <int>sizeof(mask_t)):
        mask[k] = 0 - (mask[k] >> (8 * sizeof(mask_t) - 1))
    memset(<uint8_t*>mask + length, 0, 32 - length)
    for k in range(n):
        if mask[k]:
            index = (<int32_t*>&c.vec[i.index])[k] if index_bits == 32 else (<int64_t*>&c.vec[i.index])[k]
            offset = c.r[i.base] + (<uint64_t>index << i.scale) + <uint64_t><int64_t>i.disp
            if i.aux == 1:
                offset = <uint32_t>offset
            if not linear_of(c, i, offset, sizeof(mask_t), ACCESS_READ, &linear):
                return False
            if not ld_unaligned(c, i, linear, &d[k]):
                return False
            if length == 16:
                clear_upper(c, i.dst)
        mask[k] = 0
    memset(<uint8_t*>d + n * sizeof(mask_t), 0, 32 - n * sizeof(mask_t))
    memset(mask, 0, 32)
    return True

cdef bint gather_32_32(Cpu* c, Insn* i, int n, int length) noexcept nogil:
    return gather(c, i, n, 32, <uint32_t>0, length)

cdef bint gather_32_64(Cpu* c, Insn* i, int n, int length) noexcept nogil:
    return gather(c, i, n, 32, <uint64_t>0, length)

cdef bint gather_64_32(Cpu* c, Insn* i, int n, int length) noexcept nogil:
    return gather(c, i, n, 64, <uint32_t>0, length)

cdef bint gather_64_64(Cpu* c, Insn* i, int n, int length) noexcept nogil:
    return gather(c, i, n, 64, <uint64_t>0, length)

include "avx_masked.pxi"
include "register_avx_move.pxi"
