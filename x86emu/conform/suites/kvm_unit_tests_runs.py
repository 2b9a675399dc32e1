"""What kvm-unit-tests runs: its x86/unittests.cfg read, and what that asks of QEMU told to this package's machine.

The configuration is a section for each run with `file`, `test_args`, `smp`, `qemu_params`, `arch`, `timeout`, `groups`
(the suite's docs/unittests.md). A directory of images without one is run image by image. The sub-tests of an image are
the names in its table, which its symbol table finds.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.isa.features import NOT_IMPLEMENTED, feature_named

CONFIGURATION = "unittests.cfg"
DEFAULT_MEMORY = 128 << 20
"""What QEMU gives a machine."""
DEFAULT_TIMEOUT = 90.0
"""Seconds that the suite's own runner gives a run."""
MANUAL_GROUP = "nodefault"
"""Runs of this group are for those who ask for them by name."""
SUBTEST_TABLES = ("vmx_tests", "svm_tests")
"""Symbols of the tables of tests that images choose from by their arguments."""

LEFT_OUT = {
    "hypercall": "asks for KVM's hypercalls",
    "vmexit_vmcall": "asks for KVM's hypercalls",
    "asyncpf": "asks for KVM's asynchronous page faults",
    "kvmclock_test": "asks for KVM's clock",
    "hyperv_*": "asks for Hyper-V's interfaces, as KVM offers them",
    "vmware_backdoors": "asks for VMware's back door",
    "access_fep": "asks for KVM's forced emulation",
    "vmx_pf_exception_test_fep": "asks for KVM's forced emulation",
    "intel_iommu": "asks for an IOMMU, which this board does not have",
}
"""Runs that have nothing to judge on a processor of this package, with the reason; run where they are asked for."""

ENVIRONMENT = {"x2apic": "TEST_DEVICE=0", "xapic": "TEST_DEVICE=0"}
"""Variables that an image gets in its module: with this one it leaves out the one test of a hypercall of KVM's."""

MODELS = {
    "": "default", "qemu64": "default", "max": "max", "host": "max", "Opteron_G1": "athlon64_svm",
    "IvyBridge": "nehalem_ept", "Skylake-Server": "sapphire_rapids",
}  # fmt: skip
"""Processor models of this package for QEMU's."""
INTEL_MODELS = {"": "nehalem_ept", "qemu64": "nehalem_ept", "max": "sapphire_rapids", "host": "sapphire_rapids"}
"""The same where the configuration wants an Intel processor, by its vendor or by VT-x."""
RUN_TIMEOUTS = {"vmx": 600.0}
"""Seconds of processor time for runs that need more: 10000 turns of the preemption timer are 64 s of virtual time."""
RUN_MODELS = {"emulator": "haswell"}
"""Processor models for runs that judge one make's processors: far jumps through 64-bit pointers are Intel's."""
IGNORED = ("host-phys-bits", "migratable", "phys-bits", "vendor", "hv_passthrough")


@dataclass(frozen=True)
class TestRun:
    """One section of the configuration, or one image without any."""

    __test__ = False

    name: str
    image: Path
    arguments: str = ""
    cpus: int = 1
    memory: int = DEFAULT_MEMORY
    cpu: str = "default"
    timeout: float = DEFAULT_TIMEOUT
    environment: str = ""
    """Lines NAME=value for the image's module."""
    manual: bool = False
    """For those who ask for it by name."""
    left_out: str = ""
    """Why it is no test of this package; empty where it is one."""


def find_builds(directory: Path) -> list[Path]:
    """Directories below with images, each a build of its own. Raises UserInputError where there is none."""
    found = sorted({path.parent for path in directory.rglob("*.flat")})
    if not found:
        raise UserInputError(
            f"There are no *.flat images in {directory}; give the directory of a built kvm-unit-tests."
        )
    return found


@lru_cache(maxsize=8)
def runs_of(build: Path) -> tuple[TestRun, ...]:
    """All runs of a directory of images whose image is there."""
    configuration = build / CONFIGURATION
    if not configuration.is_file():
        return tuple(TestRun(path.stem, path, cpu="max", memory=512 << 20) for path in sorted(build.glob("*.flat")))
    runs = []
    for name, values in _sections(configuration):
        image = build / values.get("file", "")
        if image.is_file() and values.get("arch", word_size(build)[1]) == word_size(build)[1]:
            runs.append(_run(name, image, values))
    return tuple(runs)


