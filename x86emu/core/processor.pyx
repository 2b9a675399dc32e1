# cython: language_level=3
"""A processor as a Python object: its registers, and what it remembers of faults, events and exits from guest mode.

Register names are those of the Intel SDM, volume 1, chapter 3; the records of exits serve `x86emu.virt`.
"""
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from x86emu.core.state cimport *
from x86emu.core.state cimport Cpu as CpuState
from x86emu.core.flags cimport read_rflags, write_rflags
from x86emu.core.engine cimport *
from x86emu.core.model cimport ProcessorModel
from x86emu.core.page_walk cimport load_pdptes
from x86emu.core.tlb cimport tlb_flush_all
from x86emu.core.mode cimport refresh_mode

GPR_NAMES = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
             "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
SEGMENT_NAMES = ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr")
cdef dict _gpr = {name: n for n, name in enumerate(GPR_NAMES)}
cdef dict _segments = {name: n for n, name in enumerate(SEGMENT_NAMES)}


cdef dict place_of(FaultPlace* p):
    place = dict(p[0])
    place["bytes"] = (<const char*>&p.bytes[0])[:p.n_bytes]
    return place


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
    def ssp(self):
        """Shadow-stack pointer."""
        return self.state.ssp

    @ssp.setter
    def ssp(self, value):
        self.state.ssp = value
        self.refresh()

    @property
    def u_cet(self):
        """IA32_U_CET."""
        return self.state.u_cet

    @u_cet.setter
    def u_cet(self, value):
        self.state.u_cet = value
        self.refresh()

    @property
    def s_cet(self):
        """IA32_S_CET."""
        return self.state.s_cet

    @s_cet.setter
    def s_cet(self, value):
        self.state.s_cet = value
        self.refresh()

    @property
    def interrupt_ssp_table(self):
        """IA32_INTERRUPT_SSP_TABLE_ADDR."""
        return self.state.interrupt_ssp_table

    @interrupt_ssp_table.setter
    def interrupt_ssp_table(self, value):
        self.state.interrupt_ssp_table = value
        self.refresh()

    @property
    def pl_ssp(self):
        """IA32_PL0_SSP to IA32_PL3_SSP."""
        return tuple(self.state.pl_ssp[n] for n in range(4))

    @pl_ssp.setter
    def pl_ssp(self, values):
        for n, value in enumerate(values):
            self.state.pl_ssp[<int>n] = value

    @property
    def pkrs(self):
        return self.state.pkrs

    @pkrs.setter
    def pkrs(self, value):
        self.state.pkrs = value
        tlb_flush_all(self.state)

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
        return [place_of(&self.state.fault_places[<int>k]) for k in range(3)]

    def last_exception(self):
        """The last exception delivered while exits were recorded, None for none: ((vector, error code or None, address),
        a place as of fault_places())."""
        cdef Fault* f = &self.state.exception
        if f.kind != EVENT_EXCEPTION:
            return None
        return (f.vector, f.error if f.has_error else None, f.address), place_of(&self.state.exception_place)

    @property
    def shutdown_cause(self):
        """Why the processor is in the shutdown state: ShutdownCause of core/state.pxd; None where it is not."""
        if self.state.activity != ACTIVITY_SHUTDOWN:
            return None
        # a guest that was entered so is no matter of the causes
        return 0 if self.state.virt.guest_mode == GUEST_VMX else self.state.shutdown_cause

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
