# cython: language_level=3
# State of SVM's later parts in one processor (AMD APM volume 2: 15.15 clean bits, 15.21.10 virtual NMI, 15.29 AVIC), and
# what is kept of exits for people.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t

cdef enum:
    N_EXIT_RECORDS = 64
    N_EXIT_COUNTERS = 0x1A0      # see exit_slot() in svm_state.pxd

cdef struct Svm:
    # --- saved ---
    uint32_t virtual_nmi_enabled, virtual_nmi, virtual_nmi_blocked
    uint32_t guest_mode_execute_trap
    uint32_t avic_enabled, x2avic
    uint64_t avic_bar            # guest-physical page of the virtual APIC
    uint64_t avic_backing, avic_logical, avic_physical
    uint32_t avic_max_index
    uint64_t host_last_int_from, host_last_int_to
    uint64_t cached_vmcb         # the control block whose clean areas are in `cached`; all ones for none
    uint8_t cached[0x700]
    uint32_t saved_end
    # --- derived ---
    uint32_t avic_store          # the access under way goes to the virtual APIC: 2000h a load, 1000h | offset a store
    uint32_t software_event      # a software interrupt whose delivery has faulted: kind << 8 | vector; 0 none

cdef struct ExitRecord:          # for explain
    uint64_t code, info1, info2, rip, cs_base, cr3, guest_physical
    int64_t instructions
    uint64_t linear              # guest-linear address of the last walk
    uint64_t cr0, cr4, efer      # the guest's
    uint64_t root                # second-level root
    uint64_t host_cr4, host_efer # what gives the nested tables their form
    uint64_t block               # physical address of the VMCB or VMCS
    uint64_t rax, next_rip, event
    int64_t entered              # instructions retired at the entry
    uint32_t second_level, guest_mode, cpl, mode
    uint32_t failed              # 1 + the row that an entry broke, 0 none
    uint8_t bytes[15]            # of the instruction at RIP
    uint8_t n_bytes

cdef struct ExitCounter:
    uint64_t count
    int64_t guest_time           # retired in the guest before such exits
    int64_t host_time            # retired by the hypervisor from such exits to the next entry

cdef inline uint32_t exit_slot(uint64_t code, bint vmx) noexcept nogil:
    """Counter of an exit: SVM's codes to FFh, then 400h to 40Fh, the negative ones; VMX's basic reasons from 120h."""
    if vmx:
        return 0x120 + (<uint32_t>code & 0x7F)
    if code < 0x100:
        return <uint32_t>code
    if 0x400 <= code < 0x410:
        return 0x100 + <uint32_t>(code & 0xF)
    return 0x110 + (<uint32_t>(0 - code) & 0xF)
