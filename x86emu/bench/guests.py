"""Whole boots and work inside Linux, with the guests that `make guests` builds."""

from __future__ import annotations

import os
from pathlib import Path

from x86emu.bench.engines import Work

APPEND = "console=ttyS0,115200 quiet cryptomgr.notests gk.end=shell"
PROMPT = b"# "
COMMANDS = {
    "linux-shell": "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done",
    "linux-sha256": "head -c 24000000 /dev/zero | sha256sum",
    "linux-gzip": "head -c 12000000 /bin/busybox /bin/busybox /bin/busybox | gzip -9 | wc -c",
    "linux-dd": "dd if=/dev/zero of=/dev/null bs=1 count=120000 2>&1",
    "linux-fork": "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done",
}
NAMES = ("boot-iso", *COMMANDS)


def directory() -> Path:
    """Where the guests are: X86EMU_GUESTS, or the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "x86emu" / "guests"
    return Path(os.environ.get("X86EMU_GUESTS", cache))


def load(names: list[str]) -> tuple[list[Work], list[str]]:
    """The work of these names, and a sentence for each that cannot be had."""
    root = directory()
    kernel, initrd, iso = root / "linux64.vmlinuz", root / "linux64.cpio.gz", root / "linux64.iso"
    found, missing = [], []
    for name in names:
        needed = (iso,) if name == "boot-iso" else (kernel, initrd)
        absent = [path for path in needed if not path.exists()]
        if absent:
            missing.append(f"{name}: {absent[0]} is not there; `make guests` builds it")
        elif name == "boot-iso":
            found.append(Work(name, iso, b"ISOLINUX", b"GK-MARK linux64 up", cdrom=True))
        else:
            # The markers are put together by the shell, so that its echo of the line is none.
            line = f"echo BENCH-$((40+2))-START; {COMMANDS[name]}; echo BENCH-$((40+2))-END\n".encode()
            found.append(
                Work(
                    name, kernel, b"BENCH-42-START", b"BENCH-42-END", typed=((PROMPT, line),), initrd=initrd,
                    append=APPEND,
                )
            )  # fmt: skip
    return found, missing
