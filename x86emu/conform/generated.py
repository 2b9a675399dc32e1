"""Suites of generated cases judged by another engine: what the native and the Unicorn suite share."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from x86emu.conform.cases import STATES_PER_ENCODING, Batch, make_batch, make_sequences
from x86emu.conform.compare import differences, differing
from x86emu.conform.engine import Engine, EngineError, engine_named, run_batch
from x86emu.conform.records import code_of
from x86emu.conform.reproduce import one_liner
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.shrink import shrink
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError, X86EmuError
from x86emu.isa.disassembler import disassemble
from x86emu.isa.table import load_rows

BATCH = 8000
SEQUENCE_SHARE = 8
"""Every so many-th batch consists of random sequences."""
_SHOWN = 3


def common_features(engine: str, oracle: str) -> frozenset[str]:
    """Features that both have."""
    return engine_named(engine, oracle).features() & engine_named(oracle).features()


@dataclass
class GeneratedSuite:
    """Cases from the instruction table; oracle is the name of the engine that judges."""

    name: str
    title: str
    oracle: str
    needs_directory: bool = False

    def features(self, options: Options) -> frozenset[str]:
        return common_features(options.engine, self.oracle)

    def units(self, options: Options) -> list[str]:
        if options.engine == self.oracle:
            raise UserInputError(f"The engine {options.engine} cannot be its own oracle; choose another suite.")
        engine_named(options.engine)
        modes = [m for m in options.modes if m in engine_named(self.oracle).modes]
        return [
            f"{modes[n % len(modes)]}.{'sequences' if n % SEQUENCE_SHARE == SEQUENCE_SHARE - 1 else 'single'}.{n}"
            for n in range((options.count + BATCH - 1) // BATCH)
        ]

    def run(self, unit: str, options: Options) -> UnitResult:
        mode_text, kind, number = unit.split(".")
        mode = int(mode_text)
        engine, oracle = engine_named(options.engine, self.oracle), engine_named(self.oracle)
        features = common_features(options.engine, self.oracle)
        result = UnitResult(unit)
        encodings = max(1, min(BATCH, options.count) // STATES_PER_ENCODING)
        if kind == "sequences":
            batch = make_sequences(options.seed, int(number), mode, features, encodings)
        else:
            rows = None
            if options.rows:
                rows = [n for n, row in enumerate(load_rows()) if row.mnemonic in options.rows]
            batch = make_batch(options.seed, int(number), mode, features, encodings, rows)
        start = time.process_time()
        try:
            actual = run_batch(engine, batch.cases)
            result.seconds = time.process_time() - start
            expected = run_batch(oracle, batch.cases)
        except EngineError as error:
            result.errors.append(f"unit {unit}: {error}")
            return result
        result.cases = len(batch.cases)
        _coverage(batch, expected["vector"], result)
        for n in differing(expected, actual, batch.undefined_flags):
            self._failure(int(n), batch, expected, actual, engine, oracle, result, options)
        return result

    def _failure(
        self, n: int, batch: Batch, expected: np.ndarray, actual: np.ndarray, engine: Engine, oracle: Engine,
        result: UnitResult, options: Options,
    ) -> None:  # fmt: skip
        undefined = int(batch.undefined_flags[n])
        found = differences(batch.cases[n], expected[n], actual[n], undefined)
        if not found:
            return
        case = batch.cases[n]
        row_number = int(case["row"])
        row = load_rows()[row_number] if row_number >= 0 else None
        name = f"{row} ({row.source})" if row else "sequence"
        result.failed += 1
        result.failed_rows[name] = result.failed_rows.get(name, 0) + 1
        if result.failed_rows[name] > _SHOWN:
            return
        small = case
        if result.failed_rows[name] == 1:
            try:
                small = shrink(case, undefined, engine, oracle)
                found = differences(
                    small, run_batch(oracle, np.array([small]))[0], run_batch(engine, np.array([small]))[0], undefined
                )
            except X86EmuError as error:
                result.errors.append(f"unit {result.unit}, case {n}: shrinking failed: {error}")
        code = code_of(small)
        result.failures.append(
            Failure(
                f"{result.unit}.{n}", code.hex(), text_of(code, batch.mode), batch.mode, name, found,
                one_liner(small, undefined, options.engine, self.oracle),
            )
        )  # fmt: skip


def text_of(code: bytes, mode: int) -> str:
    """Disassembly of all of code, instructions separated by semicolons."""
    texts = []
    at = 0
    while at < len(code):
        length, text = disassemble(code[at:].ljust(16, b"\x90"), mode)
        texts.append(text)
        at += max(length, 1)
    return "; ".join(texts)


def _coverage(batch: Batch, vectors: np.ndarray, result: UnitResult) -> None:
    for form in batch.forms:
        key = "|".join(map(str, form.key))
        result.coverage[key] = result.coverage.get(key, 0) + STATES_PER_ENCODING
    raised = np.flatnonzero(vectors >= 0)
    for n in raised:
        key = f"vector|{int(batch.cases[n]['row'])}|{int(vectors[n])}"
        result.coverage[key] = result.coverage.get(key, 0) + 1
