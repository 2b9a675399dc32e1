"""The bare-metal kernels of benchmarks/kernels: their names, how they are assembled, what they must print.

Every kernel is a raw disk image that any PC emulator boots; it prints `MB-START`, then `MB-END` with its checksum and
instruction count, on COM1 and port E9h.  The unprivileged 64-bit ones exist as flat routines, too.
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
NAMES_32 = tuple(f"{name}-32" for name in (*GENERIC, *PRIVILEGED))
NAMES = (*NAMES_64, *NAMES_32)
SCALES = (1, 4, 20)
START, END = b"MB-START", b"MB-END"
RESULT = re.compile(rb"MB-END (\S+) scale=(\d+) insns=(\d+) sum=([0-9a-f]{16})\S* .*?(OK|BAD|UNCHECKED)")
# What retires differs from what QEMU's plugin counts, which takes a store into its own block twice: benchmarks/README.
RETIRED = {("smc", 1): 13008, ("smc", 4): 52008, ("smc", 20): 260008}


@dataclass(frozen=True)
class Kernel:
    """One kernel at one scale; `instructions` is the work's size by which MIPS are counted."""

    name: str
    scale: int
    instructions: int
    checksum: str

    @property
    def mode(self) -> int:
        """Bits of the processor mode: 16, 32 or 64."""
        return 16 if self.name == "real16" else 32 if self.name.endswith("-32") else 64

    @property
    def source(self) -> str:
        """Name of the source file without its suffix."""
        return self.name.removesuffix("-32")

    @property
    def has_flat(self) -> bool:
        """Whether there is a flat routine for emulators of a processor alone."""
        return self.mode == 64 and self.source in GENERIC


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
        found.append(Kernel(name, scale, int(facts["insns"]), facts["sum"]))
    return found


def assemble(kernel: Kernel, output: Path, *, flat: bool = False, directory: Path = DIRECTORY) -> Path:
    """Builds NAME.img, or NAME.flat, in `output` unless it is there and newer than its sources; needs nasm."""
    target = output / f"{kernel.name}-{kernel.scale}.{'flat' if flat else 'img'}"
    newest = max(path.stat().st_mtime for path in directory.iterdir())
    if target.exists() and target.stat().st_mtime > newest:
        return target
    if shutil.which("nasm") is None:
        raise UserInputError("bench: the kernels are assembled with nasm, which is not here; apt-get install nasm")
    output.mkdir(parents=True, exist_ok=True)
    command = ["nasm", "-f", "bin", "-I", f"{directory}/", "-o", str(target), f"-DSCALE={kernel.scale}"]
    command += [f"-DEXPECT=0x{kernel.checksum}", f"-DINSNS={kernel.instructions}"]
    if kernel.mode != 16:
        command.append(f"-DMB_MODE={kernel.mode}")
    if flat:
        command.append("-DFLAT")
    done = subprocess.run(
        [*command, str(directory / f"{kernel.source}.asm")], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UserInputError(f"{kernel.source}.asm: nasm failed: {done.stderr.strip()[:300]}")
    return target


def verdict(kernel: Kernel, output: bytes) -> str:
    """Why what an emulator printed does not count, or nothing."""
    found = RESULT.search(output)
    if found is None:
        return "printed no result"
    if found[4].decode() != kernel.checksum:
        return f"checksum {found[4].decode()} instead of {kernel.checksum}"
    return ""
