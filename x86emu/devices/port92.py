"""Port 92h, system control port A (IBM PS/2 Hardware Interface Technical Reference, "System Control Port A").

Bit 0 going from 0 to 1 resets the processors, bit 1 lets address line 20 through.  The password lock (bit 3) and
the watchdog status (bit 4) are absent and read as zero; the disk activity bits 6 and 7 are stored.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.bus.device import Device

FAST_RESET = 0x01
FAST_A20 = 0x02
STORED = 0xC3


class Port92(Device):
    """Fast A20 and fast reset. `a20(True)` lets address line 20 through, `reset_pulse()` resets the processors."""

    STATE = ("_value",)

    def __init__(
        self,
        a20: Callable[[bool], object] | None = None,
        reset_pulse: Callable[[], object] | None = None,
        *,
        name: str = "port 92h",
    ) -> None:
        super().__init__(name)
        self.a20 = a20
        self.reset_pulse = reset_pulse
        self._value = 0

    def reset(self) -> None:
        """The board's reset: this gate lets go of A20 (the line is then the 8042's)."""
        self.write(0, 1, 0)

    def read(self, offset: int, size: int) -> int:
        """Bits as written."""
        return self._value

    def write(self, offset: int, size: int, value: int) -> None:
        """Sets A20, and resets on a rising bit 0."""
        value &= STORED
        changed, self._value = value ^ self._value, value
        if changed & FAST_A20 and self.a20 is not None:
            self.a20(bool(value & FAST_A20))
        if changed & value & FAST_RESET and self.reset_pulse is not None:
            self.reset_pulse()

    def loaded(self) -> None:
        if self.a20 is not None:
            self.a20(bool(self._value & FAST_A20))
