"""Instruction lengths and undefined opcodes against what a processor did with random bytes.

The bytes end at the end of a page and the next page is not present: with as many bytes as the processor needed there
must be no page fault on the fetch, with one fewer there must be one.
"""

from __future__ import annotations

import gzip
from functools import cache

import pytest

from tests.conform_hw import CODE, GPR, LAYOUT, MODEL, UserMachine, vectors

PAGE_END = LAYOUT["code"] + 0x1000
PREFIXES = frozenset(bytes.fromhex("262e3664653ef0f2f36667"))
SAMPLE = 4


def stem(code: bytes, mode: int) -> bytes:
    """What is left behind the prefixes."""
    position = 0
    while code[position] in PREFIXES or (mode == 64 and code[position] & 0xF0 == 0x40):
        position += 1
    return code[position:]


def differs_by_design(code: bytes, mode: int) -> bool:
    """Encodings of extensions that the model lacks (VEX, EVEX, XOP, 3DNow!, XSAVES, SVM), and what this vendor's
    processors do their own way: UD0 and UD1 without ModRM, SYSRET and SYSEXIT, 66h before near branches."""
    rest = stem(code, mode)
    if rest[0] in (0xC4, 0xC5, 0x62, 0x8F):
        return True
    if rest[0] == 0x0F:
        if rest[1] == 0xC7 or (rest[1] == 0x01 and rest[2] >= 0xC0):
            return True
        return rest[1] in (0xB9, 0xFF, 0x0F, 0x07, 0x35) or (0x80 <= rest[1] <= 0x8F and b"\x66" in code[:6])
    return rest[0] in (0xE8, 0xE9) and b"\x66" in code[:6]


@cache
def machine(mode: int) -> UserMachine:
    return UserMachine(mode, LAYOUT, f"{MODEL},+branch16")      # of the captured processor's make


def outcome(mode: int, code: bytes) -> str:
    """What executing these last bytes of the page does: "fetch" is a page fault on the next page."""
    user = machine(mode)
    cpu = user.cpu
    user.reset()
    cpu.rflags = 0x202
    for name in GPR:
        setattr(cpu, name, 0)
    cpu.rsp = LAYOUT["stack"] + 0x1000
    user.write(CODE + 0x1000 - len(code), code)
    cpu.rip = PAGE_END - len(code)
    user.engine.run(1)
    if user.vector is None:
        return "executed"
    if user.vector == 14 and cpu.cr2 == PAGE_END:
        return "fetch"
    return "undefined" if user.vector == 6 else "fault"


@pytest.mark.parametrize("mode", [64, 32])
def test_lengths_and_undefined_opcodes(mode: int) -> None:
    failures, compared = [], 0
    with gzip.open(vectors(f"declen{mode}.txt.gz"), "rt") as file:
        lines = [line.split() for line in file if not line.startswith("#")]
    for text, verdict, length in lines[::SAMPLE]:
        code, used = bytes.fromhex(text), int(length)
        if verdict == "long" or differs_by_design(code, mode):
            continue
        compared += 1
        got = outcome(mode, code[:used])
        if verdict == "UD":
            if got != "undefined":
                failures.append(f"{text}: expected #UD with {used} bytes, got {got}")
            continue
        if got in ("undefined", "fetch"):
            failures.append(f"{text}: {used} bytes should do, got {got}")
        elif used > 1 and outcome(mode, code[: used - 1]) != "fetch":
            failures.append(f"{text}: needs {used} bytes, went on with one fewer")
    assert not failures, "\n".join(failures[:20])
    assert compared > 1000
