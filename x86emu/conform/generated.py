"""Suites of generated cases judged by another engine: what the native and the Unicorn suite share."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, replace
from platform import node
from typing import Any

import numpy as np

from x86emu.conform.cases import Batch, make_batch, make_sequences, needs_right, usable
from x86emu.conform.compare import differences, differing
from x86emu.conform.encoder import STATES_PER_ENCODING
from x86emu.conform.engine import FAILED, Engine, engine_named, run_batch
from x86emu.conform.records import code_of
from x86emu.conform.reproduce import one_liner
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.shrink import shrink
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError, X86EmuError
from x86emu.isa.disassembler import disassemble
from x86emu.isa.table import Row, load_rows

BATCH = 8000
SEQUENCE_SHARE = 8
"""Every so many-th batch consists of random sequences."""
_SETS_CODES = frozenset(
    "FCOM FCOMP FCOMPP FUCOM FUCOMP FUCOMPP FICOM FICOMP FTST FXAM FPREM FPREM1 FSIN FCOS FSINCOS FPTAN FNINIT FLDENV "
    "FRSTOR".split()
)
_EXAMPLE_UNITS = 24
"""Units whose results keep an example of each difference of a peer: the table has come in turn by then."""
_KINDS = {
    "flags": "flags", "xmm": "vector register", "ymm": "vector register", "st": "x87 register", "mxcsr": "MXCSR",
    "status": "x87 status", "control": "x87 control", "valid": "x87 tags", "memory": "memory", "rip": "RIP",
    "page": "address of a page fault",
}  # fmt: skip


def common_features(engine: str, oracle: str) -> frozenset[str]:
    """Features that both have."""
    return engine_named(engine, oracle).features() & engine_named(oracle).features()


@dataclass
class GeneratedSuite:
    """Cases from the instruction table; oracle is the name of the engine that judges.

    An oracle that is a peer, no processor, gets a voter that is one: a case in which voter and engine under test agree
    does not count as different, but is kept as the peer's (UnitResult.peer).
    """

    name: str
    title: str
    oracle: str
    needs_directory: bool = False
    voter: str = ""

    def features(self, options: Options) -> frozenset[str]:
        """Raises UserInputError where this host lacks what the run began with."""
        here = common_features(options.engine, self.oracle)
        if options.features and not here >= frozenset(options.features):
            missing = ", ".join(sorted(frozenset(options.features) - here))
            raise UserInputError(f"The run began on a host whose oracle has {missing}; the one of {node()} has not.")
        return frozenset(options.features) or here

    def reason(self, row: Row) -> str | None:
        """Why a row makes no case with this oracle, or None."""
        if getattr(engine_named(self.oracle), "ring", 3) == 0 and needs_right(row):
            return f"needs a right that the oracle {self.oracle} always has: it runs cases at privilege level 0"
        return None

    def _rows(self, options: Options) -> list[int]:
        return [
            n for n, row in enumerate(load_rows())
            if (not options.rows or row.mnemonic in options.rows) and self.reason(row) is None
        ]  # fmt: skip

    def _voter(self) -> Engine | None:
        try:
            return engine_named(self.voter) if self.voter else None
        except UserInputError:
            return None

    def units(self, options: Options) -> list[str]:
        if options.engine == self.oracle:
            raise UserInputError(f"The engine {options.engine} cannot be its own oracle; choose another suite.")
        modes = [m for m in options.modes if m in engine_named(self.oracle).modes]
        features, table = self.features(options), load_rows()
        if not any(usable(table[n], mode, features) for n in self._rows(options) for mode in modes):
            raise UserInputError(f"No row of {', '.join(options.rows) or 'the table'} makes cases for {self.oracle}.")
        units = []
        for n in range((options.count + BATCH - 1) // BATCH):
            sequences = n % SEQUENCE_SHARE == SEQUENCE_SHARE - 1 and not options.rows
            mode = modes[(n + n // SEQUENCE_SHARE) % len(modes)]
            units.append(f"{mode}.{'sequences' if sequences else 'single'}.{n}")
        return units

    def same_units(self, options: Options) -> Options:
        """Options that tell what is in a unit, whatever the number of units."""
        return replace(options, count=min(options.count, BATCH))

    def run(self, unit: str, options: Options) -> UnitResult:
        mode_text, kind, number = unit.split(".")
        mode = int(mode_text)
        engine, oracle = engine_named(options.engine, self.oracle), engine_named(self.oracle)
        features = self.features(options)
        result = UnitResult(unit)
        encodings = max(1, min(BATCH, options.count) // STATES_PER_ENCODING)
        make = make_sequences if kind == "sequences" else make_batch
        batch = make(options.seed, int(number), mode, features, encodings, rows=self._rows(options))
        start = time.process_time()
        actual = run_batch(engine, batch.cases, result.errors)
        result.seconds = time.process_time() - start
        expected = run_batch(oracle, batch.cases, result.errors)
        result.errors = [f"unit {unit}: {error}" for error in result.errors]
        result.cases = len(batch.cases)
        result.coverage = coverage_of(batch, expected["vector"])
        numbers = differing(expected, actual, batch.undefined_flags)
        numbers = numbers[actual["vector"][numbers] != FAILED]  # those are among the errors
        sides = self._vote(numbers, batch, actual)
        for n, side in zip(numbers.tolist(), sides, strict=True):
            if side == "engine":
                self._peer(n, batch, expected, actual, result, int(number) < _EXAMPLE_UNITS)
                continue
            found = differences(batch.cases[n], expected[n], actual[n], int(batch.undefined_flags[n]))
            if int(expected[n]["vector"]) == FAILED:
                text = code_of(batch.cases[n]).hex()
                result.errors.append(f"unit {unit}: oracle {self.oracle} was lost at case {n} (code {text})")
            elif found:
                self._failure(n, batch, found, side, engine, oracle, result, options)
        return result

    def _vote(self, numbers: np.ndarray, batch: Batch, actual: np.ndarray) -> list[str]:
        """For each case: "engine" where the voter's outcome is that of the engine under test, else what it says."""
        voter = self._voter()
        if voter is None or not len(numbers):
            return [""] * len(numbers)
        cases, undefined = batch.cases[numbers], batch.undefined_flags[numbers]
        voted = run_batch(voter, cases, [])
        sides = ["engine"] * len(numbers)
        for k in differing(voted, actual[numbers], undefined):
            if int(voted[k]["vector"]) == FAILED:
                sides[k] = f"{self.voter} could not run it"
                continue
            against = differences(cases[k], voted[k], actual[numbers[k]], int(undefined[k]))
            if against:
                sides[k] = f"by {self.voter}: {'; '.join(against)}"
        return sides

    def _peer(
        self, n: int, batch: Batch, expected: np.ndarray, actual: np.ndarray, result: UnitResult, example: bool
    ) -> None:
        case = batch.cases[n]
        found = differences(case, actual[n], expected[n], int(batch.undefined_flags[n]))
        if _open_condition_codes(case) and not (int(actual[n]["status"]) ^ int(expected[n]["status"])) & ~0x4500:
            found = [text for text in found if not text.startswith("status")]
        if not found:  # a rule looks at what it takes for the right outcome: here the engine's
            return
        name = row_name(case)
        key = f"{name}|{kind_of(found)}"
        result.peer[key] = result.peer.get(key, 0) + 1
        if example and result.peer[key] == 1:
            code = code_of(case)
            text = text_of(code, batch.mode)
            result.peer_examples.append(Failure(f"{result.unit}.{n}", code.hex(), text, batch.mode, name, found))

    def _failure(
        self, n: int, batch: Batch, found: list[str], side: str, engine: Engine, oracle: Engine,
        result: UnitResult, options: Options,
    ) -> None:  # fmt: skip
        undefined = int(batch.undefined_flags[n])
        case = batch.cases[n]
        name = row_name(case)
        if not result.fails(name):
            return
        small = case
        judge, judge_name = oracle, self.oracle
        if side.startswith("by "):
            judge, judge_name = engine_named(self.voter), self.voter
        if result.failed_rows[name] == 1:
            try:
                small = shrink(case, undefined, engine, judge)
                found = differences(
                    small, run_batch(judge, np.array([small]))[0], run_batch(engine, np.array([small]))[0], undefined
                )
            except X86EmuError as error:
                result.errors.append(f"unit {result.unit}, case {n}: shrinking failed: {error}")
        code = code_of(small)
        line = one_liner(small, undefined, options.engine, judge_name, self.oracle)
        texts = [*found, side] if side else found
        result.failures.append(
            Failure(f"{result.unit}.{n}", code.hex(), text_of(code, batch.mode), batch.mode, name, texts, line)
        )


