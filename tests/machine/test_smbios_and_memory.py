"""SMBIOS structures, the e820 file and CMOS contents, each read back as a firmware reads it."""

from __future__ import annotations

import struct

from x86emu.machine import smbios
from x86emu.machine.memory_map import GIB, MIB, DiskGeometry, MemoryLayout, cmos_contents


def structures(table: bytes) -> list[tuple[int, bytes, list[bytes]]]:
    found = []
    while table:
        kind, length = table[0], table[1]
        end = table.index(b"\0\0", length)
        found.append((kind, table[4:length], [s for s in table[length:end].split(b"\0") if s]))
        table = table[end + 2 :]
    return found


def test_smbios_structures_walk_to_the_end() -> None:
    files = smbios.build(smbios.SmbiosConfig(memory=5 * GIB, processors=2))
    found = structures(files[smbios.TABLES_FILE])
    assert [kind for kind, _, _ in found] == [0, 1, 3, 4, 4, 16, 17, 19, 19, 32, 127]
    anchor = files[smbios.ANCHOR_FILE]
    assert len(anchor) == 31 and anchor[:4] == b"_SM_" and anchor[16:21] == b"_DMI_"
    length, address, count = struct.unpack_from("<HIH", anchor, 22)
    assert (length, address, count) == (len(files[smbios.TABLES_FILE]), 0, 11)


def test_smbios_lengths_are_those_of_version_2_8() -> None:
    found = structures(smbios.build(smbios.SmbiosConfig(memory=256 * MIB))[smbios.TABLES_FILE])
    lengths = {kind: len(body) + 4 for kind, body, _ in found}
    assert lengths == {0: 0x18, 1: 0x1B, 3: 0x16, 4: 0x2A, 16: 0x17, 17: 0x28, 19: 0x0F, 32: 0x0B, 127: 4}
    (dimm,) = [body for kind, body, _ in found if kind == 17]
    assert struct.unpack_from("<H", dimm, 8)[0] == 256


def test_memory_splits_at_3_gib() -> None:
    assert MemoryLayout.of(256 * MIB) == MemoryLayout(256 * MIB, 0)
    assert MemoryLayout.of(5 * GIB) == MemoryLayout(3 * GIB, 2 * GIB)
    assert list(struct.iter_unpack("<QQI", MemoryLayout.of(5 * GIB).e820())) == [
        (0, 3 * GIB, 1),
        (4 * GIB, 2 * GIB, 1),
    ]


def test_cmos_memory_sizes() -> None:
    cmos = cmos_contents(MemoryLayout.of(5 * GIB), 4, "cd")
    assert cmos[0x15] | cmos[0x16] << 8 == 640
    assert cmos[0x17] | cmos[0x18] << 8 == 0xFFFF
    assert cmos[0x34] | cmos[0x35] << 8 == (3 * GIB - 16 * MIB) >> 16
    assert cmos[0x5B] | cmos[0x5C] << 8 | cmos[0x5D] << 16 == (2 * GIB) >> 16
    assert cmos[0x5F] == 3
    small = cmos_contents(MemoryLayout.of(8 * MIB), 1, "c")
    assert small[0x30] | small[0x31] << 8 == 7 * 1024
    assert (small[0x34], small[0x35]) == (0, 0)


def test_cmos_boot_order_and_checksum() -> None:
    cmos = cmos_contents(MemoryLayout.of(64 * MIB), 1, "dca", floppies=(4, 0))
    assert (cmos[0x3D], cmos[0x38]) == (0x23, 0x11)
    assert cmos[0x10] == 0x40 and cmos[0x14] == 0x07
    assert cmos[0x2E] << 8 | cmos[0x2F] == sum(cmos.get(i, 0) for i in range(0x10, 0x2E))


def test_cmos_disk_geometry() -> None:
    geometry = DiskGeometry.of(2_000_000)
    cmos = cmos_contents(MemoryLayout.of(64 * MIB), 1, "c", disks=(geometry, None))
    assert cmos[0x12] == 0xF0 and cmos[0x19] == 47
    assert cmos[0x1B] | cmos[0x1C] << 8 == 2_000_000 // 1008
    assert (cmos[0x1D], cmos[0x23], cmos[0x39]) == (16, 63, 1)
    assert DiskGeometry.of(100) == DiskGeometry(1, 16, 63)
