# cython: language_level=3
# Physical address to backing offset, and accesses by it (SDM 3A chapter 12; the map itself is the machine's).
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from x86emu.core.state cimport *

cdef inline uint64_t backing_of(Memory* m, uint64_t physical, bint write, bint smm) noexcept nogil:
    """Backing offset of a guest-physical address, or all ones where the bus answers."""
    cdef int k
    cdef MapRange* r
    if smm:
        for k in range(m.n_smm_ranges):
            r = &m.smm_ranges[k]
            if physical >= r.start and physical < r.end:
                if (r.write_offset if write else r.read_offset) == 0xFFFFFFFFFFFFFFFFULL:
                    return 0xFFFFFFFFFFFFFFFFULL
                return (r.write_offset if write else r.read_offset) + (physical - r.start)
    cdef uint64_t base
    if physical < 0x100000:
        base = m.low_write[physical >> 12] if write else m.low_read[physical >> 12]
        if base == 0xFFFFFFFFFFFFFFFFULL:
            return base
        return base + (physical & 0xFFF)
    for k in range(m.n_ranges):
        r = &m.ranges[k]
        if physical >= r.start and physical < r.end:
            base = r.write_offset if write else r.read_offset
            if base == 0xFFFFFFFFFFFFFFFFULL:
                return base
            return base + (physical - r.start)
    return 0xFFFFFFFFFFFFFFFFULL

cdef inline uint64_t backing(Cpu* c, uint64_t physical, bint write) noexcept nogil:
    """The same as one processor sees it: all ones for its local APIC's page."""
    if (physical & 0xFFFFFFFFFFFFF000ULL) == c.signals.apic_base and c.signals.apic_read != NULL:
        return 0xFFFFFFFFFFFFFFFFULL
    return backing_of(&c.shared.memory, physical, write, c.in_smm)

# Within one page; i, which may be NULL, is the instruction that the bus access is part of.
cdef uint64_t load_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil
cdef void store_at(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil
cdef uint64_t bus_load(Cpu* c, Insn* i, uint64_t physical, uint32_t size) noexcept nogil
cdef void bus_store(Cpu* c, Insn* i, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil
# A part of an access that crosses a page: byte by byte where the bus answers.
cdef uint64_t load_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n) noexcept nogil
cdef void store_bytes_at(Cpu* c, Insn* i, uint64_t physical, uint32_t n, uint64_t value) noexcept nogil
# Outside any instruction: control blocks, paging structures.
cdef uint64_t physical_load(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil
cdef void physical_store(Cpu* c, uint64_t physical, uint32_t size, uint64_t value) noexcept nogil

cdef inline uint64_t load_entry(Cpu* c, uint64_t physical, uint32_t size) noexcept nogil:
    """A paging-structure entry: nearly always in the RAM above 1 MiB, the first of the ranges."""
    cdef MapRange* r = &c.shared.memory.ranges[0]
    cdef uint8_t* p
    if likely(physical >= r.start and physical >= 0x100000 and physical + 8 <= r.end
              and r.read_offset != 0xFFFFFFFFFFFFFFFFULL):
        p = c.shared.memory.backing + r.read_offset + (physical - r.start)
        return (<uint64_t*>p)[0] if size == 8 else (<uint32_t*>p)[0]
    return load_at(c, NULL, physical, size)
