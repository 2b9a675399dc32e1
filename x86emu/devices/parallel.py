"""Standard parallel port (IBM PC/AT Technical Reference, "Printer Adapter"): data, status and control at 378h-37Ah.

The printer is always ready: a strobe takes the data byte to `output` and an acknowledge pulse follows at once.
No bidirectional, EPP or ECP mode.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from x86emu.bus.device import Device

if TYPE_CHECKING:
    from x86emu.bus.irq import IrqLine

DATA, STATUS, CONTROL = range(3)

STATUS_NOT_ERROR = 0x08
STATUS_SELECTED = 0x10
STATUS_PAPER_OUT = 0x20
STATUS_NOT_ACKNOWLEDGE = 0x40
STATUS_NOT_BUSY = 0x80
# Bits 2-0 are not driven by the adapter and read as ones.
STATUS_READY = STATUS_NOT_BUSY | STATUS_NOT_ACKNOWLEDGE | STATUS_SELECTED | STATUS_NOT_ERROR | 0x07

CONTROL_STROBE = 0x01
CONTROL_NOT_INITIALIZE = 0x04
CONTROL_INTERRUPT = 0x10
CONTROL_UNUSED = 0xE0


class ParallelPort(Device):
    """One port with a printer that takes everything. `irq` is IRQ 7 for the first port."""

    STATE = ("_data", "_control")

    def __init__(
        self, irq: IrqLine, output: Callable[[bytes], object] | None = None, *, name: str = "parallel port"
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.output = output
        self._data = 0
        self._control = CONTROL_NOT_INITIALIZE

    def reset(self) -> None:
        """Data low, printer not held in reset, interrupt off."""
        self._data = 0
        self._control = CONTROL_NOT_INITIALIZE

    def read(self, offset: int, size: int) -> int:
        """Data and control as written, status of a printer that is ready."""
        if offset == DATA:
            return self._data
        if offset == STATUS:
            return STATUS_READY
        return self._control | CONTROL_UNUSED

    def write(self, offset: int, size: int, value: int) -> None:
        """The printer takes the data byte on the strobe's rising edge in the control register."""
        if offset == DATA:
            self._data = value
        elif offset == CONTROL:
            rising = value & ~self._control
            self._control = value & 0x1F
            if rising & CONTROL_STROBE:
                if self.output is not None:
                    self.output(bytes((self._data,)))
                if self._control & CONTROL_INTERRUPT:
                    self.irq.pulse()  # the interrupt is the acknowledge line
