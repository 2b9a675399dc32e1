# cython: language_level=3
"""Hardware task switches between 32-bit and 16-bit TSSs, and the permission bit maps at their end.

Intel SDM volume 3A, 8.3 (the order of the steps; table 8-1 for the vectors of failed checks, table 8-2 for NT, link and
busy bits), 8.2 (layouts); volume 1, 19.5.2 (I/O permission bit map); volume 3B, 21.3.3.4 (redirection bit map).
Departure: table 8-1 interleaves the checks of CS and SS; here CS is done before SS, as the segments are loaded.
The upper halves of 32-bit registers are zero after a switch to a 16-bit TSS; the manual leaves them undefined.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.model cimport missing_flags
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.mmu cimport system_load, system_store, system_probe
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_new_address_space
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.cet cimport TaskShadow, cet_enter_task, cet_leave_task
from x86emu.core.segmentation cimport *
from x86emu.core.second_level cimport request_exit
from x86emu.core.svm cimport svm_intercepts, SVM_TASK_SWITCH
from x86emu.core.vmx_intercepts cimport vmx_task_switch

# Offsets in the TSS (SDM 3A figures 8-2 and 8-10)
cdef enum:
    TSS32_CR3 = 0x1C
    TSS32_EIP = 0x20
    TSS32_EFLAGS = 0x24
    TSS32_EAX = 0x28
    TSS32_ES = 0x48
    TSS32_LDT = 0x60
    TSS32_TRAP = 0x64
    TSS32_IO_MAP = 0x66
    TSS32_LIMIT = 0x67
    TSS32_SSP = 0x68
    TSS32_SSP_LIMIT = 0x6B
    TSS16_IP = 0x0E
    TSS16_FLAGS = 0x10
    TSS16_AX = 0x12
    TSS16_ES = 0x22
    TSS16_LDT = 0x2A
    TSS16_LIMIT = 0x2B
    DR7_LOCAL = 0x155            # L0 to L3 and LE
    DR6_BT = 0x8000

cdef struct TaskState:           # what a TSS holds
    uint64_t cr3, eip, eflags
    uint64_t r[8]
    uint64_t selectors[6]        # in the order of SegReg
    uint64_t ldt
    uint64_t trap

cdef inline uint64_t _at(uint64_t base, uint32_t offset) noexcept nogil:
    return (base + offset) & 0xFFFFFFFFULL

cdef bint _read_state(Cpu* c, Insn* i, uint64_t base, bint wide, TaskState* t) noexcept nogil:
    cdef int k
    t.cr3 = 0
    t.trap = 0
    t.selectors[FS] = 0
    t.selectors[GS] = 0
    if not wide:
        if (not system_load(c, i, _at(base, TSS16_IP), 2, &t.eip)
                or not system_load(c, i, _at(base, TSS16_FLAGS), 2, &t.eflags)):
            return False
        for k in range(8):
            if not system_load(c, i, _at(base, TSS16_AX + 2 * k), 2, &t.r[k]):
                return False
        for k in range(4):
            if not system_load(c, i, _at(base, TSS16_ES + 2 * k), 2, &t.selectors[k]):
                return False
        return system_load(c, i, _at(base, TSS16_LDT), 2, &t.ldt)
    if (not system_load(c, i, _at(base, TSS32_CR3), 4, &t.cr3) or not system_load(c, i, _at(base, TSS32_EIP), 4, &t.eip)
            or not system_load(c, i, _at(base, TSS32_EFLAGS), 4, &t.eflags)):
        return False
    for k in range(8):
        if not system_load(c, i, _at(base, TSS32_EAX + 4 * k), 4, &t.r[k]):
            return False
    for k in range(6):
        if not system_load(c, i, _at(base, TSS32_ES + 4 * k), 2, &t.selectors[k]):
            return False
    return (system_load(c, i, _at(base, TSS32_LDT), 2, &t.ldt)
            and system_load(c, i, _at(base, TSS32_TRAP), 2, &t.trap))

cdef bint _write_state(Cpu* c, Insn* i, uint64_t base, bint wide, uint64_t eip, uint64_t eflags) noexcept nogil:
    cdef int k
    if not wide:
        if (not system_store(c, i, _at(base, TSS16_IP), 2, eip)
                or not system_store(c, i, _at(base, TSS16_FLAGS), 2, eflags)):
            return False
        for k in range(8):
            if not system_store(c, i, _at(base, TSS16_AX + 2 * k), 2, c.r[k] & 0xFFFF):
                return False
        for k in range(4):
            if not system_store(c, i, _at(base, TSS16_ES + 2 * k), 2, c.seg[k].selector):
                return False
        return True
    if (not system_store(c, i, _at(base, TSS32_EIP), 4, eip)
            or not system_store(c, i, _at(base, TSS32_EFLAGS), 4, eflags)):
        return False
    for k in range(8):
        if not system_store(c, i, _at(base, TSS32_EAX + 4 * k), 4, c.r[k] & 0xFFFFFFFFULL):
            return False
    for k in range(6):
        if not system_store(c, i, _at(base, TSS32_ES + 4 * k), 2, c.seg[k].selector):
            return False
    return True

cdef inline bint _refuse(Cpu* c, int vector, uint64_t selector, uint32_t ext) noexcept nogil:
    fault_code(c, NULL, vector, <uint32_t>(selector & 0xFFFC) | ext)
    return False

cdef bint _load_ldt(Cpu* c, uint32_t selector, uint32_t ext) noexcept nogil:
    cdef uint64_t raw = 0
    cdef Segment s
    if not selector & 0xFFFC:
        return True
    if selector & 4:
        return _refuse(c, V_TS, selector, ext)
    if not read_descriptor_or(c, NULL, selector, &raw, V_TS, ext):
        return False
    if (attributes_of(raw) & (ATTR_TYPE | ATTR_S | ATTR_P)) != (2 | ATTR_P):
        return _refuse(c, V_TS, selector, ext)
    segment_from(&s, selector, raw)
    load_cache(c, LDTR, &s)
    return True

cdef bint _load_cs(Cpu* c, uint32_t selector, uint32_t ext) noexcept nogil:
    cdef uint64_t raw = 0
    cdef uint32_t attributes
    cdef int rpl = selector & 3
    cdef Segment s
    if not selector & 0xFFFC:
        return _refuse(c, V_TS, selector, ext)
    if not read_descriptor_or(c, NULL, selector, &raw, V_TS, ext):
        return False
    attributes = attributes_of(raw)
    if not is_code(attributes):
        return _refuse(c, V_TS, selector, ext)
    if dpl_of(attributes) > rpl if is_conforming(attributes) else dpl_of(attributes) != rpl:
        return _refuse(c, V_TS, selector, ext)
    if not attributes & ATTR_P:
        return _refuse(c, V_NP, selector, ext)
    if not mark_accessed(c, NULL, selector, &raw):
        return False
    segment_from(&s, selector, raw)
    load_cache(c, CS, &s)
    c.cpl = rpl
    return True

cdef bint _load_data(Cpu* c, int seg, uint32_t selector, uint32_t ext) noexcept nogil:
    cdef uint64_t raw = 0
    cdef uint32_t attributes
    cdef int rpl = selector & 3
    cdef int dpl
    cdef Segment s
    if not selector & 0xFFFC:
        return True
    if not read_descriptor_or(c, NULL, selector, &raw, V_TS, ext):
        return False
    attributes = attributes_of(raw)
    dpl = dpl_of(attributes)
    if not attributes & ATTR_S or (attributes & (ATTR_CODE | ATTR_WRITABLE)) == ATTR_CODE:
        return _refuse(c, V_TS, selector, ext)
    if not (is_code(attributes) and is_conforming(attributes)) and (rpl > dpl or <int>c.cpl > dpl):
        return _refuse(c, V_TS, selector, ext)
    if not attributes & ATTR_P:
        return _refuse(c, V_NP, selector, ext)
    if not mark_accessed(c, NULL, selector, &raw):
        return False
    segment_from(&s, selector, raw)
    load_cache(c, seg, &s)
    return True

cdef bint _load_segments(Cpu* c, TaskState* t, uint32_t ext) noexcept nogil:
    """Steps 12 and 13 of SDM 3A 8.3: qualify LDTR and the segment registers, in the context of the new task."""
    cdef Segment s
    cdef int k
    if not _load_ldt(c, <uint32_t>t.ldt, ext):
        return False
    if t.eflags & FLAG_VM:
        c.cpl = 3
        for k in range(6):
            load_v86(c, k, <uint32_t>t.selectors[k])
        return True
    if not _load_cs(c, <uint32_t>t.selectors[CS], ext):
        return False
    if not inner_stack_segment(c, NULL, <uint32_t>t.selectors[SS], c.cpl, &s, ext):
        return False
    load_cache(c, SS, &s)
    for k in range(6):
        if k != CS and k != SS and not _load_data(c, k, <uint32_t>t.selectors[k], ext):
            return False
    return True

cdef bint _enter_task(Cpu* c, TaskState* t, TaskShadow* shadow, bint wide, bint has_error, uint32_t error,
                      uint32_t ext) noexcept nogil:
    """Everything behind the commit point; TR already names the new TSS."""
    cdef int k
    cdef Stack stack
    for k in range(8):
        c.r[k] = t.r[k]
    # Until its descriptor has been checked a register holds the new selector and nothing usable; CPL 3 meanwhile, so
    # that a fault's handler gets a stack of its own.
    for k in range(6):
        c.seg[k].selector = <uint16_t>t.selectors[k]
        c.seg[k].attributes = ATTR_UNUSABLE
        refresh_segment(c, k)
    c.seg[LDTR].selector = <uint16_t>t.ldt
    c.seg[LDTR].attributes = ATTR_UNUSABLE
    refresh_segment(c, LDTR)
    c.cpl = 3
    write_rflags(c, t.eflags & ~missing_flags(c))
    c.cr0 |= CR0_TS
    c.dr[7] &= ~<uint64_t>DR7_LOCAL
    if wide and c.cr0 >> CR0_PG_BIT & 1:
        if (c.cr4 & CR4_PAE) and not load_pdptes(c, NULL, t.cr3):
            refresh_mode(c)
            return False
        c.cr3 = t.cr3
        tlb_new_address_space(c)
    if not _load_segments(c, t, ext):
        refresh_mode(c)
        return False
    refresh_mode(c)
    if unlikely(c.mode & MODE_CET):
        if not cet_enter_task(c, shadow, t.eip, ext):
            return False
        refresh_mode(c)          # the tracker
    if has_error:
        stack_now(c, &stack)
        stack.error = ext
        if not stack_push(c, NULL, &stack, 4 if wide else 2, error):
            return False
        commit_sp(c, &stack)
    if t.eip > c.seg[CS].limit:
        fault_code(c, NULL, V_GP, ext)
        return False
    if t.trap & 1:
        c.pending_debug |= DR6_BT
    return True

cdef bint _leaves_guest(Cpu* c, Insn* i, uint32_t selector, int source, uint64_t rip, bint has_error, uint32_t error,
                        uint64_t flags) noexcept nogil:
    """Task switches are intercepted before any change (APM 2, 15.14.1): EXITINFO1 is the new TSS's selector."""
    cdef uint64_t info2 = error if has_error else 0
    if not svm_intercepts(c, 3, 29):
        return False
    if source == TASK_IRET:
        info2 |= 1ULL << 36
    elif source == TASK_JMP:
        info2 |= 1ULL << 38
    if has_error:
        info2 |= 1ULL << 44
    if flags & FLAG_RF:
        info2 |= 1ULL << 48
    request_exit(c, i, SVM_TASK_SWITCH, selector, info2)
    return True

