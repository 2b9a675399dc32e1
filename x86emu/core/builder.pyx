# cython: language_level=3
"""From bytes to traces: decodes ahead and lays out records, which core/peephole.pyx then makes faster.

A trace stays within one page of linear space and ends at the first instruction that may change what comes next.  An
instruction that crosses into the next page is a trace of its own, and is entered only after its second page has been
translated again (SDM 3A 4.10: a fetch uses the translation of each page it touches).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from libc.string cimport memcmp, memcpy, memset
from x86emu.core.state cimport *
from x86emu.core.decode cimport *
from x86emu.core.trace cimport *
from x86emu.core.peephole cimport Builder, peephole
from x86emu.core.cet cimport meet_branch_target
from x86emu.core.mmu cimport translate_code, fetch_byte
from x86emu.core.tlb cimport drop_write_entries
from x86emu.core.physical cimport backing_of
from x86emu.core.registry cimport find_handler
from x86emu.core.features cimport *
import x86emu.core.decode as decode_module

cdef enum:
    DETAIL_MEMORY = 32       # isa/intercepts.py
    NO_TRACK = 4             # Insn.aux of indirect branches under control-flow enforcement
    LONGEST_GAP = 256        # bytes that a JMP within a trace may leave out
    MAX_RECORDS = 340        # 64 instructions of up to 5 records, and the end

cdef uint64_t NOTHING = 0xFFFFFFFFFFFFFFFFULL

cdef handler_t segment_ea, segment_ea_w, segment_ea_d, segment_ea_disp16
cdef handler_t stack_probe
cdef handler_t address_only
cdef handler_t absolute
cdef handler_t raise_ud
cdef handler_t raise_nm
cdef handler_t raise_gp
cdef handler_t end_trace
cdef handler_t hook
cdef handler_t intercept
cdef handler_t[3] jump       # the near JMPs that code of 16, 32 and 64 bits has without an operand-size prefix


def link_handlers() -> None:
    """Finds the handlers of the records that the builder itself puts in, and those of the tables."""
    global segment_ea, segment_ea_w, segment_ea_d, segment_ea_disp16, stack_probe, address_only, absolute
    global raise_ud, raise_nm, raise_gp, end_trace, hook, intercept
    decode_module.link_handlers()
    segment_ea = find_handler("SEGMENT_EA")
    segment_ea_w = find_handler("SEGMENT_EA_w")
    segment_ea_d = find_handler("SEGMENT_EA_d")
    segment_ea_disp16 = find_handler("SEGMENT_EA_disp16")
    stack_probe = find_handler("STACK_PROBE")
    address_only = find_handler("ADDRESS")
    absolute = find_handler("ABSOLUTE")
    raise_ud = find_handler("RAISE_UD")
    raise_nm = find_handler("RAISE_NM")
    raise_gp = find_handler("RAISE_GP")
    end_trace = find_handler("END_TRACE")
    hook = find_handler("HOOK")
    intercept = find_handler("INTERCEPT")
    jump[<int>MODE_CODE16], jump[<int>MODE_CODE32], jump[<int>MODE_CODE64] = (
        find_handler("JMP_Jw"), find_handler("JMP_Jd"), find_handler("JMP_Jq"))


cdef inline Insn* add(Builder* b, handler_t fn, uint8_t length, uint32_t ip) noexcept nogil:
    cdef Insn* r = &b.records[b.n_records]
    memset(r, 0, sizeof(Insn))
    r.fn = fn
    r.base = REG_ZERO
    r.index = REG_ZERO
    r.length = length
    r.ip = <uint16_t>ip
    r.pos = <uint8_t>b.n_records
    r.idx = <uint8_t>b.n_instructions
    b.n_records += 1
    return r

cdef void put_address(Insn* r, Decoded* d) noexcept nogil:
    r.base = d.base
    r.index = d.index
    r.scale = d.scale
    r.disp = <int32_t>d.displacement
    r.seg = d.seg

cdef void operand_address(Builder* b, Decoded* d, uint32_t mode, uint32_t ip) noexcept nogil:
    """Turns the memory operand into base + index * scale + disp that needs no more than a mask; adds records where
    segmentation or another address size ask for them, and leaves the operand as [REG_LINEAR]."""
    cdef uint32_t code = mode & MODE_CODE
    cdef uint8_t native = 2 if code == MODE_CODE64 else 1
    cdef bint access = not (d.row.attributes & ROW_NOACCESS or d.row.vex & VEX_ELEMENTS)
    cdef Insn* r
    cdef int64_t disp = d.displacement
    cdef bint segmented = False
    if d.row.pops and d.base == RSP:
        disp += 2 << d.operand_size
        d.displacement = disp
    if d.rip_relative:
        disp += ip + d.length
        d.base = REG_RIP
        d.displacement = disp
    if access:
        if code == MODE_CODE64:
            if d.seg == FS or d.seg == GS:
                if d.address_size == 2 and d.index == REG_ZERO and disp == <int32_t>disp:
                    d.index = REG_FS_BASE if d.seg == FS else REG_GS_BASE
                    d.scale = 0
                elif d.address_size == 2 and d.base == REG_ZERO and disp == <int32_t>disp:
                    d.base = REG_FS_BASE if d.seg == FS else REG_GS_BASE
                else:
                    segmented = True
        else:
            segmented = not mode & MODE_FLAT or d.seg >= FS or d.seg == CS
    if disp != <int32_t>disp and (code == MODE_CODE64):
        # an offset of 64 bits, or RIP-relative beyond 2 GiB of the trace's start
        r = add(b, absolute, d.length, ip)
        r.imm = disp
        if d.index == REG_ZERO:
            d.index = REG_LINEAR
            d.scale = 0
        elif d.base == REG_ZERO:
            d.base = REG_LINEAR
        disp = 0
        d.displacement = 0
    if segmented:
        if d.row.pops:
            r = add(b, stack_probe, d.length, ip)
            r.imm = 2 << d.operand_size
        r = add(b, segment_ea if code == MODE_CODE64 else segment_ea_d if d.address_size else segment_ea_w, d.length, ip)
        put_address(r, d)
        if r.fn == segment_ea_w and d.base == REG_ZERO and d.index == REG_ZERO:
            r.fn = segment_ea_disp16
        r.aux = d.address_size | (d.plan.access << 2)
        if code == MODE_CODE64:
            r.aux |= 16
        r.imm = d.plan.memory_bytes
    elif d.address_size < native:
        r = add(b, address_only, d.length, ip)
        put_address(r, d)
        r.aux = d.address_size
    else:
        return
    d.base = REG_LINEAR
    d.index = REG_ZERO
    d.scale = 0
    d.displacement = 0

cdef void put_intercept(Builder* b, Decoded* d, uint32_t ip) noexcept nogil:
    """In guest mode: the record that asks the hypervisor's controls before the instruction (core/intercept.pxd)."""
    cdef Insn* r = add(b, intercept, d.length, ip)
    put_address(r, d)
    if d.rip_relative:
        r.base = REG_RIP
        r.disp = <int32_t>(d.displacement + ip + d.length)
    r.dst = d.slots[0]
    r.src = d.slots[1]
    r.aux = d.address_size
    r.imm = (d.row.intercept | <int64_t>(d.row.intercept_detail | (DETAIL_MEMORY if d.memory else 0)) << 8 | <int64_t>d.operand_size << 16
             | <int64_t>(d.immediate1 & 0xFFFF) << 32)

