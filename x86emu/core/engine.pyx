# cython: language_level=3
"""The run loop of one processor: between traces it looks at faults, wires and the budget (Intel SDM volume 3A, 6.9).

Priority among what waits between two instructions follows SDM 3A table 6-2: reset, SMI and INIT, debug traps of the
previous instruction, NMI, maskable interrupts, then instruction breakpoints and the fetch itself.
"""
from libc.string cimport memset
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.flags cimport flags_eager
from x86emu.core.builder cimport find_trace
from x86emu.core.resume cimport wires_up
from x86emu.core.trace cimport flush_traces
from x86emu.core.tlb cimport tlb_flush_everything
from x86emu.core.mode cimport refresh_mode, refresh_segment
from x86emu.core.interrupts cimport deliver_event, deliver_fault, check_debug_trap, instruction_breakpoints, raise_debug
from x86emu.core.interrupts cimport record_branch, DEBUGCTL_LBR, DEBUGCTL_BTF
from x86emu.core.interrupt_instructions cimport enters_handler
from x86emu.core.system_calls cimport is_syscall
from x86emu.core.model cimport power_on_registers, init_registers, ProcessorModel, VENDOR_AMD
from x86emu.core.smm cimport enter_smm
from x86emu.core.svm cimport *
from x86emu.core.svm_exit cimport svm_exit
from x86emu.core.avic cimport avic_candidate, avic_take
from x86emu.core.vmx cimport vmx_reset, vmx_watch
from x86emu.core.vmx_exit cimport vmx_take_wires
from x86emu.core.vmx_timer cimport vmx_watch_timer
from x86emu.core.halting cimport monitor_triggered

cdef enum:
    DR6_BS = 0x4000


cdef int64_t slice_elapsed(void* schedule) noexcept nogil:
    cdef Cpu* c = (<Schedule*>schedule).running
    if c == NULL:
        return 0
    return retired(c) - c.retired_base

cdef int64_t virtual_now(Cpu* c) noexcept nogil:
    cdef Schedule* s = <Schedule*>c.board.engine
    if s == NULL:
        return 0
    return s.base + slice_elapsed(s)

cdef int64_t told_now(Cpu* c) noexcept nogil:
    # Processors take turns over the same span of time, so the second one's time goes back to where the first one's began.
    # Synchronized TSCs never do that (SDM 3B 18.17: invariant TSC), and systems that see it stop trusting them.
    cdef Schedule* s = <Schedule*>c.board.engine
    cdef int64_t now = virtual_now(c)
    if s != NULL and s.several:
        if now <= s.told:
            now = s.told + 1
        s.told = now
    return now

cdef void kick(void* cpu) noexcept nogil:
    """Makes the running trace chain come back at the next boundary; what was left of the slice is given back there."""
    cdef Cpu* c = <Cpu*>cpu
    if c.budget > 0:
        c.deferred += c.budget
        c.slice -= c.budget
        c.budget = 0

cdef void shorten_slice(void* schedule, int64_t deadline) noexcept nogil:
    """Something earlier than the slice's end was scheduled: the slice ends at the next boundary."""
    cdef Cpu* c = (<Schedule*>schedule).running
    if c != NULL:
        if c.budget > 0:
            c.slice -= c.budget
            c.budget = 0
        c.deferred = 0

cdef void real_mode_segment(Cpu* c, int n, uint16_t selector, uint64_t base, uint32_t attributes) noexcept nogil:
    c.seg[n].selector = selector
    c.seg[n].base = base
    c.seg[n].limit = 0xFFFF
    c.seg[n].attributes = attributes
    refresh_segment(c, n)

