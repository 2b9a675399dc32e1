"""Every register form of the SIMD rows against this host's own processor, on random and borderline operands."""

from __future__ import annotations

import random

import pytest

from tests.simd.engine import emulate
from tests.simd.native import AVAILABLE, WHY_NOT, Native, State, features
from x86emu.isa.table import Row, load_rows

SINGLES = [
    0,
    1,
    2,
    0x400000,
    0x7FFFFF,
    0x800000,
    0x800001,
    0x1000000,
    0x3F000000,
    0x3F800000,
    0x3F800001,
    0x3FC00000,
    0x40200000,
    0x4B000000,
    0x4B800001,
    0x4EFFFFFF,
    0x4F000000,
    0x5EFFFFFF,
    0x5F000000,
    0x7F7FFFFF,
    0x7F800000,
    0x7F800001,
    0x7FA00000,
    0x7FC00000,
    0x7FC12345,
]
DOUBLES = [
    0,
    1,
    2,
    (1 << 52) - 1,
    1 << 52,
    (1 << 52) + 1,
    2 << 52,
    0x3690 << 48,
    0x380FFFFFFFFFFFFF,
    0x3810 << 48,
    0x3FE << 52,
    0x3FF << 52,
    (0x3FF << 52) + 1,
    0x3FF8 << 48,
    0x4004 << 48,
    0x41DFFFFFFFC00000,
    0x41DFFFFFFFE00000,
    0x41E << 52,
    0x433 << 52,
    0x43DFFFFFFFFFFFFF,
    0x43E << 52,
    0x47EFFFFFE0000000,
    0x47EFFFFFF0000000,
    0x7FEFFFFFFFFFFFFF,
    0x7FF << 52,
    (0x7FF << 52) + 1,
    0x7FF4 << 48,
    0x7FF8 << 48,
    0x7FF8123456789ABC,
]
APPROXIMATE = {"RCPPS", "RCPSS", "RSQRTPS", "RSQRTSS"}
CPUINFO = {"sse3": "pni", "sha": "sha_ni"}
PREFIXES = {"NP": b"", "66": b"\x66", "F3": b"\xf3", "F2": b"\xf2"}


def simd_rows() -> list[Row]:
    """The rows with a register form whose operands Native has."""
    return [
        row
        for row in load_rows()
        if (row.has("mmx") or row.has("sse"))
        and not row.has("mem")
        and not any(operand.letter in "MX" for operand in row.operands)
        and row.mnemonic not in APPROXIMATE
    ]


def number(rng: random.Random, bits: int) -> int:
    """Elements of one kind: arbitrary, doubles, singles, bytes or words at their edges."""
    size, edges = rng.choice(
        [(64, DOUBLES), (32, SINGLES), (8, [0, 1, 0x41, 0x7F, 0x80, 0xFF]), (16, [1, 0x8000]), (64, [])]
    )
    value = 0
    for shift in range(0, bits, size):
        element = rng.getrandbits(size)
        if edges and rng.randrange(4):
            element = rng.choice(edges) | (element & 1) << (size - 1)
        value |= element << shift
    return rng.randrange(70) if rng.randrange(20) == 0 else value


def integer(rng: random.Random) -> int:
    """A general register: around 0 and powers of two, or of any length."""
    near = (1 << rng.randrange(65)) + rng.randrange(-3, 4)
    return rng.choice([near, rng.getrandbits(rng.randrange(1, 65))]) & 0xFFFFFFFFFFFFFFFF


@pytest.mark.skipif(not AVAILABLE, reason=WHY_NOT)
@pytest.mark.parametrize("row", simd_rows(), ids=str)
def test_register_form(row: Row) -> None:
    if CPUINFO.get(row.feature, row.feature) not in features():
        pytest.skip(f"this host's processor has no {row.feature}")
    rng = random.Random(str(row))
    letters = [operand.letter for operand in row.operands]
    modrm = 0xC0 | 2 | (row.extension << 3 if row.extension is not None else 1 << 3)
    for wide in (b"", b"\x48") if any(operand.size == "y" for operand in row.operands) else (b"",):
        for same in (False, True) if letters[:2] in (["V", "W"], ["P", "Q"]) else (False,):
            code = PREFIXES[row.prefix] + wide + row.opcode
            if row.has_modrm:
                code += bytes([modrm & ~7 | 1 if same else modrm])
            code += bytes(rng.choice([rng.getrandbits(8), rng.randrange(24)]) for _ in range(letters.count("I")))
            run = Native(code)
            for k in range(12):
                mxcsr = 0x1F80 | (k & 3) << 13 | rng.choice([0, 0, 0x40]) | rng.choice([0, 0, 0x8000])
                before = State(
                    [number(rng, 128) for _ in range(4)],
                    [number(rng, 64) for _ in range(4)],
                    [integer(rng) for _ in range(3)],
                    mxcsr | rng.choice([0, 0x20, rng.getrandbits(6)]),
                    flags=0x202,
                )
                expected, got = run(before), emulate(code, before)
                expected.flags &= 0x8D5
                got.flags &= 0x8D5
                assert got == expected, f"{code.hex()} on {before}"
