"""VMX capability MSRs 480h to 492h (Intel SDM volume 3D, appendix A) of a processor model: what is modelled, no more.

A first-generation processor (neither EPT nor VPID nor unrestricted guest) has no secondary controls, no virtual NMIs,
no preemption timer, and does not load or save PAT and EFER.
"""

from __future__ import annotations

from collections.abc import Set

REVISION = 0x32
"""VMCS revision identifier: of the layout in virt/vmx/fields.py."""
# Bits by name; the manual's tables 25-5 to 25-15
PIN = {
    "external_interrupt_exiting": 0, "nmi_exiting": 3, "virtual_nmis": 5, "preemption_timer": 6,
    "process_posted_interrupts": 7,
}  # fmt: skip
PRIMARY = {
    "interrupt_window_exiting": 2, "use_tsc_offsetting": 3, "hlt_exiting": 7, "invlpg_exiting": 9, "mwait_exiting": 10,
    "rdpmc_exiting": 11, "rdtsc_exiting": 12, "cr3_load_exiting": 15, "cr3_store_exiting": 16,
    "activate_tertiary_controls": 17, "cr8_load_exiting": 19, "cr8_store_exiting": 20, "use_tpr_shadow": 21,
    "nmi_window_exiting": 22, "mov_dr_exiting": 23, "unconditional_io_exiting": 24, "use_io_bitmaps": 25,
    "monitor_trap_flag": 27, "use_msr_bitmaps": 28, "monitor_exiting": 29, "pause_exiting": 30,
    "activate_secondary_controls": 31,
}  # fmt: skip
SECONDARY = {
    "virtualize_apic_accesses": 0, "enable_ept": 1, "descriptor_table_exiting": 2, "enable_rdtscp": 3,
    "virtualize_x2apic_mode": 4, "enable_vpid": 5, "wbinvd_exiting": 6, "unrestricted_guest": 7,
    "apic_register_virtualization": 8, "virtual_interrupt_delivery": 9, "pause_loop_exiting": 10,
    "rdrand_exiting": 11, "enable_invpcid": 12, "enable_vm_functions": 13, "vmcs_shadowing": 14, "rdseed_exiting": 16,
    "enable_pml": 17, "ept_violation_ve": 18, "enable_xsaves": 20, "mode_based_execute": 22,
    "sub_page_write_permission": 23, "use_tsc_scaling": 25,
}  # fmt: skip
TERTIARY = {"enable_hlat": 1, "ept_paging_write": 2, "guest_paging_verification": 3, "ipi_virtualization": 4}
EXIT = {
    "save_debug_controls": 2, "host_address_space_size": 9, "acknowledge_interrupt_on_exit": 15, "save_pat": 18,
    "load_pat": 19, "save_efer": 20, "load_efer": 21, "save_preemption_timer": 22,
    "load_cet_state": 28, "load_pkrs": 29,
}  # fmt: skip
ENTRY = {
    "load_debug_controls": 2, "ia32e_mode_guest": 9, "load_pat": 14, "load_efer": 15, "load_cet_state": 20,
    "load_pkrs": 22,
}  # fmt: skip

PIN_DEFAULT1, PRIMARY_DEFAULT1, EXIT_DEFAULT1, ENTRY_DEFAULT1 = 0x16, 0x0401E172, 0x00036DFF, 0x000011FF
FIRST_MSR = 0x480
N_MSRS = 0x13


def _bits(table: dict[str, int], without: Set[str] = frozenset()) -> int:
    return sum(1 << bit for name, bit in table.items() if name not in without)


def timer_shift(features: Set[str]) -> int:
    """The bit of the TSC whose changes the preemption timer of a processor with these features counts (A.6).

    Nehalem to Broadwell report 5, processors since Skylake, the first with XSAVES, report 7.
    """
    return 7 if "xsaves" in features else 5


