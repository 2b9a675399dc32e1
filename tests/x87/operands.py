"""Operands worth trying: the corners of the double-extended format, and random ones round them."""

from __future__ import annotations

import random

F80 = tuple[int, int]
J = 1 << 63
ONES = (1 << 64) - 1

SPECIAL: list[F80] = [
    (m, e | s)
    for s in (0, 0x8000)
    for m, e in (
        (0, 0),
        (1, 0),
        (J - 1, 0),
        (J, 0),  # pseudo-denormal
        (J, 1),
        (J, 0x3FFE),
        (J, 0x3FFF),
        (J | 1, 0x3FFF),
        (ONES, 0x3FFE),
        (3 << 62, 0x4000),
        (J, 0x403E),
        (ONES, 0x7FFE),
        (J, 0x7FFF),  # infinity
        (0xC000000000000005, 0x7FFF),  # QNaN
        (0xC000000000000006, 0x7FFF),
        (J | 5, 0x7FFF),  # SNaN
        (0, 0x7FFF),  # pseudo-infinity
        (5, 0x7FFF),  # pseudo-NaN
        (J >> 1, 0x3FFF),  # unnormal
    )
]


def any_operand(rng: random.Random) -> F80:
    """Corner values, denormals, NaNs, and normals with telling significands and exponents."""
    if rng.random() < 0.25:
        return rng.choice(SPECIAL)
    if rng.random() < 0.15:
        return rng.getrandbits(rng.randrange(1, 64)), rng.choice((0, 0x8000))
    return normal_operand(rng)


def normal_operand(rng: random.Random) -> F80:
    """A normal number."""
    exponent = rng.choice(
        (
            rng.randrange(1, 4),
            0x7FFE - rng.randrange(3),
            0x3FFF + rng.randrange(-3, 4),
            0x3FFF + rng.randrange(-70, 70),
            0x3FFF + rng.randrange(-1100, 1100),
            rng.randrange(1, 0x7FFF),
        )
    )
    mantissa = rng.choice(
        (
            J,
            J | 1,
            ONES,
            J | rng.getrandbits(63),
            J | rng.getrandbits(63),
            J | rng.getrandbits(23) << 40,
            J | rng.getrandbits(52) << 11,
            J | rng.getrandbits(24) << 39,
            J | 1 << rng.randrange(63),
            ONES ^ ((1 << rng.randrange(1, 63)) - 1),
        )
    )
    return mantissa, exponent | rng.choice((0, 0x8000))


def neighbour(rng: random.Random, a: F80) -> F80:
    """A normal number close to the normal number a in magnitude, of either sign."""
    mantissa = (a[0] + rng.randrange(-3, 4)) & ONES | J
    exponent = max(1, min(0x7FFE, (a[1] & 0x7FFF) + rng.randrange(-1, 2)))
    return mantissa, exponent | rng.choice((0, 0x8000))
