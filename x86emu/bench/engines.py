"""Who runs the guests: this emulator, and the peers that are installed.  Each is a command line and a version."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from x86emu import __version__
from x86emu.bench import measure
from x86emu.bench.kernels import END, START, Kernel, verdict
from x86emu.bench.measure import Measurement

PEER_SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
MEMORY_MIB = 256
BOCHS_FILES = Path("/usr/share/bochs")


def output_of(command: list[str]) -> str:
    """What a command prints, both streams; empty where it cannot be run."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Work:
    """What to run: an image (disk or ISO), or a flat routine, between two markers."""

    name: str
    image: Path
    start: bytes = START
    end: bytes = END
    flat: Path | None = None
    cdrom: bool = False
    kernel: Kernel | None = None
    memory: int = MEMORY_MIB
    typed: tuple[tuple[bytes, bytes], ...] = ()
    initrd: Path | None = None  # `image` is a Linux kernel then, loaded directly
    append: str = ""


class Engine:
    """One emulator.  `version` is empty where it is not installed."""

    name = ""
    scratch: Path

    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.version = self.find_version()

    def find_version(self) -> str:
        """Version and kind of build."""
        raise NotImplementedError

    def command(self, work: Work) -> list[str] | None:
        """The command, or None where this emulator cannot run such work."""
        raise NotImplementedError

    def serial(self) -> Path | None:
        """A FIFO by which the guest's serial output comes, or None for standard output."""
        return None

    def run(self, work: Work, timeout: float) -> Measurement | None:
        """One run; None where this emulator cannot do it."""
        command = self.command(work)
        if command is None:
            return None
        result = measure.run(
            command, start=work.start, end=work.end, timeout=timeout, typed=list(work.typed), serial=self.serial()
        )
        if work.kernel is not None and not result.problem:
            problem = verdict(work.kernel, result.output)
            result = Measurement(result.seconds, result.peak_kib, result.output, problem)
        return result


class X86Emu(Engine):
    """This package, as `x86emu boot` runs it."""

    name = "x86emu"

    def find_version(self) -> str:
        return __version__

    def command(self, work: Work) -> list[str]:
        medium = (
            ["--cdrom", str(work.image), "--boot", "d"] if work.cdrom else ["--disk", str(work.image), "--snapshot"]
        )
        if work.initrd is not None:
            medium = ["--kernel", str(work.image), "--initrd", str(work.initrd), "--append", work.append]
        return [sys.executable, "-m", "x86emu", "boot", "--quiet", "--memory", f"{work.memory}M", *medium]


class Qemu(Engine):
    """QEMU's TCG, one thread for the processor."""

    name = "qemu"
    program = "qemu-system-x86_64"

    def find_version(self) -> str:
        found = re.search(r"version (\S+)", output_of([self.program, "--version"]))
        return f"{found[1]}, TCG" if found else ""

    def command(self, work: Work) -> list[str]:
        medium = (
            ["-cdrom", str(work.image), "-boot", "d"]
            if work.cdrom
            else ["-drive", f"format=raw,file={work.image},snapshot=on"]
        )
        if work.initrd is not None:
            medium = ["-kernel", str(work.image), "-initrd", str(work.initrd), "-append", work.append]
        return [
            self.program, "-accel", "tcg,thread=single", "-M", "pc", "-cpu", "max", "-m", str(work.memory), "-display",
            "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none", *medium,
        ]  # fmt: skip


class Bochs(Engine):
    """Bochs as installed; Debian's is a debugger build."""

    name = "bochs"

    def find_version(self) -> str:
        text = output_of(["bochs", "--help"])
        found = re.search(r"Bochs x86 Emulator (\S+)", text)
        if not found or not (BOCHS_FILES / "BIOS-bochs-latest").exists():
            return ""
        self.debugger = "debugger" in text
        return f"{found[1]}, {'a debugger build' if self.debugger else 'without debugger'}"

    def serial(self) -> Path | None:
        return self.scratch / "bochs-serial"

    def command(self, work: Work) -> list[str] | None:
        if work.initrd is not None:
            return None
        drive = (
            f"ata0-master: type=cdrom, path={work.image}, status=inserted"
            if work.cdrom
            else f"ata0-master: type=disk, path={work.image}, mode=volatile, cylinders=2, heads=16, spt=63"
        )
        settings = self.scratch / "bochsrc"
        settings.write_text(
            f"megs: {work.memory}\nromimage: file={BOCHS_FILES}/BIOS-bochs-latest\n"
            f"vgaromimage: file={BOCHS_FILES}/VGABIOS-lgpl-latest\nboot: {'cdrom' if work.cdrom else 'disk'}\n"
            f"ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\n{drive}\n"
            f"com1: enabled=1, mode=file, dev={self.serial()}\ndisplay_library: term\nlog: /dev/null\n"
            "cpu: count=1, ips=100000000, reset_on_triple_fault=0\nclock: sync=none\n"
            "sound: waveoutdrv=dummy\n"
        )
        (self.scratch / "bochs-commands").write_text("c\n")
        return [
            "bochs", "-q", "-f", str(settings), *(["-rc", str(self.scratch / "bochs-commands")] * self.debugger)
        ]  # fmt: skip


class Unicorn(Engine):
    """Unicorn, which emulates a processor alone: flat kernels only."""

    name = "unicorn"

    def find_version(self) -> str:
        from importlib import metadata

        try:
            return metadata.version("unicorn")
        except metadata.PackageNotFoundError:
            return ""

    def command(self, work: Work) -> list[str] | None:
        if work.flat is None or work.kernel is None:
            return None
        facts = [work.kernel.name, str(work.kernel.scale), str(work.kernel.instructions), work.kernel.checksum]
        return [sys.executable, "-m", "x86emu.bench.unicorn_run", str(work.flat), *facts]


class V86(Engine):
    """v86, a 32-bit PC in WebAssembly, under Node.js; `npm install v86` in benchmarks/peers."""

    name = "v86"

    def find_version(self) -> str:
        package = PEER_SCRIPTS / "node_modules" / "v86" / "package.json"
        if shutil.which("node") is None or not package.exists():
            return ""
        found = re.search(r'"version": *"([^"]+)"', package.read_text())
        return f"{found[1] if found else '?'}, Node.js {output_of(['node', '--version']).strip()}"

    def command(self, work: Work) -> list[str] | None:
        if work.cdrom or work.initrd is not None or (work.kernel is not None and work.kernel.mode == 64):
            return None
        return ["node", str(PEER_SCRIPTS / "v86.mjs"), str(work.image)]


PEERS: tuple[type[Engine], ...] = (Qemu, Bochs, Unicorn, V86)
