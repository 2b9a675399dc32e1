"""The suite kvm-unit-tests, on tiny multiboot images made here that print and end as those tests do.

With X86EMU_KVM_UNIT_TESTS=DIR, the directory of a built kvm-unit-tests, some of its own are run as well.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from x86emu.conform import report, scoreboard
from x86emu.conform.results import Run, UnitResult, read_run
from x86emu.conform.runner import run_suite
from x86emu.conform.suite import Options
from x86emu.conform.suites.kvm_unit_tests_runs import (
    DEFAULT_MEMORY,
    TestRun,
    chosen_subtests,
    processor,
    runs_of,
    subtests,
    word_size,
)
from x86emu.errors import UserInputError
from x86emu.firmware.bios import default_bios
from x86emu.isa.models import resolve_model

LOAD = 0x100000
SCOREBOARDS = Path(__file__).parents[2] / "docs" / "scoreboards"
OUT = b"\xb8%s\xe7\xf4\xf4"  # mov eax, status; out F4h, eax; hlt


def image(text: bytes, ending: bytes | int) -> bytes:
    """A multiboot ELF that writes text to COM1, then a status to port F4h or runs other code."""
    header = struct.pack("<III", 0x1BADB002, 0, -0x1BADB002 & 0xFFFFFFFF)
    code = b"\x66\xba\xfb\x03\xb0\x03\xee"  # eight data bits
    for byte in text:
        code += b"\x66\xba\xfd\x03\xec\xa8\x20\x74\xf7"  # wait for room: mov dx, 3FDh; in; test 20h; jz
        code += b"\x66\xba\xf8\x03\xb0" + bytes([byte]) + b"\xee"
    code += OUT % struct.pack("<I", ending) if isinstance(ending, int) else ending
    body = header + code
    elf = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, LOAD + 12, 52, 0, 0, 52, 32, 1, 0, 0, 0
    )  # fmt: skip
    elf += struct.pack("<IIIIIIII", 1, 84, LOAD, LOAD, len(body), len(body), 7, 4)
    return elf + body


def image_with_symbols(symbols: dict[str, tuple[int, int]], data: bytes) -> bytes:
    """An ELF with one segment at LOAD and a symbol table: address and size by name."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in symbols)
    table, at = bytes(16), 1
    for name, (address, size) in symbols.items():
        table += struct.pack("<IIIBBH", at, address, size, 0x11, 0, 1)
        at += len(name) + 1
    symbols_at = 84 + len(data)
    sections_at = symbols_at + len(table) + len(strings)
    elf = struct.pack(
        "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, LOAD, 52, sections_at, 0, 52, 32, 1, 40, 3, 2
    )  # fmt: skip
    elf += struct.pack("<IIIIIIII", 1, 84, LOAD, LOAD, len(data), len(data), 7, 4)
    sections = bytes(40) + struct.pack("<10I", 0, 2, 0, 0, symbols_at, len(table), 2, 1, 4, 16)
    sections += struct.pack("<10I", 0, 3, 0, 0, symbols_at + len(table), len(strings), 0, 0, 1, 0)
    return elf + data + table + strings + sections


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    try:
        default_bios()
    except UserInputError as error:
        pytest.skip(str(error))
    (tmp_path / "good.flat").write_bytes(image(b"PASS: one\nPASS: two\n", 0))
    (tmp_path / "bad.flat").write_bytes(image(b"PASS: one\nFAIL: two\n", 1))
    (tmp_path / "better.flat").write_bytes(image(b"PASS: one\nXPASS: two\n", 1))
    (tmp_path / "skipped.flat").write_bytes(image(b"SKIP: no such processor\n", 38))
    (tmp_path / "aborted.flat").write_bytes(image(b"PASS: one\nAssertion\n", 63))
    (tmp_path / "reset.flat").write_bytes(image(b"", b"\x0f\x01\x1d" + struct.pack("<I", LOAD) + b"\x0f\x0b"))
    (tmp_path / "endless.flat").write_bytes(image(b"PASS: one\n", b"\xeb\xfe"))
    (tmp_path / "none.flat").write_bytes(b"no kernel at all")
    return tmp_path


