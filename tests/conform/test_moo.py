"""The MOO reader and the suite singlestep, on files made here and on the captures where they are."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tests.conform_hw import vectors_directory
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options
from x86emu.conform.suites.moo import REGISTERS, read_moo
from x86emu.errors import UserInputError


def chunk(tag: bytes, body: bytes) -> bytes:
    return tag + struct.pack("<I", len(body)) + body


def registers(values: dict[str, int]) -> bytes:
    mask = sum(1 << n for n, name in enumerate(REGISTERS) if name in values)
    present = [values[name] for name in REGISTERS if name in values]
    return chunk(b"REGS", struct.pack(f"<H{len(present)}H", mask, *present))


def ram(contents: dict[int, int]) -> bytes:
    return chunk(
        b"RAM ", struct.pack("<I", len(contents)) + b"".join(struct.pack("<IB", a, v) for a, v in contents.items())
    )


def moo(cpu: bytes, code: bytes, changed: dict[str, int], **initial: int) -> bytes:
    """One case at 1000:0100."""
    values = (
        dict.fromkeys(REGISTERS, 0) | {"cs": 0x1000, "ip": 0x100, "ss": 0x2000, "sp": 0x100, "flags": 0xF002} | initial
    )
    before = registers(values) + ram({0x10100 + n: byte for n, byte in enumerate(code)})
    case = struct.pack("<I", 7)
    case += chunk(b"NAME", struct.pack("<I", 4) + b"test") + chunk(b"BYTS", struct.pack("<I", len(code)) + code)
    case += chunk(b"INIT", before) + chunk(b"FINA", registers(changed) + ram({}))
    return chunk(b"MOO ", struct.pack("<BBHI4s", 1, 0, 0, 1, cpu)) + chunk(b"SKIP", b"unknown") + chunk(b"TEST", case)


def run(path: Path, data: bytes) -> list[str]:
    (path / "D3.4.MOO").write_bytes(data)
    result = run_suite(Options("singlestep", directory=path))
    assert result.cases + len(result.errors) == 1
    return [text for unit in result.units for failure in unit.failures for text in failure.differences] + result.errors


def test_reads_what_a_file_says(tmp_path: Path) -> None:
    path = tmp_path / "40.MOO"
    path.write_bytes(moo(b"8086", b"\x40", {"ax": 1, "ip": 0x101}))
    file = read_moo(path)
    assert (file.form, file.cpu, len(file.cases)) == ("40", "8086", 1)
    assert file.cases[0].index == 7
    assert file.cases[0].code == b"\x40"
    assert file.cases[0].final.registers == {"ax": 1, "ip": 0x101}
    assert file.cases[0].initial.memory == {0x10100: 0x40}


@pytest.mark.parametrize("cut", [3, 20, 60, -1])
def test_a_malformed_file_is_named_with_its_case(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "40.MOO"
    path.write_bytes(moo(b"8086", b"\x40", {})[:cut])
    with pytest.raises(UserInputError, match=r"40\.MOO .* case 0"):
        read_moo(path)


def test_the_8086_takes_shift_counts_whole(tmp_path: Path) -> None:
    after = {"ax": 0, "ip": 0x102, "flags": 0xF046}
    assert run(tmp_path, moo(b"8086", b"\xd3\xe0", after, ax=0xFFFF, cx=33)) == []


def test_the_80286_masks_shift_counts(tmp_path: Path) -> None:
    after = {"ax": 0xFFFE, "ip": 0x103, "flags": 0x83}
    assert run(tmp_path, moo(b"C286", b"\xd3\xe0\xf4", after, ax=0xFFFF, cx=33)) == []


def test_a_difference_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, moo(b"8086", b"\x40", {"ax": 2, "ip": 0x101}))
    assert found == ["ax 0001, expected 0002"]


@pytest.mark.parametrize(
    ("code", "after", "initial"),
    [
        (b"\x54", {"sp": 0xFE, "ip": 0x101}, {}),  # PUSH SP; what it pushes is compared by the captures
        (b"\x62\x10", {"ip": 0x112}, {"flags": 0xF003}),  # 62h is 72h
        (b"\x8c\xe0", {"ax": 0x3000, "ip": 0x102}, {"es": 0x3000}),  # the third bit of a segment register's number
        (b"\xd0\xf0", {"ax": 0xFF, "ip": 0x102, "flags": 0xF086}, {}),  # SETMO
        (b"\xd8\x06\x00\x00", {"ip": 0x104}, {}),  # a coprocessor escape without one
    ],
)
def test_8086_encodings(tmp_path: Path, code: bytes, after: dict[str, int], initial: dict[str, int]) -> None:
    assert run(tmp_path, moo(b"8086", code, after, **initial)) == []


def test_the_80286_lets_lock_stand_before_anything(tmp_path: Path) -> None:
    assert run(tmp_path, moo(b"C286", b"\xf0\x40\xf4", {"ax": 1, "ip": 0x103, "flags": 2})) == []


@pytest.mark.parametrize("name", ["8086", "80286"])
def test_captures(name: str) -> None:
    directory = vectors_directory("singlestep") / name
    result = run_suite(Options("singlestep", directory=directory, limit=12))
    assert result.cases > 3000
    assert not result.errors
    assert not result.failed, result.failed_rows()
