# cython: language_level=3
# Protected-mode segmentation (SDM 3A chapters 3 and 5; real and virtual-8086 mode: SDM 3B chapter 21).
# Everything that reads a descriptor table or fills a segment register, and stacks that are not the running one.
#
# Every function that returns bint raises its fault itself (through i, or outside an instruction when i is NULL) and
# then returns False; the caller returns at once.  `ext` is the EXT bit of error codes: 1 while an event is being delivered
# that the program did not ask for (SDM 3A 6.13).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.mmu cimport load_as, store_as, canonical
from x86emu.core.vendor cimport has_la57

cdef inline bint canonical_base(Cpu* c, uint64_t address) noexcept nogil:
    """Canonical form as loads of GDTR, IDTR, LDTR, TR and of MSRs check it: by the widest linear address that the
    processor has, whatever CR4.LA57 says."""
    cdef int64_t top = <int64_t>address >> (56 if has_la57(c) else 47)
    return top == 0 or top == -1

# ----- descriptors -----
cdef inline bint protected_mode(Cpu* c) noexcept nogil:
    """Protected mode proper: CR0.PE and not virtual-8086."""
    return (c.cr0 & CR0_PE) and not (c.rflags & FLAG_VM)

cdef inline bint code64(Cpu* c) noexcept nogil:
    return (c.mode & MODE_CODE) == MODE_CODE64

cdef inline bint long_mode(Cpu* c) noexcept nogil:
    return (c.efer & EFER_LMA) != 0

cdef inline uint32_t attributes_of(uint64_t raw) noexcept nogil:
    """Access-rights word of a descriptor in the format of Segment.attributes."""
    return <uint32_t>(raw >> 40) & 0xF0FF

cdef inline int dpl_of(uint32_t attributes) noexcept nogil:
    return (attributes >> ATTR_DPL_SHIFT) & 3

cdef inline uint64_t base_of(uint64_t raw) noexcept nogil:
    return ((raw >> 16) & 0xFFFFFF) | ((raw >> 32) & 0xFF000000ULL)

cdef inline uint32_t limit_of(uint64_t raw) noexcept nogil:
    cdef uint32_t limit = <uint32_t>(raw & 0xFFFF) | (<uint32_t>(raw >> 32) & 0xF0000)
    if (raw >> 55) & 1:
        limit = (limit << 12) | 0xFFF
    return limit

cdef inline bint is_code(uint32_t attributes) noexcept nogil:
    return (attributes & (ATTR_S | ATTR_CODE)) == (ATTR_S | ATTR_CODE)

cdef inline bint is_conforming(uint32_t attributes) noexcept nogil:
    return (attributes & ATTR_EXPAND_DOWN) != 0

cdef inline bint is_writable_data(uint32_t attributes) noexcept nogil:
    return (attributes & (ATTR_S | ATTR_CODE | ATTR_WRITABLE)) == (ATTR_S | ATTR_WRITABLE)

cdef inline void bounds_of(Segment* s) noexcept nogil:
    """First and last valid offset (SDM 3A 5.3)."""
    if (s.attributes & (ATTR_S | ATTR_CODE | ATTR_EXPAND_DOWN)) == (ATTR_S | ATTR_EXPAND_DOWN):
        s.low = <uint64_t>s.limit + 1
        s.high = 0xFFFFFFFF if s.attributes & ATTR_DB else 0xFFFF
    else:
        s.low = 0
        s.high = s.limit

cdef inline void segment_from(Segment* s, uint32_t selector, uint64_t raw) noexcept nogil:
    """The hidden part of a segment register from its descriptor; base bits 63:32 of a system descriptor are not in raw."""
    s.base = base_of(raw)
    s.limit = limit_of(raw)
    s.attributes = attributes_of(raw)
    s.selector = <uint16_t>selector
    bounds_of(s)

# Linear address of a selector's descriptor. False, without a fault, outside the table's limit or with no LDT.
cdef bint descriptor_address(Cpu* c, uint32_t selector, uint64_t* linear) noexcept nogil
# Reads a descriptor; #GP(selector), or vector(selector | ext), outside its table's limit.
cdef bint read_descriptor(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw) noexcept nogil
cdef bint read_descriptor_or(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector, uint32_t ext) noexcept nogil
# Upper half of a 16-byte descriptor of IA-32e mode; error_code complete.
cdef bint read_upper_descriptor(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector,
                                uint32_t error) noexcept nogil
# Sets the accessed bit in memory and in *raw.
cdef bint mark_accessed(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw) noexcept nogil
# Sets or clears the busy bit of a TSS descriptor in memory.
cdef bint mark_busy(Cpu* c, Insn* i, uint32_t selector, bint busy) noexcept nogil