cdef void reset_processor(Cpu* c, bint power_on) noexcept nogil:
    """SDM 3A table 10-1: power-up and reset, or INIT."""
    cdef int n
    memset(c.r, 0, sizeof(c.r))
    flags_eager(c, 0)
    c.rflags = 2
    c.exit = EXIT_NONE
    c.interrupt_shadow = 0
    c.nmi_blocked = 0
    c.in_smm = 0
    c.link = NULL
    c.current = NULL
    memset(&c.fault, 0, sizeof(Fault))
    memset(&c.first_fault, 0, sizeof(Fault))
    memset(&c.second_fault, 0, sizeof(Fault))
    if power_on:
        power_on_registers(c)
    else:
        init_registers(c)
    for n in range(6):
        real_mode_segment(c, n, 0, 0, 0x93)
    real_mode_segment(c, CS, 0xF000, 0xFFFF0000ULL, 0x9B)
    real_mode_segment(c, LDTR, 0, 0, 0x82)
    real_mode_segment(c, TR, 0, 0, 0x8B)
    c.gdtr.base = 0
    c.gdtr.limit = 0xFFFF
    c.idtr.base = 0
    c.idtr.limit = 0xFFFF
    c.virt.guest_mode = GUEST_NONE
    c.virt.second_level = SECOND_LEVEL_NONE
    c.virt.smm_guest_mode = GUEST_NONE
    c.virt.virtual_interrupt = 0
    c.virt.injecting = 0
    c.virt.gif = 1
    c.svm.avic_enabled = 0
    c.svm.x2avic = 0
    c.svm.avic_store = 0
    c.svm.software_event = 0
    c.svm.virtual_nmi_enabled = 0
    c.svm.virtual_nmi = 0
    c.svm.guest_mode_execute_trap = 0
    forget_control_block(c)
    vmx_reset(c)
    c.r[REG_RIP] = 0xFFF0
    c.activity = ACTIVITY_ACTIVE if c.index == 0 else ACTIVITY_WAIT_FOR_SIPI
    tlb_flush_everything(c)
    refresh_mode(c)

cdef void start_up(Cpu* c, uint32_t vector) noexcept nogil:
    """A start-up IPI (SDM 3A 9.4.4.1)."""
    real_mode_segment(c, CS, <uint16_t>(vector << 8), <uint64_t>vector << 12, 0x9B)
    c.r[REG_RIP] = 0
    c.activity = ACTIVITY_ACTIVE
    refresh_mode(c)

cdef inline bint active(Cpu* c) noexcept nogil:
    if c.activity == ACTIVITY_MWAIT and monitor_triggered(c):
        c.activity = ACTIVITY_ACTIVE
    return c.activity == ACTIVITY_ACTIVE

