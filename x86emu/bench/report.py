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


def geometric_mean(values: Iterable[float]) -> float:
    """Of the values that are numbers; NaN where there are none."""
    logarithms = [math.log(value) for value in values if value > 0 and not math.isnan(value)]
    return math.exp(sum(logarithms) / len(logarithms)) if logarithms else math.nan


def by_guest(figures: list[Figure]) -> dict[str, dict[str, Figure]]:
    """guest -> engine -> figure, in the order of the run."""
    found: dict[str, dict[str, Figure]] = {}
    for figure in figures:
        found.setdefault(figure.guest, {})[figure.engine] = figure
    return found


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"


def table(figures: list[Figure], engines: dict[str, str], mine: str = "x86emu") -> str:
    """A Markdown table: MIPS (seconds for whole guests), spread and memory of ours; peers, and our ratio to each."""
    peers = [name for name in engines if name != mine]
    heads = ["guest", mine, "± %", "MiB", *(f"{name} | ratio" for name in peers)]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * (4 + 2 * len(peers))]
    for guest, row in by_guest(figures).items():
        ours = row.get(mine)
        cells = [guest]
        if ours is None or ours.problem:
            cells += [ours.problem if ours else "-", "", ""]
        else:
            value = _number(ours.mips) if ours.instructions else f"{ours.median:.2f} s"
            cells += [value, f"{ours.spread * 100:.0f}", f"{ours.peak_kib / 1024:.0f}"]
        for name in peers:
            peer = row.get(name)
            if peer is None or peer.problem or not peer.seconds:
                cells += [peer.problem if peer and peer.problem else "-", "-"]
                continue
            cells.append(_number(peer.mips) if peer.instructions else f"{peer.median:.2f} s")
            cells.append(_number(ours.speed / peer.speed) if ours and not ours.problem else "-")
        lines.append("| " + " | ".join(cells) + " |")
    means = ["geometric mean", _number(geometric_mean(f.mips for f in figures if f.engine == mine)), "", ""]
    for name in peers:
        pairs = [
            (row[mine], row[name]) for row in by_guest(figures).values()
            if mine in row and name in row and row[mine].seconds and row[name].seconds
        ]  # fmt: skip
        means.append(_number(geometric_mean(peer.mips for _, peer in pairs)))
        means.append(_number(geometric_mean(ours.speed / peer.speed for ours, peer in pairs)))
    lines.append("| " + " | ".join(means) + " |")
    return "\n".join(lines)


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


def plot(path: Path, figures: list[Figure], engines: dict[str, str], mine: str = "x86emu") -> None:
    """A picture of our speed over each peer's.  UserInputError where matplotlib is missing."""
    try:
        importlib.import_module("matplotlib").use("Agg")
        pyplot = importlib.import_module("matplotlib.pyplot")
    except ImportError:
        raise UserInputError("--plot: needs matplotlib; pip install matplotlib would do") from None
    rows = by_guest(figures)
    peers = [name for name in engines if name != mine]
    guests = [guest for guest, row in rows.items() if mine in row and row[mine].seconds]
    picture, axes = pyplot.subplots(figsize=(max(7.0, 0.32 * len(guests) + 2), 4.5))
    width = 0.8 / max(len(peers), 1)
    for place, name in enumerate(peers):
        shown = [
            (number, rows[guest][mine].speed / rows[guest][name].speed) for number, guest in enumerate(guests)
            if name in rows[guest] and rows[guest][name].seconds
        ]  # fmt: skip
        label = f"{name} {engines[name]}"
        axes.bar([n + (place + 0.5) * width - 0.4 for n, _ in shown], [r for _, r in shown], width, label=label)
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log")
    axes.set_ylabel("speed of x86emu / speed of the peer")
    axes.set_xticks(range(len(guests)), guests, rotation=70, ha="right", fontsize=7)
    axes.legend(fontsize=7)
    picture.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.savefig(path, dpi=130)