def capability_msrs(features: Set[str]) -> list[int]:
    """Values of MSRs 480h to 492h for a processor with these features; zeros where it has no VMX."""
    if "vmx" not in features:
        return [0] * N_MSRS
    modern = bool(features & {"ept", "vpid", "unrestricted_guest"})
    without: set[str] = set()
    if not modern:
        without |= {
            "virtual_nmis", "preemption_timer", "nmi_window_exiting", "monitor_trap_flag",
            "activate_secondary_controls", "save_pat", "load_pat", "save_efer", "load_efer", "save_preemption_timer",
        }  # fmt: skip
    if "lm" not in features:
        without |= {"host_address_space_size", "ia32e_mode_guest", "cr8_load_exiting", "cr8_store_exiting"}
    if "apic" not in features:
        without |= {"use_tpr_shadow"}
    if "monitor" not in features:
        without |= {"mwait_exiting", "monitor_exiting"}
    for feature, control in (
        ("ept", "enable_ept"), ("vpid", "enable_vpid"), ("unrestricted_guest", "unrestricted_guest"),
        ("rdtscp", "enable_rdtscp"), ("rdrand", "rdrand_exiting"), ("invpcid", "enable_invpcid"),
        ("rdseed", "rdseed_exiting"), ("apic", "virtualize_apic_accesses"), ("x2apic", "virtualize_x2apic_mode"),
        ("apicv", "apic_register_virtualization"), ("apicv", "virtual_interrupt_delivery"),
        ("apicv", "process_posted_interrupts"), ("ple", "pause_loop_exiting"),
        ("eptp_switching", "enable_vm_functions"),
        ("shadow_vmcs", "vmcs_shadowing"), ("pml", "enable_pml"), ("ept_violation_ve", "ept_violation_ve"),
        ("xsaves", "enable_xsaves"), ("ept_mode_based_exec", "mode_based_execute"),
        ("spp", "sub_page_write_permission"), ("tsc_scaling", "use_tsc_scaling"), ("hlat", "enable_hlat"),
        ("ept_paging_write", "ept_paging_write"), ("ept_paging_write", "guest_paging_verification"),
        ("ipi_virt", "ipi_virtualization"),
    ):  # fmt: skip
        if feature not in features:
            without.add(control)
    if "virtualize_apic_accesses" in without:
        without.add("virtualize_x2apic_mode")
    enforced = modern and bool(features & {"cet_ss", "cet_ibt"})
    if not enforced:
        without.add("load_cet_state")
    if not modern or "pks" not in features:
        without.add("load_pkrs")
    tertiary = _bits(TERTIARY, without) if modern else 0
    if not tertiary:
        without.add("activate_tertiary_controls")
    pin = _bits(PIN, without) | PIN_DEFAULT1
    primary = _bits(PRIMARY, without) | PRIMARY_DEFAULT1
    exit_ = _bits(EXIT, without) | EXIT_DEFAULT1
    entry = _bits(ENTRY, without) | ENTRY_DEFAULT1
    secondary = _bits(SECONDARY, without) if modern else 0
    # Without the TRUE MSRs the default-1 class must be 1; with them CR3 and debug-control bits may be 0.
    true_primary0 = PRIMARY_DEFAULT1 & ~(1 << 15 | 1 << 16)
    true_exit0, true_entry0 = EXIT_DEFAULT1 & ~(1 << 2), ENTRY_DEFAULT1 & ~(1 << 2)
    basic = REVISION | 4096 << 32 | 6 << 50 | 1 << 54 | (1 << 55 if modern else 0)
    if "lm" not in features:
        basic |= 1 << 48
    if enforced:
        basic |= 1 << 56  # any exception may be injected with or without an error code: #CP came late to the list
    misc = (
        (timer_shift(features) if modern else 0)
        | (1 << 5 if "lm" in features else 0)  # VM exits store LMA into "IA-32e mode guest"
        | 0x7 << 6  # HLT, shutdown and wait-for-SIPI activity
        | 4 << 16  # CR3 targets
        | 0 << 25  # 512 MSRs in each list
        | (1 << 29 if "shadow_vmcs" in features else 0)  # VMWRITE to any field
        | (1 << 30 if "pml" in features else 0)  # software events may be injected with length 0
    )
    cr4_fixed0 = 0x2000
    ept_vpid = 0
    if "ept" in features:
        ept_vpid |= 1 | 1 << 6 | 1 << 8 | 1 << 14 | 1 << 16 | 1 << 20 | 1 << 25 | 1 << 26
        if "pdpe1gb" in features:
            ept_vpid |= 1 << 17
        if "ept_5level" in features:
            ept_vpid |= 1 << 7
        if "ept_mode_based_exec" in features:
            ept_vpid |= 1 << 22  # advanced exit information came with it
        if "unrestricted_guest" in features:
            ept_vpid |= 1 << 21  # accessed and dirty flags came later than EPT
    if "vpid" in features:
        ept_vpid |= 1 << 32 | 0xF << 40
    # of the fields' encodings: the preemption timer or SYSENTER_CS; then what controls bring
    highest_index = 0x17 if modern else 0x15
    for feature, index in (
        ("spp", 0x18), ("tsc_scaling", 0x19), ("ept_paging_write", 0x1A), ("hlat", 0x20), ("ipi_virt", 0x21),
    ):  # fmt: skip
        if feature in features:
            highest_index = index
    values = [
        basic,
        PIN_DEFAULT1 | pin << 32,
        PRIMARY_DEFAULT1 | primary << 32,
        EXIT_DEFAULT1 | exit_ << 32,
        ENTRY_DEFAULT1 | entry << 32,
        misc,
        0x80000021,
        0xFFFFFFFF,
        cr4_fixed0,
        0,  # CR4_FIXED1: the bits that the model has; the core fills it in
        highest_index << 1,
        secondary << 32,
        ept_vpid,
    ]
    if modern:
        values += [
            PIN_DEFAULT1 | pin << 32,
            true_primary0 | primary << 32,
            true_exit0 | exit_ << 32,
            true_entry0 | entry << 32,
            1 if "eptp_switching" in features else 0,
            tertiary,
        ]
    return (values + [0] * N_MSRS)[:N_MSRS]


def exists(features: Set[str], number: int) -> bool:
    """Whether a processor with these features has capability MSR number (480h to 492h)."""
    if "vmx" not in features or not FIRST_MSR <= number < FIRST_MSR + N_MSRS:
        return False
    if number <= 0x48A:
        return True
    values = capability_msrs(features)
    if number == 0x48B:
        return values[0xB] != 0
    if number == 0x48C:
        return values[0xC] != 0
    if number >= 0x491:
        return values[number - 0x480] != 0
    return bool(values[0] >> 55 & 1)
