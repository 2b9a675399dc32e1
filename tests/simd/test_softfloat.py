"""x86emu.core.softfloat against exact rational arithmetic and, where there is one, against this host's SSE unit."""

from __future__ import annotations

import random
import struct
from fractions import Fraction

import pytest

from tests.simd.native import AVAILABLE, WHY_NOT, Native, State
from x86emu.core.softfloat import OPERATIONS, calculate

FORMATS = {32: (23, 127), 64: (52, 1023)}
EDGES = {
    32: [0, 1, 2, 0x7FFFFF, 0x800000, 0x800001, 0x1000000, 0x3F800000, 0x3F800001, 0x3FFFFFFF, 0x4B000000, 0x5F000000,
         0x7F7FFFFF, 0x7F800000, 0x7F800001, 0x7FA00000, 0x7FC00000, 0x7FC12345],
    64: [0, 1, 2, (1 << 52) - 1, 1 << 52, (1 << 52) + 1, 2 << 52, 0x3FF << 52, (0x3FF << 52) + 1, (0x400 << 52) - 1,
         0x433 << 52, 0x43E << 52, 0x7FEFFFFFFFFFFFFF, 0x7FF << 52, (0x7FF << 52) + 1, 0x7FF4 << 48, 0x7FF8 << 48,
         0x7FF8123456789ABC],
}  # fmt: skip


