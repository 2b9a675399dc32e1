# cython: language_level=3
"""Instructions on segment registers and descriptor tables (Intel SDM volumes 2A to 2C; 3A 5.10 for the pointer checks).

PUSH of a segment register writes the whole operand, zero-extended, as the manual's first alternative and AMD's
processors do.  LAR returns bits 19:16, which the manual leaves undefined for code and data, as zero.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport arithmetic_flags, flags_eager
from x86emu.core.memory_access cimport ld, load_bytes, store_bytes, read_entry, write_entry, entry_holds
from x86emu.core.mmu cimport system_load, canonical
from x86emu.core.mode cimport refresh_data_segment, refresh_segment
from x86emu.core.quick_transfers cimport real_segment
from x86emu.core.resume cimport resume
from x86emu.core.stack cimport push, stack_load, set_sp, move_sp
from x86emu.core.segmentation cimport *
from x86emu.core.vendor cimport is_amd
from x86emu.core.features cimport *

cdef inline void set_zf(Cpu* c, bint zf) noexcept nogil:
    flags_eager(c, (arithmetic_flags(c) & ~<uint32_t>FLAG_ZF) | (FLAG_ZF if zf else 0))

# ----- MOV -----

cdef void MOV_Rw_S(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(i.src > GS):
        fault(c, i, V_UD)
        return
    set_r(c, i.dst, c.seg[i.src].selector)
    chain(c, i)

cdef void MOV_Rd_S(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(i.src > GS):
        fault(c, i, V_UD)
        return
    c.r[i.dst] = c.seg[i.src].selector
    chain(c, i)

cdef void MOV_Rq_S(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(i.src > GS):
        fault(c, i, V_UD)
        return
    c.r[i.dst] = c.seg[i.src].selector
    chain(c, i)

cdef inline void loaded(Cpu* c, Insn* i, int seg) noexcept nogil:
    """End of an instruction that loaded a segment register: the records behind it hold on if the mode is still the one
    they were made for. Loading SS holds off events for one instruction, except LSS (SDM 3A 6.8.3)."""
    cdef uint32_t mode = c.mode
    refresh_data_segment(c, seg)
    if likely(c.mode == mode and seg != SS):
        chain(c, i)
        return
    finish(c, i)
    resume(c, i)

cdef void MOV_S_Rw(Cpu* c, Insn* i) noexcept nogil:
    if i.dst != CS and i.dst <= GS and real_segment(c, i.dst, <uint16_t>c.r[i.src]):
        chain(c, i)
    else:
        move_to_segment(c, i)

cdef void move_to_segment(Cpu* c, Insn* i) noexcept nogil:
    if i.dst > GS or i.dst == CS:
        fault(c, i, V_UD)
        return
    if not load_segment(c, i, i.dst, <uint16_t>c.r[i.src]):
        return
    if i.dst == SS:
        c.interrupt_shadow = 2
    loaded(c, i, i.dst)

# ----- far pointers: LDS, LES, LFS, LGS, LSS; PUSH and POP -----

cdef inline void load_far_pointer(Cpu* c, Insn* i, int seg, uint_t kind) noexcept nogil:
    cdef uint_t offset = 0
    cdef uint16_t selector = 0
    cdef uint64_t ea = ea_of(c, i)
    cdef uint64_t second = (ea + sizeof(uint_t)) & c.ea_mask
    if unlikely(c.features[<int>FEATURE_PRE386]) and ea == c.seg[i.seg].base + 0xFFFE:
        second = c.seg[i.seg].base           # the second of two words wraps within the segment
    if not ld(c, i, ea, &offset) or not ld(c, i, second, &selector):
        return
    if not real_segment(c, seg, selector) and not load_segment(c, i, seg, selector):
        return
    set_r(c, i.dst, offset)
    loaded(c, i, seg)

cdef inline void push_segment(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    cdef uint_t selector = c.seg[i.dst].selector
    if unlikely(not push(c, i, selector)):
        return
    chain(c, i)

cdef inline void pop_segment(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    cdef uint_t selector = 0
    cdef int seg = i.dst
    cdef uint64_t mask = c.sp_mask
    cdef uint64_t sp = c.r[RSP] + sizeof(uint_t)
    if not stack_load(c, i, c.r[RSP], &selector):
        return
    if not load_segment(c, i, seg, <uint16_t>selector):
        return
    if seg == SS:
        c.interrupt_shadow = 2
    c.r[RSP] = (c.r[RSP] & ~mask) | (sp & mask)
    loaded(c, i, seg)

cdef inline bint pop_real_segment(Cpu* c, Insn* i) noexcept nogil:
    """POP in real mode that hits the TLB, but for SS."""
    cdef uint64_t sp = c.r[RSP] & c.sp_mask
    cdef uint64_t linear = sp + c.stack_base
    cdef TlbEntry* t = read_entry(c, linear)
    if unlikely(sp >= c.stack_limit or not entry_holds(c, t, linear, <uint16_t>0)
                or not real_segment(c, i.dst, (<uint16_t*>(t.addend + linear))[0])):
        return False
    set_sp(c, sp + 2)
    return True

include "segment_forms.pxi"

# ----- ARPL, LAR, LSL, VERR, VERW -----

cdef void ARPL_Rw_Rw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t selector = <uint16_t>c.r[i.dst]
    cdef uint16_t rpl = <uint16_t>(c.r[i.src] & 3)
    if (selector & 3) < rpl:
        set_r(c, i.dst, <uint16_t>((selector & 0xFFFC) | rpl))
        set_zf(c, 1)
    else:
        set_zf(c, 0)
    chain(c, i)

# System descriptors that LAR and LSL accept, as bit masks by type (SDM 2A, LAR and LSL; in IA-32e mode 16-bit ones
# and task gates are invalid).
cdef enum:
    LAR_TYPES = 0x1A3E           # 1 2 3 4 5 9 Bh Ch
    LAR_TYPES_LONG = 0x1A04      # 2 9 Bh Ch
    LSL_TYPES = 0x0A0E           # 1 2 3 9 Bh
    LSL_TYPES_LONG = 0x0A04      # 2 9 Bh

cdef int look_up(Cpu* c, Insn* i, uint32_t selector, uint32_t types) noexcept nogil:
    """Descriptor into c.mtmp for LAR, LSL, VERR, VERW. 1: visible at CPL and RPL; 0: not (ZF = 0); -1: fault."""
    cdef uint64_t linear = 0
    cdef uint64_t raw = 0
    cdef uint32_t attributes
    cdef int dpl
    if not selector & 0xFFFC or not descriptor_address(c, selector, &linear):
        return 0
    if not system_load(c, i, linear, 8, &raw):
        return -1
    attributes = attributes_of(raw)
    dpl = dpl_of(attributes)
    if not attributes & ATTR_S and not (types >> (attributes & ATTR_TYPE)) & 1:
        return 0
    if not (is_code(attributes) and is_conforming(attributes)) and (<int>c.cpl > dpl or <int>(selector & 3) > dpl):
        return 0
    c.mtmp = raw
    return 1

cdef inline void lar(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    cdef int found = look_up(c, i, <uint16_t>c.r[i.src], LAR_TYPES_LONG if long_mode(c) else LAR_TYPES)
    if unlikely(found < 0):
        return
    set_zf(c, found)
    if found:
        if uint_t is uint16_t:
            set_r(c, i.dst, <uint16_t>((c.mtmp >> 32) & 0xFF00))
        else:
            c.r[i.dst] = (c.mtmp >> 32) & 0xF0FF00
    chain(c, i)

cdef inline void lsl(Cpu* c, Insn* i, uint_t kind) noexcept nogil:
    cdef int found = look_up(c, i, <uint16_t>c.r[i.src], LSL_TYPES_LONG if long_mode(c) else LSL_TYPES)
    if unlikely(found < 0):
        return
    set_zf(c, found)
    if found:
        if uint_t is uint16_t:
            set_r(c, i.dst, <uint16_t>limit_of(c.mtmp))
        else:
            c.r[i.dst] = limit_of(c.mtmp)
    chain(c, i)

cdef void LAR_Rw_Rw(Cpu* c, Insn* i) noexcept nogil:
    lar(c, i, <uint16_t>0)

cdef void LAR_Rd_Rw(Cpu* c, Insn* i) noexcept nogil:
    lar(c, i, <uint32_t>0)

cdef void LAR_Rq_Rw(Cpu* c, Insn* i) noexcept nogil:
    lar(c, i, <uint64_t>0)

cdef void LSL_Rw_Rw(Cpu* c, Insn* i) noexcept nogil:
    lsl(c, i, <uint16_t>0)

cdef void LSL_Rd_Rw(Cpu* c, Insn* i) noexcept nogil:
    lsl(c, i, <uint32_t>0)

cdef void LSL_Rq_Rw(Cpu* c, Insn* i) noexcept nogil:
    lsl(c, i, <uint64_t>0)

cdef void VERR_Rw(Cpu* c, Insn* i) noexcept nogil:
    cdef int found = look_up(c, i, <uint16_t>c.r[i.dst], 0)
    if unlikely(found < 0):
        return
    # readable: any data segment, or code with the R bit
    set_zf(c, found and ((c.mtmp >> 40) & (ATTR_CODE | ATTR_WRITABLE)) != ATTR_CODE)
    chain(c, i)

cdef void VERW_Rw(Cpu* c, Insn* i) noexcept nogil:
    cdef int found = look_up(c, i, <uint16_t>c.r[i.dst], 0)
    if unlikely(found < 0):
        return
    set_zf(c, found and ((c.mtmp >> 40) & (ATTR_CODE | ATTR_WRITABLE)) == ATTR_WRITABLE)
    chain(c, i)

# ----- LDTR and TR -----

cdef inline bint umip_refuses(Cpu* c, Insn* i) noexcept nogil:
    """CR4.UMIP: SGDT, SIDT, SLDT, SMSW, STR at CPL above 0 are #GP(0) (SDM 3A 2.5)."""
    if c.cr4 & CR4_UMIP and c.cpl:
        fault_code(c, i, V_GP, 0)
        return True
    return False

