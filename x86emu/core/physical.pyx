# cython: language_level=3
"""Accesses by physical address, without translation: RAM and ROM by the machine's map, all else by the bus (Intel SDM
volume 3A, chapter 12; the local APIC's page, 10.4.1, belongs to the processor that accesses it).

Paging structures, control blocks and instruction bytes are read this way, and data that the software TLB does not know.
"""
from libc.string cimport memcpy
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.trace cimport holds_code, invalidate_code

cdef uint64_t bus_load(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil:
    cdef uint64_t v
    c.current = i
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_read != NULL:
        v = c.signals.apic_read(c.signals.controller, <uint32_t>(physical & 0xFFF), size)
    elif c.board.mmio_read != NULL:
        v = c.board.mmio_read(c.board.mmio, physical, size)
    else:
        v = 0xFFFFFFFFFFFFFFFFULL
    c.current = NULL
    if size < 8:
        v &= (<uint64_t>1 << (size * 8)) - 1
    return v

cdef void bus_store(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    c.current = i
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_write != NULL:
        c.signals.apic_write(c.signals.controller, <uint32_t>(physical & 0xFFF), size, value)
    elif c.board.mmio_write != NULL:
        c.board.mmio_write(c.board.mmio, physical, size, value)
    c.current = NULL

cdef uint64_t load_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil:
    """Within one page."""
    cdef uint64_t offset = backing(c, physical, 0)
    cdef uint8_t* p
    if offset == 0xFFFFFFFFFFFFFFFFULL:
        return bus_load(c, i, physical, size)
    p = c.shared.memory.backing + offset
    if size == 1:
        return p[0]
    if size == 2:
        return (<uint16_t*>p)[0]
    if size == 4:
        return (<uint32_t*>p)[0]
    if size == 8:
        return (<uint64_t*>p)[0]
    cdef uint64_t v = 0
    memcpy(&v, p, size)
    return v

cdef void store_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    """Within one page."""
    cdef uint64_t offset = backing(c, physical, 1)
    if offset == 0xFFFFFFFFFFFFFFFFULL:
        bus_store(c, i, physical, size, value)
        return
    memcpy(c.shared.memory.backing + offset, &value, size)
    if holds_code(&c.shared.memory, offset, size):
        invalidate_code(c.shared, offset, size)

cdef uint64_t load_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n) noexcept nogil:
    cdef uint64_t v = 0
    cdef uint32_t k
    if backing(c, physical, 0) != 0xFFFFFFFFFFFFFFFFULL:
        return load_at(c, i, physical, n)
    for k in range(n):
        v |= bus_load(c, i, physical + k, 1) << (8 * k)
    return v

cdef void store_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n, uint64_t value) noexcept nogil:
    cdef uint32_t k
    if backing(c, physical, 1) != 0xFFFFFFFFFFFFFFFFULL:
        store_at(c, i, physical, n, value)
        return
    for k in range(n):
        bus_store(c, i, physical + k, 1, (value >> (8 * k)) & 0xFF)

cdef uint64_t physical_load(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil:
    return load_at(c, NULL, physical, size)

cdef void physical_store(Cpu* c, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil:
    store_at(c, NULL, physical, size, value)
