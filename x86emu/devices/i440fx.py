"""82441FX PCI and memory controller, 8086:1237, host bridge of the 440FX PCIset (Intel data sheet 290549, chapter 3.2).

PAM registers (59h-5Fh) decide for each part of C0000h-FFFFFh whether reads and writes go to DRAM or to PCI, SMRAM (72h)
does so for the window at A0000h in and out of system management mode.  The machine is told of every change and remaps.
DRAM timing, parity and the fixed hole are stored; the turbo reset control register (93h) is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from x86emu.bus.pci import PciFunction

DRAM_ROW_BOUNDARY = 0x60
ROW_UNIT = 8 << 20
PAM = 0x59
SMRAM = 0x72

PAM_READ = 0x01
PAM_WRITE = 0x02

SMRAM_OPEN = 0x40
SMRAM_CLOSED = 0x20
SMRAM_LOCK = 0x10
SMRAM_ENABLE = 0x08
SMRAM_BASE_SEGMENT = 0x02  # A0000h-BFFFFh, the only one there is

# Base and length in bytes, register and bit of the read enable (table 3-3).
PAM_SEGMENTS = (
    (0xF0000, 0x10000, PAM, 4),
    *(
        (0xC0000 + 0x4000 * index, 0x4000, PAM + 1 + index // 2, 4 * (index & 1))
        for index in range(12)
    ),
)  # fmt: skip


class MemorySegment(NamedTuple):
    """A part of C0000h-FFFFFh and where its accesses go: True is DRAM, False is PCI (the BIOS ROM, option ROMs)."""

    base: int
    length: int
    read_dram: bool
    write_dram: bool


class SmramState(NamedTuple):
    """The window at A0000h, 128 KiB.

    `visible`: DRAM for everyone (D_OPEN). `smm`: DRAM for a processor in system management mode. `smm_data`: for its
    data accesses too (not D_CLS). `locked`: until the next reset nobody can change it.
    """

    visible: bool
    smm: bool
    smm_data: bool
    locked: bool


class I440FX(PciFunction):
    """Device 0 of bus 0. `remap_segments(segments)` and `remap_smram(state)` are told of changes and at reset."""

    def __init__(
        self,
        ram_bytes: int,
        remap_segments: Callable[[tuple[MemorySegment, ...]], object] | None = None,
        remap_smram: Callable[[SmramState], object] | None = None,
        *,
        name: str = "82441FX",
    ) -> None:
        super().__init__(name, vendor_id=0x8086, device_id=0x1237, class_code=0x060000, revision=2)
        self.remap_segments = remap_segments
        self.remap_smram = remap_smram
        self.declare(0x04, 2, 0x0006, 0x0100)  # always answers memory cycles and masters the bus
        self.declare(0x06, 2, 0x0280, 0, 0xF900)
        self.declare(0x50, 2, 0x0000, 0xFFFF)  # PMC configuration
        self.declare(0x57, 1, 0x01, 0xFF)  # DRAM control
        self.declare(0x58, 1, 0x00, 0xFF)  # DRAM timing
        self.declare(PAM, 7, 0, 0x33333333333330)
        rows = min(ram_bytes // ROW_UNIT, 0xFF)
        self.declare(DRAM_ROW_BOUNDARY, 8, int.from_bytes(bytes((rows,)) * 8, "little"), (1 << 64) - 1)
        self.declare(0x68, 1, 0x00, 0xC0)  # fixed DRAM hole
        self.declare(0x70, 1, 0x00, 0xF8)  # multi-transaction timer
        self.declare(0x71, 1, 0x10, 0x1F)  # CPU latency timer
        self.declare(SMRAM, 1, SMRAM_BASE_SEGMENT)
        self.declare(0x90, 1, 0x00, 0xFF)  # error command
        self.declare(0x91, 1, 0x00, 0x00, 0x11)  # error status
        self._segments: tuple[MemorySegment, ...] = ()
        self._smram: SmramState | None = None

    @property
    def segments(self) -> tuple[MemorySegment, ...]:
        """Where accesses to C0000h-FFFFFh go."""
        return tuple(
            MemorySegment(
                base,
                length,
                bool(self.config[register] >> bit & PAM_READ),
                bool(self.config[register] >> bit & PAM_WRITE),
            )
            for base, length, register, bit in PAM_SEGMENTS
        )

    @property
    def smram(self) -> SmramState:
        """Where accesses to the SMRAM window go."""
        value = self.config[SMRAM]
        enabled = bool(value & SMRAM_ENABLE)
        return SmramState(
            visible=enabled and bool(value & SMRAM_OPEN),
            smm=enabled,
            smm_data=enabled and not value & SMRAM_CLOSED,
            locked=bool(value & SMRAM_LOCK),
        )

    def config_write(self, offset: int, size: int, value: int) -> None:
        if offset <= SMRAM < offset + size and not self.config[SMRAM] & SMRAM_LOCK:
            byte = value >> 8 * (SMRAM - offset) & 0x78 | SMRAM_BASE_SEGMENT
            if byte & SMRAM_LOCK:
                byte &= ~SMRAM_OPEN
            self.config[SMRAM] = byte
        super().config_write(offset, size, value)

    def config_written(self, offset: int, size: int) -> None:
        self._tell()

    def _tell(self) -> None:
        segments, smram = self.segments, self.smram
        if segments != self._segments:
            self._segments = segments
            if self.remap_segments is not None:
                self.remap_segments(segments)
        if smram != self._smram:
            self._smram = smram
            if self.remap_smram is not None:
                self.remap_smram(smram)

    def reset(self) -> None:
        """Everything goes to PCI again, and the machine is told even if that is no change."""
        super().reset()
        self._segments, self._smram = (), None
        self._tell()

    def load(self, state: dict[str, Any]) -> None:
        super().load(state)
        self._segments, self._smram = (), None
        self._tell()