cdef inline void store_selector(Cpu* c, Insn* i, int seg, uint_t kind) noexcept nogil:
    if unlikely(umip_refuses(c, i)):
        return
    set_r(c, i.dst, <uint_t>c.seg[seg].selector)
    chain(c, i)

cdef void SLDT_Rw(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, LDTR, <uint16_t>0)

cdef void SLDT_Rd(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, LDTR, <uint32_t>0)

cdef void SLDT_Rq(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, LDTR, <uint64_t>0)

cdef void STR_Rw(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, TR, <uint16_t>0)

cdef void STR_Rd(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, TR, <uint32_t>0)

cdef void STR_Rq(Cpu* c, Insn* i) noexcept nogil:
    store_selector(c, i, TR, <uint64_t>0)

cdef bint load_system_segment(Cpu* c, Insn* i, int seg, uint32_t selector, uint32_t types) noexcept nogil:
    """LLDT and LTR from a GDT entry of one of the types (bit mask); 16 bytes in IA-32e mode."""
    cdef uint64_t raw = 0
    cdef uint64_t upper = 0
    cdef uint32_t attributes
    cdef uint32_t error = selector & 0xFFFC
    cdef Segment s
    if selector & 4:
        fault_code(c, i, V_GP, error)
        return False
    if not read_descriptor(c, i, selector, &raw):
        return False
    attributes = attributes_of(raw)
    if attributes & ATTR_S or not (types >> (attributes & ATTR_TYPE)) & 1:
        fault_code(c, i, V_GP, error)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, error)
        return False
    segment_from(&s, selector, raw)
    if long_mode(c):
        if not read_upper_descriptor(c, i, selector, &upper, V_GP, error):
            return False
        s.base |= upper << 32
        if upper & 0x1F0000000000ULL or not canonical_base(c, s.base):
            fault_code(c, i, V_GP, error)
            return False
    if seg == TR:
        if not mark_busy(c, i, selector, 1):
            return False
        s.attributes |= 2
    load_cache(c, seg, &s)
    return True

