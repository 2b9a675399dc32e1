# cython: language_level=3
# VMX state of one processor (SDM 3C chapters 24 to 28).
from libc.stdint cimport uint8_t, uint32_t, uint64_t, int64_t

cdef struct Vmx:
    # --- saved ---
    uint32_t on                  # in VMX operation
    uint64_t vmxon_pointer
    uint64_t vmcs_pointer        # the current VMCS; all ones for none
    # The running guest's controls, as VM entry checked them
    uint32_t pin, primary, secondary, exit_controls, entry_controls
    uint32_t exception_bitmap, error_mask, error_match
    uint64_t cr0_mask, cr4_mask, cr0_shadow, cr4_shadow
    uint64_t io_bitmap_a, io_bitmap_b, msr_bitmap, virtual_apic, apic_access
    uint64_t tsc_offset
    uint64_t eptp
    uint64_t timer_end           # TSC at which the preemption timer reaches 0
    uint32_t timer_on            # bits of vmx_timer.pxd
    uint32_t host_nmi_blocked
    uint64_t tertiary
    uint64_t tsc_multiplier      # 16.48 fixed point
    uint64_t xss_bitmap
    uint64_t ple_first, ple_last # TSC at the first and last PAUSE of a loop
    uint64_t hlat_root, hlat_prefix  # prefix: bits that an address must have set; hlat_root counts where tertiary says so
    uint64_t pml_address, ve_information, sub_page_table
    uint32_t virtual_ready       # a pending virtual interrupt is recognized
    uint32_t apic_write          # 1000h | offset in the virtual-APIC page of the write that is to be emulated
    uint32_t after_reason        # basic exit reason + 1 of a trap-like exit that the instruction before has caused
    uint64_t after_qualification
    uint32_t alone               # the next instruction runs by itself, so that what it causes comes right after it
    int64_t iret_at              # instructions retired when an IRET began that unblocked NMIs
    uint32_t iret_unblocks
    uint32_t trap_flag           # monitor trap flag
    uint32_t trap_pending        # an MTF VM exit is pending
    uint32_t tpr_pending         # the virtual TPR was written: compare it with the threshold
    uint32_t failed_check        # number of the row of virt/vmx/checks.py that the last VM entry broke; 0 none
    # a requested exit: what EVENT_WORLD_EXIT carries beside Virtualization.exit_*
    uint32_t exit_length, exit_information
    uint64_t exit_linear, exit_guest_physical
    uint32_t saved_end
    # --- derived ---
    uint8_t* vmcs                # host address of the current VMCS's region; NULL for none
    uint64_t walk_linear         # linear address of the walk under way
    uint32_t walk_linear_valid
    uint32_t walk_page           # of the page walked to: 1 user-mode address, 2 writable, 4 execute-disable
    uint32_t access_size         # bytes of the access under way
    uint32_t ve_suppressed       # the entry behind the last EPT violation suppresses #VE
    uint32_t uncached            # the last translation must not be cached
    uint32_t verify_paging       # guest-paging verification: an entry of the walk under way was not paging-write
    uint64_t checked_pointer[4]  # VMCSs of which a validated copy is kept; all ones for none
    uint8_t checked[4][2048]
    uint64_t checked_environment[4][64]
