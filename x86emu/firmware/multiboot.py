"""Multiboot 1 kernels, ELF or with the address fields of the header ("a.out kludge"), and their modules.

Multiboot Specification 0.6.96: header 3.1, machine state 3.2, boot information 3.3.  Departures: header flag 2 (video
mode) is accepted and answered without VBE fields, as most loaders do; the drive, configuration and APM fields are not
offered.

    information  field               information  field
    0            flags               44, 48       mmap_length, mmap_addr
    4, 8         mem_lower, upper    64           boot_loader_name
    16           cmdline
    20, 24       mods_count, addr
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware import elf
from x86emu.firmware.low_memory import LowMemory
from x86emu.firmware.plan import MAP_ENTRY_BYTES, MAP_MAX_ENTRIES, BootPlan, EntryMode, MapKind

HEADER_MAGIC = 0x1BADB002
LOADER_MAGIC = 0x2BADB002
SEARCH_BYTES = 8192
FLAG_PAGE_ALIGN, FLAG_MEMORY, FLAG_VIDEO, FLAG_ADDRESSES = 1 << 0, 1 << 1, 1 << 2, 1 << 16
REQUIRED_FLAGS = 0xFFFF  # those of bits 0-15 that a loader does not know must make it give up
INFO_MEMORY, INFO_COMMAND_LINE, INFO_MODULES, INFO_MAP, INFO_LOADER_NAME = 1 << 0, 1 << 2, 1 << 3, 1 << 6, 1 << 9
INFO_BYTES = 116
PAGE = 4096


@dataclass(frozen=True)
class Module:
    """A boot module: its bytes, and the string the kernel sees beside it."""

    data: bytes
    string: str


def find_header(data: bytes) -> int | None:
    """Offset of the header in the first 8 KiB, or None."""
    for offset in range(0, min(len(data) - 11, SEARCH_BYTES), 4):
        magic, flags, checksum = struct.unpack_from("<III", data, offset)
        if magic == HEADER_MAGIC and magic + flags + checksum & 0xFFFF_FFFF == 0:
            return offset
    return None


def _load_by_addresses(path: Path, data: bytes, offset: int, plan: BootPlan) -> int:
    if offset + 32 > len(data):
        raise UserInputError(f"{path}: is truncated inside its multiboot header; give the whole kernel image")
    header, load, load_end, bss_end, entry = struct.unpack_from("<IIIII", data, offset + 12)
    start = offset - (header - load)
    size = load_end - load if load_end else len(data) - start
    if load > header or start < 0 or size < 0:
        raise UserInputError(f"{path}: has a multiboot header whose addresses contradict each other; relink the kernel")
    if start + size > len(data):
        raise UserInputError(
            f"{path}: is truncated: its multiboot header asks for {start + size} bytes, the file has {len(data)}; give"
            " the whole kernel image"
        )
    plan.place(load, data[start : start + size], max(bss_end - load - size, 0) if bss_end else 0)
    plan.target = entry
    return int(max(load + size, bss_end))


def plan_multiboot(path: Path, data: bytes, offset: int, command_line: str, modules: Sequence[Module]) -> BootPlan:
    """The plan for the kernel whose header is at ``offset``; UserInputError where it is broken or asks too much."""
    (flags,) = struct.unpack_from("<I", data, offset + 4)
    unknown = flags & REQUIRED_FLAGS & ~(FLAG_PAGE_ALIGN | FLAG_MEMORY | FLAG_VIDEO)
    if unknown:
        raise UserInputError(
            f"{path}: requires multiboot features {unknown:#x} that the specification does not define; a kernel for"
            " multiboot 0.6.96 would do"
        )
    plan = BootPlan(path, "multiboot", EntryMode.PROTECTED, target=0, eax=LOADER_MAGIC)
    if flags & FLAG_ADDRESSES:
        end = _load_by_addresses(path, data, offset, plan)
    elif elf.is_elf(data):
        kernel = elf.read_elf(path, data)
        for segment in kernel.segments:
            plan.place(segment.physical, segment.data, segment.memory_size - len(segment.data))
        end, plan.target = kernel.end, kernel.physical_entry
    else:
        raise UserInputError(
            f"{path}: has a multiboot header without load addresses and is no ELF file; link the kernel as ELF"
        )

    low = LowMemory(path, plan.pieces)

    def text(string: str) -> int:
        encoded = string.encode("utf-8", "surrogateescape") + b"\0"
        address = low.allocate(len(encoded), 1)
        plan.place(address, encoded)
        return address

    rows = b""
    for module in modules:
        end += -end % PAGE
        plan.place(end, module.data)
        rows += struct.pack("<IIII", end, end + len(module.data), text(module.string), 0)
        end += len(module.data)
    modules_at = low.allocate(len(rows)) if rows else 0
    plan.place(modules_at, rows)
    info = low.allocate(INFO_BYTES)
    plan.map_kind = MapKind.MULTIBOOT
    plan.map_address = low.allocate(MAP_MAX_ENTRIES * MAP_ENTRY_BYTES)
    plan.map_count_address = info + 44
    plan.sizes_address = info + 4
    plan.ebx = info
    record = bytearray(INFO_BYTES)
    present = INFO_MEMORY | INFO_COMMAND_LINE | INFO_MODULES | INFO_MAP | INFO_LOADER_NAME
    struct.pack_into("<I", record, 0, present)
    struct.pack_into("<III", record, 16, text(f"{path.name} {command_line}".strip()), len(modules), modules_at)
    struct.pack_into("<I", record, 48, plan.map_address)
    struct.pack_into("<I", record, 64, text("x86emu"))
    plan.place(info, bytes(record))
    return plan