def _sections(path: Path) -> list[tuple[str, dict[str, str]]]:
    """Sections with their values, in order. Raises UserInputError for a line that is none of the format's."""
    sections: list[tuple[str, dict[str, str]]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if match := re.fullmatch(r"\[([^\]]+)\]", text):
            sections.append((match[1], {}))
        elif (match := re.fullmatch(r"(\w+)\s*=\s*(.*)", text)) and sections:
            sections[-1][1][match[1]] = match[2]
        else:
            raise UserInputError(f"{path}, line {number}: {text!r} is no [name] and no key = value below one.")
    return sections


def _run(name: str, image: Path, values: dict[str, str]) -> TestRun:
    cpu, memory, problem = _machine(shlex.split(values.get("qemu_params", "")))
    left_out = next((reason for glob, reason in LEFT_OUT.items() if fnmatchcase(name, glob)), "") or problem
    arguments = values.get("test_args", "")
    if len(arguments) > 1 and arguments[0] == arguments[-1] and arguments[0] in "'\"":
        arguments = arguments[1:-1]
    return TestRun(
        name, image, arguments, int(values.get("smp", "1")), memory, RUN_MODELS.get(name, cpu),
        max(float(values.get("timeout", "0").rstrip("s")), RUN_TIMEOUTS.get(name, DEFAULT_TIMEOUT)),
        ENVIRONMENT.get(name, ""), MANUAL_GROUP in values.get("groups", "").split(), left_out,
    )  # fmt: skip


def _machine(words: list[str]) -> tuple[str, int, str]:
    """Processor and memory that QEMU's options ask for, and what of them cannot be had."""
    cpu, memory, problem = "", DEFAULT_MEMORY, ""
    for option, value in zip(words, [*words[1:], ""], strict=False):
        if option == "-cpu":
            cpu = value
        elif option == "-m":
            memory = int(value.rstrip("gGmM")) << (30 if value[-1] in "gG" else 20)
        elif option == "-device":
            problem = f"asks for the device {value}, which this board does not have"
    model, missing = processor(cpu)
    return model, memory, missing or problem


def processor(text: str) -> tuple[str, str]:
    """What `--cpu` takes for QEMU's text of a processor, and what cannot be had of it."""
    name, *wishes = text.split(",")
    intel = "vendor=GenuineIntel" in wishes or "+vmx" in wishes
    model = (INTEL_MODELS.get(name) if intel else None) or MODELS.get(name)
    if model is None:
        return "max", f"asks for QEMU's processor {name}, for which no model of this package is named"
    for wish in wishes:
        if wish.split("=")[0] in IGNORED:
            continue
        sign, feature = wish[:1], wish[1:].removeprefix("vmx-")
        try:
            known = feature_named(feature).name
        except UserInputError:
            known = ""
        if sign == "+" and (not known or known in NOT_IMPLEMENTED):
            return model, f"asks for {feature}, which is not modelled"
        if known and sign in "+-":
            model += f",{sign}{known}"
    return model, ""


@lru_cache(maxsize=8)
def word_size(build: Path) -> tuple[int, str]:
    """Bits of a build's images and the suite's name of that: only 64-bit ones have an entry start64."""
    for image in sorted(build.glob("*.flat")):
        symbols = _symbols(image)
        if symbols:
            return (64, "x86_64") if "start64" in symbols else (32, "i386")
    return 64, "x86_64"


@lru_cache(maxsize=16)
def _symbols(image: Path) -> dict[str, tuple[int, int]]:
    """Address and size of each symbol of an image; empty where it is no ELF file or has none."""
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    found: dict[str, tuple[int, int]] = {}
    with image.open("rb") as file:
        try:
            for section in ELFFile(file).iter_sections():
                if isinstance(section, SymbolTableSection):
                    found |= {s.name: (s["st_value"], s["st_size"]) for s in section.iter_symbols() if s.name}
        except Exception:  # pyelftools raises whatever its parsing comes upon; the loader will say what is wrong
            return {}
    return found


@lru_cache(maxsize=16)
def subtests(image: Path) -> tuple[str, ...]:
    """Names of the tests in an image's table, blanks as underscores, which is how its arguments name them.

    The table has pointers of eight bytes: each to a text is the name of a test, all others are to functions.
    """
    from elftools.elf.elffile import ELFFile

    symbols = _symbols(image)
    table = next((symbols[name] for name in SUBTEST_TABLES if name in symbols), None)
    if table is None:
        return ()
    with image.open("rb") as file:
        segments = [(s["p_vaddr"], s.data()) for s in ELFFile(file).iter_segments() if s["p_type"] == "PT_LOAD"]

    def text(address: int) -> bytes:
        for base, data in segments:
            if base <= address < base + len(data):
                return bytes(data[address - base :].split(b"\0", 1)[0])
        return b""

    start, size = table
    functions = {address for address, length in symbols.values() if length}
    found = [data[start - base :][:size] for base, data in segments if base <= start < base + len(data)]
    whole = found[0] if found else b""
    names = []
    for place in range(0, len(whole) - 7, 8):
        pointer = int.from_bytes(whole[place : place + 8], "little")
        name = text(pointer) if pointer not in functions else b""
        if re.fullmatch(rb"[\w /.()+-]{2,80}", name):
            names.append(name.decode().replace(" ", "_"))
    return tuple(names)


def chosen_subtests(run: TestRun, pattern: str) -> list[str]:
    """Sub-tests of a run that a pattern names: of those that its arguments let through, or any by its whole name."""
    words = run.arguments.split()
    wanted = [word for word in words if not word.startswith("-")]
    unwanted = [word[1:] for word in words if word.startswith("-")]

    def lets_through(name: str) -> bool:
        return (not wanted or any(fnmatchcase(name, w) for w in wanted)) and not any(
            fnmatchcase(name, word) for word in unwanted
        )

    return [
        name
        for name in subtests(run.image)
        if name == pattern or lets_through(name) and fnmatchcase(name, pattern)
    ]
