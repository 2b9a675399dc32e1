"""PVH kernels: an ELF file whose Xen note names a 32-bit physical entry (Xen documentation "PVH boot ABI").

The start-of-day structure is hvm_start_info version 1; the boot ROM fills in the memory map and the RSDP's address.

    offset  field           offset  field           offset  field
    0       magic           12      nr_modules      32      rsdp_paddr (64 bits)
    4       version         16      modlist_paddr   40      memmap_paddr
    8       flags           24      cmdline_paddr   48      memmap_entries
"""

from __future__ import annotations

import struct
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware.elf import ElfKernel
from x86emu.firmware.low_memory import LowMemory
from x86emu.firmware.multiboot import Module
from x86emu.firmware.plan import (
    FIRMWARE_RESERVE,
    MAP_ENTRY_BYTES,
    MAP_MAX_ENTRIES,
    BootPlan,
    EntryMode,
    MapKind,
)

XEN_ELFNOTE_PHYS32_ENTRY = 18
START_MAGIC = 0x336EC578
PAGE = 4096
HIGHEST_INITRD = 0x3800_0000  # what a 32-bit Linux reaches without highmem


def entry_of(kernel: ElfKernel) -> int | None:
    """The physical entry that the note gives, or None."""
    for name, kind, descriptor in kernel.notes:
        if name == "Xen" and kind == XEN_ELFNOTE_PHYS32_ENTRY and len(descriptor) >= 4:
            return int.from_bytes(descriptor[:8], "little")
    return None


def plan_pvh(
    path: Path, kernel: ElfKernel, entry: int, command_line: str, modules: list[Module], memory_below_4g: int
) -> BootPlan:
    """The plan for a PVH kernel; the first module is what Linux takes for its initrd."""
    if entry >= 1 << 32:
        raise UserInputError(f"{path}: its PVH entry {entry:#x} lies above 4 GiB; relink the kernel")
    plan = BootPlan(path, "PVH", EntryMode.PROTECTED, target=entry)
    for segment in kernel.segments:
        plan.place(segment.physical, segment.data, segment.memory_size - len(segment.data))
    low = LowMemory(path, plan.pieces)

    def text(string: str) -> int:
        encoded = string.encode("utf-8", "surrogateescape") + b"\0"
        address = low.allocate(len(encoded), 1)
        plan.place(address, encoded)
        return address

    rows = b""
    top = min(memory_below_4g - FIRMWARE_RESERVE, HIGHEST_INITRD)
    for module in modules:
        top = (top - len(module.data)) & -PAGE
        if top < kernel.end:
            raise UserInputError(
                f"--initrd: {len(module.data)} bytes do not fit above the kernel, which ends at {kernel.end:#x}; give"
                " the guest more memory with --memory"
            )
        plan.place(top, module.data)
        rows += struct.pack("<QQQQ", top, len(module.data), text(module.string) if module.string else 0, 0)
    modules_at = low.allocate(len(rows)) if rows else 0
    plan.place(modules_at, rows)
    info = low.allocate(56)
    plan.map_kind = MapKind.PVH
    plan.map_address = low.allocate(MAP_MAX_ENTRIES * MAP_ENTRY_BYTES)
    plan.map_count_address = info + 48
    plan.rsdp_address = info + 32
    plan.ebx = info
    plan.place(
        info,
        struct.pack(
            "<IIIIQQQQII", START_MAGIC, 1, 0, len(modules), modules_at, text(command_line), 0, plan.map_address, 0, 0
        ),
    )
    return plan
