"""Every consistency check of VMRUN: the core and the table in virt/svm/checks.py agree (AMD APM volume 2, 15.5.1)."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import pytest

from tests.core.bare_machine import CODE, BareMachine
from tests.virt.svm_guest import VMCB, SvmGuest
from x86emu.virt.explain import explain
from x86emu.virt.svm.checks import CHECKS, broken_checks, describe
from x86emu.virt.svm.document import checks_page
from x86emu.virt.svm.exits import INVALID
from x86emu.virt.svm.vmcb import CLEAN_AREAS, FIELDS, SIZE, format_vmcb, read_field

PHYSICAL = (1 << 48) - 1

# row -> the fields that break it, and nothing before it
BREAKERS: dict[str, dict[str, int]] = {
    "svme": {"efer": 0xD00},
    "cr0_cd_nw": {"cr0": 0xA0050033},
    "cr0_high": {"cr0": 0x180050033},
    "cr3_reserved": {"cr3": 1 << 50},
    "cr4_reserved": {"cr4": 0x620 | 1 << 30},
    "cet_wp": {"cr4": 0x800620, "cr0": 0x80040033},
    "s_cet_reserved": {"cr4": 0x800620, "s_cet": 0x40},
    "dr6_high": {"dr6": 1 << 32},
    "dr7_high": {"dr7": 1 << 33 | 0x400},
    "efer_reserved": {"efer": 0x1D00 | 1 << 20},
    "lme_pg_no_pae": {"cr4": 0x600},
    "lme_pg_no_pe": {"cr0": 0x80050032},
    "vmrun_intercept": {"intercept_misc2": 2},
    "asid_zero": {"guest_asid": 0},
    "asid_range": {"guest_asid": 32768},
    "msr_map": {"intercept_misc1": 1 << 28, "msrpm_base_pa": PHYSICAL - 0xFFF},
    "io_map": {"intercept_misc1": 1 << 27, "iopm_base_pa": PHYSICAL - 0x1FFF},
    "event_type": {"eventinj": 0x80000100},
    "event_vector": {"eventinj": 0x80000302},
    "event_long_mode": {"eventinj": 0x80000304},
    "ncr3_reserved": {"n_cr3": 1 << 51},
    "pdptes": {"np_enable": 0, "efer": 0x1000, "cr3": 0x140000, "cr4": 0x620},
    "vnmi_intercept": {"v_intr_masking": 4},
    "vnmi_event": {"v_intr_masking": 4, "intercept_misc1": 2, "v_irq": 0x10, "eventinj": 0x80000202},
    "avic_paging": {"v_intr_masking": 0x80, "np_enable": 0},
    "avic_backing": {"v_intr_masking": 0x80, "avic_backing_page": 1 << 51},
    "avic_physical": {"v_intr_masking": 0x80, "avic_physical_table": 1 << 51},
    "avic_logical": {"v_intr_masking": 0x80, "avic_logical_table": 1 << 51},
    "avic_index": {"v_intr_masking": 0x80, "avic_physical_table": 0xFF},
}


def environment(guest: SvmGuest) -> dict[str, int]:
    mask = (1 << guest.engine.model.physical_bits) - 1
    return {
        "cr3_reserved": ~mask, "cr4_reserved": ~CR4_OF_MAX, "efer_reserved": ~EFER_OF_MAX, "has_long_mode": 1,
        "has_npt": 1, "asids": 32768, "physical_mask": mask, "host_paging": 1, "ncr3_reserved": ~mask,
        "bad_pdptes": bad_pdptes(guest, mask), "has_vnmi": 1, "has_avic": 1, "cet_reserved": ~CET_OF_MAX,
        "user_shadow_stack": guest.cpu.u_cet & 1,
    }  # fmt: skip


def bad_pdptes(guest: SvmGuest, mask: int) -> int:
    """PAE paging without nested paging, and a present entry with reserved bits."""
    if not guest.get("cr0") >> 31 & 1 or not guest.get("cr4") & 0x20 or guest.get("efer") & 0x100:
        return 0
    at = guest.get("cr3") & 0xFFFFFFE0
    if guest.get("np_enable") & 1 or at + 32 > 4 << 20:
        return 0
    reserved = ~mask & 0x000FFFFFFFFFF000 | 0xFFF00000000001E6
    return int(any(e & 1 and e & reserved for e in struct.unpack("<4Q", guest.memory.read(at, 32))))


EFER_OF_MAX = 0x5D01
CR4_OF_MAX = 0x1F71FFF
CET_OF_MAX = 0xFFFFFFFFFFFFFC3F


def names(guest: SvmGuest) -> list[str]:
    return [check.identity for check in broken_checks(guest.block, environment(guest))]


@pytest.mark.parametrize("identity", BREAKERS)
def test_check(identity: str) -> None:
    guest = SvmGuest()
    guest.memory.write(0x140000, struct.pack("<4Q", 0, 0, 0x21, 0))
    guest.set(**BREAKERS[identity])
    guest.cpu.rbx = 7
    assert guest.run("bb05000000") == INVALID
    assert guest.cpu.rbx == 7
    assert guest.cpu.failed_check is not None
    assert CHECKS[guest.cpu.failed_check].identity == identity
    assert names(guest)[0] == identity
    assert identity in explain(guest.cpu, guest.memory)


def test_code_segment_of_two_sizes() -> None:
    guest = SvmGuest()
    guest.memory.write(VMCB + FIELDS["cs"].offset + 2, (0x69B).to_bytes(2, "little"))
    assert guest.run("90") == INVALID
    assert names(guest) == ["cs_l_and_d"]


def test_a_good_block_breaks_nothing() -> None:
    guest = SvmGuest()
    assert names(guest) == []
    assert guest.run("90") == 0x81
    assert guest.cpu.failed_check is None


def test_rows_without_a_breaker_need_another_processor() -> None:
    others = {"no_long_mode", "cs_l_and_d", "np_paging", "cet_v86"}
    assert {check.identity for check in CHECKS} - set(BREAKERS) == others


def test_user_shadow_stacks_in_virtual_8086_mode() -> None:
    guest = SvmGuest()
    guest.set(cr4=0x800620, rflags=0x20002)
    assert names(guest) == []
    guest.cpu.u_cet = 1
    assert guest.run("90") == INVALID
    assert names(guest) == ["cet_v86"]
    assert CHECKS[guest.cpu.failed_check or 0].identity == "cet_v86"


def test_host_without_paging() -> None:
    machine = BareMachine("protected", "max")
    guest = SvmGuest()
    machine.memory.write(VMCB, guest.block)
    machine.cpu.efer = 0x1000
    machine.memory.write(CODE, bytes.fromhex("0f01d8f4"))
    machine.cpu.rip, machine.cpu.rax = CODE, VMCB
    machine.engine.run(100)
    assert read_field(machine.memory.read(VMCB, SIZE), "exitcode") == INVALID
    assert CHECKS[machine.cpu.failed_check or 0].identity == "np_paging"


def test_processor_without_long_mode() -> None:
    """The row is read by Python alone: every model with AMD-V has long mode."""
    guest = SvmGuest()
    found = broken_checks(guest.block, environment(guest) | {"has_long_mode": 0})
    assert [check.identity for check in found] == ["no_long_mode"]


def test_words() -> None:
    guest = SvmGuest()
    guest.set(guest_asid=0)
    check = next(check for check in CHECKS if check.identity == "asid_zero")
    assert describe(check, guest.block) == "VMRUN refused: the ASID is 0 (APM 2, 15.5.1; asid_zero): guest_asid = 0x0."
    text = format_vmcb(guest.block)
    assert "4d0  efer                       0000000000001d00   extended feature enables" in text
    assert "guest_asid" not in text


FUZZED = [name for name, field in FIELDS.items() if field.width <= 8 and name != "vmcb_clean"]


def random_block(source: random.Random, guest: SvmGuest, good: bytes) -> None:
    """A control block with some fields changed by a bit, to an edge or to anything."""
    guest.memory.write(VMCB, good)
    guest.set(intercept_misc1=0x9F000000)
    for name in source.sample(FUZZED, source.choice((1, 1, 2, 3, 8))):
        bits = 8 * FIELDS[name].width
        kind = source.randrange(4)
        if kind == 0:
            value = source.getrandbits(bits)
        elif kind == 1:
            value = source.choice((0, (1 << bits) - 1, 1 << bits - 1, 0xFFF, 4 << 20))
        else:
            value = guest.get(name) ^ 1 << source.randrange(bits)
        guest.set(**{name: value & (1 << bits) - 1})


@pytest.mark.parametrize("seed", range(8))
def test_random_blocks_agree_with_the_rows(seed: int) -> None:
    """Thousands of random control blocks: refused exactly where a row says so; whatever runs, ends or is cut off."""
    source = random.Random(seed)
    guest = SvmGuest()
    good = guest.block
    for _ in range(400):
        random_block(source, guest, good)
        broken = names(guest)
        guest.memory.write(CODE, bytes.fromhex("0f01d8f4"))
        guest.memory.write(0x120000, bytes.fromhex("90f4"))
        cpu = guest.cpu
        cpu.rip, cpu.rax, cpu.activity = CODE, VMCB, 0
        before = cpu.exit_count
        guest.engine.run(200)
        if broken:
            assert guest.get("exitcode") == INVALID
            assert CHECKS[cpu.failed_check or 0].identity == broken[0]
            assert cpu.exit_count == before + 1 and not cpu.guest_mode and not cpu.gif
            assert cpu.rip == CODE + 4
        else:
            assert cpu.failed_check is None
        if cpu.guest_mode or cpu.activity != 1 or cpu.rip != CODE + 4:
            guest = SvmGuest()
        cpu.set_gif()
        assert guest.memory.read(4 << 20, 8) == b"\xff" * 8  # nothing answers beyond the RAM


@pytest.mark.parametrize("area", CLEAN_AREAS)
def test_a_clean_area_is_neither_checked_nor_loaded(area: str) -> None:
    """15.15: what the hypervisor vouches for comes from the last exit; without the bit it is read and checked anew."""
    changes: dict[str, dict[str, int]] = {
        "intercepts": {"intercept_misc2": 0}, "permission_maps": {"iopm_base_pa": PHYSICAL, "intercept_misc1": 1 << 27},
        "asid": {"guest_asid": 0}, "tpr": {"v_intr_masking": 4}, "nested_paging": {"n_cr3": 1 << 51},
        "control_registers": {"efer": 0}, "debug_registers": {"dr7": 1 << 40},
        "avic": {"avic_backing_page": 1 << 51, "v_intr_masking": 0x80}, "cet": {"s_cet": 0x40},
    }  # fmt: skip
    guest = SvmGuest()
    if area == "cet":
        guest.set(cr4=0x800620)
    bit = 1 << list(CLEAN_AREAS).index(area)
    if area == "avic":
        guest.set(v_intr_masking=0x80, avic_backing_page=0x150000, avic_physical_table=0x151000)
    if area == "permission_maps":
        guest.set(intercept_misc1=1 << 27)
    assert guest.run("90") == 0x81
    if area in changes:
        guest.set(**changes[area], vmcb_clean=bit)
        assert guest.run("90") == 0x81
        guest.set(**changes[area], vmcb_clean=0)
        assert guest.run("90") == INVALID
        return
    if area == "cr2":
        guest.set(cr2=0x1234, vmcb_clean=bit)
        code, register = "0f20d3", "rbx"
    elif area == "descriptor_tables":
        guest.memory.write(VMCB + FIELDS["idtr"].offset + 8, (0x7777).to_bytes(8, "little"))
        guest.set(vmcb_clean=bit)
        code, register = "0f010c2500001300488b1c2502001300", "rbx"
    elif area == "segments":
        guest.memory.write(VMCB + FIELDS["es"].offset, b"\x34\x12")
        guest.set(vmcb_clean=bit)
        code, register = "8cc3", "rbx"
    else:
        guest.set(lbr_virtualization_enable=1)
        assert guest.run("90") == 0x81
        guest.set(br_from=0x4321, vmcb_clean=bit)
        code, register = "b9db0100000f3289c3", "rbx"
    assert guest.run(code) == 0x81
    old = getattr(guest.cpu, register)
    if area == "cr2":
        guest.set(cr2=0x1234)
    elif area == "descriptor_tables":
        guest.memory.write(VMCB + FIELDS["idtr"].offset + 8, (0x7777).to_bytes(8, "little"))
    elif area == "segments":
        guest.memory.write(VMCB + FIELDS["es"].offset, b"\x34\x12")
    else:
        guest.set(br_from=0x4321)
    guest.set(vmcb_clean=0)
    assert guest.run(code) == 0x81
    new = getattr(guest.cpu, register)
    assert old != new and new & 0xFFFF in (0x1234, 0x7777, 0x4321)


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "svm-checks.md"
    assert page.read_text(encoding="utf-8") == checks_page(), "see the head of x86emu/virt/svm/document.py"
