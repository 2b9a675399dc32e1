"""What cannot be used is named with file and case, the rest goes on, and the exit code says so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from tests.conform.test_moo import moo
from x86emu.cli import main
from x86emu.conform import engine as engines
from x86emu.conform.engine import State, Stop, engine_named, run_batch
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import code_of, empty, set_code
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options


class Raising:
    """Raises where F7h is among the first bytes, and at INC CX; otherwise it is x86emu, case by case."""

    name = "raising"
    modes = frozenset({16, 32, 64})
    model = ""

    def __init__(self, **options: Any) -> None:
        self.inner = X86EmuEngine(**options)

    def features(self) -> frozenset[str]:
        return self.inner.features()

    def set_state(self, state: State) -> None:
        self.state = state
        self.inner.set_state(state)

    def run(self, instructions: int) -> Stop:
        place = self.state.rip if self.state.mode != 16 else self.state.segments[1] * 16 + self.state.rip
        for start, data in self.state.memory.items():
            first = data[place - start :][:3] if start <= place else b""
            if 0xF7 in first or first[:1] == b"\x41":
                raise RuntimeError("no such instruction here")
        return self.inner.run(instructions)

    def get_state(self) -> State:
        return self.inner.get_state()

    def close(self) -> None:
        self.inner.close()


NAME = f"{__name__}:Raising"


def records(*codes: bytes) -> Any:
    cases = empty(len(codes))
    for case, code in zip(cases, codes, strict=True):
        set_code(case, code)
    return cases


def test_an_engine_that_raises_loses_the_case_alone() -> None:
    errors: list[str] = []
    outcomes = run_batch(Raising(), records(b"\xff\xc0", b"\xf7\xd8", b"\xff\xc1"), errors)
    assert outcomes["vector"].tolist() == [-1, -2, -1]
    assert (int(outcomes["gpr"][0, 0]), int(outcomes["gpr"][2, 1])) == (1, 1)
    assert errors == ["engine raising failed at case 1 (code f7d8): RuntimeError('no such instruction here')"]
    with pytest.raises(engines.EngineError, match="case 1"):
        run_batch(Raising(), records(b"\xff\xc0", b"\xf7\xd8"))


def test_a_batch_that_raises_is_done_case_by_case() -> None:
    class Batches(X86EmuEngine):
        def run_batch(self, cases: Any) -> Any:
            if any(code_of(case) == b"\x90" for case in cases):
                raise ValueError("no NOP")
            return super().run_batch(cases)

    errors: list[str] = []
    outcomes = run_batch(Batches(), records(b"\xff\xc0", b"\x90", b"\xff\xc0"), errors)
    assert outcomes["vector"].tolist() == [-1, -2, -1]
    assert "case 1 (code 90)" in errors[0]


def test_an_engine_that_raises_in_a_generated_run(native: NativeEngine) -> None:
    options = Options("native", NAME, count=160, modes=(64,), rows=("NEG", "INC"))
    run = run_suite(options)
    assert run.cases == 160
    assert run.errors and all("raising failed at case" in error and "unit 64.single.0" in error for error in run.errors)
    assert not run.failed
    assert main(["conform", "run", "--suite", "native", "--engine", NAME, "--count", "160", "--row", "NEG",
                 "--mode", "64"]) == 3  # fmt: skip


def test_an_engine_that_raises_in_the_captures(tmp_path: Path) -> None:
    (tmp_path / "40.MOO").write_bytes(moo(b"8086", b"\x40", {"ax": 1, "ip": 0x101}))
    (tmp_path / "41.MOO").write_bytes(moo(b"8086", b"\x41", {"cx": 1, "ip": 0x101}))
    run = run_suite(Options("singlestep", NAME, directory=tmp_path))
    assert run.cases == 2
    assert len(run.errors) == 1 and "41.MOO: case 7: RuntimeError" in run.errors[0]


def capture(directory: Path, name: str, *lines: str) -> None:
    header = {"format": "hwx1", "mode": 64, "code": 0x10000000, "data": 0x20000000, "stack": 0x30000000,
              "data_hex": "00" * 4096, "stack_hex": "00" * 4096}  # fmt: skip
    with gzip.open(directory / name, "wt") as file:
        file.write("\n".join([json.dumps(header), *lines]))


GOOD = json.dumps(
    {"n": "INC", "t": "inc eax", "b": "ffc0", "r": {"rax": "1", "eflags": "202"}, "fu": 0,
     "o": {"sig": 0, "r": {"rax": "2"}, "fl": 0, "ip": 2}}
)  # fmt: skip


def test_malformed_captures(tmp_path: Path) -> None:
    capture(tmp_path, "a.jsonl.gz", GOOD, '{"n": "cut', GOOD, json.dumps({"n": "no bytes"}), GOOD)
    (tmp_path / "b.jsonl.gz").write_bytes(b"no gzip at all")
    run = run_suite(Options("hw", directory=tmp_path))
    assert (run.cases, run.failed) == (3, 0)
    assert len(run.errors) == 3
    assert "a.jsonl.gz: case 1: JSONDecodeError" in run.errors[0]
    assert "a.jsonl.gz: case 3: KeyError" in run.errors[1]
    assert "b.jsonl.gz is no capture of format hwx1" in run.errors[2]
    assert main(["conform", "run", "--suite", "hw", str(tmp_path)]) == 3


def test_malformed_lengths(tmp_path: Path) -> None:
    code = "90" * 15
    with gzip.open(tmp_path / "declen64.txt.gz", "wt") as file:
        file.write(f"{code} ok 1\nrubbish\n{code} ok one\n{code} ok 1\n")
    whole = gzip.compress(f"{code} ok 1\n".encode() * 2000)
    (tmp_path / "declen32.txt.gz").write_bytes(whole[: len(whole) // 2])
    run = run_suite(Options("declen", directory=tmp_path))
    assert not run.failed
    assert [error for error in run.errors if "declen64.txt.gz: line 2" in error]
    assert [error for error in run.errors if "declen64.txt.gz: line 3" in error]
    assert [error for error in run.errors if "declen32.txt.gz: case" in error and "cannot be read" in error]
    assert run.units[1].cases == 2


def test_a_missing_oracle_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(engines, "_engines", {})
    monkeypatch.setattr("x86emu.conform.engines.native.available", lambda: "the native oracle needs another host")
    assert main(["conform", "run", "--suite", "native", "--count", "80"]) == 2
    assert "There is no native oracle here: the native oracle needs another host" in capsys.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "unicorn", None)
    assert main(["conform", "run", "--suite", "unicorn", "--count", "80"]) == 2
    assert "pip install unicorn" in capsys.readouterr().err


def test_without_a_voter_the_peer_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the host cannot vote, what differs from Unicorn counts."""
    pytest.importorskip("unicorn")
    monkeypatch.setattr(engines, "_engines", {})
    monkeypatch.setattr("x86emu.conform.engines.native.available", lambda: "not here")
    run = run_suite(Options("unicorn", count=80, modes=(64,), rows=("FINCSTP",)))
    assert run.failed and not run.peer()
    assert engine_named("x86emu", "unicorn").features()