cdef void load_ldtr(Cpu* c, Insn* i, uint32_t selector) noexcept nogil:
    if selector & 0xFFFC:
        if not load_system_segment(c, i, LDTR, selector, 1 << 2):
            return
    else:
        c.seg[LDTR].selector = <uint16_t>selector
        c.seg[LDTR].attributes = ATTR_UNUSABLE
        refresh_segment(c, LDTR)
    finish(c, i)

cdef void load_tr(Cpu* c, Insn* i, uint32_t selector) noexcept nogil:
    if not selector & 0xFFFC:
        fault_code(c, i, V_GP, 0)
        return
    if not load_system_segment(c, i, TR, selector, 1 << 9 if long_mode(c) else (1 << 9) | (1 << 1)):
        return
    finish(c, i)

# The privilege check comes before the memory operand is read.
cdef bint system_selector(Cpu* c, Insn* i, uint16_t* selector) noexcept nogil:
    if c.cpl:
        fault_code(c, i, V_GP, 0)
        return False
    return ld(c, i, ea_of(c, i), selector)

cdef void LLDT_Rw(Cpu* c, Insn* i) noexcept nogil:
    if c.cpl:
        fault_code(c, i, V_GP, 0)
        return
    load_ldtr(c, i, <uint16_t>c.r[i.dst])

cdef void LLDT_Mw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t selector = 0
    if system_selector(c, i, &selector):
        load_ldtr(c, i, selector)

cdef void LTR_Rw(Cpu* c, Insn* i) noexcept nogil:
    if c.cpl:
        fault_code(c, i, V_GP, 0)
        return
    load_tr(c, i, <uint16_t>c.r[i.dst])

