# cython: language_level=3
"""Performance counters of AMD's processors and RDPMC (AMD APM volume 2, 13.2; volume 3, RDPMC).

Two events are counted, both by retired instructions, which are virtual time: instructions retired (C0h) and cycles not
halted (76h).  Every other event stays where it is written.  Departures: a counter that counts user or system mode counts
both, and no counter interrupts on overflow.  Intel's models say in CPUID that they have no counters, so that RDPMC is
#GP(0) there.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.features cimport *
from x86emu.core.model cimport ProcessorModel, VENDOR_AMD

cdef enum:
    SELECT_USER = 0x10000
    SELECT_SYSTEM = 0x20000
    SELECT_ENABLE = 0x400000
    EVENT_CYCLES = 0x76
    EVENT_INSTRUCTIONS = 0xC0

cdef uint64_t COUNTER_MASK = 0xFFFFFFFFFFFFULL           # 48 bits
cdef uint64_t SELECT_EVENT = 0xF000000FFULL
cdef uint64_t SELECT_WRITABLE = 0x30FFFFFFFFFULL & ~0x280000ULL      # bits 19 and 21 are reserved

cdef inline bint counting(Cpu* c, uint32_t n) noexcept nogil:
    cdef uint64_t select = c.perf_select[n]
    return (select & SELECT_ENABLE and select & (SELECT_USER | SELECT_SYSTEM)
            and (select & SELECT_EVENT == EVENT_CYCLES or select & SELECT_EVENT == EVENT_INSTRUCTIONS))

cdef inline uint64_t retired_now(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t n
    c.current = i
    n = <uint64_t>retired(c)
    c.current = NULL
    return n

cdef uint64_t counter_value(Cpu* c, Insn* i, uint32_t n) noexcept nogil:
    return (c.perf_counter[n] + (retired_now(c, i) if counting(c, n) else 0)) & COUNTER_MASK

cdef void set_counter(Cpu* c, Insn* i, uint32_t n, uint64_t value) noexcept nogil:
    c.perf_counter[n] = (value - (retired_now(c, i) if counting(c, n) else 0)) & COUNTER_MASK

cdef bint read_perf_legacy(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    """C0010000h to C0010003h select, C0010004h to C0010007h count."""
    value[0] = counter_value(c, i, number & 3) if number & 4 else c.perf_select[number & 3]
    return True

cdef bint write_select(Cpu* c, Insn* i, uint32_t n, uint64_t value) noexcept nogil:
    cdef uint64_t count = counter_value(c, i, n)
    c.perf_select[n] = value & SELECT_WRITABLE
    set_counter(c, i, n, count)
    return True

cdef bint write_perf_legacy(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    if not number & 4:
        return write_select(c, i, number & 3, value)
    set_counter(c, i, number & 3, value)
    return True

cdef bint read_perf_core(Cpu* c, Insn* i, uint32_t number, uint64_t* value) noexcept nogil:
    """C0010200h to C001020Bh: selection and counter by turns."""
    cdef uint32_t n = (number - 0xC0010200u) >> 1
    value[0] = counter_value(c, i, n) if number & 1 else c.perf_select[n]
    return True

cdef bint write_perf_core(Cpu* c, Insn* i, uint32_t number, uint64_t value) noexcept nogil:
    cdef uint32_t n = (number - 0xC0010200u) >> 1
    if not number & 1:
        return write_select(c, i, n, value)
    set_counter(c, i, n, value)
    return True

cdef void RDPMC(Cpu* c, Insn* i) noexcept nogil:
    cdef ProcessorModel* m = <ProcessorModel*>c.model
    cdef uint32_t n = <uint32_t>c.r[RCX]
    if ((c.cpl != 0 and not c.cr4 & CR4_PCE) or m.vendor != VENDOR_AMD
            or n >= (6 if c.features[FEATURE_PERFCTR_CORE] else 4)):
        fault_code(c, i, V_GP, 0)
        return
    c.mtmp = counter_value(c, i, n)
    c.r[RAX] = <uint32_t>c.mtmp
    c.r[RDX] = c.mtmp >> 32
    chain(c, i)

include "register_counters.pxi"
