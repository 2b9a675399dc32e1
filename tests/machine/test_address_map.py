"""PAM and SMRAM: who answers where, after the host bridge's registers are written."""

from __future__ import annotations

import pytest

from x86emu.machine.address_map import AddressMap
from x86emu.machine.memory_map import GIB, MIB, MemoryLayout

ROM = 256 << 10
Offsets = tuple[int | None, int | None]


class Recorder:
    """Page-granular record of map() calls: read and write offset, or None for the bus."""

    def __init__(self) -> None:
        self.normal: dict[int, Offsets] = {}
        self.smm: dict[int, Offsets] = {}
        self.calls = 0

    def _store(self, table: dict[int, Offsets], base: int, length: int, *offsets: int | None) -> None:
        self.calls += 1
        for page in (base, base + length - 4096):
            table[page] = tuple(None if o is None else o + page - base for o in offsets)  # type: ignore[assignment]

    def map(self, guest_physical: int, length: int, read_offset: int | None, write_offset: int | None) -> None:
        self._store(self.normal, guest_physical, length, read_offset, write_offset)

    def map_smm(self, guest_physical: int, length: int, read_offset: int | None, write_offset: int | None) -> None:
        self._store(self.smm, guest_physical, length, read_offset, write_offset)


@pytest.fixture
def memory() -> Recorder:
    return Recorder()


def test_after_reset_the_bios_answers_at_both_ends(memory: Recorder) -> None:
    AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    rom = 64 * MIB
    assert memory.normal[0xFFFFF000] == (rom + ROM - 4096, None)
    assert memory.normal[0xFF000] == (rom + ROM - 4096, None)
    assert memory.normal[0xE0000] == (rom + ROM - 0x20000, None)
    assert memory.normal[0xC0000] == (None, None)
    assert memory.normal[0xA0000] == (None, None)
    assert memory.normal[0x9F000] == (0x9F000, 0x9F000)
    assert memory.normal[0x100000] == (0x100000, 0x100000)


def test_a_small_bios_leaves_e0000_floating(memory: Recorder) -> None:
    AddressMap(memory, MemoryLayout.of(64 * MIB), 64 << 10)
    assert memory.normal[0xF0000] == (64 * MIB, None)
    assert memory.normal[0xE0000] == (None, None)


def test_memory_above_4_gib(memory: Recorder) -> None:
    AddressMap(memory, MemoryLayout.of(5 * GIB), ROM)
    assert memory.normal[4 * GIB] == (3 * GIB, 3 * GIB)
    assert memory.normal[6 * GIB - 4096] == (5 * GIB - 4096, 5 * GIB - 4096)
    assert memory.normal[0xFFFFF000] == (5 * GIB + ROM - 4096, None)


@pytest.mark.parametrize("attribute", range(4))
def test_the_four_pam_attributes(memory: Recorder, attribute: int) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    address_map.set_pam(bytes([attribute << 4, 0, 0, 0, 0, 0, 0]))
    rom = 64 * MIB + ROM - 0x10000
    read, write = memory.normal[0xF0000]
    assert read == (0xF0000 if attribute & 1 else rom)
    assert write == (0xF0000 if attribute & 2 else None)


def test_each_pam_nibble_has_its_16_kib(memory: Recorder) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    for index in range(12):
        registers = bytearray(7)
        registers[1 + index // 2] = 3 << (4 * (index % 2))
        before = memory.calls
        address_map.set_pam(bytes(registers))
        at = 0xC0000 + 0x4000 * index
        assert memory.normal[at] == (at, at)
        assert memory.calls - before == (1 if index == 0 else 2)


def test_smram_is_seen_by_smm_only_until_opened(memory: Recorder) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    address_map.set_smram(0x0A)
    assert memory.smm[0xA0000] == (0xA0000, 0xA0000)
    assert memory.normal[0xA0000] == (None, None)
    address_map.set_smram(0x4A)
    assert memory.normal[0xA0000] == (0xA0000, 0xA0000)
    address_map.set_smram(0x02)
    assert memory.normal[0xA0000] == memory.smm[0xA0000] == (None, None)
