"""Results of a benchmark run: what is stored, the table, the ratios, the plot."""

from __future__ import annotations

import importlib
import json
import math
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from x86emu.bench import kernels
from x86emu.errors import UserInputError


@dataclass
class Figure:
    """One guest under one emulator: CPU seconds of the runs, peak KiB; instructions where they are known."""

    guest: str
    engine: str
    seconds: list[float] = field(default_factory=list)
    peak_kib: int = 0
    instructions: int = 0
    problem: str = ""
    trips: int = 0  # round trips into a guest and out, where they are what is measured

    @property
    def median(self) -> float:
        """Median of the CPU seconds; NaN where there is none, or where it was too short to be seen."""
        return (statistics.median(self.seconds) if self.seconds else 0.0) or math.nan

    @property
    def mips(self) -> float:
        """Millions of guest instructions in a CPU second; NaN where their number is not known."""
        return self.instructions / self.median / 1e6 if self.instructions and self.seconds else math.nan

    @property
    def spread(self) -> float:
        """Half the range of the runs as a share of their median."""
        return (
            (max(self.seconds) - min(self.seconds)) / 2 / self.median
            if len(self.seconds) > 1 and not math.isnan(self.median)
            else 0.0
        )

    @property
    def speed(self) -> float:
        """MIPS, or runs in a second for guests whose instructions are not counted: for ratios."""
        return self.mips if self.instructions else 1 / self.median if self.seconds else math.nan

    @property
    def memory(self) -> str:
        """Peak memory in MiB, or nothing where the process had ended before it could be asked."""
        return f"{self.peak_kib / 1024:.0f}" if self.peak_kib and self.seconds else ""

    @property
    def shown(self) -> str:
        """What a table says: MIPS, nanoseconds of a round trip, or seconds, and the spread in percent."""
        if self.problem or not self.seconds:
            return self.problem or "-"
        value = (
            f"{_number(self.median / self.trips * 1e9)} ns" if self.trips
            else _number(self.mips) if self.instructions else f"{self.median:.2f} s"
        )  # fmt: skip
        return f"{value} ±{self.spread * 100:.0f}" if len(self.seconds) > 1 else value


def geometric_mean(values: Iterable[float]) -> float:
    """Of the values that are numbers; NaN where there are none."""
    logarithms = [math.log(value) for value in values if value > 0 and not math.isnan(value)]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan


def by_guest(figures: list[Figure]) -> dict[str, dict[str, Figure]]:
    """guest -> engine -> figure, in the order of the run."""
    rows: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        rows.setdefault(figure.guest, {})[figure.engine] = figure
    return rows


def group_of(guest: str) -> str:
    """The heading under which a guest is shown."""
    if guest in kernels.NAMES_VIRTUAL:
        return "Virtualization"
    if guest in kernels.NAMES_32:
        return "32-bit kernels"
    if guest in kernels.NAMES_NATIVE:
        return "Ports of a device in Cython"
    return "Kernels" if guest in kernels.NAMES_64 else "Boots, and work inside Linux"


def by_group(figures: list[Figure]) -> dict[str, list[Figure]]:
    """heading -> figures."""
    groups: dict[str, list[Figure]] = {}
    for figure in figures:
        groups.setdefault(group_of(figure.guest), []).append(figure)
    return groups


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(figures: list[Figure], engines: dict[str, str], mine: str = "x86emu") -> str:
    """A Markdown table of one group: our figure, memory, and each peer with how many times as fast we are."""
    rows = by_guest(figures)
    peers = [name for name in engines if name != mine and any(figure.engine == name for figure in figures)]
    head = ["guest", mine, "MiB"]
    for name in peers:
        head += [name, "MiB", "ratio"]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    pairs: dict[str, list[tuple[Figure, Figure]]] = {name: [] for name in peers}
    for guest, row in rows.items():
        ours = row.get(mine)
        cells = [guest, ours.shown if ours else "-", ours.memory if ours else ""]
        for name in peers:
            peer = row.get(name)
            if peer is None or peer.problem or not peer.seconds:
                cells += [peer.problem if peer and peer.problem else "-", "", ""]
                continue
            ratio = ours.speed / peer.speed if ours and ours.seconds else math.nan
            cells += [peer.shown, peer.memory, _number(ratio)]
            if ours and ours.seconds:
                pairs[name].append((ours, peer))
        lines.append("| " + " | ".join(cells) + " |")
    means = ["geometric mean", _number(geometric_mean(row[mine].mips for row in rows.values() if mine in row)), ""]
    for name in peers:
        means.append(_number(geometric_mean(peer.mips for _, peer in pairs[name])))
        means += ["", _number(geometric_mean(ours.speed / peer.speed for ours, peer in pairs[name]))]
    lines.append("| " + " | ".join(means) + " |")
    return "\n".join(lines)


def inside_and_outside(figures: list[Figure]) -> list[str]:
    """How fast kernels run inside a guest, as a share of their speed outside; a sentence for each emulator."""
    rows = by_guest(figures)
    sentences = []
    for engine in dict.fromkeys(figure.engine for figure in figures):
        parts = []
        for guest in kernels.NAMES_VIRTUAL:
            inside, outside = rows.get(guest, {}).get(engine), rows.get(guest.partition("-")[0], {}).get(engine)
            if inside and outside and guest != outside.guest and inside.seconds and outside.seconds:
                parts.append(f"{guest} {inside.speed / outside.speed:.2f}")
        if parts:
            sentences.append(f"Inside a guest, as a share of the speed outside, {engine}: {', '.join(parts)}.")
    return sentences


