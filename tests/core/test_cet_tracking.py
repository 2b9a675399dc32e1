"""Indirect-branch tracking, and the registers of control-flow enforcement (SDM 1, 17.1 and 17.3)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import CODE, DATA, STUBS, BareMachine, Fault
from tests.core.cet_machine import (
    ENDBR,
    ENDBR32,
    ENDBR64,
    LEG_IW,
    NO_TRACK,
    SH_STK,
    SUPPRESS,
    SUPPRESS_DIS,
    TRACKER,
    CetMachine,
)  # fmt: skip

JMP_RAX, CALL_RAX, JMP_AT_RBX = "ffe0", "ffd0", "ff23"
HERE = CODE + 2  # what follows a branch of two bytes


def tracked(more: int = 0, cpl: int = 0) -> CetMachine:
    return CetMachine(cpl=cpl, s_cet=ENDBR | more, u_cet=ENDBR | more)


@pytest.mark.parametrize("branch", [JMP_RAX, CALL_RAX, JMP_AT_RBX, "ff13"])
def test_the_target_must_be_an_endbranch(branch: str) -> None:
    m = tracked()
    m.put(DATA, HERE)
    assert m.protection(branch + ENDBR64, rax=HERE, rbx=DATA) is None
    assert m.cpu.s_cet == ENDBR
    assert m.protection(branch + "90", rax=HERE, rbx=DATA) == 3
    assert m.word(m.cpu.rsp + 8) == HERE
    assert m.protection(branch + ENDBR32, rax=HERE, rbx=DATA) == 3


@pytest.mark.parametrize("branch", ["eb00", "7400", "e800000000"])
def test_direct_branches_are_free(branch: str) -> None:
    m = tracked()
    assert m.protection(branch + "90", rflags=0x42) is None
    assert m.protection("e801000000f4c3") is None  # RET is not tracked


def test_the_tracker_shows_in_the_msr() -> None:
    m = tracked()
    m.step(JMP_RAX + ENDBR64, rax=HERE)
    assert m.cpu.rip == HERE and m.cpu.s_cet == ENDBR | TRACKER
    m.engine.step()
    assert m.cpu.rip == HERE + 4 and m.cpu.s_cet == ENDBR


def test_an_endbranch_across_two_pages() -> None:
    m = tracked()
    m.memory.write(0x11FFE, bytes.fromhex(ENDBR64 + "f4"))
    m.cpu.rip, m.cpu.activity, m.cpu.rax = CODE, 0, 0x11FFE
    m.memory.write(CODE, bytes.fromhex(JMP_RAX))
    m.engine.run(100)
    assert m.cpu.rip == 0x12003 and m.cpu.s_cet == ENDBR


def test_no_track() -> None:
    m = tracked()
    assert m.protection("3e" + JMP_RAX + "90", rax=HERE + 1) == 3
    m = tracked(NO_TRACK)
    assert m.protection("3e" + JMP_RAX + "90", rax=HERE + 1) is None
    assert m.protection("3e" + CALL_RAX + "90", rax=HERE + 1) is None
    assert m.protection("3e64" + JMP_RAX + "90", rax=HERE + 2) == 3  # not the last segment prefix


def test_legacy_code_pages_and_suppression() -> None:
    bitmap = 0x18000
    m = tracked(LEG_IW)
    m.cpu.s_cet = m.cpu.s_cet | bitmap
    assert m.protection(JMP_RAX + "90", rax=HERE) == 3
    m = tracked(LEG_IW)
    m.cpu.s_cet = m.cpu.s_cet | bitmap
    m.memory.write(bitmap + (CODE >> 15), bytes([1 << (CODE >> 12 & 7)]))
    # the first branch is let through and suppresses tracking, until an ENDBRANCH is met
    assert m.protection(JMP_RAX + "90", rax=HERE) is None
    assert m.cpu.s_cet & 0xC00 == SUPPRESS
    m.memory.write(bitmap + (CODE >> 15), b"\0")
    assert m.protection(JMP_RAX + "90", rax=HERE) is None
    assert m.protection(ENDBR64 + JMP_RAX + "90", rax=HERE + 4) == 3
    m = tracked(LEG_IW | SUPPRESS_DIS)
    m.cpu.s_cet = m.cpu.s_cet | bitmap
    m.memory.write(bitmap + (CODE >> 15), bytes([1 << (CODE >> 12 & 7)]))
    assert m.protection(JMP_RAX + "90", rax=HERE) is None
    assert m.cpu.s_cet & 0xC00 == 0


def test_breakpoints_leave_the_tracker_alone() -> None:
    m = tracked(cpl=3)
    m.gate(3, STUBS + 3)
    m.step(JMP_RAX + "cc", count=2, rax=HERE)
    assert m.cpu.cpl == 0 and m.cpu.u_cet == ENDBR | TRACKER and m.cpu.s_cet == ENDBR | TRACKER


def test_events_and_far_transfers_expect_an_endbranch() -> None:
    m = tracked(SUPPRESS)
    m.step("0f0b")
    assert m.cpu.s_cet == ENDBR | TRACKER
    m = tracked()
    m.memory.write(DATA, struct.pack("<IH", HERE, 8))
    assert m.protection("ff2b" + ENDBR64, rbx=DATA) is None
    assert m.protection("ff2b" + "90", rbx=DATA) == 3
    assert m.protection("3eff2b" + "90", rbx=DATA) == 3
    assert m.protection("ff1b" + "90", rbx=DATA) == 3


def test_user_mode_has_a_tracker_of_its_own() -> None:
    m = CetMachine(cpl=3, u_cet=ENDBR)
    m.step(JMP_RAX + "90", count=2, rax=HERE)
    assert (m.cpu.rip, m.cpu.cpl, m.word(m.cpu.rsp)) == (STUBS + 22, 0, 3)
    assert (m.cpu.u_cet, m.cpu.s_cet) == (ENDBR | TRACKER, 0)


def test_32_bit_code_wants_endbr32() -> None:
    m = BareMachine("protected")
    m.cpu.cr0 |= 0x10000
    m.cpu.cr4 |= 0x800000
    m.cpu.s_cet = ENDBR
    m.run(JMP_RAX + ENDBR32, rax=HERE)
    m.memory.write(CODE, bytes.fromhex(JMP_RAX + ENDBR64))
    m.cpu.rip, m.cpu.rax, m.cpu.activity = CODE, HERE, 0
    m.engine.step()
    m.engine.step()
    assert m.cpu.rip == STUBS + 21


def test_a_hot_loop_of_indirect_branches() -> None:
    """The same with traces in place: the shortcut over an ENDBRANCH and the fault when it has become something else."""
    m = tracked()
    code = "ffe0" + ENDBR64 + "ffc975f6"  # 1: jmp rax; 2: endbr64; dec ecx; jnz 1b
    m.run(code, rax=HERE, rcx=1000)
    assert m.cpu.s_cet == ENDBR
    assert m.protection(code.replace(ENDBR64, "0f1f4000"), rax=HERE, rcx=1000) == 3


# ----- registers -----
def test_cr4_cet_needs_write_protection() -> None:
    m = BareMachine()
    cr4, cr0 = m.cpu.cr4, m.cpu.cr0
    m.run("0f22e0", rax=cr4 | 0x800000)
    assert m.fault("0f22c0", rax=cr0 & ~0x10000) == (13, 0)
    m = BareMachine()
    m.run("0f22c0", rax=cr0 & ~0x10000)
    assert m.fault("0f22e0", rax=cr4 | 0x800000) == (13, 0)
    assert BareMachine("long", "haswell").fault("0f22e0", rax=cr4 | 0x800000) == (13, 0)


@pytest.mark.parametrize(
    ("number", "good", "bad"),
    [
        (0x6A0, [0x3F, 0x7FFFFFFFF003, 0x400, 0x800], [0x40, 0xC00, 1 << 60]),
        (0x6A2, [0x3F], [0x200, 0xC04]),
        (0x6A4, [0x1000, 0x1004], [1, 2, 1 << 60]),
        (0x6A7, [0x7FFC], [0x7FFD]),
        (0x6A8, [0x1001], [1 << 60]),
        (0xDA0, [0, 0x800, 0x1800], [0x100, 0x2000]),
    ],
)
def test_msrs(number: int, good: list[int], bad: list[int]) -> None:
    m = BareMachine()
    for value in good:
        m.wrmsr(number, value)
        assert m.rdmsr(number) == value
    for value in bad:
        with pytest.raises(Fault) as fault:
            m.wrmsr(number, value)
        assert fault.value.args == (13, 0)
        m = BareMachine()


def test_shadow_stacks_alone() -> None:
    """AMD's processors have no tracking: its bits are reserved."""
    m = BareMachine("long", "epyc_genoa")
    m.wrmsr(0x6A2, SH_STK | 2)
    with pytest.raises(Fault):
        m.wrmsr(0x6A2, ENDBR)


