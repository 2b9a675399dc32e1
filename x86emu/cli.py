"""The command line: one module a command.

Everything heavy is imported when it is needed, so that `x86emu --help` answers at once.
"""

from __future__ import annotations

import argparse
import sys

from x86emu import __version__
from x86emu.bench.cli import add_parser as add_bench_parser
from x86emu.boot_command import ExitCode
from x86emu.boot_command import add_parser as add_boot_parser
from x86emu.conform.cli import add_parser as add_conform_parser
from x86emu.errors import UserInputError, X86EmuError

__all__ = ["ExitCode", "build_parser", "main"]


class _Parser(argparse.ArgumentParser):
    """One line for a mistake in the options, as for every other unusable input."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(ExitCode.UNUSABLE_INPUT, f"{self.prog}: {message}; {self.prog} --help lists what is understood\n")


def build_parser() -> argparse.ArgumentParser:
    """The parser of the whole command line."""
    parser = _Parser(prog="x86emu", description="Runs unmodified x86 firmware, operating systems and hypervisors.")
    parser.add_argument("--version", action="version", version=f"x86emu {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    add_boot_parser(commands)
    add_conform_parser(commands)
    add_bench_parser(commands)
    from x86emu.explain_command import add_parser as add_explain_parser
    from x86emu.image_command import add_parser

    add_parser(commands)
    add_explain_parser(commands)
    return parser


def boot(options: argparse.Namespace) -> int:
    """`x86emu boot`: builds the machine, runs it, returns the exit code."""
    from x86emu.boot_command import run

    return run(options)


def image(options: argparse.Namespace) -> int:
    """`x86emu image`: disk images."""
    from x86emu.image_command import run

    return run(options)


def explain(options: argparse.Namespace) -> int:
    """`x86emu explain`: what a run's guests of hypervisors did."""
    from x86emu.explain_command import run

    return run(options)


def bench(options: argparse.Namespace) -> int:
    """`x86emu bench`: see x86emu.bench.cli."""
    from x86emu.bench.cli import bench as run

    return run(options)


def conform(options: argparse.Namespace) -> int:
    """`x86emu conform`: see x86emu.conform.cli."""
    from x86emu.conform.cli import conform as run

    return run(options)


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit code.  Unusable input gives one line on standard error, never a traceback."""
    options = build_parser().parse_args(arguments)
    try:
        commands = {"bench": bench, "boot": boot, "conform": conform, "explain": explain, "image": image}
        return commands[options.command](options)
    except UserInputError as error:
        print(f"x86emu: {error}", file=sys.stderr)
        return ExitCode.UNUSABLE_INPUT
    except X86EmuError as error:
        print(f"x86emu: {error}", file=sys.stderr)
        return ExitCode.EMULATION_ERROR
    except KeyboardInterrupt:
        print("x86emu: interrupted", file=sys.stderr)
        return ExitCode.QUIT
    except BrokenPipeError:
        sys.stderr.close()
        return ExitCode.QUIT
