# cython: language_level=3
# An 8259 pair wired straight to a processor's INTR pin, as on boards before the local APIC (Intel486 data book,
# "Interrupt acknowledge"; 8259A data sheet, "Interrupt sequence").
"""The interrupt controller of a processor that has no local APIC."""

from x86emu.bus.platform cimport CpuSignals


cdef int acknowledge(void* controller) noexcept with gil:
    return (<Pic8259Controller>controller).pic.acknowledge()


cdef class Pic8259Controller:
    """Connects `pic` (with `acknowledge()` and a settable `output`) to the INTR pin of the processor of `signals`."""

    def __init__(self, object pic, CpuSignals signals not None):
        self.pic = pic
        self.signals = signals
        signals.controller_object = self
        signals.wires.controller = <void*>self
        signals.wires.acknowledge = acknowledge
        pic.output = self.set_intr

    def set_intr(self, bint level):
        """The pair's INT output changes."""
        self.signals.set_intr(level)
