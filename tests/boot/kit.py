"""Runs whole machines by the command line, as a user would, and reads their consoles.

The guests come from tests/guests/build.sh (`make guests`); X86EMU_GUESTS names their directory.  Each prints GK-MARK
lines on its serial console (tests/guests/src/init).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("X86EMU_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "x86emu")
GUESTS = Path(os.environ.get("X86EMU_GUESTS") or CACHE / "guests").expanduser()
INSTALLED = Path("/usr/share/seabios")
# Host seconds after which a guest is taken to hang.  A boot takes 3 to 30 of them on an idle host.
PATIENCE = 400


def guest(name: str) -> Path:
    """A file of the guest kit.  Where it was not built the test is skipped, in continuous integration it fails."""
    path = GUESTS / name
    if not path.exists():
        sentence = f"{path} is not built; `make guests` builds it"
        if os.environ.get("CI") == "true":
            pytest.fail(sentence)
        pytest.skip(sentence)
    return path


def firmware() -> list[str]:
    """Options that name Debian's SeaBIOS where it is not installed but unpacked by the guest kit."""
    if (INSTALLED / "bios-256k.bin").exists() and (INSTALLED / "vgabios-stdvga.bin").exists():
        return []
    return ["--bios", str(guest("bios/bios-256k.bin")), "--vga-rom", str(guest("bios/vgabios-stdvga.bin"))]


@dataclass
class Run:
    """What came of a run: exit code, the serial console, standard error, and the counters of --stats."""

    code: int
    serial: str
    errors: str
    stats: Path

    @cached_property
    def counters(self) -> dict[str, object]:
        return json.loads(self.stats.read_text())  # type: ignore[no-any-return]

    @property
    def marks(self) -> list[str]:
        """The GK-MARK lines without the mark and without the uptime."""
        found = re.findall(r"GK-MARK ([^\r\n]*)", self.serial)
        return [re.sub(r" up=[\d.]+$", "", line) for line in found]

    def __repr__(self) -> str:
        return f"exit code {self.code}\n{self.errors}\n{self.serial[-3000:]}"


def boot(tmp_path: Path, *options: str | Path, tree: Path = ROOT, patience: int = PATIENCE) -> Run:
    """`python -m x86emu boot OPTIONS` without input, from the checkout `tree`; it hangs after `patience` seconds."""
    stats = tmp_path / "stats.json"
    command = [sys.executable, "-m", "x86emu", "boot", *firmware(), *map(str, options), "--stats", str(stats)]
    if "--timeout" not in options:
        command += ["--timeout", str(patience)]
    done = subprocess.run(
        command, cwd=tree, stdin=subprocess.DEVNULL, capture_output=True, timeout=patience + 100, check=False
    )
    return Run(done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1"), stats)


def linux64() -> list[str | Path]:
    """The amd64 kernel by --kernel, without its command line."""
    return ["--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64.cpio.gz")]
