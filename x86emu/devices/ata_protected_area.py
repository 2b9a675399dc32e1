"""Host protected area of an ATA disk (ATA/ATAPI-6, T13/1410D, chapters 6.11, 8.27, 8.28, 8.47 and 8.48).

The end of the disk that SET MAX ADDRESS hides reads as if it were not there.  A volatile setting ends with the next
hardware reset; the other kind lasts as long as the machine, it is not in the image.
"""

from __future__ import annotations

from typing import ClassVar

from x86emu.devices.ata_drive import DEVICE_LBA, ERROR_ID_NOT_FOUND, AtaDrive

SET_MAX_ADDRESS, SET_MAX_PASSWORD, SET_MAX_LOCK, SET_MAX_UNLOCK, SET_MAX_FREEZE = range(5)
READ_NATIVE_MAX, READ_NATIVE_MAX_EXT, SET_MAX, SET_MAX_EXT = 0xF8, 0x27, 0xF9, 0x37
LBA28_LIMIT = 1 << 28
VALUE_VOLATILE = 0x01
ATTEMPTS = 5


class AtaProtectedArea(AtaDrive):
    """The commands F8h, F9h, 27h and 37h."""

    AREA_STATE: ClassVar[tuple[str, ...]] = (
        "sectors", "_kept_sectors", "_native_read", "_max_password", "_max_locked", "_max_frozen", "_max_attempts",
        "_max_command",
    )  # fmt: skip
    native_sectors: int

    def _area_power_on(self) -> None:
        self._kept_sectors = self.native_sectors
        self._area_reset()

    def _area_reset(self) -> None:
        self.sectors = self._kept_sectors
        self._native_read = False  # SET MAX has to follow READ NATIVE MAX at once
        self._max_password: bytes | None = None
        self._max_locked = self._max_frozen = False
        self._max_attempts = ATTEMPTS
        self._max_command = 0

    def _read_native_max(self, command: int) -> None:
        lba = self.native_sectors - 1
        if command == READ_NATIVE_MAX:
            lba = min(lba, LBA28_LIMIT - 2)
            self.device = self.device & 0xF0 | (lba >> 24 & 0x0F)
        self.lba_low, self.lba_mid, self.lba_high = lba & 0xFF, lba >> 8 & 0xFF, lba >> 16 & 0xFF
        self.previous[2:5] = [lba >> 24 & 0xFF, lba >> 32 & 0xFF, lba >> 40 & 0xFF]
        self.complete()
        self._native_read = True

    def _set_max(self, command: int) -> None:
        after_native, self._native_read = self._native_read, False
        if command == SET_MAX and not after_native and self.features in (SET_MAX_PASSWORD, SET_MAX_UNLOCK):
            if self._max_frozen or (self.features == SET_MAX_PASSWORD and self._max_locked):
                self.fail()
                return
            self._max_command = self.features
            self.data_out(512, "max_password", interrupt=False)
        elif command == SET_MAX and not after_native and self.features in (SET_MAX_LOCK, SET_MAX_FREEZE):
            if self._max_frozen or self._max_password is None:
                self.fail()
                return
            self._max_locked = True
            self._max_frozen = self.features == SET_MAX_FREEZE
            self.complete()
        elif not after_native or self._max_locked or not self.device & DEVICE_LBA:
            self.fail()
        else:
            self._set_max_address(command == SET_MAX_EXT)

    def _set_max_address(self, extended: bool) -> None:
        lba = self.lba_low | self.lba_mid << 8 | self.lba_high << 16
        if extended:
            lba |= self.previous[2] << 24 | self.previous[3] << 32 | self.previous[4] << 40
        else:
            lba |= (self.device & 0x0F) << 24
        if lba >= self.native_sectors:
            self.fail(ERROR_ID_NOT_FOUND)
            return
        self.sectors = lba + 1
        if self.sector_count & VALUE_VOLATILE:
            self._kept_sectors = self.sectors
        self.complete()

    def max_password(self) -> None:
        """The 512 bytes of SET MAX SET PASSWORD or UNLOCK are there."""
        password = bytes(self._buffer[2:34])
        if self._max_command == SET_MAX_PASSWORD:
            self._max_password = password
            self._max_locked = False
        elif not self._max_attempts or password != self._max_password:
            self._max_attempts = max(self._max_attempts - 1, 0)
            self.fail()
            return
        else:
            self._max_locked = False
        self.complete()
