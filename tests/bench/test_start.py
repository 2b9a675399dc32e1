"""What it costs to begin: the command line, a machine, its memory; and what devices in Python and absent hooks cost.

Times are CPU time, the least of some tries, and limits are several times what is measured, so that a busy host does not
fail them; what they are aimed at is in docs/performance.md.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from x86emu.machine import Machine

GIB = 1 << 30
# Real mode: mov ecx, 200000; loop: in al, dx / dec ecx / jnz loop; cli; hlt
PORT_LOOP = bytes.fromhex("ba0050 66b9400d0300 ec 6649 75fb faf4")
PORT_READS = 200_000
# Real mode: mov ecx, 3000000; loop: add eax, ecx / rol eax, 3 / dec ecx / jnz loop; cli; hlt
COUNT_LOOP = bytes.fromhex("66b9c0c62d00 6601c8 66c1c003 6649 75f5 faf4")


def least_cpu_seconds(action: Callable[[], object], tries: int = 3) -> float:
    """Least CPU time of some tries."""
    seconds = []
    for _ in range(tries):
        began = time.process_time()
        action()
        seconds.append(time.process_time() - began)
    return min(seconds)


def resident_mib() -> float:
    """Resident memory of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("the host tells no resident memory")


def start(machine: Machine, code: bytes) -> None:
    """Puts code at 8000h of a fresh machine, in real mode."""
    machine.memory.write(0x8000, code)
    processor = machine.engine.cpus[0]
    processor.cs.selector, processor.cs.base, processor.rip = 0, 0, 0x8000


def test_a_machine_runs_without_what_only_some_runs_need() -> None:
    """Half of a short run's time was the import of NumPy, which pictures, sound files, qcow2 and `memory.ram` need."""
    program = (
        "import sys; from x86emu.machine import Machine; machine = Machine(); machine.run(max_instructions=1000);"
        "print(*sorted(name for name in sys.modules if name in ('numpy', 'x86emu.network.user',"
        " 'x86emu.virt.collect', 'x86emu.isa.disassembler', 'x86emu.storage.qcow2')), machine.instructions,"
        " machine.memory.ram[:4].nbytes, machine.screenshot().pixels.ndim)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1000", "4", "2"]


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys; from x86emu.cli import build_parser; build_parser().format_help();"
        "print(*sorted(name for name in sys.modules if name.partition('.')[0] in ('numpy', 'elftools', 'matplotlib')"
        " or name.startswith(('x86emu._core', 'x86emu.core', 'x86emu.machine', 'x86emu.isa'))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_help_is_there_at_once() -> None:
    def ask() -> None:
        subprocess.run([sys.executable, "-m", "x86emu", "--help"], stdout=subprocess.DEVNULL, check=True)

    def children() -> float:
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return usage.ru_utime + usage.ru_stime

    seconds = []
    for _ in range(3):
        began = children()
        ask()
        seconds.append(children() - began)
    assert min(seconds) < 0.3, seconds  # measured: 0.06


def test_a_machine_of_a_gibibyte_is_built_in_no_time_and_takes_no_memory() -> None:
    Machine(memory="1G").close()  # with what is imported for the first
    before = resident_mib()
    machines = []
    seconds = least_cpu_seconds(lambda: machines.append(Machine(memory="1G")))
    grown = resident_mib() - before
    for machine in machines:
        machine.close()
    assert seconds < 0.3, seconds  # measured: 0.03
    assert grown < 3 * 64, f"{grown:.0f} MiB resident for three machines"  # measured: 17 each, 16 of display memory


def test_ram_that_the_guest_does_not_touch_is_not_resident() -> None:
    with Machine(memory="2G") as machine:
        before = resident_mib()
        machine.run(max_instructions=8_000_000)  # the firmware, and what it does with memory
        machine.memory.write(GIB, b"touched")
        assert resident_mib() - before < 64
        assert machine.memory.read(GIB + 5, 4) == b"ed\0\0"


def test_two_million_port_accesses_a_second_to_a_device_in_python() -> None:
    with Machine(memory="16M") as machine:
        offsets: list[int] = []

        def read(offset: int, size: int) -> int:
            offsets.append(offset)
            return 0x5A

        machine.ports.map(0x5000, 8, read, None, "test", sizes=(1,))
        seconds = []
        for _ in range(3):
            machine.engine.cpus[0].reset()
            start(machine, PORT_LOOP)
            offsets.clear()
            began = time.process_time()
            machine.run(max_instructions=PORT_READS * 3 + 2)
            seconds.append(time.process_time() - began)
            assert len(offsets) == PORT_READS
        assert PORT_READS / min(seconds) > 2e6, f"{PORT_READS / min(seconds) / 1e6:.1f} million accesses a second"


def test_a_run_without_hooks_pays_nothing_for_them() -> None:
    with Machine(memory="16M") as machine:

        def run() -> None:
            start(machine, COUNT_LOOP)
            machine.run(max_instructions=12_000_000)

        run()
        never_hooked = least_cpu_seconds(run, 5)
        lines: list[str] = []
        machine.trace(lines.append)
        start(machine, COUNT_LOOP)
        machine.run(max_instructions=1000)
        machine.trace(None)
        assert len(lines) == 1000
        run()
        hooked_before = least_cpu_seconds(run, 5)
        assert len(lines) == 1000 and hooked_before < never_hooked * 1.5, (never_hooked, hooked_before)
