"""SMBIOS structures and entry point of the machine, for etc/smbios/smbios-tables and etc/smbios/smbios-anchor.

Transcribes the System Management BIOS Reference Specification 3.4 (DMTF DSP0134): entry point 5.2.1 (the 32-bit form,
as version 2.8), structures of types 0, 1, 3, 4, 16, 17, 19, 32 and 127 (chapter 7).  The firmware fills in the table
address and the checksums when it copies the tables below 1 MiB.
"""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass

TABLES_FILE = "etc/smbios/smbios-tables"
ANCHOR_FILE = "etc/smbios/smbios-anchor"
MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True)
class SmbiosConfig:
    """What the structures say: memory in bytes, number of processors, names for people."""

    memory: int
    processors: int = 1
    memory_below_4g: int = 0
    version: str = "1"
    cpu_name: str = "x86emu"
    system_uuid: uuid.UUID = uuid.UUID(int=0)


class _Table:
    def __init__(self) -> None:
        self.data = bytearray()
        self.count = 0
        self.largest = 0

    def add(self, kind: int, handle: int, layout: str, *values: int | bytes, strings: tuple[str, ...] = ()) -> None:
        """Appends one structure: header, formatted area, strings (numbered from 1), closing zeros."""
        body = struct.pack("<" + layout, *values)
        record = struct.pack("<BBH", kind, 4 + len(body), handle) + body
        text = b"".join(s.encode("ascii", "replace") + b"\0" for s in strings) or b"\0"
        record += text + b"\0"
        self.data += record
        self.count += 1
        self.largest = max(self.largest, len(record))


def build(config: SmbiosConfig) -> dict[str, bytes]:
    """The two files, ready for fw_cfg."""
    table = _Table()
    table.add(
        0, 0, "BBHBBQBBBBBB", 1, 2, 0xE800, 3, 0, 1 << 3, 0, 0x14, 0, 0, 0xFF, 0xFF,
        strings=("x86emu", config.version, "04/01/2014"),
    )  # fmt: skip
    table.add(
        1, 0x100, "BBBB16sBBB", 1, 2, 3, 0, config.system_uuid.bytes_le, 6, 0, 0,
        strings=("x86emu", "Standard PC (i440FX + PIIX, 1996)", config.version),
    )  # fmt: skip
    # Wake-up type 6 is the power switch; chassis type 1 is "other"; states 3 are "safe".
    table.add(
        3, 0x300, "BBBBBBBBBIBBBBB", 1, 1, 2, 0, 0, 3, 3, 3, 2, 0, 0, 0, 0, 0, 0, strings=("x86emu", config.version)
    )
    for index in range(config.processors):
        table.add(
            4, 0x400 + index, "BBBBQBBHHHBBHHHBBBBBBHH",
            1, 3, 1, 2, 0, 3, 0, 0, 2000, 2000, 0x41, 1, 0xFFFF, 0xFFFF, 0xFFFF, 0, 0, 0, 1, 1, 1, 0x04, 1,
            strings=(f"CPU {index}", "x86emu", config.cpu_name),
        )  # fmt: skip
    kib = config.memory // 1024
    large = kib >= 0x8000_0000
    modules = [min(16 * GIB, config.memory - start) for start in range(0, config.memory, 16 * GIB)]
    capacity = (0x8000_0000, config.memory) if large else (kib, 0)  # in KiB, or in bytes by the extended field
    table.add(16, 0x1000, "BBBIHHQ", 1, 3, 6, capacity[0], 0xFFFE, len(modules), capacity[1])
    for index, size in enumerate(modules):
        table.add(
            17, 0x1100 + index, "HHHHHBBBBBHHBBBBBIHHHH",
            0x1000, 0xFFFE, 0xFFFF, 0xFFFF, size // MIB if size < 32 * GIB - MIB else 0x7FFF, 9, 0, 1, 0, 7, 2, 0, 2,
            0, 0, 0, 0, 0, 0, 0, 0, 0,
            strings=(f"DIMM {index}", "x86emu"),
        )  # fmt: skip
    below = config.memory_below_4g or min(config.memory, 3 * GIB)
    table.add(19, 0x1300, "IIHB", 0, below // 1024 - 1, 0x1000, 1)
    if config.memory > below:
        end = 4 * GIB + config.memory - below
        table.add(19, 0x1301, "IIHB", 4 * GIB // 1024, end // 1024 - 1, 0x1000, 1)
    table.add(32, 0x2000, "6sB", bytes(6), 0)
    table.add(127, 0x7F00, "")

    anchor = bytearray(
        struct.pack("<4sBBBBHB5s", b"_SM_", 0, 31, 2, 8, table.largest, 0, bytes(5))
        + struct.pack("<5sBHIHB", b"_DMI_", 0, len(table.data), 0, table.count, 0x28)
    )
    return {TABLES_FILE: bytes(table.data), ANCHOR_FILE: bytes(anchor)}
