"""The suite decoders and the comparison of disassembler texts."""

from __future__ import annotations

import sys

import pytest

from x86emu.conform import suite
from x86emu.conform.operands import Memory, parse, same_operands
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options
from x86emu.conform.suites import decoders
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import disassemble


def test_texts_are_taken_apart() -> None:
    found = parse(5, "lock add dword ptr fs:[rax + rcx*4 - 0x10], 0xffffffff")
    assert found.mnemonic == "add"
    assert found.operands == (Memory("fs", (("rax", 1), ("rcx", 4)), -0x10, 4), 0xFFFFFFFF)
    assert parse(2, "jae 0x10").mnemonic == "jnb"
    assert parse(1, "ret far").mnemonic == parse(1, "retf").mnemonic
    assert parse(7, "jmp far 0x10,0x20").operands == parse(7, "ljmp 0x20:0x10").operands


@pytest.mark.parametrize(
    ("one", "other", "mode", "same"),
    [
        ("add eax, 0xffffffff", "add eax, -1", 32, True),
        ("push 0xffffffffffffffff", "push 0xff", 64, True),
        ("push 0x7f", "push 0xff", 64, False),
        ("mov al, byte ptr [rbx]", "mov al, [rbx]", 64, True),
        ("mov al, byte ptr [rbx]", "mov al, word ptr [rbx]", 64, False),
        ("mov al, byte ptr [rbx]", "mov al, byte ptr es:[rbx]", 64, True),
        ("mov al, byte ptr [ebx]", "mov al, byte ptr es:[ebx]", 32, False),
        ("mov al, byte ptr [rbx + 0x10]", "mov al, byte ptr [rbx]", 64, False),
        ("fadd st(0), st(1)", "fadd st(1)", 32, True),
        ("fadd st(0), st(2)", "fadd st(1)", 32, False),
        ("stosb byte ptr es:[edi]", "stosb byte ptr es:[edi], al", 32, True),
        ("add eax, ebx", "add ebx, eax", 32, False),
    ],
)
def test_what_counts_as_the_same(one: str, other: str, mode: int, same: bool) -> None:
    assert same_operands(parse(2, one), parse(2, other), mode) is same


@pytest.mark.parametrize(
    "unit", ["random.64.0", "random.32.1", "random.16.2", "table.64.3", "table.32.3", "table.16.3"]
)
def test_no_difference_is_ours(unit: str) -> None:
    result = suite.load_suite("decoders").run(unit, Options("decoders", seed=7, limit=4000))
    assert result.cases == 4000
    assert not result.failed, [(f.code, f.differences) for f in result.failures]
    assert result.peer  # Capstone and iced-x86 differ from each other


def test_a_wrong_disassembler_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(code: bytes, mode: int, address: int = 0) -> tuple[int, str]:
        length, text = disassemble(code, mode, address)
        return length, text.replace("ecx", "edx")

    monkeypatch.setattr(decoders, "disassemble", wrong)
    result = suite.load_suite("decoders").run("table.32.0", Options("decoders", limit=1000))
    assert result.failed > 20
    assert all("edx" in failure.differences[0] for failure in result.failures)


def test_needs_both_packages_and_this_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserInputError, match="only the engine x86emu"):
        run_suite(Options("decoders", "native"))

    monkeypatch.setitem(sys.modules, "iced_x86", None)
    with pytest.raises(UserInputError, match="pip install capstone iced-x86"):
        suite.load_suite("decoders").units(Options("decoders"))
