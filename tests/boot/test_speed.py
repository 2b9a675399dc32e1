"""How long the 64-bit boot takes, in CPU seconds of the whole process; the figure is printed in the test summary."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.boot.kit import ROOT, firmware, linux64

# The aim is 10 on a 250-MIPS host; a shared continuous-integration machine gets twice that.
LIMIT = 20.0


def test_boot_takes_few_cpu_seconds(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-m", "x86emu", "boot", *firmware(), *map(str, linux64()), "--append", "console=ttyS0"],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    seconds = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    sentence = done.stderr.strip().splitlines()[-1].removeprefix("x86emu: ")
    record_property("figure", f"64-bit boot: {seconds:.1f} CPU seconds; {sentence}")
    assert seconds < LIMIT, sentence
