# cython: language_level=3
# Guest-physical address to backing offset, and bulk access (SDM 3A chapter 12; the map itself is the machine's).
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
