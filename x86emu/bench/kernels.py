"""The bare-metal kernels of benchmarks/kernels: their names, how they are assembled, what they must print.

Every kernel is a raw disk image that any PC emulator boots; it prints `MB-START`, then `MB-END` with its checksum and
what the time-stamp counter advanced by, on COM1 and port E9h.  The unprivileged 64-bit ones exist as flat routines too.

expected.json has for each scale `insns`, the work's size by which MIPS are counted (as QEMU's plugin interface counts:
an instruction that faults and is started again is two), `sum`, the checksum, and `retired` where what a processor
retires differs from `insns`.  This emulator's time-stamp counter advances by one for each, so that it tells the count.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError

DIRECTORY = Path(__file__).resolve().parents[2] / "benchmarks" / "kernels"
GENERIC = (
    "alu", "flags", "memcpy", "memalias", "stream", "chase", "crc32", "sieve", "qsort", "fib", "icall", "matmul", "x87",
    "chacha", "repstr", "smc", "samepage",
)  # fmt: skip
PRIVILEGED = ("portio", "tlb", "intr", "pfault")
ONLY_64 = ("chase2m", "sysc")
NAMES_64 = (*GENERIC, *PRIVILEGED, *ONLY_64, "real16")
# As portio, but to a device in Cython. Not one of the 24 whose geometric mean is told.
NAMES_NATIVE = ("portio-native",)
# The group "kernels", and those whose host instructions are counted.
NAMES_ALONE = (*NAMES_64, *NAMES_NATIVE)
NAMES_32 = tuple(f"{name}-32" for name in (*GENERIC, *PRIVILEGED))
# Round trips into a guest and out, and kernels inside a guest with nested paging, each beside itself outside.
NAMES_VIRTUAL = ("vmrun", "vmresume", "fib-svm", "fib-vmx", "memcpy-svm", "memcpy-vmx")
NAMES = (*NAMES_ALONE, *NAMES_32, *NAMES_VIRTUAL)
TRIPS = 100_000  # of vmrun and vmresume, at scale 1
SCALES = (1, 4, 20)
SHORT = ("smc", "samepage", "tlb", "pfault", "intr", "real16")
"""Kernels whose work takes a few milliseconds at the lower scales: `x86emu bench` runs them at the highest."""
START, END = b"MB-START", b"MB-END"
RESULT = re.compile(rb"MB-END (\S+) scale=(\d+) insns=(\d+) sum=([0-9a-f]{16}) tsc=([0-9a-f]+) (OK|BAD|UNCHECKED)")
# What is between the two readings of the time-stamp counter besides the kernel: mb.inc.
MEASURING = {16: 7, 32: 7, 64: 8}


@dataclass(frozen=True)
class Kernel:
    """One kernel at one scale; `instructions` is the work's size by which MIPS are counted, `retired` what retires."""

    name: str
    scale: int
    instructions: int
    checksum: str
    retired: int

    @property
    def mode(self) -> int:
        """Bits of the processor mode: 16, 32 or 64."""
        return 16 if self.name == "real16" else 32 if self.name.endswith("-32") else 64

    @property
    def source(self) -> str:
        """Name of the source file without its suffix."""
        return self.name.partition("-")[0]

    @property
    def virtualization(self) -> str:
        """What the kernel needs of the processor: "svm", "vmx" or nothing."""
        suffix = self.name.partition("-")[2]
        return {"vmrun": "svm", "vmresume": "vmx"}.get(self.name, suffix if suffix in ("svm", "vmx") else "")

    @property
    def trips(self) -> int:
        """Round trips into a guest and out, if that is what the kernel measures, else 0."""
        return TRIPS * self.scale if self.name in ("vmrun", "vmresume") else 0

    @property
    def has_flat(self) -> bool:
        """Whether there is a flat routine for emulators of a processor alone."""
        return self.mode == 64 and self.name in GENERIC


def load(names: list[str], scale: int, directory: Path = DIRECTORY) -> list[Kernel]:
    """The kernels of these names.  UserInputError for an unknown name or scale, or where the sources are not there."""
    try:
        expected = json.loads((directory / "expected.json").read_text())
    except OSError as error:
        raise UserInputError(
            f"{directory}: holds no benchmark kernels ({error.strerror}); a checkout has them in benchmarks/kernels,"
            " which --kernels names"
        ) from None
    if scale not in SCALES:
        raise UserInputError(f"--scale {scale}: has no expected results; {', '.join(map(str, SCALES))} do")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise UserInputError(f"{unknown[0]}: is no benchmark kernel; these are: {' '.join(NAMES)}")
    found = []
    for name in names:
        facts = expected[name][str(scale)]
        instructions = int(facts["insns"])
        found.append(Kernel(name, scale, instructions, facts["sum"], int(facts.get("retired", instructions))))
    return found


def assemble(kernel: Kernel, output: Path, *, flat: bool = False, directory: Path = DIRECTORY) -> Path:
    """Builds NAME.img, or NAME.flat, in `output` unless it is there and newer than its sources; needs nasm."""
    target = output / f"{kernel.name}-{kernel.scale}.{'flat' if flat else 'img'}"
    newest = max(path.stat().st_mtime for path in directory.iterdir())
    if target.exists() and target.stat().st_mtime > newest:
        return target
    options = [f"-DSCALE={kernel.scale}", f"-DEXPECT=0x{kernel.checksum}", f"-DINSNS={kernel.instructions}"]
    if kernel.mode != 16:
        options.append(f"-DMB_MODE={kernel.mode}")
    if flat:
        options.append("-DFLAT")
    if kernel.name in NAMES_NATIVE:
        options.append("-DNATIVE")
    if kernel.name.endswith(("-svm", "-vmx")):
        options.append(f"-DGUEST_OF_{kernel.virtualization.upper()}")
    return assemble_source(kernel.source, target, directory, options)


def assemble_source(source: str, target: Path, directory: Path, options: list[str]) -> Path:
    """Assembles SOURCE.asm into a file; UserInputError where nasm is missing or refuses it."""
    if shutil.which("nasm") is None:
        raise UserInputError("bench: the kernels are assembled with nasm, which is not here; apt-get install nasm")
    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["nasm", "-f", "bin", "-I", f"{directory}/", "-o", str(target), *options, f"{directory / source}.asm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserInputError(f"{source}.asm: nasm failed: {done.stderr.strip()[:300]}")
    return target


def verdict(kernel: Kernel, output: bytes, *, counted: bool = False) -> str:
    """Why what an emulator printed does not count, or nothing; `counted`: its time-stamp counter tells instructions."""
    found = RESULT.search(output)
    if found is None:
        return "printed no result"
    if found[4].decode() != kernel.checksum:
        return f"checksum {found[4].decode()} instead of {kernel.checksum}"
    retired = int(found[5], 16) - MEASURING[kernel.mode]
    if counted and retired != kernel.retired:
        return f"{retired} instructions instead of {kernel.retired}"
    return ""