cdef void emit(Builder* b, Decoded* d, uint32_t mode, uint32_t ip, uint32_t page_offset) noexcept nogil:
    """The records of one instruction. page_offset: where in its page the trace begins."""
    cdef Insn* r
    cdef const Plan* plan = d.plan
    cdef int64_t target
    cdef uint32_t first = b.n_records
    cdef bint stored = plan.after and not plan.before    # what the handler raises comes before the faults of the store
    if mode & MODE_HOOKED:
        add(b, hook, d.length, ip)
    if mode & MODE_GUEST and d.row.intercept and not d.row.attributes & ROW_NOACCESS:
        put_intercept(b, d, ip)
    if d.memory and not d.row.vex & VEX_VSIB and not stored:
        operand_address(b, d, mode, ip)
    if mode & MODE_GUEST and d.row.intercept and d.row.attributes & ROW_NOACCESS:
        put_intercept(b, d, ip)          # INVLPG: the exit tells the address
    if plan.before:
        r = add(b, handler_by_number(plan.before), d.length, ip)
        put_address(r, d)
    r = add(b, handler_by_number(plan.handler), d.length, ip)
    b.main_record[b.n_instructions] = b.n_records - 1
    put_address(r, d)
    r.dst = d.slots[0]
    r.src = d.slots[1]
    if not d.memory or plan.before or plan.after:
        r.index = d.slots[2]
        r.disp = <int32_t>d.immediate2
    r.imm = d.immediate1
    r.aux = d.address_size if d.row.attributes & ROW_ASZ else d.row.aux
    if d.row.immediate1 == 7 or d.row.immediate1 == 8:
        r.imm = <int64_t>ip + d.length + d.immediate1
        target = <int64_t>page_offset + r.imm
        r.aux = 1 if 0 <= target < 4096 and (d.operand_size or mode & MODE_CODE == MODE_CODE16) else 0
        if page_offset + ip + d.length < 4096:
            r.aux |= 2
    if unlikely(mode & MODE_CET):
        r.fn = enforced(r.fn, mode)
        if r.fn != handler_by_number(plan.handler) and d.no_track:
            r.aux |= NO_TRACK
    if stored:
        operand_address(b, d, mode, ip)
    if plan.after:
        r = add(b, handler_by_number(plan.after), d.length, ip)
        put_address(r, d)
    b.row[b.n_instructions] = d.row
    b.plan[b.n_instructions] = plan
    b.n_of_records[b.n_instructions] = <uint8_t>(b.n_records - first)

