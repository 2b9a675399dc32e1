"""x87 and SSE arithmetic against exact rational references, in the manner of TestFloat.

For each operation, format, rounding mode and precision: operands of every kind (zeros, denormals, values around the
ends of the range, halves, all-ones patterns, infinities), results and all exception flags.  NaN operands are compared
by the rules of SDM volume 1, tables 4-7 and 8-10 in the native suite; here they are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from x86emu.conform import exact
from x86emu.conform.engine import open_engine, run_batch
from x86emu.conform.exact import DOUBLE, EXTENDED, SINGLE, Format, Number
from x86emu.conform.generated import text_of
from x86emu.conform.records import Records, empty, set_code
from x86emu.conform.reproduce import pack
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options

Operation = Callable[[Number, Number, Format, int], tuple[int, int]]


def _subtract(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    return exact.add(a, Number(b.kind, not b.negative, -b.value, b.bits, b.denormal), f, mode)


def _root(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    return exact.square_root(b, f, mode)


_OPERATIONS: dict[str, Operation] = {
    "add": exact.add, "mul": exact.multiply, "sub": _subtract, "div": exact.divide, "sqrt": _root,
}  # fmt: skip
_SSE = {"add": 0x58, "mul": 0x59, "sub": 0x5C, "div": 0x5E, "sqrt": 0x51}
_X87 = {"add": b"\xd8\xc1", "mul": b"\xd8\xc9", "sub": b"\xd8\xe1", "div": b"\xd8\xf1", "sqrt": b"\xd9\xfa"}
_FORMATS = {"single": SINGLE, "double": DOUBLE, "extended": EXTENDED}
_PRECISIONS = {"24": (0x000, 24), "53": (0x200, 53), "64": (0x300, 64)}
_SHOWN = 5


def operands(f: Format, rng: np.random.Generator, count: int) -> list[int]:
    """count encodings of all kinds but NaN."""
    result = []
    top = (1 << f.exponent_bits) - 1
    ones = (1 << f.precision - 1) - 1
    for _ in range(count):
        kind = int(rng.integers(0, 10))
        exponent = int(rng.integers(1, top))
        fraction = int.from_bytes(rng.bytes(8), "little") & ones
        if kind == 0:
            exponent, fraction = 0, 0
        elif kind == 1:
            exponent = 0
            fraction >>= int(rng.integers(0, f.precision - 1))
            fraction = fraction or 1
        elif kind == 2:
            exponent = int(rng.choice([1, 2, top - 1, top - 2]))
        elif kind == 3:
            exponent, fraction = (top, 0) if rng.random() < 0.4 else (exponent, 0)
        elif kind <= 6:
            exponent = f.bias + int(rng.integers(-f.precision, f.precision))
        if rng.random() < 0.3:
            length = int(rng.integers(0, f.precision))
            mask = (1 << length) - 1
            fraction = (fraction & mask or mask) if rng.random() < 0.5 else fraction & ~mask
            fraction &= ones
        if exponent == top:
            fraction = 0
        explicit = 1 << f.precision - 1 if f.explicit and exponent else 0
        negative = int(rng.integers(0, 2))
        result.append(negative << f.fraction_bits + f.exponent_bits | exponent << f.fraction_bits | explicit | fraction)
    return result


class _TestFloat:
    name = "testfloat"
    title = "x87 and SSE arithmetic, judged by exact rational arithmetic"
    oracle = "rational arithmetic"
    needs_directory = False

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        names = [f"sse.{name}.{f}.{mode}" for name in _OPERATIONS for f in ("single", "double") for mode in range(4)]
        names += [f"x87.{name}.{p}.{mode}" for name in _OPERATIONS for p in _PRECISIONS for mode in range(4)]
        return names

    def run(self, unit: str, options: Options) -> UnitResult:
        kind, name, width, mode_text = unit.split(".")
        mode = int(mode_text)
        count = max(8, options.count // len(self.units(options)))
        rng = np.random.default_rng([options.seed, *unit.encode()])
        f = _FORMATS[width] if kind == "sse" else EXTENDED
        first, second = operands(f, rng, count), operands(f, rng, count)
        cases = (
            _sse_cases(name, f, mode, first, second) if kind == "sse" else _x87_cases(name, width, mode, first, second)
        )
        engine = open_engine(options.engine)
        result = UnitResult(unit, cases=count)
        start = time.process_time()
        outcomes = run_batch(engine, cases)
        result.seconds = time.process_time() - start
        if kind == "x87":
            f = Format(64, 15, True, _PRECISIONS[width][1])
        for n in range(count):
            a, b = exact.decode(first[n], EXTENDED if kind == "x87" else f), exact.decode(second[n], f)
            if name == "sqrt" and kind == "x87":
                b = a
            wanted, flags = _OPERATIONS[name](a, b, f, mode)
            denormal = b.denormal or (a.denormal and name != "sqrt")
            if denormal and not flags & (exact.INVALID | exact.ZERO_DIVIDE):
                flags |= exact.DENORMAL
            got, raised = _sse_outcome(outcomes[n], f) if kind == "sse" else _x87_outcome(outcomes[n])
            if (got, raised) != (wanted, flags):
                self._failure(unit, n, cases, (got, raised), (wanted, flags), f, result)
        return result

    def _failure(
        self,
        unit: str,
        n: int,
        cases: Records,
        got: tuple[int, int],
        wanted: tuple[int, int],
        f: Format,
        result: UnitResult,
    ) -> None:
        result.failed += 1
        label = ".".join(unit.split(".")[:3])
        result.failed_rows[label] = result.failed_rows.get(label, 0) + 1
        if len(result.failures) < _SHOWN:
            digits = (f.fraction_bits + f.exponent_bits + 4) // 4
            code = bytes(cases[n]["code"][: int(cases[n]["code_length"])])
            difference = (
                f"result {got[0]:0{digits}x} flags {got[1]:02x}, expected {wanted[0]:0{digits}x} flags {wanted[1]:02x}"
            )
            result.failures.append(
                Failure(f"{unit}:{n}", code.hex(), text_of(code, 64), 64, label, [difference], f"case {pack(cases[n])}")
            )


def _sse_cases(name: str, f: Format, mode: int, first: list[int], second: list[int]) -> Records:
    cases = empty(len(first))
    for record in cases:
        set_code(record, bytes([0xF3 if f is SINGLE else 0xF2, 0x0F, _SSE[name], 0xC1]))
    cases["xmm"][:, 0, 0] = first
    cases["xmm"][:, 1, 0] = second
    cases["mxcsr"] = 0x1F80 | mode << 13
    return cases


def _sse_outcome(outcome: np.void, f: Format) -> tuple[int, int]:
    return int(outcome["xmm"][0][0]) & (1 << f.fraction_bits + f.exponent_bits + 1) - 1, int(outcome["mxcsr"]) & 0x3F


def _x87_cases(name: str, precision: str, mode: int, first: list[int], second: list[int]) -> Records:
    cases = empty(len(first))
    for record in cases:
        set_code(record, _X87[name])
    cases["valid"] = 0xFF
    cases["control"] = 0x7F & ~0x40 | 0x40 | _PRECISIONS[precision][0] | mode << 10
    for n, values in ((0, first), (1, second)):
        cases["st_mantissa"][:, n] = [value & (1 << 64) - 1 for value in values]
        cases["st_exponent"][:, n] = [value >> 64 for value in values]
    return cases


def _x87_outcome(outcome: np.void) -> tuple[int, int]:
    return int(outcome["st_exponent"][0]) << 64 | int(outcome["st_mantissa"][0]), int(outcome["status"]) & 0x3F


SUITE = _TestFloat()
