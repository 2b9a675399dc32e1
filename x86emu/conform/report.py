"""Reports of a run: a summary for the terminal, JUnit XML, one self-contained HTML page, a Markdown table."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from x86emu.conform import scoreboard
from x86emu.conform.cases import environment_reason, usable
from x86emu.conform.results import Run
from x86emu.conform.suite import load_suite
from x86emu.errors import UserInputError
from x86emu.isa.table import Row, load_rows

_VECTORS = {
    0: "#DE", 1: "#DB", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 11: "#NP", 12: "#SS", 13: "#GP", 14: "#PF",
    16: "#MF", 17: "#AC", 19: "#XM",
}  # fmt: skip


OUTSIDE = "outside the table"
"""First part of a coverage key of the suite decoders: instructions that the table does not have, by mnemonic."""


def covered_rows(run: Run) -> dict[int, int]:
    """Cases by row number, for suites whose cases come from the table."""
    found: dict[int, int] = {}
    for key, count in run.coverage().items():
        first = key.split("|")[0]
        if first.isdigit():
            found[int(first)] = found.get(int(first), 0) + count
    return found


def oracle_reason(run: Run, row: Row) -> str | None:
    """Why a run's oracle cannot judge a row, or None."""
    try:
        reason: str | None = getattr(load_suite(run.suite), "reason", lambda row: None)(row)
    except UserInputError:  # results of another version, or an oracle that is not on this host
        return None
    return reason


def uncovered_rows(run: Run) -> list[tuple[Row, str]]:
    """Rows of the table that no case exercised, each with the reason where there is one."""
    covered = covered_rows(run)
    features = frozenset(run.features)
    result = []
    for number, row in enumerate(load_rows()):
        if number in covered:
            continue
        reason = environment_reason(row) or oracle_reason(run, row)
        if not features:
            reason = reason or "not among the cases"
        elif reason is None and row.feature not in features:
            reason = f"engine or oracle lacks {row.feature}"
        elif reason is None and any(usable(row, mode, features) for mode in (64, 32)):
            reason = "no case yet: more cases are needed"
        result.append((row, reason or "not in the modes that were run"))
    return result


def dimensions(run: Run) -> dict[str, dict[str, int]]:
    """Cases by mode, operand form, addressing form, prefix, and exception raised."""
    result: dict[str, dict[str, int]] = {
        "mode": {}, "operand form": {}, "addressing": {}, "prefixes": {}, "exception raised": {},
        "instructions outside the table": {},
    }  # fmt: skip

    def add(dimension: str, value: str, count: int) -> None:
        result[dimension][value] = result[dimension].get(value, 0) + count

    for key, count in run.coverage().items():
        first, *rest = key.split("|")
        if first == OUTSIDE:
            add("instructions outside the table", rest[1], count)
            continue
        if first == "vector":
            add("exception raised", _VECTORS.get(int(rest[1]), rest[1]), count)
            continue
        mode, operands, addressing, prefixes = rest
        add("mode", mode, count)
        add("operand form", operands or "none", count)
        add("addressing", addressing or "no memory operand", count)
        for prefix in prefixes.split() or ["none"]:
            add("prefixes", prefix, count)
    return {name: dict(sorted(values.items(), key=lambda i: -i[1])) for name, values in result.items() if values}


def peer_kinds(run: Run) -> dict[str, tuple[int, list[str]]]:
    """What sets a peer apart from engine and processor: cases and rows of each kind of difference, most first."""
    found: dict[str, tuple[int, dict[str, int]]] = {}
    for key, count in run.peer().items():
        row, _, kind = key.rpartition("|")
        cases, rows = found.get(kind, (0, {}))
        rows[row] = rows.get(row, 0) + count
        found[kind] = (cases + count, rows)
    ordered = sorted(found.items(), key=lambda item: -item[1][0])
    return {kind: (cases, sorted(rows, key=lambda row: -rows[row])) for kind, (cases, rows) in ordered}


