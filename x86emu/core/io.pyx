# cython: language_level=3
"""Port input and output (Intel SDM volume 1, chapter 19; volume 2A IN and INS, volume 2B OUT and OUTS).

IN and OUT stay within a trace; what a device does to the processor's wires or to the board ends the slice by its kick.
An OUT that resets, stops or interrupts by SMI, or moves the A20 gate, has done so before the next instruction.
Repeated INS and OUTS move whole blocks between the device and the page while the direction is up and the page is plain
memory, and element by element otherwise.  The right to the port is checked for a repeat count of zero too.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.early cimport *
from x86emu.core.mmu cimport host_pointer, slow_probe
from x86emu.core.memory_access cimport ld, st
from x86emu.core.tasks cimport io_permitted

# ---------------------------------------------------------------- permission and single transfers

cdef inline bint permitted(Cpu* c, Insn* i, uint32_t port, int size) noexcept nogil:
    """SDM 1, 19.5: CPL within IOPL, or the TSS's bitmap; virtual-8086 mode: the bitmap. False: #GP(0) raised."""
    if likely(c.cpl <= (c.rflags & FLAG_IOPL) >> 12 and not c.rflags & FLAG_VM):
        return True
    return io_permitted(c, i, port, size)

cdef inline uint64_t port_in(Cpu* c, Insn* i, uint32_t port, int size) noexcept nogil:
    cdef uint64_t value
    c.current = i
    value = 0xFFFFFFFFFFFFFFFFULL        # nothing answers where no port space is wired
    if likely(c.board.port_read != NULL):
        value = c.board.port_read(c.board.ports, port, size)
    c.current = NULL
    return value

cdef inline void port_out(Cpu* c, Insn* i, uint32_t port, int size, uint64_t value) noexcept nogil:
    c.current = i
    if likely(c.board.port_write != NULL):
        c.board.port_write(c.board.ports, port, size, value)
    c.current = NULL

cdef inline void input_al(Cpu* c, Insn* i, uint32_t port) noexcept nogil:
    if not permitted(c, i, port, 1):
        return
    c.r[RAX] = (c.r[RAX] & ~<uint64_t>0xFF) | <uint8_t>port_in(c, i, port, 1)
    chain(c, i)

cdef inline void input_ax(Cpu* c, Insn* i, uint32_t port) noexcept nogil:
    if not permitted(c, i, port, 2):
        return
    c.r[RAX] = (c.r[RAX] & ~<uint64_t>0xFFFF) | <uint16_t>port_in(c, i, port, 2)
    chain(c, i)

cdef inline void input_eax(Cpu* c, Insn* i, uint32_t port) noexcept nogil:
    if not permitted(c, i, port, 4):
        return
    c.r[RAX] = <uint32_t>port_in(c, i, port, 4)
    chain(c, i)

cdef inline void output(Cpu* c, Insn* i, uint32_t port, int size) noexcept nogil:
    if not permitted(c, i, port, size):
        return
    port_out(c, i, port, size, c.r[RAX] & (0xFFFFFFFFULL >> (32 - 8 * size)))
    if unlikely(c.board.stop or c.signals.reset or c.signals.init or c.signals.smi
                or c.signals.a20_masked != c.a20_seen):
        finish(c, i)
        return
    chain(c, i)

cdef void IN_Rb_I(Cpu* c, Insn* i) noexcept nogil:
    input_al(c, i, <uint8_t>i.imm)

cdef void IN_Rw_I(Cpu* c, Insn* i) noexcept nogil:
    input_ax(c, i, <uint8_t>i.imm)

cdef void IN_Rd_I(Cpu* c, Insn* i) noexcept nogil:
    input_eax(c, i, <uint8_t>i.imm)

cdef void IN_Rb_DX(Cpu* c, Insn* i) noexcept nogil:
    input_al(c, i, <uint16_t>c.r[RDX])

cdef void IN_Rw_DX(Cpu* c, Insn* i) noexcept nogil:
    input_ax(c, i, <uint16_t>c.r[RDX])

cdef void IN_Rd_DX(Cpu* c, Insn* i) noexcept nogil:
    input_eax(c, i, <uint16_t>c.r[RDX])

cdef void OUT_I_Rb(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint8_t>i.imm, 1)

cdef void OUT_I_Rw(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint8_t>i.imm, 2)

