# cython: language_level=3
from x86emu.core.state cimport Cpu as CpuState
from x86emu.core.memory cimport PhysicalMemory
from x86emu.core.model cimport ModelTables
from x86emu.bus.platform cimport CpuSignals

cdef class Processor:
    cdef CpuState* state
    cdef readonly int index
    cdef PhysicalMemory memory
    cdef CpuSignals signals
    cdef ModelTables tables
    cdef object model
    cdef void refresh(self)
    cdef dict delivered(self, int kind)