cdef bint take_wires_svm(Cpu* c) noexcept nogil:
    """take_wires() where SVM has a say: in a guest, or in the host with the global interrupt flag clear, which holds off
    everything (APM 2, 15.13, 15.17, 15.21).  What is intercepted stays pending for the host."""
    cdef Signals* s = c.signals
    cdef bint guest = c.virt.guest_mode == GUEST_SVM
    cdef bint allowed
    cdef int vector
    if c.activity == ACTIVITY_SHUTDOWN:
        return False
    if not guest or not c.virt.gif:
        if c.activity == ACTIVITY_WAIT_FOR_SIPI:
            return False
        if c.pending_debug and check_debug_trap(c):
            deliver_fault(c)
            return True
        return active(c)
    if s.smi and not c.in_smm:
        if svm_intercepts(c, 3, 2):
            svm_exit(c, SVM_SMI, 0, 0, 0, NULL)
            return True
        s.smi = 0
        enter_smm(c)
        return True
    if s.init and not c.in_smm:
        if svm_intercepts(c, 3, 3):
            svm_exit(c, SVM_INIT, 0, 0, 0, NULL)
            return True
        if c.vm_cr & VM_CR_R_INIT:            # 15.30.1: INIT becomes #SX
            s.init = 0
            deliver_event(c, 30, EVENT_EXCEPTION, 1, 1, 0)
            return True
        s.init = 0
        reset_processor(c, False)
        return c.activity == ACTIVITY_ACTIVE
    s.sipi = 0
    if c.pending_debug and check_debug_trap(c):
        c.activity = ACTIVITY_ACTIVE
        deliver_fault(c)
        return True
    if s.nmi and not c.nmi_blocked and c.interrupt_shadow == 0:
        if svm_intercepts(c, 3, 1):
            svm_exit(c, SVM_NMI, 0, 0, 0, NULL)
            return True
        s.nmi = 0
        c.nmi_blocked = 1
        c.activity = ACTIVITY_ACTIVE
        deliver_event(c, V_NMI, EVENT_NMI, 0, 0, 0)
        return True
    if s.intr and c.interrupt_shadow == 0:
        allowed = c.virt.host_if if c.virt.interrupt_masking else c.rflags & FLAG_IF != 0
        if allowed:
            if svm_intercepts(c, 3, 0):
                svm_exit(c, SVM_INTR, 0, 0, 0, NULL)
                return True
            c.activity = ACTIVITY_ACTIVE
            vector = -1
            if s.acknowledge != NULL:
                vector = s.acknowledge(s.controller)
            if vector >= 0:
                deliver_event(c, vector, EVENT_EXTERNAL, 0, 0, 0)
            return True
    if c.svm.virtual_nmi and svm_virtual_nmi_ready(c):
        c.svm.virtual_nmi = 0
        c.svm.virtual_nmi_blocked = 1
        c.activity = ACTIVITY_ACTIVE
        deliver_event(c, V_NMI, EVENT_NMI, 0, 0, 0)
        return True
    if c.svm.avic_enabled:
        if c.virt.virtual_interrupt:
            vector = avic_candidate(c)
            c.virt.virtual_interrupt = vector >= 0
            if vector >= 0 and svm_takes_interrupts(c):
                avic_take(c, vector)
                c.activity = ACTIVITY_ACTIVE
                deliver_event(c, vector, EVENT_EXTERNAL, 0, 0, 0)
                return True
        return active(c)
    if svm_virtual_interrupt_ready(c):
        if svm_intercepts(c, 3, 4):
            svm_exit(c, SVM_VINTR, 0, 0, 0, NULL)
            return True
        c.virt.virtual_interrupt = 0
        c.activity = ACTIVITY_ACTIVE
        deliver_event(c, c.virt.virtual_vector, EVENT_EXTERNAL, 0, 0, 0)
        return True
    return active(c)

cdef bint take_wires(Cpu* c) noexcept nogil:
    """Takes what waits at the processor's pins. False: nothing to run now (halted, waiting for SIPI, shut down)."""
    cdef Signals* s = c.signals
    cdef int vector
    if s.reset:
        s.reset = 0
        reset_processor(c, True)
    if s.a20_masked != c.a20_seen:
        c.a20_seen = s.a20_masked
        tlb_flush_everything(c)
    if unlikely(c.virt.guest_mode == GUEST_SVM or not c.virt.gif):
        return take_wires_svm(c)
    if unlikely(c.virt.guest_mode == GUEST_VMX):
        return vmx_take_wires(c)
    if s.smi and not c.in_smm and c.activity != ACTIVITY_WAIT_FOR_SIPI and c.activity != ACTIVITY_SHUTDOWN:
        s.smi = 0
        enter_smm(c)
    if s.init and not c.in_smm and not c.vmx.on:      # VMX root operation holds INIT off (SDM 3C 24.8)
        s.init = 0                            # a SIPI that is latched beside it came later (CpuSignals.pulse_init)
        reset_processor(c, False)
    if c.activity == ACTIVITY_WAIT_FOR_SIPI:
        if not s.sipi:
            return False
        start_up(c, s.sipi & 0xFF)
        s.sipi = 0
    s.sipi = 0
    if c.activity == ACTIVITY_SHUTDOWN:
        return False
    if c.pending_debug and check_debug_trap(c):
        c.activity = ACTIVITY_ACTIVE
        deliver_fault(c)
        return True
    if s.nmi and not c.nmi_blocked and c.interrupt_shadow == 0:
        s.nmi = 0
        c.nmi_blocked = 1
        c.activity = ACTIVITY_ACTIVE
        deliver_event(c, V_NMI, EVENT_NMI, 0, 0, 0)
        return True
    if s.intr and c.interrupt_shadow == 0:
        if c.rflags & FLAG_IF:
            c.activity = ACTIVITY_ACTIVE
            vector = -1
            if s.acknowledge != NULL:
                vector = s.acknowledge(s.controller)
            if vector >= 0:
                deliver_event(c, vector, EVENT_EXTERNAL, 0, 0, 0)
            return True
        if c.activity == ACTIVITY_MWAIT and c.monitor_armed & 2:
            c.activity = ACTIVITY_ACTIVE      # MWAIT with ECX bit 0: masked interrupts break it too
    if c.activity == ACTIVITY_MWAIT and monitor_triggered(c):
        c.activity = ACTIVITY_ACTIVE
    return c.activity == ACTIVITY_ACTIVE

