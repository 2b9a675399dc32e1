"""The benchmark command: kernels give the right checksum here, figures and ratios are what they say, bad input."""

from __future__ import annotations

import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from x86emu.bench import direct, growth, guests, kernels, measure, report
from x86emu.bench.engines import X86Emu
from x86emu.bench.report import Figure
from x86emu.cli import ExitCode, main
from x86emu.errors import UserInputError
from x86emu.machine import Machine

nasm = pytest.mark.skipif(shutil.which("nasm") is None, reason="needs nasm; apt-get install nasm")


@nasm
@pytest.mark.parametrize("name", kernels.NAMES)
def test_a_kernel_has_its_checksum_and_its_instruction_count(name: str, tmp_path: Path) -> None:
    (kernel,) = kernels.load([name], 1)
    model = X86Emu.MODELS.get(kernel.virtualization, "default")
    with Machine(cpu=model) as machine:
        direct.start(machine, kernels.assemble(kernel, tmp_path).read_bytes())
        machine.run(max_instructions=400_000_000, until="MB-DONE")
        assert kernels.verdict(kernel, bytes(machine.serial.output), counted=True) == "", machine.serial.text


@nasm
def test_a_kernel_boots_from_a_disk(tmp_path: Path) -> None:
    (kernel,) = kernels.load(["real16"], 1)
    with Machine(disk=f"{kernels.assemble(kernel, tmp_path)},snapshot") as machine:
        machine.run(max_instructions=400_000_000, until="MB-DONE")
        assert kernels.verdict(kernel, bytes(machine.serial.output), counted=True) == "", machine.serial.text


def test_all_kernels_are_there() -> None:
    assert len(kernels.NAMES_64) + len(kernels.NAMES_32) == 45
    assert {kernel.source for kernel in kernels.load(list(kernels.NAMES), 20)} <= {
        path.stem for path in kernels.DIRECTORY.glob("*.asm")
    }


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


def test_a_wrong_checksum_or_count_does_not_count() -> None:
    (kernel,) = kernels.load(["fib"], 1)
    line = f"MB-END fib scale=1 insns={kernel.instructions} sum={{}} tsc={{:016x}} OK\n"
    right = kernel.instructions + 8
    assert kernels.verdict(kernel, line.format(kernel.checksum, right).encode(), counted=True) == ""
    assert kernels.verdict(kernel, line.format(kernel.checksum, 5).encode()) == ""
    told = kernels.verdict(kernel, line.format(kernel.checksum, right - 1).encode(), counted=True)
    assert told == "32910644 instructions instead of 32910645"
    assert kernels.verdict(kernel, line.format("0" * 16, right).encode()).startswith(
        "checksum 0000000000000000 instead"
    )
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
    text = report.table(figures, {"x86emu": "1", "peer": "2", "third": "3"})
    assert text.startswith("| guest | x86emu | MiB | peer | MiB | ratio |\n")
    assert "| one | 1 ±9 | 2 | 0.5 |  | 2 |" in text
    assert text.endswith("| geometric mean | 1.41 |  | 1.41 |  | 1 |")
    assert Figure("vmrun", "x86emu", [0.5], 1, 3, trips=1_000_000).shown == "500 ns"
    assert Figure("boot", "x86emu", [], 1, 0, "not done in 5 s").shown == "not done in 5 s"
    assert math.isnan(report.geometric_mean([]))


def test_speed_inside_a_guest_is_set_against_that_outside() -> None:
    figures = [Figure("fib", "x86emu", [1.0], 0, 100), Figure("fib-svm", "x86emu", [1.25], 0, 100)]
    assert report.inside_and_outside(figures) == [
        "Inside a guest, as a share of the speed outside, x86emu: fib-svm 0.80."
    ]
    assert [report.group_of(name) for name in ("fib", "fib-32", "fib-svm", "boot-iso")] == [
        "Kernels", "32-bit kernels", "Virtualization", "Boots, and work inside Linux",
    ]  # fmt: skip