@pytest.mark.parametrize(("model", "ecx", "edx"), [("sapphire_rapids", 1, 1), ("epyc_genoa", 1, 0), ("haswell", 0, 0)])
def test_cpuid(model: str, ecx: int, edx: int) -> None:
    m = BareMachine("long", model)
    m.run("0fa2", rax=7, rcx=0)
    assert (m.cpu.rcx >> 7 & 1, m.cpu.rdx >> 20 & 1) == (ecx, edx)
    if ecx:
        m.run("0fa2", rax=13, rcx=11)
        assert (m.cpu.rax, m.cpu.rbx, m.cpu.rcx) == (16, 0, 1)
        m.run("0fa2", rax=13, rcx=12)
        assert (m.cpu.rax, m.cpu.rbx, m.cpu.rcx) == (24, 0, 1)
        m.run("0fa2", rax=13, rcx=1)
        assert m.cpu.rcx == 0x1800


def test_xsaves_and_xrstors() -> None:
    area = DATA + 0x1000
    m = BareMachine()
    m.run("0f22e0", rax=m.cpu.cr4 | 0x40000)
    m.run("0f01d1", rax=7, rdx=0, rcx=0)
    m.wrmsr(0xDA0, 0x1800)
    m.cpu.u_cet, m.cpu.pl_ssp = 0x3, (0x1000, 0x2000, 0x3000, 0x7000)
    m.run("0fc72b", rbx=area, rax=0x1804, rdx=0)
    header = struct.unpack("<2Q", m.memory.read(area + 512, 16))
    assert header == (0x1800, 1 << 63 | 0x1804)
    assert struct.unpack("<5Q", m.memory.read(area + 832, 40)) == (3, 0x7000, 0x1000, 0x2000, 0x3000)
    m.cpu.u_cet, m.cpu.pl_ssp = 0, (0, 0, 0, 0)
    m.run("0fc71b", rbx=area, rax=0x1804, rdx=0)
    assert (m.cpu.u_cet, m.cpu.pl_ssp) == (3, (0x1000, 0x2000, 0x3000, 0x7000))
    m.memory.write(area + 512, struct.pack("<Q", 0x1000))  # CET_U initial
    m.run("0fc71b", rbx=area, rax=0x800, rdx=0)
    assert (m.cpu.u_cet, m.cpu.pl_ssp) == (0, (0x1000, 0x2000, 0x3000, 0))
    m.memory.write(area + 512, struct.pack("<Q", 0x1800))
    m.memory.write(area + 832, struct.pack("<Q", 0xC00))
    assert m.fault("0fc71b", rbx=area, rax=0x1800, rdx=0) == (13, 0)
    # XSAVEC is for user components alone
    m = BareMachine()
    m.run("0f22e0", rax=m.cpu.cr4 | 0x40000)
    m.wrmsr(0xDA0, 0x1800)
    m.cpu.pl_ssp = (8, 8, 8, 8)
    m.run("0fc723", rbx=area, rax=0x1800, rdx=0)
    assert struct.unpack("<2Q", m.memory.read(area + 512, 16)) == (0, 1 << 63)
