"""A processor in flat memory without paging, just enough to run x87 instructions one by one."""

from __future__ import annotations

import struct

from x86emu._core import Engine
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.core.memory import PhysicalMemory
from x86emu.isa.models import load_model

F80 = tuple[int, int]
CODE, DATA, IDT, GDT, STUBS = 0x10000, 0x20000, 0x3000, 0x4000, 0x5000
NUMERIC_ERROR = 0x20
TASK_SWITCHED, MONITOR = 0x8, 0x2


class FpuMachine:
    """mode 16: real mode; 32: protected mode, flat. Faults lead to HLT at STUBS + vector."""

    def __init__(self, mode: int = 32, cr0: int = NUMERIC_ERROR) -> None:
        self.mode = mode
        self.memory = PhysicalMemory(1 << 20, 0)
        self.memory.map(0, 1 << 20, 0, 0)
        wiring = Wiring()
        self.signals = CpuSignals()
        self.engine = Engine(self.memory, wiring, Clock(wiring), [self.signals], load_model("default"))
        self.cpu = self.engine.cpus[0]
        cpu = self.cpu
        self.memory.write(STUBS, b"\xf4" * 256)
        if mode == 32:
            cpu.cr0 = 0x11 | cr0
            for n in range(256):
                self.memory.write(IDT + 8 * n, struct.pack("<HHBBH", STUBS + n, 8, 0, 0x8E, 0))
            self.memory.write(GDT + 8, struct.pack("<QQ", 0x00CF9B000000FFFF, 0x00CF93000000FFFF))
            cpu.gdtr.base, cpu.gdtr.limit = GDT, 0x17
            cpu.idtr.base, cpu.idtr.limit = IDT, 0x7FF
            cpu.cs.set(8, 0, 0xFFFFFFFF, 0xC09B)
            for segment in (cpu.ss, cpu.ds, cpu.es):
                segment.set(0x10, 0, 0xFFFFFFFF, 0xC093)
        else:
            cpu.cr0 = 0x10 | cr0
            for n in range(256):
                self.memory.write(4 * n, struct.pack("<HH", n, STUBS >> 4))
            cpu.cs.set(CODE >> 4, CODE, 0xFFFF, 0x9B)
            cpu.ds.set(DATA >> 4, DATA, 0xFFFF, 0x93)
            cpu.ss.set(0x9000, 0x90000, 0xFFFF, 0x93)
        cpu.rsp = 0x8000
        self.origin = CODE if mode == 32 else 0

    def set_fpu(self, st: list[F80], control: int = 0x37F, status: int = 0, valid: int | None = None) -> None:
        """st from ST0 up; by default just those are not empty. valid: bit = ST number not empty."""
        top = (status >> 11) & 7
        chosen = (1 << len(st)) - 1 if valid is None else valid
        physical = sum(1 << ((top + n) & 7) for n in range(8) if chosen >> n & 1)
        self.cpu.set_fpu(control, status, physical, st + [(0, 0)] * (8 - len(st)))

    def run(self, code: bytes | str, data: bytes = b"", instructions: int = 1) -> int | None:
        """Runs instructions at CODE with data at DATA; (E)DI points to it. The vector of a fault, or None."""
        cpu = self.cpu
        raw = bytes.fromhex(code) if isinstance(code, str) else code
        if self.mode == 32:
            cpu.cs.set(8, 0, 0xFFFFFFFF, 0xC09B)
        else:
            cpu.cs.set(CODE >> 4, CODE, 0xFFFF, 0x9B)
        self.memory.write(CODE, raw + b"\xcc" * 4)
        if data:
            self.memory.write(DATA, data)
        cpu.activity = 0
        cpu.rdi = DATA if self.mode == 32 else 0
        cpu.rbx = 0
        cpu.rip = self.origin
        self.engine.run(instructions)
        linear = cpu.cs.base + cpu.rip
        if STUBS <= linear <= STUBS + 256:
            return int(linear - STUBS - (1 if cpu.activity == 1 else 0))
        return None

    def data(self, n: int) -> bytes:
        """n bytes at DATA."""
        return self.memory.read(DATA, n)
