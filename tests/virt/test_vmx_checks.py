"""VM-entry checks: one broken VMCS for a row at a time; the core's verdict and Python's agree (SDM 3C, chapter 27)."""

from __future__ import annotations

import random
import re

import pytest

from tests.virt.vmx_guest import BITMAPS, VMCS, VmxGuest
from x86emu.isa.vmx_capabilities import capability_msrs
from x86emu.virt.vmx.checks import CHECKS, broken_checks
from x86emu.virt.vmx.fields import FIELDS

ALL_ONES = (1 << 64) - 1
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


@pytest.mark.parametrize("identity", BROKEN)
def test_check(identity: str) -> None:
    guest = VmxGuest()
    guest.set(**BROKEN[identity])
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


def test_random_control_blocks_agree_with_the_rows() -> None:
    """Nonsense in a few fields at a time: the same verdict from the core and from the rows, and the host goes on."""
    rng = random.Random(20260)
    guest = VmxGuest()
    good = guest.vmcs
    names = [
        name for name, field in FIELDS.items() if field.kind != "read-only" and name not in ("host_rip", "host_rsp")
    ]
    host = [name for name in names if name.startswith("host_")]
    for _ in range(400):
        guest.set(**good)
        for name in rng.sample([n for n in names if n not in host], rng.randint(1, 3)):
            width = FIELDS[name].width or 64
            value = rng.choice(
                [0, 1 << rng.randrange(width), rng.getrandbits(width), good[name] ^ 1 << rng.randrange(width)]
            )
            guest.set(**{name: value})
        broken = broken_checks(guest.vmcs, environment(guest))
        expected = min((row.number for row in broken), default=0)
        if not expected:
            continue  # what a valid but odd guest does is not this test's
        guest.run(limit=2000)
        assert guest.cpu.failed_vmx_check == expected, [row.identity for row in broken]
