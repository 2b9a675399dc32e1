"""Code that changes under the processor (SDM 3A 12.6), and the exact count of instructions whatever the slicing."""

from __future__ import annotations

import random

import pytest
from bare_machine import CODE, DATA, BareMachine


def test_the_next_instruction_of_the_same_trace_is_rewritten() -> None:
    machine = BareMachine("long")
    # mov byte [rip+1], 0x22 (the immediate below); mov al, 0x11
    machine.run("c60501000000 22 b011")
    assert machine.cpu.rax & 0xFF == 0x22
    assert machine.cpu.instructions == 3  # with the closing HLT


def test_a_fused_pair_is_rewritten_between_its_compare_and_its_branch_or_before() -> None:
    machine = BareMachine("long")
    # mov byte [rip+2], 5 (the compare's immediate); cmp ecx, 7; jz +2; mov al, 1
    machine.run("c60502000000 05 83f907 7402 b001", rcx=7, rax=0)
    assert machine.cpu.rax & 0xFF == 1
    assert machine.cpu.instructions == 5
    machine.run("c60502000000 05 83f907 7402 b001", rcx=5, rax=0)
    assert machine.cpu.rax & 0xFF == 0


def test_code_written_through_dma_and_python_is_noticed() -> None:
    machine = BareMachine("long")
    machine.run("b011")
    machine.memory.write(CODE + 1, b"\x77")
    machine.cpu.rip, machine.cpu.activity = CODE, 0
    machine.engine.run(10)
    assert machine.cpu.rax & 0xFF == 0x77
    machine.memory.ram[CODE + 1] = 0x78
    machine.memory.code_written(CODE + 1, 1)
    machine.cpu.rip, machine.cpu.activity = CODE, 0
    machine.engine.run(10)
    assert machine.cpu.rax & 0xFF == 0x78


def test_an_instruction_across_two_pages_follows_a_change_of_either() -> None:
    machine = BareMachine("long")
    cpu = machine.cpu
    at = 0x20FFD  # mov eax, imm32 with its last two bytes on the next page
    machine.memory.write(at, bytes.fromhex("b844332211f4"))
    for offset, value in ((None, 0x11223344), (4, 0x77223344), (1, 0x77223355)):
        if offset is not None:
            machine.memory.write(at + offset, bytes([value >> 8 * (offset - 1) & 0xFF]))
        cpu.rip, cpu.activity = at, 0
        machine.engine.run(10)
        assert cpu.rax == value


def test_data_beside_code_leaves_the_code_alone() -> None:
    machine = BareMachine("long")
    # loop: add [rip+20h], ecx; dec ecx; jnz loop; hlt ... the dword lies in the code's own line
    machine.memory.write(CODE + 0x26, bytes(4))
    machine.run("010d20000000 ffc9 75f6", rcx=1000)
    assert int.from_bytes(machine.memory.read(CODE + 0x26, 4), "little") == 1000 * 1001 // 2
    assert machine.cpu.instructions == 3001
    assert machine.engine.trace_statistics()["stale"] == 0


@pytest.mark.parametrize("slice_length", [1, 2, 3, 7, 50])
def test_slicing_does_not_change_the_run(slice_length: int) -> None:
    """A loop with memory operands, a call and REP, run in slices of any length: same state, same count."""

    def fresh() -> BareMachine:
        machine = BareMachine("long")
        code = bytes.fromhex(
            "b928000000"  # mov ecx, 40
            "8d740900 89340a 0fafc6"  # lea esi,[rcx+rcx]; mov [rdx+rcx],esi; imul eax,esi
            "51 b905000000 f3aa 59"  # push rcx; mov ecx,5; rep stosb; pop rcx
            "c1c805 11c3 ffc9 75e4 f4"  # ror eax,5; adc ebx,eax; dec ecx; jnz; hlt
        )
        machine.memory.write(CODE, code)
        cpu = machine.cpu
        cpu.rip, cpu.rdx, cpu.rdi, cpu.rax, cpu.rbx = CODE, DATA, DATA + 0x800, 3, 0
        return machine

    whole = fresh()
    whole.engine.run(100000)
    sliced = fresh()
    total = 0
    while sliced.cpu.activity == 0 and total < 100000:
        sliced.engine.run(slice_length)
        total += slice_length
    assert sliced.cpu.saved_state() == whole.cpu.saved_state()
    assert sliced.cpu.instructions == whole.cpu.instructions > 500
    assert bytes(sliced.memory.ram) == bytes(whole.memory.ram)


def test_random_stores_into_code_run_as_single_stepping_does() -> None:
    """Random programs of short moves into their own bytes: traces against one instruction at a time."""
    rng = random.Random(12)
    for number in range(60):
        code = bytearray()
        for _ in range(30):
            kind = rng.randrange(4)
            if kind == 0:
                code += bytes([0xB0 + rng.randrange(4), rng.randrange(256)])  # mov r8, imm8
            elif kind == 1:
                code += bytes([0x40 | 0, 0x83, 0xC0 + rng.randrange(3), rng.randrange(100)])  # add r32, imm8
            elif kind == 2:
                # mov [rsi + disp8], imm8: somewhere into the program
                code += bytes([0xC6, 0x46, rng.randrange(100), rng.choice((0x90, 0x41, 0x42, 0xB1, 0xF4, 0x00))])
            else:
                code += bytes([0x39, 0xD8, 0x75, 0x00])  # cmp eax, ebx; jnz +0
        states = []
        for stepping in (False, True):
            machine = BareMachine("long")
            machine.memory.write(CODE, bytes(code) + b"\xf4")
            cpu = machine.cpu
            cpu.rip, cpu.rsi, cpu.rax, cpu.rbx = CODE, CODE, 0, 0
            if stepping:
                for _ in range(200):
                    if cpu.activity:
                        break
                    machine.engine.step()
            else:
                machine.engine.run(200)
            states.append((cpu.saved_state(), cpu.instructions, bytes(machine.memory.ram)))
        assert states[0][0] == states[1][0], f"program {number}: {code.hex()}"
        assert states[0] == states[1], f"program {number}: {code.hex()}"
