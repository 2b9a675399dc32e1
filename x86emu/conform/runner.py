"""Runs the units of a suite, in this process, in several or on a cluster; keeps what is done, to resume a run."""

from __future__ import annotations

import hashlib
import importlib
import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TextIO

from x86emu.conform.results import Run, UnitResult, unit_from
from x86emu.conform.suite import Options, Suite, load_suite
from x86emu.errors import UserInputError

CLUSTER_TIMEOUT = 10
"""Seconds that a scheduler has to answer."""
CLUSTER_RETRIES = 3


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


_threads: list[ThreadPoolExecutor] = []


def run_on_worker(unit: str, options: Options) -> UnitResult:
    """A unit on a worker of a cluster: always in the same thread, because a traced child belongs to one."""
    if not _threads:
        _threads.append(ThreadPoolExecutor(1))
    return _threads[0].submit(_run_unit, unit, options).result()


def _cluster_results(units: list[str], options: Options, address: str) -> Iterator[UnitResult]:
    """Units on the workers of a Dask scheduler, in the order in which they are done."""
    try:
        distributed: Any = importlib.import_module("distributed")
    except ImportError:
        raise UserInputError(
            "--cluster needs the Python package distributed, here and on the workers: pip install distributed."
        ) from None
    try:
        client = distributed.Client(address, timeout=CLUSTER_TIMEOUT)
    except (OSError, ValueError, TimeoutError) as error:
        raise UserInputError(
            f"There is no Dask scheduler at {address} ({error}); start one with `dask scheduler` and workers with "
            "`dask worker ADDRESS`, and give its address, as tcp://host:8786."
        ) from None
    with client:
        futures = {
            client.submit(run_on_worker, unit, options, pure=False, retries=CLUSTER_RETRIES): unit for unit in units
        }
        for future in distributed.as_completed(futures):
            problem = future.exception()
            if problem is None:
                yield future.result()
            else:
                yield UnitResult(
                    futures[future], errors=[f"unit {futures[future]}: no worker could run it: {problem!r}"]
                )
            future.release()


class Journal:
    """The finished units of a run beside its results, one JSON line each.

    Its first line names the run by everything that decides its cases; a journal of another run is not resumed.
    Generated cases do not depend on their number, so that such a run can be resumed with another --count.
    """

    def __init__(self, path: Path, options: Options, resume: bool) -> None:
        self.path = path
        self.done: dict[str, UnitResult] = {}
        same = getattr(load_suite(options.suite), "same_units", lambda options: options)(options)
        described = json.dumps(asdict(same), default=str, sort_keys=True)
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
            new = path.with_name(path.name + ".new")
            with new.open("w", encoding="utf-8") as file:
                print(name, file=file)
                for unit in self.done.values():
                    print(json.dumps(asdict(unit)), file=file)
            new.replace(path)
            self._file = path.open("a", encoding="utf-8")
        except OSError as error:
            raise UserInputError(f"{path} cannot be written: {error.strerror}.") from None

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


def _results(units: list[str], options: Options, jobs: int, cluster: str | None) -> Iterator[UnitResult]:
    if cluster is not None:
        yield from _cluster_results(units, options, cluster)
        return
    if jobs <= 1 or len(units) <= 1:
        for unit in units:
            yield _run_unit(unit, options)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        min(jobs, len(units)), mp_context=context, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:  # Ctrl-C is for this process
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


def _selected(suite: Suite, options: Options) -> list[str]:
    """The units that --only names. Raises UserInputError for a pattern that names none."""
    units = suite.units(options)
    if not options.only or getattr(suite, "selects", False):
        return units
    for pattern in options.only:
        if not any(fnmatchcase(unit, pattern) for unit in units):
            raise UserInputError(
                f"--only {pattern}: the suite {options.suite} has no such unit; {', '.join(units[:3])} would do."
            )
    return [unit for unit in units if any(fnmatchcase(unit, pattern) for pattern in options.only)]


def run_suite(
    options: Options,
    jobs: int = 1,
    journal: Path | None = None,
    resume: bool = False,
    progress: Callable[[int], Progress] | None = None,
    cluster: str | None = None,
) -> Run:
    """Runs a suite with all its units and gives the results in the units' order, whatever order they came in.

    cluster is the address of a Dask scheduler, whose workers run the units instead of processes of this host; they must
    have this package and see the suite's files under the same path.

    Raises UserInputError where the suite's input or oracle, or the scheduler, is missing.
    """
    suite = load_suite(options.suite)
    if suite.needs_directory and options.directory is None:
        raise UserInputError(
            f"The suite {options.suite} needs the directory of its files: --suite {options.suite} DIR."
        )
    if options.directory is not None and not options.directory.is_dir():
        raise UserInputError(f"{options.directory} is no directory.")
    units = _selected(suite, options)
    options = replace(options, features=tuple(sorted(suite.features(options))))
    keeper = Journal(journal, options, resume) if journal is not None else None
    wanted = set(units)
    done = {name: unit for name, unit in keeper.done.items() if name in wanted} if keeper else {}
    left = [unit for unit in units if unit not in done]
    shown = progress(len(units)) if progress else None
    finished = False
    try:
        for unit in done.values():
            if shown:
                shown.add(unit)
        for result in _results(left, options, jobs, cluster):
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
        options.suite, options.engine, suite.oracle, options.seed, list(options.features),
        [done[unit] for unit in units],
    )  # fmt: skip
