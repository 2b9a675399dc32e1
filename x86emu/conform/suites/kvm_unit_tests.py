"""kvm-unit-tests: prebuilt flat images, each run as a multiboot kernel on a whole machine of this package.

An image ends by writing its verdict to the debug-exit port F4h: the exit status is 2 * v + 1, and 1 is success, 77 * 2
+ 1 is "skipped"; it prints PASS:, FAIL:, SKIP: lines to the serial port.
"""

from __future__ import annotations

import re
import time
from pathlib import Path

from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError, X86EmuError

_LINE = re.compile(r"^(PASS|FAIL|SKIP|XFAIL|XPASS): (.*?)\s*$", re.MULTILINE)
MAX_INSTRUCTIONS = 2_000_000_000
MEMORY = 512 << 20


class _KvmUnitTests:
    name = "kvm-unit-tests"
    title = "kvm-unit-tests: prebuilt flat images, on a whole machine"
    oracle = "the tests themselves"
    needs_directory = True

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        if options.engine != "x86emu":
            raise UserInputError("The suite kvm-unit-tests runs whole machines; only the engine x86emu has them.")
        directory = options.directory or Path()
        names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*.flat"))
        if not names:
            raise UserInputError(
                f"There are no *.flat images in {directory}; give the directory of a built kvm-unit-tests."
            )
        return names

    def run(self, unit: str, options: Options) -> UnitResult:
        from x86emu.firmware.bios import default_bios
        from x86emu.machine import Machine, MachineConfig, StopReason

        path = (options.directory or Path()) / unit
        result = UnitResult(unit)
        start = time.process_time()
        try:
            machine = Machine(
                config=MachineConfig(
                    bios=default_bios(), memory=MEMORY, cpus=1, cpu=options.extra.get("cpu", "max"), kernel=path,
                    debug_exit_port=0xF4,
                )
            )  # fmt: skip
            ended = machine.run(MAX_INSTRUCTIONS)
        except X86EmuError as error:
            result.errors.append(f"{path}: {error}")
            return result
        result.seconds = time.process_time() - start
        lines = _LINE.findall(machine.serial.text)
        status = ended.status if ended.reason is StopReason.DEBUG_EXIT else None
        bad = [text for verdict, text in lines if verdict in ("FAIL", "XPASS")]
        result.cases = max(1, len(lines))
        result.failed = len(bad) if bad or status in (1, 155) else 1
        if result.failed:
            result.failed_rows[unit] = result.failed
            result.failures.append(
                Failure(unit, "", "", 64, unit, bad[:50] or [f"ended without success: {ended.sentence}"])
            )
        return result


SUITE = _KvmUnitTests()
