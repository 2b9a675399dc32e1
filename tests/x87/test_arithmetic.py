"""x87 arithmetic and conversions against exact rational references."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from fractions import Fraction
from itertools import product

import pytest

from tests.x87.exact import (
    C1,
    DE,
    IE,
    OE,
    PE,
    UE,
    ZE,
    J,
    encode,
    floor_log2,
    is_denormal,
    is_finite,
    power,
    round_integer,
    round_to_format,
    rounded,
    value_of,
)
from tests.x87.operands import SPECIAL, any_operand, neighbour, normal_operand
from x86emu.core import softfloat_api as softfloat

F80 = tuple[int, int]
INDEFINITE: F80 = (0xC000000000000000, 0xFFFF)
INFINITY: F80 = (J, 0x7FFF)
ZERO: F80 = (0, 0)
ONE: F80 = (J, 0x3FFF)
CONTROLS = [0x7F | precision << 8 | rounding << 10 for precision in (0, 2, 3) for rounding in range(4)]

OPERATIONS: dict[str, tuple[Callable[..., tuple[F80, int]], Callable[[Fraction, Fraction], Fraction]]] = {
    "add": (softfloat.add, lambda a, b: a + b),
    "sub": (softfloat.sub, lambda a, b: a - b),
    "mul": (softfloat.mul, lambda a, b: a * b),
    "div": (softfloat.div, lambda a, b: a / b),
}


def pairs(seed: int, count: int) -> list[tuple[F80, F80]]:
    rng = random.Random(seed)
    chosen = []
    for _ in range(count):
        a = any_operand(rng)
        b = neighbour(rng, a) if rng.random() < 0.3 and a[1] & 0x7FFF not in (0, 0x7FFF) else any_operand(rng)
        chosen.append((a, b))
    return chosen


@pytest.mark.parametrize("name", OPERATIONS)
def test_finite_results_are_exact(name: str) -> None:
    """Every corner with every corner, and random ones, in every rounding and precision: result and all flags."""
    operation, exact = OPERATIONS[name]
    rng = random.Random(name)
    tried = 0
    for a, b in [*product(SPECIAL, SPECIAL), *pairs(1, 800)]:
        if not (is_finite(a) and is_finite(b)) or (name == "div" and b[0] == 0):
            continue
        control = rng.choice(CONTROLS)
        value = exact(value_of(a), value_of(b))
        denormal = DE if is_denormal(a) or is_denormal(b) else 0
        if value:
            expected, flags = rounded(value, control)
            assert operation(a, b, control) == (expected, flags | denormal), (a, b, hex(control))
        else:
            result, flags = operation(a, b, control)
            assert result[0] == 0 and result[1] & 0x7FFF == 0 and flags == denormal
        tried += 1
    assert tried > 800


@pytest.mark.parametrize("rounding", range(4))
def test_sign_of_zero(rounding: int) -> None:
    """An exact zero sum is +0, and -0 when rounding down; a product's and quotient's sign follows the operands."""
    control = 0x37F | rounding << 10
    minus_one = (J, 0xBFFF)
    zero = (0, 0x8000 if rounding == 1 else 0)
    assert softfloat.add(ONE, minus_one, control) == (zero, 0)
    assert softfloat.sub(ONE, ONE, control) == (zero, 0)
    assert softfloat.add((0, 0x8000), (0, 0x8000), control) == ((0, 0x8000), 0)
    assert softfloat.add(ZERO, (0, 0x8000), control) == (zero, 0)
    assert softfloat.mul(ZERO, minus_one, control) == ((0, 0x8000), 0)
    assert softfloat.div((0, 0x8000), minus_one, control) == (ZERO, 0)


def test_infinities_and_zero_divisors() -> None:
    for a, b, operation, expected in (
        (INFINITY, (J, 0xFFFF), softfloat.add, (INDEFINITE, IE)),
        (INFINITY, INFINITY, softfloat.add, (INFINITY, 0)),
        (INFINITY, INFINITY, softfloat.sub, (INDEFINITE, IE)),
        (INFINITY, ZERO, softfloat.mul, (INDEFINITE, IE)),
        (INFINITY, INFINITY, softfloat.div, (INDEFINITE, IE)),
        (ZERO, ZERO, softfloat.div, (INDEFINITE, IE)),
        (ONE, (0, 0x8000), softfloat.div, ((J, 0xFFFF), ZE)),
        ((1, 0), ZERO, softfloat.div, (INFINITY, ZE)),  # no DE beside ZE
        (INFINITY, (1, 0), softfloat.add, (INFINITY, DE)),
        (INFINITY, ZERO, softfloat.div, (INFINITY, 0)),
        (ONE, (J, 0xFFFF), softfloat.div, ((0, 0x8000), 0)),
    ):
        assert operation(a, b) == expected, (a, b, operation)


def test_nans_by_table_4_7() -> None:
    """SDM 1, table 4-7, x87 column; the larger significand, then the positive sign, where two of a kind meet."""
    quiet, larger_quiet = (J | 1 << 62 | 5, 0x7FFF), (J | 1 << 62 | 9, 0xFFFF)
    signalling, larger_signalling = (J | 5, 0xFFFF), (J | 9, 0x7FFF)
    quieted = (J | 1 << 62 | 5, 0xFFFF)
    for a, b, expected, flags in (
        (quiet, ONE, quiet, 0),
        (quiet, (1, 0), quiet, 0),
        (quiet, larger_quiet, larger_quiet, 0),
        (quiet, (quiet[0], 0xFFFF), quiet, 0),
        (signalling, ONE, quieted, IE),
        (signalling, quiet, quiet, IE),
        (signalling, larger_signalling, (J | 1 << 62 | 9, 0x7FFF), IE),
    ):
        for name, (operation, _) in OPERATIONS.items():
            assert operation(a, b) == (expected, flags), name
            assert operation(b, a) == (expected, flags), name
    for unsupported in ((0, 0x7FFF), (5, 0x7FFF), (J >> 1, 0x3FFF), (0, 0x3FFF)):
        for other in (ONE, quiet, signalling, INFINITY):
            assert softfloat.add(unsupported, other) == (INDEFINITE, IE)
            assert softfloat.mul(other, unsupported) == (INDEFINITE, IE)


def test_unmasked_overflow_and_underflow_adjust_the_exponent() -> None:
    """SDM 1, 4.9.1.4 and 4.9.1.5: by 24576, and exact tiny results raise UE too."""
    huge = ((1 << 64) - 1, 0x7FFE)
    assert softfloat.mul(huge, huge, 0x377) == (((1 << 64) - 2, 0x5FFE), OE | PE)
    assert softfloat.mul((J, 1), (J, 0x3FFE), 0x36F) == ((J, 0x6000), UE)
    assert softfloat.mul((J, 1), (J, 0x3FFE), 0x37F) == ((J >> 1, 0), 0)


def integer_sqrt_reference(a: F80, control: int) -> tuple[F80, int]:
    """The square root by comparing squares of neighbouring representable numbers."""
    bits = {0: 24, 2: 53, 3: 64}[(control >> 8) & 3]
    value = value_of(a)
    shift = bits - 1 - floor_log2(value) // 2
    scaled = value * power(2 * shift)  # in 4**(bits - 1) .. 4**bits
    root = math.isqrt(scaled.numerator // scaled.denominator)
    exact = root * root == scaled
    mode = (control >> 10) & 3
    up = not exact and (mode == 2 or (mode == 0 and scaled > (root + Fraction(1, 2)) ** 2))
    result = encode((root + up) * power(-shift), 0)
    return result, (0 if exact else PE | (C1 if up else 0))


def test_square_root_is_exact() -> None:
    rng = random.Random(2)
    for n in range(600):
        a = normal_operand(rng) if n % 4 else (rng.getrandbits(rng.randrange(1, 64)), 0)
        if n % 5 == 0:
            root = Fraction(rng.getrandbits(32) | 1)
            a = encode(root * root, 0)  # a perfect square
        a = (a[0], a[1] & 0x7FFF)
        if a[0] == 0:
            continue
        control = rng.choice(CONTROLS)
        expected, flags = integer_sqrt_reference(a, control)
        assert softfloat.sqrt(a, control) == (expected, flags | (DE if is_denormal(a) else 0)), (a, hex(control))
    assert softfloat.sqrt((J, 0xBFFF)) == (INDEFINITE, IE)
    assert softfloat.sqrt((0, 0x8000)) == ((0, 0x8000), 0)


@pytest.mark.parametrize(("name", "mode"), [("fprem", 3), ("fprem1", 0)])
def test_partial_remainder(name: str, mode: int) -> None:
    """Complete reductions are exact, with the quotient in C0, C3, C1; others set C2 and keep the remainder."""
    operation = getattr(softfloat, name)
    rng = random.Random(3)
    complete = partial = 0
    for _ in range(1500):
        a, b = normal_operand(rng), normal_operand(rng)
        if rng.random() < 0.6:
            b = (b[0], max(1, min(0x7FFE, (a[1] & 0x7FFF) + rng.randrange(-66, 4))) | b[1] & 0x8000)
        result, flags = operation(a, b)
        quotient = abs(value_of(a) / value_of(b))
        q = round_integer(quotient, mode)
        if (a[1] & 0x7FFF) - (b[1] & 0x7FFF) < 64:
            remainder = abs(value_of(a)) - q * abs(value_of(b))
            negative = (a[1] & 0x8000 != 0) != (remainder < 0)
            assert flags == (q & 4) << 6 | (q & 2) << 13 | (q & 1) << 9, (a, b)
            assert abs(value_of(result)) == abs(remainder)
            assert result[1] & 0x8000 == (0x8000 if negative else 0)
            complete += 1
        else:
            assert flags == 0x400
            assert abs(value_of(result)) < abs(value_of(a))
            assert ((value_of(result) - value_of(a)) / value_of(b)).denominator == 1
            partial += 1
    assert complete > 500 and partial > 200


def test_round_to_integer() -> None:
    rng = random.Random(4)
    for _ in range(800):
        exponent = 0x3FFF + rng.randrange(-3, 66)
        a = (J | rng.choice((rng.getrandbits(63), 1 << rng.randrange(63), 0)), exponent | rng.choice((0, 0x8000)))
        mode = rng.randrange(4)
        value = round_integer(value_of(a), mode)
        flags = PE if value != value_of(a) else 0
        if abs(value) > abs(value_of(a)):
            flags |= C1
        assert softfloat.round_to_integer(a, 0x37F | mode << 10) == (encode(Fraction(value), a[1] & 0x8000), flags)


def test_scale_and_extract() -> None:
    rng = random.Random(5)
    for _ in range(500):
        a = normal_operand(rng)
        n = rng.randrange(-20000, 20000)
        b, _flags = softfloat.from_integer(n)
        expected, flags = rounded(value_of(a) * power(n), 0x37F)
        assert softfloat.scale(a, b) == (expected, flags), (a, n)
        significand, exponent, flags = softfloat.extract(a)
        assert flags == 0
        assert 1 <= abs(value_of(significand)) < 2
        assert value_of(significand) * power(int(value_of(exponent))) == value_of(a)
    assert softfloat.extract((0, 0x8000)) == ((0, 0x8000), (J, 0xFFFF), ZE)


def test_comparison() -> None:
    less, greater, equal, unordered = 0x100, 0, 0x4000, 0x4500
    rng = random.Random(6)
    for a, b in [*product(SPECIAL, SPECIAL), *pairs(7, 500), *((a, a) for a in (normal_operand(rng),))]:
        if is_finite(a) and is_finite(b):
            x, y = value_of(a), value_of(b)
            flags = DE if is_denormal(a) or is_denormal(b) else 0
            assert softfloat.compare(a, b) == flags | (equal if x == y else less if x < y else greater), (a, b)
    quiet, signalling = (J | 1 << 62, 0x7FFF), (J | 1, 0x7FFF)
    assert softfloat.compare(ONE, quiet) == unordered | IE
    assert softfloat.compare(ONE, quiet, True) == unordered
    assert softfloat.compare(signalling, ONE, True) == unordered | IE
    assert softfloat.compare((J, 0xFFFF), (1, 0)) == less | DE


@pytest.mark.parametrize(("bits", "least", "greatest"), [(24, -126, 127), (53, -1022, 1023)])
def test_stores_to_single_and_double(bits: int, least: int, greatest: int) -> None:
    store = softfloat.to_binary32 if bits == 24 else softfloat.to_binary64
    load = softfloat.from_binary32 if bits == 24 else softfloat.from_binary64
    width = 32 if bits == 24 else 64
    rng = random.Random(8)
    for _ in range(2000):
        a = normal_operand(rng)
        if rng.random() < 0.7:
            near_edge = rng.choice((least, least - bits, greatest, 0)) + rng.randrange(-3, 4)
            a = (a[0], 0x3FFF + near_edge | a[1] & 0x8000)
        mode = rng.randrange(4)
        image, flags = store(a, 0x37F | mode << 10)
        expected, expected_flags = round_to_format(value_of(a), bits, least, greatest, mode)
        assert flags == expected_flags, (a, mode)
        assert image >> (width - 1) == a[1] >> 15
        back, load_flags = load(image)
        if expected is None:
            assert back == (J, 0x7FFF | a[1] & 0x8000)
        else:
            assert value_of(back) == expected
            denormal = 0 < abs(expected) < power(least)
            assert load_flags == (DE if denormal else 0)


def test_nans_through_memory() -> None:
    assert softfloat.from_binary32(0x7F800001) == ((J | 1 << 62 | 1 << 40, 0x7FFF), IE)
    assert softfloat.from_binary64(0xFFF8000000000001) == ((J | 1 << 62 | 1 << 11, 0xFFFF), 0)
    assert softfloat.to_binary32((J | 1 << 40, 0x7FFF)) == (0x7FC00001, IE)
    assert softfloat.to_binary64((J >> 1, 0x3FFF)) == (0xFFF8000000000000, IE)


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_integers(bits: int) -> None:
    rng = random.Random(bits)
    indefinite = 1 << (bits - 1)
    for _ in range(1000):
        a = (J | rng.getrandbits(63), 0x3FFF + rng.randrange(-3, bits + 1) | rng.choice((0, 0x8000)))
        if rng.random() < 0.2:
            a = encode(Fraction((indefinite - rng.randrange(2)) * 2 + rng.randrange(-2, 3) * (1 + bits // 64), 2), 0)
            a = (a[0], a[1] | rng.choice((0, 0x8000)))
        mode = rng.randrange(4)
        n = round_integer(value_of(a), mode)
        expected, flags = indefinite, IE
        if -indefinite <= n < indefinite:
            expected = n & ((1 << bits) - 1)
            flags = (PE if n != value_of(a) else 0) | (C1 if abs(n) > abs(value_of(a)) else 0)
            assert softfloat.from_integer(n)[0] == encode(Fraction(n), n < 0)
        assert softfloat.to_integer(a, bits, 0x37F | mode << 10) == (expected, flags), (a, mode)


def test_packed_decimal() -> None:
    rng = random.Random(9)
    for _ in range(500):
        n = rng.randrange(10 ** rng.randrange(1, 19)) * rng.choice((1, -1))
        digits = f"{abs(n):020d}"
        image = bytes(int(digits[i : i + 2], 16) for i in range(18, 0, -2)) + bytes([0x80 if n < 0 else 0])
        operand, flags = softfloat.from_bcd(image)
        assert (operand, flags) == (encode(Fraction(n), n < 0), 0)
        assert softfloat.to_bcd(operand) == (image, 0)
    indefinite = bytes(7) + b"\xc0\xff\xff"
    assert softfloat.to_bcd(encode(Fraction(10**18), 0)) == (indefinite, IE)
    assert softfloat.to_bcd(INFINITY) == (indefinite, IE)


def test_constants_follow_rounding_control() -> None:
    """SDM 2A, FLD1/FLDL2T/...: inexact constants are rounded, without flags."""
    known = {  # significand to nearest, whether to nearest is up
        1: (0xD49A784BCD1B8AFE, 0x4000, False),
        2: (0xB8AA3B295C17F0BC, 0x3FFF, True),
        3: (0xC90FDAA22168C235, 0x4000, True),
        4: (0x9A209A84FBCFF799, 0x3FFD, True),
        5: (0xB17217F7D1CF79AC, 0x3FFE, True),
    }
    for index, (nearest, exponent, is_up) in known.items():
        below = nearest - is_up
        for mode, expected in enumerate((nearest, below, below + 1, below)):
            assert softfloat.constant(index, 0x7F | mode << 10) == ((expected, exponent), 0)
    assert softfloat.constant(0) == (ONE, 0)
    assert softfloat.constant(6) == (ZERO, 0)
    with pytest.raises(ValueError, match="constant 7"):
        softfloat.constant(7)
