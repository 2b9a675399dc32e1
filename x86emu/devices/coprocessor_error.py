"""The coprocessor error register F0h of the PIIX3 (82371SB datasheet, "Coprocessor Error Register"; Intel SDM volume 1,
appendix D): x87 errors of a processor with CR0.NE = 0 come as IRQ 13, and software ends them by writing to port F0h.

FERR# raises IRQ 13.  The write drops IRQ 13 and, while FERR# is asserted, asserts IGNNE#, which goes when FERR# goes.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.bus.device import Device
from x86emu.bus.irq import IrqLine


class CoprocessorError(Device):
    """`ferr(level)` is the processor's FERR# pin; `ignne(level)` drives its IGNNE#."""

    STATE = ("_ferr", "_ignne")

    def __init__(
        self, irq: IrqLine, ignne: Callable[[bool], object] | None = None, *, name: str = "coprocessor error"
    ) -> None:
        super().__init__(name)
        self.irq = irq
        self.ignne = ignne
        self._ferr = False
        self._ignne = False

    def reset(self) -> None:
        """The board's reset: the processor's own reset releases FERR#."""
        self.ferr(False)

    def ferr(self, level: bool) -> None:
        """FERR# changes."""
        self._ferr = level
        self.irq.set_level(level)
        if not level:
            self._set_ignne(False)

    def read(self, offset: int, size: int) -> int:
        """Write-only: nothing drives the bus."""
        return 0xFF

    def write(self, offset: int, size: int, value: int) -> None:
        """Drops IRQ 13, and lets x87 instructions go on while FERR# is asserted; the value does not matter."""
        self.irq.lower()
        if self._ferr:
            self._set_ignne(True)

    def loaded(self) -> None:
        self._set_ignne(self._ignne)

    def _set_ignne(self, level: bool) -> None:
        self._ignne = level
        if self.ignne is not None:
            self.ignne(level)