cdef inline void run_records(Cpu* c, Insn* first) noexcept nogil:
    """Runs a chain of records until one returns without a next."""
    cdef Insn* i
    if LOOP_FORM:
        c.next = first
        while c.next != NULL:
            i = c.next
            c.next = NULL
            i.fn(c, i)
    else:
        first.fn(c, first)

cdef int run_slice(Cpu* c, int64_t instructions, int64_t* executed) noexcept nogil:
    """Runs up to so many instructions; executed tells how many retired."""
    cdef Trace* t
    cdef Trace** link
    cdef uint64_t flushes, bits, was_tf, rip, next_rip
    cdef uint32_t exit, guest_mode
    cdef handler_t first
    cdef bint single, branched
    cdef int end = SLICE_DONE
    cdef int idle_faults = 0
    cdef int64_t fault_budget = -1
    cdef Shared* s = c.shared
    c.slice = instructions
    c.budget = instructions
    c.deferred = 0
    c.current = NULL
    vmx_watch_timer(c)
    while True:
        if c.exit:
            exit = c.exit
            c.exit = EXIT_NONE
            c.link = NULL
            if exit == EXIT_FAULT:
                # A handler whose first instruction faults again and again retires nothing; so that virtual time goes on
                # and a limit is met, every 16th fault without an instruction between counts as one.
                if c.budget == fault_budget:
                    idle_faults += 1
                    if idle_faults == 16:
                        c.budget -= 1
                        idle_faults = 0
                else:
                    idle_faults = 0
                fault_budget = c.budget
                if not deliver_fault(c):
                    c.stop_reason = STOP_TRIPLE_FAULT
                    end = SLICE_STOP
                    break
            elif exit == EXIT_YIELD:
                if c.activity == ACTIVITY_ACTIVE and s.n_cpus > 1:
                    break
            else:
                end = SLICE_STOP
                break
        if c.activity != ACTIVITY_ACTIVE or wires_up(c):
            c.link = NULL
            if not take_wires(c):
                if c.activity == ACTIVITY_SHUTDOWN and c.virt.guest_mode != GUEST_VMX:   # a guest's: a VM entry asked for it
                    c.stop_reason = STOP_TRIPLE_FAULT
                    end = SLICE_STOP
                else:
                    end = SLICE_IDLE
                break
            if c.exit or c.activity != ACTIVITY_ACTIVE:      # an event that could not be delivered shut it down
                continue
        if c.board.stop:
            end = SLICE_STOP
            break
        if c.budget <= 0:
            if c.deferred <= 0:
                break
            c.budget += c.deferred
            c.slice += c.deferred
            c.deferred = 0
            if unlikely(c.vmx.timer_on != 0):    # it may be what the slice was cut for
                vmx_watch_timer(c)
                continue
        link = c.link
        c.link = NULL
        if unlikely(s.flush_wanted):
            flush_traces(s)
            link = NULL
        was_tf = c.rflags & FLAG_TF
        single = (was_tf != 0 or c.interrupt_shadow != 0 or (c.vmx.trap_flag | c.vmx.alone) != 0
                  or c.debugctl & DEBUGCTL_LBR != 0)
        if unlikely(c.dr[7] & 0xFF):
            single = True
            bits = 0 if c.rflags & FLAG_RF else instruction_breakpoints(c, (c.r[REG_RIP] + c.cs_base) & c.ea_mask)
            # Behind MOV SS Intel's processors ignore instruction breakpoints (SDM 3A 6.8.3), AMD's do not.
            if bits and (c.interrupt_shadow != 2 or (<ProcessorModel*>c.model).vendor == VENDOR_AMD):
                raise_debug(c, bits, 0)
                continue
        flushes = s.n_flushes
        t = find_trace(c, single)
        if t == NULL:
            continue
        if not single and t.n > c.budget:
            t = find_trace(c, True)
            link = NULL
            single = True
            if t == NULL:
                continue
        if link != NULL and not single and t.second_page == 0xFFFFFFFFFFFFFFFFULL and flushes == s.n_flushes:
            link[0] = t
        if not single:
            if c.rflags & FLAG_RF:
                c.rflags &= ~<uint64_t>FLAG_RF
            c.budget -= t.n
            c.interrupt_shadow_before = 0
            run_records(c, &t.insns[0])
            continue
        # ---- one instruction: single step, interrupt shadow, breakpoints, the end of a budget
        c.interrupt_shadow_before = c.interrupt_shadow
        c.interrupt_shadow = 0
        if c.rflags & FLAG_RF:
            c.rflags &= ~<uint64_t>FLAG_RF
        c.budget -= t.n
        kick(c)                      # nothing is left, so that the instruction's end or branch does not go on by itself
        guest_mode = c.virt.guest_mode
        first = t.insns[1 if guest_mode and t.n_records > 1 else 0].fn        # behind the INTERCEPT record
        if was_tf and (enters_handler(first) or is_syscall(first)):
            was_tf = 0               # software interrupts clear TF and are not trapped; SYSCALL sees to it itself
        c.vmx.alone = 0
        rip = c.r[REG_RIP]
        next_rip = rip + t.n_bytes if (c.mode & MODE_CODE) == MODE_CODE64 else <uint32_t>(rip + t.n_bytes)
        run_records(c, &t.insns[0])
        if c.exit != EXIT_FAULT:
            c.interrupt_shadow_before = 0        # what faults or exits from here on is not this instruction
        # An instruction that stays where it is has jumped there (it left a link), or is an unfinished repetition.
        branched = (c.r[REG_RIP] != next_rip and c.exit != EXIT_FAULT and c.virt.guest_mode == guest_mode
                    and (c.r[REG_RIP] != rip or c.link != NULL))
        if unlikely(c.debugctl & DEBUGCTL_LBR) and branched:
            record_branch(c, rip)
        if was_tf and c.debugctl & DEBUGCTL_BTF and not branched:
            was_tf = 0           # single step on branches (SDM 3B 18.4.3)
        c.link = NULL
        if unlikely(c.vmx.trap_flag) and guest_mode == GUEST_VMX and c.exit != EXIT_FAULT:
            c.vmx.trap_pending = 1               # monitor trap flag: an instruction has ended
            vmx_watch(c)
        # The trap of an instruction that loaded SS is lost; the next one's comes (SDM 3A 6.8.3).
        if (was_tf and c.virt.guest_mode == guest_mode and c.exit != EXIT_FAULT and c.exit != EXIT_STOP
                and c.interrupt_shadow != 2):
            c.pending_debug |= DR6_BS
    executed[0] = c.slice - c.budget
    c.retired_base += executed[0]
    c.slice = 0
    c.budget = 0
    c.deferred = 0
    return end
