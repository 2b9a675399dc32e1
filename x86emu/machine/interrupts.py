"""Where the board's interrupt lines, interrupt messages and A20 gates meet.

The PIIX3 has ORed what drives each of the sixteen ISA interrupts; here line n goes to input n of the 8259 pair and to
pin n of the I/O APIC, but for the timer, which is on pin 2 (the override in the MADT and the MP table).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

TIMER_PIN = 2

# Message address and data (SDM 3A 11.11.1, 11.11.2).
MESSAGE_WINDOW, MESSAGE_WINDOW_BYTES = 0xFEE0_0000, 0x10_0000
ADDRESS_LOGICAL, ADDRESS_REDIRECT = 0x4, 0x8
DATA_LEVEL = 0x8000
FIXED, LOWEST_PRIORITY = 0, 1


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


class Tap:
    """A line on its way to `sink`, of whose rises `rises()` is told as well."""

    def __init__(self, sink: InterruptSink, rises: Callable[[], object]) -> None:
        self.sink = sink
        self.rises = rises

    def set_irq(self, number: int, level: bool) -> None:
        """The line changes."""
        self.sink.set_irq(number, level)
        if level:
            self.rises()


class SharedLine:
    """One line that several devices drive: asserted while any of them asserts it.  Each is a number of this sink."""

    def __init__(self, sink: InterruptSink, number: int) -> None:
        self.sink = sink
        self.number = number
        self._asserting: set[int] = set()

    def set_irq(self, number: int, level: bool) -> None:
        """Device `number` drives the line."""
        if level:
            self._asserting.add(number)
        else:
            self._asserting.discard(number)
        self.sink.set_irq(self.number, bool(self._asserting))


class ApicMessages(Protocol):
    """What carries messages to the local APICs."""

    def deliver(self, destination: int, logical: bool, mode: int, vector: int, level_triggered: bool, /) -> None: ...


class MessageInterrupts:
    """Where the messages of PCI functions go: those to FEEx_xxxxh to the local APICs, all others into memory.

    With the redirection hint a fixed message to a logical destination goes to one processor of it, the one with the
    lowest priority (SDM 3A 11.11.1).
    """

    def __init__(self, apics: ApicMessages, write: Callable[[int, bytes], object]) -> None:
        self.apics = apics
        self.write = write

    def send(self, requester_id: int, address: int, data: int) -> None:
        """The function `requester_id` writes the dword `data` at `address`."""
        if not MESSAGE_WINDOW <= address < MESSAGE_WINDOW + MESSAGE_WINDOW_BYTES:
            self.write(address, data.to_bytes(4, "little"))
            return
        logical, mode = bool(address & ADDRESS_LOGICAL), data >> 8 & 7
        if mode == FIXED and logical and address & ADDRESS_REDIRECT:
            mode = LOWEST_PRIORITY
        self.apics.deliver(address >> 12 & 0xFF, logical, mode, data & 0xFF, bool(data & DATA_LEVEL))


class A20Gate:
    """Address line 20 passes while any of the board's gates lets it (82371SB datasheet 2.5.3, A20M#)."""

    def __init__(self, signals: Sequence[CpuWires]) -> None:
        self.signals = signals
        self._open = {"8042": True}  # which comes up letting it through and says nothing of it

    def set(self, gate: str, passes: bool) -> None:
        """Gate `gate` ("8042", "port 92h") lets the line through or not."""
        self._open[gate] = passes
        masked = not any(self._open.values())
        for wires in self.signals:
            wires.set_a20_masked(masked)


class CpuWires(Protocol):
    """What the gate needs of a processor's wires."""

    def set_a20_masked(self, level: bool, /) -> None: ...
