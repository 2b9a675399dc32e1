# cython: language_level=3
# The power management timer (ACPI 1.0b, 4.7.3.3; Intel 82371AB data sheet, 7.2: PMTMR) as C code: operating systems
# take their time from it or calibrate others by it, and read it in loops.  All other registers of the block, and every
# write, are those of piix4_acpi.py.
"""The fast side of the register block at PMBASE."""
from libc.stdint cimport uint64_t

from x86emu.bus.clock cimport Clock
from x86emu.bus.fast_side cimport FastSide, FastState, python_read, python_write, ticks_now

cdef enum:
    PMTMR = 8
    FREQUENCY = 3579545
    COUNTER_MASK = 0xFFFFFF

cdef uint64_t native_read(void* device, uint64_t offset, int size) noexcept nogil:
    if offset & ~<uint64_t>3 == PMTMR:
        return <uint64_t>(ticks_now(<FastState*>device, FREQUENCY) & COUNTER_MASK) >> (8 * (offset & 3))
    return python_read(device, offset, size)


cdef class PmTimer(FastSide):
    """C handlers for a register block that has `read_block` and `write_block`; map `native` at PMBASE."""

    cdef FastState state

    def __init__(self, block, Clock clock):
        self.attach(&self.state, clock, block.read_block, block.write_block, native_read, python_write)

    def ticks(self):
        """Ticks of 3.579545 MHz since the machine's start, of which the register shows 24 bits."""
        return ticks_now(&self.state, FREQUENCY)