def text(figures: list[Figure], engines: dict[str, str], facts: dict[str, Any], mine: str = "x86emu") -> str:
    """The whole report as Markdown."""
    lines = [
        f"{facts['processor']}, {facts['cores']} cores, load {facts['load']:.1f} at the start; {facts['date']}; scale"
        f" {facts['scale']} (short kernels: 20), {facts['turns']} interleaved runs of each in"
        f" {facts['minutes']:.0f} minutes.",
        "",
        *(f"- {name}: {version}" for name, version in engines.items()),
        "",
        "Kernels: millions of instructions in a CPU second (vmrun, vmresume: ns for a round trip into a guest and out);"
        " guests: CPU seconds. Medians, ± half the range of the runs in percent; MiB: peak resident memory; ratio: our"
        " speed over the peer's.",
    ]
    for heading, group in by_group(figures).items():
        lines += ["", f"### {heading}", "", table(group, engines, mine)]
        if heading == "Virtualization":
            lines += [line for sentence in inside_and_outside(figures) for line in ("", sentence)]
    return "\n".join(lines)


def marks(name: str) -> tuple[str, str]:
    """The lines of a page between which `--document` writes."""
    return f"<!-- {name}: written by x86emu bench --document -->", f"<!-- end of {name} -->"


def document(path: Path, report: str, name: str = "figures") -> None:
    """Replaces what is between two marks of a page.  UserInputError where it cannot be."""
    beginning, ending = marks(name)
    try:
        page = path.read_text()
        before, _, rest = page.partition(beginning)
        _, found, after = rest.partition(ending)
        if not found:
            raise UserInputError(f"--document {path}: has no {beginning} ... {ending}; a page with both would do")
        path.write_text(f"{before}{beginning}\n\n{report}\n\n{ending}{after}")
    except OSError as error:
        raise UserInputError(f"--document {path}: {error.strerror}; a page that can be written would do") from None


def store(path: Path, figures: list[Figure], engines: dict[str, str], facts: dict[str, Any]) -> None:
    """Writes a run as JSON.  UserInputError where the file cannot be written."""
    data = {"facts": facts, "engines": engines, "figures": [asdict(figure) for figure in figures]}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(data, indent=1) + "\n")
    except OSError as error:
        raise UserInputError(f"{path}: cannot be written ({error.strerror}); another place would do") from None


def read(path: Path) -> tuple[list[Figure], dict[str, str]]:
    """A stored run.  UserInputError where the file is none."""
    try:
        data = json.loads(path.read_text())
        return [Figure(**entry) for entry in data["figures"]], dict(data["engines"])
    except OSError as error:
        raise UserInputError(f"{path}: cannot be read ({error.strerror}); a file of x86emu bench -o would do") from None
    except (ValueError, KeyError, TypeError):
        raise UserInputError(f"{path}: is no result of x86emu bench; a file of its option -o would do") from None


def comparison(old: list[Figure], new: list[Figure], engine: str = "x86emu") -> str:
    """New speed against old, guest by guest."""
    before = {figure.guest: figure for figure in old if figure.engine == engine and figure.seconds}
    lines = ["| guest | before | now | ratio |", "|---|---|---|---|"]
    ratios = []
    for figure in new:
        if figure.engine != engine or not figure.seconds or figure.guest not in before:
            continue
        ratio = figure.speed / before[figure.guest].speed
        ratios.append(ratio)
        lines.append(
            f"| {figure.guest} | {_number(before[figure.guest].speed)} | {_number(figure.speed)} | {ratio:.2f} |"
        )
    lines.append(f"| geometric mean | | | {geometric_mean(ratios):.2f} |")
    return "\n".join(lines)


def pyplot() -> Any:
    """matplotlib's drawing interface without a screen.  UserInputError where matplotlib is missing."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        return importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise UserInputError("--plot: needs matplotlib; pip install matplotlib would do") from None


def plot(path: Path, figures: list[Figure], engines: dict[str, str], mine: str = "x86emu") -> None:
    """A picture of our speed over each peer's, a panel a group.  UserInputError where matplotlib is missing."""
    drawing = pyplot()
    groups = by_group([figure for figure in figures if not figure.problem])
    picture, panels = drawing.subplots(len(groups), 1, figsize=(10, 3.6 * len(groups)), squeeze=False)
    peers = [name for name in engines if name != mine]
    width = 0.8 / max(len(peers), 1)
    for (heading, group), axes in zip(groups.items(), panels[:, 0], strict=True):
        rows = by_guest(group)
        guests = [guest for guest, row in rows.items() if mine in row and row[mine].seconds]
        for place, name in enumerate(peers):
            shown = [
                (number, rows[guest][mine].speed / rows[guest][name].speed) for number, guest in enumerate(guests)
                if name in rows[guest] and rows[guest][name].seconds
            ]  # fmt: skip
            axes.bar(
                [n + (place + 0.5) * width - 0.4 for n, _ in shown], [r for _, r in shown], width, color=f"C{place}",
                label=f"{name} {engines[name]}",
            )  # fmt: skip
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set_yscale("log")
        axes.set_title(heading, fontsize=9)
        axes.set_ylabel("speed of x86emu / the peer's", fontsize=8)
        axes.set_xticks(range(len(guests)), guests, rotation=60, ha="right", fontsize=7)
    if peers:
        panels[0, 0].legend(fontsize=7)
    picture.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=130)
    drawing.close(picture)
