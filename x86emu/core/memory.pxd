# cython: language_level=3
from libc.stdint cimport uint8_t, uint64_t
from x86emu.core.state cimport Shared

cdef class PhysicalMemory:
    cdef Shared shared
    cdef readonly uint64_t ram_bytes, rom_bytes
    cdef size_t mapped_bytes
    cdef object ram_view, rom_view
    cdef object wiring
    cdef list mappings, smm_mappings
    cdef void dma_write(self, uint64_t physical, const uint8_t* data, uint64_t n) noexcept
    cdef void dma_read(self, uint64_t physical, uint8_t* to, uint64_t n) noexcept
