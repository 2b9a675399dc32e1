"""kvm-unit-tests: prebuilt flat images, each run as a multiboot kernel on a whole machine of this package.

A unit is a run of the suite's configuration (`vmx`), or one sub-test of it alone (`vmx:vmx_db_test`), with the build's
directory before it where there are several (`i386/smap`). An image ends by writing to the debug-exit port F4h; QEMU
makes the exit status 2 * v + 1 of it, which the suite's runner reads: v is 0 for success, 1 for failure, 38 for
"skipped", 63 for a failed assertion or an exception that nobody handles. It prints PASS:, FAIL:, SKIP: lines to the
serial port.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.conform.suites.kvm_unit_tests_runs import TestRun, chosen_subtests, find_builds, runs_of, word_size
from x86emu.errors import UserInputError, X86EmuError

if TYPE_CHECKING:
    from x86emu.machine import Machine, RunResult

_LINE = re.compile(r"^(PASS|FAIL|SKIP|XFAIL|XPASS): (.*?)\s*$", re.MULTILINE)
EXIT_PORT = 0xF4
VERDICTS = {0: "PASS", 1: "FAIL", 38: "SKIP", 63: "ABORT"}
"""What an image writes to the exit port."""
SHOWN_LINES = 50
SLICE = 20_000_000
"""Instructions between two looks at the time limit."""


class _KvmUnitTests:
    name = "kvm-unit-tests"
    title = "kvm-unit-tests: prebuilt flat images, on a whole machine"
    oracle = "the tests themselves"
    needs_directory = True
    selects = True
    """--only is this suite's own: see units()."""

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        """Runs that --only names, by patterns with * and ?; with a colon, the sub-tests behind it one by one.

        Without --only, and for a pattern with wildcards, runs that the suite keeps for those who ask for them are left
        out.
        """
        if options.engine != "x86emu":
            raise UserInputError("The suite kvm-unit-tests runs whole machines; only the engine x86emu has them.")
        directory = options.directory or Path()
        builds = [build for build in find_builds(directory) if word_size(build)[0] in options.modes]
        if not builds:
            raise UserInputError(f"All images in {directory} are {96 - options.modes[0]}-bit; leave --mode out.")
        names: list[str] = []
        for pattern in options.only or ("*",):
            found = [name for build in builds for name in self._matching(directory, build, len(builds) > 1, pattern)]
            if not found:
                raise UserInputError(
                    f"--only {pattern}: there is no such test in {directory}; names are those of the suite's "
                    "unittests.cfg, as vmx or 'vmexit_*', and vmx:null or 'svm:*' for sub-tests."
                )
            names += found
        return list(dict.fromkeys(names))

    def _matching(self, directory: Path, build: Path, several: bool, pattern: str) -> Iterator[str]:
        wanted, colon, part = pattern.partition(":")
        prefix = f"{build.relative_to(directory)}/" if several else ""
        for run in runs_of(build):
            if not (fnmatchcase(prefix + run.name, wanted) or fnmatchcase(run.name, wanted)):
                continue
            if run.manual and wanted not in (run.name, prefix + run.name):
                continue
            if not colon:
                yield prefix + run.name
            elif not run.left_out:
                yield from (f"{prefix}{run.name}:{name}" for name in chosen_subtests(run, part))

    def run(self, unit: str, options: Options) -> UnitResult:
        build, run, part = _find(unit, options.directory or Path())
        bits = f"{word_size(build)[0]}-bit"
        result = UnitResult(unit, group=f"sub-tests of {run.image.name}, {bits}" if part else bits)
        if part:
            run = replace(run, arguments=part, left_out="")
        if run.left_out and unit not in options.only:
            result.verdict, result.note = "LEFT OUT", run.left_out
            return result
        try:
            _run_image(run, options, result)
        except X86EmuError as error:
            result.errors.append(f"{unit} ({run.image}): {error}")
            result.verdict = "ERROR"
        return result


def _find(unit: str, directory: Path) -> tuple[Path, TestRun, str]:
    name, _, part = unit.partition(":")
    prefix, _, name = name.rpartition("/")
    builds = [directory / prefix] if prefix else find_builds(directory)
    for build in builds:
        for run in runs_of(build):
            if run.name == name:
                return build, run, part
    raise UserInputError(f"There is no test {unit} in {directory}.")


def _run_image(run: TestRun, options: Options, result: UnitResult) -> None:
    from x86emu.firmware.bios import default_bios
    from x86emu.machine import Machine, MachineConfig, StopReason

    with tempfile.TemporaryDirectory() as place:
        environment = Path(place) / "environment"
        environment.write_text(f"{run.environment}\n")
        config = MachineConfig(
            bios=default_bios(), memory=run.memory, cpus=run.cpus, cpu=options.extra.get("cpu", run.cpu),
            kernel=run.image, initrd=environment if run.environment else None, append=run.arguments,
            debug_exit_port=EXIT_PORT, devices=("pc-testdev",),
        )  # fmt: skip
        with Machine(config=config) as machine:
            ended = _limited(machine, options.timeout or run.timeout)
            text = machine.serial.text
    result.seconds = machine.cpu_seconds
    lines = _LINE.findall(text)
    wrong = [words for kind, words in lines if kind == "FAIL"]
    right = sum(kind in ("PASS", "XPASS") for kind, _ in lines)
    verdict = {
        StopReason.DEBUG_EXIT: VERDICTS.get(ended.status >> 1, "FAIL"), StopReason.TRIPLE_FAULT: "RESET",
        StopReason.GUEST_RESET: "RESET", StopReason.INSTRUCTION_LIMIT: "TIMEOUT",
    }.get(ended.reason, "ABORT")  # fmt: skip
    if verdict == "FAIL" and right and not wrong:
        verdict, result.note = "XPASS", "right, also where the suite expects KVM to be wrong"
    elif verdict == "SKIP":
        result.verdict, result.note = "SKIP", next((words for kind, words in lines if kind == "SKIP"), "")
        return
    result.verdict = f"{verdict} {right}/{right + len(wrong)}" if right or wrong else verdict
    result.cases = max(1, right + len(wrong))
    if verdict in ("PASS", "XPASS"):
        return
    result.failed = max(1, len(wrong)) if verdict == "FAIL" else 1
    result.failed_rows[result.unit] = result.failed
    told = wrong[:SHOWN_LINES]
    if verdict != "FAIL" or not wrong:
        told += _last_words(text, ended.sentence)
    result.failures.append(Failure(result.unit, "", "", 64, result.unit, told))


def _limited(machine: Machine, seconds: float) -> RunResult:
    """Runs until the image ends or has had so many seconds of processor time, which others' load leaves alone."""
    while True:
        ended = machine.run(SLICE, reboot=False)
        if ended.reason.name != "INSTRUCTION_LIMIT" or machine.cpu_seconds >= seconds:
            return ended


def _last_words(text: str, sentence: str) -> list[str]:
    lines = [line for line in text.splitlines() if line.strip()]
    return [f"ended without success: {sentence}", *lines[-8:]]


SUITE = _KvmUnitTests()
