# cython: language_level=3
"""The engine's face: processors as Python objects, and the loop that gives each its turn.

Several processors run in a deterministic round robin: each gets the same slice of virtual time, at most `quantum`
nanoseconds (one instruction is one nanosecond) and never beyond the next event of the clock; then the clock moves on by
the longest slice that was used.  When all are halted the clock jumps to the next event.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t, uintptr_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset
from cpython.exc cimport PyErr_CheckSignals
from x86emu.core.state cimport *
from x86emu.core.state cimport Cpu as CpuState
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.engine cimport *
from x86emu.core.engine cimport kick as kick_cpu
from x86emu.core.memory cimport PhysicalMemory
from x86emu.core.model cimport ModelTables, ProcessorModel
from x86emu.core.mmu cimport refresh_mode, refresh_segment, tlb_flush_all, tlb_flush_everything, load_pdptes
from x86emu.core.decode cimport decode, Decoded
from x86emu.core.trace cimport flush_traces
from x86emu.core.vmx_exit cimport vmx_awake, vmx_timer_deadline
from x86emu.bus.platform cimport Wiring, CpuSignals, Signals
from x86emu.bus.clock cimport Clock

import x86emu.core.builder
from x86emu.errors import EmulationError

cdef int64_t FOREVER = 0x7FFFFFFFFFFFFFFF

GPR_NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
SEGMENT_NAMES = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
cdef dict _gpr = {name: n for n, name in enumerate(GPR_NAMES)}
cdef dict _segments = {name: n for n, name in enumerate(SEGMENT_NAMES)}


cdef class SegmentView:
    """One segment register with its hidden part.  Assigning to a field takes effect at once."""
    cdef Processor cpu
    cdef int number

    cdef Segment* segment(self):
        return &self.cpu.state.seg[self.number]

    @property
    def selector(self):
        return self.segment().selector

    @selector.setter
    def selector(self, value):
        self.segment().selector = value

    @property
    def base(self):
        return self.segment().base

    @base.setter
    def base(self, value):
        self.segment().base = value
        self.cpu.refresh()

    @property
    def limit(self):
        """In bytes: the last offset (for an expand-down segment the last one outside)."""
        return self.segment().limit

    @limit.setter
    def limit(self, value):
        self.segment().limit = value
        self.cpu.refresh()

    @property
    def attributes(self):
        """Access rights in the format of the VMCS (SDM 3C 25.4.1)."""
        return self.segment().attributes

    @attributes.setter
    def attributes(self, value):
        self.segment().attributes = value
        self.cpu.refresh()

    def set(self, selector: int, base: int, limit: int, attributes: int) -> None:
        """All four at once."""
        cdef Segment* s = self.segment()
        s.selector = selector
        s.base = base
        s.limit = limit
        s.attributes = attributes
        self.cpu.refresh()

    def __repr__(self):
        cdef Segment* s = self.segment()
        return (f"<{SEGMENT_NAMES[self.number]} selector={s.selector:#06x} base={s.base:#x} limit={s.limit:#x} "
                f"attributes={s.attributes:#07x}>")


cdef class TableView:
    """GDTR or IDTR."""
    cdef Processor cpu
    cdef bint interrupt

    cdef TableRegister* table(self):
        return &self.cpu.state.idtr if self.interrupt else &self.cpu.state.gdtr

    @property
    def base(self):
        return self.table().base

    @base.setter
    def base(self, value):
        self.table().base = value

    @property
    def limit(self):
        return self.table().limit

    @limit.setter
    def limit(self, value):
        self.table().limit = value


cdef class Processor:
    """One processor.  Its registers are attributes: rax..r15, rip, rflags, cr0, cr2, cr3, cr4, efer, es..gs, ldtr, tr,
    gdtr, idtr, cpl, activity, mxcsr, xcr0, pkru; st, xmm and MSRs by methods.  Reading never disturbs the guest."""

    def __cinit__(self):
        self.state = <CpuState*>calloc(1, sizeof(CpuState))
        if self.state == NULL:
            raise MemoryError

    def __dealloc__(self):
        free(self.state)

    cdef void refresh(self):
        refresh_mode(self.state)

    @property
    def instructions(self):
        """Instructions retired since the machine was built."""
        return retired(self.state)

    def __getattr__(self, name):
        cdef CpuState* c = self.state
        n = _gpr.get(name)
        if n is not None:
            return c.r[<int>n]
        n = _segments.get(name)
        if n is not None:
            view = SegmentView()
            (<SegmentView>view).cpu = self
            (<SegmentView>view).number = n
            return view
        raise AttributeError(f"a processor has no register {name!r}")

    def __setattr__(self, name, value):
        n = _gpr.get(name)
        if n is not None:
            self.state.r[<int>n] = value
            return
        descriptor = getattr(Processor, name, None)
        if not hasattr(descriptor, "__set__"):
            raise AttributeError(f"a processor has no register {name!r} that can be set")
        descriptor.__set__(self, value)

    @property
    def rip(self):
        return self.state.r[REG_RIP]

    @rip.setter
    def rip(self, value):
        self.state.r[REG_RIP] = value
        self.state.link = NULL

    @property
    def rflags(self):
        return read_rflags(self.state)

    @rflags.setter
    def rflags(self, value):
        write_rflags(self.state, value)
        self.refresh()

    @property
    def cr0(self):
        return self.state.cr0

    @cr0.setter
    def cr0(self, value):
        self.state.cr0 = value
        tlb_flush_all(self.state)
        self.refresh()

    @property
    def cr2(self):
        return self.state.cr2

    @cr2.setter
    def cr2(self, value):
        self.state.cr2 = value

    @property
    def cr3(self):
        return self.state.cr3

    @cr3.setter
    def cr3(self, value):
        self.state.cr3 = value
        if self.state.cr4 & CR4_PAE and not self.state.efer & EFER_LMA:
            load_pdptes(self.state, NULL, value)
            self.state.exit = EXIT_NONE       # whoever sets registers gets no #GP for reserved bits
        tlb_flush_all(self.state)
        self.refresh()

    @property
    def cr4(self):
        return self.state.cr4

    @cr4.setter
    def cr4(self, value):
        self.state.cr4 = value
        tlb_flush_all(self.state)
        self.refresh()

    @property
    def efer(self):
        return self.state.efer

    @efer.setter
    def efer(self, value):
        self.state.efer = value
        tlb_flush_all(self.state)
        self.refresh()

    @property
    def xcr0(self):
        return self.state.xcr0

    @xcr0.setter
    def xcr0(self, value):
        self.state.xcr0 = value
        self.refresh()

    @property
    def pkru(self):
        return self.state.pkru

    @pkru.setter
    def pkru(self, value):
        self.state.pkru = value
        tlb_flush_all(self.state)

    @property
    def mxcsr(self):
        return self.state.mxcsr

    @mxcsr.setter
    def mxcsr(self, value):
        self.state.mxcsr = value

    @property
    def cpl(self):
        return self.state.cpl

    @cpl.setter
    def cpl(self, value):
        self.state.cpl = value
        self.refresh()

    @property
    def activity(self):
        """0 active, 1 HLT, 2 shutdown, 3 waiting for a start-up IPI, 4 MWAIT."""
        return self.state.activity

    @activity.setter
    def activity(self, value):
        self.state.activity = value

    @property
    def in_smm(self):
        return bool(self.state.in_smm)

    @property
    def smbase(self):
        return self.state.smbase

    @property
    def gdtr(self):
        view = TableView()
        (<TableView>view).cpu = self
        return view

    @property
    def idtr(self):
        view = TableView()
        (<TableView>view).cpu = self
        (<TableView>view).interrupt = True
        return view

    def dr(self, n: int) -> int:
        """Debug register 0..7."""
        return self.state.dr[<int>n]

    def set_dr(self, n: int, value: int) -> None:
        """Sets debug register 0..7 without the checks that MOV DR makes."""
        self.state.dr[<int>n] = value
        tlb_flush_all(self.state)

    def xmm(self, n: int) -> int:
        """XMM register n as a 128-bit integer."""
        return self.state.vec[<int>n].q[0] | (<object>self.state.vec[<int>n].q[1] << 64)

    def set_xmm(self, n: int, value: int) -> None:
        self.state.vec[<int>n].q[0] = value & 0xFFFFFFFFFFFFFFFF
        self.state.vec[<int>n].q[1] = value >> 64

    def ymm(self, n: int) -> int:
        """YMM register n as a 256-bit integer."""
        cdef Vec* v = &self.state.vec[<int>n]
        return self.xmm(n) | <object>v.q[2] << 128 | <object>v.q[3] << 192

    def set_ymm(self, n: int, value: int) -> None:
        self.set_xmm(n, value & (1 << 128) - 1)
        self.state.vec[<int>n].q[2] = value >> 128 & 0xFFFFFFFFFFFFFFFF
        self.state.vec[<int>n].q[3] = value >> 192

    def fpu(self) -> dict:
        """The x87 state: control, status, valid (bit set = physical register not empty), st (by ST number: mantissa, sign
        and exponent), opcode, and the two pointers."""
        cdef Fpu* f = &self.state.fpu
        cdef int top = (f.status >> 11) & 7
        return {
            "control": f.control, "status": f.status, "valid": f.valid, "opcode": f.opcode,
            "st": [(f.st[(top + n) & 7].mantissa, f.st[(top + n) & 7].sign_exponent) for n in range(8)],
            "instruction_pointer": f.instruction_pointer, "data_pointer": f.data_pointer,
            "instruction_selector": f.instruction_selector, "data_selector": f.data_selector,
        }

    def set_fpu(self, control: int, status: int, valid: int, st) -> None:
        """Sets the x87 state; st lists (mantissa, sign and exponent) by ST number."""
        cdef Fpu* f = &self.state.fpu
        cdef int n, top = (<int>status >> 11) & 7
        f.control = control
        f.status = status
        f.valid = valid
        for n in range(8):
            f.st[(top + n) & 7].mantissa = st[n][0]
            f.st[(top + n) & 7].sign_exponent = st[n][1]

    @property
    def last_fault(self):
        """(vector, error code or None, address) of the last fault raised."""
        cdef Fault* f = &self.state.fault
        return f.vector, (f.error if f.has_error else None), f.address

    def faults(self) -> list:
        """The faults that led to a shutdown, first to last: (vector, error code or None, address)."""
        return [(f.vector, f.error if f.has_error else None, f.address)
                for f in (self.state.first_fault, self.state.second_fault, self.state.fault)]

    def event_counts(self) -> dict:
        """Events since the processor was built: exceptions and external interrupts by vector, and NMIs."""
        cdef int exception = EVENT_EXCEPTION, external = EVENT_EXTERNAL, nmi = EVENT_NMI
        return {
            "exceptions": self.delivered(exception),
            "interrupts": self.delivered(external),
            "nmis": sum(self.delivered(nmi).values()),
        }

    cdef dict delivered(self, int kind):
        cdef int vector
        return {vector: self.state.delivered[kind][vector]
                for vector in range(256) if self.state.delivered[kind][vector]}

    def reset(self) -> None:
        """Power-up state (SDM 3A table 10-1)."""
        reset_processor(self.state, True)

    @property
    def guest_mode(self):
        """0: no guest runs; 1: a guest of SVM; 2: a guest of VMX."""
        return self.state.virt.guest_mode

    @property
    def gif(self):
        """SVM's global interrupt flag."""
        return self.state.virt.gif

    def last_branches(self) -> tuple:
        """What DEBUGCTL.LBR recorded: last branch from, to, and the last one before an interrupt, from, to."""
        return self.state.lbr_from, self.state.lbr_to, self.state.last_int_from, self.state.last_int_to

    def set_gif(self) -> None:
        """Sets SVM's global interrupt flag, as STGI does."""
        self.state.virt.gif = 1

    @property
    def vmcb(self):
        """Physical address of the control block of the last VMRUN."""
        return self.state.virt.vmcb

    @property
    def exit_count(self):
        """Exits from guest mode since the processor was made."""
        return self.state.virt.n_exits

    @property
    def failed_check(self):
        """Row of virt/svm/checks.py that the last VMRUN failed, counted from 0; None where it entered the guest."""
        return self.state.virt.failed_check - 1 if self.state.virt.failed_check else None

    @property
    def in_vmx_operation(self):
        """Between VMXON and VMXOFF."""
        return bool(self.state.vmx.on)

    @property
    def current_vmcs(self):
        """Physical address of the current VMCS; None where there is none."""
        cdef uint64_t pointer = self.state.vmx.vmcs_pointer
        return None if not self.state.vmx.on or pointer == 0xFFFFFFFFFFFFFFFFULL else pointer

    @property
    def failed_vmx_check(self):
        """Number of the row of virt/vmx/checks.py that the last VM entry broke; 0 where it broke none."""
        return self.state.vmx.failed_check

    def exits(self) -> list:
        """The last exits from guest mode, oldest first: (code, information 1, information 2, guest RIP, CS base, CR3,
        instructions retired)."""
        cdef Virtualization* v = &self.state.virt
        cdef uint64_t n = v.n_exits
        cdef ExitRecord* r
        found = []
        for k in range(max(0, <object>n - N_EXIT_RECORDS), n):
            r = &v.exits[<uint64_t>k % N_EXIT_RECORDS]
            found.append((r.code, r.info1, r.info2, r.rip, r.cs_base, r.cr3, r.instructions))
        return found

    def exit_records(self, count: int = N_EXIT_RECORDS) -> list:
        """The last `count` exits (at most 64), oldest first, each a dictionary: what exits() tells and the guest's state
        at the time."""
        cdef Virtualization* v = &self.state.virt
        cdef uint64_t n = v.n_exits
        cdef ExitRecord* r
        found = []
        for k in range(max(0, <object>n - min(count, N_EXIT_RECORDS)), n):
            r = &v.exits[<uint64_t>k % N_EXIT_RECORDS]
            record = dict(r[0])
            record["bytes"] = (<const char*>&r.bytes[0])[:r.n_bytes]
            record["number"] = k
            found.append(record)
        return found

    def exit_counters(self) -> dict:
        """(count, instructions in the guest before, instructions of the hypervisor after) by (guest mode, exit code)."""
        cdef ExitCounter* e
        cdef uint32_t slot
        found = {}
        for slot in range(0x1A0):
            e = &self.state.virt.exit_counters[slot]
            if not e.count:
                continue
            if slot >= 0x120:
                key = (2, slot - 0x120)
            elif slot >= 0x110:
                key = (1, (1 << 64) - (slot - 0x110))
            else:
                key = (1, slot if slot < 0x100 else slot + 0x300)
            found[key] = (e.count, e.guest_time, e.host_time)
        return found

    def virtualization_facts(self) -> dict:
        """What the rows about control blocks ask of the processor model: valid bits, address width, features."""
        cdef ProcessorModel* m = <ProcessorModel*>self.state.model
        return {
            "cr4_valid": m.cr4_valid, "efer_valid": m.efer_valid, "asids": m.asids,
            "physical_reserved": self.state.maxphyaddr_mask, "lm": int("lm" in self.model.features),
            "npt": int("npt" in self.model.features), "vnmi": int("vnmi" in self.model.features),
            "avic": int("avic" in self.model.features),
        }

    def fault_places(self) -> list:
        """Where the faults of faults() were met, each a dictionary: rip, rsp, cs, cr3, cpl, bytes at rip ..."""
        cdef FaultPlace* p
        found = []
        for k in range(3):
            p = &self.state.fault_places[<int>k]
            place = dict(p[0])
            place["bytes"] = (<const char*>&p.bytes[0])[:p.n_bytes]
            found.append(place)
        return found

    def saved_state(self) -> bytes:
        """The saved sections as bytes: equal exactly when two processors are in the same architectural state."""
        cdef CpuState* c = self.state
        cdef uint64_t flags = read_rflags(c)
        cdef const char* start = <const char*>&c.rflags
        cdef const char* end = <const char*>&c.saved_end
        result = (<const char*>&c.r[0])[:16 * 8] + (<const char*>&c.r[REG_RIP])[:8] + (<const char*>&flags)[:8]
        result += start[:end - start]
        start = <const char*>&c.virt
        end = <const char*>&c.virt.saved_end
        result += start[:end - start]
        start = <const char*>&c.vmx
        end = <const char*>&c.vmx.saved_end
        result += start[:end - start]
        start = <const char*>&c.svm
        end = <const char*>&c.svm.saved_end
        return result + start[:end - start]

    def __repr__(self):
        return f"<Processor {self.index} rip={self.rip:#x} cpl={self.cpl} instructions={self.instructions}>"