cdef void OUT_I_Rd(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint8_t>i.imm, 4)

cdef void OUT_DX_Rb(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint16_t>c.r[RDX], 1)

cdef void OUT_DX_Rw(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint16_t>c.r[RDX], 2)

cdef void OUT_DX_Rd(Cpu* c, Insn* i) noexcept nogil:
    output(c, i, <uint16_t>c.r[RDX], 4)

# ---------------------------------------------------------------- string transfers

cdef inline uint64_t address_mask(Insn* i) noexcept nogil:
    return 0xFFFFULL if i.aux == 0 else 0xFFFFFFFFULL if i.aux == 1 else 0xFFFFFFFFFFFFFFFFULL

cdef inline void advance(Cpu* c, Insn* i, int n, uint64_t by) noexcept nogil:
    """Adds to an address or count register in the address size; a 32-bit result clears the upper half."""
    if i.aux == 0:
        set_r(c, <uint8_t>n, <uint16_t>(c.r[n] + by))
    elif i.aux == 1:
        c.r[n] = <uint32_t>(c.r[n] + by)
    else:
        c.r[n] += by

cdef bint string_address(Cpu* c, Insn* i, int seg, uint64_t offset, uint32_t size, uint8_t access,
                         uint64_t* linear) noexcept nogil:
    """Linear address of an element at seg:offset, with the segment's checks. False: #GP(0) or #SS(0) raised."""
    cdef Segment* s = &c.seg[seg]
    if (c.mode & MODE_CODE) == MODE_CODE64:
        linear[0] = offset + (s.base if seg == FS or seg == GS else 0)
        return True
    if unlikely(not s.access & access or offset < s.low or offset + size - 1 > s.high):
        fault_code(c, i, stack_fault(c) if seg == SS else V_GP, 0)
        if unlikely(c.features[<int>FEATURE_PRE386]):
            string_fault_80286(c)
        return False
    linear[0] = (offset + s.base) & 0xFFFFFFFFULL
    return True

cdef bint input_element(Cpu* c, Insn* i, uint32_t port, uint32_t size) noexcept nogil:
    """One INS. The destination is checked before the port is read, so that a fault loses no data."""
    cdef uint64_t linear, value
    cdef bint stored
    if not permitted(c, i, port, size):
        return False
    if not string_address(c, i, ES, c.r[RDI] & address_mask(i), size, ACCESS_WRITE, &linear):
        return False
    if not slow_probe(c, i, linear, size, 1):
        return False
    value = port_in(c, i, port, size)
    if size == 1:
        stored = st(c, i, linear, <uint8_t>value)
    elif size == 2:
        stored = st(c, i, linear, <uint16_t>value)
    else:
        stored = st(c, i, linear, <uint32_t>value)
    if not stored:
        return False
    advance(c, i, RDI, <uint64_t>-<int64_t>size if c.rflags & FLAG_DF else size)
    return True

cdef bint output_element(Cpu* c, Insn* i, uint32_t port, uint32_t size) noexcept nogil:
    """One OUTS."""
    cdef uint64_t linear
    cdef uint8_t v8
    cdef uint16_t v16
    cdef uint32_t v32
    if not permitted(c, i, port, size):
        return False
    if not string_address(c, i, i.seg, c.r[RSI] & address_mask(i), size, ACCESS_READ, &linear):
        return False
    if size == 1:
        if not ld(c, i, linear, &v8):
            return False
        v32 = v8
    elif size == 2:
        if not ld(c, i, linear, &v16):
            return False
        v32 = v16
    elif not ld(c, i, linear, &v32):
        return False
    port_out(c, i, port, size, v32)
    advance(c, i, RSI, <uint64_t>-<int64_t>size if c.rflags & FLAG_DF else size)
    return True

