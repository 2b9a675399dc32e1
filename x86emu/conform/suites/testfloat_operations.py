"""Operations of the suite testfloat beside the four rules of arithmetic: conversion, comparison, BCD, remainder,
scaling, and the x87's transcendentals, each with its reference in rational numbers (SDM 1, chapters 4, 8, 11; SDM 2A).

A transcendental result may lie 1 ulp from the true value, 1.5 where rounding is directed (SDM 1, 8.3.10); everything
else is exact, with its flags.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from x86emu.conform import series
from x86emu.conform.exact import (
    DENORMAL,
    DOUBLE,
    EXTENDED,
    INEXACT,
    INVALID,
    NEAREST,
    SINGLE,
    ZERO_DIVIDE,
    Format,
    Number,
    decode,
    default_nan,
    exponent_of,
    infinity,
    rounded,
    zero,
)  # fmt: skip

C0, C1, C2, C3 = 0x100, 0x200, 0x400, 0x4000


@dataclass
class Expected:
    """What an operation has to give; None and empty fields are not looked at."""

    st0: int | None = None
    st1: int | None = None
    near0: Fraction | None = None
    """ST(0) lies within the manual's bound of this."""
    near1: Fraction | None = None
    memory: bytes = b""
    flags: int | None = 0
    """Exception flags of the status word or of MXCSR."""
    condition: tuple[int, int] = (0, 0)
    """Mask and value of condition codes in the status word."""
    eflags: tuple[int, int] = (0, 0)
    xmm0: tuple[int, int] = (0, 0)
    """Width in bits and value."""
    rax: tuple[int, int] = (0, 0)


Reference = Callable[[int, int, int], Expected]
"""Of both operands' encodings and the rounding mode."""


@dataclass(frozen=True)
class Operation:
    """One instruction; `operand` says what its operands are and where they lie."""

    name: str
    code: bytes
    operand: str
    """x87: ST(0) and ST(1); m32, m64: a float at RBX; i16, i32, i64, bcd: an integer at RBX; none; sse32, sse64: XMM0
    and XMM1; r32, r64: an integer in RAX; or a name in DOMAINS: x87 with operands of that domain."""
    reference: Reference
    modes: tuple[int, ...] = (0, 1, 2, 3)
    pushes: bool = False


DOMAINS: dict[str, tuple[tuple[int, int, bool], tuple[int, int, bool]]] = {
    "f2xm1": ((-40, -1, True), (0, 1, True)),
    "fyl2x": ((-300, 300, False), (-20, 20, True)),
    "fyl2xp1": ((-60, -3, True), (-20, 20, True)),
    "fpatan": ((-30, 30, True), (-30, 30, True)),
    "angle": ((-30, 62, True), (0, 1, True)),
    "scale": ((-16000, 16000, True), (-3, 15, True)),
    "remainder": ((-100, 100, True), (-100, 100, True)),
}
"""Exponents of both operands, from and to, and whether they may be negative."""


def _denormal(*numbers: Number) -> int:
    return DENORMAL if any(number.denormal for number in numbers) else 0


def round_integer(value: Fraction, mode: int) -> int:
    """value rounded to an integer; mode as in RC."""
    floor = value.numerator // value.denominator
    rest = value - floor
    if mode == NEAREST:
        return floor + (rest > Fraction(1, 2) or (rest == Fraction(1, 2) and floor & 1))
    up = rest != 0 and (mode == 2 or (mode == 3 and value < 0))
    return floor + up


def _encoded(n: Number, f: Format, mode: int) -> tuple[int, int]:
    if n.kind == "zero":
        return zero(n.negative, f), 0
    if n.kind == "infinity":
        return infinity(n.negative, f), 0
    return rounded(n.value, f, mode)


def _extended(value: Fraction, negative: bool = False) -> int:
    return rounded(value, EXTENDED, NEAREST)[0] if value else zero(negative, EXTENDED)


