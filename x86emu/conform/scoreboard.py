"""Scoreboards: verdicts of tests that judge themselves, by group and test, a column for each engine."""

from __future__ import annotations

from collections import Counter
from html import escape
from pathlib import Path

from x86emu.conform.results import Run, UnitResult
from x86emu.errors import UserInputError

BEGIN, END = "<!-- begin: x86emu conform report -->", "<!-- end: x86emu conform report -->"
"""Lines of a page between which a scoreboard is put."""


def verdict_units(run: Run) -> list[UnitResult]:
    """Units that have a verdict of their own."""
    return [unit for unit in run.units if unit.verdict]


def word(verdict: str) -> str:
    """A verdict without its counts."""
    return " ".join(part for part in verdict.split() if "/" not in part)


def totals(units: list[UnitResult]) -> str:
    """How many units came out how, and the checks of all of them."""
    counted = Counter(word(unit.verdict) for unit in units)
    text = ", ".join(f"{verdict} {count}" for verdict, count in counted.most_common())
    checks = [part.split("/") for unit in units for part in unit.verdict.split() if "/" in part]
    passed, of = (sum(int(pair[n]) for pair in checks) for n in (0, 1))
    return f"{text}; {passed:,} of {of:,} checks"


def lines(run: Run) -> list[str]:
    """For the terminal."""
    units = verdict_units(run)
    if not units:
        return []
    width = max(len(unit.unit) for unit in units)
    wide = max(len(unit.verdict) for unit in units)
    text = [
        f"  {unit.unit:{width}}  {unit.verdict:{wide}}  {unit.seconds:6.1f} s  {unit.note}".rstrip() for unit in units
    ]
    return [*text, f"  {totals(units)}"]


def table_html(run: Run) -> list[str]:
    """A table for the page of a report; empty where no unit has a verdict."""
    units = verdict_units(run)
    if not units:
        return []
    rows = "".join(
        f'<tr><td><code>{escape(unit.unit)}</code></td><td class="{"bad" if unit.failed else "good"}">'
        f"{escape(unit.verdict)}</td><td>{escape(unit.note)}</td><td class=n>{unit.seconds:.1f} s</td></tr>"
        for unit in units
    )
    head = "<tr><th>test</th><th>verdict</th><th></th><th></th></tr>"
    return [f"<p>{escape(totals(units))}</p><table>{head}{rows}</table>"]


def markdown(runs: list[Run]) -> str:
    """Tables of all runs that have verdicts: the rows of the first engine's runs, beside them what others made of them.

    Raises UserInputError where no run has verdicts.
    """
    columns: dict[str, dict[tuple[str, str], UnitResult]] = {}
    for run in runs:
        if units := verdict_units(run):
            columns.setdefault(run.engine, {}).update({(unit.group, unit.unit): unit for unit in units})
    if not columns:
        raise UserInputError("None of these results has verdicts; give some of the suite kvm-unit-tests.")
    first, *others = columns
    text = []
    for group in dict.fromkeys(group for group, _ in columns[first]):
        keys = [key for key in columns[first] if key[0] == group]
        shown = [first, *(engine for engine in others if any(key in columns[engine] for key in keys))]
        text += ["", f"### {group}", "", f"| test | {' | '.join(shown)} |", "| --- " * (len(shown) + 1) + "|"]
        for key in keys:
            cells = [columns[engine][key].verdict if key in columns[engine] else "-" for engine in shown]
            text.append(f"| {key[1]} | {' | '.join(cells)} |")
        text.append("")
        for engine in shown:
            text.append(f"- {engine}: {totals([columns[engine][key] for key in keys if key in columns[engine]])}")
    return "\n".join(text[1:]) + "\n"


def put(path: Path, text: str) -> None:
    """Writes a scoreboard: between the two marker lines where the file has them, else as the whole file.

    Raises UserInputError where it cannot be read or written, or has only one of the markers.
    """
    try:
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if (BEGIN in old) != (END in old):
            raise UserInputError(f"{path} has only one of the lines {BEGIN} and {END}; put in the other one, too.")
        if BEGIN in old:
            text = f"{old.partition(BEGIN)[0]}{BEGIN}\n\n{text}\n{END}{old.partition(END)[2]}"
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserInputError(f"{path} cannot be written: {error.strerror}.") from None
