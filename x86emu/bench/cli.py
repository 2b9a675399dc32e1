"""`x86emu bench`: measures this emulator, and the peers beside it, on the same images (docs/performance.md)."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
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
        "names", nargs="*", metavar="NAME",
        help="kernels, guests, or groups of them: kernels, kernels-32, virtualization, guests, all"
        " (default: kernels guests)",
    )  # fmt: skip
    bench.add_argument("--peers", action="store_true", help="also QEMU TCG, Bochs, Unicorn and v86, where installed")
    bench.add_argument(
        "--scale", type=int, default=20, help="how much work a kernel does: 1, 4 or 20 (default 20); short ones do most"
    )
    bench.add_argument("--runs", type=int, default=3, help="interleaved runs of each (default 3)")
    bench.add_argument(
        "--guest-runs", type=int, metavar="N", help="runs of guests, which take long (default: as --runs)"
    )
    bench.add_argument("--minutes", type=float, metavar="M", help="begin no further run of all after M minutes")
    bench.add_argument("--kernels", metavar="DIR", help="sources of the kernels (default: the checkout's)")
    bench.add_argument("--timeout", type=float, default=600, metavar="SECONDS", help="for one run (default 600)")
    bench.add_argument("--compare", metavar="OLD.json", help="print the speed against an older run's")
    bench.add_argument("--output", "-o", metavar="FILE", help="store the run as JSON")
    bench.add_argument("--plot", metavar="FILE", help="draw the ratios to the peers (--growth: the curves)")
    bench.add_argument("--document", metavar="FILE", help="write the tables between the marks of a page")
    bench.add_argument("--growth", action="store_true", help="how cost grows with memory, processors, code and devices")
    bench.add_argument("--host-instructions", action="store_true",
                       help="count host instructions for a guest instruction, against the stored ones")  # fmt: skip
    bench.add_argument("--update", action="store_true", help="store what --host-instructions counts")
    bench.add_argument("--list", action="store_true", help="list kernels, guests and emulators found, run nothing")


def _facts() -> dict[str, Any]:
    import platform

    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def _names(options: argparse.Namespace) -> list[str]:
    """The kernels and guests asked for, groups spelled out, each once."""
    from x86emu.bench import guests, kernels

    groups: dict[str, tuple[str, ...]] = {
        "kernels": kernels.NAMES_ALONE,
        "kernels-32": kernels.NAMES_32,
        "virtualization": kernels.NAMES_VIRTUAL,
        "guests": guests.NAMES,
        "all": (*kernels.NAMES_ALONE, *guests.NAMES, *kernels.NAMES_VIRTUAL, *kernels.NAMES_32),
    }
    found: dict[str, None] = {}
    for name in options.names or ("kernels", "guests"):
        if name not in groups and name not in groups["all"]:
            raise UserInputError(f"{name}: is no kernel, no guest and no group of them; x86emu bench --list shows them")
        found.update(dict.fromkeys(groups.get(name, (name,))))
    return list(found)


def _work(options: argparse.Namespace, scratch: Path) -> list[Work]:
    from x86emu.bench import guests, kernels
    from x86emu.bench.engines import Work

    names = _names(options)
    directory = Path(options.kernels) if options.kernels else kernels.DIRECTORY
    work: dict[str, Work] = {}
    chosen = kernels.load([name for name in names if name in kernels.NAMES], options.scale, directory)
    short = [kernel.name for kernel in chosen if kernel.source in kernels.SHORT]
    longer = {kernel.name: kernel for kernel in kernels.load(short, max(kernels.SCALES), directory)}
    for kernel in (longer.get(kernel.name, kernel) for kernel in chosen):
        image = kernels.assemble(kernel, scratch, directory=directory)
        flat = kernels.assemble(kernel, scratch, flat=True, directory=directory) if kernel.has_flat else None
        work[kernel.name] = Work(kernel.name, image, flat=flat, kernel=kernel)
    wanted = [name for name in names if name in guests.NAMES]
    if wanted:
        boot_sector = kernels.assemble(kernels.load(["fib"], 1, directory)[0], scratch, directory=directory)
        found, missing = guests.load(wanted, scratch, boot_sector)
        for sentence in missing:
            print(f"x86emu bench: left out: {sentence}", file=sys.stderr)
        work.update({item.name: item for item in found})
    return [work[name] for name in names if name in work]


def _measure(
    work: list[Work], engines: list[Engine], options: argparse.Namespace, done: Callable[[list[Figure], int], None]
) -> None:
    """Interleaved: every emulator once on every guest, then again, so that a slow minute of the host meets all.

    `done` gets the figures and the number of runs after each of them.
    """
    from x86emu.bench.report import Figure

    figures: dict[tuple[str, str], Figure] = {}
    began = time.monotonic()
    for turn in range(options.runs):
        if turn and options.minutes is not None and time.monotonic() - began > options.minutes * 60:
            break
        for number, item in enumerate(work):
            if item.kernel is None and options.guest_runs is not None and turn >= options.guest_runs:
                continue
            for engine in engines:
                place = f"run {turn + 1}/{options.runs}, {number + 1}/{len(work)}: {item.name} under {engine.name}"
                print(f"\r\033[K{place}" if sys.stderr.isatty() else place, end="" if sys.stderr.isatty() else "\n",
                      file=sys.stderr, flush=True)  # fmt: skip
                figure = figures.get((item.name, engine.name))
                if figure is not None and figure.problem:
                    continue
                result = engine.run(item, options.timeout)
                if result is None:
                    continue
                if figure is None:
                    figure = figures[item.name, engine.name] = Figure(item.name, engine.name)
                if item.kernel is not None:
                    figure.instructions, figure.trips = item.kernel.instructions, item.kernel.trips
                figure.peak_kib = max(figure.peak_kib, result.peak_kib)
                if result.problem:
                    figure.problem, figure.seconds = result.problem, []
                else:
                    figure.seconds.append(result.seconds)
        done(list(figures.values()), turn + 1)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)


def _leave(number: int, frame: object) -> None:
    raise SystemExit(128 + number)  # so that the emulator that is being measured is ended on the way out


def bench(options: argparse.Namespace) -> int:
    """Runs the command; returns the exit code."""
    if options.growth:
        from x86emu.bench import growth

        return growth.run(options)
    if options.host_instructions:
        from x86emu.bench import host_instructions

        return host_instructions.run(options)

    from x86emu.bench import guests, kernels, report
    from x86emu.bench.engines import PEERS, X86Emu

    if options.runs < 1:
        raise UserInputError(f"--runs {options.runs}: nothing would be measured; 1 or more would do")
    import signal
    import tempfile
    import threading

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _leave)
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
            print(f"kernels:        {' '.join(kernels.NAMES_ALONE)}")
            print(f"kernels-32:     {' '.join(kernels.NAMES_32)}")
            print(f"virtualization: {' '.join(kernels.NAMES_VIRTUAL)}\nguests:         {' '.join(guests.NAMES)}")
            print("\n".join(f"{engine:8} {version}" for engine, version in versions.items()))
            return EXIT_OK
        began = time.monotonic()
        facts = {**_facts(), "scale": options.scale}
        figures: list[Figure] = []

        def done(so_far: list[Figure], turns: int) -> None:
            # Written after each run of all, so that what is there counts where the rest is given up.
            figures[:] = so_far
            facts["turns"], facts["minutes"] = turns, (time.monotonic() - began) / 60
            if options.output:
                report.store(Path(options.output), figures, versions, facts)
            if options.document:
                report.document(Path(options.document), report.text(figures, versions, facts))
            if options.plot:
                report.plot(Path(options.plot), figures, versions)

        _measure(_work(options, scratch), engines, options, done)
    print(report.text(figures, versions, facts))
    if old is not None:
        print("\n" + report.comparison(old, figures))
    return EXIT_PROBLEM if any(figure.problem and figure.engine == "x86emu" for figure in figures) else EXIT_OK
