"""A host in 64-bit mode that runs one VMX guest in 64-bit mode, for tests of single entries and exits.

The guest has the host's page tables and segments; with EPT its guest-physical memory is the host's first 4 MiB, mapped
by 4-KiB pages so that a test can change one.  Fields are written to the VMCS in memory, as virt/vmx/fields.py lays it
out.
"""

from __future__ import annotations

import struct

from tests.core.bare_machine import CODE, BareMachine
from x86emu.isa.vmx_capabilities import ENTRY, EXIT, PIN, PRIMARY, SECONDARY, TERTIARY, capability_msrs
from x86emu.virt.vmx.fields import FIELDS, LAUNCH_STATE, REVISION, read_vmcs

VMCS, VMXON, OTHER, POINTER, TABLES, GUEST, HOST_RIP = (
    0x100000,
    0x101000,
    0x102000,
    0x104000,
    0x110000,
    0x120000,
    0x121000,
)
BITMAPS, GUEST_DATA, LIST = 0x122000, 0x130000, 0x131000
LAUNCH, RESUME = "0f01c2", "0f01c3"
AT_RBX = {"vmxon": "f30fc733", "vmclear": "660fc733", "vmptrld": "0fc733", "vmptrst": "0fc73b"}
CF, ZF = 1, 0x40


