"""What ATA and ATAPI devices share: task file, status, interrupt request, PIO and DMA data phases (ATA/ATAPI-6,
T13/1410D, chapters 6.2 registers, 7.3 signatures, 9 protocols).

A command completes, and a data block becomes ready, within the port access that asks for it: BSY is seen only while
software reset is held.  Departure: registers that a standard leaves "na" after a command keep their values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

DATA, ERROR, SECTOR_COUNT, LBA_LOW, LBA_MID, LBA_HIGH, DEVICE, STATUS = range(8)
FEATURES, COMMAND = ERROR, STATUS

STATUS_BUSY = 0x80
STATUS_READY = 0x40
STATUS_DEVICE_FAULT = 0x20
STATUS_SEEK_COMPLETE = 0x10
STATUS_DATA_REQUEST = 0x08
STATUS_ERROR = 0x01
STATUS_IDLE = STATUS_READY | STATUS_SEEK_COMPLETE

ERROR_UNCORRECTABLE = 0x40
ERROR_ID_NOT_FOUND = 0x10
ERROR_ABORTED = 0x04
DIAGNOSTIC_PASSED = 0x01

DEVICE_LBA = 0x40
DEVICE_SELECT = 0x10
DEVICE_OBSOLETE = 0xA0

CONTROL_HIGH_ORDER = 0x80
CONTROL_SOFTWARE_RESET = 0x04
CONTROL_NO_INTERRUPT = 0x02

EXECUTE_DEVICE_DIAGNOSTIC = 0x90


def ata_string(text: str, length: int) -> bytes:
    """An identify string: padded with spaces, first character of each pair in the high byte (chapter 8.15.8)."""
    raw = text.encode("ascii", "replace")[:length].ljust(length)
    return bytes(raw[index ^ 1] for index in range(length))


def identify_block(words: dict[int, int], strings: dict[int, tuple[str, int]]) -> bytes:
    """512 bytes of identify data from words and strings, with the integrity word 255."""
    block = bytearray(512)
    for index, value in words.items():
        block[2 * index : 2 * index + 2] = value.to_bytes(2, "little")
    for index, (text, length) in strings.items():
        block[2 * index : 2 * index + length] = ata_string(text, length)
    block[510] = 0xA5
    block[511] = -sum(block) & 0xFF
    return bytes(block)


class AtaDrive(Device):
    """One device on a channel. A subclass gives `execute` and the signature that reset leaves in the task file."""

    STATE: ClassVar[tuple[str, ...]] = (
        "features", "error", "sector_count", "lba_low", "lba_mid", "lba_high", "device", "status", "previous",
        "interrupt", "_buffer", "_position", "_then", "dma", "block_to_host",
    )  # fmt: skip
    SIGNATURE: ClassVar[tuple[int, int]] = (0x00, 0x00)
    RESET_STATUS: ClassVar[int] = STATUS_IDLE
    IDLE_STATUS: ClassVar[int] = STATUS_IDLE

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.interrupt_changed: Callable[[], object] | None = None
        self.dma_ready: Callable[[], object] | None = None
        self.features = self.error = self.sector_count = 0
        self.lba_low = self.lba_mid = self.lba_high = self.device = 0
        self.status = 0
        self.previous = [0, 0, 0, 0, 0]  # what features, sector count and LBA registers held before the last write
        self.interrupt = False
        self.dma = ""  # "", "in" or "out": the data phase is the bus master's
        self._buffer = bytearray()
        self._position = 0
        self._then = ""
        self.block_to_host = False  # where the data block that is ready goes

    # --- resets

    def reset(self) -> None:
        """Power-on or hardware reset."""
        self.set_interrupt(False)
        self.set_signature()

    def software_reset_begins(self) -> None:
        """SRST was set: the device is busy as long as it is held."""
        self._stop_transfer()
        self.set_interrupt(False)
        self.status = STATUS_BUSY

    def software_reset_ends(self) -> None:
        """SRST was cleared: diagnostics pass and leave the signature. No interrupt."""
        self.set_signature()

    def set_signature(self) -> None:
        """The task file after reset and diagnostics (chapter 9.12)."""
        self._stop_transfer()
        self.error = DIAGNOSTIC_PASSED
        self.sector_count = self.lba_low = 1
        self.lba_mid, self.lba_high = self.SIGNATURE
        self.device = 0
        self.status = self.RESET_STATUS

    def _stop_transfer(self) -> None:
        self._buffer = bytearray()
        self._position = 0
        self._then = ""
        self.dma = ""

    # --- registers

    def write_register(self, register: int, value: int) -> None:
        """A write to registers 1-6; the ones that a 48-bit command uses keep their previous value as well."""
        if register == FEATURES:
            self.previous[0], self.features = self.features, value
        elif register == SECTOR_COUNT:
            self.previous[1], self.sector_count = self.sector_count, value
        elif register == LBA_LOW:
            self.previous[2], self.lba_low = self.lba_low, value
        elif register == LBA_MID:
            self.previous[3], self.lba_mid = self.lba_mid, value
        elif register == LBA_HIGH:
            self.previous[4], self.lba_high = self.lba_high, value
        elif register == DEVICE:
            self.device = value

    def read_register(self, register: int, high_order: bool) -> int:
        """A read of registers 1-7; reading the status acknowledges the interrupt."""
        if register == STATUS:
            self.set_interrupt(False)
            return self.status
        if register == ERROR:
            return self.error
        if register == SECTOR_COUNT:
            return self.previous[1] if high_order else self.sector_count
        if register == LBA_LOW:
            return self.previous[2] if high_order else self.lba_low
        if register == LBA_MID:
            return self.previous[3] if high_order else self.lba_mid
        if register == LBA_HIGH:
            return self.previous[4] if high_order else self.lba_high
        return self.device | DEVICE_OBSOLETE

    def start(self, command: int) -> None:
        """A write to the command register."""
        if self.status & STATUS_BUSY:
            return
        self._stop_transfer()
        self.set_interrupt(False)
        self.error = 0
        self.status = self.IDLE_STATUS
        self.execute(command)

    def execute(self, command: int) -> None:
        """Carries a command out, up to its first data phase."""
        raise NotImplementedError

    def set_interrupt(self, level: bool) -> None:
        """The device's interrupt-pending state."""
        if level != self.interrupt:
            self.interrupt = level
            if self.interrupt_changed is not None:
                self.interrupt_changed()

    def complete(self, *, interrupt: bool = True) -> None:
        """The command ended without error."""
        self._stop_transfer()
        self.status = self.IDLE_STATUS
        if interrupt:
            self.set_interrupt(True)

    def fail(self, error: int = ERROR_ABORTED, *, fault: bool = False) -> None:
        """The command ended with an error register."""
        self._stop_transfer()
        self.error = error
        self.status = self.IDLE_STATUS | STATUS_ERROR | (STATUS_DEVICE_FAULT if fault else 0)
        self.set_interrupt(True)

    # --- data phases

    @property
    def direct_bytes(self) -> int:
        """How many bytes `move_direct` could move at once now; 0 where it cannot."""
        return 0

    def move_direct(self, dma: Dma, pieces: Sequence[tuple[int, int]]) -> bool:
        """Moves a whole command's data between medium and pieces of memory; False on an error, with nothing done."""
        return False

    def data_in(self, data: bytes, then: str, *, interrupt: bool = True) -> None:
        """A block is ready for the host; method `then` follows when the host has read it."""
        self._buffer = bytearray(data)
        self._position = 0
        self.block_to_host = True
        self._then = then
        self.status = self.IDLE_STATUS | STATUS_DATA_REQUEST
        if not self.dma and interrupt:
            self.set_interrupt(True)

    def data_out(self, length: int, then: str, *, interrupt: bool) -> None:
        """The device asks for `length` bytes; method `then` follows when it has them."""
        self._buffer = bytearray(length)
        self._position = 0
        self.block_to_host = False
        self._then = then
        self.status = self.IDLE_STATUS | STATUS_DATA_REQUEST
        if not self.dma and interrupt:
            self.set_interrupt(True)

    @property
    def block_bytes(self) -> int:
        """What is left of the data block that is ready."""
        return len(self._buffer) - self._position

    def request_dma(self, direction: str) -> None:
        """Marks the data phase that begins next as the bus master's: "in" to the host, "out" from it."""
        self.dma = direction

    def announce_dma(self) -> None:
        """Tells the bus master that data can flow."""
        if self.dma_ready is not None:
            self.dma_ready()

    def take(self, length: int) -> bytes:
        """At most `length` bytes of what the device has for the host; empty when no data phase is on."""
        if not self.status & STATUS_DATA_REQUEST:
            return b""
        data = bytes(self._buffer[self._position : self._position + length])
        self._position += len(data)
        self._block_done()
        return data

    def give(self, data: bytes) -> int:
        """Host data for the device; returns how many bytes it took."""
        if not self.status & STATUS_DATA_REQUEST:
            return 0
        taken = min(len(data), len(self._buffer) - self._position)
        self._buffer[self._position : self._position + taken] = data[:taken]
        self._position += taken
        self._block_done()
        return taken

    def _block_done(self) -> None:
        if self._position >= len(self._buffer):
            then: Callable[[], Any] = getattr(self, self._then)
            then()

    def data_in_done(self) -> None:
        """The last block of a data-in command was read: PIO ends silently, DMA with an interrupt."""
        self.complete(interrupt=bool(self.dma))
