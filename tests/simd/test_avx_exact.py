"""FMA3 and F16C against exact fractions (SDM 1, 14.4 and 14.5)."""

from __future__ import annotations

import bisect
import random
from fractions import Fraction
from functools import cache

import numpy as np
import pytest

from tests.simd.avx import XM, machine
from tests.simd.test_softfloat import numbers, rounded, value

DE = 2
# name -> opcode byte of the 213 form, sign of the product, sign of the addend
OPERATIONS = {"vfmadd": (0xA9, 1, 1), "vfmsub": (0xAB, 1, -1), "vfnmadd": (0xAD, -1, 1), "vfnmsub": (0xAF, -1, -1)}
# order -> what to add to the opcode; which of (operand 1, 2, 3) are the factors, which the addend
ORDERS = {"213": (0, (1, 0, 2)), "132": (-0x10, (0, 2, 1)), "231": (0x10, (1, 2, 0))}


def is_denormal(pattern: int, bits: int) -> bool:
    fraction = {32: 23, 64: 52}[bits]
    magnitude = pattern & (1 << bits - 1) - 1
    return 0 < magnitude < 1 << fraction


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_one_rounding(name: str, order: str, bits: int) -> None:
    opcode, product, addend = OPERATIONS[name]
    shift, places = ORDERS[order]
    code = bytes([0xC4, 0xE2, 0xF1 if bits == 64 else 0x71, opcode + shift, 0xC2]).hex()  # xmm0, xmm1, xmm2
    rng = random.Random(f"{name}{order}{bits}")
    m = machine()
    pool = numbers(bits, rng, 200)
    for _ in range(120):
        patterns = [rng.choice(pool) for _ in range(3)]
        if rng.random() < 0.3:  # nearly cancelling
            patterns[places[2]] = patterns[places[0]]
        values = [value(pattern, bits) for pattern in patterns]
        if None in values:
            continue
        a, b, c = (Fraction(values[place] or 0) for place in places)
        exact = product * a * b + addend * c
        if not exact:
            continue
        rounding = rng.randrange(4)
        result, flags = rounded(exact, bits, rounding)
        if any(is_denormal(pattern, bits) for pattern in patterns):
            flags |= DE
        for n, pattern in enumerate(patterns):
            m.cpu.set_ymm(n, pattern | (1 << 256) - (1 << 64))
        m.cpu.mxcsr = 0x1F80 | rounding << 13
        m.run(code)
        got = m.cpu.ymm(0)
        assert (got & (1 << bits) - 1, m.cpu.mxcsr & 0x3F) == (result, flags), [hex(p) for p in patterns]
        assert got >> 64 == (1 << 64) - 1  # the rest of the destination, without the upper half


@pytest.mark.parametrize(
    ("a", "b", "c", "result", "flags"),
    [  # VFMADD213SD: xmm0 = xmm1 * xmm0 + xmm2
        (0x7FF << 52, 0, 0x3FF << 52, 0xFFF8 << 48, 1),  # infinity times zero
        (0x7FF << 52, 0, 0x7FF8123456789ABC, 0x7FF8123456789ABC, 0),  # unless a quiet NaN is added
        (0x7FF << 52, 0x3FF << 52, 0xFFF << 52, 0xFFF8 << 48, 1),  # infinities of opposite sign
        (0x7FF0000000000001, 0x3FF << 52, 0x7FF8 << 48, 0x7FF8000000000001, 1),  # the first NaN counts
        (0, 0x3FF << 52, 1 << 63, 0, 0),  # +0 - 0
        (0x3FF << 52, 0x3FF << 52, 0xBFF << 52, 0, 0),  # an exact zero
    ],
)
def test_special_operands(a: int, b: int, c: int, result: int, flags: int) -> None:
    m = machine()
    m.cpu.mxcsr = 0x1F80
    for n, pattern in ((1, a), (0, b), (2, c)):
        m.cpu.set_ymm(n, pattern)
    m.run("c4e2f1a9c2")
    assert (m.cpu.ymm(0), m.cpu.mxcsr & 0x3F) == (result, flags)


