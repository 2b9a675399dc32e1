# cython: language_level=3
cimport cython
from cpython.ref cimport PyObject
from libc.stdint cimport uint8_t, uint16_t, uint64_t
from x86emu.bus.platform cimport Wiring, bus_read_t, bus_write_t

cdef struct NativeSlot:
    # What a thunk needs to call a Cython device without the GIL; read and write are NULL for a Python device.
    bus_read_t read
    bus_write_t write
    void* device
    uint64_t base, length
    int sizes                       # bit mask: 1, 2, 4, 8
    uint64_t* reads                 # the region's counters
    uint64_t* writes

cdef struct PortRecord:
    uint16_t table[65536]           # slot number of each port; 0 is nobody
    NativeSlot* native              # by slot number
    PyObject* space

cdef struct MmioRecord:
    NativeSlot last                 # the last region hit, if it is native
    PyObject* space

@cython.final
cdef class NativeHandlers:
    # C entry points of a device written in Cython; the address they get is the offset within the region.
    cdef bus_read_t read
    cdef bus_write_t write
    cdef void* device
    cdef object owner               # keeps device alive

cdef NativeHandlers native_handlers(object owner, void* device, bus_read_t read, bus_write_t write)

@cython.final
cdef class Region:
    cdef readonly uint64_t base, length, reads, writes
    cdef readonly str name
    cdef readonly object device
    cdef readonly bint mapped       # claimed in its space: neither unmapped nor shadowed by another region
    cdef object read_handler, write_handler, read_block, write_block
    cdef NativeHandlers native
    cdef int sizes
    cdef int slot
    cdef uint64_t handle_read(self, uint64_t offset, int size) except? 0xFFFFFFFFFFFFFFFFULL
    cdef int handle_write(self, uint64_t offset, int size, uint64_t value) except -1

cdef class AddressSpace:
    cdef readonly Wiring wiring
    cdef list regions               # all that are wanted, in order of mapping; some may be shadowed
    cdef readonly uint64_t unclaimed_reads, unclaimed_writes
    cdef Region find(self, uint64_t address)
    cdef Region blocker(self, uint64_t base, uint64_t length)
    cdef claim(self, Region region)
    cdef release(self, Region region)
    cdef settle(self, Region region)
    cdef uint64_t access_read(self, uint64_t address, int size) except? 0xFFFFFFFFFFFFFFFFULL
    cdef int access_write(self, uint64_t address, int size, uint64_t value) except -1

@cython.final
cdef class PortSpace(AddressSpace):
    cdef PortRecord record
    cdef list slots                 # Region by slot number
    cdef grow(self)
    cdef int take_block(self, uint64_t port, int size, uint8_t* to, uint64_t count, uint64_t* moved) except -1
    cdef int give_block(self, uint64_t port, int size, const uint8_t* data, uint64_t count, uint64_t* moved) except -1

@cython.final
cdef class MmioSpace(AddressSpace):
    cdef MmioRecord record
    cdef list ordered               # claimed regions by base
    cdef Region last
    cdef Py_ssize_t position(self, uint64_t address)
    cdef forget(self)
