# cython: language_level=3
"""The engine: its processors (core/processor.pyx), and the loop that gives each its turn.

Several processors run in a deterministic round robin: each gets the same slice of virtual time, at most `quantum`
nanoseconds (one instruction is one nanosecond) and never beyond the next event of the clock; then the clock moves on by
the longest slice that was used.  When all are halted the clock jumps to the next event.
"""
from libc.stdint cimport uint32_t, uint64_t, int64_t
from cpython.exc cimport PyErr_CheckSignals
from x86emu.core.state cimport *
from x86emu.core.state cimport Cpu as CpuState
from x86emu.core.engine cimport *
from x86emu.core.engine cimport kick as kick_cpu
from x86emu.core.memory cimport PhysicalMemory
from x86emu.core.model cimport ModelTables
from x86emu.core.processor cimport Processor
from x86emu.core.tlb cimport set_mode, tlb_flush_everything
from x86emu.core.trace cimport flush_traces
from x86emu.core.vmx_exit cimport vmx_awake
from x86emu.core.vmx_timer cimport vmx_timer_deadline
from x86emu.bus.platform cimport Board, CpuSignals, Wiring
from x86emu.bus.clock cimport Clock

import x86emu.core.builder
from x86emu.errors import EmulationError

cdef int64_t FOREVER = 0x7FFFFFFFFFFFFFFF


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
        self.schedule.several = len(signals) > 1
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
                set_mode(cpu.state, cpu.state.mode | MODE_HOOKED)
            else:
                set_mode(cpu.state, cpu.state.mode & ~<uint32_t>MODE_HOOKED)
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
        cdef int64_t deadline, span, executed, longest, now, done, asleep
        cdef bint woken
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
                woken = False
                if end == SLICE_IDLE:       # a halted guest whose preemption timer expires within its turn
                    asleep = vmx_timer_deadline(cpu.state) - (now + done)
                    if 0 < asleep < span - executed and now + done + asleep < clock.next_deadline():
                        woken = True
                        end = SLICE_DONE
                        done += asleep
                        executed += asleep
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
                if woken:
                    span -= executed
                    continue
                if n_cpus > 1:
                    deadline = min(clock.next_deadline(), self.guest_deadline())
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
