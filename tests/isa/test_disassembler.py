"""The disassembler: texts, and lengths against Capstone and against lengths measured on a processor."""

from __future__ import annotations

import gzip
import os
import random
from pathlib import Path

import capstone
import pytest

from x86emu.isa.disassembler import IncompleteInstruction, disassemble
from x86emu.isa.table import Row, load_rows

CAPSTONE_MODES = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}
VECTORS = Path(os.environ.get("X86EMU_VECTORS", Path(__file__).resolve().parents[2].parent / "shared" / "data")) / "hw"

# Where Capstone's lengths are wrong or another processor's.
CAPSTONE_DIFFERS = frozenset(
    {
        "ud0",  # takes no ModRM there; processors fetch one
        "ud1",
        "extrq",  # two immediate bytes, one there in 16-bit mode
        "insertq",
        "vmread",  # taken for EXTRQ and INSERTQ in 16-bit mode
    }
)


@pytest.mark.parametrize(
    ("code", "mode", "text"),
    [
        ("488b44cb10", 64, "mov rax, qword ptr [rbx + rcx*8 + 0x10]"),
        ("f0480fb11d00000000", 64, "lock cmpxchg qword ptr [rip], rbx"),
        ("65488b042528000000", 64, "mov rax, qword ptr gs:[0x28]"),
        ("2e8b07", 16, "mov ax, word ptr cs:[bx]"),
        ("642e8a4500", 64, "mov al, byte ptr fs:[rbp]"),
        ("2e8a4500", 64, "mov al, byte ptr [rbp]"),
        ("642e8a4500", 32, "mov al, byte ptr cs:[ebp]"),
        ("8a2e3412", 16, "mov ch, byte ptr [0x1234]"),
        ("408ac6", 64, "mov al, sil"),
        ("f3a4", 64, "rep movsb byte ptr [rdi], byte ptr [rsi]"),
        ("d8c1", 32, "fadd st(0), st(1)"),
        ("c8100001", 32, "enter 0x10, 1"),
        ("ea0000fff0", 16, "jmp 0xf0ff:0x0"),
        ("e8fbffffff", 64, "call 0x1000"),
        ("83c0ff", 32, "add eax, 0xffffffff"),
        ("6aff", 64, "push 0xffffffffffffffff"),
        ("48b8efcdab8967452301", 64, "mov rax, 0x123456789abcdef"),
        ("0f22d8", 64, "mov cr3, rax"),
        ("0f2218", 64, "mov cr3, rax"),
        ("0f01d0", 64, "xgetbv"),
        ("4898", 64, "cdqe"),
        ("6698", 64, "cbw"),
        ("660f6fc1", 64, "movdqa xmm0, xmm1"),
        ("0f6fc1", 64, "movq mm0, mm1"),
        ("f390", 64, "pause"),
        ("4190", 64, "xchg r8d, eax"),
        ("ff2b", 64, "jmp fword ptr [rbx]"),
        ("40", 32, "inc eax"),
        ("f04001d8", 64, "(undefined)"),
        ("0f20c8", 32, "mov eax, cr1"),
        ("8ef8", 32, "(undefined)"),
        ("06", 64, "(undefined)"),
    ],
)
def test_texts(code: str, mode: int, text: str) -> None:
    raw = bytes.fromhex(code)
    length, found = disassemble(raw, mode, 0x1000)
    assert found == text
    assert length == len(raw)


def test_input_that_ends_early_or_makes_no_sense() -> None:
    with pytest.raises(IncompleteInstruction, match="end inside an instruction"):
        disassemble(bytes.fromhex("488b44"), 64)
    with pytest.raises(ValueError, match="16, 32 or 64"):
        disassemble(b"\x90", 8)
    assert disassemble(b"\x66" * 16, 32) == (15, "(undefined)")


