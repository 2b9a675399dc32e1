"""x87 transcendental instructions against integer series of 200 and more bits."""

from __future__ import annotations

import math
import random
from fractions import Fraction

import pytest

from tests.x87.exact import C1, DE, IE, PE, UE, ZE, J, encode, floor_log2, power, value_of
from x86emu.conform.series import BITS, HALF_PI_66, SCALE, fixed, series
from x86emu.core import softfloat_api as softfloat

F80 = tuple[int, int]
INDEFINITE: F80 = (0xC000000000000000, 0xFFFF)
INFINITY: F80 = (J, 0x7FFF)
MINUS_INFINITY: F80 = (J, 0xFFFF)
ZERO: F80 = (0, 0)
ONE: F80 = (J, 0x3FFF)
TWO: F80 = (J, 0x4000)
QNAN: F80 = (J | 1 << 62 | 3, 0x7FFF)
C2 = 0x400


def atan_reciprocal(n: int) -> int:
    return sum((-1) ** k * (SCALE // (n ** (2 * k + 1) * (2 * k + 1))) for k in range(BITS))


PI = 16 * atan_reciprocal(5) - 4 * atan_reciprocal(239)


def exponential(x: int) -> int:
    """exp of a fixed-point number below 1 in magnitude."""
    return series(SCALE, lambda k: (x, k * SCALE))


def logarithm(x: Fraction) -> int:
    """Natural logarithm of x in 1/2 .. 2."""
    s = fixed((x - 1) / (x + 1))
    square = s * s // SCALE
    total, term, k = 0, s, 0
    while term not in (0, -1):
        total += term // (2 * k + 1)
        term = term * square // SCALE
        k += 1
    return 2 * total


LN2 = logarithm(Fraction(2))


def sine(x: int) -> int:
    return series(x, lambda k: (-x * x // SCALE, 2 * k * (2 * k + 1) * SCALE))


def cosine(x: int) -> int:
    return series(SCALE, lambda k: (-x * x // SCALE, (2 * k - 1) * 2 * k * SCALE))


def arctangent(r: Fraction) -> int:
    """atan of r in 0 .. 1, by halving the angle twice to make the series quick."""
    t = fixed(r)
    for _ in range(3):  # tan(a/2) = t / (1 + sqrt(1 + t^2))
        root = math.isqrt(SCALE * SCALE + t * t)
        t = t * SCALE // (SCALE + root)
    square = t * t // SCALE
    total, term, k = 0, t, 0
    while term not in (0, -1):
        total += (-1) ** k * (term // (2 * k + 1))
        term = term * square // SCALE
        k += 1
    return 8 * total


def error_in_ulps(result: F80, reference: Fraction) -> float:
    unit = power(max(floor_log2(abs(reference)), -16382) - 63)
    return float(abs(value_of(result) - reference) / unit)


def operand(rng: random.Random, low: int, high: int, signed: bool = True) -> F80:
    sign = rng.choice((0, 0x8000)) if signed else 0
    return J | rng.getrandbits(63), 0x3FFF + rng.randrange(low, high) | sign


def check(result: tuple[F80, int], reference: Fraction, denormal: int = 0) -> None:
    """To nearest within half an ulp and a trifle, with PE, and C1 telling the direction."""
    (value, flags) = result
    assert error_in_ulps(value, reference) < 0.500001
    assert flags & ~C1 == PE | denormal
    assert bool(flags & C1) == (abs(value_of(value)) > abs(reference))


def test_f2xm1() -> None:
    rng = random.Random(1)
    for _ in range(300):
        x = operand(rng, -40, 0)
        check(softfloat.f2xm1(x), Fraction(exponential(fixed(value_of(x)) * LN2 // SCALE) - SCALE, SCALE))
    assert softfloat.f2xm1(ONE) == (ONE, PE)
    assert softfloat.f2xm1((J, 0xBFFF)) == ((J, 0xBFFE), PE)
    assert softfloat.f2xm1((0, 0x8000)) == ((0, 0x8000), 0)
    assert softfloat.f2xm1(MINUS_INFINITY) == ((J, 0xBFFF), 0)
    assert softfloat.f2xm1((1, 0)) == ((1, 0), DE | UE | PE | C1)


def log2_reference(x: Fraction) -> Fraction:
    n = floor_log2(x)
    return n + Fraction(logarithm(x / power(n)), LN2)


def test_fyl2x() -> None:
    rng = random.Random(2)
    for k in range(400):
        x = operand(rng, -3, 3, False) if k % 2 else operand(rng, -16000, 16000, False)
        if k % 5 == 0:  # beside 1, where the logarithm cancels
            x = rng.choice(((J + 1 + rng.getrandbits(20), 0x3FFF), ((1 << 64) - 1 - rng.getrandbits(20), 0x3FFE)))
        y = operand(rng, -20, 20)
        check(softfloat.fyl2x(x, y), log2_reference(value_of(x)) * value_of(y))
    for x, y, expected in (
        (ZERO, ONE, (MINUS_INFINITY, ZE)),
        (ZERO, (J, 0xBFFF), (INFINITY, ZE)),
        (ZERO, ZERO, (INDEFINITE, IE)),
        (ZERO, INFINITY, (MINUS_INFINITY, 0)),
        (ONE, ONE, (ZERO, 0)),
        (ONE, (J, 0xBFFF), ((0, 0x8000), 0)),
        (ONE, INFINITY, (INDEFINITE, IE)),
        ((J, 0xBFFF), ONE, (INDEFINITE, IE)),
        (INFINITY, ZERO, (INDEFINITE, IE)),
        (INFINITY, (J, 0xBFFF), (MINUS_INFINITY, 0)),
        (TWO, INFINITY, (INFINITY, 0)),
        ((J, 0x3FFE), INFINITY, (MINUS_INFINITY, 0)),
        (TWO, TWO, (TWO, PE)),
        (QNAN, ONE, (QNAN, 0)),
    ):
        assert softfloat.fyl2x(x, y) == expected, (x, y)


def test_fyl2xp1() -> None:
    rng = random.Random(3)
    for _ in range(300):
        x, y = operand(rng, -60, -2), operand(rng, -20, 20)
        check(softfloat.fyl2xp1(x, y), Fraction(logarithm(1 + value_of(x)), LN2) * value_of(y))
    for _ in range(50):
        x = operand(rng, -1, 100, False)
        check(softfloat.fyl2xp1(x, ONE), log2_reference(1 + value_of(x)))
    assert softfloat.fyl2xp1(ZERO, INFINITY) == (INDEFINITE, IE)
    assert softfloat.fyl2xp1((0, 0x8000), ONE) == ((0, 0x8000), 0)
    assert softfloat.fyl2xp1(INFINITY, ONE) == (INFINITY, 0)
    assert softfloat.fyl2xp1(MINUS_INFINITY, ONE) == (INDEFINITE, IE)


def test_fpatan() -> None:
    rng = random.Random(4)
    for _ in range(400):
        x, y = operand(rng, -30, 30), operand(rng, -30, 30)
        a, b = abs(value_of(y)), abs(value_of(x))
        angle = PI // 2 - arctangent(b / a) if a > b else arctangent(a / b)
        if x[1] & 0x8000:
            angle = PI - angle
        reference = Fraction(-angle if y[1] & 0x8000 else angle, SCALE)
        check(softfloat.fpatan(x, y), reference)
    pi = 0xC90FDAA22168C235
    for x, y, expected in (
        (ZERO, ZERO, (ZERO, 0)),
        ((0, 0x8000), ZERO, ((pi, 0x4000), PE | C1)),
        (ONE, ZERO, (ZERO, 0)),
        (ZERO, ONE, ((pi, 0x3FFF), PE | C1)),
        (ONE, ONE, ((pi, 0x3FFE), PE | C1)),
        (INFINITY, INFINITY, ((pi, 0x3FFE), PE | C1)),
        (MINUS_INFINITY, MINUS_INFINITY, ((0x96CBE3F9990E91A8, 0xC000), PE | C1)),
        (INFINITY, ONE, (ZERO, 0)),
        (MINUS_INFINITY, ONE, ((pi, 0x4000), PE | C1)),
        (ONE, (1, 0), ((1, 0), DE | UE | PE)),
    ):
        assert softfloat.fpatan(x, y) == expected, (x, y)


def reduced(x: Fraction) -> tuple[int, int]:
    """Quadrant modulo 4 and the rest, in -pi/4 .. pi/4, by the 66-bit pi."""
    quadrant = round(x / HALF_PI_66)
    return quadrant & 3, fixed(x - quadrant * HALF_PI_66)


@pytest.mark.parametrize("name", ["fsin", "fcos", "fptan"])
def test_trigonometry(name: str) -> None:
    rng = random.Random(name)
    for k in range(400):
        x = operand(rng, -30, 3) if k % 2 else operand(rng, 0, 63)
        quadrant, rest = reduced(value_of(x))
        s, c = sine(rest), cosine(rest)
        sin, cos = ((s, c), (c, -s), (-s, -c), (-c, s))[quadrant]
        reference = {"fsin": Fraction(sin, SCALE), "fcos": Fraction(cos, SCALE), "fptan": Fraction(sin, cos)}[name]
        check(getattr(softfloat, name)(x), reference)
    function = getattr(softfloat, name)
    beyond = (J, 0x3FFF + 63)
    assert function(beyond) == (beyond, C2)
    assert function(((1 << 64) - 1, 0xBFFF + 62))[1] & C2 == 0
    assert function(INFINITY) == (INDEFINITE, IE)
    assert function(QNAN) == (QNAN, 0)
    at_zero = ONE if name == "fcos" else (0, 0x8000)
    assert function((0, 0x8000)) == (at_zero, 0)
    if name != "fcos":
        assert function((1, 0)) == ((1, 0), DE | UE | PE)


def test_directed_rounding_brackets_the_value() -> None:
    """Rounding down and up give neighbours; toward zero gives the one nearer zero."""
    rng = random.Random(6)
    for _ in range(100):
        x = operand(rng, -10, 0)
        down, up, chop = (softfloat.f2xm1(x, 0x37F | mode << 10)[0] for mode in (1, 2, 3))
        ulp = power((down[1] & 0x7FFF) - 0x3FFF - 63)
        assert value_of(up) - value_of(down) == ulp
        assert chop == (up if x[1] & 0x8000 else down)
    assert encode(Fraction(1), 0) == ONE