def test_verdicts(directory: Path) -> None:
    run = run_suite(Options("kvm-unit-tests", directory=directory, timeout=0.01))
    units = {unit.unit: unit for unit in run.units}
    assert {name: unit.verdict for name, unit in units.items()} == {
        "good": "PASS 2/2", "bad": "FAIL 1/2", "better": "XPASS 2/2", "skipped": "SKIP", "aborted": "ABORT 1/1",
        "reset": "RESET", "endless": "TIMEOUT 1/1", "none": "ERROR",
    }  # fmt: skip
    assert (units["good"].cases, units["good"].failed) == (2, 0)
    assert (units["bad"].cases, units["bad"].failed) == (2, 1)
    assert units["bad"].failures[0].differences == ["two"]
    assert units["skipped"].note == "no such processor" and not units["skipped"].failed
    assert "Assertion" in units["aborted"].failures[0].differences
    assert len(units["none"].errors) == 1 and "none.flat" in units["none"].errors[0]
    text = report.summary(run)
    assert "PASS 1, " in text and "7 of 8 checks" in text
    assert "<skipped" in report.junit(run)
    assert "no such processor" in report.html([run])


CONFIGURATION = """
# a comment
[good]
file = good.flat
[bad-with-two]
file = bad.flat
smp = 2
test_args = 'one two'
qemu_params = -cpu max,+vmx,-vmx-mbec -m 2g
timeout = 200
groups = some nodefault
[hypercall]
file = good.flat
[missing]
file = missing.flat
[device]
file = good.flat
qemu_params = -device toaster -cpu qemu64,+x2apic
[other]
file = good.flat
arch = i386
"""


def test_runs_of_a_configuration(directory: Path) -> None:
    (directory / "unittests.cfg").write_text(CONFIGURATION)
    runs = {run.name: run for run in runs_of(directory)}
    assert list(runs) == ["good", "bad-with-two", "hypercall", "device"]
    assert runs["good"] == TestRun("good", directory / "good.flat", memory=DEFAULT_MEMORY)
    two = runs["bad-with-two"]
    assert (two.cpus, two.arguments, two.memory, two.timeout, two.manual) == (2, "one two", 2 << 30, 200, True)
    assert two.cpu == "sapphire_rapids,+vmx,-ept_mode_based_exec"
    assert "toaster" in runs["device"].left_out and runs["device"].cpu == "default,+x2apic"
    run = run_suite(Options("kvm-unit-tests", directory=directory))
    assert [(unit.unit, unit.verdict) for unit in run.units] == [
        ("good", "PASS 2/2"), ("hypercall", "LEFT OUT"), ("device", "LEFT OUT"),
    ]  # fmt: skip
    assert not run.failed and run.units[1].note == "asks for KVM's hypercalls"
    run = run_suite(Options("kvm-unit-tests", directory=directory, only=("bad-with-two", "hyper*", "hypercall")))
    assert [(unit.unit, unit.verdict) for unit in run.units] == [
        ("bad-with-two", "FAIL 1/2"), ("hypercall", "PASS 2/2"),
    ]  # fmt: skip


def test_a_line_that_is_none(directory: Path) -> None:
    (directory / "unittests.cfg").write_text("[good]\nfile good.flat\n")
    with pytest.raises(UserInputError, match="line 2: 'file good.flat' is no"):
        run_suite(Options("kvm-unit-tests", directory=directory))


def test_patterns_that_name_nothing(directory: Path) -> None:
    with pytest.raises(UserInputError, match=r"--only nothing\*: there is no such test"):
        run_suite(Options("kvm-unit-tests", directory=directory, only=("nothing*",)))
    with pytest.raises(UserInputError, match="--only good:part: there is no such test"):
        run_suite(Options("kvm-unit-tests", directory=directory, only=("good:part",)))


def test_needs_images(tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match=r"no \*\.flat images"):
        run_suite(Options("kvm-unit-tests", directory=tmp_path))


def test_several_builds_are_told_apart(directory: Path) -> None:
    for name in ("one", "two"):
        (directory / name).mkdir()
        (directory / "good.flat").rename(directory / name / "good.flat")
        (directory / "good.flat").write_bytes((directory / name / "good.flat").read_bytes())
    run = run_suite(Options("kvm-unit-tests", directory=directory, only=("good", "two/g*")))
    assert [(unit.unit, unit.verdict) for unit in run.units] == [
        ("./good", "PASS 2/2"), ("one/good", "PASS 2/2"), ("two/good", "PASS 2/2"),
    ]  # fmt: skip


