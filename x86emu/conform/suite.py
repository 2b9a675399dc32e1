"""A suite: units of work that run independently of each other, in any order and in any process."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from x86emu.conform.results import UnitResult
from x86emu.errors import UserInputError


@dataclass(frozen=True)
class Options:
    """What the command line says about a run; goes to the worker processes."""

    suite: str
    engine: str = "x86emu"
    directory: Path | None = None
    seed: int = 1
    count: int = 100_000
    """Cases, for suites that generate them; of files at most so many cases each where `limit` is set."""
    limit: int | None = None
    modes: tuple[int, ...] = (64, 32)
    rows: tuple[str, ...] = ()
    """Mnemonics; empty for all."""
    features: tuple[str, ...] = ()
    """Features that the cases are limited to, as the process that began the run found them; workers use the same."""
    only: tuple[str, ...] = ()
    """Patterns of the units that are wanted; empty for all."""
    timeout: float | None = None
    """Seconds for a unit of a suite that limits them; None for what the suite says."""
    extra: dict[str, str] = field(default_factory=dict)


class Suite(Protocol):
    """What a module of x86emu.conform.suites has as SUITE."""

    name: str
    title: str
    oracle: str
    needs_directory: bool

    def units(self, options: Options) -> list[str]:
        """Names of the units. Raises UserInputError where the input is not there or an oracle is missing."""
        ...

    def run(self, unit: str, options: Options) -> UnitResult:
        """Runs one unit."""
        ...

    def features(self, options: Options) -> frozenset[str]:
        """Features that the cases are limited to; empty where that has no meaning."""
        ...


SUITES = {
    "native": "x86emu.conform.suites.native",
    "unicorn": "x86emu.conform.suites.unicorn",
    "singlestep": "x86emu.conform.suites.singlestep",
    "hw": "x86emu.conform.suites.hw",
    "declen": "x86emu.conform.suites.declen",
    "decoders": "x86emu.conform.suites.decoders",
    "testfloat": "x86emu.conform.suites.testfloat",
    "kvm-unit-tests": "x86emu.conform.suites.kvm_unit_tests",
}


def load_suite(name: str) -> Suite:
    """The suite of that name. Raises UserInputError where there is none."""
    if name not in SUITES:
        raise UserInputError(f"There is no suite {name!r}; the suites are {', '.join(SUITES)}.")
    suite: Suite = importlib.import_module(SUITES[name]).SUITE
    return suite
