"""The suite testfloat: every operation on the engine, the same references on the host's processor, and errors found."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from x86emu.conform import series
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import Records
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options, load_suite
from x86emu.conform.suites import testfloat
from x86emu.conform.suites.testfloat_operations import OPERATIONS, round_integer


def test_every_operation_and_rounding_mode() -> None:
    run = run_suite(Options("testfloat", seed=5, count=6000))
    assert run.cases > 5000
    assert not run.errors
    assert not run.failed, [(f.case, f.differences) for unit in run.units for f in unit.failures]
    names = {unit.unit.split(".")[1] for unit in run.units}
    assert set(OPERATIONS) < names and {"add", "sub", "mul", "div", "sqrt"} < names


def test_the_references_agree_with_the_host(native: NativeEngine) -> None:
    run = run_suite(Options("testfloat", "native", seed=6, count=2000))
    assert not run.failed, [(f.case, f.differences) for unit in run.units for f in unit.failures]


class Inexact(X86EmuEngine):
    """The last bit of ST(0), of XMM0, of RAX and of memory at RBX is wrong by four."""

    def run_batch(self, cases: Records) -> Records:
        outcomes = super().run_batch(cases)
        outcomes["st_mantissa"][:, 0] ^= np.uint64(4)
        outcomes["xmm"][:, 0, 0] ^= np.uint64(4)
        outcomes["gpr"][:, 0] ^= np.uint64(4)
        outcomes["window"][:, 0] ^= 4
        outcomes["rflags"] ^= np.uint64(1)
        outcomes["status"] ^= 0x4000
        return outcomes


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_errors_are_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(testfloat, "open_engine", lambda name: Inexact())
    result = load_suite("testfloat").run(f"op.{name}.0", Options("testfloat", count=1000))
    assert result.failed >= result.cases // 2
    assert result.failures and result.failures[0].differences


def test_series() -> None:
    half, third = Fraction(1, 2), Fraction(1, 3)
    assert abs(series.log2(Fraction(8)) - 3) < Fraction(1, 1 << 250)
    assert abs(series.power_of_2_minus_1(half) ** 2 + 2 * series.power_of_2_minus_1(half) - 1) < Fraction(1, 1 << 120)
    assert abs(series.log2_of_1_plus(third) - series.log2(1 + third)) < Fraction(1, 1 << 120)
    assert (
        abs(series.log2_of_1_plus(Fraction(1, 1 << 90)) * (1 << 90) - 1 / Fraction(series.ln2(), series.SCALE))
        < half**80
    )
    sine, cosine = series.sine_and_cosine(third)
    assert abs(sine**2 + cosine**2 - 1) < half**250
    assert abs(series.arctangent(sine, cosine) - third) < half**120
    assert abs(series.arctangent(-sine, -cosine) - third + Fraction(series.pi(), series.SCALE)) < half**120


@pytest.mark.parametrize(
    ("value", "results"),
    [
        ("5/2", (2, 2, 3, 2)),
        ("-5/2", (-2, -3, -2, -2)),
        ("7/2", (4, 3, 4, 3)),
        ("-1/3", (0, -1, 0, 0)),
        ("4", (4,) * 4),
    ],
)
def test_rounding_to_integers(value: str, results: tuple[int, ...]) -> None:
    assert tuple(round_integer(Fraction(value), mode) for mode in range(4)) == results
