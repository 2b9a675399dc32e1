# cython: language_level=3
from x86emu.bus.platform cimport CpuSignals

cdef class Pic8259Controller:
    cdef readonly CpuSignals signals
    cdef readonly object pic