def test_the_sign_alternates() -> None:
    m = machine()
    one, two = int(np.float32(1).view(np.uint32)), int(np.float32(2).view(np.uint32))
    whole = sum(1 << 32 * n for n in range(8))
    for code, wanted in (("c4e275a6c2", [1.0, 3.0] * 4), ("c4e275a7c2", [3.0, 1.0] * 4)):
        for n, pattern in ((0, one), (1, two), (2, one)):
            m.cpu.set_ymm(n, pattern * whole)
        m.run(code)  # VFMADDSUB213PS, VFMSUBADD213PS
        assert np.frombuffer(m.cpu.ymm(0).to_bytes(32, "little"), np.float32).tolist() == wanted


def test_an_unmasked_exception_leaves_the_destination() -> None:
    m = machine()
    m.cpu.mxcsr = 0x1F80 & ~0x80
    for n, pattern in ((0, 5), (1, 0x7FF0000000000001), (2, 7)):
        m.cpu.set_ymm(n, pattern)
    assert m.fault("c4e2f1a9c2") == (XM, None)
    assert (m.cpu.ymm(0), m.cpu.mxcsr & 0x3F) == (5, 1)


def test_every_half_becomes_the_single_that_it_is() -> None:
    m = machine()
    m.cpu.mxcsr = 0x1F80 | 0x8040  # neither FTZ nor DAZ counts
    halves = np.arange(1 << 16, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        singles = halves.view(np.float16).astype(np.float32).view(np.uint32)
    nan = (halves & 0x7FFF) > 0x7C00
    wide = halves[nan].astype(np.uint32)
    singles[nan] = (wide & 0x8000) << 16 | 0x7FC00000 | (wide & 0x3FF) << 13
    for start in range(0, 1 << 16, 8 * 97):
        chunk = halves[start : start + 8]
        m.cpu.set_ymm(1, int.from_bytes(chunk.tobytes(), "little"))
        m.run("c4e27d13c1")  # VCVTPH2PS ymm0, xmm1
        assert m.cpu.ymm(0).to_bytes(32, "little") == singles[start : start + 8].tobytes(), hex(start)


@cache
def halves_in_order() -> list[Fraction]:
    """What the patterns 0 to 7BFFh stand for, and what 7C00h would if it were not infinity."""
    return [
        Fraction(n, 1 << 24) if n < 1024 else Fraction(1024 + n % 1024, 1 << 10) * Fraction(2) ** (n // 1024 - 15)
        for n in range(0x7C01)
    ]


def half(exact: Fraction, rounding: int) -> int:
    """Magnitude of a half: exact is positive; rounding is that of a positive number."""
    steps = halves_in_order()
    above = bisect.bisect_left(steps, exact)
    if above <= 0x7C00 and steps[above] == exact:
        return above
    if above > 0x7C00:
        return 0x7C00 if rounding in (0, 2) else 0x7BFF
    below = above - 1
    if rounding in (1, 3):
        return below
    if rounding == 2:
        return above
    middle = (steps[below] + steps[above]) / 2
    return below if exact < middle or (exact == middle and below % 2 == 0) else above


def test_singles_become_halves() -> None:
    rng = random.Random(16)
    m = machine()
    for _ in range(60):
        exponent = rng.choice([rng.randrange(95, 145), rng.randrange(100, 115), 142])
        pattern = exponent << 23 | rng.choice([rng.getrandbits(23), rng.getrandbits(10) << 13, 0x7FFFFF, 0x7FF000])
        negative = rng.random() < 0.5
        rounding = rng.randrange(4)
        exact = value(pattern, 32)
        assert exact is not None
        mirrored = {0: 0, 1: 2, 2: 1, 3: 3}[rounding] if negative else rounding
        m.cpu.set_ymm(1, pattern | negative << 31)
        by_register = rng.random() < 0.5
        m.cpu.mxcsr = 0x9F80 | (rounding << 13 if by_register else 0)
        m.run(f"c4e3791dc8{4 if by_register else rounding:02x}")  # VCVTPS2PH xmm0, xmm1, imm
        assert m.cpu.ymm(0) & 0xFFFF == half(exact, mirrored) | negative << 15, (hex(pattern), rounding)
