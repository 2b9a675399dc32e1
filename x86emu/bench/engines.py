"""Who runs the guests: this emulator, and the peers that are installed.  Each is a command line and a version."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

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
    seabios: bool = False  # the firmware is part of what is measured: SeaBIOS under every emulator

    @property
    def virtualization(self) -> str:
        """What the guest needs of the processor: "svm", "vmx" or nothing."""
        return self.kernel.virtualization if self.kernel is not None else ""


class Engine:
    """One emulator.  `version` is empty where it is not installed."""

    name = ""
    scratch: Path
    counts_instructions = False  # its time-stamp counter counts what retires

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
        """The terminal to which the guest's serial port goes, or None for standard input and output."""
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
            problem = verdict(work.kernel, result.output, counted=self.counts_instructions)
            result = Measurement(result.seconds, result.peak_kib, result.output, problem)
        return result


@functools.cache
def _compile_modules() -> None:
    """Compiles the package's modules as an installation does: in a checkout the first run would be measured doing it,
    or each run, where PYTHONDONTWRITEBYTECODE is set."""
    import compileall

    compileall.compile_dir(Path(__file__).resolve().parents[1], quiet=2)


class X86Emu(Engine):
    """This package, as `x86emu boot` runs it."""

    name = "x86emu"
    counts_instructions = True
    MODELS: ClassVar[dict[str, str]] = {"svm": "epyc_genoa", "vmx": "sapphire_rapids"}

    def find_version(self) -> str:
        return __version__

    def command(self, work: Work) -> list[str]:
        medium = (
            ["--cdrom", str(work.image), "--boot", "d"] if work.cdrom else ["--disk", str(work.image), "--snapshot"]
        )
        if work.virtualization:
            medium += ["--cpu", self.MODELS[work.virtualization]]
        _compile_modules()
        return [sys.executable, "-m", "x86emu", "boot", "--quiet", "--memory", f"{work.memory}M", *medium]


class Qemu(Engine):
    """QEMU's TCG, one thread for the processor."""

    name = "qemu"
    program = "qemu-system-x86_64"

    def find_version(self) -> str:
        found = re.search(r"version (\S+)", output_of([self.program, "--version"]))
        return f"{found[1]}, TCG" if found else ""

    def command(self, work: Work) -> list[str] | None:
        if work.virtualization == "vmx":
            return None  # TCG has AMD-V alone
        medium = (
            ["-cdrom", str(work.image), "-boot", "d"]
            if work.cdrom
            else ["-drive", f"format=raw,file={work.image},snapshot=on"]
        )
        return [
            self.program, "-accel", "tcg,thread=single", "-M", "pc", "-cpu", "max", "-m", str(work.memory), "-display",
            "none", "-serial", "stdio", "-monitor", "none", "-no-reboot", "-nic", "none", *medium,
        ]  # fmt: skip


class Bochs(Engine):
    """Bochs as installed; Debian's is a debugger build.  X86EMU_BOCHS names another build, measured beside it."""

    name = "bochs"
    SOUND = "sound: waveoutdrv=dummy\n"  # Debian's build has sound cards, and would look for one of the host's
    MODELS: ClassVar[dict[str, str]] = {"svm": "ryzen", "vmx": "corei7_haswell_4770"}

    @property
    def program(self) -> str:
        """What is run."""
        return "bochs"

    def find_version(self) -> str:
        text = output_of([self.program, "--help"]) if self.program else ""
        found = re.search(r"Bochs x86 Emulator (\S+)", text)
        if not found or not (BOCHS_FILES / "BIOS-bochs-latest").exists():
            return ""
        self.debugger = "debugger" in text
        return f"{found[1]}, {'a debugger build' if self.debugger else 'without debugger'}"

    def serial(self) -> Path | None:
        return self.scratch / "bochs-serial"

    def command(self, work: Work) -> list[str] | None:
        if work.cdrom:
            drive = f"type=cdrom, path={work.image}, status=inserted"
        else:
            sectors = work.image.stat().st_size // 512
            track = 32 if sectors % (16 * 63) else 63  # the geometry has to have every sector of the image
            geometry = f"cylinders={sectors // 16 // track}, heads=16, spt={track}"
            drive = f"type=disk, path={work.image}, mode=volatile, {geometry}"
        settings = self.scratch / "bochsrc"
        bios = "/usr/share/seabios/bios.bin" if work.seabios else f"{BOCHS_FILES}/BIOS-bochs-latest"
        settings.write_text(
            f"megs: {work.memory}\nromimage: file={bios}\n"
            f"vgaromimage: file={BOCHS_FILES}/VGABIOS-lgpl-latest\nboot: {'cdrom' if work.cdrom else 'disk'}\n"
            f"ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14\nata0-master: {drive}\n"
            f"com1: enabled=1, mode=term, dev={self.serial()}\ndisplay_library: term\nlog: {self.scratch}/bochs.log\n"
            f"cpu: model={self.MODELS.get(work.virtualization, 'corei7_haswell_4770')}, count=1, ips=100000000,"
            f" reset_on_triple_fault=0\nclock: sync=none\n{self.SOUND}"
        )
        (self.scratch / "bochs-commands").write_text("c\n")
        return [
            self.program, "-q", "-f", str(settings),
            *(["-rc", str(self.scratch / "bochs-commands")] * self.debugger),
        ]  # fmt: skip


class OwnBochs(Bochs):
    """A build of Bochs that X86EMU_BOCHS names, to measure an optimised one beside Debian's."""

    name = "bochs (own build)"
    SOUND = ""

    @property
    def program(self) -> str:
        return os.environ.get("X86EMU_BOCHS", "")


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
        if work.cdrom or work.kernel is None or work.kernel.mode == 64:
            return None
        return ["node", str(PEER_SCRIPTS / "v86.mjs"), str(work.image)]


PEERS: tuple[type[Engine], ...] = (Qemu, Bochs, OwnBochs, Unicorn, V86)
