"""PAM and SMRAM: who answers where, after the host bridge's registers are written."""

from __future__ import annotations

import pytest

from x86emu.devices.i440fx import PAM_SEGMENTS, MemorySegment, SmramState
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


@pytest.mark.parametrize("read_dram", [False, True])
@pytest.mark.parametrize("write_dram", [False, True])
def test_the_four_pam_attributes(memory: Recorder, read_dram: bool, write_dram: bool) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    address_map.set_segments([MemorySegment(0xF0000, 0x10000, read_dram, write_dram)])
    rom = 64 * MIB + ROM - 0x10000
    assert memory.normal[0xF0000] == (0xF0000 if read_dram else rom, 0xF0000 if write_dram else None)


def test_only_what_changed_is_mapped_anew(memory: Recorder) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    before = memory.calls
    segments = [MemorySegment(base, length, base == 0xC4000, True) for base, length, _, _ in PAM_SEGMENTS]
    address_map.set_segments(segments)
    assert memory.calls - before == 13
    address_map.set_segments([s._replace(read_dram=False) for s in segments])
    assert memory.calls - before == 14
    assert memory.normal[0xC4000] == (None, 0xC4000)


def test_smram_is_seen_by_smm_only_until_opened(memory: Recorder) -> None:
    address_map = AddressMap(memory, MemoryLayout.of(64 * MIB), ROM)
    address_map.set_smram(SmramState(visible=False, smm=True, smm_data=True, locked=False))
    assert memory.smm[0xA0000] == (0xA0000, 0xA0000)
    assert memory.normal[0xA0000] == (None, None)
    address_map.set_smram(SmramState(visible=True, smm=True, smm_data=True, locked=False))
    assert memory.normal[0xA0000] == (0xA0000, 0xA0000)
    address_map.set_smram(SmramState(visible=False, smm=False, smm_data=False, locked=False))
    assert memory.normal[0xA0000] == memory.smm[0xA0000] == (None, None)
