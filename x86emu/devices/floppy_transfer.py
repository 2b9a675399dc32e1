"""The execution phase of the 82077AA's data commands (Intel 82077AA data sheet 290166, chapter 5.1 and tables 5-1 to
5-11 for status registers and what the result phase says).

Sectors of 512 bytes in MFM are all that a medium has; anything else asked for finds no address mark or no sector.
A track can be formatted with the sectors that the medium's format has, no others: the image has no place for them.
"""

from __future__ import annotations

from typing import Protocol

from x86emu.devices.floppy_drive import BITS_PER_SECOND, SECTOR, SECTOR_CODE, FloppyDrive

DMA_CHANNEL = 2

READ_TRACK, WRITE, READ, WRITE_DELETED, READ_ID, READ_DELETED, FORMAT, VERIFY = 2, 5, 6, 9, 0xA, 0xC, 0xD, 0x16
SCAN_EQUAL, SCAN_LOW_OR_EQUAL, SCAN_HIGH_OR_EQUAL = 0x11, 0x19, 0x1D
READS = frozenset((READ_TRACK, READ, READ_DELETED))
WRITES = frozenset((WRITE, WRITE_DELETED))
SCANS = frozenset((SCAN_EQUAL, SCAN_LOW_OR_EQUAL, SCAN_HIGH_OR_EQUAL))
TRANSFERS = READS | WRITES | SCANS | {READ_ID, FORMAT, VERIFY}

MULTI_TRACK, MFM, SKIP = 0x80, 0x40, 0x20
VERIFY_COUNTS = 0x80  # EC, in the second byte

ST0_ABNORMAL, ST0_EQUIPMENT_CHECK, ST0_NOT_READY = 0x40, 0x10, 0x08
ST1_END_OF_CYLINDER, ST1_DATA_ERROR, ST1_OVERRUN, ST1_NO_DATA, ST1_NOT_WRITABLE, ST1_MISSING_MARK = (
    0x80, 0x20, 0x10, 0x04, 0x02, 0x01,
)  # fmt: skip
ST2_CONTROL_MARK, ST2_DATA_ERROR, ST2_WRONG_CYLINDER, ST2_SCAN_EQUAL, ST2_SCAN_FAILED = 0x40, 0x20, 0x10, 0x08, 0x04


class IsaDma(Protocol):
    """What the controller asks of the 8237A: see `i8237.I8237Pair`."""

    def ready(self, channel: int) -> bool: ...

    def give(self, channel: int, data: bytes) -> tuple[int, bool]: ...

    def take(self, channel: int, length: int) -> tuple[bytes, bool]: ...


class DmaPort:
    """Data by channel 2.  Where the channel does not answer, the transfer overruns."""

    def __init__(self, dma: IsaDma | None) -> None:
        self.dma = dma

    def give(self, data: bytes) -> bool:
        """To memory; True at terminal count."""
        if self.dma is None or not self.dma.ready(DMA_CHANNEL):
            raise Ended(ST1_OVERRUN)
        return self.dma.give(DMA_CHANNEL, data)[1]

    def take(self, length: int) -> tuple[bytes, bool]:
        """From memory, and whether that was the last."""
        if self.dma is None or not self.dma.ready(DMA_CHANNEL):
            raise Ended(ST1_OVERRUN)
        return self.dma.take(DMA_CHANNEL, length)


