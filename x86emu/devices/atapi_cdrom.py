"""ATAPI CD-ROM or DVD-ROM drive (ATA/ATAPI-6 chapters 8.23 and 9.8 for the packet protocol; INF-8020i and MMC-3 for
the packets).

One session, one data track, sectors of 2048 bytes from the back end.  A medium of more than 400 000 sectors is a DVD.
Left out: audio, raw sectors with EDC and ECC, writing, overlap and queuing, CSS.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.devices import mmc
from x86emu.devices.ata_drive import (
    ERROR_ABORTED,
    STATUS_DATA_REQUEST,
    STATUS_ERROR,
    STATUS_READY,
    AtaDrive,
    identify_block,
)
from x86emu.devices.block import BlockBackend

SECTOR = mmc.SECTOR
PACKET_LENGTH = 12

# Interrupt reason, in the sector count register (chapter 8.23.6).
REASON_COMMAND = 0x01
REASON_TO_HOST = 0x02

FEATURE_DMA = 0x01
READ_AHEAD = 32  # sectors fetched from the back end at a time


class AtapiCdrom(AtaDrive):
    """A drive, with a medium or without one. `medium_changed(present)` is told when the guest opens or closes the tray.

    The back end has sectors of 2048 bytes.
    """

    STATE = AtaDrive.STATE + (
        "_limit", "_reply", "_lba", "_count", "_sense", "_attention", "_locked", "_tray_open", "_media_event",
        "_transfer_mode", "_packet",
    )  # fmt: skip
    SIGNATURE = (0x14, 0xEB)
    RESET_STATUS = 0x00
    IDLE_STATUS = STATUS_READY

    def __init__(
        self,
        medium: BlockBackend | None = None,
        *,
        name: str = "ATAPI CD-ROM",
        model: str = "X86EMU DVD-ROM",
        serial: str = "X86EMU0002",
        firmware: str = "1.0",
        medium_changed: Callable[[bool], object] | None = None,
    ) -> None:
        super().__init__(name)
        self.model, self.serial, self.firmware = model, serial, firmware
        self.medium_changed = medium_changed
        self._medium = medium
        self._tray_open = False
        self._media_event = mmc.EVENT_NONE
        self.reset()

    def reset(self) -> None:
        """Power-on or hardware reset: the next command that needs the unit reports it."""
        super().reset()
        self._limit = 0
        self._reply = b""
        self._packet = b""
        self._lba = self._count = 0
        self._sense = mmc.NO_SENSE
        self._attention: tuple[int, int, int] | None = mmc.POWER_ON
        self._locked = False
        self._transfer_mode = 0x08

    # --- host side

    @property
    def medium(self) -> BlockBackend | None:
        """The medium that the drive can read now: None with the tray open or empty."""
        return None if self._tray_open else self._medium

    def insert(self, medium: BlockBackend) -> None:
        """Puts a medium in and closes the tray."""
        self._medium = medium
        self._close_tray()

    def eject(self, *, force: bool = False) -> bool:
        """Presses the button: takes the medium out, unless the guest has locked the tray, which then gets a request."""
        if self._locked and not force:
            self._media_event = mmc.EVENT_EJECT_REQUEST
            return False
        self._medium = None
        self._open_tray()
        return True

    def _open_tray(self) -> None:
        self._tray_open = True
        self._media_event = mmc.EVENT_MEDIA_REMOVAL
        if self.medium_changed is not None:
            self.medium_changed(False)

    def _close_tray(self) -> None:
        self._tray_open = False
        if self._medium is not None:
            self._media_event = mmc.EVENT_NEW_MEDIA
            self._attention = mmc.MEDIUM_CHANGED
        if self.medium_changed is not None:
            self.medium_changed(self._medium is not None)

    # --- ATA commands

    def execute(self, command: int) -> None:
        """The ATA commands of a packet device; all others are aborted."""
        if command == 0xA0:
            self.sector_count = REASON_COMMAND
            # The drive takes packets without interrupting for them (identify word 0, bits 6-5: 10b).
            self.data_out(PACKET_LENGTH, "packet_received", interrupt=False)
        elif command == 0xA1:
            self.data_in(self.identify_data(), "data_in_done")
        elif command == 0x08:
            self.set_signature()
        elif command in (0xEC, 0x20):
            self.set_signature()  # so that a host which takes it for a disk finds out (chapter 8.15.5.2)
            self.fail()
        elif command == 0xEF:
            self._set_features()
        elif command in (0xE0, 0xE1, 0xE2, 0xE3, 0xE6):
            self.complete()
        elif command == 0xE5:
            self.sector_count = 0xFF
            self.complete()
        else:
            self.fail()

    def _set_features(self) -> None:
        if self.features == 0x03:
            kind, mode = self.sector_count >> 3, self.sector_count & 7
            limit = {0: 1, 1: 4, 4: 2, 8: 5}.get(kind)
            if limit is None or mode > limit:
                self.fail()
                return
            self._transfer_mode = self.sector_count
        elif self.features not in (0x66, 0xCC):
            self.fail()
            return
        self.complete()

    def identify_data(self) -> bytes:
        """IDENTIFY PACKET DEVICE data (chapter 8.16)."""
        kind, mode = self._transfer_mode >> 3, self._transfer_mode & 7
        words = {
            0: 0x85C0,  # ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets
            49: 0x0F00,
            53: 0x0006,
            63: 0x0007 | (0x0100 << mode if kind == 4 else 0),
            64: 0x0003,
            65: 120,
            66: 120,
            67: 120,
            68: 120,
            73: 0x0000,
            80: 0x0070,
            82: 0x4210,  # NOP, DEVICE RESET, PACKET
            83: 0x4000,
            84: 0x4000,
            85: 0x4210,
            87: 0x4000,
            88: 0x003F | (0x0100 << mode if kind == 8 else 0),
            93: 0x6001,
        }
        return identify_block(words, {10: (self.serial, 20), 23: (self.firmware, 8), 27: (self.model, 40)})

    # --- packet protocol

    def packet_received(self) -> None:
        """The twelve bytes are there: carries the packet out."""
        packet = bytes(self._buffer)
        self._stop_transfer()
        self.status = self.IDLE_STATUS
        self._packet = packet
        # A limit of zero or of FFFFh means the largest even one (chapter 8.23.4).
        limit = self.lba_mid | self.lba_high << 8
        self._limit = 0xFFFE if limit in (0, 0xFFFF) else limit
        self._reply = b""
        self._count = 0
        handler = self._PACKETS.get(packet[0])
        if handler is None:
            self._check(mmc.INVALID_COMMAND)
            return
        needs_unit = packet[0] not in mmc.ANSWERED_ALWAYS
        if needs_unit and self._attention is not None:
            sense, self._attention = self._attention, None
            self._check(sense)
        elif packet[0] in mmc.NEEDS_MEDIUM and self.medium is None:
            self._check(mmc.NO_MEDIUM_TRAY_OPEN if self._tray_open else mmc.NO_MEDIUM)
        else:
            if packet[0] != mmc.REQUEST_SENSE:
                self._sense = mmc.NO_SENSE
            handler(self, packet)

    def _check(self, sense: tuple[int, int, int]) -> None:
        """Ends the packet with CHECK CONDITION; the sense key is in the error register as well."""
        self._sense = sense
        self._count = 0
        self._reply = b""
        self._stop_transfer()
        self.error = sense[0] << 4 | (ERROR_ABORTED if sense[0] == mmc.ILLEGAL_REQUEST else 0)
        self.sector_count = REASON_COMMAND | REASON_TO_HOST
        self.status = self.IDLE_STATUS | STATUS_ERROR
        self.set_interrupt(True)

    def _good(self) -> None:
        """Ends the packet with GOOD."""
        self.sector_count = REASON_COMMAND | REASON_TO_HOST
        self.complete()

    def _answer(self, data: bytes, allocation: int) -> None:
        """Sends data, cut to the allocation length; none at all is no error."""
        self._reply = data[:allocation]
        self._send()

    def _send(self) -> None:
        if not self._reply and not self._count:
            self._good()
            return
        if self.features & FEATURE_DMA:
            self.request_dma("in")
            self._next_part()
            self.announce_dma()
        else:
            self._next_part()

    def _next_part(self) -> None:
        """The next block of data: up to the byte count limit, even unless it is the last one."""
        limit = SECTOR * READ_AHEAD if self.dma else self._limit
        while len(self._reply) < limit and self._count:
            medium = self.medium
            count = min(self._count, READ_AHEAD)
            try:
                if medium is None:
                    raise OSError("the tray is open")
                self._reply += medium.read(self._lba, count)
            except OSError:
                self._check(mmc.READ_ERROR)
                return
            self._lba += count
            self._count -= count
        part = min(limit, len(self._reply))
        if part < len(self._reply) or self._count:
            part = part & ~1 or part
        data, self._reply = self._reply[:part], self._reply[part:]
        self.sector_count = REASON_TO_HOST
        if not self.dma:
            self.lba_mid, self.lba_high = part & 0xFF, part >> 8
        self.data_in(data, "part_read")

    def part_read(self) -> None:
        """The host has read a block of packet data."""
        if self._reply or self._count:
            self._next_part()
        else:
            self._good()

    def take(self, length: int) -> bytes:
        """An odd last byte is padded to a word."""
        if not self.status & STATUS_DATA_REQUEST:
            return b""
        data = super().take(length)
        return data + b"\0" if len(data) & 1 and length > len(data) and not self.dma else data

    # --- packets

    def _test_unit_ready(self, packet: bytes) -> None:
        self._good()

    def _request_sense(self, packet: bytes) -> None:
        if self._sense == mmc.NO_SENSE and self._attention is not None:
            self._sense, self._attention = self._attention, None
        sense, self._sense = self._sense, mmc.NO_SENSE
        self._answer(mmc.sense_data(sense), packet[4])

    def _inquiry(self, packet: bytes) -> None:
        if packet[1] & 1 or packet[2]:
            self._check(mmc.INVALID_FIELD)
        else:
            self._answer(mmc.inquiry_data(self.model, self.firmware), packet[4])

    def _mode_sense_6(self, packet: bytes) -> None:
        pages = mmc.mode_pages(packet[2] & 0x3F, self._locked)
        if pages is None or packet[2] >> 6 == 3:
            self._check(mmc.SAVING_NOT_SUPPORTED if pages is not None else mmc.INVALID_FIELD)
        else:
            self._answer(bytes((len(pages) + 3, self._medium_type(), 0, 0)) + pages, packet[4])

    def _mode_sense_10(self, packet: bytes) -> None:
        pages = mmc.mode_pages(packet[2] & 0x3F, self._locked)
        if pages is None or packet[2] >> 6 == 3:
            self._check(mmc.SAVING_NOT_SUPPORTED if pages is not None else mmc.INVALID_FIELD)
        else:
            header = (len(pages) + 6).to_bytes(2, "big") + bytes((self._medium_type(), 0, 0, 0, 0, 0))
            self._answer(header + pages, int.from_bytes(packet[7:9], "big"))

    def _medium_type(self) -> int:
        """Medium type code of INF-8020i table 71."""
        if self._tray_open:
            return 0x71
        return 0x70 if self._medium is None else 0x01

    def _mode_select(self, packet: bytes) -> None:
        length = packet[4] if packet[0] == 0x15 else int.from_bytes(packet[7:9], "big")
        if not length:
            self._good()
            return
        self.sector_count = 0
        if self.features & FEATURE_DMA:
            self.request_dma("out")
        else:
            length = min(length, self._limit)
            self.lba_mid, self.lba_high = length & 0xFF, length >> 8
        self.data_out(length, "parameters_received", interrupt=True)
        if self.dma:
            self.announce_dma()

    def parameters_received(self) -> None:
        """MODE SELECT: no page has a value that can change."""
        self._good()

    def _start_stop(self, packet: bytes) -> None:
        load_eject, start = packet[4] & 2, packet[4] & 1
        if load_eject and not start:
            if self._locked:
                self._check(mmc.REMOVAL_PREVENTED)
                return
            if not self._tray_open:
                self._open_tray()
        elif load_eject and self._tray_open:
            self._close_tray()
        self._good()

    def _prevent_allow(self, packet: bytes) -> None:
        self._locked = bool(packet[4] & 1)
        self._good()

    def _read_capacity(self, packet: bytes) -> None:
        self._answer((self._sectors() - 1).to_bytes(4, "big") + SECTOR.to_bytes(4, "big"), 8)

    def _sectors(self) -> int:
        medium = self.medium
        return medium.sectors if medium is not None else 0

    def _read(self, packet: bytes) -> None:
        lba = int.from_bytes(packet[2:6], "big")
        if packet[0] == 0x28:
            count = int.from_bytes(packet[7:9], "big")
        elif packet[0] == 0xA8:
            count = int.from_bytes(packet[6:10], "big")
        else:  # READ CD: only what the data area of a sector holds
            count = int.from_bytes(packet[6:9], "big")
            if packet[9] & 0xF8 not in (0x10, 0x00):
                self._check(mmc.INVALID_FIELD)
                return
            if not packet[9] & 0xF8:
                count = 0
        if lba + count > self._sectors():
            self._check(mmc.ADDRESS_OUT_OF_RANGE)
            return
        self._lba, self._count = lba, count
        self._send()

    def _seek(self, packet: bytes) -> None:
        if int.from_bytes(packet[2:6], "big") >= self._sectors():
            self._check(mmc.ADDRESS_OUT_OF_RANGE)
        else:
            self._good()

    def _read_sub_channel(self, packet: bytes) -> None:
        # Audio status 15h: nothing to say; no sub-channel data.
        self._answer(bytes((0, 0x15, 0, 0)), int.from_bytes(packet[7:9], "big"))

    def _read_toc(self, packet: bytes) -> None:
        toc_format = packet[2] & 0x0F or packet[9] >> 6
        toc = mmc.table_of_contents(toc_format, bool(packet[1] & 2), packet[6], self._sectors())
        if toc is None:
            self._check(mmc.INVALID_FIELD)
        else:
            self._answer(toc, int.from_bytes(packet[7:9], "big"))

    def _get_configuration(self, packet: bytes) -> None:
        start, kind = int.from_bytes(packet[2:4], "big"), packet[1] & 3
        answer = mmc.configuration(kind, start, self._sectors(), self._locked)
        self._answer(answer, int.from_bytes(packet[7:9], "big"))

    def _get_event_status(self, packet: bytes) -> None:
        if not packet[1] & 1:
            self._check(mmc.INVALID_FIELD)  # asynchronous notification would need overlap
            return
        allocation = int.from_bytes(packet[7:9], "big")
        if not packet[4] & mmc.CLASS_MEDIA_BIT:
            self._answer(bytes((0, 2, 0x80, mmc.CLASS_MEDIA_BIT)), allocation)
            return
        event = self._media_event
        if allocation > 4:
            self._media_event = mmc.EVENT_NONE
        present = self.medium is not None
        self._answer(
            bytes((0, 6, mmc.CLASS_MEDIA, mmc.CLASS_MEDIA_BIT, event, present << 1 | self._tray_open, 0, 0)), allocation
        )

    def _read_disc_information(self, packet: bytes) -> None:
        self._answer(mmc.disc_information(), int.from_bytes(packet[7:9], "big"))

    def _read_track_information(self, packet: bytes) -> None:
        self._answer(mmc.track_information(self._sectors()), int.from_bytes(packet[7:9], "big"))

    def _read_disc_structure(self, packet: bytes) -> None:
        structure = mmc.disc_structure(packet[7], self._sectors())
        if structure is None:
            self._check(mmc.INVALID_FIELD)
        else:
            self._answer(structure, int.from_bytes(packet[8:10], "big"))

    def _mechanism_status(self, packet: bytes) -> None:
        self._answer(bytes((0, 0x10 if self._tray_open else 0, 0, 0, 0, 0, 0, 0)), int.from_bytes(packet[8:10], "big"))

    _PACKETS: dict[int, Callable[[AtapiCdrom, bytes], None]] = {
        0x00: _test_unit_ready, 0x03: _request_sense, 0x12: _inquiry, 0x15: _mode_select, 0x1A: _mode_sense_6,
        0x1B: _start_stop, 0x1E: _prevent_allow, 0x25: _read_capacity, 0x28: _read, 0x2B: _seek,
        0x42: _read_sub_channel, 0x43: _read_toc, 0x46: _get_configuration, 0x4A: _get_event_status,
        0x51: _read_disc_information, 0x52: _read_track_information, 0x55: _mode_select, 0x5A: _mode_sense_10,
        0xA8: _read, 0xAD: _read_disc_structure, 0xBB: _test_unit_ready, 0xBD: _mechanism_status, 0xBE: _read,
    }  # fmt: skip