cdef bint follow(Builder* b, uint32_t mode, uint32_t* at) noexcept nogil:
    """Whether the trace can go on where the JMP that ends at `at` leads: a little further on in its page. The JMP needs no
    record then."""
    cdef Insn* r = &b.records[b.n_records - 1]
    if (b.gap_end or mode & (MODE_SINGLE | MODE_HOOKED) or not r.aux & 1 or r.fn != jump[mode & MODE_CODE]
            or not <int64_t>at[0] <= r.imm <= <int64_t>at[0] + LONGEST_GAP):
        return False
    b.n_records -= 1
    b.n_of_records[r.idx] = 0
    b.jump_idx = r.idx
    b.jump_ip = r.ip
    b.gap_start = <uint16_t>at[0]
    b.gap_end = <uint16_t>r.imm
    at[0] = <uint32_t>r.imm
    return True

cdef bint stays_waiting(Cpu* c, const uint8_t* p, uint32_t available, uint64_t linear) noexcept nogil:
    """What an indirect branch has led to (SDM 1, 17.3.3). True for INT3 and INT1, which run and leave the tracker alone;
    else it is idle now, or #CP or another fault has been raised."""
    cdef uint8_t bytes[4]
    cdef uint64_t physical
    cdef uint32_t k
    if p[0] == 0xCC or p[0] == 0xF1:
        return True
    if available < 4 and p[0] == 0xF3:       # in the next page, perhaps
        for k in range(4):
            bytes[k] = p[k] if k < available else 0
        for k in range(available, 4):
            if not translate_code(c, (linear + k) & c.ea_mask, &physical):
                return False
            bytes[k] = fetch_byte(c, physical)
        meet_branch_target(c, linear, bytes)
    else:
        meet_branch_target(c, linear, p)
    return False

