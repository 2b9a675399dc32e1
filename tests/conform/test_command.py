"""`x86emu conform`: runs, reports, exit codes, sentences for unusable input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.conform.test_moo import moo
from x86emu.cli import main
from x86emu.conform.engine import State
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.exact import DOUBLE, EXTENDED, INEXACT, SINGLE, decode, rounded, square_root
from x86emu.conform.generated import GeneratedSuite
from x86emu.conform.report import html, markdown, peer_kinds, summary
from x86emu.conform.results import Failure, Run, UnitResult, read_run, row_text
from x86emu.conform.runner import Journal, run_suite
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError
from x86emu.isa.table import load_rows


@pytest.fixture
def captures(tmp_path: Path) -> Path:
    directory = tmp_path / "set"
    directory.mkdir()
    (directory / "40.MOO").write_bytes(moo(b"8086", b"\x40", {"ax": 1, "ip": 0x101}))
    (directory / "41.MOO").write_bytes(moo(b"8086", b"\x41", {"cx": 9, "ip": 0x101}))
    (directory / "42.MOO").write_bytes(b"MOO!")
    return directory


def test_run_writes_all_reports(captures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    places = {name: tmp_path / f"r.{name}" for name in ("json", "xml", "html", "md")}
    code = main(
        ["conform", "run", "--suite", "singlestep", str(captures), "-o", str(places["json"]),
         "--junit", str(places["xml"]), "--html", str(places["html"])]
    )  # fmt: skip
    assert code == 1
    text = capsys.readouterr().out
    assert "2 cases, 1 differ, 1 errors" in text
    assert "cx 0001, expected 0009" in text
    assert "42.MOO is no valid MOO file: case 0" in text
    suite = ElementTree.parse(places["xml"]).getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "1")
    page = places["html"].read_text()
    assert "cx 0001, expected 0009" in page
    assert "http" not in page and "<script" not in page
    assert main(["conform", "report", str(places["json"]), "--markdown", str(places["md"])]) == 0
    assert "| singlestep | x86emu |" in places["md"].read_text()
    assert not places["json"].with_name("r.json.partial").exists()


def test_resume_runs_only_what_is_left(captures: Path, tmp_path: Path) -> None:
    options = Options("singlestep", directory=captures)
    journal = tmp_path / "partial"
    whole = run_suite(options)

    class Stop(Exception):
        pass

    class Interrupt:
        def __init__(self, total: int) -> None:
            pass

        def add(self, unit: object) -> None:
            raise Stop

        def close(self) -> None:
            pass

    with pytest.raises(Stop):
        run_suite(options, journal=journal, progress=Interrupt)  # type: ignore[arg-type]
    lines = journal.read_text().splitlines()
    assert len(lines) == 2
    done = json.loads(lines[1])
    done["cases"] = 1000
    journal.write_text(lines[0] + "\n" + json.dumps(done) + '\n{"half a line')
    resumed = run_suite(options, journal=journal, resume=True)
    assert resumed.cases == whole.cases + 999
    assert not journal.exists()


def test_a_generated_run_can_be_extended(tmp_path: Path) -> None:
    """Its journal serves a run of another --count; units that are not wanted are left out."""
    suite = GeneratedSuite("unicorn", "", "unicorn")
    short, long_ = (Options("unicorn", count=n) for n in (16000, 40000))
    assert suite.same_units(short) == suite.same_units(long_) != suite.same_units(Options("unicorn", count=800))
    journal = Journal(tmp_path / "j", long_, resume=False)
    for unit in ("64.single.0", "32.single.1", "64.single.2"):
        journal.add(UnitResult(unit, cases=8000))
    journal.close(finished=False)
    again = Journal(tmp_path / "j", short, resume=True)
    assert set(again.done) == {"64.single.0", "32.single.1", "64.single.2"}
    again.close(finished=False)
    with pytest.raises(UserInputError, match="other options"):
        Journal(tmp_path / "j", Options("unicorn", seed=9), resume=True)


def test_several_processes_give_the_same(captures: Path) -> None:
    options = Options("singlestep", directory=captures)
    one, two = run_suite(options), run_suite(options, jobs=2)
    assert [(u.unit, u.cases, u.failed) for u in one.units] == [(u.unit, u.cases, u.failed) for u in two.units]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--suite", "nothing"], "There is no suite 'nothing'"),
        (["--suite", "singlestep"], "needs the directory"),
        (["--suite", "singlestep", "/nonexistent"], "is no directory"),
        (["--suite", "hw", "."], "There are no captures"),
        (["--suite", "testfloat", "--resume"], "--resume needs --output"),
        (["--suite", "unicorn", "--engine", "unicorn"], "cannot be its own oracle"),
    ],
)
def test_unusable_input(
    arguments: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["conform", "run", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_results_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_text("{}")
    assert main(["conform", "report", str(tmp_path / "x")]) == 2
    assert "holds no results" in capsys.readouterr().err


def test_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["conform", "list"]) == 0
    text = capsys.readouterr().out
    assert "kvm-unit-tests" in text and "package.module:Class" in text


def test_testfloat_finds_nothing(tmp_path: Path) -> None:
    run = run_suite(Options("testfloat", count=2400))
    assert 2000 < run.cases <= 2400
    assert not run.errors
    assert run.failed_rows() == {}


@pytest.mark.parametrize("f", [SINGLE, DOUBLE, EXTENDED])
def test_exact_references(f: object) -> None:
    assert isinstance(f, type(SINGLE))
    one = f.bias << f.fraction_bits | (1 << 63 if f.explicit else 0)
    a = decode(one, f)
    assert a.value == 1
    assert rounded(a.value, f, 0) == (one, 0)
    assert rounded(a.value + a.value / (1 << f.precision), f, 0) == (one, INEXACT)
    assert rounded(a.value + a.value / (1 << f.precision), f, 2) == (one + 1, INEXACT)
    four = f.bias + 2 << f.fraction_bits | (1 << 63 if f.explicit else 0)
    two = f.bias + 1 << f.fraction_bits | (1 << 63 if f.explicit else 0)
    assert square_root(decode(four, f), f, 0) == (two, 0)
    assert square_root(decode(two, f), f, 1)[1] == INEXACT


def test_read_run_gives_what_was_written(tmp_path: Path) -> None:
    run = run_suite(Options("testfloat", count=400))
    run.write(tmp_path / "r.json")
    again = read_run(tmp_path / "r.json")
    assert replace(again, totals={}) == replace(run, units=[replace(unit, coverage={}, peer={}) for unit in run.units])
    assert again.coverage() == run.coverage()


def test_results_outlive_changes_of_the_table(tmp_path: Path) -> None:
    """Rows are named in the file, so that their numbers may change."""
    numbers = [n for n, row in enumerate(load_rows()) if row.mnemonic in ("XLAT", "LEA")]
    assert len({row_text(n) for n in range(len(load_rows()))}) == len(load_rows())
    run = Run("native", "x86emu", "native", 1, units=[UnitResult("u", 24)])
    run.units[0].coverage = {f"{n}|64|r32||": 8 for n in numbers} | {
        f"vector|{numbers[0]}|13": 3,
        "-1|64|sequence||": 8,
    }
    place = tmp_path / "r.json"
    run.write(place)
    assert read_run(place).coverage() == run.units[0].coverage
    data = json.loads(place.read_text())
    other = str(numbers[0] + 1000)
    data["rows"][other] = data["rows"].pop(str(numbers[0]))
    renamed = (
        json.dumps(data)
        .replace(f'"{numbers[0]}|64|', f'"{other}|64|')
        .replace(f"vector|{numbers[0]}|", f"vector|{other}|")
    )
    place.write_text(renamed)
    assert read_run(place).coverage() == run.units[0].coverage


def test_the_report_tells_what_sets_a_peer_apart(tmp_path: Path) -> None:
    unit = UnitResult(
        "64.single.0", 100, peer={"90 NOP (rows:1)|flags": 7, "91 XCHG (rows:2)|flags": 2, "sequence|RIP": 1}
    )
    unit.peer_examples = [Failure("64.single.0.1", "90", "nop", 64, "90 NOP (rows:1)", ["flags 1, expected 2"])]
    unit.coverage = {"outside the table|64|pfacc||": 4}
    run = Run("unicorn", "x86emu", "unicorn", 1, units=[unit])
    assert peer_kinds(run) == {"flags": (9, ["90 NOP (rows:1)", "91 XCHG (rows:2)"]), "RIP": (1, ["sequence"])}
    assert "| flags | 9 | 2 | `90 NOP`, `91 XCHG` |" in markdown([run])
    page = html([run])
    assert "Cases in which the oracle is alone: 10" in page and "flags 1, expected 2" in page and "pfacc" in page
    assert "in 10 cases the oracle is alone" in summary(run)


class Slow(X86EmuEngine):
    """Takes its time over each case."""

    def set_state(self, state: State) -> None:
        time.sleep(0.03)
        super().set_state(state)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_an_interrupted_run_resumes(tmp_path: Path, jobs: str) -> None:
    directory = tmp_path / "set"
    directory.mkdir()
    for n in range(40):
        (directory / f"{n:02}.MOO").write_bytes(moo(b"8086", b"\x40", {"ax": 1, "ip": 0x101}))
    results, journal = tmp_path / "r.json", tmp_path / "r.json.partial"
    command = [sys.executable, "-m", "x86emu", "conform", "run", "--suite", "singlestep", str(directory), "-o",
               str(results), "-j", jobs, "--engine", f"{__name__}:Slow"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, env=environment, text=True, start_new_session=True,
        # a shell's background jobs, these tests perhaps, have it ignored, and so would this process
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    while process.poll() is None and not (journal.exists() and journal.read_text().count("\n") > 4):
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as the terminal does for Ctrl-C
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 8, errors
    assert "x86emu: interrupted" in errors and "Traceback" not in errors
    done = journal.read_text().count("\n") - 1
    assert 3 < done < 40
    again = subprocess.run(
        [*command, "--resume"], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert "40 cases, 0 differ, 0 errors" in again.stdout
    assert [unit.unit for unit in read_run(results).units] == [f"{n:02}.MOO" for n in range(40)]
    assert not journal.exists()
