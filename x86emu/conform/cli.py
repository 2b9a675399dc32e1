"""`x86emu conform run | report | list`: the conformance harness on the command line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from x86emu.arguments import count, seconds, whole_number
from x86emu.errors import UserInputError

RUN_EPILOGUE = """exit codes:
  0  every case came out as the oracle says
  1  some differ
  2  unusable input: no such suite, directory, engine or oracle
  3  no case differs, but some input could not be used (each is named)
  8  interrupted; --resume goes on with the same command
"""
OK, DIFFERENT, ERRORS = 0, 1, 3


def add_parser(commands: Any) -> None:
    """Adds `conform` to the parser of the whole command line."""
    conform = commands.add_parser(
        "conform",
        help="check an x86 implementation against processors, other emulators and exact references",
        description="Runs suites of instruction cases on an engine, compares with an oracle, and reports.",
    )
    actions = conform.add_subparsers(dest="action", metavar="ACTION", required=True)
    run = actions.add_parser(
        "run", help="run one suite", epilog=RUN_EPILOGUE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    run.add_argument("--suite", required=True, help="which suite; `x86emu conform list` lists them")
    run.add_argument("directory", metavar="DIR", nargs="?", type=Path, help="the suite's files, where it reads some")
    run.add_argument("--engine", default="x86emu", metavar="NAME",
                     help="x86emu (default), unicorn, native, or package.module:Class")  # fmt: skip
    run.add_argument("--jobs", "-j", type=count, default=1, metavar="N", help="processes (default 1)")
    run.add_argument(
        "--cluster",
        metavar="ADDRESS",
        help="run on the workers of this Dask scheduler, as tcp://host:8786 (needs the package distributed)",
    )
    run.add_argument("--seed", type=whole_number, default=1, metavar="N", help="of generated cases (default 1)")
    run.add_argument("--count", type=count, default=100_000, metavar="N", help="generated cases (default 100000)")
    run.add_argument("--limit", type=count, metavar="N", help="at most N cases of each file of vectors")
    run.add_argument("--mode", choices=["64", "32"], help="only 64- or 32-bit cases")
    run.add_argument("--row", action="append", default=[], metavar="MNEMONIC", help="only rows of this mnemonic")
    run.add_argument("--only", action="append", default=[], metavar="PATTERN",
                     help="only units (files, tests) of this name, with * and ?; vmx:NAME is a sub-test")  # fmt: skip
    run.add_argument("--timeout", type=seconds, metavar="SECONDS", help="for a test that runs a machine")
    run.add_argument("--resume", action="store_true", help="go on with an interrupted run of the same options")
    run.add_argument("--output", "-o", type=Path, metavar="FILE", help="write the results as JSON")
    run.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML")
    run.add_argument("--html", type=Path, metavar="FILE", help="write one HTML page")
    report = actions.add_parser(
        "report", help="make a report of results", description="Reads results of one or more runs."
    )
    report.add_argument("results", nargs="+", type=Path, metavar="FILE")
    report.add_argument("--html", type=Path, metavar="FILE", help="write one HTML page")
    report.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML (of one run)")
    report.add_argument("--scoreboard", type=Path, metavar="FILE",
                        help="write verdicts by test, an engine a column, into a page's marked region")  # fmt: skip
    report.add_argument("--markdown", type=Path, metavar="FILE", help="write the table of the documentation")
    actions.add_parser("list", help="list suites and engines")


def conform(options: argparse.Namespace) -> int:
    """The command; returns the exit code. Raises UserInputError for what cannot be used."""
    return {"run": _run, "report": _report, "list": _list}[options.action](options)


def _run(options: argparse.Namespace) -> int:
    from x86emu.conform import report
    from x86emu.conform.runner import Progress, run_suite
    from x86emu.conform.suite import Options

    if options.resume and options.output is None:
        raise UserInputError("--resume needs --output FILE: what is done is kept beside that file.")
    journal = options.output.with_name(options.output.name + ".partial") if options.output else None
    run = run_suite(
        Options(
            options.suite, options.engine, options.directory, options.seed, options.count, options.limit,
            (int(options.mode),) if options.mode else (64, 32), tuple(name.upper() for name in options.row),
            only=tuple(options.only), timeout=options.timeout,
        ),
        options.jobs, journal, options.resume, Progress, options.cluster,
    )  # fmt: skip
    print(report.summary(run))
    if options.output:
        run.write(options.output)
    if options.junit:
        report.write(options.junit, report.junit(run))
    if options.html:
        report.write(options.html, report.html([run]))
    return DIFFERENT if run.failed else ERRORS if run.errors else OK


def _report(options: argparse.Namespace) -> int:
    from x86emu.conform import report, scoreboard
    from x86emu.conform.results import read_run

    runs = [read_run(path) for path in options.results]
    if options.junit and len(runs) != 1:
        raise UserInputError(f"--junit takes the results of one run, not of {len(runs)}.")
    if options.html:
        report.write(options.html, report.html(runs))
    if options.junit:
        report.write(options.junit, report.junit(runs[0]))
    if options.markdown:
        report.write(options.markdown, report.markdown(runs))
    if options.scoreboard:
        scoreboard.put(options.scoreboard, scoreboard.markdown(runs))
    if not (options.html or options.junit or options.markdown or options.scoreboard):
        for run in runs:
            print(report.summary(run))
    return OK


def _list(options: argparse.Namespace) -> int:
    from x86emu.conform.engine import ENGINES
    from x86emu.conform.suite import SUITES, load_suite

    print("suites:")
    for name in SUITES:
        suite = load_suite(name)
        print(f"  {name:16} {suite.title}{' (needs DIR)' if suite.needs_directory else ''}")
    print("engines:")
    for name in ENGINES:
        print(f"  {name:16} {_engine_note(name)}")
    print("  package.module:Class of your own: see x86emu/conform/engine.py")
    return OK


def _engine_note(name: str) -> str:
    if name == "native":
        from x86emu.conform.engines.native import available

        return available() or "the processor of this host"
    if name == "unicorn":
        import importlib.util

        return "the Python package unicorn" + (
            "" if importlib.util.find_spec("unicorn") else ", which is not installed"
        )
    return "this package"


if __name__ == "__main__":
    sys.exit("run it as: x86emu conform")
