"""A slice of each suite of `x86emu conform` (the others: test_moo, test_testfloat, test_decoders, test_kvm_unit_tests).

`make conform` runs them whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conform_hw import vectors_directory
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.results import Run
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options, load_suite


def told(run: Run) -> list[str]:
    """Everything that differs, as pytest shows it."""
    return [f"{f.case} {f.code} {f.text}: {f.differences}" for unit in run.units for f in unit.failures] + run.errors


@pytest.mark.parametrize("unit", ["64.single.0", "32.single.1", "64.sequences.7", "32.sequences.15"])
def test_native(native: NativeEngine, unit: str) -> None:
    result = load_suite("native").run(unit, Options("native", seed=11, count=100_000))
    assert result.cases == 8000
    assert not told(Run("native", "x86emu", "native", 11, units=[result]))


@pytest.mark.parametrize("unit", ["64.single.0", "32.single.1", "64.sequences.7"])
def test_unicorn(native: NativeEngine, unit: str) -> None:
    pytest.importorskip("unicorn")
    result = load_suite("unicorn").run(unit, Options("unicorn", seed=12, count=4000))
    assert result.cases == 4000
    assert not told(Run("unicorn", "x86emu", "unicorn", 12, units=[result]))
    assert result.peer


def captures() -> Path:
    return vectors_directory("hw")


def test_hw() -> None:
    run = run_suite(Options("hw", directory=captures(), limit=1500))
    assert run.cases == 3000
    assert not told(run)


def test_declen() -> None:
    run = run_suite(Options("declen", directory=captures(), limit=6000))
    assert run.cases == 12000
    assert not told(run)
