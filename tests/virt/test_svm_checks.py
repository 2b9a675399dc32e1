"""Every consistency check of VMRUN: the core and the table in virt/svm/checks.py agree (AMD APM volume 2, 15.5.1)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.virt.svm_guest import VMCB, SvmGuest
from x86emu.virt.explain import explain
from x86emu.virt.svm.checks import CHECKS, broken_checks, describe
from x86emu.virt.svm.document import checks_page
from x86emu.virt.svm.exits import INVALID
from x86emu.virt.svm.vmcb import FIELDS, format_vmcb

PHYSICAL = (1 << 48) - 1

# row -> the fields that break it, and nothing before it
BREAKERS: dict[str, dict[str, int]] = {
    "svme": {"efer": 0xD00},
    "cr0_cd_nw": {"cr0": 0xA0050033},
    "cr0_high": {"cr0": 0x180050033},
    "cr3_reserved": {"cr3": 1 << 50},
    "cr4_reserved": {"cr4": 0x620 | 1 << 30},
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
}


def environment(guest: SvmGuest) -> dict[str, int]:
    mask = (1 << guest.engine.model.physical_bits) - 1
    return {
        "cr3_reserved": ~mask, "cr4_reserved": ~CR4_OF_MAX, "efer_reserved": ~EFER_OF_MAX, "has_long_mode": 1,
        "has_npt": 1, "asids": 32768, "physical_mask": mask, "host_paging": 1, "ncr3_reserved": ~mask,
    }  # fmt: skip


EFER_OF_MAX = 0x5D01
CR4_OF_MAX = 0x371FFF


def names(guest: SvmGuest) -> list[str]:
    return [check.identity for check in broken_checks(guest.block, environment(guest))]


@pytest.mark.parametrize("identity", BREAKERS)
def test_check(identity: str) -> None:
    guest = SvmGuest()
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
    assert {check.identity for check in CHECKS} - set(BREAKERS) == {"no_long_mode", "cs_l_and_d", "np_paging"}


def test_words() -> None:
    guest = SvmGuest()
    guest.set(guest_asid=0)
    check = next(check for check in CHECKS if check.identity == "asid_zero")
    assert describe(check, guest.block) == "VMRUN refused: the ASID is 0 (APM 2, 15.5.1; asid_zero): guest_asid = 0x0."
    text = format_vmcb(guest.block)
    assert "4d0  efer                       0000000000001d00   extended feature enables" in text
    assert "guest_asid" not in text


@pytest.mark.parametrize("seed", range(4))
def test_random_blocks_agree_with_the_rows(seed: int) -> None:
    """Random control and register fields: refused exactly where a row says so; whatever runs, ends."""
    source = random.Random(seed)
    fields = ("efer", "cr0", "cr3", "cr4", "dr6", "dr7", "guest_asid", "eventinj", "intercept_misc1", "intercept_misc2",
              "iopm_base_pa", "msrpm_base_pa", "n_cr3", "rflags", "rip", "rsp", "exitintinfo", "v_irq",
              "v_intr_vector", "intercept_exceptions", "tlb_control", "interrupt_shadow", "nrip")  # fmt: skip
    guest = SvmGuest()
    good = guest.block
    for _ in range(60):
        guest.memory.write(VMCB, good)
        guest.set(intercept_misc1=0x9F000000)
        for name in source.sample(fields, source.randrange(1, 4)):
            width = FIELDS[name].width
            old = guest.get(name)
            kind = source.randrange(3)
            value = old ^ 1 << source.randrange(8 * width) if kind else source.getrandbits(8 * width)
            guest.set(**{name: value})
        if names(guest):
            expected = names(guest)[0]
            assert guest.run("90f4") == INVALID
            assert CHECKS[guest.cpu.failed_check or 0].identity == expected
            continue
        guest.memory.write(0xA000, bytes.fromhex("0f01d8f4"))
        guest.memory.write(0x120000, bytes.fromhex("90f4"))
        cpu = guest.cpu
        cpu.rip, cpu.rax, cpu.activity = 0xA000, VMCB, 0
        guest.engine.run(300)
        if cpu.guest_mode or cpu.activity == 2:
            guest = SvmGuest()


def test_the_page_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "svm-checks.md"
    assert page.read_text(encoding="utf-8") == checks_page(), "see the head of x86emu/virt/svm/document.py"
