"""What a person does: firmware on the screen, a shell on the serial port, and the ways in which a run ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.boot.kit import boot, linux64
from tests.boot.terminal import Terminal


@pytest.fixture(params=[1, 4], ids=["1 cpu", "4 cpu"])
def shell(request: pytest.FixtureRequest) -> Iterator[Terminal]:
    terminal = Terminal(*linux64(), "--append", "console=ttyS0 gk.end=shell", "--smp", str(request.param))
    yield terminal
    terminal.close()


def test_interactive_shell(shell: Terminal) -> None:
    shell.wait_for("shell; 'poweroff -f' ends")
    shell.wait_for("# ")
    shell.type("echo answer $((6 * 7)) $(uname -m)\n")
    shell.wait_for("answer 42 x86_64")
    shell.wait_for("# ")
    shell.type("i=0; while [ $i -lt 5 ]; do i=$((i + 1)); echo line $i | sed s/line/LINE/; done\n")
    shell.wait_for("LINE 5")
    shell.wait_for("# ")
    shell.type("poweroff -f\n")
    shell.wait_for("the guest powered off")
    assert shell.exit_code() == 0


def test_ctrl_a_x_quits() -> None:
    terminal = Terminal(*linux64(), "--append", "console=ttyS0 gk.end=idle")
    try:
        terminal.wait_for("end=idle")
        terminal.type("\x01x")
        assert terminal.exit_code() == 8
    finally:
        terminal.close()


def test_firmware_alone(tmp_path: Path) -> None:
    log = tmp_path / "debug.log"
    run = boot(tmp_path, "--display", "text", "--debugcon", log, "--expect", "No bootable device.")
    assert run.code == 0, run
    text = log.read_text()
    assert "SeaBIOS (version" in text
    assert text.index("Booting from Hard Disk") < text.index("No bootable device.")
    assert "SeaBIOS (version" in run.serial, "the VGA screen, printed at the end"


def test_reboot_runs_the_firmware_again_until_the_instructions_are_done(tmp_path: Path) -> None:
    limit = 3_400_000_000  # twice the 1.5 thousand million of one boot, and some of the third
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0 gk.end=reboot", "--max-instructions", str(limit))
    assert run.code == 6, run
    assert run.counters["instructions"] == limit
    assert len([mark for mark in run.marks if mark.startswith("linux64 booted")]) == 2, run


def test_reset_ends_the_run_when_asked(tmp_path: Path) -> None:
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0 gk.end=reboot", "--no-reboot")
    assert run.code == 7, run
    assert run.marks[-1] == "linux64 end=reboot"


def test_expectation_met(tmp_path: Path) -> None:
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0", "--expect", "Linux version 6.1")
    assert run.code == 0, run
    assert "Linux version 6.1" in run.serial
    assert run.marks == [], "it ended long before the guest's own end"


def test_expectation_not_met(tmp_path: Path) -> None:
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0 quiet", "--expect", "no guest says this")
    assert run.code == 3, run


def test_time_out(tmp_path: Path) -> None:
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0 gk.end=idle", "--timeout", "2")
    assert run.code == 4, run


def test_halt_for_good(tmp_path: Path) -> None:
    """CLI; HLT on every processor: timers may tick on, but nothing can wake one."""
    run = boot(tmp_path, *linux64(), "--append", "console=ttyS0 gk.end=halt", "--max-instructions", "4000000000")
    assert run.code == 9, run
    assert run.marks[-1] == "linux64 end=halt"
