# cython: language_level=3
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport Cpu, Insn, CR4_LA57

# --- data accesses at the current CPL (used through memory_access.pxd) ---
cdef bint slow_load(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil       # value in c.mtmp
cdef bint slow_store(Cpu* c, Insn* i, uint64_t ea, uint64_t value, uint32_t size) noexcept nogil
cdef bint slow_rmw(Cpu* c, Insn* i, uint64_t ea, uint32_t size) noexcept nogil
cdef bint slow_bytes(Cpu* c, Insn* i, uint64_t ea, uint8_t* buffer, uint32_t n, bint write) noexcept nogil
cdef bint slow_probe(Cpu* c, Insn* i, uint64_t ea, uint32_t n, bint write) noexcept nogil
# Host address of [ea, ea + n) within one page if plain RAM (no MMIO, no code page for writes, no watchpoint), NULL if not.
# Never faults: *fault_free is False when an access there would fault or is not plain; callers then go element by element.
cdef uint8_t* host_pointer(Cpu* c, uint64_t ea, uint32_t n, bint write) noexcept nogil

# --- implicit supervisor accesses to descriptor tables and the TSS (SDM 3A 4.6.1: always supervisor mode) ---
cdef bint system_load(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value) noexcept nogil
cdef bint system_store(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value) noexcept nogil
cdef bint system_probe(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write) noexcept nogil

# --- explicit privilege: accesses to a new stack during a privilege change happen with the new CPL ---
cdef bint load_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t* value, int cpl) noexcept nogil
cdef bint store_as(Cpu* c, Insn* i, uint64_t linear, uint32_t size, uint64_t value, int cpl) noexcept nogil
cdef bint probe_as(Cpu* c, Insn* i, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil

# Host address of n bytes of a stack within one page, if a cached translation lets cpl read or write them; else NULL.
cdef uint8_t* frame_pointer(Cpu* c, uint64_t linear, uint32_t n, bint write, int cpl) noexcept nogil
cdef inline bint canonical(Cpu* c, uint64_t address) noexcept nogil:
    """SDM volume 1, 3.3.7.1."""
    cdef int bits = 57 if c.cr4 & CR4_LA57 else 48
    cdef int64_t top = <int64_t>address >> (bits - 1)
    return top == 0 or top == -1

# --- for the trace builder ---
cdef bint translate_code(Cpu* c, uint64_t linear, uint64_t* physical) noexcept nogil
cdef uint8_t fetch_byte(Cpu* c, uint64_t physical) noexcept nogil
# After the fact: set by whoever raises faults outside an instruction (event delivery): i may be NULL everywhere above.