class VmxGuest:
    """The machine in VMX operation with a current VMCS that describes a guest like the host."""

    def __init__(
        self,
        model: str = "nehalem_ept",
        ept: bool = True,
        on: bool = True,
        apic: bool = False,
        processors: int = 1,
        index: int = 0,
    ) -> None:
        """index: which of several processors is in VMX operation; the others are halted."""
        self.machine = BareMachine("long", model, apic=apic, processors=processors)
        for cpu in self.machine.engine.cpus:
            cpu.activity = 1
        self.machine.cpu = self.machine.engine.cpus[index]
        self.memory, self.cpu = self.machine.memory, self.machine.cpu
        self.features = self.machine.features
        self.memory.write(HOST_RIP, b"\xf4")
        for address in (VMCS, VMXON, OTHER):
            self.memory.write(address, struct.pack("<I", REVISION))
        self.machine.wrmsr(0x3A, 5)
        self.cpu.cr4 = self.cpu.cr4 | 0x2000
        if not on:
            return
        self.pointer("vmxon", VMXON)
        self.pointer("vmclear", VMCS)
        self.pointer("vmptrld", VMCS)
        capabilities = capability_msrs(self.features)
        true = 12 if capabilities[0] >> 55 & 1 else 0  # CR3 accesses need not exit
        cpu = self.cpu
        self.set(
            pin_controls=capabilities[1] & 0xFFFFFFFF, primary_controls=(capabilities[2 + true] & 0xFFFFFFFF),
            exit_controls=(capabilities[3] & 0xFFFFFFFF) | 1 << EXIT["host_address_space_size"],
            entry_controls=(capabilities[4] & 0xFFFFFFFF) | 1 << ENTRY["ia32e_mode_guest"],
            vmcs_link_pointer=0xFFFFFFFFFFFFFFFF, guest_rip=GUEST, guest_rsp=0xE000, guest_rflags=2, guest_dr7=0x400,
            host_cr0=cpu.cr0, host_cr3=cpu.cr3, host_cr4=cpu.cr4, host_rip=HOST_RIP, host_rsp=cpu.rsp,
            guest_cr0=cpu.cr0, guest_cr3=cpu.cr3, guest_cr4=cpu.cr4,
            host_cs_selector=8, host_ss_selector=0x10, host_ds_selector=0x10, host_es_selector=0x10,
            host_tr_selector=0x40, host_tr_base=cpu.tr.base, host_gdtr_base=cpu.gdtr.base, host_idtr_base=cpu.idtr.base,
            guest_gdtr_base=cpu.gdtr.base, guest_gdtr_limit=cpu.gdtr.limit, guest_idtr_base=cpu.idtr.base,
            guest_idtr_limit=cpu.idtr.limit, io_bitmap_a=BITMAPS,
            io_bitmap_b=BITMAPS + 0x1000, msr_bitmap=BITMAPS + 0x2000,
        )  # fmt: skip
        for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
            segment = getattr(cpu, name)
            rights = segment.attributes if segment.attributes & 0x80 and name != "ldtr" else 0x10000
            self.set(**{f"guest_{name}_selector": segment.selector, f"guest_{name}_base": segment.base,
                        f"guest_{name}_limit": segment.limit, f"guest_{name}_access_rights": rights})  # fmt: skip
        if ept and "ept" in self.features:
            self.memory.write(TABLES, struct.pack("<Q", TABLES + 0x1007))
            self.memory.write(TABLES + 0x1000, struct.pack("<Q", TABLES + 0x2007))
            for k in range(2):
                self.memory.write(TABLES + 0x2000 + 8 * k, struct.pack("<Q", TABLES + 0x3007 + 0x1000 * k))
            for page in range(1024):
                self.map_page(page << 12, page << 12)
            self.set(ept_pointer=TABLES | 0x1E)
            self.control(PRIMARY, "activate_secondary_controls")
            self.control(SECONDARY, "enable_ept")

    def pointer(self, instruction: str, address: int) -> int:
        """VMXON, VMCLEAR, VMPTRLD with an address; the arithmetic flags CF and ZF afterwards."""
        self.memory.write(POINTER, struct.pack("<Q", address))
        self.machine.run(AT_RBX[instruction], rbx=POINTER)
        return int(self.cpu.rflags) & (CF | ZF)

    def map_page(self, guest_physical: int, physical: int, rights: int = 7) -> None:
        """One leaf entry of the EPT, write-back memory."""
        entry = physical | rights | (0x30 if rights else 0)
        self.memory.write(TABLES + 0x3000 + (guest_physical >> 12) * 8, struct.pack("<Q", entry))

    def set(self, **fields: int) -> None:
        for name, value in fields.items():
            self.memory.write(VMCS + FIELDS[name].offset, struct.pack("<Q", value))

    def get(self, name: str) -> int:
        return int.from_bytes(self.memory.read(VMCS + FIELDS[name].offset, 8), "little")

    @property
    def vmcs(self) -> dict[str, int]:
        return read_vmcs(self.memory.read, VMCS)

    def control(self, table: dict[str, int], *names: str) -> None:
        """Sets controls to 1 by name."""
        tables = (
            (PIN, "pin"), (PRIMARY, "primary"), (SECONDARY, "secondary"), (TERTIARY, "tertiary"), (EXIT, "exit"),
            (ENTRY, "entry"),
        )  # fmt: skip
        field = next(f"{name}_controls" for known, name in tables if known is table)
        self.set(**{field: self.get(field) | sum(1 << table[name] for name in names)})
        if table is SECONDARY:
            self.control(PRIMARY, "activate_secondary_controls")
        if table is TERTIARY:
            self.control(PRIMARY, "activate_tertiary_controls")

    def run(self, guest: str = "", limit: int = 100000, **registers: int) -> int | None:
        """Launches the guest's code, with VMCALL behind it; the exit reason, None where the entry was a VMfail."""
        self.memory.write(GUEST, bytes.fromhex(guest) + b"\x0f\x01\xc1")
        self.memory.write(VMCS + LAUNCH_STATE, bytes(4))
        if GUEST < self.get("guest_rip") < GUEST + 0x100:  # where the last exit was
            self.set(guest_rip=GUEST)
        return self.enter(LAUNCH, limit, **registers)

    def enter(self, instruction: str, limit: int = 100000, **registers: int) -> int | None:
        cpu = self.cpu
        self.memory.write(CODE, bytes.fromhex(instruction) + b"\xf4")
        for name, value in registers.items():
            setattr(cpu, name, value)
        cpu.rip, cpu.activity = CODE, 0
        self.machine.engine.run(limit)
        if cpu.rip == HOST_RIP + 1:
            return self.get("exit_reason")
        assert cpu.rip == CODE + len(instruction) // 2 + 1, f"stopped at {cpu.rip:#x}"
        return None

    @property
    def error(self) -> int:
        """VM-instruction error of the last VMfailValid; 0 for VMsucceed and -1 for VMfailInvalid."""
        flags = self.cpu.rflags
        return -1 if flags & CF else self.get("instruction_error") if flags & ZF else 0
