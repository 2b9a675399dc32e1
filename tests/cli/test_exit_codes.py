"""The exit codes of docs/boot.md, each by a firmware of a few instructions."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from tests.machine import tiny_bios as bios
from x86emu.cli import ExitCode, main


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bios.bin"


def boot(path: Path, *options: str) -> int:
    return main(["boot", "--bios", str(path), "--memory", "4M", "--serial", "none", *options])


@pytest.mark.parametrize(
    ("code", "options", "expected"),
    [
        (bios.POWER_OFF, [], ExitCode.OK),
        (bios.say("ready") + bios.FOREVER, ["--expect", "ready"], ExitCode.OK),
        (bios.say("read") + bios.POWER_OFF, ["--expect", "ready"], ExitCode.EXPECTATION_NOT_MET),
        (bios.FOREVER, ["--timeout", "0.1"], ExitCode.TIME_OUT),
        (bios.TRIPLE_FAULT, [], ExitCode.TRIPLE_FAULT),
        (bios.FOREVER, ["--max-instructions", "1000"], ExitCode.INSTRUCTION_LIMIT),
        (bios.RESET + bios.FOREVER, ["--no-reboot"], ExitCode.GUEST_RESET),
        (bios.HALT, [], ExitCode.HALTED),
        (bios.out8(0xF4, 0x10), ["--debug-exit"], 0x21),
        (bios.out8(0x501, 0x7F), ["--debug-exit", "0x501"], 0xFF),
    ],
)
def test_exit_codes(
    path: Path, capsys: pytest.CaptureFixture[str], code: bytes, options: list[str], expected: int
) -> None:
    bios.write(path, code, bios.HALT)
    assert boot(path, *options) == expected
    captured = capsys.readouterr()
    assert captured.err.startswith("x86emu: ") and captured.err.count("\n") == 1


def test_quiet_says_nothing(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bios.write(path, bios.POWER_OFF, bios.HALT)
    assert boot(path, "--quiet") == 0
    assert capsys.readouterr() == ("", "")


def test_files_of_a_run(path: Path, tmp_path: Path) -> None:
    bios.write(path, bios.say("serial"), bios.say("firmware", 0x402), bios.POWER_OFF, bios.HALT)
    serial, debug, stats, trace = (tmp_path / name for name in ("serial", "debug", "stats", "trace"))
    options = ["--debugcon", str(debug), "--stats", str(stats), "--trace", str(trace)]
    assert main(["boot", "--bios", str(path), "-m", "4M", "--serial", f"file:{serial}", "-q", *options]) == 0
    assert serial.read_bytes() == b"serial"
    assert debug.read_bytes() == b"firmware"
    counters = json.loads(stats.read_text())
    assert counters["instructions"] == len(trace.read_text().splitlines()) > 50
    assert counters["ports"]["COM1"]["writes"] == 7


def test_text_screen_is_printed(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bios.write(path, bios.POWER_OFF, bios.HALT)
    assert boot(path, "--display", "text", "-q") == 0
    assert capsys.readouterr().out.strip() == ""


def test_list_of_models(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["boot", "--cpu", "help"]) == 0
    text = capsys.readouterr().out
    assert "i80386" in text and "features: " in text


def test_terminal_is_put_back_when_the_run_is_terminated(path: Path) -> None:
    bios.write(path, bios.say("up"), bios.FOREVER)
    master, slave = os.openpty()
    before = termios.tcgetattr(slave)
    run = subprocess.Popen(
        [sys.executable, "-m", "x86emu", "boot", "--bios", str(path), "-m", "4M"],
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    output = b""
    while b"up" not in output:
        output += os.read(master, 100)
    assert not termios.tcgetattr(slave)[3] & termios.ICANON
    run.terminate()
    assert run.wait(30) == 128 + signal.SIGTERM
    assert termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