cdef void LTR_Mw(Cpu* c, Insn* i) noexcept nogil:
    cdef uint16_t selector = 0
    if system_selector(c, i, &selector):
        load_tr(c, i, selector)

# ----- GDTR and IDTR -----

cdef bint store_table(Cpu* c, Insn* i, TableRegister* table) noexcept nogil:
    cdef uint64_t image[2]
    if umip_refuses(c, i):
        return False
    image[0] = (table.limit & 0xFFFF) | (table.base << 16)
    image[1] = table.base >> 48
    return store_bytes(c, i, ea_of(c, i), &image[0], 10 if code64(c) else 6)

cdef void SGDT_Ms(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not store_table(c, i, &c.gdtr)):
        return
    chain(c, i)

cdef void SIDT_Ms(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(not store_table(c, i, &c.idtr)):
        return
    chain(c, i)

cdef void load_table(Cpu* c, Insn* i, TableRegister* table, uint64_t base_mask) noexcept nogil:
    cdef uint64_t image[2]
    cdef uint64_t base
    if c.cpl:
        fault_code(c, i, V_GP, 0)
        return
    image[0] = 0
    image[1] = 0
    if not load_bytes(c, i, ea_of(c, i), &image[0], 10 if code64(c) else 6):
        return
    base = (image[0] >> 16) | (image[1] << 48)
    if code64(c):
        if not canonical_base(c, base):
            fault_code(c, i, V_GP, 0)
            return
    else:
        base &= base_mask
    table.limit = image[0] & 0xFFFF
    table.base = base
    finish(c, i)

cdef void LGDT_Ms_w(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.gdtr, 0xFFFFFF)

cdef void LGDT_Ms_d(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.gdtr, 0xFFFFFFFFULL)

cdef void LGDT_Ms_q(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.gdtr, 0xFFFFFFFFULL)

cdef void LIDT_Ms_w(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.idtr, 0xFFFFFF)

cdef void LIDT_Ms_d(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.idtr, 0xFFFFFFFFULL)

cdef void LIDT_Ms_q(Cpu* c, Insn* i) noexcept nogil:
    load_table(c, i, &c.idtr, 0xFFFFFFFFULL)

# ----- FS and GS bases in 64-bit mode -----

cdef void SWAPGS(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t base = c.kernel_gs_base
    if unlikely(c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return
    c.kernel_gs_base = c.seg[GS].base
    c.seg[GS].base = base
    c.r[REG_GS_BASE] = base
    chain(c, i)

cdef inline void read_base(Cpu* c, Insn* i, int seg, uint64_t mask) noexcept nogil:
    if unlikely(not c.cr4 & CR4_FSGSBASE):
        fault(c, i, V_UD)
        return
    c.r[i.dst] = c.seg[seg].base & mask
    chain(c, i)

cdef inline void write_base(Cpu* c, Insn* i, int seg, uint64_t mask) noexcept nogil:
    cdef uint64_t base = c.r[i.dst] & mask
    if unlikely(not c.cr4 & CR4_FSGSBASE):
        fault(c, i, V_UD)
        return
    if unlikely(not canonical(c, base)):
        fault_code(c, i, V_GP, 0)
        return
    c.seg[seg].base = base
    c.r[REG_FS_BASE if seg == FS else REG_GS_BASE] = base
    chain(c, i)

cdef void RDFSBASE_Rd(Cpu* c, Insn* i) noexcept nogil:
    read_base(c, i, FS, 0xFFFFFFFFULL)

cdef void RDFSBASE_Rq(Cpu* c, Insn* i) noexcept nogil:
    read_base(c, i, FS, 0xFFFFFFFFFFFFFFFFULL)

cdef void RDGSBASE_Rd(Cpu* c, Insn* i) noexcept nogil:
    read_base(c, i, GS, 0xFFFFFFFFULL)

cdef void RDGSBASE_Rq(Cpu* c, Insn* i) noexcept nogil:
    read_base(c, i, GS, 0xFFFFFFFFFFFFFFFFULL)

cdef void WRFSBASE_Rd(Cpu* c, Insn* i) noexcept nogil:
    write_base(c, i, FS, 0xFFFFFFFFULL)

cdef void WRFSBASE_Rq(Cpu* c, Insn* i) noexcept nogil:
    write_base(c, i, FS, 0xFFFFFFFFFFFFFFFFULL)

cdef void WRGSBASE_Rd(Cpu* c, Insn* i) noexcept nogil:
    write_base(c, i, GS, 0xFFFFFFFFULL)

cdef void WRGSBASE_Rq(Cpu* c, Insn* i) noexcept nogil:
    write_base(c, i, GS, 0xFFFFFFFFFFFFFFFFULL)

include "register_segment_instructions.pxi"
