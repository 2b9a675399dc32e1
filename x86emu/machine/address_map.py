"""The i440FX PC's view of RAM and ROM: PAM, SMRAM, the BIOS ROM below 4 GiB and below 1 MiB.

Intel 82441FX data sheet 290549, 3.2.18 (PAM registers), 3.2.19 (SMRAM control) and 4.1 (memory map); 82371SB data
sheet 290550, 2.2.12 (BIOS decode).  Departures: with PAM reading disabled, C0000h-DFFFFh and what the BIOS image does
not reach of E0000h-FFFFFh floats, as on a board without ISA ROMs there; D_CLS (data accesses of system management mode
to the display behind SMRAM) is not followed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from x86emu.devices.i440fx import PAM_SEGMENTS, MemorySegment, SmramState
from x86emu.machine.memory_map import GIB, KIB, MIB, MemoryLayout

SMRAM_BASE, SMRAM_BYTES = 0xA_0000, 0x2_0000
LOW_BIOS_BYTES = 128 * KIB
TO_PCI = SmramState(visible=False, smm=False, smm_data=False, locked=False)


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
        self.segments: dict[int, MemorySegment] = {}
        self.smram: SmramState | None = None
        low = min(layout.below_4g, SMRAM_BASE)
        memory.map(0, low, 0, 0)
        if layout.below_4g > MIB:
            memory.map(MIB, layout.below_4g - MIB, MIB, MIB)
        if layout.above_4g:
            memory.map(4 * GIB, layout.above_4g, layout.below_4g, layout.below_4g)
        memory.map(4 * GIB - rom_bytes, rom_bytes, self.rom_offset, None)
        self.set_segments(MemorySegment(base, length, False, False) for base, length, _, _ in PAM_SEGMENTS)
        self.set_smram(TO_PCI)

    def _rom_behind(self, address: int) -> int | None:
        """Backing offset of the BIOS byte that answers at ``address`` below 1 MiB."""
        from_end = MIB - address
        if from_end > min(self.rom_bytes, LOW_BIOS_BYTES):
            return None
        return self.rom_offset + self.rom_bytes - from_end

    def set_segments(self, segments: Iterable[MemorySegment]) -> None:
        """Takes the state of the PAM registers and remaps the segments that changed."""
        for segment in segments:
            if self.segments.get(segment.base) != segment:
                self.segments[segment.base] = segment
                base = segment.base
                read = base if segment.read_dram else self._rom_behind(base)
                self.memory.map(base, segment.length, read, base if segment.write_dram else None)

    def set_smram(self, state: SmramState) -> None:
        """Takes the state of the SMRAM control register."""
        if state == self.smram:
            return
        self.smram = state
        visible = SMRAM_BASE if state.visible else None
        in_smm = SMRAM_BASE if state.smm else None
        self.memory.map(SMRAM_BASE, SMRAM_BYTES, visible, visible)
        self.memory.map_smm(SMRAM_BASE, SMRAM_BYTES, in_smm, in_smm)
