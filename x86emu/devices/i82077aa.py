"""82077AA floppy disk controller (Intel 82077AA data sheet 290166, chapters 2 to 5), AT mode, with up to four drives.

Ports 3F0h-3F5h and 3F7h (3F6h is the ATA controller's); transfers are in floppy_transfer.py.  Departures: a command
that finds no drive ends at once as the NEC 765 ends it on a drive that is not ready, and one that finds no medium or a
stopped motor ends with "missing address mark", where the 82077AA would wait for an index pulse until it is reset; a
transfer takes `COMMAND_NS` however long it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from x86emu.bus.device import Device
from x86emu.devices.floppy_drive import RATE_250K, FloppyDrive
from x86emu.devices.floppy_transfer import (
    DMA_CHANNEL,
    READS,
    SCANS,
    ST0_ABNORMAL,
    ST0_EQUIPMENT_CHECK,
    ST0_NOT_READY,
    TRANSFERS,
    WRITES,
    BufferPort,
    DmaPort,
    IsaDma,
    Transfer,
    bytes_wanted,
)

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

STATUS_A, STATUS_B, DIGITAL_OUTPUT, TAPE_DRIVE, MAIN_STATUS, FIFO = range(6)

DOR_NOT_RESET = 0x04
DOR_DMA_GATE = 0x08  # lets INT and DRQ through
DOR_MOTOR0 = 0x10

DSR_SOFTWARE_RESET = 0x80

MSR_REQUEST = 0x80
MSR_TO_HOST = 0x40
MSR_NO_DMA = 0x20
MSR_COMMAND_BUSY = 0x10

ST0_INVALID = 0x80
ST0_READY_CHANGED = 0xC0
ST0_SEEK_END = 0x20

ST3_WRITE_PROTECTED = 0x40
ST3_TRACK_0 = 0x10
ST3_ALWAYS = 0x28

SPECIFY_NO_DMA = 0x01
CONFIGURE_IMPLIED_SEEK = 0x40

VERSION_ENHANCED = 0x90
DIR_CHANGED = 0x80
FLOATING_DIR = 0x7F  # bits 6-0 are not driven in AT mode
STEP_NS = 3_000_000
RECALIBRATE_STEPS = 79
RESET_NS = 20_000
COMMAND_NS = 200_000

READ_ID, FORMAT_TRACK = 0x0A, 0x0D

# Command code (without the MT, MFM and SK bits): bytes of the command phase (data sheet table 5-1).
COMMAND_LENGTHS = {
    0x02: 9, 0x03: 3, 0x04: 2, 0x05: 9, 0x06: 9, 0x07: 2, 0x08: 1, 0x09: 9, 0x0A: 2, 0x0C: 9, 0x0D: 6, 0x0E: 1,
    0x0F: 3, 0x10: 1, 0x11: 9, 0x12: 2, 0x13: 4, 0x14: 1, 0x16: 9, 0x19: 9, 0x1D: 9,
}  # fmt: skip


class I82077AA(Device):
    """The controller. `irq` is IRQ 6, `dma` the ISA DMA controller with channel 2 for it; None where there is none.

    Map `read/write` at 3F0h (6 ports), `read_dir/write_ccr` at 3F7h.  `drives` are up to four.
    """

    STATE = (
        "_dor", "_tdr", "_rate", "_command", "_results", "_pending", "_cylinders", "_specify", "_configure", "_lock",
        "_perpendicular", "_deadline", "_seeking", "_seek_status", "_running", "_buffer", "_position", "_direction",
        "_after",
    )  # fmt: skip

    def __init__(
        self,
        irq: IrqLine,
        clock: Clock,
        dma: IsaDma | None = None,
        drives: Sequence[FloppyDrive | None] = (),
        *,
        name: str = "82077AA",
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.clock = clock
        self.dma = dma
        self.drives: list[FloppyDrive | None] = [*drives, None, None, None, None][:4]
        self._event: Event | None = None
        self._dor = 0
        self.reset()

    def reset(self) -> None:
        """Hardware reset: all registers; DOR holds the controller in reset until the guest lets it go."""
        self._dor = 0
        self._tdr = 0
        self._rate = RATE_250K
        self._lock = False
        self._specify = [0, 0]
        self._configure = [0, 0]
        self._perpendicular = 0
        self._internal_reset()

    def _internal_reset(self) -> None:
        self._command: list[int] = []
        self._results: list[int] = []
        self._pending: list[int] = []  # ST0 of each drive that SENSE INTERRUPT STATUS has to report
        self._cylinders = [0, 0, 0, 0]
        self._seeking = 0
        self._seek_status = 0
        self._running: list[int] = []  # the command in its execution phase
        self._buffer = b""  # of a transfer by the processor
        self._position = 0
        self._direction = ""  # "in" or "out" while such a transfer is on
        self._after: list[int] = []  # what the result phase behind it will say
        self._perpendicular &= 0x3C
        if not self._lock:
            self._configure = [0, 0]
        self._schedule(None)
        self.irq.set_level(False)

    # --- ports

    def read(self, offset: int, size: int) -> int:
        """Ports 3F0h-3F5h. The status registers A and B are not driven in AT mode."""
        if offset == MAIN_STATUS:
            return self._main_status()
        if offset == FIFO:
            return self._read_fifo()
        if offset == DIGITAL_OUTPUT:
            return self._dor
        if offset == TAPE_DRIVE:
            return self._tdr | 0xFC
        return 0xFF

    def write(self, offset: int, size: int, value: int) -> None:
        """Ports 3F0h-3F5h."""
        if offset == DIGITAL_OUTPUT:
            changed, self._dor = self._dor ^ value, value
            if changed & DOR_NOT_RESET:
                self._internal_reset()
                if value & DOR_NOT_RESET:
                    self._schedule(self.clock.now() + RESET_NS)
            if not value & DOR_DMA_GATE:
                self.irq.set_level(False)
        elif offset == TAPE_DRIVE:
            self._tdr = value & 3
        elif offset == MAIN_STATUS:
            self._rate = value & 3
            if value & DSR_SOFTWARE_RESET and self._dor & DOR_NOT_RESET:
                self._internal_reset()
                self._schedule(self.clock.now() + RESET_NS)
        elif offset == FIFO and self._dor & DOR_NOT_RESET:
            self._write_fifo(value)

    def read_dir(self, offset: int, size: int) -> int:
        """Port 3F7h: digital input register; the disk-change line of the selected drive, if its motor is on."""
        drive = self._ready_drive(self._dor & 3)
        return FLOATING_DIR | (DIR_CHANGED if drive is not None and drive.changed else 0)

    def write_ccr(self, offset: int, size: int, value: int) -> None:
        """Port 3F7h: configuration control register (data rate)."""
        self._rate = value & 3

    def _ready_drive(self, number: int) -> FloppyDrive | None:
        """A drive whose motor is on."""
        return self.drives[number] if self._dor & DOR_MOTOR0 << number else None

    def _main_status(self) -> int:
        if not self._dor & DOR_NOT_RESET:
            return 0
        if self._seeking:
            return MSR_REQUEST | 1 << (self._seek_status & 3)
        if self._direction:
            to_host = MSR_TO_HOST if self._direction == "in" else 0
            return MSR_REQUEST | to_host | MSR_NO_DMA | MSR_COMMAND_BUSY
        if self._running:
            return MSR_COMMAND_BUSY
        if self._results:
            return MSR_REQUEST | MSR_TO_HOST | MSR_COMMAND_BUSY
        return MSR_REQUEST | (MSR_COMMAND_BUSY if self._command else 0)

    def _read_fifo(self) -> int:
        if self._direction == "in":
            value = self._buffer[self._position]
            self._position += 1
            if self._position == len(self._buffer):
                self._direction, self._results = "", self._after
                self.irq.set_level(False)
                self._interrupt()
            return value
        if not self._results:
            return 0xFF
        self.irq.set_level(False)
        return self._results.pop(0)

    # --- commands

    def _write_fifo(self, value: int) -> None:
        if self._direction == "out":
            self._buffer += bytes([value])
            if len(self._buffer) == self._position:
                self._direction = ""
                self.irq.set_level(False)
                self._transfer(BufferPort(self._buffer))
            return
        if self._results or self._running:
            return
        self._command.append(value)
        code = self._command[0] & 0x1F
        length = COMMAND_LENGTHS.get(code)
        if self._command[0] & 0x9F == 0x8F:
            length = 3  # RELATIVE SEEK
        if length is None:
            self._command.clear()
            self._results = [ST0_INVALID]
        elif len(self._command) == length:
            command, self._command = self._command, []
            self._execute(code, command)

    def _execute(self, code: int, command: list[int]) -> None:
        number = command[1] & 7 if len(command) > 1 else 0
        drive = self.drives[number & 3]
        if code in TRANSFERS:
            if drive is None:
                address = command[2:6] if len(command) == 9 else [self._cylinders[number & 3], 0, 1, 2]
                self._results = [ST0_ABNORMAL | ST0_NOT_READY | number, 0, 0, *address]
                self._interrupt()
            else:
                self._running = command
                self._schedule(self.clock.now() + COMMAND_NS)
        elif code == 0x03:
            self._specify = command[1:]
        elif code == 0x04:
            status = ST3_ALWAYS | number
            if drive is not None and self._dor & DOR_MOTOR0 << (number & 3):
                status |= ST3_TRACK_0 if not drive.cylinder else 0
                status |= ST3_WRITE_PROTECTED if drive.write_protected else 0
            self._results = [status]
        elif code == 0x07:
            self._recalibrate(number, drive)
        elif code == 0x0F:
            self._seek_command(number, drive, command)
        elif code == 0x08:
            self.irq.set_level(False)
            if self._pending:
                status = self._pending.pop(0)
                self._results = [status, self._cylinders[status & 3]]
            else:
                self._results = [ST0_INVALID]
        elif code == 0x0E:
            lock = self._lock << 7 | self._perpendicular
            self._results = [*self._cylinders, *self._specify, 0, lock, *self._configure]
        elif code == 0x10:
            self._results = [VERSION_ENHANCED]
        elif code == 0x12:
            self._perpendicular = command[1] & 0x3F
        elif code == 0x13:
            self._configure = command[2:]
        elif code == 0x14:
            self._lock = bool(command[0] & 0x80)
            self._results = [self._lock << 4]

    def _recalibrate(self, number: int, drive: FloppyDrive | None) -> None:
        self._cylinders[number & 3] = 0
        steps, status = RECALIBRATE_STEPS, ST0_ABNORMAL | ST0_SEEK_END | ST0_EQUIPMENT_CHECK
        if drive is not None:
            steps = min(drive.cylinder, RECALIBRATE_STEPS)
            if drive.cylinder <= RECALIBRATE_STEPS:
                status = ST0_SEEK_END
            drive.step(drive.cylinder - RECALIBRATE_STEPS)
        self._seek(steps, status | number)

    def _seek_command(self, number: int, drive: FloppyDrive | None, command: list[int]) -> None:
        present = self._cylinders[number & 3]
        relative = command[0] & 0x80
        target = present + (command[2] if command[0] & 0x40 else -command[2]) if relative else command[2]
        steps = target - present
        self._cylinders[number & 3] = min(max(target, 0), 255)
        if drive is not None and steps:
            drive.step(drive.cylinder + steps)
        self._seek(abs(steps), ST0_SEEK_END | number)

    def _seek(self, steps: int, status: int) -> None:
        self._seeking = 1
        self._seek_status = status
        self._schedule(self.clock.now() + max(steps, 1) * STEP_NS)

    def _interrupt(self) -> None:
        if self._dor & DOR_DMA_GATE:
            self.irq.set_level(True)

    def _due(self) -> None:
        """The end of a seek; the execution phase; or the end of a reset, when the drives' ready lines are polled and
        all four report a change."""
        self._event = None
        if self._running:
            self._begin_execution()
            return
        if self._seeking:
            self._seeking = 0
            self._pending = [self._seek_status]
        else:
            self._pending = [ST0_READY_CHANGED | drive for drive in range(4)]
        self._interrupt()

    # --- execution phase

    def _begin_execution(self) -> None:
        code = self._running[0] & 0x1F
        number = self._running[1] & 3
        drive = self.drives[number]
        if drive is not None and self._configure[0] & CONFIGURE_IMPLIED_SEEK and len(self._running) == 9:
            drive.step(drive.cylinder + self._running[2] - self._cylinders[number])
            self._cylinders[number] = self._running[2]
        if not self._specify[1] & SPECIFY_NO_DMA:
            self._transfer(DmaPort(self.dma if self._dor & DOR_DMA_GATE else None))
        elif code in WRITES or code in SCANS or code == FORMAT_TRACK:
            self._direction, self._buffer, self._position = "out", b"", bytes_wanted(self._running)
            self._interrupt()
        else:
            self._transfer(BufferPort())

    def _transfer(self, port: DmaPort | BufferPort) -> None:
        command, self._running = self._running, []
        drive = self.drives[command[1] & 3]
        assert drive is not None
        ready = self._ready_drive(command[1] & 3) is not None
        results = Transfer(drive, command, self._rate, self.clock.now(), ready).run(port)
        code = command[0] & 0x1F
        if isinstance(port, BufferPort) and code in READS and port.collected:
            self._direction, self._buffer, self._position = "in", bytes(port.collected), 0
            self._after = results
        else:
            self._results = results
        self._interrupt()

    def _schedule(self, deadline: int | None) -> None:
        self.clock.cancel(self._event)
        self._event = None if deadline is None else self.clock.schedule(deadline, self._due)

    # --- state

    def save(self) -> dict[str, object]:
        return super().save() | {"drives": [None if drive is None else drive.save() for drive in self.drives]}

    def load(self, state: dict[str, Any]) -> None:
        for drive, saved in zip(self.drives, state["drives"], strict=True):
            if drive is not None:
                drive.load(saved)
        super().load(state)

    @property
    def _deadline(self) -> int | None:
        return None if self._event is None else self._event.deadline

    @_deadline.setter
    def _deadline(self, deadline: int | None) -> None:
        self._schedule(deadline)


__all__ = ["DMA_CHANNEL", "I82077AA"]
