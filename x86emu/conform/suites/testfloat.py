"""x87 and SSE arithmetic against exact rational references, in the manner of TestFloat.

For each operation, format, rounding mode and precision (the four rules and roots here, everything else in
testfloat_operations.py): operands of every kind (zeros, denormals, values around the
ends of the range, halves, all-ones patterns, infinities), results and all exception flags.  NaN operands are compared
by the rules of SDM volume 1, tables 4-7 and 8-10 in the native suite; here they are left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

import numpy as np

from x86emu.conform import exact
from x86emu.conform.engine import FAILED, open_engine, run_batch
from x86emu.conform.exact import DOUBLE, EXTENDED, SINGLE, Format, Number
from x86emu.conform.generated import text_of
from x86emu.conform.records import LAYOUT, Records, empty, set_code
from x86emu.conform.reproduce import pack
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.states import put_encoding
from x86emu.conform.suite import Options
from x86emu.conform.suites.testfloat_operations import DOMAINS, OPERATIONS, Expected, Operation

Arithmetic = Callable[[Number, Number, Format, int], tuple[int, int]]


def _subtract(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    return exact.add(a, Number(b.kind, not b.negative, -b.value, b.bits, b.denormal), f, mode)


def _root(a: Number, b: Number, f: Format, mode: int) -> tuple[int, int]:
    return exact.square_root(b, f, mode)


_OPERATIONS: dict[str, Arithmetic] = {
    "add": exact.add, "mul": exact.multiply, "sub": _subtract, "div": exact.divide, "sqrt": _root,
}  # fmt: skip
_SSE = {"add": 0x58, "mul": 0x59, "sub": 0x5C, "div": 0x5E, "sqrt": 0x51}
_X87 = {"add": b"\xd8\xc1", "mul": b"\xd8\xc9", "sub": b"\xd8\xe1", "div": b"\xd8\xf1", "sqrt": b"\xd9\xfa"}
_FORMATS = {"single": SINGLE, "double": DOUBLE, "extended": EXTENDED}
_PRECISIONS = {"24": (0x000, 24), "53": (0x200, 53), "64": (0x300, 64)}


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


def _executed(unit: str, cases: Records, count: int, options: Options) -> tuple[UnitResult, Records]:
    """The cases of a unit on the engine; what the engine could not do is among the result's errors."""
    engine = open_engine(options.engine)
    result = UnitResult(unit, cases=count)
    start = time.process_time()
    outcomes = run_batch(engine, cases, result.errors)
    result.errors = [f"unit {unit}: {error}" for error in result.errors]
    result.seconds = time.process_time() - start
    return result, outcomes


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
        names += [f"op.{name}.{mode}" for name, operation in OPERATIONS.items() for mode in operation.modes]
        return names

    def run(self, unit: str, options: Options) -> UnitResult:
        if unit.startswith("op."):
            return self._run_operation(unit, options)
        kind, name, width, mode_text = unit.split(".")
        mode = int(mode_text)
        count = max(8, options.count // len(self.units(options)))
        rng = np.random.default_rng([options.seed, *unit.encode()])
        f = _FORMATS[width] if kind == "sse" else EXTENDED
        first, second = operands(f, rng, count), operands(f, rng, count)
        cases = (
            _sse_cases(name, f, mode, first, second) if kind == "sse" else _x87_cases(name, width, mode, first, second)
        )
        result, outcomes = _executed(unit, cases, count, options)
        if kind == "x87":
            f = Format(64, 15, True, _PRECISIONS[width][1])
        for n in np.flatnonzero(outcomes["vector"] != FAILED).tolist():
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

    def _run_operation(self, unit: str, options: Options) -> UnitResult:
        _, name, mode_text = unit.split(".")
        operation, mode = OPERATIONS[name], int(mode_text)
        count = max(8, options.count // len(self.units(options)))
        rng = np.random.default_rng([options.seed, *unit.encode()])
        first, second = operation_operands(operation.operand, rng, count)
        cases = operation_cases(operation, mode, first, second)
        result, outcomes = _executed(unit, cases, count, options)
        for n in np.flatnonzero(outcomes["vector"] != FAILED).tolist():
            expected = operation.reference(first[n], second[n], mode)
            found = check_outcome(expected, outcomes[n], operation.operand)
            if found:
                if result.fails(name):
                    code = bytes(cases[n]["code"][: int(cases[n]["code_length"])])
                    found.append(f"operands {first[n]:x} {second[n]:x}, rounding {mode}")
                    result.failures.append(
                        Failure(f"{unit}:{n}", code.hex(), text_of(code, 64), 64, name, found, f"case {pack(cases[n])}")
                    )
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
        label = ".".join(unit.split(".")[:3])
        if result.fails(label):
            digits = (f.fraction_bits + f.exponent_bits + 4) // 4
            code = bytes(cases[n]["code"][: int(cases[n]["code_length"])])
            difference = (
                f"result {got[0]:0{digits}x} flags {got[1]:02x}, expected {wanted[0]:0{digits}x} flags {wanted[1]:02x}"
            )
            result.failures.append(
                Failure(f"{unit}:{n}", code.hex(), text_of(code, 64), 64, label, [difference], f"case {pack(cases[n])}")
            )


def operation_operands(kind: str, rng: np.random.Generator, count: int) -> tuple[list[int], list[int]]:
    """Encodings of both operands of an Operation, whose `operand` kind is."""
    if kind in ("x87", "remainder", "none"):
        first, second = operands(EXTENDED, rng, count), operands(EXTENDED, rng, count)
        for n in range(count):
            if kind == "remainder" and rng.random() < 0.7:  # exponents so near that one step is enough, or nearly so
                exponent = (first[n] >> 64 & 0x7FFF) + int(rng.integers(-66, 4))
                if 0 < exponent < 0x7FFF:
                    second[n] = second[n] & 1 << 79 | exponent << 64 | second[n] & (1 << 63) - 1 | 1 << 63
        return first, second
    if kind in DOMAINS:
        return tuple(_within(rng, count, *domain) for domain in DOMAINS[kind])  # type: ignore[return-value]
    if kind in ("m32", "sse32", "m64", "sse64"):
        f = SINGLE if kind.endswith("32") else DOUBLE
        return operands(f, rng, count), operands(f, rng, count)
    if kind == "bcd":
        values = [int(rng.integers(0, 10 ** int(rng.integers(1, 19)))) for _ in range(count)]
        images = [int(f"{value:018d}", 16) | int(rng.integers(0, 2)) << 79 for value in values]
        return images, [0] * count
    bits = int(kind[1:])
    edges = [0, 1, (1 << bits) - 1, 1 << bits - 1, (1 << bits - 1) - 1]
    numbers = [
        edges[int(rng.integers(0, 5))]
        if rng.random() < 0.2
        else int.from_bytes(rng.bytes(8), "little") >> int(rng.integers(64 - bits, 64))
        for _ in range(count)
    ]
    return numbers, [0] * count


def _within(rng: np.random.Generator, count: int, low: int, high: int, signed: bool) -> list[int]:
    made = []
    for _ in range(count):
        significand = 1 << 63 | int.from_bytes(rng.bytes(8), "little") >> 1
        if rng.random() < 0.1:
            significand = 1 << 63 | significand & 0xFF
        sign = int(rng.integers(0, 2)) if signed else 0
        made.append(sign << 79 | 0x3FFF + int(rng.integers(low, high)) << 64 | significand)
    return made


def operation_cases(operation: Operation, mode: int, first: list[int], second: list[int]) -> Records:
    """Records that execute an Operation with all exceptions masked."""
    cases = empty(len(first))
    kind = operation.operand
    put_encoding(cases, 0, len(cases), operation.code, -1, LAYOUT.code + 0x800, LAYOUT.data + 0x800, 1,
                 {3: LAYOUT.data + 0x800, 4: LAYOUT.stack + 0x800})  # fmt: skip
    cases["control"] = 0x37F | mode << 10
    cases["mxcsr"] = 0x1F80 | mode << 13
    if kind.startswith("sse"):
        cases["xmm"][:, 0, 0], cases["xmm"][:, 1, 0] = first, second
    elif kind[0] == "r" and kind[1:].isdigit():
        cases["gpr"][:, 0] = first
    elif kind in ("m32", "m64", "i16", "i32", "i64", "bcd"):
        cases["window"][:, :10] = [list(value.to_bytes(10, "little")) for value in first]
    elif kind != "none":
        cases["valid"] = 1 if operation.pushes else 3
        for n, values in ((0, first), (1, second)):
            cases["st_mantissa"][:, n] = [value & (1 << 64) - 1 for value in values]
            cases["st_exponent"][:, n] = [value >> 64 for value in values]
    return cases


def _st(outcome: np.void, n: int) -> int:
    return int(outcome["st_exponent"][n]) << 64 | int(outcome["st_mantissa"][n])


def _is_near(got: int, reference: Fraction, mode: int) -> bool:
    """Whether a transcendental result lies within the manual's bound (SDM 1, 8.3.10)."""
    number = exact.decode(got, EXTENDED)
    if number.kind not in ("finite", "zero") or not reference:
        return number.kind == "zero" and not reference
    unit = Fraction(2) ** (max(exact.exponent_of(abs(reference)), EXTENDED.least) - 63)
    return abs(number.value - reference) <= (unit if mode == exact.NEAREST else unit * 3 / 2)


def check_outcome(expected: Expected, outcome: np.void, kind: str) -> list[str]:
    """What differs from the reference, as sentences without subject."""
    found = []
    if int(outcome["vector"]) >= 0:
        return [f"exception {int(outcome['vector'])}"]
    sse = kind.startswith("sse") or kind in ("r32", "r64")
    flags = int(outcome["mxcsr" if sse else "status"]) & 0x3F
    for n, wanted, near in ((0, expected.st0, expected.near0), (1, expected.st1, expected.near1)):
        got = _st(outcome, n)
        if wanted is not None and got != wanted:
            found.append(f"st({n}) {got:020x}, expected {wanted:020x}")
        if near is not None and not _is_near(got, near, int(outcome["control"]) >> 10 & 3):
            found.append(f"st({n}) {got:020x} lies farther from {float(near)!r} than the manual allows")
    if expected.memory and bytes(outcome["window"][: len(expected.memory)]) != expected.memory:
        got_bytes = bytes(outcome["window"][: len(expected.memory)])
        found.append(f"memory {got_bytes.hex()}, expected {expected.memory.hex()}")
    if expected.flags is not None and flags != expected.flags:
        found.append(f"flags {flags:02x}, expected {expected.flags:02x}")
    if expected.flags is None and flags & (exact.INVALID | exact.ZERO_DIVIDE | exact.OVERFLOW):
        found.append(f"flags {flags:02x} of a result that is finite")
    for name, (mask, value), got in (
        ("condition codes", expected.condition, int(outcome["status"])),
        ("EFLAGS", expected.eflags, int(outcome["rflags"])),
    ):
        if (got ^ value) & mask:
            found.append(f"{name} {got & mask:x}, expected {value:x}")
    for name, (bits, value), got in (
        ("xmm0", expected.xmm0, int(outcome["xmm"][0][0])), ("rax", expected.rax, int(outcome["gpr"][0]))
    ):  # fmt: skip
        if bits and (got ^ value) & (1 << bits) - 1:
            found.append(f"{name} {got & (1 << bits) - 1:x}, expected {value:x}")
    return found


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
