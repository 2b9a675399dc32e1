"""One port of an AHCI host bus adapter, and the link to its drive (Serial ATA AHCI 1.3.1, sections 3.3, 4, 5 and 6;
SATA 2.6, chapter 10.3, for the frame information structures).

The drive is the task-file model of ata_drive.py; a command's frame is written into its registers and its data phases
move between it and the command's regions of memory.  A command is carried out when it is issued.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from x86emu.bus.device import Device
from x86emu.devices.ata_disk import AtaDisk
from x86emu.devices.ata_drive import (
    CONTROL_SOFTWARE_RESET,
    DEVICE,
    FEATURES,
    LBA_HIGH,
    LBA_LOW,
    LBA_MID,
    SECTOR_COUNT,
    STATUS_BUSY,
    STATUS_DATA_REQUEST,
    STATUS_ERROR,
    AtaDrive,
)
from x86emu.devices.block import behind, first_pieces

if TYPE_CHECKING:
    from x86emu.bus.dma import Dma

# Port registers.
CLB, CLBU, FB, FBU, IS, IE, CMD, TFD, SIG, SSTS, SCTL, SERR, SACT, CI = (
    0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x20, 0x24, 0x28, 0x2C, 0x30, 0x34, 0x38,
)  # fmt: skip

IS_D2H, IS_PIO, IS_SDB, IS_DESCRIPTOR, IS_CONNECT = 1 << 0, 1 << 1, 1 << 3, 1 << 5, 1 << 6
IS_PHY, IS_OVERFLOW, IS_INTERFACE, IS_HOST_BUS, IS_TASK_FILE = 1 << 22, 1 << 24, 1 << 27, 1 << 29, 1 << 30
IS_MIRRORS = IS_CONNECT | IS_PHY  # what SERR says; cleared there
IE_WRITABLE = 0xFDC0_00FF
CMD_START, CMD_SPIN_UP, CMD_POWER, CMD_OVERRIDE, CMD_FIS = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 4
CMD_FIS_RUNNING, CMD_LIST_RUNNING = 1 << 14, 1 << 15
CMD_WRITABLE = 0x0F00_0000 | CMD_START | CMD_FIS
CMD_FIXED = CMD_SPIN_UP | CMD_POWER
SERR_PHY_CHANGE, SERR_EXCHANGED = 1 << 16, 1 << 26
SSTS_ESTABLISHED = 0x123  # device present, 3 Gb/s, active
SCTL_DETECTION = 0x0F

HEADER_PREFETCH_WRITE, HEADER_ATAPI = 1 << 6, 1 << 5
HEADER_CLEAR_BUSY = 1 << 10
FIS_REGISTER_TO_DEVICE, FIS_REGISTER, FIS_SET_BITS, FIS_PIO_SETUP = 0x27, 0x34, 0xA1, 0x5F
FIS_COMMAND, FIS_INTERRUPT, FIS_TO_HOST = 0x80, 0x40, 0x20
RECEIVED_PIO, RECEIVED_REGISTER, RECEIVED_SET_BITS = 0x20, 0x40, 0x58  # in the area at FB
REGIONS = 0x80  # of the command table
ATAPI_COMMAND = 0x40
QUEUED = (0x60, 0x61)
NO_DEVICE_STATUS = 0x7F


class AhciPort(Device):
    """The registers of one port; `changed` is told when PxIS or PxIE may have changed the interrupt."""

    STATE: ClassVar[tuple[str, ...]] = (
        "command_list", "received", "pending", "enabled", "command", "task_file", "signature", "link_control", "errors",
        "active", "issued", "_stopped",
    )  # fmt: skip

    def __init__(
        self,
        drive: AtaDrive | None,
        dma: Dma,
        in_memory: Callable[[int, int], bool],
        changed: Callable[[], object],
    ) -> None:
        super().__init__("AHCI port")
        self.drive = drive
        self.dma = dma
        self.in_memory = in_memory
        self.changed = changed
        self._regions: list[tuple[int, int]] = []  # of the command under way: memory not used yet
        self._moved = 0
        self._overflow = False
        if drive is not None:
            drive.dma_ready = self._move_by_dma
        self._clear()
        self._connect()

    def _clear(self) -> None:
        self.command_list = self.received = 0
        self.pending = self.enabled = 0
        self.command = CMD_FIXED
        self.task_file, self.signature = NO_DEVICE_STATUS, 0xFFFF_FFFF
        self.link_control = self.errors = 0
        self.active = self.issued = 0
        self._stopped = False  # by an error, until software clears CMD.ST

    def reset(self) -> None:
        """Reset of the adapter: registers, and COMRESET to the drive."""
        self._clear()
        if self.drive is not None:
            self.drive.reset()
        self._connect()

    @property
    def interrupt(self) -> bool:
        return bool(self._pending_now() & self.enabled)

    def _pending_now(self) -> int:
        mirrors = (IS_CONNECT if self.errors & SERR_EXCHANGED else 0) | (IS_PHY if self.errors & SERR_PHY_CHANGE else 0)
        return self.pending | mirrors

    # --- the link

    def _connect(self) -> None:
        """The link comes up: the drive sends its signature."""
        drive = self.drive
        if drive is None:
            return
        self.errors |= SERR_EXCHANGED | SERR_PHY_CHANGE
        drive.set_interrupt(False)
        self.signature = drive.lba_high << 24 | drive.lba_mid << 16 | drive.lba_low << 8 | drive.sector_count
        self._receive_registers(False)

    def _set_link_control(self, value: int) -> None:
        before, self.link_control = self.link_control & SCTL_DETECTION, value & 0xFFF
        now = value & SCTL_DETECTION
        if now == 1 and before != 1:
            self.task_file, self.signature = NO_DEVICE_STATUS, 0xFFFF_FFFF
        elif before == 1 and now == 0 and self.drive is not None:
            self.drive.reset()
            self._connect()
        elif now == 4:
            self.task_file = NO_DEVICE_STATUS

    # --- registers

    def read(self, register: int) -> int:
        status = SSTS_ESTABLISHED if self.drive is not None else 0
        if self.link_control & SCTL_DETECTION == 4:
            status = 4
        values = {
            CLB: self.command_list & 0xFFFF_FFFF, CLBU: self.command_list >> 32, FB: self.received & 0xFFFF_FFFF,
            FBU: self.received >> 32, IS: self._pending_now(), IE: self.enabled, CMD: self.command, TFD: self.task_file,
            SIG: self.signature, SSTS: status, SCTL: self.link_control, SERR: self.errors, SACT: self.active,
            CI: self.issued,
        }  # fmt: skip
        return values.get(register, 0)

    def write(self, register: int, value: int) -> None:
        if register == CLB:
            self.command_list = self.command_list & ~0xFFFF_FFFF | value & ~0x3FF
        elif register == CLBU:
            self.command_list = self.command_list & 0xFFFF_FFFF | value << 32
        elif register == FB:
            self.received = self.received & ~0xFFFF_FFFF | value & ~0xFF
        elif register == FBU:
            self.received = self.received & 0xFFFF_FFFF | value << 32
        elif register == IS:
            self.pending &= ~value
            self.changed()
        elif register == IE:
            self.enabled = value & IE_WRITABLE
            self.changed()
        elif register == CMD:
            self._set_command(value)
        elif register == SCTL:
            self._set_link_control(value)
            self.changed()
        elif register == SERR:
            self.errors &= ~value
            self.changed()
        elif register == SACT:
            self.active |= value if self.command & CMD_START else 0
        elif register == CI and self.command & CMD_START:
            self.issued |= value
            self._work()

    def _set_command(self, value: int) -> None:
        started = value & ~self.command & CMD_START
        self.command = CMD_FIXED | value & CMD_WRITABLE
        if value & CMD_FIS:
            self.command |= CMD_FIS_RUNNING
        if value & CMD_OVERRIDE:
            self.task_file &= ~(STATUS_BUSY | STATUS_DATA_REQUEST)
        if value & CMD_START:
            self.command |= CMD_LIST_RUNNING
        else:
            self.issued = self.active = 0
            self._stopped = False
        if started:
            self._stopped = False

    # --- frames from the drive

    def _post(self, offset: int, frame: bytes) -> None:
        if self.command & CMD_FIS:
            if self.in_memory(self.received + offset, len(frame)):
                self.dma.write(self.received + offset, frame)
            else:
                self.pending |= IS_HOST_BUS
                self._stopped = True

    def _registers(self, drive: AtaDrive) -> bytes:
        low = (drive.lba_low, drive.lba_mid, drive.lba_high, drive.device)
        return bytes((*low, *drive.previous[2:5], 0, drive.sector_count, drive.previous[1]))

    def _receive_registers(self, interrupt: bool) -> None:
        """A Register frame, device to host."""
        drive = self.drive
        assert drive is not None
        flags = FIS_INTERRUPT if interrupt else 0
        frame = bytes((FIS_REGISTER, flags, drive.status, drive.error)) + self._registers(drive)
        self._post(RECEIVED_REGISTER, frame.ljust(20, b"\0"))
        self.task_file = drive.error << 8 | drive.status
        if interrupt:
            self.pending |= IS_D2H

    def _receive_pio_setup(self, drive: AtaDrive, to_host: bool, status: int, length: int, interrupt: bool) -> None:
        flags = (FIS_TO_HOST if to_host else 0) | (FIS_INTERRUPT if interrupt else 0)
        frame = bytes((FIS_PIO_SETUP, flags, status, drive.error)) + self._registers(drive)
        self._post(RECEIVED_PIO, frame.ljust(15, b"\0") + struct.pack("<BH2x", drive.status, length))
        self.task_file = drive.error << 8 | drive.status
        if interrupt:
            self.pending |= IS_PIO

    def _receive_set_bits(self, drive: AtaDrive, done: int) -> None:
        frame = bytes((FIS_SET_BITS, FIS_INTERRUPT, drive.status & 0x77, drive.error)) + struct.pack("<I", done)
        self._post(RECEIVED_SET_BITS, frame)
        self.active &= ~done
        self.task_file = drive.error << 8 | drive.status
        self.pending |= IS_SDB

    # --- commands

    def _work(self) -> None:
        """Carries out what has been issued, the lowest slot first."""
        for slot in range(32):
            if self.issued >> slot & 1 and not self._stopped and self.drive is not None:
                self._issue(slot)
        self.changed()

    def _stop(self, cause: int) -> None:
        self.pending |= cause
        self._stopped = True

    def _issue(self, slot: int) -> None:
        drive = self.drive
        assert drive is not None
        at = self.command_list + 32 * slot
        if not self.in_memory(at, 32):
            self._stop(IS_HOST_BUS)
            return
        word, table = struct.unpack("<I4xQ", self.dma.read(at, 16))
        table &= ~0x7F
        count = word >> 16
        if not self.in_memory(table, REGIONS + 16 * count):
            self._stop(IS_HOST_BUS)
            return
        frame = self.dma.read(table, 64)
        entries = struct.iter_unpack("<QII", self.dma.read(table + REGIONS, 16 * count))
        self._regions = [(base & ~1, (length & 0x3F_FFFF) + 1) for base, _, length in entries]
        self._moved, self._overflow = 0, False
        if frame[0] != FIS_REGISTER_TO_DEVICE:
            self._stop(IS_INTERFACE)
            return
        if not frame[1] & FIS_COMMAND:
            self._control(drive, slot, frame)
            return
        self._load_task_file(drive, frame)
        tag = frame[12] >> 3 if frame[2] in QUEUED else None
        drive.start(frame[2])
        last_was_data_in = self._move_by_pio(drive, frame, self.dma.read(table + ATAPI_COMMAND, 16))
        drive.set_interrupt(False)
        self.dma.write(at + 4, struct.pack("<I", self._moved))
        if self._overflow:
            self.task_file = drive.error << 8 | drive.status
            self._stop(IS_OVERFLOW | IS_INTERFACE)
        elif tag is not None and frame[2] in QUEUED:
            self._end_queued(drive, slot, tag)
        else:
            self._end(drive, slot, last_was_data_in and frame[2] != 0xA0)

    def _control(self, drive: AtaDrive, slot: int, frame: bytes) -> None:
        """A frame that only writes device control: software reset."""
        self.issued &= ~(1 << slot)
        if frame[15] & CONTROL_SOFTWARE_RESET:
            drive.software_reset_begins()
            self.task_file = drive.status
        elif drive.status & STATUS_BUSY:
            drive.software_reset_ends()
            self.signature = drive.lba_high << 24 | drive.lba_mid << 16 | drive.lba_low << 8 | drive.sector_count
            self._receive_registers(True)

    @staticmethod
    def _load_task_file(drive: AtaDrive, frame: bytes) -> None:
        for register, present, before in (
            (FEATURES, 3, 11), (SECTOR_COUNT, 12, 13), (LBA_LOW, 4, 8), (LBA_MID, 5, 9), (LBA_HIGH, 6, 10),
        ):  # fmt: skip
            drive.write_register(register, frame[before])
            drive.write_register(register, frame[present])
        drive.write_register(DEVICE, frame[7])

    def _end(self, drive: AtaDrive, slot: int, silent: bool) -> None:
        failed = drive.status & STATUS_ERROR
        if failed or not silent:
            self._receive_registers(True)
        if failed:
            self._stop(IS_TASK_FILE)
        else:
            self.issued &= ~(1 << slot)

    def _end_queued(self, drive: AtaDrive, slot: int, tag: int) -> None:
        self.issued &= ~(1 << slot)
        if not drive.status & STATUS_ERROR:
            self._receive_set_bits(drive, 1 << tag)
            return
        if isinstance(drive, AtaDisk):
            drive.log_queued_error(tag)
        self._receive_set_bits(drive, 0)
        self._stop(IS_TASK_FILE)

    # --- data

    def _move_by_dma(self) -> None:
        """The drive has data for, or wants data from, the command's regions."""
        drive = self.drive
        assert drive is not None
        wanted = drive.direct_bytes
        if wanted and wanted <= sum(length for _, length in self._regions):
            pieces = first_pieces(self._regions, wanted)
            if drive.move_direct(self.dma, pieces):
                self._consume(wanted)
                return
        while drive.dma and drive.status & STATUS_DATA_REQUEST:
            if not self._regions:
                self._overflow = True
                return
            address, length = self._regions[0]
            if drive.dma == "in":
                data = drive.take(length)
                self.dma.write(address, data)
                part = len(data)
            else:
                part = drive.give(self.dma.read(address, min(length, drive.block_bytes)))
            if not part:
                return
            self._consume(part)

    def _consume(self, length: int) -> None:
        self._regions = behind(self._regions, length)
        self._moved += length

    def _move_by_pio(self, drive: AtaDrive, frame: bytes, packet: bytes) -> bool:
        """The blocks of a PIO command, and the packet; whether the last block went to the host."""
        to_host = False
        packet_due = frame[2] == 0xA0
        while drive.status & STATUS_DATA_REQUEST and not self._overflow and not drive.dma:
            length, status = drive.block_bytes, drive.status
            to_host = drive.block_to_host
            if packet_due:
                drive.give(packet[:length])
                packet_due = False
                to_host = False
                self._receive_pio_setup(drive, False, status, length, False)
                continue
            pieces = first_pieces(self._regions, length)
            if sum(part for _, part in pieces) < length:
                self._overflow = True
                return to_host
            if to_host:
                data = memoryview(drive.take(length))
                for address, part in pieces:
                    self.dma.write(address, data[:part])
                    data = data[part:]
            else:
                drive.give(b"".join(self.dma.read(address, part) for address, part in pieces))
            self._consume(length)
            more = drive.status & STATUS_DATA_REQUEST
            self._receive_pio_setup(drive, to_host, status, length, to_host and not more)
        return to_host

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {"drive": None if self.drive is None else self.drive.save()}

    def load(self, state: dict[str, object]) -> None:
        saved = state["drive"]
        if self.drive is not None:
            assert isinstance(saved, dict)
            self.drive.load(saved)
        super().load(state)
