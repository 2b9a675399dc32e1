"""The small hypervisor of tests/guests/src/svm_hypervisor.asm: every kind of exit once, each field checked."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from x86emu.firmware.bios import default_bios
from x86emu.machine import Machine, MachineConfig

SOURCE = Path(__file__).resolve().parents[1] / "guests" / "src" / "svm_hypervisor.asm"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("nasm") is None:
        pytest.skip("nasm is not installed: apt-get install nasm")
    out = tmp_path_factory.mktemp("svm") / "svm_hypervisor.elf"
    subprocess.run(["nasm", "-f", "bin", "-w+all", "-o", str(out), str(SOURCE)], check=True)
    return out


@pytest.mark.parametrize("cpu", ["epyc_genoa", "max"])
def test_every_kind_of_exit_once(image: Path, cpu: str) -> None:
    machine = Machine(
        config=MachineConfig(bios=default_bios(), memory=64 << 20, cpu=cpu, kernel=image, debug_exit_port=0xF4)
    )
    result = machine.run(200_000_000)
    text = machine.serial.text
    names = re.findall(r'^ROW "([^"]+)"', SOURCE.read_text(encoding="ascii"), re.MULTILINE)
    assert "BAD" not in text, text
    assert re.findall(r"^ok (.*?)\r?$", text, re.MULTILINE) == names
    assert f"cases {len(names):016x} wrong {0:016x}" in text
    assert result.status == 1, result.sentence
    assert machine.engine.cpus[0].exit_count == len(names)
    # what explain says about the same run
    words = machine.explain(64)
    assert "VMRUN refused: the ASID is 0 (APM 2, 15.5.1; asid_zero): guest_asid = 0x0." in words
    assert "guest-physical 0x40000008: user, final address" in words
    assert "linear 0x40000008 -> guest-physical 0x40000008 -> physical not mapped" in words
    assert "mov rdx, cr8" in words
    counted = {row["reason"]: row["count"] for row in machine.stats()["exits"][0]}
    assert (counted["NPF"], counted["CPUID"], counted["INVALID"], counted["SHUTDOWN"]) == (2, 1, 1, 2)