def summary(run: Run, shown: int = 20) -> str:
    """For the terminal."""
    seconds = sum(unit.seconds for unit in run.units)
    rate = f", {run.cases / seconds:,.0f} cases a second of processor time" if seconds > 0.05 else ""
    lines = [
        f"{run.suite}: engine {run.engine}, judged by {run.oracle}: {run.cases:,} cases, {run.failed:,} differ, "
        f"{len(run.errors)} errors{rate}"
    ]
    lines += scoreboard.lines(run)
    rows = run.failed_rows()
    for name, count in list(rows.items())[:shown]:
        lines.append(f"  {count:6,}  {name}")
        failure = next((f for unit in run.units for f in unit.failures if f.row == name), None)
        if failure:
            lines.append(
                f"          {failure.case}: {failure.code}  {failure.text}: {'; '.join(failure.differences[:3])}"
            )
            if failure.reproduction:
                lines.append(f"          {failure.reproduction}")
    if len(rows) > shown:
        lines.append(f"  and {len(rows) - shown} more rows; the report has them all")
    peer = sum(run.peer().values())
    if peer:
        lines.append(f"  in {peer:,} cases the oracle is alone; the report tells in which")
    if run.doubtful:
        lines.append(
            f"  {len(run.doubtful):,} captures are doubtful themselves and were not run; the report lists them"
        )
    lines += [f"  error: {error}" for error in run.errors[:shown]]
    lines += run.notes
    return "\n".join(lines)


def junit(run: Run) -> str:
    """JUnit XML: a test case for each unit, and a failure for each row that differs in it."""
    suite = ElementTree.Element(
        "testsuite", name=f"x86emu.conform.{run.suite}", tests=str(len(run.units)),
        failures=str(sum(1 for unit in run.units if unit.failed)), errors=str(sum(1 for u in run.units if u.errors)),
    )  # fmt: skip
    for unit in run.units:
        case = ElementTree.SubElement(
            suite, "testcase", classname=run.suite, name=unit.unit, time=f"{unit.seconds:.3f}"
        )
        if unit.failed:
            text = "\n".join(f"{f.case} {f.code} {f.text}: {'; '.join(f.differences)}" for f in unit.failures)
            ElementTree.SubElement(case, "failure", message=f"{unit.failed} of {unit.cases} cases differ").text = text
        if unit.verdict.startswith(("SKIP", "LEFT OUT")):
            ElementTree.SubElement(case, "skipped", message=unit.note or unit.verdict)
        if unit.errors:
            ElementTree.SubElement(case, "error", message=unit.errors[0]).text = "\n".join(unit.errors)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1d2330;background:#fff}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}
