"""How interrupt lines of the board meet: ISA lines 0-15, at the 8259 pair and at the I/O APIC.

Several sources may drive one line (two PIRQs and the SCI routed to line 9); on hardware they share a wire, here an OR.
ISA line n is input n of the 8259 pair and pin n of the I/O APIC, but for the timer, which is on pin 2 (the override in
the MADT and the MP table).
"""

from __future__ import annotations

from typing import Protocol

from x86emu.bus.irq import IrqLine

ISA_LINES = 16
TIMER_PIN = 2


class InterruptSink(Protocol):
    """Anything with numbered interrupt inputs."""

    def set_irq(self, number: int, level: bool, /) -> object: ...


class IsaInterrupts:
    """The sixteen ISA lines.  `set_irq` drives a line as one source; `source()` makes further ones that are ORed."""

    def __init__(self, pic: InterruptSink, ioapic: InterruptSink) -> None:
        self.pic = pic
        self.ioapic = ioapic
        self._driving: list[set[int]] = [set() for _ in range(ISA_LINES)]
        self._sources = 1

    def set_irq(self, number: int, level: bool) -> None:
        """Source 0: for whoever owns a line alone."""
        self._drive(0, number, level)

    def _drive(self, source: int, number: int, level: bool) -> None:
        driving = self._driving[number]
        before = bool(driving)
        if level:
            driving.add(source)
        else:
            driving.discard(source)
        if bool(driving) != before:
            self.pic.set_irq(number, not before)
            self.ioapic.set_irq(TIMER_PIN if number == 0 else number, not before)

    def source(self) -> IsaSource:
        """A further driver of the lines, ORed with the others."""
        self._sources += 1
        return IsaSource(self, self._sources - 1)

    def line(self, number: int, name: str) -> IrqLine:
        """An interrupt line for a device, ORed with whatever else drives the same number."""
        return IrqLine(self.source(), number, name)


class IsaSource:
    """One driver of the ISA lines."""

    def __init__(self, lines: IsaInterrupts, source: int) -> None:
        self.lines = lines
        self.source = source

    def set_irq(self, number: int, level: bool) -> None:
        """Drives line `number`; False lets go of it."""
        self.lines._drive(self.source, number, level)


class A20Gate:
    """Address line 20 passes while any of the board's gates lets it (82371SB datasheet 2.5.3, A20M#)."""

    def __init__(self, signals: list[CpuWires]) -> None:
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