cdef Trace* build(Cpu* c, uint64_t rip, uint64_t linear, uint32_t mode, uint64_t address) noexcept nogil:
    """Decodes from rip. address: backing offset, or all ones where no memory backs the code."""
    cdef Builder b
    cdef Decoded d
    cdef uint8_t buffer[16]
    cdef const uint8_t* p
    cdef uint32_t available = 4096 - <uint32_t>(linear & 0xFFF), at = 0, k
    cdef uint64_t second_page = NOTHING, physical
    cdef int verdict
    cdef Insn* r
    cdef Trace* t
    cdef bint ended = False, crossing = False
    cdef uint32_t page_offset = <uint32_t>(linear & 0xFFF)
    cdef uint32_t limit = 1 if mode & MODE_SINGLE or address == NOTHING else MAX_TRACE
    cdef uint32_t first_part
    cdef int n
    cdef Shared* s = c.shared
    b.n_records = 0
    b.n_instructions = 0
    b.gap_start = b.gap_end = b.jump_ip = b.jump_idx = 0
    if address == NOTHING:
        if not translate_code(c, linear, &physical):
            return NULL
        for k in range(15 if available > 15 else available):
            buffer[k] = fetch_byte(c, physical + k)
        p = buffer
        available = 15 if available > 15 else available
    else:
        p = s.memory.backing + address
    if unlikely(mode & MODE_WAIT):
        if not stays_waiting(c, p, available, linear):
            return NULL
        limit = 1
    while b.n_instructions < limit:
        if at >= available:
            break
        verdict = decode(p + at, available - at, mode, c.features, &d)
        if verdict == NEED_MORE:
            if at:
                break
            # crosses into the next page: gather its bytes from both
            first_part = 4096 - page_offset
            memcpy(buffer, p, first_part)
            if not translate_code(c, (linear + first_part) & c.ea_mask, &physical):
                return NULL
            second_page = backing_of(&s.memory, physical, 0, c.in_smm)
            for k in range(first_part, 15):
                buffer[k] = fetch_byte(c, physical + k - first_part)
            if second_page == NOTHING:
                address = NOTHING
            p = buffer
            available = 15
            limit = 1
            crossing = True
            verdict = decode(p, 15, mode, c.features, &d)
            if verdict == NEED_MORE:
                verdict = TOO_LONG
        if verdict == DECODED:
            emit(&b, &d, mode, at, page_offset)
            b.n_instructions += 1
            at += d.length
            if d.row.attributes & ROW_END:
                if b.n_instructions < limit and follow(&b, mode, &at):
                    continue
                ended = True
                break
            continue
        if at and verdict == TOO_LONG:
            break
        if mode & MODE_HOOKED:
            add(&b, hook, 1, at)
        r = add(&b, raise_ud if verdict == UNDEFINED else raise_nm if verdict == NOT_AVAILABLE else raise_gp,
                15 if verdict == TOO_LONG else d.length, at)
        b.row[b.n_instructions] = NULL
        b.plan[b.n_instructions] = NULL
        b.n_of_records[b.n_instructions] = 1
        b.n_instructions += 1
        at += 15 if verdict == TOO_LONG else d.length
        if at > available:
            at = available
        ended = True
        break
    if not mode & (MODE_SINGLE | MODE_HOOKED):
        peephole(&b, mode, ended)
    if not ended:
        r = add(&b, end_trace, 0, at)
        # the END record belongs to no instruction: everything before it has retired
        if page_offset + at < 4096 and not mode & MODE_SINGLE and address != NOTHING:
            r.aux = 1
    t = new_trace(s, b.n_records + 1, at)
    if t == NULL:
        s.flush_wanted = 1
        return NULL
    t.address = address
    t.mode = mode
    t.n = b.n_instructions
    t.n_instructions = b.n_instructions
    t.n_bytes = at
    t.n_records = b.n_records
    t.hits = 0
    t.gap_start = b.gap_start
    t.gap_end = b.gap_end
    t.jump_ip = b.jump_ip
    t.jump_idx = b.jump_idx
    t.second_page = NOTHING
    t.hash_next = NULL
    t.page_next = NULL
    t.second_next = NULL
    memcpy(&t.insns[0], b.records, b.n_records * sizeof(Insn))
    memset(&t.insns[b.n_records], 0, sizeof(Insn))
    if address != NOTHING and not crossing:
        memcpy(t.bytes, p, at)
    if address == NOTHING:
        return t             # runs once; its bytes come from the bus and may differ next time
    if crossing and at > 4096 - page_offset:
        t.second_page = second_page
        if not s.memory.code_mask[second_page >> 12]:
            for n in range(s.n_cpus):
                drop_write_entries(s.cpus[n], second_page)
    if not s.memory.code_mask[address >> 12]:
        for n in range(s.n_cpus):
            drop_write_entries(s.cpus[n], address)
    insert_trace(s, t)
    return t

cdef inline bint plain_immediate(Decoded* d) noexcept nogil:
    """Whether all that the first immediate decides is what the handler reads from Insn.imm."""
    return (not d.row.shift and not d.row.attributes & ROW_X87
            and (1 <= d.row.immediate1 <= 4 or d.row.immediate1 == 9 or d.row.immediate1 == 10))

