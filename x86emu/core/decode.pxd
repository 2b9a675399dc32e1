# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

cdef packed struct RowInfo:              # packed by _gen/decode_tables.py
    uint8_t prefix                       # 0 any, 1 none, 2 66, 3 F3, 4 F2, 5 66+F3, 6 66+F2
    uint8_t modrm_mask, modrm_value
    uint8_t mod                          # 0 any, 1 memory, 2 register
    uint8_t feature
    uint8_t operand_size                 # 0 usual, 1 d64, 2 f64
    uint8_t immediate1, immediate2
    uint8_t aux
    uint8_t has_modrm
    uint8_t has_segment_register
    uint8_t pops                         # an address with rSP as base is taken after the pop
    uint8_t intercept                    # kind of isa/intercepts.py, 0: never intercepted as an instruction
    uint8_t intercept_detail
    uint16_t attributes
    uint16_t flags_killed, flags_read
    uint16_t plan[6]                     # [operand size w d q][register, memory]
    uint16_t flags_affected
    uint8_t vex                          # 0 no VEX; bits 1:0 vector length (1 128, 2 256, 3 either) and VEX_* bits
    uint8_t shift                        # SHL, SHR, SAR by an immediate: replaces all flags unless that is 0

cdef packed struct Plan:
    uint16_t handler, handler_nf, before, after
    uint8_t memory_bytes
    uint8_t access
    uint8_t cannot_fault
    uint8_t reserved
    uint8_t slots[6]
    uint16_t handler_cf

cdef enum:
    ROW_LOCK = 0x1
    ROW_END = 0x2
    ROW_I64 = 0x4
    ROW_O64 = 0x8
    ROW_PROT = 0x10
    ROW_ASZ = 0x20
    ROW_X87 = 0x40
    ROW_MMX = 0x80
    ROW_SSE = 0x100
    ROW_NOACCESS = 0x200
    ROW_W0 = 0x400
    ROW_W1 = 0x800
    ROW_B0 = 0x1000

cdef enum:                   # of an opcode, whatever the row: _gen/decode_tables.py; bits 7:4 are the kind of its immediate
    SHAPE_MODRM = 1
    SHAPE_NO_MOD = 2         # ModRM.mod is ignored: always a register
    SHAPE_INTEL = 4          # AMD's processors find it undefined by the opcode alone

cdef enum:
    VEX_LENGTH = 3
    VEX_NO_VVVV = 4          # VEX.vvvv must be 1111b
    VEX_AVX = 8              # needs the AVX state to be enabled
    VEX_VSIB = 16            # the index of the memory operand is a vector register
    VEX_ELEMENTS = 32        # the handler does the segmentation of the memory operand

cdef enum Verdict:
    DECODED = 0
    NEED_MORE = 1            # the bytes ran out
    UNDEFINED = 2            # #UD
    TOO_LONG = 3             # #GP(0)
    NOT_AVAILABLE = 4        # #NM

cdef struct Decoded:
    const RowInfo* row
    const Plan* plan
    uint32_t row_number
    uint8_t length
    uint8_t operand_size     # 0 16, 1 32, 2 64
    uint8_t address_size     # 0 16, 1 32, 2 64
    uint8_t memory           # has a memory operand in ModRM or an offset
    uint8_t rip_relative
    uint8_t base, index, scale, seg
    uint8_t segment_override # 0xFF none
    uint8_t slots[3]
    uint8_t lock
    uint8_t no_track         # the last segment prefix is 3Eh
    int64_t displacement
    int64_t immediate1, immediate2

cdef int decode(const uint8_t* p, uint32_t available, uint32_t mode, const uint8_t* features, Decoded* d) noexcept nogil
cdef handler_t handler_by_number(uint32_t number) noexcept nogil
cdef uint32_t fused_handler(uint32_t first, uint32_t second) noexcept nogil
cdef bint keeps_records(uint32_t fused) noexcept nogil
cdef handler_t index_and_branch(handler_t first, handler_t branch) noexcept nogil
cdef handler_t at_base(handler_t handler) noexcept nogil
# The form of a handler under this mode's control-flow enforcement, or itself.
cdef handler_t enforced(handler_t handler, uint32_t mode) noexcept nogil
cdef handler_t indexed(handler_t handler) noexcept nogil