# ----- segment registers -----
# Loads ES, SS, DS, FS or GS as MOV does, in every mode. Calls refresh_segment(); the caller calls refresh_mode().
cdef bint load_segment(Cpu* c, Insn* i, int seg, uint32_t selector) noexcept nogil
cdef void load_null(Cpu* c, int seg, uint32_t selector) noexcept nogil
cdef void set_null(Cpu* c, int seg, uint32_t selector) noexcept nogil       # without what is derived from it
cdef void load_real(Cpu* c, int seg, uint32_t selector) noexcept nogil      # base = selector * 16; the limit stays
cdef void load_v86(Cpu* c, int seg, uint32_t selector) noexcept nogil       # fixed limit and rights
cdef void load_cache(Cpu* c, int seg, Segment* s) noexcept nogil            # a segment checked before
# Checks a descriptor for CS as a direct JMP or CALL target (SDM 2A, CALL: "conforming/nonconforming code").
cdef bint check_code_target(Cpu* c, Insn* i, uint32_t selector, uint64_t raw) noexcept nogil
# Reads and checks the SS of an inner stack; null_ok for 64-bit mode is the caller's. #TS(selector), #SS(selector).
cdef bint inner_stack_segment(Cpu* c, Insn* i, uint32_t selector, int dpl, Segment* s, uint32_t ext) noexcept nogil
# Stack pointer for privilege level dpl from the running TSS (SDM 3A 8.2): selector (0 in a 64-bit TSS) and offset.
cdef bint inner_stack_pointer(Cpu* c, Insn* i, int dpl, uint32_t* selector, uint64_t* offset,
                              uint32_t ext) noexcept nogil
# Interrupt stack table (SDM 3A 6.14.5), entry 1..7.
cdef bint interrupt_stack_pointer(Cpu* c, Insn* i, int entry, uint64_t* offset, uint32_t ext) noexcept nogil
# A far return to an outer level makes data segments null that the new CPL may not use (SDM 3A 5.8.6).
cdef void invalidate_inner_data_segments(Cpu* c) noexcept nogil

# ----- stacks -----
cdef struct Stack:           # a stack as pushes see it; nothing in Cpu changes until the caller commits sp
    uint64_t base, low, high
    uint64_t mask            # of the stack pointer
    uint64_t sp
    int cpl                  # its accesses' privilege
    bint flat                # 64-bit mode: no base, no limit, canonical instead
    uint32_t error           # error code of its #SS

cdef inline void stack_of(Stack* s, Segment* ss, uint64_t sp, int cpl, uint32_t error) noexcept nogil:
    """A stack outside 64-bit mode."""
    s.base = ss.base
    s.low = ss.low
    s.high = ss.high
    s.mask = 0xFFFFFFFF if ss.attributes & ATTR_DB else 0xFFFF
    s.sp = sp & s.mask
    s.cpl = cpl
    s.flat = 0
    s.error = error

cdef inline void stack_flat(Stack* s, uint64_t sp, int cpl, uint32_t error) noexcept nogil:
    """A stack of 64-bit mode."""
    s.base = 0
    s.low = 0
    s.high = 0xFFFFFFFFFFFFFFFFULL
    s.mask = 0xFFFFFFFFFFFFFFFFULL
    s.sp = sp
    s.cpl = cpl
    s.flat = 1
    s.error = error

cdef inline void stack_now(Cpu* c, Stack* s) noexcept nogil:
    """The running stack."""
    if code64(c):
        stack_flat(s, c.r[RSP], c.cpl, 0)
    else:
        stack_of(s, &c.seg[SS], c.r[RSP], c.cpl, 0)

cdef inline void commit_sp(Cpu* c, Stack* s) noexcept nogil:
    """Makes s.sp the stack pointer; SP alone with a 16-bit stack."""
    if s.mask == 0xFFFF:
        c.r[RSP] = (c.r[RSP] & 0xFFFFFFFFFFFF0000ULL) | (s.sp & 0xFFFF)
    else:
        c.r[RSP] = s.sp & s.mask

# Whether `count` values of `size` bytes fit below (push) or above (pop) s.sp; otherwise #SS(s.error).
cdef bint stack_room(Cpu* c, Insn* i, Stack* s, uint32_t size, uint32_t count) noexcept nogil
cdef bint stack_has(Cpu* c, Insn* i, Stack* s, uint32_t size, uint32_t count) noexcept nogil
# One value below s.sp, and s.sp moves; only memory changes.
cdef bint stack_push(Cpu* c, Insn* i, Stack* s, uint32_t size, uint64_t value) noexcept nogil
# The value at s.sp, and s.sp moves.
cdef bint stack_pop(Cpu* c, Insn* i, Stack* s, uint32_t size, uint64_t* value) noexcept nogil
# The value `offset` bytes above s.sp.
cdef bint stack_peek(Cpu* c, Insn* i, Stack* s, uint64_t offset, uint32_t size, uint64_t* value) noexcept nogil