def _store(f: Format, a: int, b: int, mode: int) -> Expected:
    bits, flags = _encoded(decode(a, EXTENDED), f, mode)
    return Expected(memory=bits.to_bytes((f.fraction_bits + f.exponent_bits + 1) // 8, "little"), flags=flags)


def _load(f: Format, a: int, b: int, mode: int) -> Expected:
    n = decode(a, f)
    return Expected(st0=_encoded(n, EXTENDED, mode)[0], flags=_denormal(n))


def _load_integer(bits: int, a: int, b: int, mode: int) -> Expected:
    n = a - (1 << bits) if a >> bits - 1 else a
    return Expected(st0=_extended(Fraction(n)))


def _integer(n: Number, bits: int, mode: int) -> tuple[int, int]:
    """Image and flags of a conversion to a signed integer."""
    indefinite = 1 << bits - 1
    if n.kind == "infinity":
        return indefinite, INVALID
    value = round_integer(n.value, mode)
    if not -indefinite <= value < indefinite:
        return indefinite, INVALID
    return value % (1 << bits), INEXACT if value != n.value else 0


def _store_integer(bits: int, truncate: bool, a: int, b: int, mode: int) -> Expected:
    image, flags = _integer(decode(a, EXTENDED), bits, 3 if truncate else mode)
    return Expected(memory=image.to_bytes(bits // 8, "little"), flags=flags)


def _bcd(value: int, negative: bool) -> bytes:
    digits = f"{abs(value):018d}"
    return bytes(int(digits[i : i + 2], 16) for i in range(16, -2, -2)) + bytes([0x80 if negative else 0])


def _load_bcd(a: int, b: int, mode: int) -> Expected:
    """a: a signed number of 18 digits, in the 80 bits of the operand."""
    image = a.to_bytes(10, "little")
    value = sum((byte & 15) * 10 ** (2 * n) + (byte >> 4) * 10 ** (2 * n + 1) for n, byte in enumerate(image[:9]))
    negative = image[9] >> 7 == 1
    return Expected(st0=_extended(Fraction(-value if negative else value), negative))


def _store_bcd(a: int, b: int, mode: int) -> Expected:
    n = decode(a, EXTENDED)
    value = 0 if n.kind == "infinity" else round_integer(n.value, mode)
    if n.kind == "infinity" or abs(value) >= 10**18:
        return Expected(memory=bytes(7) + b"\xc0\xff\xff", flags=INVALID)
    return Expected(memory=_bcd(value, n.negative), flags=INEXACT if value != n.value else 0)


def _round(a: int, b: int, mode: int) -> Expected:
    n = decode(a, EXTENDED)
    if n.kind != "finite":
        return Expected(st0=a)
    value = round_integer(n.value, mode)
    return Expected(
        st0=_extended(Fraction(value), n.negative), flags=_denormal(n) | (INEXACT if value != n.value else 0)
    )


def _scale(a: int, b: int, mode: int) -> Expected:
    x, y = decode(a, EXTENDED), decode(b, EXTENDED)
    n = int(y.value)
    bits, flags = rounded(x.value * Fraction(2) ** n, EXTENDED, mode)
    return Expected(st0=bits, flags=flags | _denormal(x, y))


def _extract(a: int, b: int, mode: int) -> Expected:
    n = decode(a, EXTENDED)
    if n.kind == "zero":
        return Expected(st0=a, st1=infinity(True, EXTENDED), flags=ZERO_DIVIDE)
    if n.kind == "infinity":
        return Expected(st0=a, st1=infinity(False, EXTENDED))
    exponent = exponent_of(abs(n.value))
    significand = n.value / Fraction(2) ** exponent
    return Expected(st0=_extended(significand), st1=_extended(Fraction(exponent)), flags=_denormal(n))


def _remainder(to_nearest: bool, a: int, b: int, mode: int) -> Expected:
    x, y = decode(a, EXTENDED), decode(b, EXTENDED)
    if x.kind == "infinity" or y.kind == "zero":
        return Expected(st0=default_nan(EXTENDED), flags=INVALID)
    flags = _denormal(x, y)
    if y.kind == "infinity" or x.kind == "zero":
        return Expected(st0=a, flags=flags, condition=(C0 | C1 | C2 | C3, 0))
    if exponent_of(abs(x.value)) - exponent_of(abs(y.value)) >= 64:
        return Expected(flags=flags, condition=(C2, C2))
    q = round_integer(abs(x.value / y.value), NEAREST if to_nearest else 3)
    rest = abs(x.value) - q * abs(y.value)
    value = -rest if x.negative else rest
    bits = (C0 if q & 4 else 0) | (C3 if q & 2 else 0) | (C1 if q & 1 else 0)
    return Expected(st0=_extended(value, x.negative), flags=flags, condition=(C0 | C1 | C2 | C3, bits))


def _order(x: Number, y: Number) -> int:
    """-1, 0, 1."""
    big = Fraction(2) ** 20000
    a, b = ((-big if n.negative else big) if n.kind == "infinity" else n.value for n in (x, y))
    return (a > b) - (a < b)


def _compare(a: int, b: int, mode: int) -> Expected:
    x, y = decode(a, EXTENDED), decode(b, EXTENDED)
    bits = {-1: C0, 0: C3, 1: 0}[_order(x, y)]
    return Expected(flags=_denormal(x, y), condition=(C0 | C2 | C3, bits))


def _test(a: int, b: int, mode: int) -> Expected:
    return _compare(a, 0, mode)


_ORDER_FLAGS = {-1: 0x01, 0: 0x40, 1: 0}


def _compare_flags(f: Format, a: int, b: int, mode: int) -> Expected:
    x, y = decode(a, f), decode(b, f)
    return Expected(flags=_denormal(x, y), eflags=(0x8D5, _ORDER_FLAGS[_order(x, y)]))


def _examine(a: int, b: int, mode: int) -> Expected:
    n = decode(a, EXTENDED)
    kind = "denormal" if n.denormal else n.kind
    bits = {"zero": C3, "denormal": C3 | C2, "finite": C2, "infinity": C2 | C0}[kind]
    return Expected(condition=(C0 | C1 | C2 | C3, bits | (C1 if n.negative else 0)))


def _sign(change: int, a: int, b: int, mode: int) -> Expected:
    return Expected(st0=a & ~(1 << 79) if change == 0 else a ^ 1 << 79)


def _constant(value: Callable[[], Fraction], a: int, b: int, mode: int) -> Expected:
    number = value()
    return Expected(st0=rounded(number, EXTENDED, mode)[0] if number else 0)


def _value(bits: int) -> Fraction:
    return decode(bits, EXTENDED).value


def _sine(a: int, b: int, mode: int) -> Expected:
    return Expected(near0=series.sine_and_cosine(_value(a))[0], flags=None)


def _cosine(a: int, b: int, mode: int) -> Expected:
    return Expected(near0=series.sine_and_cosine(_value(a))[1], flags=None)


def _both(a: int, b: int, mode: int) -> Expected:
    s, c = series.sine_and_cosine(_value(a))
    return Expected(near0=c, near1=s, flags=None)


def _tangent(a: int, b: int, mode: int) -> Expected:
    s, c = series.sine_and_cosine(_value(a))
    return Expected(st0=_extended(Fraction(1)), near1=s / c, flags=None)


def _near(function: Callable[[Fraction, Fraction], Fraction], a: int, b: int, mode: int) -> Expected:
    return Expected(near0=function(_value(a), _value(b)), flags=None)


def _narrow(a: int, b: int, mode: int) -> Expected:
    n = decode(b, DOUBLE)
    bits, flags = _encoded(n, SINGLE, mode)
    return Expected(xmm0=(32, bits), flags=flags | _denormal(n))


def _widen(a: int, b: int, mode: int) -> Expected:
    n = decode(b, SINGLE)
    return Expected(xmm0=(64, _encoded(n, DOUBLE, mode)[0]), flags=_denormal(n))


def _to_float(f: Format, bits: int, a: int, b: int, mode: int) -> Expected:
    n = a - (1 << bits) if a >> bits - 1 else a
    image, flags = rounded(Fraction(n), f, mode) if n else (0, 0)
    return Expected(xmm0=(f.fraction_bits + f.exponent_bits + 1, image), flags=flags)


def _to_integer(f: Format, bits: int, truncate: bool, a: int, b: int, mode: int) -> Expected:
    image, flags = _integer(decode(b, f), bits, 3 if truncate else mode)
    return Expected(rax=(bits, image), flags=flags)


def _round_sse(f: Format, a: int, b: int, mode: int) -> Expected:
    n = decode(b, f)
    width = f.fraction_bits + f.exponent_bits + 1
    if n.kind != "finite":
        return Expected(xmm0=(width, b))
    value = round_integer(n.value, mode)
    image = rounded(Fraction(value), f, NEAREST)[0] if value else zero(n.negative, f)
    return Expected(xmm0=(width, image), flags=INEXACT if value != n.value else 0)


def _select(f: Format, least: bool, a: int, b: int, mode: int) -> Expected:
    x, y = decode(a, f), decode(b, f)
    order = _order(x, y)
    image = a if order and (order < 0) == least else b
    return Expected(xmm0=(f.fraction_bits + f.exponent_bits + 1, image), flags=_denormal(x, y))


def _ratio(number: Callable[[], int]) -> Fraction:
    return Fraction(number(), series.SCALE)


_CONSTANTS: tuple[tuple[str, int, Callable[[], Fraction]], ...] = (
    ("fld1", 0xE8, lambda: Fraction(1)),
    ("fldl2t", 0xE9, lambda: series.log2(Fraction(10))),
    ("fldl2e", 0xEA, lambda: 1 / _ratio(series.ln2)),
    ("fldpi", 0xEB, lambda: _ratio(series.pi)),
    ("fldlg2", 0xEC, lambda: 1 / series.log2(Fraction(10))),
    ("fldln2", 0xED, lambda: _ratio(series.ln2)),
    ("fldz", 0xEE, lambda: Fraction(0)),
)
_INTEGERS = ((16, b"\xdf\x03", b"\xdf\x13", b"\xdf\x0b"), (32, b"\xdb\x03", b"\xdb\x13", b"\xdb\x0b"),
             (64, b"\xdf\x2b", b"\xdf\x3b", b"\xdd\x0b"))  # fmt: skip


def _x87() -> list[Operation]:
    made = [
        Operation("fst32", b"\xd9\x13", "x87", partial(_store, SINGLE)),
        Operation("fst64", b"\xdd\x13", "x87", partial(_store, DOUBLE)),
        Operation("fld32", b"\xd9\x03", "m32", partial(_load, SINGLE), (0,), True),
        Operation("fld64", b"\xdd\x03", "m64", partial(_load, DOUBLE), (0,), True),
        Operation("fbld", b"\xdf\x23", "bcd", _load_bcd, (0,), True),
        Operation("fbstp", b"\xdf\x33", "x87", _store_bcd),
        Operation("frndint", b"\xd9\xfc", "x87", _round),
        Operation("fscale", b"\xd9\xfd", "scale", _scale),
        Operation("fxtract", b"\xd9\xf4", "x87", _extract, (0,), True),
        Operation("fprem", b"\xd9\xf8", "remainder", partial(_remainder, False), (0,)),
        Operation("fprem1", b"\xd9\xf5", "remainder", partial(_remainder, True), (0,)),
        Operation("fcom", b"\xd8\xd1", "x87", _compare, (0,)),
        Operation("fucom", b"\xdd\xe1", "x87", _compare, (0,)),
        Operation("fcomi", b"\xdb\xf1", "x87", partial(_compare_flags, EXTENDED), (0,)),
        Operation("fucomi", b"\xdb\xe9", "x87", partial(_compare_flags, EXTENDED), (0,)),
        Operation("ftst", b"\xd9\xe4", "x87", _test, (0,)),
        Operation("fxam", b"\xd9\xe5", "x87", _examine, (0,)),
        Operation("fabs", b"\xd9\xe1", "x87", partial(_sign, 0), (0,)),
        Operation("fchs", b"\xd9\xe0", "x87", partial(_sign, 1), (0,)),
        Operation("f2xm1", b"\xd9\xf0", "f2xm1", partial(_near, lambda x, y: series.power_of_2_minus_1(x))),
        Operation("fyl2x", b"\xd9\xf1", "fyl2x", partial(_near, lambda x, y: y * series.log2(x))),
        Operation("fyl2xp1", b"\xd9\xf9", "fyl2xp1", partial(_near, lambda x, y: y * series.log2_of_1_plus(x))),
        Operation("fpatan", b"\xd9\xf3", "fpatan", partial(_near, lambda x, y: series.arctangent(y, x))),
        Operation("fsin", b"\xd9\xfe", "angle", _sine),
        Operation("fcos", b"\xd9\xff", "angle", _cosine),
        Operation("fsincos", b"\xd9\xfb", "angle", _both, pushes=True),
        Operation("fptan", b"\xd9\xf2", "angle", _tangent, pushes=True),
    ]
    for bits, load, store, truncating in _INTEGERS:
        made.append(Operation(f"fild{bits}", load, f"i{bits}", partial(_load_integer, bits), (0,), True))
        made.append(Operation(f"fist{bits}", store, "x87", partial(_store_integer, bits, False)))
        made.append(Operation(f"fisttp{bits}", truncating, "x87", partial(_store_integer, bits, True)))
    for name, opcode, value in _CONSTANTS:
        made.append(Operation(name, bytes([0xD9, opcode]), "none", partial(_constant, value), pushes=True))
    return made


def _sse() -> list[Operation]:
    made = [
        Operation("cvtsd2ss", b"\xf2\x0f\x5a\xc1", "sse64", _narrow),
        Operation("cvtss2sd", b"\xf3\x0f\x5a\xc1", "sse32", _widen, (0,)),
    ]
    for f, kind, letter, prefix, compare in (
        (SINGLE, "sse32", "s", b"\xf3", b"\x0f"), (DOUBLE, "sse64", "d", b"\xf2", b"\x66\x0f")
    ):  # fmt: skip
        for bits, rex in ((32, b""), (64, b"\x48")):
            middle = prefix + rex + b"\x0f"
            made += [
                Operation(f"cvtsi{bits}2s{letter}", middle + b"\x2a\xc0", f"r{bits}", partial(_to_float, f, bits)),
                Operation(f"cvts{letter}2si{bits}", middle + b"\x2d\xc1", kind, partial(_to_integer, f, bits, False)),
                Operation(f"cvtts{letter}2si{bits}", middle + b"\x2c\xc1", kind, partial(_to_integer, f, bits, True)),
            ]
        rounding = b"\x66\x0f\x3a" + (b"\x0a" if f is SINGLE else b"\x0b") + b"\xc1\x04"
        made += [
            Operation(f"rounds{letter}", rounding, kind, partial(_round_sse, f)),
            Operation(f"mins{letter}", prefix + b"\x0f\x5d\xc1", kind, partial(_select, f, True), (0,)),
            Operation(f"maxs{letter}", prefix + b"\x0f\x5f\xc1", kind, partial(_select, f, False), (0,)),
            Operation(f"ucomis{letter}", compare + b"\x2e\xc1", kind, partial(_compare_flags, f), (0,)),
            Operation(f"comis{letter}", compare + b"\x2f\xc1", kind, partial(_compare_flags, f), (0,)),
        ]
    return made


OPERATIONS = {operation.name: operation for operation in _x87() + _sse()}
