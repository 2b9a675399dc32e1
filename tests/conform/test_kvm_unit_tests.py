"""The suite kvm-unit-tests, on tiny multiboot images made here that print and end as those tests do."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError
from x86emu.firmware.bios import default_bios

LOAD = 0x100000


def image(text: bytes, status: int) -> bytes:
    """A multiboot ELF that writes text to COM1 and status to port F4h."""
    header = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
    code = b"\x66\xba\xfb\x03\xb0\x03\xee"  # eight data bits
    for byte in text:
        code += b"\x66\xba\xfd\x03\xec\xa8\x20\x74\xf7"  # wait for room: mov dx, 3FDh; in; test 20h; jz
        code += b"\x66\xba\xf8\x03\xb0" + bytes([byte]) + b"\xee"
    code += b"\xb8" + struct.pack("<I", status) + b"\xe7\xf4\xf4"
    body = header + code
    elf = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, LOAD + 12, 52, 0, 0, 52, 32, 1, 0, 0, 0
    )  # fmt: skip
    elf += struct.pack("<IIIIIIII", 1, 84, LOAD, LOAD, len(body), len(body), 7, 4)
    return elf + body


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    try:
        default_bios()
    except UserInputError as error:
        pytest.skip(str(error))
    (tmp_path / "good.flat").write_bytes(image(b"PASS: one\nPASS: two\n", 0))
    (tmp_path / "bad.flat").write_bytes(image(b"PASS: one\nFAIL: two\n", 1))
    (tmp_path / "none.flat").write_bytes(b"no kernel at all")
    return tmp_path


def test_verdicts(directory: Path) -> None:
    run = run_suite(Options("kvm-unit-tests", directory=directory))
    units = {unit.unit: unit for unit in run.units}
    assert (units["good.flat"].cases, units["good.flat"].failed) == (2, 0)
    assert (units["bad.flat"].cases, units["bad.flat"].failed) == (2, 1)
    assert units["bad.flat"].failures[0].differences == ["two"]
    assert len(units["none.flat"].errors) == 1 and "none.flat" in units["none.flat"].errors[0]


def test_needs_images(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no \*\.flat images"):
        run_suite(Options("kvm-unit-tests", directory=tmp_path))
