"""`x86emu bench`: measures this emulator, and the peers beside it, on the same images (docs/performance.md)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from x86emu.errors import UserInputError

if TYPE_CHECKING:
    from x86emu.bench.engines import Engine, Work
    from x86emu.bench.report import Figure

EXIT_OK, EXIT_PROBLEM = 0, 1


def add_parser(commands: argparse._SubParsersAction[Any]) -> None:
    """Adds the command's options."""
    bench = commands.add_parser(
        "bench",
        help="measure speed, alone or beside other emulators",
        description="Runs bare-metal kernels and whole guests; prints millions of instructions in a CPU second (seconds"
        " for guests), their spread over the runs, and peak memory.",
    )
    bench.add_argument(
        "names", nargs="*", metavar="NAME", help="kernels or guests (default: the 24 kernels, all guests)"
    )
    bench.add_argument("--peers", action="store_true", help="also QEMU TCG, Bochs, Unicorn and v86, where installed")
    bench.add_argument("--scale", type=int, default=20, help="how much work a kernel does: 1, 4 or 20 (default 20)")
    bench.add_argument("--runs", type=int, default=3, help="interleaved runs of each (default 3)")
    bench.add_argument("--kernels", metavar="DIR", help="sources of the kernels (default: the checkout's)")
    bench.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="for one run (default 300)")
    bench.add_argument("--compare", metavar="OLD.json", help="print the speed against an older run's")
    bench.add_argument("--output", "-o", metavar="FILE", help="store the run as JSON")
    bench.add_argument("--plot", metavar="FILE", help="draw the ratios to the peers")
    bench.add_argument("--list", action="store_true", help="list kernels, guests and emulators found, run nothing")


def _facts() -> dict[str, Any]:
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _work(options: argparse.Namespace, scratch: Path) -> list[Work]:
    from x86emu.bench import guests, kernels
    from x86emu.bench.engines import Work

    names = options.names or [*kernels.NAMES_64, *guests.NAMES]
    unknown = [name for name in names if name not in kernels.NAMES and name not in guests.NAMES]
    if unknown:
        raise UserInputError(f"{unknown[0]}: is neither a kernel nor a guest; x86emu bench --list shows both")
    directory = Path(options.kernels) if options.kernels else kernels.DIRECTORY
    work = []
    for kernel in kernels.load([name for name in names if name in kernels.NAMES], options.scale, directory):
        image = kernels.assemble(kernel, scratch, directory=directory)
        flat = kernels.assemble(kernel, scratch, flat=True, directory=directory) if kernel.has_flat else None
        work.append(Work(kernel.name, image, flat=flat, kernel=kernel))
    found, missing = guests.load([name for name in names if name in guests.NAMES])
    for sentence in missing:
        print(f"x86emu bench: left out: {sentence}", file=sys.stderr)
    return work + found


def _measure(work: list[Work], engines: list[Engine], runs: int, timeout: float) -> list[Figure]:
    """Interleaved: every emulator once on every guest, then again, so that a slow minute of the host meets all."""
    from x86emu.bench.kernels import RETIRED
    from x86emu.bench.report import Figure

    figures: dict[tuple[str, str], Figure] = {}
    for turn in range(runs):
        for number, item in enumerate(work):
            for engine in engines:
                place = f"run {turn + 1}/{runs}, {number + 1}/{len(work)}: {item.name} under {engine.name}"
                print(f"\r\033[K{place}" if sys.stderr.isatty() else place, end="" if sys.stderr.isatty() else "\n",
                      file=sys.stderr, flush=True)  # fmt: skip
                figure = figures.get((item.name, engine.name))
                if figure is not None and figure.problem:
                    continue
                result = engine.run(item, timeout)
                if result is None:
                    continue
                if figure is None:
                    figure = figures[item.name, engine.name] = Figure(item.name, engine.name)
                if item.kernel is not None:
                    key = (item.kernel.name.removesuffix("-32"), item.kernel.scale)
                    figure.instructions = RETIRED.get(key, item.kernel.instructions)
                figure.peak_kib = max(figure.peak_kib, result.peak_kib)
                if result.problem:
                    figure.problem, figure.seconds = result.problem, []
                else:
                    figure.seconds.append(result.seconds)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    return list(figures.values())


def bench(options: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    from x86emu.bench import guests, kernels, report
    from x86emu.bench.engines import PEERS, X86Emu

    if options.runs < 1:
        raise UserInputError(f"--runs {options.runs}: nothing would be measured; 1 or more would do")
    old = report.read(Path(options.compare))[0] if options.compare else None
    with tempfile.TemporaryDirectory(prefix="x86emu-bench-") as name:
        scratch = Path(name)
        engines: list[Engine] = [X86Emu(scratch)]
        if options.peers or options.list:
            for kind in PEERS:
                engine = kind(scratch)
                if engine.version:
                    engines.append(engine)
                elif options.peers:
                    print(f"x86emu bench: {engine.name} is not installed; it is left out", file=sys.stderr)
        versions = {engine.name: engine.version for engine in engines}
        if options.list:
            print(f"kernels: {' '.join(kernels.NAMES)}\nguests:  {' '.join(guests.NAMES)}")
            print("\n".join(f"{engine:8} {version}" for engine, version in versions.items()))
            return EXIT_OK
        figures = _measure(_work(options, scratch), engines, options.runs, options.timeout)
    facts = {**_facts(), "scale": options.scale, "runs": options.runs}
    print(f"{facts['processor']}, {facts['cores']} cores; " + ", ".join(f"{n} {v}" for n, v in versions.items()))
    print("Kernels: millions of instructions in a CPU second; guests: CPU seconds.\n")
    print(report.table(figures, versions))
    if old is not None:
        print("\n" + report.comparison(old, figures))
    if options.output:
        report.store(Path(options.output), figures, versions, facts)
    if options.plot:
        report.plot(Path(options.plot), figures, versions)
    return EXIT_PROBLEM if any(figure.problem and figure.engine == "x86emu" for figure in figures) else EXIT_OK