cdef class Engine:
    """All processors of a machine and the loop that runs them.

    memory: guest-physical memory; wiring: the board; clock: virtual time; signals: one CpuSignals for each processor;
    model: an x86emu.isa.models.CpuModel.  Raises EmulationError where the engine cannot go on, and whatever a device's
    handler raised.
    """

    def __init__(self, PhysicalMemory memory, Wiring wiring, Clock clock, list signals, model):
        cdef Processor cpu
        cdef int index
        cdef CpuSignals wires
        if not 1 <= len(signals) <= 64:
            raise ValueError(f"{len(signals)} processors; the engine runs 1 to 64")
        self.memory = memory
        self.wiring = wiring
        self.clock = clock
        self.model = model
        self.quantum = 4000 if len(signals) > 1 else 1000000
        self.cpus = []
        self.stop_reason = None
        memory.set_wiring(wiring)
        wiring.board.engine = &self.schedule
        wiring.board.elapsed = slice_elapsed
        wiring.board.shorten = shorten_slice
        self.schedule.base = clock.base
        memory.shared.n_cpus = 0
        for index, wires in enumerate(signals):
            cpu = Processor.__new__(Processor)
            cpu.index = index
            cpu.memory = memory
            cpu.signals = wires
            cpu.model = model
            cpu.tables = ModelTables(model, len(signals), index)
            cpu.state.index = index
            cpu.state.signals = &wires.wires
            cpu.state.board = &wiring.board
            cpu.state.shared = &memory.shared
            cpu.state.object = <void*>cpu
            cpu.tables.install(cpu.state)
            wires.wires.cpu = cpu.state
            wires.wires.kick = kick_cpu
            memory.shared.cpus[index] = cpu.state
            memory.shared.n_cpus = index + 1
            self.cpus.append(cpu)
        for cpu in self.cpus:
            reset_processor(cpu.state, True)

    def __dealloc__(self):
        cdef Processor cpu
        if self.wiring is not None:
            self.wiring.board.engine = NULL
            self.wiring.board.elapsed = NULL
            self.wiring.board.shorten = NULL
        if self.memory is not None:
            self.memory.shared.n_cpus = 0
        if self.cpus is not None:
            for cpu in self.cpus:
                cpu.signals.wires.kick = NULL
                cpu.signals.wires.cpu = NULL

    @property
    def instructions(self):
        """Instructions retired by all processors together."""
        return sum(cpu.instructions for cpu in self.cpus)

    def flush(self):
        """Forgets every decoded trace and every cached translation."""
        cdef Processor cpu
        flush_traces(&self.memory.shared)
        for cpu in self.cpus:
            tlb_flush_everything(cpu.state)

    def trace_statistics(self):
        """Counts of the trace cache: built since the last flush, flushes, made stale by writes."""
        cdef Shared* s = &self.memory.shared
        return {"traces": s.n_traces, "flushes": s.n_flushes, "stale": s.n_stale}

    def set_hook(self, hook) -> None:
        """Calls hook(cpu) before every instruction from now on; None ends it. Other code variants run while it is set."""
        cdef Processor cpu
        self.hook = hook
        if hook is not None:
            self.memory.shared.hook = call_hook
            self.memory.shared.hook_object = <void*>self
        else:
            self.memory.shared.hook = NULL
            self.memory.shared.hook_object = NULL
        for cpu in self.cpus:
            if hook is not None:
                cpu.state.mode |= MODE_HOOKED
            else:
                cpu.state.mode &= ~<uint32_t>MODE_HOOKED
            cpu.state.link = NULL
            kick_cpu(cpu.state)

    def set_exit_hook(self, hook) -> None:
        """Calls hook(cpu) at every exit from guest mode from now on, once it is recorded; None ends it."""
        self.exit_hook = hook
        if hook is None:
            self.memory.shared.exit_hook = NULL
            return
        self.memory.shared.exit_hook = call_exit_hook
        self.memory.shared.hook_object = <void*>self

    def run(self, max_instructions=None) -> str:
        """Runs until something asks to stop; returns why.

        max_instructions: of all processors together. Returns "instructions" (the limit), "stop" (a device set
        board.stop), "triple fault", or "halted" (every processor halted and nothing is scheduled).
        Raises what a device handler raised, and KeyboardInterrupt.
        """
        cdef int64_t left = FOREVER if max_instructions is None else max_instructions
        cdef int64_t deadline, span, executed, longest, now, done
        cdef int end, active, index, n_cpus = len(self.cpus)
        cdef Processor cpu
        cdef Clock clock = self.clock
        cdef Board* board = &self.wiring.board
        cdef int rounds = 0
        cdef list cpus = self.cpus
        self.stop_reason = None
        while True:
            if not self.round_cut:          # what is due waits for the end of a round that a limit has cut
                clock.run_due()
            if self.wiring.exception is not None:
                error = self.wiring.exception
                self.wiring.exception = None
                board.stop = 0
                raise error
            if board.stop:
                board.stop = 0
                self.stop_reason = "stop"
                return "stop"
            if left <= 0:
                self.stop_reason = "instructions"
                return "instructions"
            deadline = min(clock.next_deadline(), self.guest_deadline())
            if self.round_cut:
                now, longest, active, index = self.round_start, self.round_longest, self.round_active, self.round_next
                span, done = self.round_span, self.round_done
            else:
                now, longest, active, index = clock.base, 0, 0, 0
                span = done = 0
            self.round_cut = False
            while index < n_cpus:
                cpu = cpus[index]
                if not span:                # a turn from its start
                    span = min(deadline - now, self.quantum)
                    if span <= 0:
                        span = 1
                clock.base = self.schedule.base = now + done
                self.schedule.running = cpu.state
                end = run_slice(cpu.state, min(span, left), &executed)
                self.schedule.running = NULL
                left -= executed
                done += executed
                if done > longest:
                    longest = done
                if left <= 0 and n_cpus > 1 and end != SLICE_STOP and (end != SLICE_IDLE and executed < span
                                                                       or index + 1 < n_cpus):
                    # The limit cuts the round: the next run() goes on in the middle of it, so that cuts change nothing.
                    self.round_cut = True
                    if end != SLICE_IDLE and executed < span:
                        self.round_next, self.round_span, self.round_done = index, span - executed, done
                        self.round_active = active
                    else:
                        self.round_next, self.round_span, self.round_done = index + 1, 0, 0
                        self.round_active = active + (end != SLICE_IDLE)
                    self.round_start, self.round_longest = now, longest
                    break
                if end != SLICE_IDLE:
                    active += 1
                if end == SLICE_STOP:
                    if cpu.state.stop_reason:
                        clock.base = now + longest
                        reason = cpu.state.stop_reason
                        cpu.state.stop_reason = 0
                        if reason == STOP_TRIPLE_FAULT:
                            self.stop_reason = "triple fault"
                            return "triple fault"
                        raise EmulationError(self.explain(cpu))
                    break
                if left <= 0:
                    break
                if n_cpus > 1:
                    deadline = clock.next_deadline()
                index += 1
                span = done = 0
            clock.base = now + longest
            self.schedule.base = clock.base
            if self.round_cut:
                continue
            if not active and not board.stop and self.wiring.exception is None:
                deadline = min(clock.next_deadline(), self.guest_deadline())
                if deadline == FOREVER:
                    if not self.awake():
                        self.stop_reason = "halted"
                        return "halted"
                elif deadline > clock.base:
                    clock.base = deadline
                    self.schedule.base = deadline
            rounds += 1
            if rounds & 15 == 0:
                PyErr_CheckSignals()
                with nogil:
                    pass

    cdef int64_t guest_deadline(self):
        """When the earliest preemption timer of a VMX guest expires that no instructions bring nearer."""
        cdef int64_t first = FOREVER
        cdef Processor cpu
        for cpu in self.cpus:
            if cpu.state.virt.guest_mode == GUEST_VMX and cpu.state.activity != ACTIVITY_ACTIVE:
                first = min(first, vmx_timer_deadline(cpu.state))
        return first

    def awake(self):
        """Whether any processor has something to do: it is active, or a wire that would wake it is up."""
        cdef Processor cpu
        for cpu in self.cpus:
            if cpu.state.activity == ACTIVITY_ACTIVE:
                return True
            if cpu.signals.wires.reset:
                return True
            if cpu.state.virt.guest_mode == GUEST_VMX:
                if vmx_awake(cpu.state) or vmx_timer_deadline(cpu.state) != FOREVER:
                    return True
                continue
            if not cpu.state.virt.gif:
                continue              # SVM's global interrupt flag holds everything else off
            if (cpu.signals.wires.intr and (cpu.state.rflags & FLAG_IF or cpu.state.virt.guest_mode)
                    and cpu.state.activity != ACTIVITY_WAIT_FOR_SIPI):
                return True
            if cpu.signals.wires.nmi and not cpu.state.nmi_blocked and cpu.state.activity != ACTIVITY_WAIT_FOR_SIPI:
                return True
            if cpu.signals.wires.init and cpu.state.vmx.on and cpu.state.virt.guest_mode == GUEST_NONE:
                pass             # held off in VMX root operation
            elif cpu.signals.wires.init:
                return True
            if cpu.signals.wires.reset or cpu.signals.wires.sipi or cpu.signals.wires.smi:
                return True
        return False

    def explain(self, cpu):
        """A sentence on where a processor is."""
        return f"processor {cpu.index} cannot go on at {cpu.cs.selector:#x}:{cpu.rip:#x}"

    def step(self, cpu=None) -> None:
        """One instruction on one processor (the first unless given); events that are due run before it."""
        cdef int64_t executed
        cdef Processor which = self.cpus[0] if cpu is None else cpu
        self.clock.run_due()
        self.schedule.base = self.clock.base
        self.schedule.running = which.state
        run_slice(which.state, 1, &executed)
        self.schedule.running = NULL
        self.clock.base += executed
        if self.wiring.exception is not None:
            error = self.wiring.exception
            self.wiring.exception = None
            self.wiring.board.stop = 0
            raise error


cdef void call_hook(CpuState* c, Insn* i) noexcept nogil:
    cdef uint64_t rip = c.r[REG_RIP]
    c.r[REG_RIP] = rip_of(c, i)
    c.current = i
    call_python_hook(c)
    c.current = NULL
    c.r[REG_RIP] = rip

cdef void call_python_hook(CpuState* c) noexcept with gil:
    cdef Engine engine = <Engine>c.shared.hook_object
    try:
        engine.hook(<object>c.object)
    except BaseException as error:
        engine.wiring.exception = error
        c.board.stop = 1
        c.exit = EXIT_STOP


cdef void call_exit_hook(CpuState* c) noexcept with gil:
    cdef Engine engine = <Engine>c.shared.hook_object
    try:
        engine.exit_hook(<object>c.object)
    except BaseException as error:
        engine.wiring.exception = error
        c.board.stop = 1


x86emu.core.builder.link_handlers()
globals()["Cpu"] = Processor
