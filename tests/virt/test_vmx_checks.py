"""VM-entry checks: one broken VMCS for a row at a time; the core's verdict and Python's agree (SDM 3C, chapter 27)."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from tests.core.bare_machine import CODE
from tests.virt.vmx_guest import BITMAPS, GUEST, GUEST_DATA, VMCS, VmxGuest
from x86emu.isa.vmx_capabilities import PIN, PRIMARY, SECONDARY, TERTIARY, capability_msrs
from x86emu.virt.vmx.checks import CHECKS, broken_checks
from x86emu.virt.vmx.document import checks_page
from x86emu.virt.vmx.fields import FIELDS

ALL_ONES = (1 << 64) - 1
DIRECTORY = 0x105000
WRITTEN = {VMCS, GUEST & ~0xFFF, CODE & ~0xFFF}  # by an entry, and by the test itself
BY_NAME = {check.identity: check for check in CHECKS}


def environment(guest: VmxGuest) -> dict[str, int]:
    """What the core feeds the rows with, from the outside."""
    values = capability_msrs(guest.features)
    extra = 12 if values[0] >> 55 & 1 else 0
    vmcs = guest.vmcs
    secondary = vmcs["secondary_controls"] if vmcs["primary_controls"] >> 31 & 1 else 0
    reserved = ~((1 << guest.machine.engine.model.physical_bits) - 1) & ALL_ONES
    unrestricted = secondary >> 7 & 1
    link = vmcs["vmcs_link_pointer"]
    revision = -1
    if link != ALL_ONES and not link & (reserved | 0xFFF):
        revision = int.from_bytes(guest.memory.read(link, 4), "little")
    virtual_tpr = 0
    if vmcs["primary_controls"] >> 21 & 1:
        virtual_tpr = guest.memory.read((vmcs["virtual_apic_address"] & ~reserved & ~0xFFF) + 0x80, 1)[0]
    return {
        "pin_must": values[1 + extra] & 0xFFFFFFFF, "pin_may": values[1 + extra] >> 32,
        "primary_must": values[2 + extra] & 0xFFFFFFFF, "primary_may": values[2 + extra] >> 32,
        "exit_must": values[3 + extra] & 0xFFFFFFFF, "exit_may": values[3 + extra] >> 32,
        "entry_must": values[4 + extra] & 0xFFFFFFFF, "entry_may": values[4 + extra] >> 32,
        "secondary_may": values[11] >> 32, "physical_reserved": reserved,
        "cr0_fixed0": values[6], "cr0_fixed1": values[7], "cr0_guest_fixed0": values[6] & ~(0x80000001 * unrestricted),
        "cr4_fixed0": values[8], "cr4_fixed1": guest.machine.rdmsr(0x489), "efer_valid": 0xD01, "host_long": 1,
        "in_smm": 0, "virtual_tpr": virtual_tpr, "ept_accessed_dirty": values[12] >> 21 & 1,
        "has_monitor_trap_flag": values[2 + extra] >> 59 & 1, "link_revision": revision, "vmcs_pointer": VMCS,
        "bad_pdptes": 0, "linear_bits": guest.machine.engine.model.linear_bits, "tertiary_may": values[18],
        "vm_functions_may": values[17], "ept_five_levels": values[12] >> 7 & 1, "zero_length": values[5] >> 30 & 1,
        "any_error_code": values[0] >> 56 & 1,
        "cet_reserved": 0x3C0 if "cet_ibt" in guest.features else ALL_ONES,
    }  # fmt: skip


def test_a_valid_vmcs_breaks_nothing() -> None:
    guest = VmxGuest()
    assert broken_checks(guest.vmcs, environment(guest)) == []
    assert guest.run() == 18
    assert guest.cpu.failed_vmx_check == 0


def test_every_row_has_a_place_and_words() -> None:
    assert len(BY_NAME) == len(CHECKS) > 170
    for check in CHECKS:
        assert re.fullmatch(r"27\.[23](\.\d)*", check.clause), check
        assert check.words
        assert check.fields or "bad_pdptes" in check.expression or "secondary" in check.expression


BROKEN: dict[str, dict[str, int]] = {
    "pin_reserved": {"pin_controls": 0},
    "primary_reserved": {"primary_controls": 0},
    "secondary_reserved": {"secondary_controls": 1 << 31 | 2},
    "cr3_targets": {"cr3_target_count": 5},
    "vpid_zero": {"secondary_controls": 0x22},
    "eptp_type": {"ept_pointer": 0x110019},
    "eptp_levels": {"ept_pointer": 0x110016},
    "eptp_accessed_dirty": {"ept_pointer": 0x11005E},
    "eptp_reserved": {"ept_pointer": 0x11001E | 1 << 50},
    "exit_reserved": {"exit_controls": 0},
    "exit_load_list": {"exit_msr_load_count": 1, "exit_msr_load_address": 8},
    "exit_store_list": {"exit_msr_store_count": 1, "exit_msr_store_address": 1 << 50},
    "entry_reserved": {"entry_controls": 0},
    "entry_load_list": {"entry_msr_load_count": 1, "entry_msr_load_address": 8},
    "event_type": {"entry_interruption_information": 0x80000100},
    "event_nmi_vector": {"entry_interruption_information": 0x80000203},
    "event_exception_vector": {"entry_interruption_information": 0x80000320},
    "event_error_code": {"entry_interruption_information": 0x8000030D},
    "event_reserved": {"entry_interruption_information": 0x80001306},
    "event_error_high": {"entry_interruption_information": 0x80000B0D, "entry_exception_error_code": 0x10000},
    "event_length": {"entry_interruption_information": 0x80000480, "entry_instruction_length": 0},
    "host_cr0_fixed": {"host_cr0": 0x80000011},
    "host_cr4_fixed": {"host_cr4": 0x20},
    "host_cr3": {"host_cr3": 1 << 50},
    "host_sysenter_esp": {"host_sysenter_esp": 1 << 60},
    "host_sysenter_eip": {"host_sysenter_eip": 1 << 60},
    "host_selector_rpl": {"host_ds_selector": 0x13},
    "host_cs_null": {"host_cs_selector": 0},
    "host_tr_null": {"host_tr_selector": 0},
    "host_fs_base": {"host_fs_base": 1 << 60},
    "host_gs_base": {"host_gs_base": 1 << 60},
    "host_gdtr_base": {"host_gdtr_base": 1 << 60},
    "host_idtr_base": {"host_idtr_base": 1 << 60},
    "host_tr_base": {"host_tr_base": 1 << 60},
    "space_64": {"host_rip": 1 << 60},
    "cr0_fixed": {"guest_cr0": 0x80000011},
    "cr4_fixed": {"guest_cr4": 0x20},
    "debugctl": {"guest_debugctl": 1 << 40},
    "cr3": {"guest_cr3": 1 << 50},
    "dr7": {"guest_dr7": 1 << 40},
    "sysenter_esp": {"guest_sysenter_esp": 1 << 60},
    "sysenter_eip": {"guest_sysenter_eip": 1 << 60},
    "tr_ti": {"guest_tr_selector": 4},
    "ss_rpl": {"guest_ss_selector": 0x13},
    "base_canonical": {"guest_fs_base": 1 << 60},
    "cs_base": {"guest_cs_base": 1 << 40},
    "ss_base": {"guest_ss_base": 1 << 40},
    "ds_base": {"guest_ds_base": 1 << 40},
    "es_base": {"guest_es_base": 1 << 40},
    "cs_type": {"guest_cs_access_rights": 0xA093},
    "cs_s": {"guest_cs_access_rights": 0xA08B},
    "cs_dpl_code": {"guest_cs_access_rights": 0xA0FB},
    "cs_dpl_conforming": {"guest_cs_access_rights": 0xA0FF},
    "cs_present": {"guest_cs_access_rights": 0xA01B},
    "cs_reserved": {"guest_cs_access_rights": 0xA19B},
    "cs_l_d": {"guest_cs_access_rights": 0xE09B},
    "cs_granularity": {"guest_cs_access_rights": 0x209B},
    "ss_type": {"guest_ss_access_rights": 0xC091},
    "ss_present": {"guest_ss_access_rights": 0xC013},
    "ss_reserved": {"guest_ss_access_rights": 0xC193},
    "ss_granularity": {"guest_ss_access_rights": 0x4093},
    "ds_accessed": {"guest_ds_access_rights": 0xC092},
    "es_readable": {"guest_es_access_rights": 0xC099},
    "fs_s": {"guest_fs_access_rights": 0xC083},
    "gs_dpl": {"guest_gs_selector": 0x13},
    "gs_present": {"guest_gs_access_rights": 0xC013},
    "tr_type": {"guest_tr_access_rights": 0x89},
    "tr_s": {"guest_tr_access_rights": 0x9B},
    "tr_present": {"guest_tr_access_rights": 0x0B},
    "tr_usable": {"guest_tr_access_rights": 0x1008B},
    "ldtr_type": {"guest_ldtr_access_rights": 0x83},
    "gdtr_base": {"guest_gdtr_base": 1 << 60},
    "idtr_limit": {"guest_idtr_limit": 0x10000},
    "rip_canonical": {"guest_rip": 1 << 60},
    "rflags_reserved": {"guest_rflags": 0},
    "rflags_vm": {"guest_rflags": 0x20002},
    "rflags_if": {"entry_interruption_information": 0x80000020},
    "activity_known": {"guest_activity": 4},
    "activity_blocking": {"guest_activity": 1, "guest_interruptibility": 2},
    "activity_event": {"guest_activity": 2, "entry_interruption_information": 0x80000306},
    "interruptibility_reserved": {"guest_interruptibility": 0x20},
    "interruptibility_both": {"guest_interruptibility": 3, "guest_rflags": 0x202},
    "interruptibility_sti": {"guest_interruptibility": 1},
    "interruptibility_smm": {"guest_interruptibility": 4},
    "interruptibility_nmi": {"guest_interruptibility": 2, "entry_interruption_information": 0x80000202},
    "pending_reserved": {"guest_pending_debug": 0x2000},
    "pending_single_step": {"guest_interruptibility": 2, "guest_rflags": 0x102},
    "nmi_sti": {"guest_interruptibility": 1, "guest_rflags": 0x202, "entry_interruption_information": 0x80000202},
    "link_address": {"vmcs_link_pointer": 8},
    "link_revision": {"vmcs_link_pointer": BITMAPS},
}


FAR = 1 << 50  # beyond every model's physical-address width
EPT, ALIGNED = 1 << SECONDARY["enable_ept"], GUEST_DATA
TPR = ("use_tpr_shadow",)

# row: (secondary controls beside EPT, primary controls, pin and tertiary controls, fields), for the newest model
LATER: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...], dict[str, int]]] = {
    "tertiary_reserved": ((), ("activate_tertiary_controls",), (), {"tertiary_controls": 1 << 40}),
    "io_bitmap_a": ((), ("use_io_bitmaps",), (), {"io_bitmap_a": 8}),
    "io_bitmap_b": ((), ("use_io_bitmaps",), (), {"io_bitmap_b": FAR}),
    "msr_bitmap": ((), ("use_msr_bitmaps",), (), {"msr_bitmap": FAR}),
    "virtual_apic": ((), TPR, (), {"virtual_apic_address": 8}),
    "tpr_threshold_high": ((), TPR, (), {"virtual_apic_address": ALIGNED, "tpr_threshold": 0x10}),
    "tpr_threshold_vtpr": ((), TPR, (), {"virtual_apic_address": ALIGNED, "tpr_threshold": 5}),
    "x2apic_tpr_shadow": (("virtualize_x2apic_mode",), (), (), {}),
    "register_tpr_shadow": (("apic_register_virtualization",), (), (), {}),
    "delivery_tpr_shadow": (("virtual_interrupt_delivery",), (), ("external_interrupt_exiting",), {}),
    "nmi_virtual": ((), (), ("virtual_nmis",), {}),
    "nmi_window": ((), ("nmi_window_exiting",), ("nmi_exiting",), {}),
    "apic_access": (("virtualize_apic_accesses",), (), (), {"apic_access_address": FAR}),
    "x2apic_accesses": (
        ("virtualize_x2apic_mode", "virtualize_apic_accesses"), TPR, (),
        {"virtual_apic_address": ALIGNED, "apic_access_address": ALIGNED},
    ),
    "delivery_external": (("virtual_interrupt_delivery",), TPR, (), {"virtual_apic_address": ALIGNED}),
    "posted_delivery": ((), (), ("external_interrupt_exiting", "process_posted_interrupts"), {}),
    "posted_acknowledge": (
        ("virtual_interrupt_delivery",), TPR, ("external_interrupt_exiting", "process_posted_interrupts"),
        {"virtual_apic_address": ALIGNED},
    ),
    "posted_vector": ((), (), ("process_posted_interrupts",), {"posted_interrupt_vector": 0x100}),
    "posted_descriptor": ((), (), ("process_posted_interrupts",), {"posted_interrupt_descriptor": 0x20}),
    "unrestricted_ept": (("unrestricted_guest",), (), (), {"secondary_controls": 1 << 7}),
    "pml_ept": ((), (), (), {"secondary_controls": 1 << SECONDARY["enable_pml"]}),
    "pml_address": (("enable_pml",), (), (), {"pml_address": 8}),
    "mode_based_ept": ((), (), (), {"secondary_controls": 1 << SECONDARY["mode_based_execute"]}),
    "sub_page_ept": ((), (), (), {"secondary_controls": 1 << SECONDARY["sub_page_write_permission"]}),
    "sub_page_table": (("sub_page_write_permission",), (), (), {"sub_page_permission_pointer": 8}),
    "vm_functions_reserved": (("enable_vm_functions",), (), (), {"vm_function_controls": 2}),
    "eptp_switching_ept": (
        (), (), (), {"secondary_controls": 1 << SECONDARY["enable_vm_functions"], "vm_function_controls": 1},
    ),
    "eptp_list": (("enable_vm_functions",), (), (), {"vm_function_controls": 1, "eptp_list_address": 8}),
    "vmread_bitmap": (("vmcs_shadowing",), (), (), {"vmread_bitmap": 8}),
    "vmwrite_bitmap": (("vmcs_shadowing",), (), (), {"vmwrite_bitmap": FAR}),
    "virtualization_exception": (("ept_violation_ve",), (), (), {"virtualization_exception_information": 8}),
    "tsc_multiplier_zero": (("use_tsc_scaling",), (), (), {"tsc_multiplier": 0}),
    "hlat_ept": ((), (), ("enable_hlat",), {"secondary_controls": 0}),
    "hlat_reserved": ((), (), ("enable_hlat",), {"hlat_pointer": 1}),
    "paging_write_ept": ((), (), ("ept_paging_write",), {"secondary_controls": 0}),
    "ipi_tpr_shadow": ((), (), ("ipi_virtualization",), {}),
    "ipi_table": ((), TPR, ("ipi_virtualization",), {"virtual_apic_address": ALIGNED, "pid_pointer_table": 4}),
    "ipi_table_end": (
        (), TPR, ("ipi_virtualization",),
        {"virtual_apic_address": ALIGNED, "pid_pointer_table": (1 << 46) - 8, "last_pid_pointer_index": 1},
    ),
    "exit_timer": ((), (), (), {"exit_controls": 0x736DFF}),
    "entry_smm": ((), (), (), {"entry_controls": 0x17FF}),
    "entry_dual_monitor": ((), (), (), {"entry_controls": 0x1BFF}),
    "host_pat": ((), (), (), {"exit_controls": 0xB6FFF, "host_pat": 2}),
    "host_efer_reserved": ((), (), (), {"exit_controls": 0x236FFF, "host_efer": 0x502}),
    "host_efer_mode": ((), (), (), {"exit_controls": 0x236FFF, "host_efer": 0}),
    "host_ss_null": ((), (), (), {"exit_controls": 0x36DFF, "host_ss_selector": 0}),
    "host_cet_wp": ((), (), (), {"host_cr4": 0x802620, "host_cr0": 0x80040031}),
    "host_s_cet": ((), (), (), {"exit_controls": 0x10036FFF, "host_s_cet": 0xC00}),
    "host_ssp": ((), (), (), {"exit_controls": 0x10036FFF, "host_ssp": 2}),
    "host_interrupt_ssp_table": ((), (), (), {"exit_controls": 0x10036FFF, "host_interrupt_ssp_table": 1 << 60}),
    "host_pkrs": ((), (), (), {"exit_controls": 0x20036FFF, "host_pkrs": 1 << 32}),
    "space_32_cet": ((), (), (), {"exit_controls": 0x10036DFF, "host_ssp": 1 << 32}),
    "cet_wp": ((), (), (), {"guest_cr4": 0x802620, "guest_cr0": 0x80040031}),
    "s_cet": ((), (), (), {"entry_controls": 0x1013FF, "guest_s_cet": 0x40}),
    "interrupt_ssp_table": ((), (), (), {"entry_controls": 0x1013FF, "guest_interrupt_ssp_table": 1 << 60}),
    "pkrs": ((), (), (), {"entry_controls": 0x4013FF, "guest_pkrs": 1 << 63}),
    "ssp": ((), (), (), {"entry_controls": 0x1013FF, "guest_ssp": 1}),
    "space_host": ((), (), (), {"exit_controls": 0x36DFF}),
    "space_32": ((), (), (), {"exit_controls": 0x36DFF, "host_rip": 1 << 32}),
    "cr0_pg_pe": (("unrestricted_guest",), (), (), {"guest_cr0": 0x80000030}),
    "ia32e_paging": (("unrestricted_guest",), (), (), {"guest_cr0": 0x31}),
    "pcide": ((), (), (), {"entry_controls": 0x11FF, "guest_cr4": 0x22620}),
    "pat": ((), (), (), {"entry_controls": 0x53FF, "guest_pat": 3}),
    "efer_reserved": ((), (), (), {"entry_controls": 0x93FF, "guest_efer": 0x502}),
    "efer_lma": ((), (), (), {"entry_controls": 0x93FF, "guest_efer": 0}),
    "efer_lme": ((), (), (), {"entry_controls": 0x93FF, "guest_efer": 0x400}),
    "ldtr_ti": ((), (), (), {"guest_ldtr_access_rights": 0x82, "guest_ldtr_selector": 4}),
    "ldtr_base": ((), (), (), {"guest_ldtr_access_rights": 0x82, "guest_ldtr_base": 1 << 60}),
    "ldtr_s": ((), (), (), {"guest_ldtr_access_rights": 0x92}),
    "ldtr_present": ((), (), (), {"guest_ldtr_access_rights": 0x02}),
    "ldtr_reserved": ((), (), (), {"guest_ldtr_access_rights": 0x182}),
    "ldtr_granularity": ((), (), (), {"guest_ldtr_access_rights": 0x8082, "guest_ldtr_limit": 0}),
    "tr_reserved": ((), (), (), {"guest_tr_access_rights": 0x18B}),
    "tr_granularity": ((), (), (), {"guest_tr_access_rights": 0x808B}),
    "cs_dpl_data": (("unrestricted_guest",), (), (), {"guest_cs_access_rights": 0xA0F3}),
    "ss_s": ((), (), (), {"guest_ss_access_rights": 0xC083}),
    "ss_dpl": ((), (), (), {"guest_ss_access_rights": 0xC0F3}),
    "ss_dpl_real": (
        ("unrestricted_guest",), (), (), {"guest_cs_access_rights": 0xA093, "guest_ss_access_rights": 0xC0F3},
    ),
    "idtr_base": ((), (), (), {"guest_idtr_base": 1 << 60}),
    "gdtr_limit": ((), (), (), {"guest_gdtr_limit": 0x10000}),
    "rip_high": ((), (), (), {"guest_cs_access_rights": 0xC09B, "guest_rip": 1 << 32}),
    "activity_hlt_dpl": ((), (), (), {"guest_activity": 1, "guest_ss_access_rights": 0xC0F3}),
    "activity_smm": ((), (), (), {"guest_activity": 3, "entry_controls": 0x17FF}),
    "interruptibility_external": (
        (), (), (),
        {"guest_interruptibility": 1, "guest_rflags": 0x202, "entry_interruption_information": 0x80000020},
    ),
    "interruptibility_virtual_nmi": (
        (), (), ("nmi_exiting", "virtual_nmis"),
        {"guest_interruptibility": 8, "entry_interruption_information": 0x80000202},
    ),
}  # fmt: skip
for _segment in ("cs", "ss", "ds", "es", "fs", "gs"):
    for _row, _value in (("base", 8), ("limit", 0), ("rights", 0x93)):
        _field = "access_rights" if _row == "rights" else _row
        LATER[f"{_segment}_v86_{_row}"] = ((), (), (), {"guest_rflags": 0x20002, f"guest_{_segment}_{_field}": _value})
    if _segment in ("cs", "ss"):
        continue
    for _row, _rights in (
        ("accessed", 0xC092), ("readable", 0xC099), ("s", 0xC083), ("dpl", 0xC093), ("present", 0xC013),
        ("reserved", 0xC193), ("granularity", 0x4093),
    ):  # fmt: skip
        _fields = {f"guest_{_segment}_access_rights": _rights}
        if _row == "dpl":
            _fields[f"guest_{_segment}_selector"] = 0x13
        LATER[f"{_segment}_{_row}"] = ((), (), (), _fields)
NOT_REACHED = {
    "space_guest": "test_a_host_outside_ia32e_mode",
    "pdpte": "test_a_pdpte_with_reserved_bits",
}
"""Rows that test_check has no case for, and what stands for it."""


def test_the_page_of_checks_is_the_generated_one() -> None:
    page = Path(__file__).parents[2] / "docs" / "vmx-checks.md"
    assert page.read_text(encoding="utf-8") == checks_page(), "see the head of x86emu/virt/vmx/document.py"


def test_every_row_has_a_case() -> None:
    assert set(BY_NAME) == set(BROKEN) | set(LATER) | set(NOT_REACHED)


def test_a_pdpte_with_reserved_bits() -> None:
    guest = VmxGuest("sapphire_rapids")
    guest.control(SECONDARY, "unrestricted_guest")
    guest.set(entry_controls=0x11FF, guest_cs_access_rights=0xC09B, guest_tr_access_rights=0x8B, guest_pdpte2=3)
    assert guest.run() == 0x80000021
    assert guest.get("exit_qualification") == 2
    assert guest.cpu.failed_vmx_check == BY_NAME["pdpte"].number


@pytest.mark.parametrize("control", ["entry_controls", "exit_controls"])
def test_a_host_outside_ia32e_mode(control: str) -> None:
    """The host goes to 32-bit paging with one 4-MiB page, and asks for a guest or a host in 64-bit mode."""
    guest = VmxGuest()
    guest.memory.write(DIRECTORY, (0x83).to_bytes(4, "little"))
    cpu = guest.cpu
    cpu.cr0 = cpu.cr0 & 0x7FFFFFFF
    cpu.efer = 0
    cpu.cr4 = cpu.cr4 & ~0x20 | 0x10
    cpu.cr3 = DIRECTORY
    cpu.cr0 = cpu.cr0 | 0x80000000
    cpu.cs.set(0x18, 0, 0xFFFFFFFF, 0xC09B)
    other = {"entry_controls": "exit_controls", "exit_controls": "entry_controls"}[control]
    guest.set(**{other: guest.get(other) & ~(1 << 9)})  # both controls are bit 9
    found = broken_checks(guest.vmcs, environment(guest) | {"host_long": 0})
    assert found[0].identity == "space_guest"
    assert guest.run() is None
    assert guest.error == 8 and cpu.failed_vmx_check == BY_NAME["space_guest"].number


def breaks(identity: str) -> VmxGuest:
    """A guest whose VMCS breaks a row."""
    if identity in BROKEN:
        guest = VmxGuest()
        guest.set(**BROKEN[identity])
        return guest
    secondary, primary, other, fields = LATER[identity]
    guest = VmxGuest("sapphire_rapids,+spp,+hlat,+ept_paging_write")
    if secondary:
        guest.control(SECONDARY, *secondary)
    guest.control(PRIMARY, *primary)
    for name in other:
        guest.control(PIN if name in PIN else TERTIARY, name)
    guest.set(**fields)
    return guest


@pytest.mark.parametrize("identity", [*BROKEN, *(row for row in LATER if row not in BROKEN)])
def test_check(identity: str) -> None:
    guest = breaks(identity)
    check = BY_NAME[identity]
    broken = broken_checks(guest.vmcs, environment(guest))
    assert check in broken
    reason = guest.run()
    first = min(broken, key=lambda row: row.number)
    if first.stage == "guest":
        assert reason == 0x80000021
        assert guest.get("exit_qualification") == first.qualification
    else:
        assert reason is None
        assert guest.error == (7 if first.stage == "controls" else 8)
    assert guest.cpu.failed_vmx_check == first.number


@pytest.mark.parametrize(("model", "count"), [("nehalem_ept", 1000), ("sapphire_rapids,+spp,+hlat", 1000)])
def test_random_control_blocks_agree_with_the_rows(model: str, count: int) -> None:
    """Nonsense in a few fields at a time: the same verdict from the core and from the rows, and the host goes on.

    One processor takes all of them, so that what it keeps of a VMCS that it has checked is put to the test, too; a new
    one comes where an exit has led to a host that makes no sense.
    """
    rng = random.Random(20260)
    guest = VmxGuest(model)
    good = guest.vmcs
    names = [
        name for name, field in FIELDS.items() if field.kind != "read-only" and name not in ("host_rip", "host_rsp")
    ]
    host = [name for name in names if name.startswith("host_")]
    entered = 0
    for _ in range(count):
        guest.set(**good)
        odd_host = rng.random() < 0.3
        for name in rng.sample(host if odd_host else [n for n in names if n not in host], rng.randint(1, 3)):
            width = FIELDS[name].width or 64
            value = rng.choice(
                [0, 1 << rng.randrange(width), rng.getrandbits(width), good[name] ^ 1 << rng.randrange(width)]
            )
            guest.set(**{name: value})
        broken = broken_checks(guest.vmcs, environment(guest))
        expected = min((row.number for row in broken), default=0)
        ram = guest.memory.ram.copy()
        try:
            guest.run(limit=2000)
        except AssertionError:  # an odd guest runs on or shuts down; after a failed entry only a VMX abort does that
            assert not expected or guest.memory.read(VMCS + 4, 4) != bytes(4), [row.identity for row in broken]
            assert guest.cpu.failed_vmx_check == expected
        if (guest.cpu.guest_mode or guest.cpu.activity > 1 or not guest.cpu.in_vmx_operation
                or odd_host and guest.cpu.failed_vmx_check == 0):  # fmt: skip
            assert guest.cpu.failed_vmx_check == expected, [row.identity for row in broken]
            entered += not expected
            guest = VmxGuest(model)
            continue
        entered += not expected
        if expected:  # a refused entry writes nothing outside the VMCS
            changed = {int(k) & ~0xFFF for k in (ram != guest.memory.ram).nonzero()[0]}
            assert changed <= WRITTEN
        assert guest.cpu.failed_vmx_check == expected, [row.identity for row in broken]
    assert entered > count // 10
