"""Branches through tables of addresses whose index one handler computes with them, and traces that follow a JMP,
against one instruction at a time (SDM 2A: JMP, CALL; the handlers: _gen/forms_index.py, builder.follow)."""

import random
import struct

import pytest
from bare_machine import CODE, DATA, BareMachine

MAPPED = 0x400000
"""Bytes of memory that the bare machine's tables map."""
TABLE = DATA + 0x100
NEXT_VALUE = "69c00d661900 055ff36e3c"  # imul eax, eax, 1664525; add eax, 1013904223
INDICES = {
    "and": "89c3 c1c305 83e307",
    "and of 64 bits": "4889c3 c1c305 4883e307",
    "shift": "89c3 0fcb c1eb1d",
    "shift of 64 bits": "4889c3 480fcb 48c1eb3d",
    "copy, and": "4531c9 89c3 83e307",
    "copy, and of 64 bits": "4889c3 4883e307",
    "shift, and": "89c3 0fcb c1eb03 83e307",
    "shift, and of 64 bits": "4889c3 0fcb 48c1eb03 4883e307",
    "another register than the branch's": "89c3 83e307 83e20f",
}
ADDRESSES = {"no base": (0, 3, 5), "a base": (2, 3, 5), "the index as base": (2, 3, 3), "a scale of 4": (0, 2, 5)}
"""ModRM's mod, SIB's scale and base."""


def program(index: str, branch: str, address: tuple[int, int, int], table: int) -> tuple[bytes, bytes]:
    """A loop of ECX rounds through eight targets, and the table."""
    mod, scale, base = address
    sib = scale << 6 | 3 << 3 | base
    displacement = 0 if base == 5 and mod else table
    reg = 2 if branch == "call" else 4
    loop = bytes.fromhex(NEXT_VALUE + INDICES[index])
    loop += bytes([0xFF, mod << 6 | reg << 3 | 4, sib]) + struct.pack("<i", displacement)
    places, targets = [], b""
    for k in range(8):
        work = bytes([0x83, 0xC2, k]) if k & 1 else bytes([0xC1, 0xC2, k])  # add edx, k; rol edx, k
        leave = b"\xc3" if branch == "call" else bytes([0xEB, (7 - k) * 5])  # to behind the last
        places.append(len(targets))
        targets += work + leave
    tail = b"\xff\xc9\x75"  # dec ecx; jnz loop
    if branch == "call":
        body = loop + tail + struct.pack("b", -(len(loop) + 4)) + b"\xf4"
        start = CODE + len(body)
        code = body + targets
    else:
        code = loop + targets + tail + struct.pack("b", -(len(loop) + len(targets) + 4)) + b"\xf4"
        start = CODE + len(loop)
    stride = (1 << scale) + (base == 3)
    entries = bytearray(8 * stride + 8)
    for k, place in enumerate(places):
        entries[k * stride : k * stride + 8] = struct.pack("<Q", start + place)
    return code, bytes(entries)


def outcomes(code: bytes, entries: bytes, table: int, slices: random.Random | None) -> tuple[object, ...]:
    machine = BareMachine("long")
    machine.memory.write(CODE, code)
    machine.memory.write(table, entries[: MAPPED - table])
    cpu = machine.cpu
    cpu.rip, cpu.rax, cpu.rcx, cpu.rdx, cpu.rbp, cpu.rflags = CODE, 0x2545F491, 60, 1, table, 2
    while not cpu.activity and cpu.instructions < 5000:
        if slices is None:
            machine.engine.step()
        else:
            machine.engine.run(slices.choice((1, 2, 3, 7, 200)))
    assert cpu.activity
    return cpu.cr2, cpu.saved_state(), cpu.instructions, bytes(machine.memory.ram)


@pytest.mark.parametrize("branch", ["jmp", "call"])
@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("index", INDICES)
def test_branches_through_a_table(index: str, address: str, branch: str) -> None:
    code, entries = program(index, branch, ADDRESSES[address], TABLE)
    slices = random.Random(f"{index} {address} {branch}")
    assert outcomes(code, entries, TABLE, slices) == outcomes(code, entries, TABLE, None)


@pytest.mark.parametrize("branch", ["jmp", "call"])
@pytest.mark.parametrize("index", [index for index in INDICES if "another" not in index])
def test_a_table_that_ends_at_a_page_not_present(index: str, branch: str) -> None:
    """The index is there, and the page fault is the branch's."""
    table = MAPPED - 8 * 7
    code, entries = program(index, branch, ADDRESSES["no base"], table)
    run, stepped = (outcomes(code, entries, table, slices) for slices in (random.Random(index), None))
    assert run == stepped
    assert run[0] == MAPPED
