# cython: language_level=3
"""The decoder (Intel SDM volume 2A, chapter 2; volume 2D, appendix A): bytes to operands and a plan, by the rows alone.

Nothing here knows an opcode but the prefixes and the escape bytes of the opcode maps; the rest is in isa/rows_*.py.
Departs from the manual where silicon does: of several F2/F3 prefixes the last counts; a REX prefix that is not the last
prefix is ignored (2.2.1).  An encoding that is #UD is fetched to its end first, whose place its opcode tells (SHAPES of
_gen/decode_tables.py), so that a page fault or #GP for its length comes before the #UD.  VEX prefixes (2.3) lead to opcode maps of their own; a processor whose model has no feature with
VEX takes C4 and C5 for LES and LDS whatever follows.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t, uintptr_t
from libc.string cimport memcpy
from libc.stdlib cimport calloc
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.registry cimport find_handler

from x86emu._generated import decode_tables as _tables

cdef packed struct Start:
    uint16_t first, count

cdef bytes _rows = _tables.ROWS, _plans = _tables.PLANS, _starts = _tables.STARTS, _order = _tables.ORDER
cdef bytes _shapes = _tables.SHAPES
cdef const RowInfo* rows = <const RowInfo*><const char*>_rows
cdef const Plan* plans = <const Plan*><const char*>_plans
cdef const Start* starts = <const Start*><const char*>_starts
cdef const uint16_t* order = <const uint16_t*><const char*>_order
cdef const uint8_t* shapes = <const uint8_t*><const char*>_shapes

assert sizeof(RowInfo) * len(_tables.ROW_NAMES) == len(_rows), (sizeof(RowInfo), len(_rows), len(_tables.ROW_NAMES))
assert len(_plans) % sizeof(Plan) == 0, sizeof(Plan)

cdef handler_t* handlers = <handler_t*>calloc(len(_tables.NAMES), sizeof(handler_t))
cdef uint32_t n_handlers = len(_tables.NAMES)

# Handlers that have forms for addresses without an index, without a mask: a hash table, open addressing.
cdef enum:
    ADDRESS_BITS = 12
    ADDRESS_SLOTS = 4096
cdef handler_t address_keys[4096]
cdef handler_t at_base_values[4096]
cdef handler_t indexed_values[4096]

cdef uint32_t address_slot(handler_t handler) noexcept nogil:
    """Where a handler is in the table, or the free slot where it would be."""
    cdef uint32_t at = <uint32_t>(<uint64_t>handler * 0x9E3779B97F4A7C15ULL >> (64 - ADDRESS_BITS))
    while address_keys[at] != NULL and address_keys[at] != handler:
        at = (at + 1) & (ADDRESS_SLOTS - 1)
    return at

assert (len(_tables.AT_BASE) + len(_tables.INDEXED)) * 2 < ADDRESS_SLOTS

cdef struct Enforced:
    handler_t general, special
    uint32_t mode

cdef Enforced enforced_forms[128]
cdef int n_enforced = len(_tables.ENFORCED)
assert n_enforced <= 128

cdef struct IndexAndBranch:
    handler_t first, branch, both

cdef IndexAndBranch index_forms[32]
cdef int n_index_forms = len(_tables.INDEX)
assert n_index_forms <= 32

def link_handlers() -> None:
    """Finds the functions that the tables name, once every handler module has been imported."""
    cdef uint32_t at
    import x86emu.core.handlers  # noqa: F401  (each registers itself on import)

    for n, name in enumerate(_tables.NAMES):
        if name:
            handlers[<int>n] = find_handler(name)
    for general, special in _tables.AT_BASE:
        at = address_slot(handlers[<int>general])
        address_keys[at] = handlers[<int>general]
        at_base_values[at] = handlers[<int>special]
    for n, (general, special, kind) in enumerate(_tables.ENFORCED):
        enforced_forms[<int>n].general = handlers[<int>general]
        enforced_forms[<int>n].special = handlers[<int>special]
        enforced_forms[<int>n].mode = (MODE_CET, MODE_SHADOW, MODE_TRACK)[kind]
    for n, (first, branch, both) in enumerate(_tables.INDEX):
        index_forms[<int>n] = IndexAndBranch(handlers[<int>first], handlers[<int>branch], handlers[<int>both])
    for general, special in _tables.INDEXED:
        at = address_slot(handlers[<int>general])
        address_keys[at] = handlers[<int>general]
        indexed_values[at] = handlers[<int>special]

# Fused pairs: small numbers for first and second handlers, then a square table.
cdef uint8_t* fuse_first = <uint8_t*>calloc(n_handlers, 1)
cdef uint8_t* fuse_second = <uint8_t*>calloc(n_handlers, 1)
cdef uint16_t* fuse_table = <uint16_t*>calloc(256 * 256, 2)
cdef uint8_t* fuse_keeps = <uint8_t*>calloc(n_handlers, 1)
_firsts = sorted({a for a, b, n, keeps in _tables.FUSED})
_seconds = sorted({b for a, b, n, keeps in _tables.FUSED})
for _n, _a in enumerate(_firsts):
    fuse_first[<int>_a] = _n + 1
for _n, _a in enumerate(_seconds):
    fuse_second[<int>_a] = _n + 1
for _a, _b, _n, _keeps in _tables.FUSED:
    fuse_keeps[<int>_n] = _keeps
    fuse_table[<int>((_firsts.index(_a) + 1) * 256 + _seconds.index(_b) + 1)] = _n


cdef handler_t handler_by_number(uint32_t number) noexcept nogil:
    return handlers[number]

cdef uint32_t fused_handler(uint32_t first, uint32_t second) noexcept nogil:
    """Number of the handler that does both, or 0."""
    if fuse_first[first] and fuse_second[second]:
        return fuse_table[<uint32_t>fuse_first[first] * 256 + fuse_second[second]]
    return 0

cdef handler_t at_base(handler_t handler) noexcept nogil:
    """The form of a handler for an address that is base + displacement, or NULL."""
    return at_base_values[address_slot(handler)]

cdef handler_t indexed(handler_t handler) noexcept nogil:
    """The form of a handler for an address that needs no mask, or NULL."""
    return indexed_values[address_slot(handler)]

cdef handler_t enforced(handler_t handler, uint32_t mode) noexcept nogil:
    cdef int k
    for k in range(n_enforced):
        if enforced_forms[k].general == handler and mode & enforced_forms[k].mode:
            return enforced_forms[k].special
    return handler

cdef handler_t index_and_branch(handler_t first, handler_t branch) noexcept nogil:
    """The handler that computes an index and branches by it, or NULL."""
    cdef int k
    for k in range(n_index_forms):
        if index_forms[k].first == first and index_forms[k].branch == branch:
            return index_forms[k].both
    return NULL

cdef bint keeps_records(uint32_t fused) noexcept nogil:
    """Whether a handler that does two instructions needs the records of both."""
    return fuse_keeps[fused]

def row_name(number: int) -> str:
    """Mnemonic and source line of a row, for reports."""
    return _tables.ROW_NAMES[number]

# 16-bit ModRM addressing (SDM 2A, table 2-1): base and index by rm
cdef uint8_t* base16 = [RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX]
cdef uint8_t* index16 = [RSI, RDI, RSI, RDI, REG_ZERO, REG_ZERO, REG_ZERO, REG_ZERO]

cdef int64_t read_signed(const uint8_t* p, int n) noexcept nogil:
    if n == 1:
        return <int8_t>p[0]
    if n == 2:
        return (<const int16_t*>p)[0]
    if n == 4:
        return (<const int32_t*>p)[0]
    return (<const int64_t*>p)[0]

cdef inline uint8_t register_slot(uint8_t spec, uint8_t argument, uint8_t modrm, uint8_t opcode, uint8_t rex,
                                  uint8_t vvvv) noexcept nogil:
    """Register number, or byte offset, of one slot (kinds and classes of _gen/decode_tables.py)."""
    cdef uint8_t kind = spec & 15, klass = spec >> 4, n
    if kind == 1:
        n = ((modrm >> 3) & 7) | ((rex & 4) << 1)
    elif kind == 2:
        n = (modrm & 7) | ((rex & 1) << 3)
    elif kind == 3:
        n = (opcode & 7) | ((rex & 1) << 3)
    elif kind == 4:
        n = argument
        if klass == 1 and n >= 4:
            return (n - 4) * 8 + 1
    elif kind == 6:
        n = vvvv
    else:
        if klass == 0:
            return REG_TMP
        if klass == 1:
            return REG_TMP * 8
        return argument
    if klass == 1:
        if not rex and 4 <= n < 8:
            return (n - 4) * 8 + 1       # AH, CH, DH, BH
        return n * 8
    if klass == 2 or klass == 4:
        return n & 7
    return n

cdef int decode(const uint8_t* p, uint32_t available, uint32_t mode, const uint8_t* features, Decoded* d) noexcept nogil:
    cdef uint32_t at = 0, k, code = mode & MODE_CODE, opcode_map = 0, n
    cdef uint8_t b, rex = 0, rep = 0, operand_66 = 0, address_67 = 0, modrm = 0, opcode, mod = 0, rm, sib, size, matched
    cdef uint8_t shape, immediate1, immediate2
    cdef bint modrm_there, vex = False, refused = False      # refused: #UD whatever row there is
    cdef uint8_t vvvv = 0, vex_length = 0
    cdef const Start* start
    cdef const RowInfo* row = NULL
    cdef const RowInfo* candidate
    cdef int verdict = DECODED
    cdef uint32_t displacement_bytes = 0
    cdef bint early = features[FEATURE_PRE386]
    cdef uint32_t longest = 10 if early and features[FEATURE_I286] else 15     # iAPX 286 PRM, 11.2
    d.segment_override = 0xFF
    d.lock = 0
    d.no_track = 0
    d.memory = 0
    d.rip_relative = 0
    d.row = NULL
    # ---- prefixes (2.1.1, 2.2.1)
    while True:
        if at >= longest:
            return TOO_LONG
        if at >= available:
            return NEED_MORE
        b = p[at]
        at += 1
        if b == 0x66 and not early:
            operand_66 = 1
        elif b == 0x67 and not early:
            address_67 = 1
        elif b == 0xF3 or b == 0xF2:
            rep = b
        elif b == 0xF0:
            d.lock = 1
        elif b & 0xE7 == 0x26:
            d.no_track = b == 0x3E
            if code != MODE_CODE64:          # ES, CS, SS, DS overrides are ignored there (2.1.1)
                d.segment_override = b >> 3 & 3
        elif b == 0x64 and not early:
            d.segment_override = FS
            d.no_track = 0
        elif b == 0x65 and not early:
            d.segment_override = GS
            d.no_track = 0
        elif code == MODE_CODE64 and (b & 0xF0) == 0x40:
            rex = b
            continue
        else:
            break
        rex = 0
    opcode = b
    if b == 0x0F:
        if at >= longest:
            return TOO_LONG
        if at >= available:
            return NEED_MORE
        opcode = p[at]
        at += 1
        opcode_map = 1
        # 39h and 3Bh to 3Fh are escapes without instructions, on Intel's processors
        if opcode == 0x38 or opcode == 0x3A or (opcode & 0xF8 == 0x38 and not features[FEATURE_BRANCH16]):
            refused = opcode > 0x3A or opcode == 0x39
            opcode_map = 3 if opcode & 2 else 2
            if at >= longest:
                return TOO_LONG
            if at >= available:
                return NEED_MORE
            opcode = p[at]
            at += 1
    elif (b & 0xFE) == 0xC4 and mode & MODE_PROTECTED and not mode & MODE_V86 and (
            features[FEATURE_AVX] or features[FEATURE_BMI1] or features[FEATURE_BMI2]):
        # ---- VEX (2.3.5); outside 64-bit mode LES and LDS unless they would have a register operand
        if at >= longest:
            return TOO_LONG
        if at >= available:
            return NEED_MORE
        # of the map's bits the low two tell the length; where they are 0 it is that of LES
        if (code == MODE_CODE64 or p[at] >= 0xC0) and (b == 0xC5 or p[at] & 3):
            vex = True
            refused = operand_66 or rep or rex or d.lock
            if b == 0xC4 and p[at] & 31 > 3:
                refused = True
            k = 2 if b == 0xC5 else 3            # bytes left up to the opcode
            if at + k > longest:
                return TOO_LONG
            if at + k > available:
                return NEED_MORE
            rex = (~p[at] >> 5 & 7) if b == 0xC4 else (~p[at] >> 5 & 4)
            opcode_map = 3 + (p[at] & 3 if b == 0xC4 else 1)
            b = p[at + k - 2]                    # W vvvv L pp
            if k == 3:
                rex |= b >> 4 & 8
            rex |= 0x40
            vvvv = ~b >> 3 & 15
            vex_length = 2 if b & 4 else 1
            operand_66 = (b & 3) == 1
            rep = 0xF3 if (b & 3) == 2 else (0xF2 if (b & 3) == 3 else 0)
            if code != MODE_CODE64:
                rex &= 0x48
            opcode = p[at + k - 1]
            at += k
    shape = shapes[opcode_map * 256 + opcode]
    if shape & SHAPE_INTEL and features[FEATURE_BRANCH16]:
        shape = 0
    modrm_there = shape & SHAPE_MODRM
    if modrm_there:
        if at >= longest:
            return TOO_LONG
        if at >= available:
            return NEED_MORE
        modrm = p[at]
        mod = modrm >> 6
    # ---- which row
    start = &starts[(opcode_map * 256 + opcode) * 8 + ((modrm >> 3) & 7)]
    d.address_size = (2 if not address_67 else 1) if code == MODE_CODE64 else (1 if (code == MODE_CODE32) != address_67 else 0)
    for k in range(start.count):
        n = order[start.first + k]
        candidate = &rows[n]
        if candidate.modrm_mask and (modrm & candidate.modrm_mask) != candidate.modrm_value:
            continue
        matched = candidate.prefix
        if matched:
            if matched == 1:
                if operand_66 or rep:
                    continue
            elif matched == 2:
                if not operand_66 or rep:
                    continue
            elif matched == 3:
                if rep != 0xF3:
                    continue
            elif matched == 4:
                if rep != 0xF2:
                    continue
            elif matched == 5:
                if rep != 0xF3 or not operand_66:
                    continue
            elif matched == 7:
                if rep:
                    continue
            elif rep != 0xF2 or not operand_66:
                continue
        if candidate.mod == 1:
            if mod == 3:
                continue
        elif candidate.mod == 2 and mod != 3:
            continue
        if not features[candidate.feature]:
            continue
        if vex and not candidate.vex & vex_length:
            continue
        if candidate.attributes & (ROW_I64 | ROW_O64 | ROW_W0 | ROW_W1 | ROW_B0 | ROW_PROT | 0xC000):
            if candidate.attributes & ROW_I64 and code == MODE_CODE64:
                continue
            if candidate.attributes & ROW_O64 and code != MODE_CODE64:
                continue
            if candidate.attributes & ROW_W0 and rex & 8:
                continue
            if candidate.attributes & ROW_W1 and not rex & 8:
                continue
            if candidate.attributes & ROW_B0 and rex & 1:
                continue
            if candidate.attributes & ROW_PROT and (not mode & MODE_PROTECTED or mode & MODE_V86):
                continue
            if candidate.attributes >> 14 and (candidate.attributes >> 14) - 1 != d.address_size:
                continue
        row = candidate
        d.row_number = n
        break
    # ---- operand size (SDM 1, 3.6.1)
    if row != NULL and (row.prefix == 2 or row.prefix == 5 or row.prefix == 6):
        operand_66 = 0
    if vex:
        size = 2 if rex & 8 and code == MODE_CODE64 else 1
    elif code == MODE_CODE64:
        if rex & 8 or (row != NULL and row.operand_size == 2 and not (
                operand_66 and features[FEATURE_BRANCH16] and row.attributes & ROW_END)):
            size = 2
        elif operand_66:
            size = 0
        else:
            size = 2 if row != NULL and row.operand_size == 1 else 1
    else:
        size = 1 if (code == MODE_CODE32) != operand_66 else 0
    d.operand_size = size
    # ---- ModRM, SIB, displacement (2.1.3, 2.2.1.6)
    d.base = REG_ZERO
    d.index = REG_ZERO
    d.scale = 0
    d.displacement = 0
    d.seg = DS
    if modrm_there and (row == NULL or row.has_modrm):
        at += 1
        rm = modrm & 7
        if mod != 3 and not ((shape & SHAPE_NO_MOD) != 0 if row == NULL else row.mod == 3):  # MOV CR, DR: no ModRM.mod
            d.memory = 1
            if d.address_size == 0:
                d.base = base16[rm]
                d.index = index16[rm]
                if mod == 0 and rm == 6:
                    d.base = REG_ZERO
                    displacement_bytes = 2
                elif mod == 1:
                    displacement_bytes = 1
                elif mod == 2:
                    displacement_bytes = 2
                if d.base == RBP:
                    d.seg = SS
            else:
                displacement_bytes = 1 if mod == 1 else 4 if mod == 2 else 0
                if rm == 4:
                    if at >= longest:
                        return TOO_LONG
                    if at >= available:
                        return NEED_MORE
                    sib = p[at]
                    at += 1
                    d.base = (sib & 7) | ((rex & 1) << 3)
                    d.index = ((sib >> 3) & 7) | ((rex & 2) << 2)
                    d.scale = sib >> 6
                    if row != NULL and row.vex & VEX_VSIB:
                        pass
                    elif d.index == 4:
                        d.index = REG_ZERO
                        d.scale = 0
                    if (sib & 7) == 5 and mod == 0:
                        d.base = REG_ZERO
                        displacement_bytes = 4
                elif rm == 5 and mod == 0:
                    displacement_bytes = 4
                    if code == MODE_CODE64:
                        d.rip_relative = 1
                else:
                    d.base = rm | ((rex & 1) << 3)
                if d.base == RSP or d.base == RBP:
                    d.seg = SS
            if displacement_bytes:
                if at + displacement_bytes > longest:
                    return TOO_LONG
                if at + displacement_bytes > available:
                    return NEED_MORE
                d.displacement = read_signed(p + at, displacement_bytes)
                if d.address_size == 0:
                    d.displacement = <int64_t><uint16_t>d.displacement
                at += displacement_bytes
    if d.segment_override != 0xFF:
        d.seg = d.segment_override
    # ---- immediates
    d.immediate1 = 0
    d.immediate2 = 0
    immediate1 = shape >> 4 if row == NULL else row.immediate1
    immediate2 = 0 if row == NULL else row.immediate2
    if immediate1:
        k = immediate_bytes(immediate1, size, d.address_size, code)
        if at + k > longest:
            return TOO_LONG
        if at + k > available:
            return NEED_MORE
        if immediate1 == 5:              # far pointer: offset, selector
            if k == 4:
                d.immediate1 = (<const uint16_t*>(p + at))[0] | <int64_t>(<const uint16_t*>(p + at + 2))[0] << 32
            else:
                d.immediate1 = (<const uint32_t*>(p + at))[0] | <int64_t>(<const uint16_t*>(p + at + 4))[0] << 32
        elif immediate1 == 6:
            if k == 2:
                d.displacement = (<const uint16_t*>(p + at))[0]
            else:
                d.displacement = (<const uint32_t*>(p + at))[0] if k == 4 else (<const int64_t*>(p + at))[0]
            d.memory = 2
        else:
            d.immediate1 = read_signed(p + at, k)
            if immediate1 == 11:         # a register in bits 7:4
                d.immediate1 = d.immediate1 >> 4 & (15 if code == MODE_CODE64 else 7)
        at += k
        if immediate2:
            k = immediate_bytes(immediate2, size, d.address_size, code)
            if at + k > longest:
                return TOO_LONG
            if at + k > available:
                return NEED_MORE
            d.immediate2 = read_signed(p + at, k)
            at += k
    d.length = <uint8_t>at
    if row == NULL or refused or (row.vex & VEX_NO_VVVV and vvvv) or (
            row.vex & VEX_VSIB and (d.address_size == 0 or (modrm & 7) != 4)):
        return UNDEFINED
    d.row = row
    d.plan = &plans[row.plan[size * 2 + (1 if d.memory == 1 else 0)]]
    if d.plan.handler == 0:
        return UNDEFINED
    # ---- LOCK: only with a memory destination of a lockable row (SDM 2A, LOCK)
    if d.lock and not early and not (row.attributes & ROW_LOCK and d.memory == 1):
        return UNDEFINED
    # ---- coprocessor availability (SDM 3A, tables 2-2, 13-1)
    if row.attributes & (ROW_X87 | ROW_MMX | ROW_SSE):
        if row.attributes & ROW_X87:
            if mode & (MODE_EM | MODE_TS):
                return NOT_AVAILABLE
            d.immediate1 = (opcode & 7) << 8 | modrm      # for the last-opcode register FOP (SDM 1, 8.1.9)
        elif mode & MODE_EM or (row.attributes & ROW_SSE and not mode & MODE_SSE):
            return UNDEFINED
        elif mode & MODE_TS:
            return NOT_AVAILABLE
    if row.vex & VEX_AVX:
        if not mode & MODE_AVX:
            return UNDEFINED
        if mode & MODE_TS:
            return NOT_AVAILABLE
    if code != MODE_CODE64:
        vvvv &= 7                    # its top bit counts only where it must be 1
    for k in range(3):
        d.slots[k] = (register_slot(d.plan.slots[k * 2], d.plan.slots[k * 2 + 1], modrm, opcode, rex, vvvv)
                      if d.plan.slots[k * 2] else 0)
    if row.vex & VEX_VSIB and (d.slots[0] == d.slots[1] or d.slots[0] == d.index or d.slots[1] == d.index):
        return UNDEFINED             # destination, mask and index must differ (SDM 2C, VGATHERDPS)
    if row.has_segment_register and ((modrm >> 3) & 7) >= (4 if early else 6) and not features[FEATURE_PRE186]:
        return UNDEFINED
    return DECODED

cdef inline uint32_t immediate_bytes(uint8_t kind, uint8_t operand_size, uint8_t address_size, uint32_t code) noexcept nogil:
    if kind == 1 or kind == 7 or kind == 11:
        return 1
    if kind == 2:
        return 2
    if kind == 3 or kind == 8:
        return 2 if operand_size == 0 else 4
    if kind == 4:
        return 2 << operand_size
    if kind == 5:
        return 4 if operand_size == 0 else 6
    if kind == 6:
        return 2 << address_size
    if kind == 9:
        return 4
    return 8
