"""82077AA floppy disk controller with no drive attached (Intel 82077AA data sheet, chapters 2 to 5), AT mode.

Ports 3F0h-3F5h and 3F7h (3F6h is the ATA controller's).  What needs no drive is as in the data sheet: reset with its
four polling interrupts, SPECIFY, SENSE INTERRUPT STATUS, SEEK, RECALIBRATE (fails: track 0 never shows), CONFIGURE,
DUMPREG, LOCK, VERSION, PERPENDICULAR.  Departure: commands that would transfer data end at once as the NEC 765 ends
them on a drive that is not ready, where the 82077AA would wait for an index pulse until it is reset.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

STATUS_A, STATUS_B, DIGITAL_OUTPUT, TAPE_DRIVE, MAIN_STATUS, FIFO = range(6)

DOR_NOT_RESET = 0x04
DOR_INTERRUPT_ENABLE = 0x08

DSR_SOFTWARE_RESET = 0x80

MSR_REQUEST = 0x80
MSR_TO_HOST = 0x40
MSR_COMMAND_BUSY = 0x10

ST0_ABNORMAL = 0x40
ST0_INVALID = 0x80
ST0_READY_CHANGED = 0xC0
ST0_SEEK_END = 0x20
ST0_EQUIPMENT_CHECK = 0x10
ST0_NOT_READY = 0x08

VERSION_ENHANCED = 0x90
FLOATING_DIR = 0x7F  # no drive pulls the disk-change line; bits 6-0 are not driven in AT mode
STEP_NS = 3_000_000
RECALIBRATE_STEPS = 79
RESET_NS = 20_000

# Command code (without the MT, MFM and SK bits): bytes of the command phase (data sheet table 5-1).
COMMAND_LENGTHS = {
    0x02: 9, 0x03: 3, 0x04: 2, 0x05: 9, 0x06: 9, 0x07: 2, 0x08: 1, 0x09: 9, 0x0A: 2, 0x0C: 9, 0x0D: 6, 0x0E: 1,
    0x0F: 3, 0x10: 1, 0x11: 9, 0x12: 2, 0x13: 4, 0x14: 1, 0x16: 9, 0x19: 9, 0x1D: 9,
}  # fmt: skip
TRANSFERS = frozenset((0x02, 0x05, 0x06, 0x09, 0x0A, 0x0C, 0x0D, 0x11, 0x16, 0x19, 0x1D))


class I82077AA(Device):
    """The controller. `irq` is IRQ 6. Map `read/write` at 3F0h (6 ports), `read_dir/write_ccr` at 3F7h."""

    STATE = (
        "_dor", "_tdr", "_rate", "_command", "_results", "_pending", "_cylinders", "_specify", "_configure", "_lock",
        "_perpendicular", "_deadline", "_seeking", "_seek_status",
    )  # fmt: skip

    def __init__(self, irq: IrqLine, clock: Clock, *, name: str = "82077AA") -> None:
        super().__init__(name)
        self.irq = irq
        self.clock = clock
        self._event: Event | None = None
        self._dor = 0
        self.reset()

    def reset(self) -> None:
        """Hardware reset: all registers; DOR holds the controller in reset until the guest lets it go."""
        self._dor = 0
        self._tdr = 0
        self._rate = 2
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
            if not value & DOR_INTERRUPT_ENABLE:
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
        """Port 3F7h: digital input register."""
        return FLOATING_DIR

    def write_ccr(self, offset: int, size: int, value: int) -> None:
        """Port 3F7h: configuration control register (data rate)."""
        self._rate = value & 3

    def _main_status(self) -> int:
        if not self._dor & DOR_NOT_RESET:
            return 0
        if self._seeking:
            return MSR_REQUEST | 1 << (self._seek_status & 3)
        if self._results:
            return MSR_REQUEST | MSR_TO_HOST | MSR_COMMAND_BUSY
        return MSR_REQUEST | (MSR_COMMAND_BUSY if self._command else 0)

    def _read_fifo(self) -> int:
        if not self._results:
            return 0xFF
        self.irq.set_level(False)
        return self._results.pop(0)

    # --- commands

    def _write_fifo(self, value: int) -> None:
        if self._results:
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
        drive = command[1] & 7 if len(command) > 1 else 0
        if code in TRANSFERS:
            cylinder, head, sector, size = command[2:6] if len(command) == 9 else (self._cylinders[drive & 3], 0, 1, 2)
            self._results = [ST0_ABNORMAL | ST0_NOT_READY | drive, 0, 0, cylinder, head, sector, size]
            self._interrupt()
        elif code == 0x03:
            self._specify = command[1:]
        elif code == 0x04:
            self._results = [0x28 | drive]  # ST3: bits 5 and 3 are always one; no track 0, no write protection
        elif code == 0x07:
            self._cylinders[drive & 3] = 0
            self._seek(RECALIBRATE_STEPS, ST0_ABNORMAL | ST0_SEEK_END | ST0_EQUIPMENT_CHECK | drive)
        elif code == 0x0F:
            relative = command[0] & 0x80
            steps = command[2] if relative else abs(command[2] - self._cylinders[drive & 3])
            if relative:
                command[2] = self._cylinders[drive & 3] + (command[2] if command[0] & 0x40 else -command[2])
            self._cylinders[drive & 3] = min(max(command[2], 0), 255)
            self._seek(steps, ST0_SEEK_END | drive)
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

    def _seek(self, steps: int, status: int) -> None:
        self._seeking = 1
        self._seek_status = status
        self._schedule(self.clock.now() + max(steps, 1) * STEP_NS)

    def _interrupt(self) -> None:
        if self._dor & DOR_INTERRUPT_ENABLE:
            self.irq.set_level(True)

    def _due(self) -> None:
        """The end of a seek, or of a reset: the drives' ready lines are polled and all four report a change."""
        self._event = None
        if self._seeking:
            self._seeking = 0
            self._pending = [self._seek_status]
        else:
            self._pending = [ST0_READY_CHANGED | drive for drive in range(4)]
        self._interrupt()

    def _schedule(self, deadline: int | None) -> None:
        self.clock.cancel(self._event)
        self._event = None if deadline is None else self.clock.schedule(deadline, self._due)

    # --- state

    @property
    def _deadline(self) -> int | None:
        return None if self._event is None else self._event.deadline

    @_deadline.setter
    def _deadline(self, deadline: int | None) -> None:
        self._schedule(deadline)
