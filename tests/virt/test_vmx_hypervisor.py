"""The hypervisor of tests/guests/src/vmx_hypervisor.asm: it takes each kind of exit once and checks every field."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from x86emu.firmware.bios import default_bios
from x86emu.machine import Machine, MachineConfig, StopReason

SOURCE = Path(__file__).parents[1] / "guests" / "src" / "vmx_hypervisor.asm"


def test_every_exit_is_as_its_table_says(tmp_path: Path) -> None:
    if shutil.which("nasm") is None:
        pytest.skip("nasm is not installed; scripts/setup.sh system installs it")
    kernel = tmp_path / "vmx_hypervisor.elf"
    subprocess.run(["nasm", "-f", "bin", "-o", kernel, SOURCE], check=True, timeout=60)
    machine = Machine(
        config=MachineConfig(bios=default_bios(), cpu="sapphire_rapids", kernel=kernel, debug_exit_port=0xF4)
    )
    ended = machine.run(20_000_000)
    text = machine.serial.text
    assert ended.reason is StopReason.DEBUG_EXIT, text
    lines = text.splitlines()
    assert [line for line in lines if not line.startswith("ok ")] == [f"{len(lines) - 1:016x} exits taken"]
    assert len(lines) > 55
    assert ended.status == 1  # 2 * 0 + 1
