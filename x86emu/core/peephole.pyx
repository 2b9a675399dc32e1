# cython: language_level=3
"""What becomes of a trace's records before they run: flags that nobody reads are dropped, pairs of instructions get one
handler, addresses that need no mask or index do without (SDM 1, 3.4.3.1 and appendix A on the flags).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int32_t
from x86emu.core.state cimport *
from x86emu.core.decode cimport *
from x86emu.core.trace cimport FUSED

cdef enum:
    ALL_FLAGS = 0x8D5

cdef void drop_dead_flags(Builder* b) noexcept nogil:
    """Backwards liveness of the six arithmetic flags; what may fault needs them all."""
    cdef uint32_t live = ALL_FLAGS, n = b.n_instructions
    cdef const RowInfo* row
    cdef const Plan* plan
    while n:
        n -= 1
        row = b.row[n]
        plan = b.plan[n]
        if row == NULL:
            live = ALL_FLAGS
            continue
        if not b.n_of_records[n]:
            continue                 # a JMP within the trace
        if plan.handler_nf and not row.flags_affected & live:
            b.records[b.main_record[n]].fn = handler_by_number(plan.handler_nf)
        elif plan.handler_cf and not live & ~<uint32_t>FLAG_CF:
            b.records[b.main_record[n]].fn = handler_by_number(plan.handler_cf)
        if row.shift and b.records[b.main_record[n]].imm & 31:
            live = 0
        else:
            live = (live & ~<uint32_t>row.flags_killed) | row.flags_read
        if not plan.cannot_fault or row.intercept:
            live = ALL_FLAGS

cdef inline uint32_t handler_number(const Plan* plan, handler_t fn) noexcept nogil:
    """Number of an instruction's handler, the one without flags included; 0 if it has got another."""
    if fn == handler_by_number(plan.handler):
        return plan.handler
    if plan.handler_nf and fn == handler_by_number(plan.handler_nf):
        return plan.handler_nf
    return 0

cdef void fuse_pairs(Builder* b) noexcept nogil:
    """A copy, a shift or a comparison with what is done with its result, by one handler (_gen/forms_three_operands.py,
    forms_conditional.py). Neither can fault."""
    cdef uint32_t n = 0, k, out, number, first_number, second_number
    cdef Insn* first
    cdef Insn* second
    cdef bint fused[64]
    cdef bint any = False
    fused[0] = False
    while n + 1 < b.n_instructions:
        n += 1
        fused[n] = False
        if b.row[n] == NULL or b.row[n - 1] == NULL or b.n_of_records[n] != 1 or b.n_of_records[n - 1] != 1:
            continue
        first = &b.records[b.main_record[n - 1]]
        second = &b.records[b.main_record[n]]
        first_number = handler_number(b.plan[n - 1], first.fn)
        second_number = handler_number(b.plan[n], second.fn)
        if not first_number or not second_number or b.row[n].attributes & ROW_END:
            continue
        number = fused_handler(first_number, second_number)
        if not number:
            continue
        if keeps_records(number):        # CMP with SETcc or CMOVcc
            first.fn = handler_by_number(number)
            continue
        if first.dst != second.dst:
            continue
        if not b.row[n].immediate1 and second.src == second.dst:
            continue                     # MOV EAX, EBX; ADD EAX, EAX: reads what the first one writes
        second.fn = handler_by_number(number)
        second.index = second.src
        second.src = first.src
        second.disp = <int32_t>first.imm
        second.seg = FUSED | first.length    # for make_stale
        fused[n] = True
        any = True
    if not any:
        return
    out = 0
    for k in range(b.n_records):
        n = b.records[k].idx
        if n + 1 < b.n_instructions and fused[n + 1] and k == b.main_record[n]:
            continue
        if out != k:
            b.records[out] = b.records[k]
            b.records[out].pos = <uint8_t>out
        out += 1
    b.n_records = out

cdef void fuse_branch(Builder* b) noexcept nogil:
    """CMP, TEST and their like with the conditional branch behind them, by one handler."""
    cdef uint32_t n = b.n_instructions, number
    cdef Insn* first
    cdef Insn* second
    if n < 2 or b.row[n - 1] == NULL or b.row[n - 2] == NULL or b.n_of_records[n - 1] != 1:
        return
    number = fused_handler(b.plan[n - 2].handler, b.plan[n - 1].handler)
    second = &b.records[b.n_records - 1]
    first = &b.records[b.n_records - 2]
    if (not number or first.fn != handler_by_number(b.plan[n - 2].handler)
            or second.fn != handler_by_number(b.plan[n - 1].handler)):
        return
    if keeps_records(number):
        first.fn = handler_by_number(number)
        return
    if b.n_of_records[n - 2] != 1:
        return
    first.fn = handler_by_number(number)
    first.disp = <int32_t>first.imm
    first.seg = FUSED | first.length     # for make_stale
    first.imm = second.imm
    first.aux = second.aux
    first.ip = second.ip
    first.length = second.length
    first.idx = second.idx
    b.n_records -= 1

cdef void fuse_index(Builder* b) noexcept nogil:
    """An index with the indirect branch that it selects the target of: the first record's handler does both."""
    cdef Insn* first
    cdef Insn* branch
    cdef handler_t both
    if b.n_records < 2 or b.row[b.n_instructions - 1] == NULL:
        return
    first = &b.records[b.n_records - 2]
    branch = &b.records[b.n_records - 1]
    if first.idx == branch.idx or branch.index != first.dst or branch.base == first.dst or branch.scale != 3:
        return
    both = index_and_branch(first.fn, branch.fn)
    if both != NULL:
        first.fn = both

cdef void address_forms(Builder* b, uint32_t mode) noexcept nogil:
    """Memory operands that need no mask, or no index either, get the handlers that do without."""
    cdef uint32_t k
    cdef Insn* r
    cdef handler_t special
    cdef bint wide = (mode & MODE_CODE) == MODE_CODE64
    for k in range(b.n_records):
        r = &b.records[k]
        special = NULL
        if r.index == REG_ZERO and (wide or (r.base == REG_LINEAR and r.disp == 0)):
            special = at_base(r.fn)
        elif wide:
            special = indexed(r.fn)
        if special != NULL:
            r.fn = special

cdef void peephole(Builder* b, uint32_t mode, bint ended) noexcept nogil:
    """All of it. ended: the last instruction may change what comes next."""
    drop_dead_flags(b)
    if ended:
        fuse_branch(b)
    fuse_pairs(b)
    if ended:
        fuse_index(b)
    address_forms(b, mode)
