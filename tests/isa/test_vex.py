"""VEX-encoded rows: their notation, and their disassembly against iced-x86 and Capstone."""

from __future__ import annotations

import re

import capstone
import iced_x86
import pytest

from tests.isa.test_disassembler import CAPSTONE_MODES
from x86emu.conform.vex import Choices, choose_fields
from x86emu.isa.disassembler import disassemble
from x86emu.isa.table import TableError, load_rows, parse_row, parse_rows


def test_a_row() -> None:
    row = parse_row("VEX.256.66.0F3A.W1 00 | VPERMQ | Vqq, Wqq, Ib | - | avx,feature=avx2", "x")
    assert (row.vex, row.prefix, row.opcode, row.map, row.has("W1")) == ("256", "66", b"\x0f\x3a\x00", 6, True)
    row = parse_row("VEX.LZ.NP.0F38.WIG F3 /1 | BLSR | By, Ey | - | feature=bmi1", "x")
    assert (row.vex, row.prefix, row.extension, row.map, row.has("W0")) == ("128", "NP", 1, 5, False)
    assert str(row) == "NP VEX.128 0F 38 F3 /1 BLSR By,Ey"


def test_two_lengths_are_two_rows() -> None:
    rows = parse_rows("VEX.128/256.66.0F.WIG FC | VPADDB | Vx, Hx, Wx | - | avx,feature=avx/avx2", "x")
    assert [(row.vex, row.feature) for row in rows] == [("128", "avx"), ("256", "avx2")]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("VEX.512.66.0F.WIG 58 | X", "no VEX encoding"),
        ("VEX.128.66.0F 58 | X", "no VEX encoding"),
        ("VEX.128.66.0F.W2 58 | X", "no VEX encoding"),
        ("VEX.128.66.0F.WIG 58 59 | X", "one opcode byte"),
        ("VEX.128.66.0F.WIG 58 /8 | X", "write /0 to /7"),
        ("66 0F 58 | X | Vx, Hx, Wx", "for rows with VEX"),
        ("66 0F 58 | X | Vqq, Wdq", "for rows with VEX"),
    ],
)
def test_malformed_rows(line: str, message: str) -> None:
    with pytest.raises(TableError, match=message):
        parse_row(line, "rows_x.py:1")


@pytest.mark.parametrize(
    ("code", "mode", "text"),
    [
        ("c5f458c2", 64, "vaddps ymm0, ymm1, ymm2"),
        ("c4417a104512", 64, "vmovss xmm8, dword ptr [r13 + 0x12]"),
        ("c4e26d900488", 64, "vpgatherdd ymm0, dword ptr [rax + ymm1*4], ymm2"),
        ("c4e34dc204240a", 64, "(undefined)"),
        ("c4e3514adcf0", 32, "vblendvps xmm3, xmm5, xmm4, xmm7"),
        ("c4e1f96ec0", 64, "vmovq xmm0, rax"),
        ("c4e1f96ec0", 32, "vmovd xmm0, eax"),
        ("c4c27bf7c1", 64, "shrx eax, r9d, eax"),
        ("c5f877", 64, "vzeroupper"),
        ("c50b", 32, "lds ecx, fword ptr [ebx]"),
        ("66c5f058c2", 64, "(undefined)"),
    ],
)
def test_texts(code: str, mode: int, text: str) -> None:
    assert disassemble(bytes.fromhex(code).ljust(15, b"\x90"), mode)[1] == text


REGISTER = re.compile(r"\b(?:[xy]mm\d+|r\d+d?|e[a-d]x|r[a-d]x|[er][sd]i|[er][sb]p|[er]ip)\b")
IMPLICIT = ("vmaskmovdqu",)
"""iced-x86 does not show the memory operand."""


@pytest.mark.parametrize("mode", [16, 32, 64])
def test_every_row_against_other_decoders(mode: int) -> None:
    choices = Choices(mode)
    formatter = iced_x86.Formatter(iced_x86.FormatterSyntax.INTEL)
    formatter.rip_relative_addresses = True
    other = capstone.Cs(capstone.CS_ARCH_X86, CAPSTONE_MODES[mode])
    undefined = 0
    for row in load_rows():
        for _ in range(3 if row.vex else 0):
            fields = choose_fields(row, choices, mode == 64)
            code = fields.misprefix + fields.prefix() + row.opcode[-1:] + choices.bytes(12)
            length, text = disassemble(code, mode, 0x1000)
            judge = iced_x86.Decoder(mode, code, ip=0x1000).decode()
            if judge.code == iced_x86.Code.INVALID:
                assert text == "(undefined)", f"{row}: {code.hex()} {text}"
                undefined += 1
                continue
            shown = formatter.format(judge)
            assert (text != "(undefined)", length) == (True, judge.len), f"{row}: {code.hex()} {text}, {shown}"
            if not text.startswith(IMPLICIT):
                assert REGISTER.findall(text) == REGISTER.findall(shown), f"{row}: {code.hex()} {text}, {shown}"
            known = next(other.disasm_lite(code, 0x1000), None)
            assert known is None or known[1] == length, f"{row}: {code.hex()} {text}"
    assert undefined < len(load_rows()) // 2
