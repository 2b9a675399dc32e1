"""Shadow stacks in interrupts, IRET and fast system calls; #CP among exceptions (SDM 3A, 6.12 to 6.15)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import CODE, IDT, STACK, STUBS, TSS, USER_STACK
from tests.core.cet_machine import (
    ENDBR,
    SH_STK,
    SHADOW,
    TOP,
    TRACKER,
    USER_TOP,
    CetMachine,
)  # fmt: skip

# a step that ends in a fault runs the handler's HLT, too
UD2, IRETQ, SYSCALL, SYSRETQ = "0f0b", "48cf", "0f05", "480f07"
TABLE, IST_TOP, IST_STACK = 0x30000, SHADOW + 0x400, 0x8000


def from_user() -> CetMachine:
    m = CetMachine(cpl=3, s_cet=SH_STK, u_cet=SH_STK)
    m.put(TOP, TOP)
    m.cpu.pl_ssp = (TOP, 0, 0, 0)
    return m


def test_interrupt_from_user_mode_and_back() -> None:
    m = from_user()
    m.step(UD2)
    cpu = m.cpu
    assert (cpu.rip, cpu.cpl, cpu.ssp) == (STUBS + 7, 0, TOP)
    assert cpu.pl_ssp[3] == USER_TOP and m.word(TOP) == TOP | 1  # no frame: user mode's SSP is in the MSR
    m.step(IRETQ, at=STUBS + 6)
    assert (cpu.rip, cpu.cpl, cpu.ssp) == (CODE, 3, USER_TOP) and m.word(TOP) == TOP


@pytest.mark.parametrize("token", [TOP | 1, 0, TOP + 8])
def test_a_stack_in_use_ends_in_shutdown(token: int) -> None:
    m = from_user()
    m.put(TOP, token)
    m.step(UD2)
    assert m.cpu.activity == 2
    assert m.word(TOP) == token


def test_interrupt_at_the_same_level() -> None:
    m = CetMachine(s_cet=SH_STK)
    m.cpu.ssp = TOP - 4
    m.step(UD2)
    assert m.cpu.ssp == TOP - 32
    assert [m.word(TOP - 8 * k) for k in (2, 3, 4)] == [8, CODE, TOP - 4]
    m.step(IRETQ, at=STUBS + 6)
    assert (m.cpu.rip, m.cpu.ssp) == (CODE, TOP - 4)


@pytest.mark.parametrize("word", [0, 1])
def test_iret_to_another_place(word: int) -> None:
    m = CetMachine(s_cet=SH_STK)
    m.step(UD2)
    if word == 0:
        m.put(m.cpu.rsp, CODE + 1)
    else:
        m.put(m.cpu.rsp + 8, 0x18)  # 32-bit code
    m.step(IRETQ, at=STUBS + 6)
    assert m.cpu.rip == STUBS + 22 and m.word(m.cpu.rsp) == 2


def with_ist(cpl: int) -> CetMachine:
    m = CetMachine(cpl=cpl, s_cet=SH_STK, u_cet=SH_STK)
    m.gate(6, STUBS + 6, ist=2)
    m.put(TSS + 0x24 + 8, IST_STACK)
    m.cpu.interrupt_ssp_table = TABLE
    m.put(TABLE + 16, IST_TOP)
    m.put(IST_TOP, IST_TOP)
    return m


def test_interrupt_stack_table_from_user_mode() -> None:
    m = with_ist(3)
    m.step(UD2)
    assert (m.cpu.cpl, m.cpu.ssp, m.word(IST_TOP), m.cpu.pl_ssp[3]) == (0, IST_TOP, IST_TOP | 1, USER_TOP)
    m.step(IRETQ, at=STUBS + 6)
    assert (m.cpu.cpl, m.cpu.ssp, m.word(IST_TOP)) == (3, USER_TOP, IST_TOP)


def test_interrupt_stack_table_at_the_same_level() -> None:
    m = with_ist(0)
    m.step(UD2)
    assert (m.cpu.ssp, m.word(IST_TOP)) == (IST_TOP - 24, IST_TOP | 1)
    assert [m.word(IST_TOP - 8 * k) for k in (1, 2, 3)] == [8, CODE, TOP]
    m.step(IRETQ, at=STUBS + 6)
    assert (m.cpu.rip, m.cpu.ssp, m.word(IST_TOP)) == (CODE, TOP, IST_TOP)


def test_protection_faults_are_contributory() -> None:
    """#NP while #CP is being delivered: a double fault."""
    m = CetMachine(s_cet=SH_STK)
    m.memory.write(IDT + 21 * 16 + 5, b"\x0e")  # not present
    m.step("48ff0424c3", count=2)
    assert m.cpu.rip == STUBS + 9 and m.word(m.cpu.rsp) == 0


