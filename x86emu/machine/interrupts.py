"""Where the board's interrupt lines and its A20 gates meet.

The PIIX3 has ORed what drives each of the sixteen ISA interrupts; here line n goes to input n of the 8259 pair and to
pin n of the I/O APIC, but for the timer, which is on pin 2 (the override in the MADT and the MP table).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

TIMER_PIN = 2


class InterruptSink(Protocol):
    """Anything with numbered interrupt inputs."""

    def set_irq(self, number: int, level: bool, /) -> object: ...


class InterruptLines:
    """The sixteen lines on their way to both interrupt controllers."""

    def __init__(self, pic: InterruptSink, ioapic: InterruptSink) -> None:
        self.pic = pic
        self.ioapic = ioapic

    def set_irq(self, number: int, level: bool) -> None:
        """Line `number` changes."""
        self.pic.set_irq(number, level)
        self.ioapic.set_irq(TIMER_PIN if number == 0 else number, level)


class A20Gate:
    """Address line 20 passes while any of the board's gates lets it (82371SB datasheet 2.5.3, A20M#)."""

    def __init__(self, signals: Sequence[CpuWires]) -> None:
        self.signals = signals
        self._open: dict[str, bool] = {}

    def set(self, gate: str, passes: bool) -> None:
        """Gate `gate` ("8042", "port 92h") lets the line through or not."""
        self._open[gate] = passes
        masked = not any(self._open.values())
        for wires in self.signals:
            wires.set_a20_masked(masked)


class CpuWires(Protocol):
    """What the gate needs of a processor's wires."""

    def set_a20_masked(self, level: bool, /) -> None: ...
