"""Runs instruction cases captured from a processor (format "hwx1") on the engine and lists the differences.

A case is one instruction at `code` in user mode with everything else unmapped but 16 KiB of data and 8 KiB of stack.
The machine here gives it 4-level paging, flat user segments, and an interrupt descriptor table whose gates lead to
HLT, so that the vector of a fault can be read off RIP.  32-bit cases run in compatibility mode, as when captured.
"""

from __future__ import annotations

import gzip
import json
import os
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from x86emu._core import Engine
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.conform.compare import COMPARED_FLAGS
from x86emu.conform.engines.x86emu import enter_user_mode
from x86emu.conform.records import GPR
from x86emu.conform.suites.hw import MODEL
from x86emu.core.memory import PhysicalMemory
from x86emu.isa.models import resolve_model

Case = dict[str, Any]

SIGNAL_VECTORS = {4: {6}, 5: {1, 3, 4}, 8: {0, 16, 19}, 11: {7, 12, 13, 14, 17}}
RAM = 4 << 20
CODE, DATA, STACK = 0x100000, 0x110000, 0x120000
"""Physical places of the mapped pages."""
PML4, PDPT, DIRECTORY, TABLES, GDT, IDT, STUBS, TSS, KERNEL_STACK = (
    0x1000, 0x2000, 0x3000, 0x4000, 0x8000, 0x9000, 0xA000, 0xB000, 0xD000,
)  # fmt: skip
MAX_ITERATIONS = 70000


def vectors(name: str) -> Path:
    """Path of a vector file, or the test is skipped."""
    places = [Path(os.environ["X86EMU_VECTORS"])] if "X86EMU_VECTORS" in os.environ else []
    places.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    for place in places:
        for path in (place / "hw" / name, place / name):
            if path.exists():
                return path
    pytest.skip(f"the hardware captures ({name}) are not here; set X86EMU_VECTORS to their directory", True)


def vectors_directory(name: str) -> Path:
    """Directory of a set of vectors, or the test is skipped."""
    places = [Path(os.environ["X86EMU_VECTORS"])] if "X86EMU_VECTORS" in os.environ else []
    places.append(Path(__file__).resolve().parents[2] / "shared" / "data")
    for place in places:
        if (place / name).is_dir():
            return place / name
    pytest.skip(f"the vectors ({name}) are not here; set X86EMU_VECTORS to the directory that holds them")


@cache
def load(mode: int) -> tuple[dict[str, Any], list[Case]]:
    """Header and cases of the 64- or 32-bit capture."""
    with gzip.open(vectors(f"hw{mode}.jsonl.gz"), "rt") as file:
        header = json.loads(next(file))
        return header, [json.loads(line) for line in file]


def cases(mode: int, wanted: Callable[[Case], bool]) -> list[Case]:
    """The cases for which wanted(case) holds."""
    return [case for case in load(mode)[1] if wanted(case)]