def test_system_call_and_return() -> None:
    m = CetMachine(s_cet=SH_STK, u_cet=SH_STK)
    m.cpu.efer = m.cpu.efer | 1
    m.wrmsr(0xC0000081, 0x0023000800000000)
    m.wrmsr(0xC0000082, CODE + 0x100)
    m.cpu.pl_ssp = (0, 0, 0, USER_TOP)
    m.step(SYSRETQ, rcx=CODE + 0x80, r11=2)
    assert (m.cpu.cpl, m.cpu.ssp, m.cpu.rip) == (3, USER_TOP, CODE + 0x80)
    m.cpu.pl_ssp = (0, 0, 0, 0)
    m.step(SYSCALL)
    assert (m.cpu.cpl, m.cpu.ssp, m.cpu.pl_ssp[3], m.cpu.rip) == (0, 0, USER_TOP, CODE + 0x100)


def test_system_call_expects_an_endbranch() -> None:
    m = CetMachine(s_cet=ENDBR, u_cet=ENDBR)
    m.cpu.efer = m.cpu.efer | 1
    m.wrmsr(0xC0000081, 0x0023000800000000)
    m.wrmsr(0xC0000082, CODE + 0x100)
    m.step(SYSRETQ, rcx=CODE + 0x80, r11=2)
    assert m.cpu.s_cet == m.cpu.u_cet == ENDBR
    m.step(SYSCALL)
    assert m.cpu.s_cet == ENDBR | TRACKER and m.cpu.u_cet == ENDBR


def test_sysenter_and_sysexit() -> None:
    m = CetMachine(model="sapphire_rapids", s_cet=SH_STK, u_cet=SH_STK)
    m.wrmsr(0x174, 8)
    m.wrmsr(0x176, CODE + 0x100)
    m.cpu.pl_ssp = (0, 0, 0, USER_TOP)
    m.step("480f35", rdx=CODE + 0x80, rcx=USER_STACK)
    assert (m.cpu.cpl, m.cpu.ssp) == (3, USER_TOP)
    m.cpu.ssp = USER_TOP - 8
    m.step("0f34")
    assert (m.cpu.cpl, m.cpu.ssp, m.cpu.pl_ssp[3]) == (0, 0, USER_TOP - 8)


def test_call_gate_to_more_privilege() -> None:
    m = from_user()
    m.memory.write(0x4000 + 0x48, struct.pack("<HHBBHII", CODE + 0x100 & 0xFFFF, 8, 0, 0xEC, 0, 0, 0))
    m.put(TSS + 4, STACK)
    m.memory.write(0x10000, struct.pack("<IH", 0, 0x4B))
    m.step("ff1b", rbx=0x10000)
    assert (m.cpu.cpl, m.cpu.rip, m.cpu.ssp) == (0, CODE + 0x100, TOP)
    assert m.word(TOP) == TOP | 1 and m.cpu.pl_ssp[3] == USER_TOP
    m.step("48cb", at=CODE + 0x100)
    assert (m.cpu.cpl, m.cpu.rip, m.cpu.ssp, m.word(TOP)) == (3, CODE + 2, USER_TOP, TOP)