def _open_condition_codes(case: Any) -> bool:
    """Whether the manual leaves C0, C2 and C3 open (SDM 1, table 8-1): processors keep them, a peer need not."""
    number = int(case["row"])
    return number < 0 or (load_rows()[number].has("x87") and load_rows()[number].mnemonic not in _SETS_CODES)


def row_name(case: Any) -> str:
    """Row of a case and where it is."""
    number = int(case["row"])
    return f"{load_rows()[number]} ({load_rows()[number].source})" if number >= 0 else "sequence"


def kind_of(found: list[str]) -> str:
    """What differs, without the values: `vector none, expected 13` or `flags, register`."""
    if found[0].startswith("vector"):
        return found[0]
    kinds = {_KINDS.get(re.split(r"[\d ]", text.removeprefix("upper half of "))[0], "register") for text in found}
    return ", ".join(sorted(kinds))


def text_of(code: bytes, mode: int) -> str:
    """Disassembly of all of code, instructions separated by semicolons."""
    texts = []
    at = 0
    while at < len(code):
        length, text = disassemble(code[at:].ljust(16, b"\x90"), mode)
        texts.append(text)
        at += max(length, 1)
    return "; ".join(texts)


def coverage_of(batch: Batch, vectors: np.ndarray) -> dict[str, int]:
    """Cases by form, and by row and exception raised, under the keys of UnitResult.coverage."""
    found: dict[str, int] = {}
    for form in batch.forms:
        key = form.text
        found[key] = found.get(key, 0) + STATES_PER_ENCODING
    raised = vectors >= 0
    pairs, counts = np.unique(
        batch.cases["row"][raised].astype(np.int64) << 16 | vectors[raised].astype(np.int64), return_counts=True
    )
    for pair, count in zip(pairs.tolist(), counts.tolist(), strict=True):
        found[f"vector|{pair >> 16}|{pair & 0xFFFF}"] = count
    return found