table{border-collapse:collapse;width:100%;margin:.5rem 0}td,th{text-align:left;padding:.25rem .6rem;
border-bottom:1px solid #dde1e8;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}
code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}.bad{color:#a3152a}.good{color:#17693a}
details{margin:.3rem 0}summary{cursor:pointer}
@media(prefers-color-scheme:dark){body{color:#dfe4ee;background:#14171d}td,th{border-color:#333a47}
.bad{color:#ff8a98}.good{color:#7fd6a0}}
"""


def _table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    out = "<table><tr>" + "".join(f"<th>{escape(name)}</th>" for name in head) + "</tr>"
    for row in rows:
        cells = "".join(f'<td class="n">{cell:,}</td>' if isinstance(cell, int) else f"<td>{cell}</td>" for cell in row)
        out += f"<tr>{cells}</tr>"
    return out + "</table>"


def html(runs: list[Run]) -> str:
    """One page that needs nothing else."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<title>x86emu conformance</title><style>{_STYLE}</style><h1>x86 conformance</h1>",
        _table(
            ("suite", "engine", "judged by", "cases", "differ", "errors"),
            [
                (escape(r.suite), escape(r.engine), escape(r.oracle), r.cases,
                 f'<span class={"bad" if r.failed else "good"}>{r.failed:,}</span>', len(r.errors))
                for r in runs
            ],
        ),
    ]  # fmt: skip
    for run in runs:
        parts.append(f"<h2>{escape(run.suite)}</h2>")
        parts += [f"<p>{escape(note)}</p>" for note in run.notes]
        parts += scoreboard.table_html(run)
        parts += _failures_html(run)
        if run.errors:
            parts.append(
                "<h3>Errors</h3><ul>" + "".join(f"<li>{escape(error)}" for error in run.errors[:200]) + "</ul>"
            )
        if run.doubtful:
            parts.append(
                f"<details><summary>Doubtful captures, not run: {len(run.doubtful)}</summary>"
                + _table(("case", "why"), ((escape(case), escape(why)) for case, why in run.doubtful.items()))
                + "</details>"
            )
        parts += _peer_html(run)
        for name, values in dimensions(run).items():
            parts.append(
                f"<details><summary>Coverage by {name}: {len(values)}</summary>"
                + _table((name, "cases"), ((f"<code>{escape(v)}</code>", n) for v, n in values.items()))
                + "</details>"
            )
        covered = covered_rows(run)
        if covered:
            table = load_rows()
            parts.append(
                f"<details><summary>Rows covered: {len(covered)} of {len(table)}</summary>"
                + _table(("row", "source", "cases"),
                         ((f"<code>{escape(str(table[n]))}</code>", escape(table[n].source), c)
                          for n, c in sorted(covered.items())))
                + "</details>"
            )  # fmt: skip
            missing = uncovered_rows(run)
            parts.append(
                f"<details><summary>Rows not covered: {len(missing)}</summary>"
                + _table(("row", "source", "why"),
                         ((f"<code>{escape(str(row))}</code>", escape(row.source), escape(why))
                          for row, why in missing))
                + "</details>"
            )  # fmt: skip
    return "\n".join(parts) + "\n"


def _peer_html(run: Run) -> list[str]:
    peer = run.peer()
    if not peer:
        return []
    examples = {f.row: f for unit in run.units for f in unit.peer_examples}

    def example(row: str) -> str:
        f = examples.get(row)
        if f is None:
            return ""
        return f"<code>{f.code}<br>{escape(f.text)}</code><br>" + "<br>".join(map(escape, f.differences[:4]))

    rows = (
        (f"<code>{escape(key.rpartition('|')[0])}</code>", escape(key.rpartition("|")[2]), count,
         example(key.rpartition("|")[0]))
        for key, count in peer.items()
    )  # fmt: skip
    return [
        f"<details><summary>Cases in which the oracle is alone: {sum(peer.values()):,}</summary>"
        + _table(("where", "what differs", "cases", "for example"), rows)
        + "</details>"
    ]


def _failures_html(run: Run) -> list[str]:
    rows = run.failed_rows()
    if not rows:
        return ["<p class=good>No case differs.</p>"]
    shown = {name: [f for unit in run.units for f in unit.failures if f.row == name] for name in rows}
    parts = []
    for name, count in rows.items():
        parts.append(f"<details><summary><code>{escape(name)}</code>: <span class=bad>{count:,}</span></summary>")
        parts.append(
            _table(
                ("case", "code", "what differs"),
                (
                    (
                        escape(f.case),
                        f"<code>{f.code}<br>{escape(f.text)}</code>",
                        "<br>".join(map(escape, f.differences[:8]))
                        + (f"<br><code>{escape(f.reproduction)}</code>" if f.reproduction else ""),
                    )
                    for f in shown[name][:10]
                ),
            )
            + "</details>"
        )
    return parts


def markdown(runs: list[Run]) -> str:
    """The table of docs/conformance.md."""
    lines = [
        "| suite | engine | judged by | cases | differ | errors | rows covered |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    for run in runs:
        covered = covered_rows(run)
        rows = f"{len(covered)} of {len(load_rows())}" if covered else "-"
        lines.append(
            f"| {run.suite} | {run.engine} | {run.oracle} | {run.cases:,} | {run.failed:,} | {len(run.errors)} "
            f"| {rows} |"
        )
    for run in runs:
        failed = run.failed_rows()
        if failed:
            lines += ["", f"Rows that differ in {run.suite}:", ""]
            lines += [f"- {name}: {count:,}" for name, count in list(failed.items())[:25]]
            if len(failed) > 25:
                lines.append(f"- and {len(failed) - 25} more")
        if run.doubtful:
            lines += ["", f"Captures of {run.suite} that are doubtful themselves and were not run:", ""]
            lines += [f"- {case}: {why}" for case, why in run.doubtful.items()]
        kinds = peer_kinds(run)
        if kinds:
            lines += ["", f"Cases of {run.suite} in which {run.oracle} is alone:", ""]
            lines += ["| what differs | cases | rows | most in |", "|---|---:|---:|---|"]
            for kind, (cases, places) in list(kinds.items())[:20]:
                names = ", ".join(f"`{row.partition(' (')[0]}`" for row in places[:3])
                lines.append(f"| {kind} | {cases:,} | {len(places)} | {names} |")
            if len(kinds) > 20:
                lines.append(f"| {len(kinds) - 20} more | {sum(c for c, _ in list(kinds.values())[20:]):,} | | |")
        missing = uncovered_rows(run) if covered_rows(run) else []
        if missing:
            reasons: dict[str, int] = {}
            for _, why in missing:
                reasons[why] = reasons.get(why, 0) + 1
            lines += ["", f"Rows that {run.suite} does not cover:", ""]
            lines += [f"- {why}: {count}" for why, count in sorted(reasons.items(), key=lambda item: -item[1])]
    return "\n".join(lines) + "\n"


def write(path: Path, text: str) -> None:
    """Writes a report. Raises UserInputError where the file cannot be written."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserInputError(
            f"{path} cannot be written: {error.strerror}; give a file in a directory that can be."
        ) from None
