"""Debug console: a port to which firmware writes text (port E9h of Bochs; ISA debugcon of QEMU, at 402h for SeaBIOS).

A read gives E9h, which is how firmware finds it.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.bus.device import Device

PRESENT = 0xE9


class DebugConsole(Device):
    """Passes each byte written to `output`; map it at 402h, at E9h, or at both."""

    def __init__(self, output: Callable[[bytes], object] | None = None, *, name: str = "debug console") -> None:
        super().__init__(name)
        self.output = output

    def read(self, offset: int, size: int) -> int:
        """E9h: the console is there."""
        return PRESENT

    def write(self, offset: int, size: int, value: int) -> None:
        """Emits one byte."""
        if self.output is not None:
            self.output(bytes((value & 0xFF,)))
