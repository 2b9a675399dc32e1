"""SMART and the general purpose log of an ATA disk (ATA/ATAPI-6, T13/1410D, chapters 6.14, 8.41 and appendix A of
ATA/ATAPI-7 volume 1 for READ LOG EXT; SATA 2.6, chapter 13.7, for the queued error log).

A file on the host does not wear out: the attributes say so and never change.  Self-tests pass at once.
"""

from __future__ import annotations

from typing import ClassVar

from x86emu.devices.ata_drive import AtaDrive

READ_DATA, READ_THRESHOLDS, AUTOSAVE, SAVE, OFF_LINE, READ_LOG = 0xD0, 0xD1, 0xD2, 0xD3, 0xD4, 0xD5
ENABLE, DISABLE, RETURN_STATUS = 0xD8, 0xD9, 0xDA
KEY = (0x4F, 0xC2)
LOG_DIRECTORY, LOG_ERRORS, LOG_SELF_TESTS, LOG_QUEUED_ERROR = 0x00, 0x01, 0x06, 0x10
SELF_TESTS = (0x01, 0x02, 0x81, 0x82)
SELF_TEST_ENTRIES = 21

# Attribute: flags (pre-failure, on-line), value, raw value, threshold.
ATTRIBUTES = {
    0x01: (0x000B, 100, 0, 51),  # read error rate
    0x05: (0x0033, 100, 0, 10),  # reallocated sectors
    0x09: (0x0032, 100, 1, 0),  # power-on hours
    0x0C: (0x0032, 100, 1, 0),  # power cycles
    0xC2: (0x0022, 69, 31, 0),  # temperature
    0xC5: (0x0012, 100, 0, 0),  # pending sectors
}


def with_sum(block: bytearray) -> bytes:
    """A block of 512 bytes whose last one makes the sum zero."""
    block[511] = -sum(block[:511]) & 0xFF
    return bytes(block)


def smart_data() -> bytes:
    """SMART READ DATA (chapter 8.41.5.8)."""
    block = bytearray(512)
    block[0] = 0x10
    for index, (number, (flags, value, raw, _)) in enumerate(ATTRIBUTES.items()):
        entry = bytes((number, flags & 0xFF, flags >> 8, value, value)) + raw.to_bytes(6, "little") + b"\0"
        block[2 + 12 * index : 14 + 12 * index] = entry
    block[367] = 0x11  # off-line immediate and self-tests are there
    block[368] = 0x03  # attribute saving across power cycles and by command
    block[370] = 0x01  # error logging
    block[372] = block[373] = 1  # minutes that the self-tests take
    return with_sum(block)


def smart_thresholds() -> bytes:
    """SMART READ ATTRIBUTE THRESHOLDS (obsolete; software still asks)."""
    block = bytearray(512)
    block[0] = 0x10
    for index, (number, (_, _, _, threshold)) in enumerate(ATTRIBUTES.items()):
        block[2 + 12 * index : 4 + 12 * index] = bytes((number, threshold))
    return with_sum(block)


class AtaSmart(AtaDrive):
    """The command B0h and READ LOG EXT."""

    SMART_STATE: ClassVar[tuple[str, ...]] = ("_smart", "_self_tests", "_queued_error")

    def _smart_reset(self) -> None:
        self._smart = True
        self._self_tests: list[int] = []
        self._queued_error = b""  # log 10h after a queued command has failed

    def _smart_command(self, command: int) -> None:
        feature = self.features
        if (self.lba_mid, self.lba_high) != KEY or not self._smart and feature != ENABLE:
            self.fail()
        elif feature == READ_DATA:
            self.data_in(smart_data(), "data_in_done")
        elif feature == READ_THRESHOLDS:
            self.data_in(smart_thresholds(), "data_in_done")
        elif feature == READ_LOG:
            log = self._log(self.lba_low)
            if log is None or self.sector_count != 1:
                self.fail()
            else:
                self.data_in(log, "data_in_done")
        elif feature in (ENABLE, DISABLE):
            self._smart = feature == ENABLE
            self.complete()
        elif feature == OFF_LINE:
            if self.lba_low in SELF_TESTS:
                self._self_tests = [self.lba_low, *self._self_tests][:SELF_TEST_ENTRIES]
            self.complete()
        elif feature in (AUTOSAVE, SAVE, RETURN_STATUS):
            self.complete()  # 4Fh and C2h left in place say that no threshold is exceeded
        else:
            self.fail()

    def _log(self, address: int) -> bytes | None:
        block = bytearray(512)
        if address == LOG_DIRECTORY:
            block[0] = 1
            for log in (LOG_ERRORS, LOG_SELF_TESTS):
                block[2 * log] = 1
            return bytes(block)
        if address == LOG_ERRORS:
            block[0] = 1
            return with_sum(block)
        if address == LOG_SELF_TESTS:
            block[0] = 1
            for index, test in enumerate(self._self_tests):
                block[2 + 24 * index] = test  # passed, in hour 0
            block[508] = len(self._self_tests)
            return with_sum(block)
        return None

    def _read_log(self, command: int) -> None:
        """READ LOG EXT 2Fh, and by DMA 47h: directory and the queued error log."""
        block = bytearray(512)
        count = (self.previous[1] << 8 | self.sector_count) or 65536
        if count != 1 or self.lba_mid or self.previous[3]:
            self.fail()
            return
        if self.lba_low == LOG_DIRECTORY:
            block[0] = 1
            block[2 * LOG_QUEUED_ERROR] = 1
        elif self.lba_low == LOG_QUEUED_ERROR:
            block[:511] = (self._queued_error or b"\x80").ljust(511, b"\0")  # 80h: no queued command failed
            with_block = with_sum(block)
            block[:] = with_block
        else:
            self.fail()
            return
        if command == 0x47:
            self.request_dma("in")
        self.data_in(bytes(block), "data_in_done")
        if command == 0x47:
            self.announce_dma()
