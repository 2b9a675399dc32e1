"""What a run leaves behind: failures, coverage, counts, as plain data that JSON holds."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from x86emu.errors import UserInputError
from x86emu.isa.table import load_rows

FORMAT = "x86emu-conform-1"
SHOWN = 5
"""Failures of a row or form that a unit keeps in full."""


@dataclass
class Failure:
    """One case whose outcome is not the expected one."""

    case: str
    """Name of the case in its suite, such as a file and an index."""
    code: str
    """Instruction bytes in hexadecimal."""
    text: str
    """Disassembly."""
    mode: int
    row: str
    """Row of the instruction table and where it is; empty where the suite does not know."""
    differences: list[str]
    reproduction: str = ""
    """A line of Python for a pytest function that shows the failure again."""


@dataclass
class UnitResult:
    """Result of one unit of work: a file of vectors, a batch of generated cases."""

    unit: str
    cases: int = 0
    failed: int = 0
    failures: list[Failure] = field(default_factory=list)
    """The failures in full, at most a few of each row."""
    failed_rows: dict[str, int] = field(default_factory=dict)
    """How many cases failed, by row or form."""
    coverage: dict[str, int] = field(default_factory=dict)
    """Cases by `row|mode|operands|addressing|prefixes`, and by `vector|row|n`."""
    peer: dict[str, int] = field(default_factory=dict)
    """Cases in which the oracle, a peer, is alone against the engine and a processor: by `row|what differs`."""
    peer_examples: list[Failure] = field(default_factory=list)
    doubtful: dict[str, str] = field(default_factory=dict)
    """Cases that were not run because their capture is doubtful itself: by case, why, and who says so."""
    errors: list[str] = field(default_factory=list)
    """Input that could not be used, engines that raised: sentences with file and case number."""
    seconds: float = 0.0
    """Of processor time of the engine under test, where it was measured alone; otherwise of the unit."""
    verdict: str = ""
    """Where units are tests that judge themselves: PASS, FAIL, SKIP, ABORT, RESET, TIMEOUT, LEFT OUT, with counts."""
    group: str = ""
    """The part of the scoreboard that such a unit belongs to."""
    note: str = ""
    """Why it was skipped or left out."""

    def fails(self, row: str) -> bool:
        """Counts a case that differs; whether it is among those of its row or form that are kept in full."""
        self.failed += 1
        self.failed_rows[row] = self.failed_rows.get(row, 0) + 1
        return self.failed_rows[row] <= SHOWN


@dataclass
class Run:
    """A whole run of one suite."""

    suite: str
    engine: str
    oracle: str
    seed: int
    features: list[str] = field(default_factory=list)
    """Features that the cases were limited to; decides which rows could be covered."""
    units: list[UnitResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    totals: dict[str, dict[str, int]] = field(default_factory=dict)
    """Coverage and differences of a peer of all units together, in a run that was read from a file."""
    rows: dict[str, str] = field(default_factory=dict)
    """Rows of the table by their number in the keys of coverage, in a file: numbers change when the table does."""

    @property
    def cases(self) -> int:
        return sum(unit.cases for unit in self.units)

    @property
    def failed(self) -> int:
        return sum(unit.failed for unit in self.units)

    @property
    def errors(self) -> list[str]:
        return [error for unit in self.units for error in unit.errors]

    @property
    def doubtful(self) -> dict[str, str]:
        """Cases counted apart because their capture is doubtful itself: by case, why, and who says so."""
        return {case: why for unit in self.units for case, why in unit.doubtful.items()}

    def failed_rows(self) -> dict[str, int]:
        """Failed cases by row, most first."""
        total: dict[str, int] = {}
        for unit in self.units:
            for row, count in unit.failed_rows.items():
                total[row] = total.get(row, 0) + count
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def peer(self) -> dict[str, int]:
        """Cases in which the oracle is alone, by `row|what differs`, most first."""
        total = dict(self.totals.get("peer", {}))
        for unit in self.units:
            for key, count in unit.peer.items():
                total[key] = total.get(key, 0) + count
        return dict(sorted(total.items(), key=lambda item: -item[1]))

    def coverage(self) -> dict[str, int]:
        """Coverage of all units together."""
        total = dict(self.totals.get("coverage", {}))
        for unit in self.units:
            for key, count in unit.coverage.items():
                total[key] = total.get(key, 0) + count
        return total

    def write(self, path: Path) -> None:
        """Writes the run as JSON. Raises UserInputError where the file cannot be written."""
        try:
            coverage = self.coverage()
            data = {"format": FORMAT, **asdict(self), "totals": {"coverage": coverage, "peer": self.peer()}}
            data["rows"] = {number: row_text(int(number)) for number in sorted(_row_numbers(coverage), key=int)}
            for unit in data["units"]:
                unit["coverage"], unit["peer"] = {}, {}
            path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise UserInputError(f"The results cannot be written to {path}: {error.strerror}.") from None


def row_text(number: int) -> str:
    """A row as results name it: by what it says."""
    row = load_rows()[number]
    return f"{row} {row.vex} {row.feature} {' '.join(sorted(set(row.attributes) & _TELLING))}"


_TELLING = frozenset("mem reg i64 o64 W0 W1 B0 variant".split())
"""Attributes that tell rows of one encoding apart."""


def _row_place(key: str) -> int:
    """Which part of a coverage key is a row's number; -1 for none."""
    parts = key.split("|")
    place = 1 if parts[0] == "vector" else 0
    return place if len(parts) > place and parts[place].isdigit() else -1


def _row_numbers(coverage: dict[str, int]) -> set[str]:
    return {key.split("|")[_row_place(key)] for key in coverage if _row_place(key) >= 0}


def _renumbered(coverage: dict[str, int], rows: dict[str, str]) -> dict[str, int]:
    """Coverage with today's numbers; what is no row any more falls out. Without rows numbers are today's."""
    if not rows:
        return coverage
    today = {row_text(number): str(number) for number in range(len(load_rows()))}
    result = {}
    for key, count in coverage.items():
        parts, place = key.split("|"), _row_place(key)
        if place >= 0:
            number = today.get(rows.get(parts[place], ""))
            if number is None:
                continue
            parts[place] = number
        result["|".join(parts)] = count
    return result


def unit_from(data: dict[str, Any]) -> UnitResult:
    """A UnitResult from its JSON form."""
    lists = {name: [Failure(**failure) for failure in data.get(name, [])] for name in ("failures", "peer_examples")}
    return UnitResult(**{**data, **lists})


def read_run(path: Path) -> Run:
    """A run from its JSON file. Raises UserInputError for what is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserInputError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise UserInputError(f"{path} is no JSON file ({error}); give what `x86emu conform run` wrote.") from None
    if not isinstance(data, dict) or data.pop("format", "") != FORMAT:
        raise UserInputError(f"{path} holds no results of `x86emu conform run` (format {FORMAT}).")
    try:
        run = Run(**{**data, "units": [unit_from(unit) for unit in data["units"]]})
        run.totals = {**run.totals, "coverage": _renumbered(run.coverage(), run.rows)}
        for unit in run.units:
            unit.coverage = {}
        run.rows = {}
        return run
    except (TypeError, KeyError) as error:
        raise UserInputError(f"{path} is incomplete: {error}.") from None
