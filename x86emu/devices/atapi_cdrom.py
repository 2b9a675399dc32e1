"""ATAPI CD-ROM or DVD-ROM drive (ATA/ATAPI-6 chapters 8.23 and 9.8 for the packet protocol; scsi_cdrom.py has the
packets).  Left out: overlap and queuing.
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
from x86emu.devices.scsi import ILLEGAL_REQUEST, CheckCondition, Phase
from x86emu.devices.scsi_cdrom import ScsiCdrom

SECTOR = mmc.SECTOR
PACKET_LENGTH = 12

# Interrupt reason, in the sector count register (chapter 8.23.6).
REASON_COMMAND = 0x01
REASON_TO_HOST = 0x02

FEATURE_DMA = 0x01
READ_AHEAD = 32  # sectors fetched from the back end at a time


class AtapiCdrom(AtaDrive):
    """A drive, with a medium or without one. `medium_changed(present)` is told when the guest opens or closes the tray.

    The back end has sectors of 2048 bytes; `sessions` are the first sectors of the medium's sessions.
    """

    STATE = (*AtaDrive.STATE, "_limit", "_reply", "_lba", "_count", "_form", "_transfer_mode", "_packet")
    SIGNATURE = (0x14, 0xEB)
    RESET_STATUS = 0x00
    IDLE_STATUS = STATUS_READY

    def __init__(
        self,
        medium: BlockBackend | None = None,
        *,
        sessions: tuple[int, ...] = (0,),
        name: str = "ATAPI CD-ROM",
        model: str = "X86EMU DVD-ROM",
        serial: str = "X86EMU0002",
        firmware: str = "1.0",
        medium_changed: Callable[[bool], object] | None = None,
        serial_ata: bool = False,
    ) -> None:
        super().__init__(name)
        self.model, self.serial, self.firmware = model, serial, firmware
        self.serial_ata = serial_ata
        self.unit = ScsiCdrom(
            medium, sessions=sessions, name=name, model=model, serial=serial, firmware=firmware, atapi=True,
            medium_changed=medium_changed,
        )  # fmt: skip
        self.reset()

    def reset(self) -> None:
        """Power-on or hardware reset: the next command that needs the unit reports it."""
        super().reset()
        self.unit.reset()
        self._limit = 0
        self._reply = b""
        self._packet = b""
        self._lba = self._count = self._form = 0
        self._transfer_mode = 0x08

    # --- host side

    @property
    def medium(self) -> BlockBackend | None:
        """The medium that the drive can read now: None with the tray open or empty."""
        return self.unit.backend

    def insert(self, medium: BlockBackend, sessions: tuple[int, ...] = (0,)) -> None:
        """Puts a medium in and closes the tray."""
        self.unit.insert(medium, sessions)

    def eject(self, *, force: bool = False) -> bool:
        """Presses the button: takes the medium out, unless the guest has locked the tray, which then gets a request."""
        return self.unit.eject(force=force)

    def save(self) -> dict[str, object]:
        return super().save() | {"unit": self.unit.save()}

    def load(self, state: dict[str, object]) -> None:
        unit = state["unit"]
        assert isinstance(unit, dict)
        self.unit.load(unit)
        super().load(state)

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
        if self.serial_ata:
            words |= {76: 0x000E, 93: 0, 222: 0x107F}
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
        try:
            phase = self.unit.begin(packet)
        except CheckCondition as check:
            self._check(check)
            return
        self._reply, self._lba, self._count, self._form = phase.data, phase.lba, phase.count, phase.form
        if phase.wanted:
            self._receive(phase.wanted)
        else:
            self._send()

    def _check(self, check: CheckCondition) -> None:
        """Ends the packet with CHECK CONDITION; the sense key is in the error register as well."""
        key = check.sense[0]
        self._count = 0
        self._reply = b""
        self._stop_transfer()
        self.error = key << 4 | (ERROR_ABORTED if key == ILLEGAL_REQUEST else 0)
        self.sector_count = REASON_COMMAND | REASON_TO_HOST
        self.status = self.IDLE_STATUS | STATUS_ERROR
        self.set_interrupt(True)

    def _good(self) -> None:
        """Ends the packet with GOOD."""
        self.sector_count = REASON_COMMAND | REASON_TO_HOST
        self.complete()

    def _receive(self, length: int) -> None:
        """Asks the host for a parameter list."""
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
        """The parameter list is there."""
        try:
            self.unit.finish(self._packet, bytes(self._buffer))
        except CheckCondition as check:
            self._check(check)
        else:
            self._good()

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
        phase = Phase(lba=self._lba, count=self._count, form=self._form)
        try:
            while len(self._reply) < limit and phase.count:
                self._reply += self.unit.fetch(phase, min(phase.count, READ_AHEAD))
        except CheckCondition as check:
            self._check(check)
            return
        self._lba, self._count = phase.lba, phase.count
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