def test_subtests_by_the_symbols(tmp_path: Path) -> None:
    path = tmp_path / "svm.flat"
    names = b"first test\0second\0"
    table = struct.pack("<6Q", LOAD, LOAD + 0x100, 0, LOAD + 11, LOAD + 0x100, 0)
    symbols = {"start64": (LOAD, 0), "a_test": (LOAD + 0x100, 1), "svm_tests": (LOAD + 0x20, len(table))}
    path.write_bytes(image_with_symbols(symbols, names.ljust(0x20, b"\0") + table + bytes(0x100)))
    assert subtests(path) == ("first_test", "second")
    assert word_size(tmp_path) == (64, "x86_64")
    assert chosen_subtests(TestRun("svm", path, arguments="-sec*"), "*") == ["first_test"]
    assert chosen_subtests(TestRun("svm", path, arguments="-sec*"), "second") == ["second"], "by its whole name"
    assert chosen_subtests(TestRun("svm", path, arguments="second"), "*") == ["second"]
    path.write_bytes(image_with_symbols({"main": (LOAD, 4)}, names))
    subtests.cache_clear()


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("", "default"), ("max", "max"), ("host,migratable=no", "max"), ("max,+svm,-npt", "max,+svm,-npt"),
        ("max,vendor=GenuineIntel", "sapphire_rapids"), ("IvyBridge,phys-bits=36,+vmx", "nehalem_ept,+vmx"),
        ("qemu64,+x2apic,+tsc-deadline", "default,+x2apic,+tsc_deadline"),
        ("max,host-phys-bits,+vmx,-skinit", "sapphire_rapids,+vmx"),
    ],
)  # fmt: skip
def test_processors(text: str, model: str) -> None:
    assert processor(text) == (model, "")
    assert resolve_model(model).features


def test_processors_that_are_not_to_be_had() -> None:
    assert "max" == processor("Zilog")[0] and "Zilog" in processor("Zilog")[1]
    assert processor("max,+avx512f")[1] == "asks for avx512f, which is not modelled"


def run_of(engine: str, **verdicts: str) -> Run:
    return Run(
        "kvm-unit-tests", engine, "", 1, units=[UnitResult(n, verdict=v, group="64-bit") for n, v in verdicts.items()]
    )


def test_scoreboard_in_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"above\n{scoreboard.BEGIN}\nold\n{scoreboard.END}\nbelow\n")
    text = scoreboard.markdown([run_of("ours", a="PASS 3/3", b="FAIL 1/2"), run_of("theirs", a="TIMEOUT", c="PASS")])
    assert "| a | PASS 3/3 | TIMEOUT |\n| b | FAIL 1/2 | - |\n" in text and "| c |" not in text
    assert "- ours: PASS 1, FAIL 1; 4 of 5 checks" in text
    scoreboard.put(page, text)
    scoreboard.put(page, text)
    assert page.read_text() == f"above\n{scoreboard.BEGIN}\n\n{text}\n{scoreboard.END}\nbelow\n"
    page.write_text(scoreboard.BEGIN)
    with pytest.raises(UserInputError, match="only one of the lines"):
        scoreboard.put(page, text)
    with pytest.raises(UserInputError, match="None of these results has verdicts"):
        scoreboard.markdown([Run("native", "x86emu", "", 1)])


@pytest.mark.parametrize("path", sorted(SCOREBOARDS.glob("*.json")), ids=lambda path: path.stem)
def test_figures_of_peers_can_be_read(path: Path) -> None:
    run = read_run(path)
    assert run.suite == "kvm-unit-tests" and run.engine != "x86emu"
    assert all(unit.verdict and unit.group for unit in run.units)
    assert len({(unit.group, unit.unit) for unit in run.units}) == len(run.units)


RIGHT = (
    "x2apic ioapic smptest smap pku pks emulator eventinj idt_test memory realmode setjmp syscall tsc tsc_adjust xsave "
    "pcid-* rdpru umip la57 debug lam svm_npt svm_pause_filter svm:null svm:*_test vmx:null vmx:*_area_test "
    "vmx:vmx_*_window_test ept-mbec:ept_access_test_read* cmpxchg8b taskswitch*"
).split()


@pytest.mark.slow
@pytest.mark.parametrize("pattern", RIGHT)
def test_the_suite_itself(pattern: str) -> None:
    place = os.environ.get("X86EMU_KVM_UNIT_TESTS")
    if place is None:
        pytest.skip("X86EMU_KVM_UNIT_TESTS does not name the directory of a built kvm-unit-tests")
    try:
        run = run_suite(Options("kvm-unit-tests", directory=Path(place), only=(pattern,)))
    except UserInputError as error:
        pytest.skip(str(error))
    judged = {unit.unit: unit.verdict for unit in run.units if unit.failed}
    assert judged == ({"svm:svm_guest_state_test": "FAIL 134/136"} if pattern == "svm:*_test" else {}), run.units
