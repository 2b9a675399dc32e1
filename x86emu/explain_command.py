"""`x86emu explain FILE`: what `x86emu boot --explain FILE` wrote, in words (docs/virtualization.md)."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from x86emu.errors import UserInputError

FORMAT = "x86emu explanation 1"


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    parser = commands.add_parser(
        "explain",
        help="say what guests of a run's hypervisor did, and what was wrong",
        description="Shows what `x86emu boot --explain FILE` wrote: refused entries, exits, triple faults.",
    )
    parser.add_argument("file", metavar="FILE", help="what `x86emu boot --explain FILE` wrote")
    parser.add_argument("--last", metavar="N", type=int, default=8, help="how many exits of each processor (default 8)")
    parser.add_argument("--processor", metavar="N", type=int, help="this processor only")
    parser.add_argument("--blocks", action="store_true", help="show the VMCBs or VMCSs as tables, too")


def run(options: argparse.Namespace) -> int:
    """`x86emu explain`; UserInputError for a file that is none of --explain's."""
    from x86emu.virt.explain import render

    try:
        found = json.loads(Path(options.file).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError(f"{options.file}: cannot be read ({error.strerror}); give a file of --explain") from None
    except ValueError:
        found = None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise UserInputError(f"{options.file}: is no file that `x86emu boot --explain FILE` wrote")
    if options.last < 0:
        raise UserInputError(f"--last {options.last}: is no number of exits; 8 would do")
    processors = found["processors"]
    if options.processor is not None:
        if not 0 <= options.processor < len(processors):
            raise UserInputError(f"--processor {options.processor}: the run had processors 0 to {len(processors) - 1}")
        processors = [processors[options.processor]]
    print(found["ended"])
    for processor in processors:
        print(render(processor, options.last, options.blocks))
    return 0
