"""What SCSI logical units share (SPC-3, T10/1416-D): sense data, unit attentions, INQUIRY, mode pages, the two steps of
a command.

A transport calls `begin` with the command descriptor block.  It answers with a `Phase`: data for the host, sectors of
the medium that follow them, or how many bytes the host has to send, which `finish` takes.  Either raises
CheckCondition.  Left out: reservations, log pages, asynchronous events, command queuing (every command ends at once).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from x86emu.bus.device import Device
from x86emu.devices.block import first_pieces, read_to_memory

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma
    from x86emu.devices.block import BlockBackend

GOOD, CHECK_CONDITION = 0x00, 0x02

NOT_READY, MEDIUM_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, DATA_PROTECT, MISCOMPARE = 0x2, 0x3, 0x5, 0x6, 0x7, 0xE

Sense = tuple[int, int, int]  # sense key, additional sense code, qualifier

NO_SENSE: Sense = (0x0, 0x00, 0x00)
NO_MEDIUM: Sense = (NOT_READY, 0x3A, 0x01)
NO_MEDIUM_TRAY_OPEN: Sense = (NOT_READY, 0x3A, 0x02)
WRITE_ERROR: Sense = (MEDIUM_ERROR, 0x0C, 0x00)
READ_ERROR: Sense = (MEDIUM_ERROR, 0x11, 0x00)
PARAMETER_LENGTH: Sense = (ILLEGAL_REQUEST, 0x1A, 0x00)
MISCOMPARE_FOUND: Sense = (MISCOMPARE, 0x1D, 0x00)
INVALID_COMMAND: Sense = (ILLEGAL_REQUEST, 0x20, 0x00)
ADDRESS_OUT_OF_RANGE: Sense = (ILLEGAL_REQUEST, 0x21, 0x00)
INVALID_FIELD: Sense = (ILLEGAL_REQUEST, 0x24, 0x00)
INVALID_UNIT: Sense = (ILLEGAL_REQUEST, 0x25, 0x00)
INVALID_PARAMETER: Sense = (ILLEGAL_REQUEST, 0x26, 0x00)
WRITE_PROTECTED: Sense = (DATA_PROTECT, 0x27, 0x00)
MEDIUM_CHANGED: Sense = (UNIT_ATTENTION, 0x28, 0x00)
POWER_ON: Sense = (UNIT_ATTENTION, 0x29, 0x00)
SAVING_NOT_SUPPORTED: Sense = (ILLEGAL_REQUEST, 0x39, 0x00)
REMOVAL_PREVENTED: Sense = (ILLEGAL_REQUEST, 0x53, 0x02)

TEST_UNIT_READY, REQUEST_SENSE, INQUIRY, REPORT_LUNS = 0x00, 0x03, 0x12, 0xA0
ALL_PAGES = 0x3F
NO_SAVED_VALUES = 3


class CheckCondition(Exception):
    """The command ends with CHECK CONDITION; `information` is the address of the bad sector where there is one."""

    def __init__(self, sense: Sense, information: int | None = None) -> None:
        super().__init__(sense)
        self.sense = sense
        self.information = information


@dataclass
class Phase:
    """What a command moves: `data` and then `count` sectors from `lba` to the host, or `wanted` bytes from it.

    `form` says how sectors are laid out where a unit has more than one way.
    """

    data: bytes = b""
    lba: int = 0
    count: int = 0
    form: int = 0
    wanted: int = 0


def sense_data(sense: Sense, information: int | None = None) -> bytes:
    """Fixed-format sense data of 18 bytes, current error."""
    key, code, qualifier = sense
    valid = information is not None and information < 1 << 32
    where = (information or 0).to_bytes(4, "big") if valid else bytes(4)
    return bytes((0xF0 if valid else 0x70, 0, key)) + where + bytes((10, 0, 0, 0, 0, code, qualifier, 0, 0, 0, 0))


def field(block: bytes, at: int, length: int) -> int:
    """A number in a command descriptor block or parameter list: most significant byte first."""
    return int.from_bytes(block[at : at + length], "big")


class ScsiUnit(Device):
    """Base of the logical units.  A subclass gives the tables and the answers that differ."""

    STATE: ClassVar[tuple[str, ...]] = ("sense", "attention", "locked")
    COMMANDS: ClassVar[Mapping[int, Callable[[Any, bytes], Phase]]] = {}
    # Commands that a pending unit attention does not stop (SPC-3, 4.5.2; REQUEST SENSE reports it).
    ANSWERED_ALWAYS: ClassVar[frozenset[int]] = frozenset((REQUEST_SENSE, INQUIRY, REPORT_LUNS))
    PERIPHERAL_TYPE: ClassVar[int] = 0
    SECTOR: ClassVar[int] = 512
    REMOVABLE: ClassVar[bool] = False

    def __init__(self, name: str, model: str, serial: str, firmware: str) -> None:
        super().__init__(name)
        self.model, self.serial, self.firmware = model, serial, firmware
        self.sense = NO_SENSE
        self.attention: Sense | None = POWER_ON
        self.locked = False

    def reset(self) -> None:
        """Power-on or reset of the unit: the next command that needs it reports that."""
        self.sense = NO_SENSE
        self.attention = POWER_ON
        self.locked = False

    @property
    def backend(self) -> BlockBackend | None:
        """The medium that can be read now."""
        raise NotImplementedError

    def begin(self, cdb: bytes) -> Phase:
        """Carries a command out as far as it goes without data from the host."""
        handler = self.COMMANDS.get(cdb[0])
        if handler is None:
            raise self.check(INVALID_COMMAND)
        if self.attention is not None and cdb[0] not in self.ANSWERED_ALWAYS:
            sense, self.attention = self.attention, None
            raise self.check(sense)
        self.examine(cdb)
        if cdb[0] != REQUEST_SENSE:
            self.sense = NO_SENSE
        return handler(self, cdb)

    def examine(self, cdb: bytes) -> None:
        """Raises CheckCondition where the unit cannot carry the command out now."""

    def finish(self, cdb: bytes, data: bytes | memoryview) -> None:
        """Takes the data of a command that wanted some."""

    def check(self, sense: Sense, information: int | None = None) -> CheckCondition:
        """Keeps the sense for REQUEST SENSE and gives the exception to raise."""
        self.sense = sense
        return CheckCondition(sense, information)

    def fetch(self, phase: Phase, count: int) -> bytes:
        """The next `count` sectors of a phase, which moves on."""
        try:
            if self.backend is None:
                raise OSError("there is no medium")
            data = self.backend.read(phase.lba, count)
        except OSError:
            raise self.check(READ_ERROR, phase.lba) from None
        phase.lba += count
        phase.count -= count
        return data

    def move_in(self, phase: Phase, dma: Dma, pieces: Sequence[tuple[int, int]]) -> int:
        """Puts all of a phase, as far as it fits, into pieces of memory; the bytes moved."""
        room = sum(length for _, length in pieces)
        plain = phase.count and not phase.data and not phase.form and phase.count * self.SECTOR <= room
        if plain and self.backend is not None:
            try:
                read_to_memory(self.backend, phase.lba, dma, first_pieces(pieces, phase.count * self.SECTOR))
            except OSError:
                raise self.check(READ_ERROR, phase.lba) from None
            return phase.count * self.SECTOR
        data = phase.data
        while phase.count and len(data) < room:
            data += self.fetch(phase, min(phase.count, 64))
        view = memoryview(data)[:room]
        for address, length in first_pieces(pieces, len(view)):
            dma.write(address, view[:length])
            view = view[length:]
        return min(len(data), room)

    # --- commands of all units

    def test_unit_ready(self, cdb: bytes) -> Phase:
        return Phase()

    def request_sense(self, cdb: bytes) -> Phase:
        if self.sense == NO_SENSE and self.attention is not None:
            self.sense, self.attention = self.attention, None
        sense, self.sense = self.sense, NO_SENSE
        return Phase(sense_data(sense)[: cdb[4]])

    def inquiry(self, cdb: bytes) -> Phase:
        length = field(cdb, 3, 2)
        if not cdb[1] & 1:
            if cdb[2]:
                raise self.check(INVALID_FIELD)
            return Phase(self.standard_inquiry()[:length])
        page = self.vital_product_data(cdb[2])
        if page is None:
            raise self.check(INVALID_FIELD)
        head = bytes((self.PERIPHERAL_TYPE, cdb[2])) + len(page).to_bytes(2, "big")
        return Phase((head + page)[:length])

    def standard_inquiry(self) -> bytes:
        """SPC-3, 6.4.2: version 5, response format 2; the model is split into vendor and product."""
        vendor, _, product = self.model.partition(" ")
        text = vendor[:8].ljust(8) + product[:16].ljust(16) + self.firmware[:4].ljust(4)
        removable = 0x80 if self.REMOVABLE else 0
        return bytes((self.PERIPHERAL_TYPE, removable, 5, 0x02, 31, 0, 0, 0x02)) + text.encode("ascii", "replace")

    def vital_product_data(self, page: int) -> bytes | None:
        """SPC-3, 7.6: supported pages, serial number, identification."""
        serial = self.serial.encode("ascii", "replace")
        if page == 0x00:
            return bytes((0x00, 0x80, 0x83))
        if page == 0x80:
            return serial
        if page == 0x83:
            vendor, _, product = self.model.partition(" ")
            text = vendor[:8].ljust(8).encode("ascii", "replace") + f"{product} ".encode("ascii", "replace") + serial
            return bytes((0x02, 0x01, 0x00, len(text))) + text  # T10 vendor identification, ASCII
        return None

    def mode_pages(self, page: int) -> bytes | None:
        """A mode page, or all by 3Fh; None for one that the unit does not have."""
        return b"" if page == ALL_PAGES else None

    def mode_header(self) -> tuple[int, int, bytes]:
        """Medium type, device-specific parameter and block descriptors."""
        return 0, 0, b""

    def mode_sense(self, cdb: bytes) -> Phase:
        pages = self.mode_pages(cdb[2] & 0x3F)
        if pages is None:
            raise self.check(INVALID_FIELD)
        if cdb[2] >> 6 == NO_SAVED_VALUES:
            raise self.check(SAVING_NOT_SUPPORTED)
        medium, specific, descriptors = self.mode_header()
        if cdb[1] & 0x08:
            descriptors = b""
        body = descriptors + pages
        if cdb[0] == 0x1A:
            head = bytes((min(len(body) + 3, 0xFF), medium, specific, len(descriptors)))
            return Phase((head + body)[: cdb[4]])
        head = (len(body) + 6).to_bytes(2, "big") + bytes((medium, specific, 0, 0, 0, len(descriptors)))
        return Phase((head + body)[: field(cdb, 7, 2)])

    def mode_select(self, cdb: bytes) -> Phase:
        return Phase(wanted=cdb[4] if cdb[0] == 0x15 else field(cdb, 7, 2))

    def prevent_allow(self, cdb: bytes) -> Phase:
        self.locked = bool(cdb[4] & 1)
        return Phase()
