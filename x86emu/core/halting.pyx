# cython: language_level=3
"""HLT, MONITOR and MWAIT (Intel SDM volume 2A and 2B; volume 3A, 8.10.4).

Departures, all within what the manual allows: MONITOR takes its address in DS without a segment override; an MWAIT wakes
when the monitored line's contents change, looked at whenever the processor's turn comes.
"""
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from x86emu.core.state cimport *
from x86emu.core.memory_access cimport ld
from x86emu.core.mmu cimport host_pointer
from x86emu.core.segmentation cimport code64

cdef enum:
    MONITOR_ARMED = 1            # bits of Cpu.monitor_armed; the rest is a digest of the monitored line
    MONITOR_MASKED_BREAK = 2

cdef void HLT(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(c.cpl != 0):
        fault_code(c, i, V_GP, 0)
        return
    finish(c, i)
    c.activity = ACTIVITY_HLT
    c.exit = EXIT_YIELD

cdef uint32_t line_digest(Cpu* c, uint64_t linear) noexcept nogil:
    """A nonzero digest of the 64 bytes at linear in bits 31:2, bit 0 set; 0 where they are no plain memory."""
    cdef uint64_t* line = <uint64_t*>host_pointer(c, linear, 64, 0)
    cdef uint64_t digest = 0xCBF29CE484222325ULL
    cdef int k
    if line == NULL:
        return 0
    for k in range(8):
        digest = (digest ^ line[k]) * 0x9E3779B97F4A7C15ULL
        digest ^= digest >> 29
    return (<uint32_t>(digest ^ digest >> 32) & ~<uint32_t>3) | MONITOR_ARMED

cdef bint monitor_triggered(Cpu* c) noexcept nogil:
    cdef uint32_t now = line_digest(c, c.monitor_address)
    return now == 0 or now != (c.monitor_armed & ~<uint32_t>MONITOR_MASKED_BREAK)

cdef void MONITOR(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t linear = c.r[RAX]
    cdef uint8_t probe
    if unlikely(c.cpl != 0):
        fault(c, i, V_UD)        # not #GP (SDM 2B, MONITOR)
        return
    if unlikely(<uint32_t>c.r[RCX] != 0):
        fault_code(c, i, V_GP, 0)
        return
    if i.aux == 0:
        linear = <uint16_t>linear
    elif i.aux == 1:
        linear = <uint32_t>linear
    if not code64(c):
        if unlikely(not c.seg[DS].access & ACCESS_READ or linear < c.seg[DS].low or linear > c.seg[DS].high):
            fault_code(c, i, V_GP, 0)
            return
        linear = <uint32_t>(linear + c.seg[DS].base)
    if not ld(c, i, linear, &probe):
        return
    c.monitor_address = linear & ~<uint64_t>63
    c.monitor_armed = line_digest(c, c.monitor_address)
    chain(c, i)

cdef void MWAIT(Cpu* c, Insn* i) noexcept nogil:
    if unlikely(c.cpl != 0):
        fault(c, i, V_UD)
        return
    if unlikely(<uint32_t>c.r[RCX] & ~<uint32_t>1):
        fault_code(c, i, V_GP, 0)
        return
    finish(c, i)
    if c.monitor_armed and not monitor_triggered(c):
        if c.r[RCX] & 1:         # an interrupt wakes the processor though IF is 0
            c.monitor_armed |= MONITOR_MASKED_BREAK
        c.activity = ACTIVITY_MWAIT
    c.exit = EXIT_YIELD

include "register_halting.pxi"