def test_a_model_without_the_feature_lacks_the_instruction() -> None:
    popcnt = bytes.fromhex("f30fb8c1")
    assert disassemble(popcnt, 32)[1] == "popcnt eax, ecx"
    assert disassemble(popcnt, 32, features={"base", "i386"})[1] == "(undefined)"
    # Without BMI1, F3 0F BC is BSF.
    assert disassemble(bytes.fromhex("f30fbcc1"), 32, features={"base", "i386"})[1] == "bsf eax, ecx"


def _sample_of_row(row: Row, rng: random.Random, mode: int) -> bytes:
    prefix = b"" if row.prefix in ("", "NP", "NFx") else bytes.fromhex(row.prefix)
    rex = b"\x48" if row.has("W1") else b""
    opcode = bytearray(row.opcode)
    if row.plus_r:
        opcode[-1] |= rng.randrange(8)
    code = prefix + (rex if mode == 64 else b"") + bytes(opcode)
    if row.has_modrm:
        modrm = rng.randrange(256)
        if row.modrm is not None:
            modrm = row.modrm | (rng.randrange(8) if row.modrm_plus_i else 0)
        else:
            if row.extension is not None:
                modrm = modrm & 0xC7 | row.extension << 3
            if row.has("reg"):
                modrm |= 0xC0
            elif row.has("mem") and modrm >= 0xC0:
                modrm &= 0x7F
        code += bytes([modrm])
    return code + rng.randbytes(12)


def _is_narrow_branch(code: bytes, mode: int, text: str) -> bool:
    """66h on a near branch in 64-bit mode: Intel's processors and our rows ignore it, AMD's and Capstone do not."""
    return mode == 64 and b"\x66" in code[:14] and text.split()[0].startswith(("j", "call"))


def _agree(code: bytes, mode: int, decoder: capstone.Cs) -> bool | None:
    """None where one of the two does not know the bytes."""
    length, text = disassemble(code, mode, 0x1000)
    other = next(decoder.disasm_lite(code, 0x1000), None)
    if other is None or text == "(undefined)" or other[2] in CAPSTONE_DIFFERS:
        return None
    if _is_narrow_branch(code, mode, text):
        return None
    return other[1] == length


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_lengths_of_every_row_against_capstone(mode: int) -> None:
    rng = random.Random(mode)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, CAPSTONE_MODES[mode])
    compared = 0
    for row in load_rows():
        if row.has("o64") and mode != 64:
            continue
        for _ in range(4):
            code = _sample_of_row(row, rng, mode)
            agree = _agree(code, mode, decoder)
            assert agree is not False, f"{row}: {code.hex()} {disassemble(code, mode)}"
            compared += agree is True
    assert compared > len(load_rows())


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_lengths_of_random_bytes_against_capstone(mode: int) -> None:
    rng = random.Random(mode + 1)
    decoder = capstone.Cs(capstone.CS_ARCH_X86, CAPSTONE_MODES[mode])
    compared = 0
    for _ in range(4000):
        code = rng.randbytes(16)
        if rng.random() < 0.4:
            code = bytes([0x0F]) + code[1:]
        agree = _agree(code, mode, decoder)
        assert agree is not False, f"{code.hex()} {disassemble(code, mode)}"
        compared += agree is True
    assert compared > 2000


@pytest.mark.parametrize("mode", [32, 64])
def test_lengths_measured_on_a_processor(mode: int) -> None:
    path = VECTORS / f"declen{mode}.txt.gz"
    if not path.exists():
        pytest.skip(f"{path.name} is not there; X86EMU_VECTORS names the directory above hw/")
    compared = 0
    with gzip.open(path, "rt") as lines:
        for number, line in enumerate(lines):
            if line.startswith("#") or number % 8 or number > 64000:
                continue
            code, verdict, length = line.split()[:3]
            found, text = disassemble(bytes.fromhex(code).ljust(16, b"\0"), mode)
            if verdict == "ok" and text != "(undefined)" and not _is_narrow_branch(bytes.fromhex(code), mode, text):
                assert found == int(length), f"{code} {text}"
                compared += 1
    assert compared > 1000
