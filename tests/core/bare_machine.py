"""A processor with RAM, ports and nothing else, for tests of single instructions in each mode.

Code lies at CODE, data at DATA.  Every vector leads to its own HLT, so that a fault is read off RIP and the stack.
Modes: "real" (16-bit), "protected" (32-bit, no paging), "long" (64-bit, everything mapped to itself by 2-MiB pages).
"""

from __future__ import annotations

import struct

from x86emu._core import Engine
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import PortSpace
from x86emu.core.memory import PhysicalMemory
from x86emu.devices.lapic import ApicBus, LocalApic
from x86emu.isa.models import resolve_model

RAM = 4 << 20
PML4, PDPT, DIRECTORY, GDT, IDT, STUBS, TSS, STACK, CODE, DATA = (
    0x1000, 0x2000, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000, 0x9000, 0xA000, 0x10000,
)  # fmt: skip
USER_STACK = 0xF000


class Fault(Exception):
    """The code under test raised an exception: args are (vector, error code or None)."""


class BareMachine:
    """One processor (or more, of which the others wait for a start-up IPI) of a model in a mode."""

    def __init__(
        self, mode: str = "long", model: str = "max", cpl: int = 0, apic: bool = False, processors: int = 1
    ) -> None:
        self.mode = mode
        self.memory = PhysicalMemory(RAM, 0)
        self.memory.map(0, RAM, 0, 0)
        self.wiring = Wiring()
        self.clock = Clock(self.wiring)
        self.ports = PortSpace(self.wiring)
        self.signals = signals = [CpuSignals(n) for n in range(processors)]
        resolved = resolve_model(model)
        self.lapic = LocalApic(0, signals[0], self.clock, ApicBus(), bsp=True) if apic else None
        self.engine = Engine(self.memory, self.wiring, self.clock, signals, resolved)
        self.memory.write(STUBS, b"\xf4" * 256)
        self._tables()
        for cpu in reversed(self.engine.cpus):
            self.cpu = cpu
            self.enter(cpl)

    def _tables(self) -> None:
        memory = self.memory
        memory.write(PML4, struct.pack("<Q", PDPT | 7))
        memory.write(PDPT, struct.pack("<Q", DIRECTORY | 7))
        memory.write(DIRECTORY, struct.pack("<2Q", 0x87, 0x200087))
        descriptors = {
            1: 0x00AF9B000000FFFF, 2: 0x00CF93000000FFFF, 3: 0x00CF9B000000FFFF, 4: 0x00CFFB000000FFFF,
            5: 0x00CFF3000000FFFF, 6: 0x00AFFB000000FFFF, 8: 0x0000890000000067 | TSS << 16,
        }  # fmt: skip
        for index, descriptor in descriptors.items():
            memory.write(GDT + index * 8, struct.pack("<Q", descriptor))
        if self.mode == "long":
            memory.write(TSS + 4, struct.pack("<Q", STACK))
            for vector in range(256):
                memory.write(IDT + vector * 16, struct.pack("<HHBBHII", STUBS + vector, 8, 0, 0x8E, 0, 0, 0))
        elif self.mode == "protected":
            memory.write(TSS + 4, struct.pack("<IH", STACK, 0x10))
            memory.write(TSS + 102, struct.pack("<H", 104))
            for vector in range(256):
                memory.write(IDT + vector * 8, struct.pack("<HHBBH", STUBS + vector, 0x18, 0, 0x8E, 0))
        else:
            for vector in range(256):
                memory.write(vector * 4, struct.pack("<HH", STUBS + vector, 0))

    def enter(self, cpl: int = 0) -> None:
        """Puts the processor into the mode of the tests."""
        cpu = self.cpu
        if self.mode == "real":
            for name in ("cs", "ss", "ds", "es", "fs", "gs"):
                getattr(cpu, name).set(0, 0, 0xFFFF, 0x93 if name != "cs" else 0x9B)
            cpu.idtr.base, cpu.idtr.limit = 0, 0x3FF
        else:
            cpu.gdtr.base, cpu.gdtr.limit = GDT, 0x7F
            cpu.idtr.base, cpu.idtr.limit = IDT, 0xFFF
            cpu.tr.set(0x40, TSS, 0x67, 0x8B)
            user = 0x60 if cpl == 3 else 0
            if self.mode == "long":
                cpu.cr4 = 0x620
                cpu.cr3 = PML4
                cpu.efer = 0xD00
                cpu.cr0 = 0x80050033
                cpu.cs.set(0x33 if cpl == 3 else 8, 0, 0xFFFFFFFF, 0xA09B | user)
            else:
                cpu.cr0 = 0x33
                cpu.cr4 = 0x600 if "sse" in self.features else 0
                cpu.cs.set(0x23 if cpl == 3 else 0x18, 0, 0xFFFFFFFF, 0xC09B | user)
            for segment in (cpu.ss, cpu.ds, cpu.es, cpu.fs, cpu.gs):
                segment.set(0x2B if cpl == 3 else 0x10, 0, 0xFFFFFFFF, 0xC093 | user)
            cpu.cpl = cpl
        cpu.rsp = USER_STACK

    @property
    def features(self) -> frozenset[str]:
        return self.engine.model.features

    def run(self, code: str, budget: int = 10000, **registers: int) -> None:
        """Runs code (hexadecimal, blanks allowed) with these registers up to its end; raises Fault."""
        raw = bytes.fromhex(code)
        cpu = self.cpu
        self.memory.write(CODE, raw + b"\xf4")
        for name, value in registers.items():
            setattr(cpu, name, value)
        cpu.rip = CODE
        cpu.activity = 0
        cpl = cpu.cpl
        if cpl == 0:
            reason = self.engine.run(budget)
        else:  # HLT is not for user mode: stop where the code ends
            reason = "instructions"
            for _ in range(budget):
                self.engine.step()
                if cpu.rip == CODE + len(raw) or cpu.activity:
                    break
        if STUBS < cpu.rip <= STUBS + 256:
            vector = cpu.rip - STUBS - 1
            raise Fault(vector, self._error_code() if vector in (8, 10, 11, 12, 13, 14, 17, 21) else None)
        if STUBS == cpu.rip or (cpl and cpu.rip in range(STUBS, STUBS + 256)):
            vector = cpu.rip - STUBS
            raise Fault(vector, self._error_code() if vector in (8, 10, 11, 12, 13, 14, 17, 21) else None)
        assert reason in ("halted", "instructions"), reason
        assert cpu.rip in (CODE + len(raw), CODE + len(raw) + 1), f"stopped at {cpu.rip:#x}"

    def _error_code(self) -> int | None:
        if self.mode == "real":
            return None
        size = 8 if self.mode == "long" else 4
        return int.from_bytes(self.memory.read(self.cpu.rsp, size), "little")

    def fault(self, code: str, **registers: int) -> tuple[int, int | None] | None:
        """(vector, error code) of the fault that code raises, None if it runs through."""
        try:
            self.run(code, **registers)
        except Fault as fault:
            return fault.args[0], fault.args[1]
        return None

    def rdmsr(self, number: int) -> int:
        """RDMSR at CPL 0. Raises Fault."""
        self.run("0f32", rcx=number)
        return int(self.cpu.rdx << 32 | self.cpu.rax)

    def wrmsr(self, number: int, value: int) -> None:
        """WRMSR at CPL 0. Raises Fault."""
        self.run("0f30", rcx=number, rax=value & 0xFFFFFFFF, rdx=value >> 32)
