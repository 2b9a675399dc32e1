"""The reader of the instruction rows."""

from __future__ import annotations

import pytest

from x86emu.isa.table import TableError, check_unambiguous, load_rows, parse_row, parse_rows


def test_a_full_row() -> None:
    row = parse_row("80 /2 | ADC | Eb,Ib | w=oszapc r=c | lock", "x.py:7")
    assert (row.prefix, row.opcode, row.extension, row.plus_r, row.modrm) == ("", b"\x80", 2, False, None)
    assert row.mnemonic == "ADC"
    assert [(o.letter, o.size) for o in row.operands] == [("E", "b"), ("I", "b")]
    assert (row.flags_written, row.flags_read, row.flags_undefined) == (0x8D5, 1, 0)
    assert row.has("lock") and row.feature == "base" and row.source == "x.py:7"
    assert row.has_modrm and row.map == 0


def test_prefixes_maps_and_exact_modrm() -> None:
    assert parse_row("NP 0F 58 | ADDPS | Vps,Wps | - | sse,feature=sse", "x").prefix == "NP"
    assert parse_row("66 F2 0F 38 F1 | CRC32 | Gd,Ew | - | feature=sse4.2", "x").prefix == "66F2"
    assert parse_row("66 0F 3A 0F | PALIGNR | Vx,Wx,Ib | - | feature=ssse3", "x").map == 3
    row = parse_row("D8 C0+i | FADD | ST0,STi | - | x87,feature=fpu", "x")
    assert (row.modrm, row.modrm_plus_i, row.has_modrm, row.map) == (0xC0, True, True, 0)
    row = parse_row("0F 01 C8 | MONITOR | - | - | feature=monitor", "x")
    assert (row.opcode, row.modrm) == (b"\x0f\x01", 0xC8)
    row = parse_row("0F C8+r | BSWAP | Zy | - | feature=i486", "x")
    assert row.plus_r and row.opcode == b"\x0f\xc8" and not row.has_modrm
    assert parse_row("9C | PUSHF | !v | - | d64", "x").operands[0].letter == "!"
    assert parse_row("F3 90 | PAUSE", "x").opcode == b"\x90"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("8 | ADD | Eb,Gb | - | -", "no opcode byte"),
        ("80 /9 | ADD | Eb,Ib | - | -", "write /0 to /7"),
        ("0F 38 | X | - | - | -", "incomplete"),
        ("0F 01 01 | X | - | - | -", "memory form"),
        ("51+r | PUSH | Zv | - | -", "low three bits are 0"),
        ("00 | ADD | Eb,Gk | - | -", "'Gk' is no operand"),
        ("00 | ADD | Eb,Mb | - | -", "ModRM.rm"),
        ("00 | ADD | Eb,G | - | -", "lacks its size"),
        ("00 | ADD | Eb,Gb | w=x | -", "oszapcdi"),
        ("00 | ADD | Eb,Gb | w=o u=o | -", "both written"),
        ("00 | ADD | Eb,Gb | - | locked", "no attribute 'locked'"),
        ("00 | ADD | Eb,Gb | - | feature=sse9", "no processor feature"),
        ("00 | ADD | Eb,Gb | - | mem,reg", "exclude each other"),
        ("00 | ADD | Eb,Gb | - | lock=1", "written lock"),
        ("00 | add | Eb,Gb | - | -", "no mnemonic"),
        ("00 | ADD | Eb,Gb | - | - | -", "6 columns"),
        ("50 | PUSH | Zv | - | -", r"needs an opcode with `\+r`"),
    ],
)
def test_malformed_rows_are_told_with_their_place(line: str, message: str) -> None:
    with pytest.raises(TableError, match=message) as caught:
        parse_row(line, "rows_x.py:12")
    assert "rows_x.py:12" in str(caught.value)


def test_comments_and_lines() -> None:
    rows = parse_rows("\n# a comment\n90 | NOP  # one\n\nF4 | HLT | - | - | end\n", "f", 10)
    assert [(r.mnemonic, r.source) for r in rows] == [("NOP", "f:12"), ("HLT", "f:14")]


def test_two_rows_with_one_encoding() -> None:
    check_unambiguous(parse_rows("00 | A | Mb | - | mem\n00 | B | Rb | - | reg", "f"))
    with pytest.raises(TableError, match="f:2: .* encodes the same as .* at f:1"):
        check_unambiguous(parse_rows("00 | A | Eb\n00 | B | Rb | - | reg", "f"))


def test_the_real_rows_load() -> None:
    assert all(row.source for row in load_rows())
