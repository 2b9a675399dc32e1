"""Standard parallel port with a Centronics printer (IBM PC/AT Technical Reference, "Printer Adapter"; IEEE 1284-1994
compatibility mode, section 6.3 and figure 15, for the handshake): data, status and control at 378h-37Ah.

The printer takes the data byte when STROBE# falls, is busy for `BUSY_NS`, pulses ACK# low for the last `ACKNOWLEDGE_NS`
of that, and takes no byte while busy, held in reset by INIT#, or not selected.  Without a printer the status lines
float high.  AUTOFD# is the printer's own affair: bytes are taken as they come.  No bidirectional, EPP or ECP mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.clock import Clock, Event
    from x86emu.bus.irq import IrqLine

DATA, STATUS, CONTROL = range(3)

STATUS_NOT_ERROR = 0x08
STATUS_SELECTED = 0x10
STATUS_PAPER_OUT = 0x20
STATUS_NOT_ACKNOWLEDGE = 0x40
STATUS_NOT_BUSY = 0x80
# Bits 2-0 are not driven by the adapter and read as ones.
STATUS_READY = STATUS_NOT_BUSY | STATUS_NOT_ACKNOWLEDGE | STATUS_SELECTED | STATUS_NOT_ERROR | 0x07
STATUS_FLOATING = STATUS_READY & ~STATUS_NOT_BUSY | STATUS_PAPER_OUT  # BUSY is the one that the adapter inverts

CONTROL_STROBE = 0x01
CONTROL_AUTO_FEED = 0x02
CONTROL_NOT_INITIALIZE = 0x04
CONTROL_SELECT = 0x08
CONTROL_INTERRUPT = 0x10
CONTROL_UNUSED = 0xE0

BUSY_NS = 10_000
ACKNOWLEDGE_NS = 5_000


class ParallelPort(Device):
    """One port. `irq` is IRQ 7 for the first; `output(data)` gets what the printer takes, None is no printer."""

    STATE = ("_data", "_control", "_busy_until")

    def __init__(
        self,
        irq: IrqLine,
        clock: Clock,
        output: Callable[[bytes], object] | None = None,
        *,
        name: str = "parallel port",
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.clock = clock
        self.output = output
        self._data = 0
        self._control = CONTROL_NOT_INITIALIZE
        self._busy_until = 0
        self._event: Event | None = None

    def reset(self) -> None:
        """Data low, printer not held in reset, interrupt off."""
        self._data = 0
        self._control = CONTROL_NOT_INITIALIZE
        self._busy_until = 0
        self.loaded()

    @property
    def _left(self) -> int:
        """Nanoseconds for which the printer stays busy with a byte."""
        return self._busy_until - self.clock.now()

    def read(self, offset: int, size: int) -> int:
        """Data and control as written, status as the printer drives it."""
        if offset == DATA:
            return self._data
        if offset == CONTROL:
            return self._control | CONTROL_UNUSED
        if self.output is None:
            return STATUS_FLOATING
        if not self._control & CONTROL_NOT_INITIALIZE:
            return STATUS_READY & ~STATUS_NOT_BUSY
        status = STATUS_READY
        if self._left > 0:
            status &= ~STATUS_NOT_BUSY
            if self._left <= ACKNOWLEDGE_NS:
                status &= ~STATUS_NOT_ACKNOWLEDGE
        return status

    def write(self, offset: int, size: int, value: int) -> None:
        """The printer takes the data byte on the strobe's rising edge in the control register."""
        if offset == DATA:
            self._data = value
        elif offset == CONTROL:
            rising = value & ~self._control
            self._control = value & 0x1F
            if not value & CONTROL_NOT_INITIALIZE:
                self._busy_until = 0
            elif rising & CONTROL_STROBE and value & CONTROL_SELECT and self.output is not None and self._left <= 0:
                self.output(bytes((self._data,)))
                self._busy_until = self.clock.now() + BUSY_NS
            self.loaded()

    def _acknowledged(self) -> None:
        """The interrupt is the rising edge of ACK#."""
        self._event = None
        if self._control & CONTROL_INTERRUPT:
            self.irq.pulse()

    def loaded(self) -> None:
        self.clock.cancel(self._event)
        self._event = self.clock.schedule(self._busy_until, self._acknowledged) if self._left > 0 else None
