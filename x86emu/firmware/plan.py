"""The boot plan: what our boot ROM (bios/boot_rom.asm) is told to do, and the image it takes the bytes from.

A loader of this package turns a kernel file into a `BootPlan`.  The machine offers the plan and the image as two
fw_cfg files; the ROM, started by the firmware's boot order, moves the pieces into memory and enters the kernel.
The layout here and the PLAN_ constants of the ROM's source are one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from x86emu.errors import UserInputError

PLAN_FILE = "opt/x86emu/boot-plan"
IMAGE_FILE = "opt/x86emu/boot-image"
ROM_FILE = "genroms/x86emu-boot.rom"
ROM_BOOT_ENTRY = "/rom@" + ROM_FILE  # its name in the fw_cfg file bootorder
MAGIC = b"X86EMUBP"
HEADER = struct.Struct("<8sHHHHIIIIIIII")
PIECE = struct.Struct("<QII")
ZEROS = 0xFFFF_FFFF
PLAN_BYTES = 0x2000
MAP_ENTRY_BYTES, MAP_MAX_ENTRIES = 24, 128

# Memory that the loaders may count on below 1 MiB: the ROM works below 64 KiB, the firmware above 636 KiB or so.
# A kernel may lie between the ROM's stack and descriptors and the plan, too.
LOW_FIRST, LOW_END = 0x1_0000, 0x9_0000
KERNEL_FIRST, PLAN_FIRST = 0x8000, 0xE000
# The firmware keeps ACPI tables and its own data at the top of RAM below 4 GiB.
FIRMWARE_RESERVE = 0x10_0000


class EntryMode(IntEnum):
    """How the ROM enters the kernel."""

    REAL = 1
    PROTECTED = 2


class MapKind(IntEnum):
    """In which form the ROM writes the firmware's memory map."""

    NONE = 0
    MULTIBOOT = 1
    PVH = 2


@dataclass(frozen=True)
class Piece:
    """Bytes for guest-physical ``address``, followed by ``zeros`` zero bytes."""

    address: int
    data: bytes
    zeros: int = 0

    @property
    def end(self) -> int:
        return self.address + len(self.data) + self.zeros


@dataclass
class BootPlan:
    """Pieces in memory, what the ROM is to fill in (addresses; 0 is "not wanted"), and the entry.

    ``target`` is EIP, or CS<<16 | IP for a real-mode entry, for which ``stack`` is SS<<16 | SP.
    """

    file: Path
    kind: str
    mode: EntryMode
    target: int
    pieces: list[Piece] = field(default_factory=list)
    stack: int = 0
    eax: int = 0
    ebx: int = 0
    map_kind: MapKind = MapKind.NONE
    map_address: int = 0
    map_count_address: int = 0
    sizes_address: int = 0
    rsdp_address: int = 0

    def place(self, address: int, data: bytes, zeros: int = 0) -> None:
        """Adds a piece."""
        if data or zeros:
            self.pieces.append(Piece(address, data, zeros))

    def check(self, memory_below_4g: int) -> None:
        """UserInputError where a piece lies outside the guest's RAM or where firmware and ROM work, or two overlap."""
        limit = memory_below_4g - FIRMWARE_RESERVE
        for piece in self.pieces:
            if piece.end > limit:
                raise UserInputError(
                    f"{self.file}: loading it needs memory up to {piece.end - 1:#x}, the guest has {limit >> 20} MiB to"
                    f" load into; give it more with --memory"
                )
            below_plan = KERNEL_FIRST <= piece.address and piece.end <= PLAN_FIRST
            if not below_plan and (piece.address < LOW_FIRST or piece.address < 0x10_0000 and piece.end > 0xA_0000):
                raise UserInputError(
                    f"{self.file}: wants to be loaded at {piece.address:#x}, where the firmware works; a kernel linked"
                    " at 1 MiB or above would do"
                )
        ordered = sorted(self.pieces, key=lambda piece: piece.address)
        for first, second in zip(ordered, ordered[1:], strict=False):
            if first.end > second.address:
                raise UserInputError(
                    f"{self.file}: what goes to {first.address:#x} (up to {first.end - 1:#x}) overlaps what goes to"
                    f" {second.address:#x}; a guest with more memory (--memory) or a kernel without overlap would do"
                )

    def files(self) -> dict[str, bytes]:
        """The two fw_cfg files."""
        rows: list[bytes] = []
        image = bytearray()
        for piece in self.pieces:
            if piece.data:
                rows.append(PIECE.pack(piece.address, len(piece.data), len(image)))
                image += piece.data
            if piece.zeros:
                rows.append(PIECE.pack(piece.address + len(piece.data), piece.zeros, ZEROS))
        plan = HEADER.pack(
            MAGIC, self.mode, len(rows), self.map_kind, 0, self.map_address, self.map_count_address,
            self.sizes_address, self.rsdp_address, self.eax, self.ebx, self.target, self.stack,
        ) + b"".join(rows)  # fmt: skip
        if len(plan) > PLAN_BYTES:
            raise UserInputError(
                f"{self.file}: has {len(rows)} parts to load; the boot ROM takes"
                f" {(PLAN_BYTES - HEADER.size) // PIECE.size}, so link it into fewer segments"
            )
        return {PLAN_FILE: plan, IMAGE_FILE: bytes(image)}


def boot_rom() -> bytes:
    """The boot ROM's image."""
    return Path(__file__).with_name("boot_rom.bin").read_bytes()
