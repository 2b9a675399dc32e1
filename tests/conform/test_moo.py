"""The MOO reader and the suite singlestep, on files made here and on the captures where they are."""

from __future__ import annotations

import gzip
import json
import struct
from pathlib import Path

import pytest

from tests.conform_hw import vectors_directory
from x86emu.conform.report import html, markdown, summary
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options
from x86emu.conform.suites.moo import REGISTERS, read_json, read_moo
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


def moo(cpu: bytes, code: bytes, changed: dict[str, int], *, digest: bytes = b"", **initial: int) -> bytes:
    """One case at 1000:0100."""
    values = (
        dict.fromkeys(REGISTERS, 0) | {"cs": 0x1000, "ip": 0x100, "ss": 0x2000, "sp": 0x100, "flags": 0xF002} | initial
    )
    before = registers(values) + ram({0x10100 + n: byte for n, byte in enumerate(code)})
    case = struct.pack("<I", 7)
    case += chunk(b"NAME", struct.pack("<I", 4) + b"test") + chunk(b"BYTS", struct.pack("<I", len(code)) + code)
    case += chunk(b"INIT", before) + chunk(b"FINA", registers(changed) + ram({}))
    case += chunk(b"HASH", digest) if digest else b""
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


def as_json(changed: dict[str, int], **initial: int) -> dict[str, object]:
    """INC AX at 1000:0100, as the older sets say it."""
    registers = dict.fromkeys(REGISTERS, 0) | {"cs": 0x1000, "ip": 0x100, "flags": 0xF002} | initial
    return {"name": "inc ax", "bytes": [0x40], "initial": {"regs": registers, "ram": [[0x10100, 0x40]], "queue": []},
            "final": {"regs": changed, "ram": [], "queue": []}, "hash": "ab" * 20, "idx": 3}  # fmt: skip


def test_the_json_form_of_a_set(tmp_path: Path) -> None:
    """v1/*.json.gz with metadata.json, and v1_binary/*.MOO.gz, whose metadata lies with the other form."""
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1_binary").mkdir()
    metadata = {"cpu": "8086", "opcodes": {"40": {"status": "normal", "flags-mask": 0xFFFF & ~0x10}}}
    (tmp_path / "v1" / "metadata.json").write_text(json.dumps(metadata))
    good, bad = as_json({"ax": 1, "ip": 0x101, "flags": 0xF012}), as_json({"ax": 2, "ip": 0x101})
    (tmp_path / "v1" / "40.json.gz").write_bytes(gzip.compress(json.dumps([good, bad]).encode()))
    binary = moo(b"8086", b"\x40", {"ax": 1, "ip": 0x101, "flags": 0xF012})
    (tmp_path / "v1_binary" / "40.moo.gz").write_bytes(gzip.compress(binary))
    (tmp_path / "v1" / "41.json").write_text('[{"name": "cut"}]')
    assert read_json(tmp_path / "v1" / "40.json.gz").form == "40"
    result = run_suite(Options("singlestep", directory=tmp_path))
    assert [unit.unit for unit in result.units] == ["v1/40.json.gz", "v1/41.json", "v1_binary/40.moo.gz"]
    assert [(unit.cases, unit.failed) for unit in result.units] == [(2, 1), (0, 0), (1, 0)]
    assert result.units[0].failures[0].differences == ["ax 0001, expected 0002"]
    assert len(result.errors) == 1 and "41.json is no file of SingleStepTests: case 0: KeyError" in result.errors[0]


def test_revoked_captures_are_counted_apart(tmp_path: Path) -> None:
    (tmp_path / "v1").mkdir()
    (tmp_path / "revocation_list.txt").write_text("# bad ones\n" + "CD" * 20 + "\n")
    (tmp_path / "v1" / "40.MOO").write_bytes(moo(b"8086", b"\x40", {"ax": 9, "ip": 0x101}, digest=b"\xcd" * 20))
    result = run_suite(Options("singlestep", directory=tmp_path))
    assert (result.cases, result.failed, result.errors) == (0, 0, [])
    assert list(result.doubtful) == ["v1/40.MOO:7"] and "revocation_list.txt" in result.doubtful["v1/40.MOO:7"]
    assert "1 captures are doubtful" in summary(result)
    assert "v1/40.MOO:7: revoked" in markdown([result])
    assert "Doubtful captures, not run: 1" in html([result])