cdef bint renew(Cpu* c, Trace* t, uint32_t at, const uint8_t* p, uint32_t* end) noexcept nogil:
    """The instruction that byte `at` of a stale trace belongs to, if no more than its immediate has changed."""
    cdef Decoded old, now
    cdef uint32_t k = 0
    cdef Insn* r
    while k < t.n_records and not t.kept[k].ip <= at < <uint32_t>t.kept[k].ip + t.kept[k].length:
        k += 1
    if k == t.n_records:
        return False
    r = &t.kept[k]
    if (k and t.kept[k - 1].idx == r.idx) or (k + 1 < t.n_records and t.kept[k + 1].idx == r.idx):
        return False             # of several records
    end[0] = <uint32_t>r.ip + r.length
    memset(&old, 0, sizeof(Decoded))
    memset(&now, 0, sizeof(Decoded))
    if (decode(t.bytes + r.ip, r.length, t.mode, c.features, &old) != DECODED
            or decode(p + r.ip, r.length, t.mode, c.features, &now) != DECODED
            or not plain_immediate(&old) or old.immediate1 != r.imm):
        return False
    r.imm = now.immediate1
    old.immediate1 = now.immediate1
    return memcmp(&old, &now, sizeof(Decoded)) == 0

cdef bint revive(Cpu* c, Trace* t) noexcept nogil:
    """Makes a stale trace good again where its bytes are as they were, but for immediates. False: it is to be forgotten.
    Only between traces: a stale one may be under way otherwise."""
    cdef const uint8_t* p = c.shared.memory.backing + t.address
    cdef uint32_t at = 0
    if t.kept == NULL or t.mode & (MODE_GUEST | MODE_HOOKED | MODE_SINGLE | MODE_WAIT):
        return False
    while at < t.n_bytes:
        if p[at] == t.bytes[at] or t.gap_start <= at < t.gap_end:
            at += 1
        elif not renew(c, t, at, p, &at):
            return False
    memcpy(t.bytes, p, t.n_bytes)
    memcpy(&t.insns[0], t.kept, t.n_records * sizeof(Insn))
    t.n = t.n_instructions
    return True

cdef Trace* find_trace(Cpu* c, bint single) noexcept nogil:
    cdef uint64_t rip = c.r[REG_RIP]
    cdef uint64_t linear = (rip + c.cs_base) & c.ea_mask
    cdef uint32_t mode = c.mode | (MODE_SINGLE if single else 0)
    cdef uint64_t address, physical, page = linear & 0xFFFFFFFFFFFFF000ULL, second
    cdef TlbEntry* e = exec_entry(c, linear)
    cdef Trace* t
    if rip > c.cs_high:
        if c.features[<int>FEATURE_PRE386] and not c.cr0 & CR0_PE:
            c.r[REG_RIP] = <uint16_t>rip     # IP has 16 bits
            return NULL
        fault_code(c, NULL, V_GP, 0)
        return NULL
    if e.tag != (page | c.real_key):
        if not translate_code(c, linear, &physical):
            return NULL
        if e.tag != (page | c.real_key):
            t = build(c, rip, linear, mode | MODE_SINGLE, NOTHING)
            if t != NULL and t.n_bytes and rip + t.n_bytes - 1 > c.cs_high and not c.features[<int>FEATURE_PRE186]:
                fault_code(c, NULL, V_GP, 0)
                return NULL
            return t
    address = linear + e.addend
    t = c.shared.hash[trace_bucket(address, mode)]
    while t != NULL:
        if t.address == address and t.mode == mode:
            break
        t = t.hash_next
    if t != NULL and is_stale(t) and not revive(c, t):
        remove_trace(c.shared, t)
        t = NULL
    if t != NULL and t.second_page != NOTHING:
        if not translate_code(c, (page + 4096) & c.ea_mask, &physical):
            return NULL
        second = backing_of(&c.shared.memory, physical, 0, c.in_smm)
        if second != t.second_page:
            remove_trace(c.shared, t)
            t = NULL
    if t == NULL:
        t = build(c, rip, linear, mode, address)
        if t == NULL:
            return NULL
    if rip + t.n_bytes - 1 > c.cs_high and t.n_bytes and not c.features[<int>FEATURE_PRE186]:
        if not single:
            return find_trace(c, True)
        fault_code(c, NULL, V_GP, 0)
        return NULL
    return t
