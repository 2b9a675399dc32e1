"""Speculation: SPEC_CTRL, PRED_CMD, FLUSH_CMD, ARCH_CAPABILITIES (SDM 4, table 2-2; APM 2, 3.2.9; APM 3, E.4.7)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import BareMachine

GP = (13, 0)
SPEC_CTRL, PRED_CMD, ARCH_CAPABILITIES, FLUSH_CMD = 0x48, 0x49, 0x10A, 0x10B


def refuses(model: str, number: int, value: int) -> bool:
    return BareMachine(model=model).fault("0f30", rcx=number, rax=value & 0xFFFFFFFF, rdx=value >> 32) == GP


@pytest.mark.parametrize(
    ("model", "bits"),
    [
        ("sapphire_rapids", 0x4FF),
        ("sapphire_rapids,-bhi_ctrl,-ssbd", 0xFB),
        ("epyc_genoa", 0x87),
        ("epyc_genoa,-amd_psfd,-amd_stibp", 5),
        ("haswell,+stibp", 2),
    ],
)
def test_spec_ctrl_has_the_bits_that_cpuid_tells(model: str, bits: int) -> None:
    m = BareMachine(model=model)
    assert m.rdmsr(SPEC_CTRL) == 0
    m.wrmsr(SPEC_CTRL, bits)
    assert m.rdmsr(SPEC_CTRL) == bits
    assert all(refuses(model, SPEC_CTRL, 1 << bit) == (not bits >> bit & 1) for bit in (*range(12), 63))


@pytest.mark.parametrize(
    ("model", "number"), [("sapphire_rapids", PRED_CMD), ("epyc_genoa", PRED_CMD), ("sapphire_rapids", FLUSH_CMD)]
)
def test_commands_are_write_only(model: str, number: int) -> None:
    m = BareMachine(model=model)
    m.wrmsr(number, 0)
    m.wrmsr(number, 1)
    assert m.fault("0f32", rcx=number) == GP
    assert refuses(model, number, 2) and refuses(model, number, 1 << 32)


def test_arch_capabilities() -> None:
    """RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, MDS_NO, IF_PSCHANGE_MC_NO, TAA_NO, three of stale data; read-only."""
    value = BareMachine(model="sapphire_rapids").rdmsr(ARCH_CAPABILITIES)
    assert value == sum(1 << bit for bit in (0, 1, 3, 5, 6, 8, 13, 14, 15))
    assert refuses("sapphire_rapids", ARCH_CAPABILITIES, value)


@pytest.mark.parametrize(
    ("model", "numbers"),
    [
        ("haswell", (SPEC_CTRL, PRED_CMD, ARCH_CAPABILITIES, FLUSH_CMD)),
        ("epyc_genoa", (ARCH_CAPABILITIES, FLUSH_CMD)),
        ("epyc_genoa,-ibpb", (PRED_CMD,)),
    ],
)
def test_absent_where_cpuid_does_not_tell_them(model: str, numbers: tuple[int, ...]) -> None:
    for number in numbers:
        assert BareMachine(model=model).fault("0f32", rcx=number) == GP
        assert refuses(model, number, 0)


def test_cpuid() -> None:
    m = BareMachine("long", "sapphire_rapids")
    m.run("0fa2", rax=7, rcx=0)
    assert (m.cpu.rax, m.cpu.rdx >> 26) == (2, 0b101111)
    m.run("0fa2", rax=7, rcx=2)
    assert m.cpu.rdx == 0x17
    m = BareMachine("long", "epyc_genoa")
    m.run("0fa2", rax=0x80000008)
    assert m.cpu.rbx >> 12 == 0x710ED
    m.run("0fa2", rax=7, rcx=0)
    assert not m.cpu.rdx >> 26


def state_with(value: int) -> bytes:
    m = BareMachine(model="epyc_genoa")
    m.wrmsr(SPEC_CTRL, value)
    m.cpu.rax = 0
    return m.cpu.saved_state()


def test_spec_ctrl_is_saved() -> None:
    assert state_with(5) == state_with(5) != state_with(1)


def test_init_leaves_spec_ctrl_and_power_on_clears_it() -> None:
    """SDM 3A, table 10-1: other MSRs."""
    m = BareMachine(model="epyc_genoa")
    m.wrmsr(SPEC_CTRL, 5)
    m.signals[0].pulse_init()
    m.engine.step()
    assert m.cpu.cr0 & 1 == 0, "INIT has been taken"
    m.enter()
    assert m.rdmsr(SPEC_CTRL) == 5
    m.cpu.reset()
    m.enter()
    assert m.rdmsr(SPEC_CTRL) == 0
