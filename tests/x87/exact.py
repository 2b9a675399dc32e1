"""Exact references for the x87 in rational and integer arithmetic: slow, obvious, independent of the code tested."""

from __future__ import annotations

from fractions import Fraction

F80 = tuple[int, int]
J = 1 << 63
IE, DE, ZE, OE, UE, PE, C1 = 1, 2, 4, 8, 16, 32, 0x200
NEAREST, DOWN, UP, CHOP = range(4)
PRECISION_BITS = {0: 24, 1: 64, 2: 53, 3: 64}


def power(n: int) -> Fraction:
    """2**n."""
    return Fraction(1 << n) if n >= 0 else Fraction(1, 1 << -n)


def value_of(a: F80) -> Fraction:
    """The rational value of a finite operand (SDM 1, 4.2.2); a pseudo-denormal counts as it is written."""
    mantissa, sign_exponent = a
    exponent = max(sign_exponent & 0x7FFF, 1) - 16383 - 63
    magnitude = mantissa * power(exponent)
    return -magnitude if sign_exponent & 0x8000 else magnitude


def is_finite(a: F80) -> bool:
    """Neither infinity, NaN nor unsupported."""
    exponent = a[1] & 0x7FFF
    return exponent != 0x7FFF and (exponent == 0 or a[0] >= J)


def is_denormal(a: F80) -> bool:
    """Denormal or pseudo-denormal."""
    return a[1] & 0x7FFF == 0 and a[0] != 0


def round_integer(value: Fraction, mode: int) -> int:
    """value rounded to an integer in one of the four directions."""
    floor = value.numerator // value.denominator
    rest = value - floor
    if rest == 0 or mode == DOWN:
        return floor
    if mode == UP:
        return floor + 1
    if mode == CHOP:
        return floor if value > 0 else floor + 1
    if rest == Fraction(1, 2):
        return floor + (floor & 1)
    return floor + (rest > Fraction(1, 2))


def floor_log2(value: Fraction) -> int:
    """The largest n with 2**n <= value."""
    n = value.numerator.bit_length() - value.denominator.bit_length()
    while power(n) > value:
        n -= 1
    return n


def round_to_format(value: Fraction, bits: int, least: int, greatest: int, mode: int) -> tuple[Fraction | None, int]:
    """A nonzero value rounded to `bits` with exponents least..greatest, and the flags (all masked).

    None stands for infinity. Tininess is detected after rounding (SDM 1, 4.9.1.5).
    """
    exponent = floor_log2(abs(value))
    unbounded = round_integer(value / power(exponent - bits + 1), mode) * power(exponent - bits + 1)
    tiny = abs(unbounded) < power(least)
    unit = power(max(exponent, least) - bits + 1)
    result = round_integer(value / unit, mode) * unit
    flags = PE if result != value else 0
    if abs(result) > abs(value):
        flags |= C1
    if tiny and flags & PE:
        flags |= UE
    if abs(result) >= power(greatest + 1):
        largest = (Fraction(2) - power(1 - bits)) * power(greatest)
        inward = mode == CHOP or (mode == DOWN and value > 0) or (mode == UP and value < 0)
        if inward:
            return (largest if value > 0 else -largest), OE | PE
        return None, OE | PE | C1
    return result, flags


def encode(value: Fraction, sign: int) -> F80:
    """A representable value as an operand; sign counts for zero."""
    if value == 0:
        return 0, 0x8000 if sign else 0
    exponent = max(floor_log2(abs(value)), -16382)
    mantissa = abs(value) / power(exponent - 63)
    assert mantissa.denominator == 1, "value needs more than 64 bits"
    biased = exponent + 16383 if mantissa >= J else 0
    return int(mantissa), biased | (0x8000 if sign else 0)


def rounded(value: Fraction, control: int) -> tuple[F80, int]:
    """A nonzero exact result under a control word with all exceptions masked: the operand and the flags.

    With reduced precision a denormal result is rounded at the register's bit position, as in silicon.
    """
    bits = PRECISION_BITS[(control >> 8) & 3]
    mode = (control >> 10) & 3
    result, flags = round_to_format(value, bits, -16382, 16383, mode)
    if result is None:
        return (J, 0x7FFF | (0x8000 if value < 0 else 0)), flags
    return encode(result, value < 0), flags
