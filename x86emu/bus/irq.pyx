# cython: language_level=3
# An interrupt request line: a level with one driver and one sink, as an ISA or PCI line behind its inverter.
"""Interrupt lines from devices to whoever the machine wires them to."""

from typing import Protocol


class IrqSink(Protocol):
    """What a line drives: the input of an interrupt controller, or a router."""

    def set_irq(self, number, level):
        """Input `number` changes to `level`."""


cdef class IrqLine:
    """One interrupt line. The sink's `set_irq(number, level)` is called on changes only; `sink` may be None."""

    def __init__(self, object sink=None, int number=0, str name=""):
        self.sink = sink
        self.number = number
        self.name = name

    cpdef set_level(self, bint level):
        """Drives the line."""
        if level != self.level:
            self.level = level
            if self.sink is not None:
                self.sink.set_irq(self.number, level)

    def raise_(self):
        """Drives the line high (asserted)."""
        self.set_level(True)

    def lower(self):
        """Drives the line low."""
        self.set_level(False)

    def pulse(self):
        """A low pulse, of which the rising edge at its end is one request at an edge-triggered input.

        The line stays high: an 8259 forgets a request that is withdrawn before it is acknowledged.
        """
        self.set_level(False)
        self.set_level(True)
