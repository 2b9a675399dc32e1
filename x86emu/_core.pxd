# cython: language_level=3
from libc.stdint cimport int64_t, uint64_t
from x86emu.core.state cimport Cpu as CpuState
from x86emu.core.engine cimport Schedule
from x86emu.core.memory cimport PhysicalMemory
from x86emu.core.model cimport ModelTables
from x86emu.bus.platform cimport Wiring, CpuSignals
from x86emu.bus.clock cimport Clock

cdef class Processor:
    cdef CpuState* state
    cdef readonly int index
    cdef PhysicalMemory memory
    cdef CpuSignals signals
    cdef ModelTables tables
    cdef object model
    cdef void refresh(self)
    cdef dict delivered(self, int kind)

cdef class Engine:
    cdef Schedule schedule
    cdef readonly PhysicalMemory memory
    cdef readonly Wiring wiring
    cdef readonly Clock clock
    cdef readonly list cpus
    cdef readonly object model
    cdef public int64_t quantum
    cdef readonly object stop_reason
    cdef object hook
