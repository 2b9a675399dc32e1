"""A 64-bit machine with shadow stacks: CR4.CET is set, and the 2 MiB from 200000h on are mapped by 4-KiB pages."""

from __future__ import annotations

import struct

from tests.core.bare_machine import CODE, DIRECTORY, IDT, BareMachine

PAGES, SHADOW, USER_SHADOW, PLAIN = 0x20000, 0x200000, 0x210000, 0x220000
SH_STK, WR_SHSTK, ENDBR, LEG_IW, NO_TRACK, SUPPRESS_DIS, SUPPRESS, TRACKER = 1, 2, 4, 8, 16, 32, 0x400, 0x800
SUPERVISOR_ENTRY, USER_ENTRY, PLAIN_ENTRY = 0x41, 0x45, 0x47
"""Present and dirty, and read-only: shadow stacks; and a writable user page."""
TOP, USER_TOP = SHADOW + 0x800, USER_SHADOW + 0x800
ENDBR64, ENDBR32 = "f30f1efa", "f30f1efb"
CP_HANDLER = 0x6800
CP, GP, UD, PF = 21, 13, 6, 14


class CetMachine(BareMachine):
    """Shadow stacks at SHADOW and USER_SHADOW."""

    def __init__(self, cpl: int = 0, model: str = "max", s_cet: int = 0, u_cet: int = 0) -> None:
        super().__init__("long", model, cpl)
        self.memory.write(DIRECTORY + 8, struct.pack("<Q", PAGES | 7))
        for page, entry in ((SHADOW, SUPERVISOR_ENTRY), (USER_SHADOW, USER_ENTRY), (PLAIN, PLAIN_ENTRY)):
            self.map(page, entry)
        cpu = self.cpu
        cpu.cr4 = cpu.cr4 | 0x800000
        cpu.s_cet, cpu.u_cet = s_cet, u_cet
        cpu.ssp = USER_TOP if cpl == 3 else TOP

    def map(self, linear: int, flags: int) -> None:
        """One page from 200000h on, to the same physical address."""
        self.memory.write(PAGES + (linear - 0x200000 >> 12) * 8, struct.pack("<Q", linear | flags))
        self.cpu.cr3 = self.cpu.cr3  # flushes

    def gate(self, vector: int, handler: int, ist: int = 0) -> None:
        self.memory.write(IDT + vector * 16, struct.pack("<HHBBHII", handler, 8, ist, 0xEE, 0, 0, 0))

    def word(self, address: int) -> int:
        return int.from_bytes(self.memory.read(address, 8), "little")

    def put(self, address: int, *values: int) -> None:
        self.memory.write(address, struct.pack(f"<{len(values)}Q", *values))

    def step(self, code: str, count: int = 1, at: int = CODE, **registers: int) -> None:
        """Single instructions from `at` on."""
        self.memory.write(at, bytes.fromhex(code) + b"\xf4")
        for name, value in registers.items():
            setattr(self.cpu, name, value)
        self.cpu.rip, self.cpu.activity = at, 0
        for _ in range(count):
            self.engine.step()

    def protection(self, code: str, **registers: int) -> int | None:
        """Runs code to its HLT at CPL 0, or to #CP; the error code of the #CP, or None."""
        self.memory.write(CP_HANDLER, bytes.fromhex(ENDBR64 + "f4"))
        self.gate(CP, CP_HANDLER)
        self.memory.write(CODE, bytes.fromhex(code) + b"\xf4")
        for name, value in registers.items():
            setattr(self.cpu, name, value)
        self.cpu.rip, self.cpu.activity = CODE, 0
        self.engine.run(1000)
        if self.cpu.rip == CP_HANDLER + 5:
            return self.word(self.cpu.rsp)
        assert CODE < self.cpu.rip <= CODE + len(code) // 2 + 1, f"stopped at {self.cpu.rip:#x}"
        return None
