"""Conversions, rounding and approximations on the engine against exact fractions (SDM 1, table 4-10 and 11.5)."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction

import pytest

from tests.simd.engine import emulate
from tests.simd.native import State
from tests.simd.test_softfloat import numbers, rounded, value

IE, DE, PE = 1, 2, 0x20
ROUNDINGS: list[Callable[[Fraction], int]] = [round, math.floor, math.ceil, math.trunc]
"""By MXCSR.RC; Python's round() takes the even one of two equally near integers."""


def run(code: str, *, xmm1: int = 0, rax: int = 0, mxcsr: int = 0x1F80) -> State:
    """The state after an instruction whose source is XMM1 or RAX and whose destination is XMM0 or RAX."""
    return emulate(bytes.fromhex(code), State(xmm=[0, xmm1, 0, 0], gpr=[rax, 0, 0], mxcsr=mxcsr, flags=0x202))


@pytest.mark.parametrize(
    ("code", "source", "bits", "truncates"),
    [
        ("f30f2dc1", 32, 32, False),
        ("f3480f2dc1", 32, 64, False),
        ("f20f2dc1", 64, 32, False),
        ("f2480f2dc1", 64, 64, False),
        ("f30f2cc1", 32, 32, True),
        ("f3480f2cc1", 32, 64, True),
        ("f20f2cc1", 64, 32, True),
        ("f2480f2cc1", 64, 64, True),
    ],
)
def test_to_integers(code: str, source: int, bits: int, truncates: bool) -> None:
    rng = random.Random(code)
    fraction, bias = {32: (23, 127), 64: (52, 1023)}[source]
    near_limit = [
        sign << (source - 1)
        | (bias + exponent) << fraction
        | rng.choice([0, 1, (1 << fraction) - 1, rng.getrandbits(fraction)])
        for exponent in (-2, -1, 0, 1, 22, 23, 29, 30, 31, 51, 52, 61, 62, 63)
        for sign in (0, 1)
    ]
    for number in numbers(source, rng, 60) + near_limit:
        for rounding in range(4):
            exact = value(number, source)
            result = None if exact is None else ROUNDINGS[3 if truncates else rounding](exact)
            flags = PE
            if result is None or not -(1 << (bits - 1)) <= result < 1 << (bits - 1):
                result, flags = -(1 << (bits - 1)), IE
            elif result == exact:
                flags = 0
            after = run(code, xmm1=number, mxcsr=0x1F80 | rounding << 13)
            assert (after.gpr[0], after.mxcsr & 0x3F) == (result & (1 << bits) - 1, flags), (hex(number), rounding)


@pytest.mark.parametrize(
    ("code", "bits", "target"),
    [("f30f2ac0", 32, 32), ("f3480f2ac0", 64, 32), ("f20f2ac0", 32, 64), ("f2480f2ac0", 64, 64)],
)
def test_from_integers(code: str, bits: int, target: int) -> None:
    rng = random.Random(code)
    limit = 1 << (bits - 1)
    for _ in range(150):
        near = (1 << rng.randrange(bits)) + rng.randrange(-2, 3)
        number = (rng.choice([near, -near, rng.getrandbits(bits)]) + limit) % (2 * limit) - limit
        rounding = rng.randrange(4)
        result, flags = rounded(Fraction(number), target, rounding) if number else (0, 0)
        after = run(code, rax=number & 0xFFFFFFFFFFFFFFFF, mxcsr=0x1F80 | rounding << 13)
        assert (after.xmm[0], after.mxcsr & 0x3F) == (result, flags), (number, rounding)


@pytest.mark.parametrize(("code", "source", "target"), [("f30f5ac1", 32, 64), ("f20f5ac1", 64, 32)])
def test_between_formats(code: str, source: int, target: int) -> None:
    rng = random.Random(code)
    fraction = {32: 23, 64: 52}[source]
    pool = numbers(source, rng, 150)
    if source == 64:
        pool += [(1023 + rng.choice([-150, -149, -127, -126, 127, 128])) << 52 | rng.getrandbits(52) for _ in range(60)]
    for number in pool:
        exact = value(number, source)
        if exact is None:
            continue
        rounding = rng.randrange(4)
        result, flags = rounded(exact, target, rounding) if exact else (number >> (source - 1) << (target - 1), 0)
        if exact and not number >> fraction & (0xFF if source == 32 else 0x7FF):
            flags |= DE
        after = run(code, xmm1=number, mxcsr=0x1F80 | rounding << 13)
        assert (after.xmm[0], after.mxcsr & 0x3F) == (result, flags), (hex(number), rounding)


@pytest.mark.parametrize(("opcode", "bits"), [("660f3a0ac1", 32), ("660f3a0bc1", 64)])
def test_rounding_to_integers_in_the_format(opcode: str, bits: int) -> None:
    rng = random.Random(opcode)
    for number in numbers(bits, rng, 150):
        exact = value(number, bits)
        if exact is None:
            continue
        control = rng.randrange(16)
        rounding = rng.randrange(4)
        integer = ROUNDINGS[rounding if control & 4 else control & 3](exact)
        expected = rounded(Fraction(integer), bits, 0)[0] if integer else number >> (bits - 1) << (bits - 1)
        after = run(f"{opcode}{control:02x}", xmm1=number, mxcsr=0x1F80 | rounding << 13)
        assert after.xmm[0] == expected, (hex(number), control)
        assert after.mxcsr & 0x3F == (PE if integer != exact and not control & 8 else 0)


@pytest.mark.parametrize(("code", "of_root"), [("f30f53c1", False), ("f30f52c1", True)])
def test_approximations(code: str, of_root: bool) -> None:
    rng = random.Random(code)
    bound = Fraction(3, 2) / 4096
    for _ in range(300):
        number = rng.randrange(2, 250) << 23 | rng.choice([0, 1, 0x7FFFFF, rng.getrandbits(23)])
        got = value(run(code, xmm1=number).xmm[0], 32)
        exact = value(number, 32)
        assert got is not None and exact is not None
        # got = (1 + error) / x, or got^2 = (1 + error)^2 / x
        product = got * got * exact if of_root else got * exact
        low, high = ((1 - bound) ** 2, (1 + bound) ** 2) if of_root else (1 - bound, 1 + bound)
        assert low <= product <= high, hex(number)
    for number, result in ((0, 0x7F800000), (0x80000001, 0xFF800000), (0x7F800000, 0), (0x7F800001, 0x7FC00001)):
        after = run(code, xmm1=number)
        assert (after.xmm[0], after.mxcsr) == (result, 0x1F80), hex(number)
    assert run(code, xmm1=0xBF800000).xmm[0] == (0xFFC00000 if of_root else 0xBF800000)
