"""A host in 64-bit mode that runs one SVM guest in 64-bit mode, for tests of single exits.

The guest has the host's page tables and segments; with nested paging its guest-physical memory is the host's first
4 MiB, mapped by 4-KiB pages so that a test can take one away.
"""

from __future__ import annotations

import struct

from tests.core.bare_machine import CODE, BareMachine
from x86emu.bus.platform import CpuSignals
from x86emu.virt.svm.vmcb import FIELDS, SIZE, read_field

VMCB, HOST_SAVE, IO_MAP, MSR_MAP, NESTED, GUEST = 0x100000, 0x101000, 0x102000, 0x106000, 0x110000, 0x120000
GUEST_DATA = 0x130000
RUN = "0f01d8"


class SvmGuest:
    """The machine, its host code (VMRUN, HLT) and the control block."""

    def __init__(self, model: str = "max", nested: bool = True) -> None:
        self.machine = BareMachine("long", model)
        self.memory, self.cpu, self.engine = self.machine.memory, self.machine.cpu, self.machine.engine
        cpu = self.cpu
        cpu.efer = cpu.efer | 0x1000
        for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
            segment = getattr(cpu, name)
            attributes = segment.attributes
            packed = (attributes & 0xFF) | (attributes >> 4 & 0xF00)
            self.memory.write(
                VMCB + FIELDS[name].offset,
                struct.pack("<HHIQ", segment.selector, packed, segment.limit, segment.base),
            )
        for name in ("gdtr", "idtr"):
            table = getattr(cpu, name)
            self.memory.write(VMCB + FIELDS[name].offset, struct.pack("<IIQ", 0, table.limit, table.base))
        self.set(
            efer=cpu.efer, cr0=cpu.cr0, cr3=cpu.cr3, cr4=cpu.cr4, rflags=2, rip=GUEST, rsp=0xE000, dr6=0xFFFF0FF0,
            dr7=0x400, intercept_misc2=3, guest_asid=1, iopm_base_pa=IO_MAP, msrpm_base_pa=MSR_MAP,
            g_pat=0x0007040600070406,
        )  # fmt: skip
        if nested:
            self.memory.write(NESTED, struct.pack("<Q", NESTED + 0x1007))
            self.memory.write(NESTED + 0x1000, struct.pack("<Q", NESTED + 0x2007))
            for k in range(2):
                self.memory.write(NESTED + 0x2000 + 8 * k, struct.pack("<Q", NESTED + 0x3007 + 0x1000 * k))
            for page in range(1024):
                self.map_page(page << 12, page << 12)
            self.set(np_enable=1, n_cr3=NESTED)

    def map_page(self, guest_physical: int, physical: int, flags: int = 7) -> None:
        """One entry of the nested tables."""
        self.memory.write(NESTED + 0x3000 + (guest_physical >> 12) * 8, struct.pack("<Q", physical | flags))

    def set(self, **fields: int) -> None:
        for name, value in fields.items():
            field = FIELDS[name]
            self.memory.write(VMCB + field.offset, value.to_bytes(field.width, "little"))

    def get(self, name: str) -> int:
        return read_field(self.block, name)

    @property
    def block(self) -> bytes:
        return bytes(self.memory.read(VMCB, SIZE))

    def run(self, guest: str, host: str = RUN, limit: int = 100000, **registers: int) -> int:
        """Runs the guest's code (with VMMCALL behind it) from a VMRUN of the host; the exit code."""
        self.memory.write(GUEST, bytes.fromhex(guest) + b"\x0f\x01\xd9")
        if self.get("cr0") >> 31:
            self.set(rip=GUEST)
        self.resume(host, limit, **registers)
        return self.get("exitcode")

    def resume(self, host: str = RUN, limit: int = 100000, **registers: int) -> int:
        self.memory.write(CODE, bytes.fromhex(host) + b"\xf4")
        cpu = self.cpu
        cpu.rip = CODE
        cpu.rax = VMCB
        for name, value in registers.items():
            setattr(cpu, name, value)
        cpu.activity = 0
        reason = self.engine.run(limit)
        assert reason in ("halted", "instructions"), reason
        assert cpu.rip == CODE + len(bytes.fromhex(host)) + 1, f"stopped at {cpu.rip:#x}, guest mode {cpu.guest_mode}"
        assert cpu.guest_mode == 0
        return self.get("exitcode")

    def machine_signals(self) -> CpuSignals:
        """The processor's wires."""
        return self.machine.signals[0]
