"""Runs the units of a suite, in this process or in several, and keeps what is done so that a run can be resumed."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from x86emu.conform.results import Run, UnitResult, unit_from
from x86emu.conform.suite import Options, load_suite
from x86emu.errors import UserInputError


def _run_unit(unit: str, options: Options) -> UnitResult:
    """In a worker: one unit; an exception becomes an error of the unit, the rest of the run goes on."""
    start = time.process_time()
    try:
        result = load_suite(options.suite).run(unit, options)
    except Exception as error:
        result = UnitResult(unit, errors=[f"unit {unit}: {type(error).__name__}: {error}"])
    if not result.seconds:
        result.seconds = time.process_time() - start
    return result


class Journal:
    """The finished units of a run beside its results, one JSON line each.

    Its first line names the run by everything that decides its cases; a journal of another run is not resumed.
    """

    def __init__(self, path: Path, options: Options, resume: bool) -> None:
        self.path = path
        self.done: dict[str, UnitResult] = {}
        described = json.dumps({k: v for k, v in asdict(options).items() if k != "extra"}, default=str, sort_keys=True)
        name = hashlib.sha256(described.encode()).hexdigest()
        try:
            if resume and path.exists():
                first, *lines = path.read_text(encoding="utf-8").splitlines() or [""]
                if first != name:
                    raise UserInputError(
                        f"{path} belongs to a run with other options; resume with the same ones or leave --resume out."
                    )
                for line in lines:
                    try:
                        unit = unit_from(json.loads(line))
                    except (ValueError, TypeError, KeyError):
                        break  # the last line of an interrupted run
                    self.done[unit.unit] = unit
            self._file = path.open("w", encoding="utf-8")
        except OSError as error:
            raise UserInputError(f"{path} cannot be written: {error.strerror}.") from None
        print(name, file=self._file)
        for unit in self.done.values():
            self.add(unit)

    def add(self, unit: UnitResult) -> None:
        print(json.dumps(asdict(unit)), file=self._file, flush=True)

    def close(self, finished: bool) -> None:
        """Ends it; a finished run needs none."""
        self._file.close()
        if finished:
            self.path.unlink(missing_ok=True)


class Progress:
    """A line that shows how far a run is, on a terminal; elsewhere nothing."""

    def __init__(self, total: int, stream: TextIO = sys.stderr) -> None:
        self.total = total
        self.stream = stream
        self.shown = stream.isatty()
        self.done = self.cases = self.failed = 0
        self.start = time.monotonic()

    def add(self, unit: UnitResult) -> None:
        self.done += 1
        self.cases += unit.cases
        self.failed += unit.failed
        if self.shown:
            width = 30
            filled = width * self.done // max(1, self.total)
            seconds = time.monotonic() - self.start
            self.stream.write(
                f"\r[{'#' * filled}{'.' * (width - filled)}] {self.done}/{self.total}  {self.cases:,} cases  "
                f"{self.failed:,} differ  {seconds:.0f} s "
            )
            self.stream.flush()

    def close(self) -> None:
        if self.shown:
            self.stream.write("\n")


def _results(units: list[str], options: Options, jobs: int) -> Iterator[UnitResult]:
    if jobs <= 1 or len(units) <= 1:
        for unit in units:
            yield _run_unit(unit, options)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(units)), mp_context=context) as pool:
        futures = {pool.submit(_run_unit, unit, options): unit for unit in units}
        try:
            for future in as_completed(futures):
                error = future.exception()
                if error is None:
                    yield future.result()
                else:
                    yield UnitResult(
                        futures[future], errors=[f"unit {futures[future]}: the worker process was lost: {error}"]
                    )
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def run_suite(
    options: Options,
    jobs: int = 1,
    journal: Path | None = None,
    resume: bool = False,
    progress: Callable[[int], Progress] | None = None,
) -> Run:
    """Runs a suite with all its units and gives the results in the units' order, whatever order they came in.

    Raises UserInputError where the suite's input or oracle is missing.
    """
    suite = load_suite(options.suite)
    if suite.needs_directory and options.directory is None:
        raise UserInputError(
            f"The suite {options.suite} needs the directory of its files: --suite {options.suite} DIR."
        )
    if options.directory is not None and not options.directory.is_dir():
        raise UserInputError(f"{options.directory} is no directory.")
    units = suite.units(options)
    keeper = Journal(journal, options, resume) if journal is not None else None
    done: dict[str, UnitResult] = dict(keeper.done) if keeper else {}
    left = [unit for unit in units if unit not in done]
    shown = progress(len(units)) if progress else None
    finished = False
    try:
        for unit in done.values():
            if shown:
                shown.add(unit)
        for result in _results(left, options, jobs):
            done[result.unit] = result
            if keeper:
                keeper.add(result)
            if shown:
                shown.add(result)
        finished = True
    finally:
        if keeper:
            keeper.close(finished)
        if shown:
            shown.close()
    return Run(
        options.suite, options.engine, suite.oracle, options.seed, sorted(suite.features(options)),
        [done[unit] for unit in units],
    )  # fmt: skip
