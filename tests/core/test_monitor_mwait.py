"""HLT, MONITOR and MWAIT, alone and between processors (SDM 2B MWAIT; 3A 9.10.5)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, DATA, BareMachine

UD, GP = (6, None), (13, 0)
WAITER = CODE + 0x800
# mov eax, [rdi]; test eax, eax; jnz +; mov rax, rdi; xor ecx, ecx; xor edx, edx; monitor; mov eax, [rdi];
# test eax, eax; jnz +; xor eax, eax; mwait; jmp start; + mov rbx, 1; hlt
WAIT_FOR_FLAG = "8b07 85c0 7517 4889f8 31c9 31d2 0f01c8 8b07 85c0 7507 31c0 0f01c9 ebe3 48c7c301000000 f4"


def two_processors() -> BareMachine:
    m = BareMachine(processors=2)
    m.memory.write(WAITER, bytes.fromhex(WAIT_FOR_FLAG))
    other = m.engine.cpus[1]
    other.activity, other.rip, other.rdi, other.rbx = 0, WAITER, DATA, 0
    return m


def test_a_store_by_another_processor_wakes() -> None:
    m = two_processors()
    # Processor 0 counts a while, then writes the flag.
    m.memory.write(CODE, bytes.fromhex("b900400000 ffc9 75fc c70301000000 f4"))
    m.cpu.rip, m.cpu.rbx = CODE, DATA
    m.engine.run(20000)
    other = m.engine.cpus[1]
    assert other.activity == 4 and other.rbx == 0  # asleep, and not spinning
    assert other.instructions < 200
    m.engine.run(100000)
    assert (other.rbx, other.activity) == (1, 1)


def test_a_store_elsewhere_does_not_wake() -> None:
    m = two_processors()
    m.memory.write(CODE, bytes.fromhex("c7834000000001000000 f4"))
    m.cpu.rip, m.cpu.rbx = CODE, DATA
    assert m.engine.run(100000) == "halted"
    assert m.engine.cpus[1].activity == 4


def test_mwait_without_monitor_goes_on() -> None:
    m = BareMachine()
    m.run("31c9 31c0 0f01c9 bb07000000")
    assert m.cpu.rbx == 7


@pytest.mark.parametrize(("code", "rcx"), [("0f01c8", 1), ("0f01c9", 2)])
def test_unknown_extensions(code: str, rcx: int) -> None:
    assert BareMachine().fault(code, rcx=rcx, rax=DATA) == GP


@pytest.mark.parametrize("code", ["0f01c8", "0f01c9"])
def test_user_mode_and_models_without_it(code: str) -> None:
    assert BareMachine(cpl=3).fault(code, rcx=0, rax=DATA) == UD
    assert BareMachine(model="default").fault(code, rcx=0, rax=DATA) == UD


def test_monitor_touches_its_address() -> None:
    fault = BareMachine().fault("0f01c8", rcx=0, rax=0x40000000)
    assert fault is not None and fault[0] == 14
