"""CD-ROM or DVD-ROM drive as a SCSI logical unit (MMC-3, T10/1363-D; INF-8020i for what ATAPI drives answer).

Sectors of 2048 bytes from the back end; a medium of more than 400 000 sectors is a DVD.  READ CD also gives whole
sectors of mode 1 with their codes (cd_sector.py).  A medium may have several sessions, each with a data track.
Left out: audio, mode 2 sectors, sub-channels, writing, CSS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar

from x86emu.devices import mmc
from x86emu.devices.block import BlockBackend
from x86emu.devices.cd_sector import SYNC, USER_BYTES, header, raw_sector
from x86emu.devices.scsi import (
    ADDRESS_OUT_OF_RANGE,
    INQUIRY,
    INVALID_FIELD,
    MEDIUM_CHANGED,
    NO_MEDIUM,
    NO_MEDIUM_TRAY_OPEN,
    REMOVAL_PREVENTED,
    REPORT_LUNS,
    REQUEST_SENSE,
    Phase,
    ScsiUnit,
    field,
)

NEEDS_MEDIUM = frozenset((0x00, 0x25, 0x28, 0x2B, 0x42, 0x43, 0x51, 0x52, 0xA8, 0xAD, 0xB9, 0xBE))

# READ CD: what of a sector is wanted (MMC-3, 6.19.2).
WANT_SYNC, WANT_HEADER, WANT_USER, WANT_CODES = 0x80, 0x20, 0x10, 0x08
HEADER_CODES, ERROR_FLAGS = 0x60, 0x06
EXPECT_ANY, EXPECT_MODE_1 = 0, 2


class ScsiCdrom(ScsiUnit):
    """A drive, with a medium or without one. `medium_changed(present)` is told when the tray opens or closes.

    The back end has sectors of 2048 bytes; `sessions` are the first sectors of the medium's sessions.  `atapi` gives
    the standard INQUIRY data of an ATAPI device.
    """

    STATE: ClassVar[tuple[str, ...]] = (*ScsiUnit.STATE, "tray_open", "media_event")
    ANSWERED_ALWAYS: ClassVar[frozenset[int]] = frozenset((REQUEST_SENSE, INQUIRY, REPORT_LUNS, 0x46, 0x4A))
    PERIPHERAL_TYPE: ClassVar[int] = 5
    SECTOR: ClassVar[int] = mmc.SECTOR
    REMOVABLE: ClassVar[bool] = True

    def __init__(
        self,
        medium: BlockBackend | None = None,
        *,
        sessions: tuple[int, ...] = (0,),
        name: str = "SCSI CD-ROM",
        model: str = "X86EMU DVD-ROM",
        serial: str = "X86EMU0002",
        firmware: str = "1.0",
        atapi: bool = False,
        medium_changed: Callable[[bool], object] | None = None,
    ) -> None:
        super().__init__(name, model, serial, firmware)
        self.atapi = atapi
        self.medium_changed = medium_changed
        self.inserted = medium
        self.sessions = sessions
        self.tray_open = False
        self.media_event = mmc.EVENT_NONE

    # --- host side

    @property
    def backend(self) -> BlockBackend | None:
        """The medium that the drive can read now: None with the tray open or empty."""
        return None if self.tray_open else self.inserted

    def insert(self, medium: BlockBackend, sessions: tuple[int, ...] = (0,)) -> None:
        """Puts a medium in and closes the tray."""
        self.inserted, self.sessions = medium, sessions
        self._close_tray()

    def eject(self, *, force: bool = False) -> bool:
        """Presses the button: takes the medium out, unless the guest has locked the tray, which then gets a request."""
        if self.locked and not force:
            self.media_event = mmc.EVENT_EJECT_REQUEST
            return False
        self.inserted, self.sessions = None, (0,)
        self._open_tray()
        return True

    def _open_tray(self) -> None:
        self.tray_open = True
        self.media_event = mmc.EVENT_MEDIA_REMOVAL
        if self.medium_changed is not None:
            self.medium_changed(False)

    def _close_tray(self) -> None:
        self.tray_open = False
        if self.inserted is not None:
            self.media_event = mmc.EVENT_NEW_MEDIA
            self.attention = MEDIUM_CHANGED
        if self.medium_changed is not None:
            self.medium_changed(self.inserted is not None)

    @property
    def disc(self) -> mmc.Disc:
        """What is on the medium; no sectors without one."""
        medium = self.backend
        return mmc.Disc(medium.sectors if medium is not None else 0, self.sessions)

    def examine(self, cdb: bytes) -> None:
        if cdb[0] in NEEDS_MEDIUM and self.backend is None:
            raise self.check(NO_MEDIUM_TRAY_OPEN if self.tray_open else NO_MEDIUM)

    # --- sectors

    def _read(self, cdb: bytes) -> Phase:
        lba = field(cdb, 2, 4)
        count, form = (field(cdb, 7, 2) if cdb[0] == 0x28 else field(cdb, 6, 4)), 0
        return self._sectors(lba, count, form)

    def _read_cd(self, cdb: bytes) -> Phase:
        return self._raw(cdb, field(cdb, 2, 4), field(cdb, 6, 3))

    def _read_cd_msf(self, cdb: bytes) -> Phase:
        first, end = (((cdb[at] * 60 + cdb[at + 1]) * 75 + cdb[at + 2]) - mmc.MSF_OFFSET for at in (3, 6))
        if first < 0 or end < first:
            raise self.check(INVALID_FIELD)
        return self._raw(cdb, first, end - first)

    def _raw(self, cdb: bytes, lba: int, count: int) -> Phase:
        wanted = cdb[9] & 0xF8
        if cdb[1] >> 2 & 7 not in (EXPECT_ANY, EXPECT_MODE_1) or cdb[10] & 7 or cdb[9] & ERROR_FLAGS:
            raise self.check(INVALID_FIELD)
        if wanted & HEADER_CODES & 0x40:
            wanted &= ~0x40  # a sector of mode 1 has no sub-header
        whole = self._sectors(lba, count, 0 if wanted == WANT_USER else wanted)
        return whole if wanted else Phase()

    def _sectors(self, lba: int, count: int, form: int) -> Phase:
        if lba + count > self.disc.sectors:
            raise self.check(ADDRESS_OUT_OF_RANGE)
        return Phase(lba=lba, count=count, form=form)

    def fetch(self, phase: Phase, count: int) -> bytes:
        first = phase.lba
        data = super().fetch(phase, count)
        if not phase.form:
            return data
        sectors = [data[at : at + USER_BYTES] for at in range(0, len(data), USER_BYTES)]
        return b"".join(self._parts(phase.form, first + index, user) for index, user in enumerate(sectors))

    @staticmethod
    def _parts(form: int, lba: int, user: bytes) -> bytes:
        if form & WANT_CODES:
            whole = raw_sector(lba, user)
            codes = whole[16 + USER_BYTES :]
        else:
            codes = b""
        parts = ((WANT_SYNC, SYNC), (WANT_HEADER, header(lba)), (WANT_USER, user), (WANT_CODES, codes))
        return b"".join(part for bit, part in parts if form & bit)

    def _read_capacity(self, cdb: bytes) -> Phase:
        return Phase((self.disc.sectors - 1).to_bytes(4, "big") + mmc.SECTOR.to_bytes(4, "big"))

    def _seek(self, cdb: bytes) -> Phase:
        if field(cdb, 2, 4) >= self.disc.sectors:
            raise self.check(ADDRESS_OUT_OF_RANGE)
        return Phase()

    # --- what the drive says of itself

    def standard_inquiry(self) -> bytes:
        data = bytearray(super().standard_inquiry())
        if self.atapi:
            data[2], data[3], data[7] = 0x00, 0x21, 0
        return bytes(data)

    def inquiry(self, cdb: bytes) -> Phase:
        if self.atapi and cdb[1] & 1:
            raise self.check(INVALID_FIELD)
        return super().inquiry(cdb)

    def mode_pages(self, page: int) -> bytes | None:
        return mmc.mode_pages(page, self.locked)

    def mode_header(self) -> tuple[int, int, bytes]:
        """With the medium type codes of INF-8020i, table 71."""
        if self.tray_open:
            return 0x71, 0, b""
        return (0x70 if self.inserted is None else 0x01), 0, b""

    # --- tray

    def _start_stop(self, cdb: bytes) -> Phase:
        load_eject, start = cdb[4] & 2, cdb[4] & 1
        if load_eject and not start:
            if self.locked:
                raise self.check(REMOVAL_PREVENTED)
            if not self.tray_open:
                self._open_tray()
        elif load_eject and self.tray_open:
            self._close_tray()
        return Phase()

    def _get_event_status(self, cdb: bytes) -> Phase:
        if not cdb[1] & 1:
            raise self.check(INVALID_FIELD)  # asynchronous notification would need overlap
        allocation = field(cdb, 7, 2)
        if not cdb[4] & mmc.CLASS_MEDIA_BIT:
            return Phase(bytes((0, 2, 0x80, mmc.CLASS_MEDIA_BIT))[:allocation])
        event = self.media_event
        if allocation > 4:
            self.media_event = mmc.EVENT_NONE
        state = (self.backend is not None) << 1 | self.tray_open
        return Phase(bytes((0, 6, mmc.CLASS_MEDIA, mmc.CLASS_MEDIA_BIT, event, state, 0, 0))[:allocation])

    def _mechanism_status(self, cdb: bytes) -> Phase:
        return Phase(bytes((0, 0x10 if self.tray_open else 0, 0, 0, 0, 0, 0, 0))[: field(cdb, 8, 2)])

    # --- the disc

    def _read_sub_channel(self, cdb: bytes) -> Phase:
        # Audio status 15h: nothing to say; no sub-channel data.
        return Phase(bytes((0, 0x15, 0, 0))[: field(cdb, 7, 2)])

    def _answer(self, answer: bytes | None, length: int) -> Phase:
        if answer is None:
            raise self.check(INVALID_FIELD)
        return Phase(answer[:length])

    def _read_toc(self, cdb: bytes) -> Phase:
        toc_format = cdb[2] & 0x0F or cdb[9] >> 6
        toc = mmc.table_of_contents(toc_format, bool(cdb[1] & 2), cdb[6], self.disc)
        return self._answer(toc, field(cdb, 7, 2))

    def _get_configuration(self, cdb: bytes) -> Phase:
        answer = mmc.configuration(cdb[1] & 3, field(cdb, 2, 2), self.disc.sectors, self.locked)
        return Phase(answer[: field(cdb, 7, 2)])

    def _read_disc_information(self, cdb: bytes) -> Phase:
        return Phase(mmc.disc_information(self.disc)[: field(cdb, 7, 2)])

    def _read_track_information(self, cdb: bytes) -> Phase:
        answer = mmc.track_information(self.disc, cdb[1] & 3, field(cdb, 2, 4))
        return self._answer(answer, field(cdb, 7, 2))

    def _read_disc_structure(self, cdb: bytes) -> Phase:
        return self._answer(mmc.disc_structure(cdb[7], self.disc.sectors), field(cdb, 8, 2))

    COMMANDS: ClassVar[Mapping[int, Callable[[ScsiCdrom, bytes], Phase]]] = {
        0x00: ScsiUnit.test_unit_ready, 0x03: ScsiUnit.request_sense, 0x12: inquiry,
        0x15: ScsiUnit.mode_select, 0x1A: ScsiUnit.mode_sense, 0x1B: _start_stop, 0x1E: ScsiUnit.prevent_allow,
        0x25: _read_capacity, 0x28: _read, 0x2B: _seek, 0x42: _read_sub_channel, 0x43: _read_toc,
        0x46: _get_configuration, 0x4A: _get_event_status, 0x51: _read_disc_information,
        0x52: _read_track_information, 0x55: ScsiUnit.mode_select, 0x5A: ScsiUnit.mode_sense, 0xA8: _read,
        0xAD: _read_disc_structure, 0xB9: _read_cd_msf, 0xBB: ScsiUnit.test_unit_ready, 0xBD: _mechanism_status,
        0xBE: _read_cd,
    }  # fmt: skip
