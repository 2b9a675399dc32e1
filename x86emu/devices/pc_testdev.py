"""pc-testdev: what test images ask of the board beyond a PC (QEMU's device of that name, hw/misc/pc-testdev.c).

    E0h-E3h            a latch of 32 bits, in any width
    E4h-E7h            "flush page": nothing here remembers pages behind the processor's back, so a write does nothing
    E8h-EBh            the same latch, byte by byte
    2000h-2017h        interrupt line n at 2000h + n: a write raises it, a write of 0 lowers it
    FF000000h, 64 KiB  memory that is reached as a device is
"""

from __future__ import annotations

from collections.abc import Sequence

from x86emu.bus.device import Device
from x86emu.bus.irq import IrqLine

LATCH_PORT, FLUSH_PORT, BYTE_PORT, LINE_PORT = 0xE0, 0xE4, 0xE8, 0x2000
MEMORY_BASE, MEMORY_BYTES = 0xFF00_0000, 0x1_0000


class PcTestdev(Device):
    """The device; `lines` are the interrupt lines from 0 on."""

    STATE = ("latch", "memory", "levels")

    def __init__(self, lines: Sequence[IrqLine], *, name: str = "pc-testdev") -> None:
        super().__init__(name)
        self.lines = lines
        self.reset()

    def reset(self) -> None:
        self.latch = 0
        self.memory = bytearray(MEMORY_BYTES)
        self.levels = [False] * len(self.lines)
        self.loaded()

    def loaded(self) -> None:
        for line, level in zip(self.lines, self.levels, strict=True):
            line.set_level(level)

    def read_latch(self, offset: int, size: int) -> int:
        """Part of the latch."""
        return self.latch >> 8 * offset & (1 << 8 * size) - 1

    def write_latch(self, offset: int, size: int, value: int) -> None:
        """Part of the latch."""
        mask = (1 << 8 * size) - 1 << 8 * offset
        self.latch = self.latch & ~mask & 0xFFFF_FFFF | value << 8 * offset & mask

    def write_flush(self, offset: int, size: int, value: int) -> None:
        """Nothing has to be forgotten."""

    def write_line(self, offset: int, size: int, value: int) -> None:
        """Drives interrupt line `offset`."""
        self.levels[offset] = bool(value)
        self.lines[offset].set_level(bool(value))

    def read_memory(self, offset: int, size: int) -> int:
        """The memory at FF000000h."""
        return int.from_bytes(self.memory[offset : offset + size], "little")

    def write_memory(self, offset: int, size: int, value: int) -> None:
        """The memory at FF000000h."""
        self.memory[offset : offset + size] = value.to_bytes(size, "little")
