"""ATA disk (ATA/ATAPI-6, T13/1410D, chapter 8; ATA8-ACS for DATA SET MANAGEMENT; SATA 2.6, chapter 13, for what a
serial one adds): general feature set with power management and 48-bit addresses, and those of ata_security.py,
ata_protected_area.py and ata_smart.py.

Sectors of 512 bytes.  A write is in the host's hands at once; FLUSH CACHE makes it durable, and with the write cache
off, or forced unit access, so does the write.  IDLE and STANDBY timers and look-ahead have no effect.
Left out: removable media, overlap and the queued commands of parallel ATA, streaming, device configuration overlay.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from x86emu.devices.ata_drive import (
    DEVICE_LBA,
    ERROR_ABORTED,
    ERROR_ID_NOT_FOUND,
    ERROR_UNCORRECTABLE,
    STATUS_DATA_REQUEST,
    identify_block,
)
from x86emu.devices.ata_protected_area import AtaProtectedArea
from x86emu.devices.ata_security import ERASE_MINUTES_HALVED, AtaSecurity
from x86emu.devices.ata_smart import AtaSmart
from x86emu.devices.block import BlockBackend, DiscardBackend, from_memory, read_to_memory

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

SECTOR = 512
MULTIPLE_LIMIT = 16
QUEUE_DEPTH = 32
DMA_BLOCK = 128
LBA28_LIMIT = 1 << 28

CHECK_POWER_ACTIVE = 0xFF
CHECK_POWER_IDLE = 0x80
CHECK_POWER_STANDBY = 0x00

TRIM_BLOCKS = 8  # of 512 bytes in one DATA SET MANAGEMENT

# Identify words 82-84 (and, as enabled, 85-87): NOP, READ and WRITE BUFFER, host protected area, look-ahead, write
# cache, power management, security, SMART; FLUSH CACHE EXT, FLUSH CACHE, 48-bit addresses, SET MAX security; forced
# unit access, general purpose log, SMART self-test and error log.
FEATURES_82 = 0x4000 | 0x2000 | 0x1000 | 0x0400 | 0x0040 | 0x0020 | 0x0008 | 0x0002 | 0x0001
FEATURES_83 = 0x4000 | 0x2000 | 0x1000 | 0x0400 | 0x0100
FEATURES_84 = 0x4000 | 0x0040 | 0x0020 | 0x0002 | 0x0001


class AtaDisk(AtaSecurity, AtaProtectedArea, AtaSmart):
    """A disk on a `BlockBackend` with 512-byte sectors. `geometry` is (cylinders, heads, sectors per track).

    `serial_ata` is a disk on a serial link: its identify data say so, and it takes queued commands.
    """

    STATE = (
        *AtaSecurity.STATE, *AtaSecurity.SECURITY_STATE, *AtaProtectedArea.AREA_STATE, *AtaSmart.SMART_STATE,
        "_heads", "_sectors_per_track", "_multiple", "_lba", "_count", "_block", "_transfer_mode", "_power",
        "_write_cache", "_look_ahead", "_sector_buffer", "_durable",
    )  # fmt: skip

    def __init__(
        self,
        backend: BlockBackend,
        *,
        name: str = "ATA disk",
        model: str = "X86EMU HARDDISK",
        serial: str = "X86EMU0001",
        firmware: str = "1.0",
        geometry: tuple[int, int, int] | None = None,
        serial_ata: bool = False,
    ) -> None:
        super().__init__(name)
        self.backend = backend
        self.model, self.serial, self.firmware = model, serial, firmware
        self.serial_ata = serial_ata
        self.native_sectors = self.sectors = backend.sectors
        self.geometry = geometry or (min(max(self.sectors // (16 * 63), 1), 16383), 16, 63)
        self._lba = self._count = self._block = 0
        self._durable = False  # the write under way is to be on stable storage when it ends
        self._sector_buffer = bytes(SECTOR)
        self._security_power_on()
        self._area_power_on()
        self.reset()

    def reset(self) -> None:
        """Power-on or hardware reset: default geometry, no multiple mode, PIO."""
        super().reset()
        self._security_reset()
        self._area_reset()
        self._smart_reset()
        self._defaults()

    def _defaults(self) -> None:
        _, self._heads, self._sectors_per_track = self.geometry
        self._multiple = 0
        self._transfer_mode = 0x08
        self._power = CHECK_POWER_ACTIVE
        self._write_cache = self._look_ahead = True

    # --- addresses

    def _address(self, extended: bool) -> tuple[int, int] | None:
        """First sector and count of the task file; fails the command and gives None where there is no such sector."""
        if extended:
            lba = self.lba_low | self.lba_mid << 8 | self.lba_high << 16
            lba |= self.previous[2] << 24 | self.previous[3] << 32 | self.previous[4] << 40
            count = (self.previous[1] << 8 | self.sector_count) or 65536
        else:
            count = self.sector_count or 256
            if self.device & DEVICE_LBA:
                lba = self.lba_low | self.lba_mid << 8 | self.lba_high << 16 | (self.device & 0x0F) << 24
            else:
                cylinder, head, sector = self.lba_mid | self.lba_high << 8, self.device & 0x0F, self.lba_low
                if not 1 <= sector <= self._sectors_per_track or head >= self._heads:
                    self.fail(ERROR_ID_NOT_FOUND)
                    return None
                lba = (cylinder * self._heads + head) * self._sectors_per_track + sector - 1
        if lba + count > self.sectors:
            self._fail_at(max(lba, self.sectors), ERROR_ID_NOT_FOUND)
            return None
        return lba, count

    def _fail_at(self, lba: int, error: int, *, fault: bool = False) -> None:
        """Fails with the address of the sector in the task file, in the form in which the command gave it."""
        self.fail(error, fault=fault)
        if not self.device & DEVICE_LBA and self._heads:
            track, sector = divmod(lba, self._sectors_per_track)
            cylinder, head = divmod(track, self._heads)
            self.lba_low, self.lba_mid, self.lba_high = sector + 1, cylinder & 0xFF, cylinder >> 8 & 0xFF
            self.device = self.device & 0xF0 | head
            return
        self.lba_low, self.lba_mid, self.lba_high = lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF
        self.previous[2:5] = [lba >> 24 & 0xFF, lba >> 32 & 0xFF, lba >> 40 & 0xFF]

    # --- transfers

    def _begin_read(self, extended: bool, block: int, dma: bool) -> None:
        address = self._address(extended)
        if address is not None:
            self._lba, self._count = address
            self._block = block
            if dma:
                self._begin_dma_read()
            else:
                self._load_block()

    def _begin_dma_read(self) -> None:
        """Nothing is read before the bus master asks: it may take all at once by `move_direct`."""
        self.request_dma("in")
        self._buffer, self._position, self._then = bytearray(), 0, "_load_block"
        self.status = self.IDLE_STATUS | STATUS_DATA_REQUEST
        self.announce_dma()

    def take(self, length: int) -> bytes:
        """At most `length` bytes for the host."""
        if self.dma == "in" and not self._buffer and self.status & STATUS_DATA_REQUEST:
            self._load_block()
        return super().take(length)

    @property
    def direct_bytes(self) -> int:
        """All that a DMA read or write still has to move, if it has not begun with a part."""
        if self.dma == "in" and not self._buffer:
            return self._count * SECTOR
        return self._count * SECTOR if self.dma == "out" and self._then == "_store_block" and not self._position else 0

    def move_direct(self, dma: Dma, pieces: Sequence[tuple[int, int]]) -> bool:
        """Moves all of it between the image and memory, which ends the command."""
        try:
            if self.dma == "in":
                read_to_memory(self.backend, self._lba, dma, pieces)
            else:
                self.backend.write(self._lba, from_memory(dma, pieces))
        except OSError:
            return False  # sector by sector the bad one will be found
        self._lba += self._count
        self._count = 0
        if self.dma == "out":
            self._written()
        else:
            self.complete()
        return True

    def _load_block(self) -> None:
        count = min(self._block, self._count)
        try:
            data = self.backend.read(self._lba, count)
        except OSError:
            self._fail_at(self._lba, ERROR_UNCORRECTABLE)
            return
        self._lba += count
        self._count -= count
        self.data_in(data, "_load_block" if self._count else "data_in_done")

    def _begin_write(self, extended: bool, block: int, dma: bool, *, durable: bool = False) -> None:
        address = self._address(extended)
        if address is None:
            return
        self._start_write(*address, block, dma, durable)

    def _start_write(self, lba: int, count: int, block: int, dma: bool, durable: bool) -> None:
        self._durable = durable or not self._write_cache
        if self.backend.read_only:
            self.fail()
            return
        self._lba, self._count = lba, count
        self._block = block
        if dma:
            self.request_dma("out")
        self.data_out(min(block, self._count) * SECTOR, "_store_block", interrupt=False)
        if dma:
            self.announce_dma()

    def _store_block(self) -> None:
        count = len(self._buffer) // SECTOR
        try:
            self.backend.write(self._lba, bytes(self._buffer))
        except OSError:
            self._fail_at(self._lba, ERROR_ABORTED, fault=True)
            return
        self._lba += count
        self._count -= count
        if self._count:
            self.data_out(min(self._block, self._count) * SECTOR, "_store_block", interrupt=True)
        else:
            self._written()

    def _written(self) -> None:
        """All of a write is with the host."""
        if self._durable:
            try:
                self.backend.flush()
            except OSError:
                self.fail(fault=True)
                return
        self.complete()

    # --- commands

    def execute(self, command: int) -> None:
        """Carries a command out; those not in the table are aborted."""
        if 0x10 <= command <= 0x1F:
            command = 0x10  # RECALIBRATE with its step rate
        elif 0x70 <= command <= 0x7F:
            command = 0x70  # SEEK
        handler = self._COMMANDS.get(command)
        if not 0xF8 <= command <= 0xF9 and command not in (0x27, 0x37):
            self._native_read = False
        if handler is None or self.refuses(command):
            self.fail()
        else:
            handler(self, command)

    def _read(self, command: int) -> None:
        self._begin_read(command == 0x24, 1, dma=False)

    def _read_multiple(self, command: int) -> None:
        if self._multiple:
            self._begin_read(command == 0x29, self._multiple, dma=False)
        else:
            self.fail()

    def _read_dma(self, command: int) -> None:
        self._begin_read(command == 0x25, DMA_BLOCK, dma=True)

    def _write(self, command: int) -> None:
        self._begin_write(command == 0x34, 1, dma=False)

    def _write_multiple(self, command: int) -> None:
        if self._multiple:
            self._begin_write(command != 0xC5, self._multiple, dma=False, durable=command == 0xCE)
        else:
            self.fail()

    def _write_dma(self, command: int) -> None:
        self._begin_write(command in (0x35, 0x3D), DMA_BLOCK, dma=True, durable=command == 0x3D)

    def _queued(self, command: int) -> None:
        """READ and WRITE FPDMA QUEUED (SATA 2.6, 13.6.4): the count is in the features registers."""
        count = (self.previous[0] << 8 | self.features) or 65536
        lba = self.lba_low | self.lba_mid << 8 | self.lba_high << 16
        lba |= self.previous[2] << 24 | self.previous[3] << 32 | self.previous[4] << 40
        if not self.serial_ata:
            self.fail()
        elif lba + count > self.sectors:
            self._fail_at(max(lba, self.sectors), ERROR_ID_NOT_FOUND)
        elif command == 0x60:
            self._lba, self._count, self._block = lba, count, DMA_BLOCK
            self._begin_dma_read()
        else:
            self._start_write(lba, count, DMA_BLOCK, True, bool(self.device & 0x80))

    def log_queued_error(self, tag: int) -> None:
        """Fills log 10h after a queued command failed: tag, status, error, address (SATA 2.6, 13.7.4)."""
        address = (self.lba_low, self.lba_mid, self.lba_high, self.device, *self.previous[2:5])
        self._queued_error = bytes((tag, 0, self.status, self.error, *address))

    def _data_set_management(self, command: int) -> None:
        """TRIM is its only function (ATA8-ACS 7.10): ranges of a 48-bit address and a 16-bit count."""
        count = self.previous[1] << 8 | self.sector_count
        can = hasattr(self.backend, "discard") and not self.backend.read_only
        if not can or not self.features & 1 or not 1 <= count <= TRIM_BLOCKS:
            self.fail()
            return
        self.request_dma("out")
        self.data_out(count * SECTOR, "_trim", interrupt=False)
        self.announce_dma()

    def _trim(self) -> None:
        backend = cast(DiscardBackend, self.backend)
        entries = [int.from_bytes(self._buffer[at : at + 8], "little") for at in range(0, len(self._buffer), 8)]
        ranges = [(entry & (1 << 48) - 1, entry >> 48) for entry in entries if entry >> 48]
        if any(lba + count > self.sectors for lba, count in ranges):
            self.fail(ERROR_ABORTED | ERROR_ID_NOT_FOUND)
            return
        try:
            for lba, count in ranges:
                backend.discard(lba, count)
        except OSError:
            self.fail(fault=True)
        else:
            self.complete()

    def _verify(self, command: int) -> None:
        address = self._address(command == 0x42)
        if address is not None:
            lba, count = address
            try:
                for start in range(lba, lba + count, DMA_BLOCK):
                    self.backend.read(start, min(DMA_BLOCK, lba + count - start))
            except OSError:
                self._fail_at(lba, ERROR_UNCORRECTABLE)
            else:
                self.complete()

    def _seek(self, command: int) -> None:
        self.sector_count = 1
        if self._address(False) is not None:
            self.complete()

    def _nothing(self, command: int) -> None:
        self.complete()

    def _flush(self, command: int) -> None:
        try:
            self.backend.flush()
        except OSError:
            self.fail(fault=True)
        else:
            self.complete()

    def _set_multiple(self, command: int) -> None:
        count = self.sector_count
        if count > MULTIPLE_LIMIT or count & (count - 1):
            self._multiple = 0
            self.fail()
        else:
            self._multiple = count
            self.complete()

    def _diagnostic(self, command: int) -> None:
        self.set_signature()
        self.set_interrupt(True)

    def _initialize_parameters(self, command: int) -> None:
        if not self.sector_count:
            self.fail()
            return
        self._heads, self._sectors_per_track = (self.device & 0x0F) + 1, self.sector_count
        self.complete()

    def _power_command(self, command: int) -> None:
        standby = command in (0x94, 0x96, 0x99, 0xE0, 0xE2, 0xE6)
        self._power = CHECK_POWER_STANDBY if standby else CHECK_POWER_IDLE
        self.complete()

    def _check_power(self, command: int) -> None:
        self.sector_count = self._power
        self.complete()

    def _read_buffer(self, command: int) -> None:
        self.data_in(self._sector_buffer, "data_in_done")

    def _write_buffer(self, command: int) -> None:
        self.data_out(SECTOR, "_buffer_written", interrupt=False)

    def _buffer_written(self) -> None:
        self._sector_buffer = bytes(self._buffer)
        self.complete()

    def _identify(self, command: int) -> None:
        self.data_in(self.identify_data(), "data_in_done")

    def _set_features(self, command: int) -> None:
        feature = self.features
        if feature == 0x03:
            kind, mode = self.sector_count >> 3, self.sector_count & 7
            limit = {0: 1, 1: 4, 4: 2, 8: 5}.get(kind)  # PIO default, PIO with IORDY, multiword DMA, Ultra DMA
            if limit is None or mode > limit:
                self.fail()
                return
            self._transfer_mode = self.sector_count
        elif feature in (0x02, 0x82):
            self._write_cache = feature == 0x02
        elif feature in (0xAA, 0x55):
            self._look_ahead = feature == 0xAA
        elif feature not in (0x66, 0xCC):  # power-on defaults on reset: kept either way
            self.fail()
            return
        self.complete()

    def identify_data(self) -> bytes:
        """IDENTIFY DEVICE data (chapter 8.15)."""
        cylinders, heads, sectors_per_track = self.geometry
        current_cylinders = min(self.sectors // (self._heads * self._sectors_per_track), 65535)
        current_capacity = current_cylinders * self._heads * self._sectors_per_track
        lba28 = min(self.sectors, LBA28_LIMIT - 1)
        kind, mode = self._transfer_mode >> 3, self._transfer_mode & 7
        enabled = FEATURES_82 & ~0x63 | self._look_ahead << 6 | self._write_cache << 5
        words = {
            0: 0x0040,
            1: cylinders,
            3: heads,
            6: sectors_per_track,
            47: 0x8000 | MULTIPLE_LIMIT,
            49: 0x0F00,  # IORDY and its disabling, LBA, DMA
            50: 0x4000,
            51: 0x0200,
            53: 0x0007,
            54: current_cylinders,
            55: self._heads,
            56: self._sectors_per_track,
            57: current_capacity & 0xFFFF,
            58: current_capacity >> 16,
            59: 0x0100 | self._multiple if self._multiple else 0,
            60: lba28 & 0xFFFF,
            61: lba28 >> 16,
            63: 0x0007 | (0x0100 << mode if kind == 4 else 0),
            64: 0x0003,
            65: 120,
            66: 120,
            67: 120,
            68: 120,
            80: 0x01F0,  # ATA/ATAPI-4 to -7, ATA8-ACS
            82: FEATURES_82,
            83: FEATURES_83,
            84: FEATURES_84,
            85: enabled | self.security_status & 0x02 | self._smart,
            86: FEATURES_83 & 0x3FFF,
            87: FEATURES_84,
            88: 0x003F | (0x0100 << mode if kind == 8 else 0),
            89: ERASE_MINUTES_HALVED,
            90: ERASE_MINUTES_HALVED,
            92: self._master_revision,
            93: 0x6001,  # 80-conductor cable; device number by jumper
            128: self.security_status,
        }
        if hasattr(self.backend, "discard") and not self.backend.read_only:
            words[105] = TRIM_BLOCKS
            words[169] = 0x0001
        if self.serial_ata:
            words |= {75: QUEUE_DEPTH - 1, 76: 0x010E, 78: 0, 93: 0, 222: 0x107F}  # 1.5 to 6 Gb/s, queuing
        for index in range(4):
            words[100 + index] = self.sectors >> 16 * index & 0xFFFF
        return identify_block(words, {10: (self.serial, 20), 23: (self.firmware, 8), 27: (self.model, 40)})

    _COMMANDS: dict[int, Callable[[AtaDisk, int], None]] = {
        0x10: _nothing, 0x20: _read, 0x21: _read, 0x24: _read, 0x25: _read_dma, 0x29: _read_multiple,
        0x06: _data_set_management, 0x27: AtaProtectedArea._read_native_max, 0x37: AtaProtectedArea._set_max,
        0x2F: AtaSmart._read_log, 0x47: AtaSmart._read_log, 0x3D: _write_dma, 0x60: _queued, 0x61: _queued,
        0xCE: _write_multiple, 0xF1: AtaSecurity._security, 0xF2: AtaSecurity._security, 0xF3: AtaSecurity._security,
        0xF4: AtaSecurity._security, 0xF5: AtaSecurity._security, 0xF6: AtaSecurity._security,
        0xF8: AtaProtectedArea._read_native_max, 0xF9: AtaProtectedArea._set_max,
        0x30: _write, 0x31: _write, 0x34: _write, 0x35: _write_dma, 0x39: _write_multiple,
        0x40: _verify, 0x41: _verify, 0x42: _verify, 0x70: _seek, 0x90: _diagnostic, 0x91: _initialize_parameters,
        0x94: _power_command, 0x95: _power_command, 0x96: _power_command, 0x97: _power_command, 0x98: _check_power,
        0x99: _power_command, 0xB0: AtaSmart._smart_command, 0xC4: _read_multiple, 0xC5: _write_multiple,
        0xC6: _set_multiple,
        0xC8: _read_dma, 0xC9: _read_dma, 0xCA: _write_dma, 0xCB: _write_dma, 0xE0: _power_command,
        0xE1: _power_command, 0xE2: _power_command, 0xE3: _power_command, 0xE4: _read_buffer, 0xE5: _check_power,
        0xE6: _power_command, 0xE7: _flush, 0xE8: _write_buffer, 0xEA: _flush, 0xEC: _identify, 0xEF: _set_features,
    }  # fmt: skip

    def start(self, command: int) -> None:
        """A write to the command register; any access to the medium makes the device active again."""
        if command not in (0xE5, 0x98) and not 0xE0 <= command <= 0xE6 and not 0x94 <= command <= 0x99:
            self._power = CHECK_POWER_ACTIVE
        super().start(command)

