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


@pytest.mark.parametrize(("place", "value", "result"), [
    (1, 0xC8, 0x6655 >> 3 & 0x0F | 0x100), (4, 5, 0x8877 >> 5 & 0x0F | 0x100), (7, 0x0E, 0x8877 >> 3 & 0x0E | 0x100),
    (9, 0xCA, 0x8877 >> 3 & 0x0F | 0x200),
])  # fmt: skip
def test_pairs_in_one_record_are_rewritten_in_either_half(place: int, value: int, result: int) -> None:
    machine = BareMachine("long")
    # mov byte [rip+place], value; mov eax, ebx; shr eax, 3; and eax, 15; mov edx, esi; and edx, edi; or eax, edx
    code = bytes([0xC6, 5, place, 0, 0, 0, value]) + bytes.fromhex("89d8 c1e803 83e00f 89f2 21fa 09d0")
    machine.run(code.hex(), rax=0, rbx=0x8877, rcx=0x6655, rsi=0x9911, rdi=0x300, rdx=0x7200)
    assert machine.cpu.rax == result
    assert machine.cpu.instructions == 8


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


# Where in an instruction a byte changes, and what with: immediates of every size, other operands, the opcode itself.
REWRITTEN = {
    "mov eax, imm32": ("b8 78563412", 2, None),
    "add rcx, imm8": ("48 83c1 05", 3, None),
    "mov dword [rdx], imm32": ("c702 78563412", 3, None),
    "mov rax, imm64": ("48 b8 1122334455667788", 6, None),
    "mov ah, imm8": ("b4 11", 1, None),
    "enter imm16, 1; leave": ("c8 1000 01 c9", 1, (0x10, 0x18, 0x20)),
    "cmp al, imm8, fused with the branch behind": ("3c 05 7402 ffc3", 1, None),
    "cmp byte [rdx], imm8, and the branch behind": ("803a 05 7402 ffc3", 2, None),
    "shl eax, imm8, whose flags count or not": ("83f9ff d3c8 c1e0 01 9c 5b", 7, (0, 1, 32, 7)),
    "the register of inc": ("ffc0", 1, (0xC0, 0xC1, 0xC3)),
    "the opcode": ("01c8", 0, (0x01, 0x29, 0x31, 0x11)),
    "the displacement": ("8b4210", 2, (0x10, 0x14, 0x20)),
    "the branch's distance": ("eb00 ffc0 ffc1", 1, (0, 2, 4)),
    "the distance of the first of two": ("eb00 eb00 ffc0 ffc1", 1, (0, 2, 4)),
    "the distance of one in front of a pair": ("eb00 89c3 83e307 ffc0", 1, (0, 5)),
    "what the branch leads to": ("eb01 cc ffc0 ffc1", 4, (0xC0, 0xC1, 0xC3)),
    "what the branch leaves out": ("eb01 cc ffc0 ffc1", 2, None),
    "a prefix": ("90 ffc0", 0, (0x90, 0x66, 0xF3)),
}


@pytest.mark.parametrize("name", REWRITTEN)
def test_an_instruction_rewritten_over_and_over(name: str) -> None:
    """A loop that rewrites one byte of its own body each time around: traces against one instruction at a time."""
    code, at, values = REWRITTEN[name]
    body = bytes.fromhex(code)
    states = []
    for stepping in (False, True):
        machine = BareMachine("long")
        # again: mov al, [rbp + rsi]; mov [rdi + at], al; (body); dec esi; jns again; hlt
        first = bytes.fromhex("8a443500") + bytes([0x88, 0x47, at])
        loop = first + body + bytes.fromhex("ffce 79") + bytes([(-len(first) - len(body) - 4) & 0xFF, 0xF4])
        machine.memory.write(CODE, loop)
        table = bytes(values * 8)[:24] if values else bytes((37 * n + 11) & 0x7F for n in range(24))
        machine.memory.write(DATA + 0x100, table)
        machine.memory.write(DATA, bytes(range(5, 69)))
        cpu = machine.cpu
        cpu.rip, cpu.rdi, cpu.rsi, cpu.rdx, cpu.rbp = CODE, CODE + len(first), 23, DATA, DATA + 0x100
        cpu.rax, cpu.rcx, cpu.rbx, cpu.rflags = 5, 3, 0, 2
        if stepping:
            while not cpu.activity and cpu.instructions < 1000:
                machine.engine.step()
        else:
            machine.engine.run(1000)
        assert cpu.activity
        states.append((cpu.saved_state(), cpu.instructions, bytes(machine.memory.ram)))
    assert states[0] == states[1]


def test_a_trace_that_comes_back_is_the_one_that_others_go_to() -> None:
    machine = BareMachine("long")
    # again: mov [rdi], ecx; call rdi (mov eax, imm32; ret); add ebx, eax; dec ecx; jnz again
    machine.memory.write(DATA, bytes.fromhex("b800000000c3"))
    machine.run("894f01 ffd7 01c3 ffc9 75f5", rcx=200, rdi=DATA, rbx=0)
    assert machine.cpu.rbx == 200 * 201 // 2
    statistics = machine.engine.trace_statistics()
    assert statistics["stale"] >= 199
    assert statistics["traces"] < 20, statistics
