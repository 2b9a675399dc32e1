"""`x86emu bench --growth`: how the cost of an instruction grows with memory, processors, code and devices.

Each curve runs one kernel in machines that differ in one thing; all of it should be flat but for what caches hold.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from x86emu.bench import direct, kernels
from x86emu.bench.report import document, pyplot
from x86emu.errors import UserInputError

if TYPE_CHECKING:
    from x86emu.machine import Machine

LIMIT = 2_000_000_000  # instructions that no kernel here needs
MIB = 1 << 20
DEVICE_AREA = 0xF000_0000  # between RAM and the firmware's devices


@dataclass(frozen=True)
class Curve:
    """MIPS of one kernel at each place; `parameter` is what the places count."""

    name: str
    parameter: str
    places: tuple[int, ...]
    kernel: str
    machine: Callable[[int], Machine]
    definition: str = ""  # of the assembler, for the place


def _machine(*, memory: str = "256M", cpus: int = 1) -> Machine:
    from x86emu.machine import Machine

    return Machine(memory=memory, cpus=cpus)


def _with_devices(count: int) -> Machine:
    """A machine with so many further ranges, half of them ports."""
    machine = _machine()

    def read(offset: int, size: int) -> int:
        return 0

    def write(offset: int, size: int, value: int) -> None:
        pass

    for number in range(count // 2):
        machine.ports.map(0x2000 + 8 * number, 8, read, write, f"ports {number}")
        machine.mmio.map(DEVICE_AREA + 0x1000 * number, 0x1000, read, write, f"registers {number}", sizes=(4,))
    return machine


CURVES = (
    Curve("memcpy, one processor", "MiB of RAM", (64, 256, 1024, 4096, 8192), "memcpy",
          lambda mib: _machine(memory=f"{mib}M")),
    Curve("memcpy on one of them, the others not started", "processors", (1, 2, 4, 8, 16), "memcpy",
          lambda count: _machine(cpus=count)),
    Curve("all of them calculate (together)", "processors", (1, 2, 4, 8, 16), "growth_smp",
          lambda count: _machine(cpus=count)),
    Curve("round and round over code", "pages of code", (1, 16, 64, 256, 1024, 4096, 16384), "growth_code",
          lambda pages: _machine(), "PAGES"),
    Curve("portio", "further ranges of devices", (0, 16, 64, 256, 1024), "portio", _with_devices),
    Curve("reads of two devices' registers in turn", "further ranges of devices", (0, 16, 64, 256, 1024), "growth_mmio",
          _with_devices),
)  # fmt: skip


def point(curve: Curve, place: int, directory: Path, scratch: Path) -> tuple[float, float]:
    """MIPS of all processors at one place, and CPU seconds that the machine took to build."""
    image = kernels.assemble_source(
        curve.kernel, scratch / f"{curve.kernel}-{place}.img", directory,
        ["-DMB_MODE=64", "-DSCALE=4", *([f"-D{curve.definition}={place}"] if curve.definition else [])],
    ).read_bytes()  # fmt: skip
    began = time.process_time()
    with curve.machine(place) as machine:
        built = time.process_time() - began
        direct.start(machine, image)
        machine.run(until="scale=4", max_instructions=LIMIT)
        instructions, began = machine.instructions, time.process_time()
        machine.run(until="MB-END", max_instructions=LIMIT)
        if b"MB-END" not in machine.serial.output:
            raise UserInputError(f"{curve.kernel}.asm at {place}: did not end: {machine.serial.text[-80:].strip()}")
        return (machine.instructions - instructions) / 1e6 / (time.process_time() - began), built


def measure(runs: int, directory: Path, curves: tuple[Curve, ...] = CURVES) -> list[dict[str, object]]:
    """Every curve: `places`, `mips` and `build_seconds`, medians of interleaved runs."""
    figures: dict[tuple[str, int], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="x86emu-bench-") as scratch:
        for turn in range(runs):
            for curve in curves:
                for place in curve.places:
                    print(f"run {turn + 1}/{runs}: {curve.name}: {place}", file=sys.stderr, flush=True)
                    figures.setdefault((curve.name, place), []).append(point(curve, place, directory, Path(scratch)))
    return [
        {
            "name": curve.name,
            "parameter": curve.parameter,
            "places": list(curve.places),
            "mips": [statistics.median(mips for mips, _ in figures[curve.name, place]) for place in curve.places],
            "build_seconds": [statistics.median(s for _, s in figures[curve.name, place]) for place in curve.places],
        }
        for curve in curves
    ]


def table(measured: list[dict[str, object]]) -> str:
    """A line for each curve: MIPS at its places."""
    lines = ["| kernel | by | millions of instructions in a CPU second |", "|---|---|---|"]
    for curve in measured:
        places, mips = curve["places"], curve["mips"]
        assert isinstance(places, list) and isinstance(mips, list)
        cells = ", ".join(f"{place}: {value:.0f}" for place, value in zip(places, mips, strict=True))
        lines.append(f"| {curve['name']} | {curve['parameter']} | {cells} |")
    return "\n".join(lines)


def plot(path: Path, measured: list[dict[str, object]]) -> None:
    """A panel for each curve.  UserInputError where matplotlib is missing."""
    drawing = pyplot()
    picture, panels = drawing.subplots(2, -(-len(measured) // 2), figsize=(12, 6.5), squeeze=False)
    for curve, axes in zip(measured, panels.flat, strict=False):
        axes.plot(range(len(curve["places"])), curve["mips"], marker="o")  # type: ignore[arg-type]
        axes.set_xticks(range(len(curve["places"])), curve["places"], fontsize=7)  # type: ignore[arg-type]
        axes.set_ylim(0, 1.1 * max(curve["mips"]))  # type: ignore[call-overload]
        axes.set_title(curve["name"], fontsize=8)
        axes.set_xlabel(curve["parameter"], fontsize=8)
        axes.set_ylabel("MIPS", fontsize=8)
    picture.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=130)
    drawing.close(picture)


def run(options: argparse.Namespace) -> int:
    """`x86emu bench --growth`: prints the curves, stores (-o), draws (--plot) and documents (--document) them."""
    measured = measure(options.runs, Path(options.kernels) if options.kernels else kernels.DIRECTORY)
    print(table(measured))
    if options.output:
        Path(options.output).write_text(json.dumps(measured, indent=1) + "\n")
    if options.plot:
        plot(Path(options.plot), measured)
    if options.document:
        document(Path(options.document), table(measured), "growth")
    return 0