def test_tables_go_between_the_marks_of_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    beginning, ending = report.marks("figures")
    page.write_text(f"before\n{beginning}\nold\n{ending}\nbehind\n")
    report.document(page, "new")
    assert page.read_text() == f"before\n{beginning}\n\nnew\n\n{ending}\nbehind\n"
    ours = (kernels.DIRECTORY.parents[1] / "docs" / "performance.md").read_text()
    assert all(mark in ours for name in ("figures", "growth") for mark in report.marks(name))
    page.write_text("no marks\n")
    with pytest.raises(UserInputError, match="has no"):
        report.document(page, "new")


def test_the_quiet_iso_is_the_kits_with_another_command_line(tmp_path: Path) -> None:
    iso = tmp_path / "linux64.iso"
    iso.write_bytes(b"head APPEND " + guests.APPEND + b"\ntail")
    quiet = guests.make_quiet_iso(iso, tmp_path / "quiet.iso").read_bytes()
    assert len(quiet) == iso.stat().st_size and b"APPEND " + guests.QUIET_APPEND + b" " in quiet
    assert quiet.endswith(b"\ntail")
    iso.write_bytes(b"another")
    with pytest.raises(UserInputError, match="has not the command line"):
        guests.make_quiet_iso(iso, tmp_path / "quiet.iso")


def test_a_boot_is_measured_from_the_start_of_the_process_on(tmp_path: Path) -> None:
    spin = "import time\nwhile time.process_time() < 0.3: pass\nprint('A', flush=True)\ninput()"
    result = measure.run([sys.executable, "-c", spin], start=b"", end=b"A", timeout=60)
    assert result.problem == "" and 0.28 < result.seconds < 0.4


def test_markers_and_typing_through_a_terminal(tmp_path: Path) -> None:
    line = tmp_path / "line"
    program = f"f=open({str(line)!r},'r+b',0); f.write(b'> '); r=f.readline(); f.write(b'GOT '+r+b'END')\nf.read()"
    result = measure.run(
        [sys.executable, "-c", program], start=b"GOT", end=b"END", timeout=60, typed=[(b"> ", b"hello\n")], serial=line
    )
    assert result.problem == "" and b"GOT hello\nEND" in result.output and not line.exists()


@nasm
def test_growth_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    curves = tuple(replace(curve, places=curve.places[:2]) for curve in growth.CURVES[2:4])
    measured = growth.measure(1, kernels.DIRECTORY, curves)
    assert [curve["places"] for curve in measured] == [[1, 2], [1, 16]]
    assert all(mips > 10 for curve in measured for mips in curve["mips"])
    assert "| all of them calculate (together) | processors | 1: " in growth.table(measured)


@nasm
def test_all_processors_calculate(tmp_path: Path) -> None:
    image = kernels.assemble_source("growth_smp", tmp_path / "smp.img", kernels.DIRECTORY, ["-DMB_MODE=64"])
    with growth._machine(cpus=4) as machine:
        direct.start(machine, image.read_bytes())
        machine.run(until="MB-END", max_instructions=400_000_000)
        assert all(cpu.instructions > 1_000_000 for cpu in machine.cpus), [cpu.instructions for cpu in machine.cpus]


def test_further_devices_are_mapped() -> None:
    with growth._with_devices(64) as machine:
        for space, name in ((machine.mmio, "registers"), (machine.ports, "ports")):
            assert sum(region.name.startswith(name) for region in space.regions_by_address()) == 32


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nonsense"], "nonsense: is no kernel, no guest and no group"),
        (["fib", "--scale", "3"], "--scale 3: has no expected results"),
        (["fib", "--runs", "0"], "--runs 0: nothing would be measured"),
        (["fib", "--kernels", "/nowhere"], "/nowhere: holds no benchmark kernels"),
        (["fib", "--compare", "/nowhere.json"], "/nowhere.json: cannot be read"),
        (["fib", "--compare", "{}/broken.json"], "is no result of x86emu bench"),
        (["fib-32", "--host-instructions"], "--host-instructions fib-32: is not counted"),
    ],
)
def test_bad_input(arguments: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.json").write_text(json.dumps({"figures": [{"guest": 1}]}))
    assert main(["bench", *(argument.format(tmp_path) for argument in arguments)]) == ExitCode.UNUSABLE_INPUT
    assert sentence in capsys.readouterr().err