class UserMachine:
    """A processor in user mode with the memory of the captures."""

    def __init__(self, mode: int, header: dict[str, Any], model: str = MODEL) -> None:
        self.mode = mode
        self.header = header
        self.data = bytes.fromhex(header["data_hex"])
        self.stack = bytes.fromhex(header["stack_hex"])
        self.memory = PhysicalMemory(RAM, 0)
        self.memory.map(0, RAM, 0, 0)
        self.wiring = Wiring()
        self.engine = Engine(self.memory, self.wiring, Clock(self.wiring), [CpuSignals()], resolve_model(model))
        self.cpu = self.engine.cpus[0]
        self.write(PML4, struct.pack("<Q", PDPT | 7))
        self.write(PDPT, struct.pack("<Q", DIRECTORY | 7))
        for number, (linear, physical, pages, rights) in enumerate(
            (
                (0, 0, 256, 3),
                (header["code"], CODE, 1, 5),
                (header["data"], DATA, len(self.data) >> 12, 7),
                (header["stack"], STACK, len(self.stack) >> 12, 7),
            )
        ):
            table = TABLES + number * 0x1000
            self.write(DIRECTORY + (linear >> 21) * 8, struct.pack("<Q", table | 7))
            for page in range(pages):
                entry = table + ((linear >> 12) + page & 511) * 8
                self.write(entry, struct.pack("<Q", physical + page * 0x1000 | rights))
        descriptors = {
            1: 0x00AF9B000000FFFF, 2: 0x00CF93000000FFFF, 4: 0x00CFFB000000FFFF, 5: 0x00CFF3000000FFFF,
            6: 0x00AFFB000000FFFF, 8: 0x0000890000000067 | (TSS & 0xFFFFFF) << 16,
        }  # fmt: skip
        for index, descriptor in descriptors.items():
            self.write(GDT + index * 8, struct.pack("<Q", descriptor))
        self.write(TSS + 4, struct.pack("<Q", KERNEL_STACK))
        self.write(TSS + 0x66, struct.pack("<H", 0x68))  # no I/O permission bitmap
        for vector in range(256):
            offset = STUBS + vector
            gate = 0xEE if vector in (1, 3, 4) else 0x8E
            self.write(IDT + vector * 16, struct.pack("<HHBBHII", offset, 8, 0, gate, 0, 0, 0))
        self.write(STUBS, b"\xf4" * 256)
        cpu = self.cpu
        cpu.efer = 0x100 | 0x400
        cpu.cr4 = 0x20 | 0x200 | 0x400 | 0x40000
        cpu.cr3 = PML4
        cpu.cr0 = 0x80010033
        cpu.gdtr.base, cpu.gdtr.limit = GDT, 0x7F
        cpu.idtr.base, cpu.idtr.limit = IDT, 0xFFF
        cpu.tr.set(0x40, TSS, 0x67, 0x8B)
        self.reset()

    def write(self, address: int, data: bytes) -> None:
        """Physical memory, noticing decoded code."""
        self.memory.write(address, data)

    def reset(self) -> None:
        """User mode and its segments."""
        enter_user_mode(self.cpu, self.mode)

    def load_code(self, code: bytes) -> None:
        """Fresh data and stack, this code followed by INT3, user mode at its start."""
        self.write(CODE, code + b"\xcc" * 16)
        self.memory.ram[DATA : DATA + len(self.data)] = memoryview(self.data)
        self.memory.ram[STACK : STACK + len(self.stack)] = memoryview(self.stack)
        self.reset()
        self.cpu.rip = self.header["code"]

    @property
    def vector(self) -> int | None:
        """The vector of the fault that was delivered, None where the processor is in user code."""
        rip = self.cpu.rip
        return rip - STUBS - (1 if self.cpu.activity == 1 else 0) if STUBS <= rip <= STUBS + 256 else None

    def run(self, case: Case) -> list[str]:
        """Executes one case; returns the differences, none if it behaves as the processor did."""
        cpu, header = self.cpu, self.header
        self.load_code(bytes.fromhex(case["b"]))
        registers = case["r"]
        for name in GPR:
            setattr(cpu, name, int(registers.get(name, "0"), 16))
        cpu.rflags = int(registers["eflags"], 16)
        for number, value in enumerate(case.get("x", ())):
            cpu.set_xmm(number, int(value, 16))
        cpu.mxcsr = case.get("mx", 0x1F80)
        if "f" in case:
            f = case["f"]
            values = [tuple(int(part, 16) for part in st.split(":")) for st in f["st"]]
            cpu.set_fpu(f["cw"], f["top"] << 11, f["tag"], values)
        else:
            cpu.set_fpu(0x37F, 0, 0, [(0, 0)] * 8)
        for _ in range(MAX_ITERATIONS):
            self.engine.run(1)
            if cpu.rip != header["code"]:
                break
        return list(self.differences(case))

    def differences(self, case: Case) -> Iterator[str]:
        """What is not as captured."""
        cpu, header, outcome = self.cpu, self.header, case["o"]
        rip, vector = cpu.rip, self.vector
        if outcome["sig"]:
            if vector not in SIGNAL_VECTORS[outcome["sig"]]:
                got = f"rip {rip - header['code']:+d}" if vector is None else f"vector {vector}"
                yield f"expected signal {outcome['sig']} (code {outcome.get('code')}), got {got}"
            return
        if vector is not None:
            yield f"unexpected fault {cpu.last_fault}"
            return
        if rip - header["code"] != outcome["ip"]:
            yield f"rip advanced by {rip - header['code']}, expected {outcome['ip']}"
        expected = {name: int(outcome["r"].get(name, case["r"].get(name, "0")), 16) for name in GPR}
        for name, value in expected.items():
            if getattr(cpu, name) != value:
                yield f"{name} is {getattr(cpu, name):x}, expected {value:x}"
        wrong = (cpu.rflags ^ outcome["fl"]) & COMPARED_FLAGS & ~case["fu"]
        if wrong:
            yield f"flags {wrong:x} differ: {cpu.rflags & COMPARED_FLAGS:x}, expected {outcome['fl']:x}"
        for number, initial in enumerate(case.get("x", ())):
            value = int(outcome.get("x", {}).get(str(number), initial), 16)
            if cpu.xmm(number) != value:
                yield f"xmm{number} is {cpu.xmm(number):032x}, expected {value:032x}"
        if "mx" in outcome and cpu.mxcsr != outcome["mx"]:
            yield f"mxcsr is {cpu.mxcsr:x}, expected {outcome['mx']:x}"
        if "f" in outcome:
            yield from self.fpu_differences(outcome["f"])
        yield from self.memory_differences(outcome.get("m", []))

    def fpu_differences(self, expected: dict[str, Any]) -> Iterator[str]:
        """The x87 registers, compared by ST number; empty ones count too."""
        state = self.cpu.fpu()
        for name, key in (("control", "cw"), ("status", "sw"), ("valid", "tag")):
            if state[name] != expected[key]:
                yield f"x87 {name} is {state[name]:04x}, expected {expected[key]:04x}"
        for number, text in enumerate(expected["st"]):
            mantissa, sign_exponent = (int(part, 16) for part in text.split(":"))
            if state["st"][number] != (mantissa, sign_exponent):
                got = state["st"][number]
                yield f"st{number} is {got[0]:016x}:{got[1]:04x}, expected {text}"

    def memory_differences(self, changed: list[list[Any]]) -> Iterator[str]:
        """Data and stack against their initial contents with the captured changes."""
        for linear, physical, initial in (
            (self.header["data"], DATA, self.data),
            (self.header["stack"], STACK, self.stack),
        ):
            expected = bytearray(initial)
            for address, text in changed:
                if linear <= address < linear + len(initial):
                    value = bytes.fromhex(text)
                    expected[address - linear : address - linear + len(value)] = value
            got = bytes(self.memory.ram[physical : physical + len(initial)])
            if got != expected:
                first = next(n for n in range(len(expected)) if got[n] != expected[n])
                yield (
                    f"memory at {linear + first:x} is {got[first : first + 16].hex()}, "
                    f"expected {expected[first : first + 16].hex()}"
                )


LAYOUT = {
    "code": 0x10000000, "data": 0x20000000, "stack": 0x30000000, "data_hex": "00" * 0x4000, "stack_hex": "00" * 0x2000,
}  # fmt: skip
"""A header for tests that bring their own code."""


@cache
def machine(mode: int) -> UserMachine:
    """One machine for each mode, shared by the tests of a process."""
    return UserMachine(mode, load(mode)[0])


def check(
    mode: int,
    wanted: Callable[[Case], bool],
    *,
    at_least: int = 1,
    ignore: Callable[[Case], bool] | None = None,
) -> None:
    """Runs all wanted cases and fails with the first differences; asserts that there were some."""
    chosen = [case for case in cases(mode, wanted) if ignore is None or not ignore(case)]
    assert len(chosen) >= at_least, f"only {len(chosen)} cases match"
    failures = []
    for case in chosen:
        differences = machine(mode).run(case)
        if differences:
            failures.append(f"{case['n']} `{case['t']}` ({case['b']}): " + "; ".join(differences))
    assert not failures, f"{len(failures)} of {len(chosen)} cases differ:\n" + "\n".join(failures[:20])