cdef bint task_switch(Cpu* c, Insn* i, uint32_t selector, uint64_t raw, int source, uint64_t rip, uint64_t flags,
                      bint has_error, uint32_t error, uint32_t ext) noexcept nogil:
    cdef TaskState t
    cdef TaskShadow shadow
    cdef Segment tss
    cdef uint64_t old_base = c.seg[TR].base
    cdef uint32_t old_selector = c.seg[TR].selector
    cdef bint old_wide = (c.seg[TR].attributes & 8) != 0
    cdef bint wide
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        vmx_task_switch(c, i, selector, 0 if source == TASK_CALL else 1 if source == TASK_IRET else 2 if source == TASK_JMP else 3)
        return False
    if unlikely(c.virt.guest_mode == GUEST_SVM) and _leaves_guest(c, i, selector, source, rip, has_error, error, flags):
        return False
    segment_from(&tss, selector, raw)
    wide = (tss.attributes & 8) != 0
    if tss.limit < (TSS32_LIMIT if wide else TSS16_LIMIT):
        fault_code(c, i, V_TS, (selector & 0xFFFC) | ext)
        return False
    # All pages first, so that nothing below faults before the commit point (step 5).
    if not system_probe(c, i, old_base, (TSS32_LIMIT if old_wide else TSS16_LIMIT) + 1, 1):
        return False
    if not _read_state(c, i, tss.base, wide, &t):
        return False
    if (source == TASK_CALL or source == TASK_EVENT) and not system_probe(c, i, tss.base, 2, 1):
        return False
    if unlikely(c.mode & MODE_CET):
        shadow.nested = source == TASK_CALL or source == TASK_EVENT
        shadow.back = source == TASK_IRET
        shadow.has_stack = wide and tss.limit >= TSS32_SSP_LIMIT
        shadow.stack = 0
        if shadow.has_stack and not system_load(c, i, _at(tss.base, TSS32_SSP), 4, &shadow.stack):
            return False
        if not cet_leave_task(c, i, &shadow, rip):
            return False
    if source != TASK_IRET and not mark_busy(c, i, selector, 1):
        return False
    if (source == TASK_JMP or source == TASK_IRET) and not mark_busy(c, i, old_selector, 0):
        return False
    if source == TASK_IRET:
        flags &= ~<uint64_t>FLAG_NT
    if not _write_state(c, i, old_base, old_wide, rip, flags):
        return False
    if source == TASK_CALL or source == TASK_EVENT:
        if not system_store(c, i, tss.base, 2, old_selector):
            return False
        t.eflags |= FLAG_NT
    # --- commit point: the rest happens in the new task ---
    if i == NULL:
        c.r[REG_RIP] = t.eip
    else:
        finish_at(c, i, t.eip)
    tss.attributes |= 2
    load_cache(c, TR, &tss)
    return _enter_task(c, &t, &shadow, wide, has_error, error, ext)