class BufferPort:
    """Data by the FIFO register: collected for the processor, or what it has written.  There is no terminal count."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.collected = bytearray()

    def give(self, data: bytes) -> bool:
        self.collected += data
        return False

    def take(self, length: int) -> tuple[bytes, bool]:
        part, self.data = self.data[:length], self.data[length:]
        return part, False


class Ended(Exception):
    """The command ends abnormally with these status bits."""

    def __init__(self, st1: int = 0, st2: int = 0, st0: int = 0) -> None:
        super().__init__(st1, st2, st0)
        self.st0, self.st1, self.st2 = ST0_ABNORMAL | st0, st1, st2


def bytes_wanted(command: list[int]) -> int:
    """How many bytes the processor has to write for a command that takes data, up to the end of the track."""
    if command[0] & 0x1F == FORMAT:
        return max(4 * command[3], 4)
    sectors = max(command[6] - command[4] + 1, 1)
    if command[0] & MULTI_TRACK and not command[1] & 4:
        sectors += command[6]
    return sectors * SECTOR


class Transfer:
    """One command's execution on a drive.  `ready` says whether the motor runs; `rate` is the selected data rate."""

    def __init__(self, drive: FloppyDrive, command: list[int], rate: int, now: int, ready: bool) -> None:
        self.drive = drive
        self.command = command
        self.code = command[0] & 0x1F
        self.head = command[1] >> 2 & 1
        self.rate = rate
        self.now = now
        self.ready = ready
        self.st2 = 0
        self.address = [*command[2:6]] if len(command) == 9 else [0, self.head, 1, SECTOR_CODE]
        self.end = command[6] if len(command) == 9 else 0

    def run(self, port: DmaPort | BufferPort) -> list[int]:
        """Carries it out; the seven bytes of the result phase."""
        st0 = st1 = 0
        try:
            if self.code == READ_ID:
                self._read_id()
            elif self.code == FORMAT:
                self._format(port)
            else:
                self._sectors(port)
        except Ended as ended:
            st0, st1 = ended.st0, ended.st1
            self.st2 |= ended.st2
        return [st0 | self.head << 2 | self.command[1] & 3, st1, self.st2, *(value & 0xFF for value in self.address)]

    def _track(self) -> int:
        """The number of the cylinder under the head; ends the command where no address mark can be read."""
        if not self.ready or not self.command[0] & MFM:
            raise Ended(ST1_MISSING_MARK)
        cylinder = self.drive.readable(self.head, self.rate)
        if cylinder is None:
            raise Ended(ST1_MISSING_MARK)
        return cylinder

    def _find(self, sector: int) -> int:
        """The image's sector with the wanted ID on the track under the head."""
        cylinder = self._track()
        assert self.drive.format is not None
        if self.address[0] != cylinder:
            raise Ended(ST1_NO_DATA, ST2_WRONG_CYLINDER)
        if self.address[1] != self.head or self.address[3] != SECTOR_CODE:
            raise Ended(ST1_NO_DATA)
        if not 1 <= sector <= self.drive.format.sectors:
            raise Ended(ST1_NO_DATA)
        return self.drive.sector_of(cylinder, self.head, sector)

    def _advance(self) -> bool:
        """The address behind the sector just done; False at the end of the cylinder (data sheet table 5-5)."""
        if self.address[2] < self.end:
            self.address[2] += 1
            return True
        multi_track = self.command[0] & MULTI_TRACK
        self.address[2] = 1
        if not multi_track:
            self.address[0] += 1
            return False
        self.address[1] ^= 1
        if self.head:
            self.address[0] += 1
            return False
        self.head = 1
        return True

    # --- READ ID, FORMAT TRACK

    def _read_id(self) -> None:
        cylinder = self._track()
        assert self.drive.format is not None
        # The sector that comes next under the head, for a track that turns at constant speed.
        per_sector = SECTOR * 8 * 1_000_000_000 // BITS_PER_SECOND[self.rate]
        self.address = [cylinder, self.head, self.now // per_sector % self.drive.format.sectors + 1, SECTOR_CODE]

    def _format(self, port: DmaPort | BufferPort) -> None:
        _, _, size, sectors, _, filler = self.command
        cylinder = self._track()
        assert self.drive.format is not None and self.drive.medium is not None
        if self.drive.write_protected:
            raise Ended(ST1_NOT_WRITABLE)
        identifiers: list[bytes] = []
        done = False
        while len(identifiers) < sectors and not done:
            identifier, done = port.take(4)
            if len(identifier) < 4:
                raise Ended(ST1_OVERRUN)
            identifiers.append(identifier)
        numbers = {entry[2] for entry in identifiers if (entry[0], entry[1], entry[3]) == (cylinder, self.head, 2)}
        if size != SECTOR_CODE or numbers != set(range(1, self.drive.format.sectors + 1)):
            raise Ended(0, 0, ST0_EQUIPMENT_CHECK)
        first = self.drive.sector_of(cylinder, self.head, 1)
        self._write(first, bytes([filler]) * SECTOR * self.drive.format.sectors)
        self.drive.deleted -= set(range(first, first + self.drive.format.sectors))
        self.address = [*identifiers[-1]]

    # --- sectors

    def _sectors(self, port: DmaPort | BufferPort) -> None:
        counted = self.command[8] if self.code == VERIFY and self.command[1] & VERIFY_COUNTS else 0
        if self.code == READ_TRACK:
            self.address[2] = 1
        if self.code in SCANS:
            self.st2 = ST2_SCAN_FAILED
        while True:
            lba = self._find(self.address[2])
            step = 1
            if self.code in WRITES:
                finished = self._write_sector(lba, port)
            elif self.code in SCANS:
                finished = self._scan_sector(lba, port)
                step = 2 if self.command[8] == 2 else 1
            else:
                finished = self._read_sector(lba, port)
            if counted:
                counted -= 1
                finished = finished or not counted
            more = self._advance()
            if step == 2 and more and not finished:
                more = self._advance()
            if finished:
                return
            if not more:
                if self.code == READ_TRACK or self.code == VERIFY and not self.command[1] & VERIFY_COUNTS:
                    return
                if self.code in SCANS:
                    return
                raise Ended(ST1_END_OF_CYLINDER)

    def _read_sector(self, lba: int, port: DmaPort | BufferPort) -> bool:
        deleted = lba in self.drive.deleted
        unexpected = deleted != (self.code == READ_DELETED) and self.code != READ_TRACK
        if unexpected and self.command[0] & SKIP:
            self.st2 |= 0 if self.code == READ_DELETED else ST2_CONTROL_MARK
            return False
        try:
            data = self.drive.read(lba)
        except OSError:
            raise Ended(ST1_DATA_ERROR, ST2_DATA_ERROR) from None
        finished = False if self.code == VERIFY else port.give(data)
        if unexpected:
            self.st2 |= ST2_CONTROL_MARK
            return True  # the command stops behind such a sector
        return finished

    def _write_sector(self, lba: int, port: DmaPort | BufferPort) -> bool:
        if self.drive.write_protected:
            raise Ended(ST1_NOT_WRITABLE)
        data, finished = port.take(SECTOR)
        if len(data) < SECTOR and not finished:
            raise Ended(ST1_OVERRUN)
        self._write(lba, data.ljust(SECTOR, b"\0"))
        if self.code == WRITE_DELETED:
            self.drive.deleted.add(lba)
        else:
            self.drive.deleted.discard(lba)
        return finished

    def _write(self, lba: int, data: bytes) -> None:
        assert self.drive.medium is not None
        try:
            self.drive.medium.write(lba, data)
        except OSError:
            raise Ended(0, 0, ST0_EQUIPMENT_CHECK) from None

    def _scan_sector(self, lba: int, port: DmaPort | BufferPort) -> bool:
        """Compares byte by byte; FFh on either side matches anything (data sheet 5.1.6)."""
        try:
            stored = self.drive.read(lba)
        except OSError:
            raise Ended(ST1_DATA_ERROR, ST2_DATA_ERROR) from None
        wanted, finished = port.take(SECTOR)
        if len(wanted) < SECTOR and not finished:
            raise Ended(ST1_OVERRUN)
        pairs = [(a, b) for a, b in zip(stored, wanted, strict=False) if 0xFF not in (a, b)]
        low = all(a <= b for a, b in pairs)
        high = all(a >= b for a, b in pairs)
        equal = low and high
        met = equal or low and self.code == SCAN_LOW_OR_EQUAL or high and self.code == SCAN_HIGH_OR_EQUAL
        if met:
            self.st2 = ST2_SCAN_EQUAL if equal else 0
        return finished or met
