"""The benchmark command: kernels give the right checksum here, figures and ratios are what they say, bad input."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest

from x86emu.bench import kernels, measure, report
from x86emu.bench.report import Figure
from x86emu.cli import ExitCode, main
from x86emu.machine import Machine

nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="needs nasm; apt-get install nasm")


@nasm
@pytest.mark.parametrize("name", ["fib", "real16", "intr-32", "smc", "samepage", "tlb", "sysc", "portio-32"])
def test_a_kernel_prints_its_checksum(name: str, tmp_path: Path) -> None:
    (kernel,) = kernels.load([name], 1)
    image = kernels.assemble(kernel, tmp_path)
    with Machine(disk=f"{image},snapshot") as machine:
        machine.run(max_instructions=400_000_000, until="MB-DONE")
        assert kernels.verdict(kernel, machine.serial.output) == "", machine.serial.text


@nasm
def test_a_run_is_stored_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stored = tmp_path / "run.json"
    arguments = ["bench", "fib", "--scale", "1", "--runs", "2"]
    assert main([*arguments, "-o", str(stored)]) == ExitCode.OK
    figures, engines = report.read(stored)
    assert [figure.guest for figure in figures] == ["fib"] and list(engines) == ["x86emu"]
    assert len(figures[0].seconds) == 2 and figures[0].peak_kib > 10_000 and figures[0].instructions == 32_910_645
    assert main([*arguments, "--compare", str(stored)]) == ExitCode.OK
    assert "| geometric mean | | |" in capsys.readouterr().out


def test_a_wrong_checksum_does_not_count() -> None:
    (kernel,) = kernels.load(["fib"], 1)
    line = f"MB-END fib scale=1 insns={kernel.instructions} sum={{}} tsc=00 OK\n"
    assert kernels.verdict(kernel, line.format(kernel.checksum).encode()) == ""
    assert kernels.verdict(kernel, line.format("0" * 16).encode()).startswith("checksum 0000000000000000 instead")
    assert kernels.verdict(kernel, b"MB-FAULT vector 0D\n") == "printed no result"


def test_seconds_are_those_between_the_markers() -> None:
    spin = "import time; t=time.process_time()\nwhile time.process_time()<t+{}: pass"
    program = f"{spin.format(0.3)}\nprint('A',flush=True)\n{spin.format(0.2)}\nprint('B',flush=True)\ninput()"
    result = measure.run([sys.executable, "-c", program], start=b"A\n", end=b"B\n", timeout=60)
    assert result.problem == "" and 0.15 < result.seconds < 0.26 and result.peak_kib > 1000
    gone = measure.run([sys.executable, "-c", "print('A')"], start=b"A\n", end=b"B\n", timeout=60)
    assert gone.problem == "ended with 0 before its marker"


def test_ratios_and_means() -> None:
    figures = [
        Figure("one", "x86emu", [1.0, 1.2, 1.1], 2048, 1_100_000),
        Figure("one", "peer", [2.2], 0, 1_100_000),
        Figure("two", "x86emu", [0.5], 2048, 1_000_000),
        Figure("two", "peer", [0.25], 0, 1_000_000),
    ]
    assert figures[0].mips == pytest.approx(1.0) and figures[0].spread == pytest.approx(0.1 / 1.1)
    text = report.table(figures, {"x86emu": "1", "peer": "2"})
    assert "| one | 1 | 9 | 2 | 0.5 | 2 |" in text and text.endswith("| geometric mean | 1.41 |  |  | 1.41 | 1 |")
    assert math.isnan(report.geometric_mean([]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "nonsense: is neither a kernel nor a guest"),
        (["fib", "--scale", "3"], "--scale 3: has no expected results"),
        (["fib", "--runs", "0"], "--runs 0: nothing would be measured"),
        (["fib", "--kernels", "/nowhere"], "/nowhere: holds no benchmark kernels"),
        (["fib", "--compare", "/nowhere.json"], "/nowhere.json: cannot be read"),
        (["fib", "--compare", "{}/broken.json"], "is no result of x86emu bench"),
    ],
)
def test_bad_input(arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text(json.dumps({"figures": [{"guest": 1}]}))
    assert main(["bench", *(argument.format(tmp_path) for argument in arguments)]) == ExitCode.UNUSABLE_INPUT
    assert sentence in capsys.readouterr().err