cdef bint available_tss(Cpu* c, Insn* i, uint32_t selector, uint64_t* raw, int vector, uint32_t ext) noexcept nogil:
    cdef uint32_t attributes
    if selector & 4 or not selector & 0xFFFC:
        fault_code(c, i, vector, (selector & 0xFFFC) | ext)
        return False
    if not read_descriptor_or(c, i, selector, raw, vector, ext):
        return False
    attributes = attributes_of(raw[0])
    if (attributes & (ATTR_S | 7)) != 1:         # types 1 and 9
        fault_code(c, i, vector, (selector & 0xFFFC) | ext)
        return False
    if not attributes & ATTR_P:
        fault_code(c, i, V_NP, (selector & 0xFFFC) | ext)
        return False
    return True

cdef bint _permission_bits(Cpu* c, Insn* i, uint32_t port, uint32_t size) noexcept nogil:
    cdef Segment* tr = &c.seg[TR]
    cdef uint64_t start = 0
    cdef uint64_t bits = 0
    # only a 32-bit or 64-bit TSS has the map
    if (tr.attributes & 0x1D) == 9 and tr.limit >= TSS32_LIMIT:
        if not system_load(c, i, tr.base + TSS32_IO_MAP, 2, &start):
            return False
        start += port >> 3
        # two bytes are always read: the map ends with a byte of ones within the limit
        if start + 1 <= tr.limit:
            if not system_load(c, i, tr.base + start, 2, &bits):
                return False
            if not (bits >> (port & 7)) & ((1 << size) - 1):
                return True
    fault_code(c, i, V_GP, 0)
    return False

cdef bint io_permitted(Cpu* c, Insn* i, uint32_t port, uint32_t size) noexcept nogil:
    if not c.cr0 & CR0_PE:
        return True
    if not c.rflags & FLAG_VM and c.cpl <= ((c.rflags >> 12) & 3):
        return True
    return _permission_bits(c, i, port, size)

cdef int interrupt_redirection_bit(Cpu* c, Insn* i, int vector) noexcept nogil:
    cdef Segment* tr = &c.seg[TR]
    cdef uint64_t start = 0
    cdef uint64_t bits = 0
    if (tr.attributes & 0x1D) != 9 or tr.limit < TSS32_LIMIT:
        return 1
    if not system_load(c, i, tr.base + TSS32_IO_MAP, 2, &start):
        return -1
    if start < 32 or start - 32 + (vector >> 3) > tr.limit:
        return 1
    if not system_load(c, i, tr.base + start - 32 + (vector >> 3), 1, &bits):
        return -1
    return (bits >> (vector & 7)) & 1
