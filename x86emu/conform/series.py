"""Transcendental functions in fixed point with 260 bits, from power series: references of the suite testfloat.

FSIN and its kin reduce their operand by the hardware's pi of 66 bits, which defines their results (SDM 1, 8.3.8).
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from math import isqrt

from x86emu.conform.exact import exponent_of

BITS = 260
SCALE = 1 << BITS
HALF_PI_66 = Fraction(0x3243F6A8885A308D3, 1 << 65)


def fixed(value: Fraction) -> int:
    """value in units of 2**-BITS."""
    return value.numerator * SCALE // value.denominator


def series(first: int, factor: Callable[[int], tuple[int, int]]) -> int:
    """first + first * n1/d1 + first * n1/d1 * n2/d2 ... until nothing is left; factor(k) gives nk, dk."""
    total, term, k = 0, first, 0
    while term not in (0, -1):
        total += term
        k += 1
        n, d = factor(k)
        term = term * n // d
    return total


def _inverse_tangent(t: int, sign: int) -> int:
    """t + sign t**3/3 + t**5/5 + sign t**7/7 ... for t below 1."""
    square = t * t // SCALE
    total, term, k = 0, t, 0
    while term not in (0, -1):
        total += sign**k * (term // (2 * k + 1))
        term = term * square // SCALE
        k += 1
    return total


@cache
def pi() -> int:
    """Machin: 16 atan 1/5 - 4 atan 1/239."""
    return 16 * _inverse_tangent(SCALE // 5, -1) - 4 * _inverse_tangent(SCALE // 239, -1)


def _logarithm(x: Fraction) -> int:
    """Natural logarithm of x in 1/2 .. 2."""
    return 2 * _inverse_tangent(fixed((x - 1) / (x + 1)), 1)


@cache
def ln2() -> int:
    return _logarithm(Fraction(2))


def log2(x: Fraction) -> Fraction:
    """The binary logarithm of a positive number."""
    n = exponent_of(x)
    return n + Fraction(_logarithm(x / Fraction(2) ** n), ln2())


def log2_of_1_plus(x: Fraction) -> Fraction:
    """log2(1 + x), as exact beside 0 as elsewhere."""
    if abs(x) < Fraction(1, 4):
        small = Fraction(2) ** (BITS // 2)
        s = x / (2 + x)
        square, total, term, k = s * s, Fraction(0), s, 0
        while abs(term) * small > abs(s):
            total += term / (2 * k + 1)
            term = Fraction(fixed(term * square * small), SCALE) / small
            k += 1
        return 2 * total * SCALE / ln2()
    return log2(1 + x)


def power_of_2_minus_1(x: Fraction) -> Fraction:
    """2**x - 1 for x in -1 .. 1."""
    y = x * Fraction(ln2(), SCALE)
    total, term, k = Fraction(0), y, 1
    least = abs(y) / (1 << 130)
    while abs(term) > least:
        total += term
        k += 1
        term = term * y / k
        term = Fraction(int(term * SCALE * SCALE), SCALE * SCALE)
    return total


def _arctangent(r: Fraction) -> int:
    """atan of r in 0 .. 1; tan(a/2) = t / (1 + sqrt(1 + t*t)) makes the series quick."""
    t = fixed(r)
    for _ in range(3):
        t = t * SCALE // (SCALE + isqrt(SCALE * SCALE + t * t))
    return 8 * _inverse_tangent(t, -1)


def arctangent(y: Fraction, x: Fraction) -> Fraction:
    """The angle of the point (x, y), neither of them 0."""
    a, b = abs(y), abs(x)
    angle = pi() // 2 - _arctangent(b / a) if a > b else _arctangent(a / b)
    if x < 0:
        angle = pi() - angle
    return Fraction(-angle if y < 0 else angle, SCALE)


def sine_and_cosine(x: Fraction) -> tuple[Fraction, Fraction]:
    """Of x reduced by the hardware's pi."""
    quadrant = round(x / HALF_PI_66)
    r = fixed(x - quadrant * HALF_PI_66)
    s = series(r, lambda k: (-r * r // SCALE, 2 * k * (2 * k + 1) * SCALE))
    c = series(SCALE, lambda k: (-r * r // SCALE, (2 * k - 1) * 2 * k * SCALE))
    sine, cosine = ((s, c), (c, -s), (-s, -c), (-c, s))[quadrant & 3]
    return Fraction(sine, SCALE), Fraction(cosine, SCALE)
