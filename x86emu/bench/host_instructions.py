"""Host instructions for each guest instruction of the kernels, counted by valgrind's callgrind, against stored ones.

The count does not depend on the host's load or clock, and hardly on its processor, for which valgrind stands in; it
does depend on the compiler, by whose version figures are stored (benchmarks/results/host-instructions.json).

The kernels run in one process under valgrind, without firmware: their images are put where the BIOS would load them.
Callgrind writes its counters out whenever getppid(2) is called, which nothing else here does, so that the calls before
and behind a run enclose it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from x86emu.bench import direct, kernels
from x86emu.errors import UserInputError

STORED = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "host-instructions.json"
COUNTED = kernels.NAMES_ALONE
GROWTH = 1.05  # what a figure may be of the stored one
LIMIT = 200_000_000  # guest instructions that a kernel at scale 1 does not need
# Those of so few instructions that beginning and end of a run would count.
SCALES = {name: 20 for name in ("smc", "samepage", "tlb", "pfault", "intr")}


def compiler() -> str:
    """The compiler that built the core, as it says so in the extension module, without the distribution's suffixes."""
    from elftools.elf.elffile import ELFFile

    import x86emu._core

    assert x86emu._core.__file__ is not None
    with open(x86emu._core.__file__, "rb") as file:
        section = ELFFile(file).get_section_by_name(".comment")
        text = section.data().decode(errors="replace") if section is not None else ""
    found = re.search(r"(GCC|clang version)\D*?(?:\([^)]*\) )?(\d+\.\d+)", text)
    return f"{found[1]} {found[2]}" if found else "an unknown compiler"


def run_kernels(directory: str, names: list[str]) -> None:
    """Runs the images of a directory, each between two calls of getppid(2); ends the process with 1 if one is wrong."""
    from x86emu.machine import Machine

    for kernel in (kernels.load([name], SCALES.get(name, 1))[0] for name in names):
        image = kernels.assemble(kernel, Path(directory)).read_bytes()
        with Machine(memory="256M") as machine:
            direct.start(machine, image)
            machine.run(until=f"scale={kernel.scale}", max_instructions=LIMIT)
            os.getppid()
            machine.run(max_instructions=kernel.retired)
            os.getppid()
            machine.run(until="MB-DONE", max_instructions=LIMIT)
            problem = kernels.verdict(kernel, bytes(machine.serial.output), counted=True)
        if problem:
            sys.exit(f"{kernel.name}: {problem}")


def measure(names: list[str]) -> dict[str, float]:
    """Host instructions for each guest instruction.  UserInputError where valgrind is missing or a kernel fails."""
    if shutil.which("valgrind") is None:
        raise UserInputError("--host-instructions: needs valgrind; apt-get install valgrind would do")
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory(prefix="x86emu-bench-") as scratch:
        loaded = [kernels.load([name], SCALES.get(name, 1))[0] for name in names]
        for kernel in loaded:
            kernels.assemble(kernel, Path(scratch))
        counters = Path(scratch) / "callgrind"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={counters}", "--dump-before=getppid"]
        done = subprocess.run(
            [*command, sys.executable, "-m", "x86emu.bench.host_instructions", scratch, *names],
            env={**os.environ, "PYTHONHASHSEED": "0"}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise UserInputError(f"--host-instructions: the run under valgrind failed: {done.stderr.strip()[-300:]}")
        # Dump 2 n + 1 is what came before the kernel n, dump 2 n + 2 the kernel.
        for number, kernel in enumerate(loaded):
            dump = Path(f"{counters}.{2 * number + 2}").read_text(errors="replace")
            found = re.search(r"^(?:totals|summary): (\d+)", dump, re.MULTILINE)
            assert found is not None
            figures[kernel.name] = round(int(found[1]) / kernel.retired, 3)
    return figures


def stored() -> dict[str, dict[str, float]]:
    """compiler -> kernel -> figure; empty where nothing is stored."""
    figures: dict[str, dict[str, float]] = json.loads(STORED.read_text()) if STORED.exists() else {}
    return figures


def grown(new: dict[str, float], old: dict[str, float]) -> list[str]:
    """A sentence for each kernel that needs more host instructions than it may."""
    return [
        f"{name}: {figure:.2f} host instructions for a guest instruction instead of {old[name]:.2f}"
        f" ({(figure / old[name] - 1) * 100:+.1f}%)"
        for name, figure in new.items()
        if name in old and figure > old[name] * GROWTH
    ]


def run(options: argparse.Namespace) -> int:
    """`x86emu bench --host-instructions [--update] [NAME...]`; 1 where a figure has grown by more than 5 percent."""
    names = options.names or list(COUNTED)
    unknown = [name for name in names if name not in COUNTED]
    if unknown:
        raise UserInputError(f"--host-instructions {unknown[0]}: is not counted; these are: {' '.join(COUNTED)}")
    key = compiler()
    old, new = stored().get(key, {}), measure(names)
    print(f"Host instructions for a guest instruction, {key}\n\n| kernel | stored | now |\n|---|---|---|")
    for name, figure in new.items():
        print(f"| {name} | {old[name] if name in old else '-'} | {figure} |")
    if options.update:
        STORED.write_text(json.dumps({**stored(), key: {**old, **new}}, indent=1, sort_keys=True) + "\n")
        return 0
    sentences = grown(new, old)
    print("".join(f"\n{sentence}" for sentence in sentences), end="\n" if sentences else "")
    return 1 if sentences else 0


if __name__ == "__main__":
    run_kernels(sys.argv[1], sys.argv[2:])