cdef uint64_t transfer_block(Cpu* c, Insn* i, uint32_t port, uint32_t size, uint64_t count,
                             bint write_memory) noexcept nogil:
    """Moves up to count elements within one page at once; 0 where that cannot be. Permission is the caller's."""
    cdef int seg = ES if write_memory else i.seg
    cdef int n = RDI if write_memory else RSI
    cdef uint64_t offset = c.r[n] & address_mask(i)
    cdef uint64_t linear, room, moved
    cdef uint8_t* host
    if c.rflags & FLAG_DF:
        return 0
    if (c.board.port_read_block if write_memory else <void*>c.board.port_write_block) == NULL:
        return 0
    room = address_mask(i) - offset
    if room < 0xFFFFFFFFFFFFF000ULL:
        count = min(count, (room + 1) / size)
    if count == 0:
        return 0
    if (c.mode & MODE_CODE) == MODE_CODE64:
        linear = offset + (c.seg[seg].base if seg == FS or seg == GS else 0)
    else:
        if not c.seg[seg].access & (ACCESS_WRITE if write_memory else ACCESS_READ):
            return 0
        if offset < c.seg[seg].low or offset > c.seg[seg].high:
            return 0
        count = min(count, (c.seg[seg].high - offset + 1) / size)
        linear = (offset + c.seg[seg].base) & 0xFFFFFFFFULL
    count = min(count, (PAGE_SIZE - (linear & (PAGE_SIZE - 1))) / size)
    if count < 2:
        return 0
    host = host_pointer(c, linear, <uint32_t>(count * size), write_memory)
    if host == NULL:
        return 0
    c.current = i
    if write_memory:
        moved = c.board.port_read_block(c.board.ports, port, size, host, count)
    else:
        moved = c.board.port_write_block(c.board.ports, port, size, host, count)
    c.current = NULL
    advance(c, i, n, moved * size)
    return moved

cdef void repeat(Cpu* c, Insn* i, uint32_t size, bint is_input) noexcept nogil:
    """REP INS or REP OUTS: at most what the budget allows in one go; each element counts as an instruction."""
    cdef uint64_t remaining = c.r[RCX] & address_mask(i)
    cdef uint64_t allowed = <uint64_t>(c.budget + 1) if c.budget > 0 else 1
    cdef uint64_t want, moved
    cdef int64_t done = 0
    cdef uint32_t port = <uint16_t>c.r[RDX]
    cdef bint ok
    if remaining == 0 and not permitted(c, i, port, size):
        return
    while remaining:
        want = min(remaining, allowed - <uint64_t>done)
        if want == 0 or (done and c.board.stop):
            unwind(c, i)
            c.budget -= done
            return
        moved = 0
        if want > 1 and c.cpl <= (c.rflags & FLAG_IOPL) >> 12 and not c.rflags & FLAG_VM:
            moved = transfer_block(c, i, port, size, want, is_input)
        if moved == 0:
            ok = input_element(c, i, port, size) if is_input else output_element(c, i, port, size)
            if not ok:
                c.budget -= done         # the fault has unwound
                return
            moved = 1
        advance(c, i, RCX, <uint64_t>-<int64_t>moved)
        remaining -= moved
        done += <int64_t>moved
    if done > 1:
        c.budget -= done - 1
    chain(c, i)

cdef void INS_Yb_DX(Cpu* c, Insn* i) noexcept nogil:
    if input_element(c, i, <uint16_t>c.r[RDX], 1):
        chain(c, i)

cdef void INS_Yw_DX(Cpu* c, Insn* i) noexcept nogil:
    if input_element(c, i, <uint16_t>c.r[RDX], 2):
        chain(c, i)

cdef void INS_Yd_DX(Cpu* c, Insn* i) noexcept nogil:
    if input_element(c, i, <uint16_t>c.r[RDX], 4):
        chain(c, i)

cdef void OUTS_DX_Xb(Cpu* c, Insn* i) noexcept nogil:
    if output_element(c, i, <uint16_t>c.r[RDX], 1):
        chain(c, i)

cdef void OUTS_DX_Xw(Cpu* c, Insn* i) noexcept nogil:
    if output_element(c, i, <uint16_t>c.r[RDX], 2):
        chain(c, i)

cdef void OUTS_DX_Xd(Cpu* c, Insn* i) noexcept nogil:
    if output_element(c, i, <uint16_t>c.r[RDX], 4):
        chain(c, i)

cdef void REP_INS_Yb_DX(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 1, 1)

cdef void REP_INS_Yw_DX(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 2, 1)

cdef void REP_INS_Yd_DX(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 4, 1)

cdef void REP_OUTS_DX_Xb(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 1, 0)

cdef void REP_OUTS_DX_Xw(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 2, 0)

cdef void REP_OUTS_DX_Xd(Cpu* c, Insn* i) noexcept nogil:
    repeat(c, i, 4, 0)

include "register_io.pxi"
