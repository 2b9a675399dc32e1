"""A bare guest for tests of system instructions: descriptor tables as bytes, a handler for every vector, no firmware.

Memory: GDT at 1000h, IDT at 2000h, TSS at 3000h, LDT at 4000h, 16 bytes of handler code for each vector at 8000h (a HLT
unless the test puts code there), stacks ending at 7000h (ring 0), 6000h (interrupt stack) and 28000h (ring 3), code at
10000h, page tables at 40000h.
"""

from __future__ import annotations

from x86emu._core import Engine
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.core.memory import PhysicalMemory
from x86emu.isa.models import resolve_model

GDT, IDT, TSS, LDT, HANDLERS = 0x1000, 0x2000, 0x3000, 0x4000, 0x8000
CODE, STACK0, STACK_IST, STACK3, PAGES = 0x10000, 0x7000, 0x6000, 0x28000, 0x40000
HLT = b"\xf4"

# Selectors of the GDT that protected() and long_mode() build
CODE0, DATA0, CODE3, DATA3, TSS_SELECTOR, LDT_SELECTOR = 0x08, 0x10, 0x1B, 0x23, 0x28, 0x38
CODE0_64, CODE3_64 = 0x48, 0x53
FREE = 0x60  # the first entry that a test may use

# Descriptor access bytes
CODE_ACCESS, DATA_ACCESS = 0x9B, 0x93
PAGED, PROTECTED = 0x80000000, 1


def descriptor(base: int, limit: int, access: int, flags: int = 0) -> bytes:
    """An 8-byte descriptor; flags is the nibble G D/B L AVL; limit in the unit that G says."""
    low = (limit & 0xFFFF) | (base & 0xFFFFFF) << 16
    high = (base >> 16) & 0xFF | access << 8 | limit & 0xF0000 | flags << 20 | base & 0xFF000000
    return (low | high << 32).to_bytes(8, "little")


def gate(selector: int, offset: int, access: int, low_byte: int = 0) -> bytes:
    """An 8-byte gate; low_byte is the parameter count, or the interrupt stack table entry."""
    value = offset & 0xFFFF | selector << 16 | low_byte << 32 | access << 40 | (offset >> 16 & 0xFFFF) << 48
    return value.to_bytes(8, "little")


def gate64(selector: int, offset: int, access: int, ist: int = 0) -> bytes:
    """A 16-byte gate of IA-32e mode."""
    return gate(selector, offset, access, ist) + (offset >> 32).to_bytes(8, "little")


