"""The i440FX PC's view of RAM and ROM: PAM, SMRAM, the BIOS ROM below 4 GiB and below 1 MiB.

Intel 82441FX (PMC) datasheet, 3.2.18 (PAM registers 59h-5Fh), 3.2.19 (SMRAM control, 72h) and 4.1 (memory map);
82371SB datasheet 2.2.12 (BIOS decode).  Departure: with PAM reading disabled, C0000h-DFFFFh and what the BIOS image
does not reach of E0000h-FFFFFh floats, as on a board without ISA ROMs there.
"""

from __future__ import annotations

from typing import Protocol

from x86emu.machine.memory_map import GIB, KIB, MIB, MemoryLayout

PAM_READ, PAM_WRITE = 1, 2
SMRAM_BASE, SMRAM_BYTES = 0xA_0000, 0x2_0000
D_OPEN, D_CLOSED, D_LOCK, G_SMRAME = 0x40, 0x20, 0x10, 0x08
LOW_BIOS_BYTES = 128 * KIB


def _pam_areas() -> list[tuple[int, int, int, int]]:
    """(register 0..6, shift of its nibble, address, length) of every area."""
    areas = [(0, 4, 0xF_0000, 0x1_0000)]
    for index in range(12):
        areas.append((1 + index // 2, 4 * (index % 2), 0xC_0000 + 0x4000 * index, 0x4000))
    return areas


PAM_AREAS = _pam_areas()


class MappedMemory(Protocol):
    """What the map needs of PhysicalMemory."""

    def map(self, guest_physical: int, length: int, read_offset: int | None, write_offset: int | None) -> None: ...

    def map_smm(self, guest_physical: int, length: int, read_offset: int | None, write_offset: int | None) -> None: ...


class AddressMap:
    """Keeps the ranges of `memory` in line with the host bridge's registers.

    The backing buffer holds RAM from offset 0 and the BIOS image of ``rom_bytes`` behind it.
    """

    def __init__(self, memory: MappedMemory, layout: MemoryLayout, rom_bytes: int) -> None:
        self.memory = memory
        self.layout = layout
        self.rom_bytes = rom_bytes
        self.rom_offset = layout.below_4g + layout.above_4g
        self.pam = bytes(7)
        self.smram = 0x02
        low = min(layout.below_4g, SMRAM_BASE)
        memory.map(0, low, 0, 0)
        if layout.below_4g > MIB:
            memory.map(MIB, layout.below_4g - MIB, MIB, MIB)
        if layout.above_4g:
            memory.map(4 * GIB, layout.above_4g, layout.below_4g, layout.below_4g)
        memory.map(4 * GIB - rom_bytes, rom_bytes, self.rom_offset, None)
        for area in range(len(PAM_AREAS)):
            self._map_area(area)
        self._map_smram()

    def _rom_behind(self, address: int) -> int | None:
        """Backing offset of the BIOS byte that answers at ``address`` below 1 MiB."""
        from_end = MIB - address
        if from_end > min(self.rom_bytes, LOW_BIOS_BYTES):
            return None
        return self.rom_offset + self.rom_bytes - from_end

    def _map_area(self, area: int) -> None:
        register, shift, address, length = PAM_AREAS[area]
        attribute = self.pam[register] >> shift
        read = address if attribute & PAM_READ else self._rom_behind(address)
        self.memory.map(address, length, read, address if attribute & PAM_WRITE else None)

    def set_pam(self, registers: bytes) -> None:
        """Takes the seven PAM registers 59h-5Fh and remaps the areas whose attributes changed."""
        before, self.pam = self.pam, bytes(registers)
        for area, (register, shift, _, _) in enumerate(PAM_AREAS):
            if (before[register] ^ self.pam[register]) >> shift & (PAM_READ | PAM_WRITE):
                self._map_area(area)

    def set_smram(self, value: int) -> None:
        """Takes the SMRAM control register 72h."""
        if value != self.smram:
            self.smram = value
            self._map_smram()

    def _map_smram(self) -> None:
        opened = self.smram & G_SMRAME and self.smram & D_OPEN
        ram = SMRAM_BASE if opened else None
        self.memory.map(SMRAM_BASE, SMRAM_BYTES, ram, ram)
        if self.smram & G_SMRAME:
            self.memory.map_smm(SMRAM_BASE, SMRAM_BYTES, SMRAM_BASE, SMRAM_BASE)
        else:
            self.memory.map_smm(SMRAM_BASE, SMRAM_BYTES, ram, ram)
