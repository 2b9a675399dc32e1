# cython: language_level=3
# Virtual machine extensions: the current VMCS, VM entry and VM exit (SDM 3C chapters 25 to 28).
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *

include "vmcs_layout.pxi"

cdef enum ExitReason:        # virt/vmx/exit_reasons.py
    REASON_EXCEPTION = 0
    REASON_EXTERNAL = 1
    REASON_TRIPLE_FAULT = 2
    REASON_INIT = 3
    REASON_SIPI = 4
    REASON_INTERRUPT_WINDOW = 7
    REASON_NMI_WINDOW = 8
    REASON_TASK_SWITCH = 9
    REASON_VMCALL = 18
    REASON_CR_ACCESS = 28
    REASON_DR_ACCESS = 29
    REASON_IO = 30
    REASON_RDMSR = 31
    REASON_WRMSR = 32
    REASON_ENTRY_GUEST_STATE = 33
    REASON_ENTRY_MSR = 34
    REASON_MWAIT = 36
    REASON_TRAP_FLAG = 37
    REASON_TPR_THRESHOLD = 43
    REASON_APIC_ACCESS = 44
    REASON_VIRTUALIZED_EOI = 45
    REASON_DESCRIPTOR_TABLE = 46
    REASON_LOCAL_TABLE = 47
    REASON_EPT_VIOLATION = 48
    REASON_EPT_MISCONFIGURATION = 49
    REASON_RDTSCP = 51
    REASON_TIMER = 52
    REASON_APIC_WRITE = 56
    REASON_VMFUNC = 59
    REASON_PML_FULL = 62
    REASON_XSAVES = 63
    REASON_XRSTORS = 64
    REASON_SPP = 66

cdef enum:
    INFORMATION_VALID = 0x80000000
    INFORMATION_ERROR = 0x800

cdef inline uint64_t vget(Cpu* c, uint32_t field) noexcept nogil:
    return (<uint64_t*>(c.vmx.vmcs + field))[0]

cdef inline void vput(Cpu* c, uint32_t field, uint64_t value) noexcept nogil:
    (<uint64_t*>(c.vmx.vmcs + field))[0] = value

cdef inline bint in_vmx_operation(Cpu* c) noexcept nogil:
    """An SMI leaves VMX operation until RSM (SDM 3C 32.14.1)."""
    return c.vmx.on and not c.in_smm

cdef inline bint secondary(Cpu* c, int bit) noexcept nogil:
    return (c.vmx.secondary >> bit) & 1

cdef inline bint tertiary(Cpu* c, int bit) noexcept nogil:
    return (c.vmx.tertiary >> bit) & 1

# Host address of a page of RAM, NULL where the page is not plain memory for reading and writing.
cdef uint8_t* vmx_page(Cpu* c, uint64_t physical) noexcept nogil
# VMLAUNCH and VMRESUME after their own checks: 0, with the guest's state in force or the host's where the entry failed
# with a VM exit; or the number of a VM-instruction error.
cdef int vmx_enter(Cpu* c, bint launch) noexcept nogil
# Makes the run loop look for windows, timer and traps between traces.
cdef void vmx_watch(Cpu* c) noexcept nogil
cdef inline bint vmx_iret_unblocks(Cpu* c) noexcept nogil:
    """26.3: with "NMI exiting" and without "virtual NMIs" IRET does not touch blocking by NMI."""
    return not c.vmx.pin >> PIN_NMI_EXITING & 1 or c.vmx.pin >> PIN_VIRTUAL_NMIS & 1

# Whether a value can be the EPT pointer (27.2.1.1).
cdef bint vmx_valid_eptp(Cpu* c, uint64_t eptp) noexcept nogil
# Puts another EPT pointer in force (VM entry, EPTP switching); tlb_take_keys() is the caller's.
cdef void vmx_take_eptp(Cpu* c, uint64_t eptp) noexcept nogil
# The TSC without any guest's offset, at instruction i (NULL: between instructions).
cdef uint64_t vmx_host_tsc(Cpu* c, Insn* i) noexcept nogil
cdef uint64_t capability(Cpu* c, int number) noexcept nogil
cdef void vmx_reset(Cpu* c) noexcept nogil