class Guest:
    """One processor with 4 MiB of RAM."""

    def __init__(self, model: str = "default") -> None:
        self.memory = PhysicalMemory(4 << 20, 0)
        self.memory.map(0, 4 << 20, 0, 0)
        self.wiring = Wiring()
        self.ports, self.mmio = PortSpace(self.wiring), MmioSpace(self.wiring)
        self.signals = CpuSignals()
        self.clock = Clock(self.wiring)
        self.engine = Engine(self.memory, self.wiring, self.clock, [self.signals], resolve_model(model))
        self.cpu = self.engine.cpus[0]
        self.cpu.activity = 0

    # ----- memory -----
    def put(self, address: int, data: bytes) -> None:
        self.memory.write(address, data)

    def word(self, address: int, size: int = 4) -> int:
        return int.from_bytes(self.memory.read(address, size), "little")

    def words(self, address: int, count: int, size: int = 4) -> list[int]:
        return [self.word(address + size * k, size) for k in range(count)]

    # ----- running -----
    def code(self, data: bytes, address: int = CODE) -> None:
        """Code to run next, with a HLT behind it."""
        self.put(address, data + HLT)
        self.cpu.rip = address - self.cpu.cs.base
        self.cpu.activity = 0

    def run(self, limit: int = 10000) -> str:
        return str(self.engine.run(limit))

    def step(self, count: int = 1) -> None:
        for _ in range(count):
            self.engine.step()

    def vector(self) -> int:
        """Vector of the handler whose first HLT the processor stopped in; fails the test where it did not."""
        linear = self.cpu.cs.base + self.cpu.rip
        assert HANDLERS < linear <= HANDLERS + 0x1000 and (linear - HANDLERS) % 16 == 1, f"stopped at {linear:#x}"
        return (linear - HANDLERS) // 16

    def fault(self, code: bytes, size: int = 4) -> tuple[int, int]:
        """Runs code that faults with an error code; (vector, error code)."""
        self.code(code)
        assert self.run() == "halted"
        return self.vector(), self.word(self.cpu.ss.base + self.cpu.rsp, size)

    # ----- modes -----
    def real(self) -> None:
        """Real mode, interrupt vectors at 0 (handlers at 0800h:vector * 16), SS:SP = 0000:7000."""
        for vector in range(256):
            self.put(vector * 4, (vector * 16).to_bytes(2, "little") + (HANDLERS >> 4).to_bytes(2, "little"))
            self.put(HANDLERS + vector * 16, HLT)
        cpu = self.cpu
        cpu.cs.set(CODE >> 4, CODE, 0xFFFF, 0x93)
        for name in ("ds", "es", "ss", "fs", "gs"):
            getattr(cpu, name).set(0, 0, 0xFFFF, 0x93)
        cpu.idtr.base, cpu.idtr.limit = 0, 0x3FF
        cpu.rsp = STACK0

    def entry(self, selector: int, raw: bytes) -> None:
        """A GDT or LDT entry."""
        self.put((LDT if selector & 4 else GDT) + (selector & 0xFFF8), raw)

    def interrupt_gate(self, vector: int, access: int = 0x8E, selector: int = CODE0, ist: int = 0) -> None:
        wide = self.cpu.efer & 0x400
        raw = (gate64 if wide else gate)(selector, HANDLERS + vector * 16, access, ist)
        self.put(IDT + vector * len(raw), raw)

    def _tables(self) -> None:
        self.entry(CODE0, descriptor(0, 0xFFFFF, CODE_ACCESS, 0xC))
        self.entry(DATA0, descriptor(0, 0xFFFFF, DATA_ACCESS, 0xC))
        self.entry(CODE3, descriptor(0, 0xFFFFF, CODE_ACCESS | 0x60, 0xC))
        self.entry(DATA3, descriptor(0, 0xFFFFF, DATA_ACCESS | 0x60, 0xC))
        self.entry(TSS_SELECTOR, descriptor(TSS, 0x2FF, 0x8B))
        self.entry(LDT_SELECTOR, descriptor(LDT, 0xFF, 0x82))
        self.entry(CODE0_64, descriptor(0, 0, CODE_ACCESS, 0x2))
        self.entry(CODE3_64, descriptor(0, 0, CODE_ACCESS | 0x60, 0x2))
        for vector in range(256):
            self.put(HANDLERS + vector * 16, HLT)
        cpu = self.cpu
        cpu.gdtr.base, cpu.gdtr.limit = GDT, 0x3FF
        cpu.idtr.base, cpu.idtr.limit = IDT, 0x7FF
        cpu.ldtr.set(LDT_SELECTOR, LDT, 0xFF, 0x82)
        cpu.tr.set(TSS_SELECTOR, TSS, 0x2FF, 0x8B)

    def _flat(self, code: int, data: int, cpl: int, code_attributes: int) -> None:
        cpu = self.cpu
        dpl = cpl << 5
        cpu.cpl = cpl
        cpu.cs.set(code, 0, 0xFFFFFFFF, code_attributes | dpl)
        for name in ("ds", "es", "ss", "fs", "gs"):
            getattr(cpu, name).set(data, 0, 0xFFFFFFFF, 0xC093 | dpl)
        cpu.rsp = STACK3 if cpl else STACK0

    def protected(self, cpl: int = 0) -> None:
        """32-bit protected mode without paging, flat segments, interrupt gates to ring 0 for all vectors."""
        self._tables()
        self.cpu.cr0 = (self.cpu.cr0 & ~PAGED) | PROTECTED
        for vector in range(256):
            self.interrupt_gate(vector)
        self.put(TSS + 4, STACK0.to_bytes(4, "little") + DATA0.to_bytes(4, "little"))
        self.put(TSS + 0x66, (0x100).to_bytes(2, "little"))
        self._flat(CODE3 if cpl else CODE0, DATA3 if cpl else DATA0, cpl, 0xC09B)

    def v86(self, iopl: int = 0, flags: int = 0) -> None:
        """Virtual-8086 mode under protected(): CS base at CODE, SS:SP 2000h:8000h."""
        self.protected()
        self.cpu.rflags = 0x20002 | iopl << 12 | flags
        self.cpu.cpl = 3
        for name in ("ds", "es", "fs", "gs"):
            getattr(self.cpu, name).set(0, 0, 0xFFFF, 0xF3)
        self.cpu.cs.set(CODE >> 4, CODE, 0xFFFF, 0xF3)
        self.cpu.ss.set(0x2000, 0x20000, 0xFFFF, 0xF3)
        self.cpu.rsp = 0x8000

    def long_mode(self, cpl: int = 0) -> None:
        """64-bit mode, identity-mapped user pages of 2 MiB for the first 4 MiB."""
        self._tables()
        self.put(PAGES, (PAGES + 0x1007).to_bytes(8, "little"))
        self.put(PAGES + 0x1000, (PAGES + 0x2007).to_bytes(8, "little"))
        for k in range(2):
            self.put(PAGES + 0x2000 + 8 * k, ((k << 21) | 0x87).to_bytes(8, "little"))
        cpu = self.cpu
        cpu.cr4 = 0x20
        cpu.efer = 0x501
        cpu.cr3 = PAGES
        cpu.cr0 = (cpu.cr0 | PAGED | PROTECTED) & ~0x60000000
        for vector in range(256):
            self.interrupt_gate(vector, selector=CODE0_64)
        cpu.idtr.limit = 0xFFF
        self.put(TSS + 4, STACK0.to_bytes(8, "little"))
        self.put(TSS + 0x24, STACK_IST.to_bytes(8, "little"))
        self.put(TSS + 0x66, (0x100).to_bytes(2, "little"))
        self._flat(CODE3_64 if cpl else CODE0_64, DATA3 if cpl else DATA0, cpl, 0xA09B)
