"""Whole boots and work inside Linux, with the guests that `make guests` builds.

The quiet ISO is the kit's linux64.iso (ISOLINUX, Debian's cloud kernel, an initramfs of busybox) with another kernel
command line of the same length: quiet, on the serial line alone, and with a shell behind its marker.  The work inside
Linux is typed at that shell, so that every emulator gets the same image.
"""

from __future__ import annotations

import os
from pathlib import Path

from x86emu.bench.engines import Work
from x86emu.errors import UserInputError

APPEND = b"console=tty0 console=ttyS0,115200 gk.load=ata_piix,sr_mod,isofs gk.disk=sr0"
QUIET_APPEND = b"console=ttyS0,115200 quiet cryptomgr.notests gk.end=shell"
PROMPT = b"# "
COMMANDS = {
    "linux-shell": "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done",
    "linux-sha256": "head -c 24000000 /dev/zero | sha256sum",
    "linux-gzip": "head -c 12000000 /bin/busybox /bin/busybox /bin/busybox | gzip -9 | wc -c",
    "linux-dd": "dd if=/dev/zero of=/dev/null bs=1 count=120000 2>&1",
    "linux-fork": "i=0; while [ $i -lt 400 ]; do /bin/true; i=$((i+1)); done",
}
BOOTS = ("boot-seabios", "boot-iso", "boot-debian")
NAMES = (*BOOTS, *COMMANDS)


def directory() -> Path:
    """Where the guests are: X86EMU_GUESTS, or the cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "x86emu" / "guests"
    return Path(os.environ.get("X86EMU_GUESTS", cache))


def make_quiet_iso(source: Path, target: Path) -> Path:
    """A copy of linux64.iso with the quiet command line.  UserInputError where it is another kind of image."""
    contents = source.read_bytes()
    if contents.count(APPEND) != 1:
        raise UserInputError(f"{source}: has not the command line that the guest kit gives it; `make guests` builds it")
    target.write_bytes(contents.replace(APPEND, QUIET_APPEND.ljust(len(APPEND))))
    return target


def load(names: list[str], scratch: Path, boot_sector: Path) -> tuple[list[Work], list[str]]:
    """The work of these names, and a sentence for each that cannot be had; `boot_sector` is any of the kernels."""
    root = directory()
    iso, debian, quiet = root / "linux64.iso", root / "debian.img", scratch / "quiet.iso"
    found, missing = [], []
    for name in names:
        needed = {"boot-seabios": boot_sector, "boot-debian": debian}.get(name, iso)
        if not needed.exists():
            missing.append(
                f"{name}: {needed} is not there; "
                + (f"tests/guests/build.sh {root} debian" if name == "boot-debian" else "`make guests`") + " builds it"
            )  # fmt: skip
            continue
        if needed == iso and not quiet.exists():
            make_quiet_iso(iso, quiet)
        if name == "boot-seabios":
            found.append(Work(name, boot_sector, b"", b"MB-START", seabios=True))
        elif name == "boot-debian":
            found.append(Work(name, debian, b"", b"debian login: ", memory=512))
        elif name == "boot-iso":
            found.append(Work(name, quiet, b"", b"GK-MARK linux64-disk end", cdrom=True))
        else:
            # The markers are put together by the shell, so that its echo of the line is none.
            line = f"echo BENCH-$((40+2))-START; {COMMANDS[name]}; echo BENCH-$((40+2))-END\n".encode()
            found.append(
                Work(name, quiet, b"BENCH-42-START", b"BENCH-42-END", cdrom=True, typed=((PROMPT, line),))
            )  # fmt: skip
    return found, missing