def numbers(bits: int, rng: random.Random, n: int) -> list[int]:
    """Edge cases and random patterns, many of them near the edges of the exponent's range and near each other."""
    fraction, bias = FORMATS[bits]
    sign = 1 << (bits - 1)
    out = [v | s for v in EDGES[bits] for s in (0, sign)]
    for _ in range(n):
        kind = rng.randrange(5)
        exponent = [
            rng.randrange(2 * bias + 2),
            rng.randrange(4),
            2 * bias - rng.randrange(4),
            bias + rng.randrange(-3, 4),
            rng.choice([bias // 2, bias // 2 - 1, bias // 2 + bias]),
        ][kind]
        mantissa = rng.getrandbits(fraction)
        if rng.randrange(3) == 0:
            mantissa &= -1 << rng.randrange(fraction)
        out.append(rng.getrandbits(1) << (bits - 1) | exponent << fraction | mantissa & ((1 << fraction) - 1))
    return out


def value(v: int, bits: int) -> Fraction | None:
    """The exact value of a finite pattern."""
    fraction, bias = FORMATS[bits]
    exponent = v >> fraction & (2 * bias + 1)
    if exponent == 2 * bias + 1:
        return None
    mantissa = v & ((1 << fraction) - 1)
    if exponent:
        mantissa |= 1 << fraction
    magnitude = Fraction(mantissa) * Fraction(2) ** (max(exponent, 1) - bias - fraction)
    return -magnitude if v >> (bits - 1) else magnitude


def rounded(exact: Fraction, bits: int, rounding: int) -> tuple[int, int]:
    """Pattern and flags (masked exceptions) of a non-zero exact value, by definition: the neighbours are compared."""
    fraction, bias = FORMATS[bits]
    sign = 1 << (bits - 1) if exact < 0 else 0
    magnitude = abs(exact)

    def cut(ulp: Fraction) -> int:
        quotient, rest = divmod(magnitude, ulp)
        up = {0: rest * 2 > ulp or (rest * 2 == ulp and quotient & 1), 1: bool(sign), 2: not sign, 3: False}[rounding]
        return int(quotient) + (1 if rest and up else 0)

    exponent = magnitude.numerator.bit_length() - magnitude.denominator.bit_length()
    if Fraction(2) ** exponent > magnitude:
        exponent -= 1
    ulp = Fraction(2) ** (exponent - fraction)
    unbounded = cut(ulp) * ulp
    tiny = unbounded < Fraction(2) ** (1 - bias)
    if unbounded >= Fraction(2) ** (bias + 1):
        to_infinity = rounding == 0 or rounding == (1 if sign else 2)
        infinity = (2 * bias + 1) << fraction
        return sign | (infinity if to_infinity else infinity - 1), 0x28
    ulp = max(ulp, Fraction(2) ** (1 - bias - fraction))
    m = cut(ulp)
    inexact = m * ulp != magnitude
    flags = (0x20 if inexact else 0) | (0x10 if tiny and inexact else 0)
    biased = max(exponent, 1 - bias) + bias - 1
    return sign | (biased << fraction) + m, flags


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("rounding", [0, 1, 2, 3])
def test_exact_rational_arithmetic(bits: int, rounding: int) -> None:
    rng = random.Random(bits + rounding)
    pool = numbers(bits, rng, 200)
    fraction, bias = FORMATS[bits]
    checked = 0
    for _ in range(1500):
        a, b = rng.choice(pool), rng.choice(pool)
        x, y = value(a, bits), value(b, bits)
        if x is None or y is None:
            continue
        for operation in ("add", "sub", "mul", "div"):
            if operation == "div" and y == 0:
                continue
            exact = {"add": x + y, "sub": x - y, "mul": x * y, "div": x / y if y else x}[operation]
            if exact == 0:
                continue
            result, flags = rounded(exact, bits, rounding)
            denormal = any(v >> fraction & (2 * bias + 1) == 0 and v & ((1 << fraction) - 1) for v in (a, b))
            assert calculate(operation, bits, a, b, 0x1F80 | rounding << 13) == (
                result, flags | (2 if denormal else 0)), (operation, hex(a), hex(b))  # fmt: skip
            checked += 1
    assert checked > 3000


def test_square_root_is_the_nearest_below_or_above() -> None:
    rng = random.Random(7)
    for bits in (32, 64):
        for v in numbers(bits, rng, 300):
            x = value(v, bits)
            if x is None or x <= 0:
                continue
            down, flags = calculate("sqrt", bits, 0, v, 0x3F80)
            up, _ = calculate("sqrt", bits, 0, v, 0x5F80)
            low, high = value(down, bits), value(up, bits)
            assert low is not None and high is not None
            assert low * low <= x <= high * high
            assert up - down == (1 if flags & 0x20 else 0)


@pytest.mark.skipif(not AVAILABLE, reason=WHY_NOT)
@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("bits", [32, 64])
def test_host(operation: str, bits: int) -> None:
    opcode = {"add": 0x58, "sub": 0x5C, "mul": 0x59, "div": 0x5E, "min": 0x5D, "max": 0x5F, "sqrt": 0x51}[operation]
    run = Native(bytes([0xF3 if bits == 32 else 0xF2, 0x0F, opcode, 0xC1]))
    rng = random.Random(opcode * bits)
    pool = numbers(bits, rng, 150)
    for k in range(4000):
        a, b = rng.choice(pool), rng.choice(pool)
        mxcsr = 0x1F80 | (k & 3) << 13 | (0x40 if k & 4 else 0) | (0x8000 if k & 8 else 0)
        out = run(State(xmm=[a, b, 0, 0], mxcsr=mxcsr))
        assert calculate(operation, bits, a, b, mxcsr) == (out.xmm[0], out.mxcsr & 0x3F), (hex(a), hex(b), hex(mxcsr))


def test_default_nan_and_second_operand() -> None:
    one = struct.unpack("<I", struct.pack("<f", 1.0))[0]
    assert calculate("sub", 32, 0x7F800000, 0x7F800000, 0x1F80) == (0xFFC00000, 1)
    assert calculate("add", 32, one, 0x7F800001, 0x1F80) == (0x7FC00001, 1)
    assert calculate("add", 32, 0x7FC00005, 0x7F800001, 0x1F80) == (0x7FC00005, 1)
    assert calculate("min", 32, 0x80000000, 0, 0x1F80) == (0, 0)
    with pytest.raises(ValueError, match="there are add, sub"):
        calculate("fma", 32, 0, 0, 0x1F80)
