"""Binary floating-point arithmetic in rational numbers (IEEE 754-2008; SDM volume 1, chapters 4, 8.5 and 11.5).

Slow, obvious, and independent of every implementation: the reference of the suite testfloat.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

INVALID, DENORMAL, ZERO_DIVIDE, OVERFLOW, UNDERFLOW, INEXACT = 1, 2, 4, 8, 16, 32
NEAREST, DOWN, UP, CHOP = range(4)


@dataclass(frozen=True)
class Format:
    """A binary format: bits of the significand with its leading one, exponent bits, whether that one is stored."""

    precision: int
    exponent_bits: int
    explicit: bool = False
    rounded_to: int = 0
    """Bits to which results are rounded (x87 precision control), 0 for all."""

    @property
    def bias(self) -> int:
        return (1 << self.exponent_bits - 1) - 1

    @property
    def least(self) -> int:
        """Exponent of the smallest normal number."""
        return 1 - self.bias

    @property
    def greatest(self) -> int:
        return self.bias

    @property
    def fraction_bits(self) -> int:
        """Stored bits of the significand."""
        return self.precision if self.explicit else self.precision - 1


SINGLE = Format(24, 8)
DOUBLE = Format(53, 11)
EXTENDED = Format(64, 15, True)


@dataclass(frozen=True)
class Number:
    """A decoded operand: kind is zero, finite, infinity, qnan or snan."""

    kind: str
    negative: bool
    value: Fraction = Fraction(0)
    bits: int = 0
    denormal: bool = False


def decode(bits: int, f: Format) -> Number:
    """An encoding as a number. Unnormals and pseudo-NaNs of the extended format are not meant to come here."""
    fraction = bits & (1 << f.fraction_bits) - 1
    exponent = bits >> f.fraction_bits & (1 << f.exponent_bits) - 1
    negative = bool(bits >> f.fraction_bits + f.exponent_bits & 1)
    below = fraction & (1 << f.precision - 1) - 1
    if exponent == (1 << f.exponent_bits) - 1:
        if below == 0:
            return Number("infinity", negative, bits=bits)
        return Number("qnan" if below >> f.precision - 2 & 1 else "snan", negative, bits=bits)
    if fraction == 0 and exponent == 0:
        return Number("zero", negative, bits=bits)
    significand = fraction if f.explicit or exponent == 0 else fraction | 1 << f.precision - 1
    value = Fraction(significand) * Fraction(2) ** (max(exponent, 1) - f.bias - (f.precision - 1))
    return Number("finite", negative, -value if negative else value, bits, exponent == 0)


def encode(value: Fraction, exponent: int, negative: bool, f: Format) -> int:
    """Encoding of a magnitude that is representable; exponent is that of its leading bit."""
    biased = max(exponent, f.least) + f.bias
    unit = Fraction(2) ** (max(exponent, f.least) - (f.precision - 1))
    significand = int(value / unit)
    if significand >> f.precision - 1 == 0:
        biased = 0
    stored = significand if f.explicit else significand & (1 << f.precision - 1) - 1
    return int(negative) << f.fraction_bits + f.exponent_bits | biased << f.fraction_bits | stored


def infinity(negative: bool, f: Format) -> int:
    stored = 1 << f.precision - 1 if f.explicit else 0
    return int(negative) << f.fraction_bits + f.exponent_bits | ((1 << f.exponent_bits) - 1) << f.fraction_bits | stored


def default_nan(f: Format) -> int:
    return infinity(True, f) | 1 << f.precision - 2


def zero(negative: bool, f: Format) -> int:
    return int(negative) << f.fraction_bits + f.exponent_bits


def exponent_of(value: Fraction) -> int:
    """floor(log2(value)) of a positive number."""
    n = value.numerator.bit_length() - value.denominator.bit_length()
    return n if Fraction(2) ** n <= value else n - 1


def rounded(value: Fraction, f: Format, mode: int, sticky: bool = False) -> tuple[int, int]:
    """(encoding, exception flags) of a non-zero value with all exceptions masked; tininess is detected after rounding.

    sticky: the true value lies a little farther from 0 than value (square roots)."""
    negative, magnitude = value < 0, abs(value)
    bits = f.rounded_to or f.precision
    exponent = exponent_of(magnitude)
    unbounded, away = _round(magnitude, Fraction(2) ** (exponent - bits + 1), negative, mode, sticky)
    exponent_after = exponent_of(unbounded)
    flags = 0
    if exponent_after < f.least:
        unit = Fraction(2) ** (f.least - bits + 1)
        result, away = _round(magnitude, unit, negative, mode, sticky)
        if away:
            flags |= UNDERFLOW | INEXACT
        if result == 0:
            return zero(negative, f), flags
        return encode(
            result, max(exponent_of(result), f.least) if result >= Fraction(2) ** f.least else f.least, negative, f
        ), flags
    if exponent_after > f.greatest:
        flags = OVERFLOW | INEXACT
        if mode == CHOP or (mode == DOWN and not negative) or (mode == UP and negative):
            largest = (Fraction(2) - Fraction(2) ** (1 - bits)) * Fraction(2) ** f.greatest
            return encode(largest, f.greatest, negative, f), flags
        return infinity(negative, f), flags
    return encode(unbounded, exponent_after, negative, f), INEXACT if away else 0


def _round(magnitude: Fraction, unit: Fraction, negative: bool, mode: int, sticky: bool) -> tuple[Fraction, bool]:
    """(multiple of unit, whether that is another value)."""
    quotient = magnitude / unit
    floor = quotient.numerator // quotient.denominator
    rest = quotient - floor
    if rest == 0 and not sticky:
        return floor * unit, False
    half = Fraction(1, 2)
    if mode == NEAREST:
        up = rest > half or (rest == half and (sticky or floor & 1 == 1))
    else:
        up = mode == (DOWN if negative else UP)
    return (floor + up) * unit, True


def add(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    """a + b of operands that are no NaN."""
    if a.kind == "infinity" or b.kind == "infinity":
        if a.kind == b.kind and a.negative != b.negative:
            return default_nan(f), INVALID
        return infinity(a.negative if a.kind == "infinity" else b.negative, f), 0
    value = a.value + b.value
    if value == 0:
        same = a.negative == b.negative and a.kind == b.kind == "zero"
        return zero(a.negative if same else mode == DOWN, f), 0
    return rounded(value, f, mode)


def multiply(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    """a * b of operands that are no NaN."""
    negative = a.negative != b.negative
    kinds = {a.kind, b.kind}
    if "infinity" in kinds:
        return (default_nan(f), INVALID) if "zero" in kinds else (infinity(negative, f), 0)
    return (zero(negative, f), 0) if "zero" in kinds else rounded(a.value * b.value, f, mode)


def divide(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    """a / b of operands that are no NaN."""
    negative = a.negative != b.negative
    if a.kind == b.kind and a.kind in ("zero", "infinity"):
        return default_nan(f), INVALID
    if a.kind == "infinity":
        return infinity(negative, f), 0
    if b.kind == "infinity" or a.kind == "zero":
        return zero(negative, f), 0
    if b.kind == "zero":
        return infinity(negative, f), ZERO_DIVIDE
    return rounded(a.value / b.value, f, mode)


def square_root(a: Number, f: Format, mode: int) -> tuple[int, int]:
    """The square root of an operand that is no NaN."""
    if a.kind == "zero":
        return a.bits, 0
    if a.negative:
        return default_nan(f), INVALID
    if a.kind == "infinity":
        return a.bits, 0
    shift = 2 * (f.precision + 8) - 2 * (exponent_of(a.value) // 2)
    scaled = a.value * Fraction(2) ** shift
    integer = scaled.numerator // scaled.denominator
    root = isqrt(integer)
    exact = root * root == scaled
    return rounded(Fraction(root) / Fraction(2) ** (shift // 2), f, mode, sticky=not exact)
