# cython: language_level=3
"""Runs a batch of conformance cases on one processor of the engine, without a Python object per case.

Each case goes instruction by instruction through the same trace builder and the same records as everything else, as
single-instruction traces; an exception ends the case before it is delivered (SDM 3A 6.5: a fault leaves the state as
it was before the instruction).
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int16_t, int32_t, int64_t
from libc.string cimport memcpy, memcmp, memset
from x86emu.core.state cimport *
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.builder cimport find_trace
from x86emu.core.trace cimport invalidate_code, flush_traces
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.interrupts cimport deliver_fault
from x86emu._core cimport Engine
from x86emu.core.processor cimport Processor
from x86emu.conform.record cimport Record

from x86emu.conform.records import RECORD

assert sizeof(Record) == RECORD.itemsize, (sizeof(Record), RECORD.itemsize)

cdef enum:
    MAX_REPEATS = 65540      # goes at one instruction: a repeated string instruction, a branch to itself


cdef class BatchRunner:
    """One processor set up for user mode, and where the mapped pages lie in its physical memory (all in bytes)."""
    cdef Engine engine
    cdef uint8_t* code
    cdef uint8_t* data           # data pages, then the stack
    cdef uint64_t code_linear, code_bytes, code_physical, data_linear, data_bytes, stack_linear, stack_bytes
    cdef bytes pristine
    cdef const uint8_t* fresh
    cdef uint32_t mode
    cdef uint64_t code_at, code_length       # where the last case's instructions lie; the rest of the code is CCh

    def __init__(self, Engine engine, layout, code_physical: int, data_physical: int):
        cdef uint8_t* backing = engine.memory.shared.memory.backing
        self.engine = engine
        self.code_physical = code_physical
        self.code = backing + self.code_physical
        self.data = backing + <uint64_t>data_physical
        self.code_linear = layout.code
        self.code_bytes = layout.code_bytes
        self.data_linear = layout.data
        self.data_bytes = layout.data_bytes
        self.stack_linear = layout.stack
        self.stack_bytes = layout.stack_bytes
        self.pristine = layout.pristine()
        self.fresh = self.pristine
        self.mode = 0
        self.code_at = self.code_length = 0
        memset(self.code, 0xCC, self.code_bytes)
        memcpy(self.data, self.fresh, self.data_bytes + self.stack_bytes)

    cdef void user_mode(self, Cpu* c, uint32_t mode) noexcept nogil:
        cdef int n
        for n in range(6):
            c.seg[n].selector = 0x2B
            c.seg[n].base = 0
            c.seg[n].limit = 0xFFFFFFFF
            c.seg[n].attributes = 0xC0F3
        c.seg[CS].selector = 0x33 if mode == 64 else 0x23
        c.seg[CS].attributes = 0xA0FB if mode == 64 else 0xC0FB
        for n in range(FS, GS + 1):
            c.seg[n].selector = 0
            c.seg[n].attributes = 0x10000
        c.cpl = 3
        for n in range(6):
            refresh_segment(c, n)
        refresh_mode(c)
        self.mode = mode

    cdef int run_instruction(self, Cpu* c) noexcept nogil:
        """One instruction to its end; the vector of its exception, or -1."""
        cdef uint64_t start = c.r[REG_RIP]
        cdef Trace* t
        cdef Insn* i
        cdef int n
        for n in range(MAX_REPEATS):
            if c.shared.flush_wanted:
                flush_traces(c.shared)
            c.budget = c.slice = 1           # a taken branch does not chain on
            c.link = NULL
            c.current = NULL
            t = find_trace(c, True)
            if t != NULL:
                c.interrupt_shadow_before = c.interrupt_shadow
                c.interrupt_shadow = 0
                c.budget -= t.n
                if LOOP_FORM:
                    c.next = &t.insns[0]
                    while c.next != NULL:
                        i = c.next
                        c.next = NULL
                        i.fn(c, i)
                else:
                    t.insns[0].fn(c, &t.insns[0])
            elif c.exit == EXIT_NONE:
                continue                     # the trace cache was full
            if c.exit == EXIT_FAULT:
                c.exit = EXIT_NONE
                return c.fault.vector
            c.exit = EXIT_NONE
            if c.r[REG_RIP] != start or c.activity != ACTIVITY_ACTIVE:
                break
        return -1

    cdef void run_case(self, Cpu* c, const Record* case, Record* out) noexcept nogil:
        cdef const uint8_t* fresh = self.fresh
        cdef uint64_t place = case.window_address - self.data_linear, total = self.data_bytes + self.stack_bytes, k
        cdef uint64_t at = case.rip - self.code_linear, length = case.code_length, value, end
        cdef int n, top = (case.status >> 11) & 7, vector = -1
        cdef uint32_t step
        cdef bint alignment
        if at + length > self.code_bytes:
            length = self.code_bytes - at
        if at != self.code_at or length != self.code_length or memcmp(self.code + at, case.code, length):
            memset(self.code + self.code_at, 0xCC, self.code_length)
            invalidate_code(c.shared, self.code_physical + self.code_at, self.code_length)
            memcpy(self.code + at, case.code, length)
            invalidate_code(c.shared, self.code_physical + at, length)
            self.code_at = at
            self.code_length = length
        memcpy(self.data + place, case.window, sizeof(case.window))
        # ---- registers
        memcpy(c.r, case.gpr, 128)
        c.r[REG_RIP] = case.rip
        alignment = ((c.rflags ^ case.rflags) & FLAG_AC) != 0
        write_rflags(c, case.rflags)
        memcpy(&c.mxcsr, &case.mxcsr, 4)
        for n in range(16):
            c.vec[n].q[0] = case.xmm[2 * n]
            c.vec[n].q[1] = case.xmm[2 * n + 1]
            c.vec[n].q[2] = case.ymm_high[2 * n]
            c.vec[n].q[3] = case.ymm_high[2 * n + 1]
        c.fpu.control = case.control
        c.fpu.status = case.status
        c.fpu.valid = <uint8_t>case.valid
        for n in range(8):
            c.fpu.st[(top + n) & 7].mantissa = case.st_mantissa[n]
            c.fpu.st[(top + n) & 7].sign_exponent = case.st_exponent[n]
        c.exit = EXIT_NONE
        c.activity = ACTIVITY_ACTIVE
        c.interrupt_shadow = 0
        c.pending_debug = 0
        c.cr2 = 0
        if (c.cpl != 3 or self.mode != case.mode or c.seg[DS].access != 3
                or alignment):
            self.user_mode(c, case.mode)
        # ---- run
        end = case.rip + length
        for step in range(case.steps & 0xFFFF):
            vector = self.run_instruction(c)
            if vector >= 0 or c.r[REG_RIP] == end:
                break
        # ---- and look
        memcpy(out, case, sizeof(Record))
        memcpy(out.gpr, c.r, 128)
        out.rip = c.r[REG_RIP]
        out.rflags = read_rflags(c)
        out.mxcsr = c.mxcsr
        out.vector = <int16_t>vector
        out.fault_address = c.fault.address if vector == V_PF else 0
        for n in range(16):
            out.xmm[2 * n] = c.vec[n].q[0]
            out.xmm[2 * n + 1] = c.vec[n].q[1]
            out.ymm_high[2 * n] = c.vec[n].q[2]
            out.ymm_high[2 * n + 1] = c.vec[n].q[3]
        out.control = c.fpu.control
        out.status = c.fpu.status
        out.valid = c.fpu.valid
        top = (c.fpu.status >> 11) & 7
        for n in range(8):
            out.st_mantissa[n] = c.fpu.st[(top + n) & 7].mantissa
            out.st_exponent[n] = c.fpu.st[(top + n) & 7].sign_exponent
        memcpy(out.window, self.data + place, sizeof(case.window))
        memcpy(self.data + place, fresh + place, sizeof(case.window))
        out.digest = 0
        if memcmp(self.data, fresh, total):
            value = 0xCBF29CE484222325ULL
            for k in range(total >> 3):
                if (<uint64_t*>self.data)[k] != (<const uint64_t*>fresh)[k]:
                    value = (value ^ k) * 0x100000001B3ULL
                    value = (value ^ (<uint64_t*>self.data)[k]) * 0x100000001B3ULL
            out.digest = value if value else 1
            memcpy(self.data, fresh, total)

    def execute(self, instructions: int):
        """Runs from the registers as they are; returns (vector or -1, CR2 of a page fault)."""
        cdef Cpu* c = (<Processor>self.engine.cpus[0]).state
        cdef int n, count = instructions, vector = -1
        self.mode = 0
        c.exit = EXIT_NONE
        c.interrupt_shadow = 0
        for n in range(count):
            vector = self.run_instruction(c)
            if vector >= 0:
                break
        return vector, c.fault.address if vector == V_PF else 0

    def execute_real(self, instructions: int):
        """Runs in real mode; an exception is delivered, which counts with its instruction. Ends early at HLT."""
        cdef Cpu* c = (<Processor>self.engine.cpus[0]).state
        cdef int n, count = instructions
        c.exit = EXIT_NONE
        c.interrupt_shadow = 0
        c.pending_debug = 0
        for n in range(count):
            if self.run_instruction(c) >= 0 and not deliver_fault(c):
                break
            if c.activity != ACTIVITY_ACTIVE:
                break

    def run(self, cases):
        """Outcomes (an array of RECORD) of an array of cases."""
        if cases.dtype != RECORD or not cases.flags.c_contiguous:
            raise ValueError("a batch is a contiguous array of RECORD")
        outcomes = cases.copy()
        cdef const uint8_t[::1] source = cases.view("u1").reshape(-1)
        cdef uint8_t[::1] target = outcomes.view("u1").reshape(-1)
        cdef Processor processor = self.engine.cpus[0]
        cdef Cpu* c = processor.state
        cdef const Record* first
        cdef Record* results
        cdef int64_t n, count = len(cases)
        if not count:
            return outcomes
        first = <const Record*>&source[0]
        results = <Record*>&target[0]
        for n in range(count):
            if not (self.data_linear <= first[n].window_address
                    and first[n].window_address + 128 <= self.data_linear + self.data_bytes
                    and self.code_linear <= first[n].rip < self.code_linear + self.code_bytes
                    and first[n].mode in (32, 64) and first[n].code_length <= 64):
                raise ValueError(f"case {n} lies outside the mapped pages, or has no mode 32 or 64")
        with nogil:
            for n in range(count):
                self.run_case(c, &first[n], &results[n])
        return outcomes
