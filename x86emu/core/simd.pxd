# cython: language_level=3
# What the SIMD handlers share: access to MMX and XMM registers by element, the MMX state (SDM 1, 9.5 and 9.6.2), and the end
# of an SSE floating-point instruction (SDM 1, 11.5.3 and 11.5.4).
#
# Loops over elements read the operands and write a local array that is copied to the destination afterwards: the compiler
# then knows that nothing overlaps, and makes vector instructions of them.
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t, int8_t, int16_t, int32_t, int64_t
from x86emu.core.state cimport *
from x86emu.core.softfloat cimport MXCSR_BEFORE, MXCSR_MASK_SHIFT
from x86emu.core.x87 cimport pending_exception

cdef enum:
    STATUS_ES = 0x80            # x87 status word: an unmasked exception is pending
    STATUS_TOP = 0x3800

cdef inline void* xmm(Cpu* c, uint8_t n) noexcept nogil:
    return <void*>&c.vec[n]

cdef inline void* mm(Cpu* c, uint8_t n) noexcept nogil:
    return <void*>&c.fpu.st[n].mantissa

cdef inline bint mmx_ready(Cpu* c, Insn* i) noexcept nogil:
    """False: a pending x87 exception was reported (#MF, or FERR# by CR0.NE); the handler returns."""
    if unlikely(c.fpu.status & STATUS_ES):
        return pending_exception(c, i)
    return True

cdef inline void mmx_used(Cpu* c) noexcept nogil:
    """Every MMX instruction but EMMS makes TOP 0 and all tags valid."""
    c.fpu.status &= <uint16_t>(0xFFFF ^ STATUS_TOP)
    c.fpu.valid = 0xFF

cdef inline void mmx_written(Cpu* c, uint8_t n) noexcept nogil:
    """After a write to MMn: exponent and sign are all ones."""
    mmx_used(c)
    c.fpu.st[n].sign_exponent = 0xFFFF

cdef inline bint float_done(Cpu* c, Insn* i, uint32_t flags) noexcept nogil:
    """Sets the exceptions of an SSE instruction. False: one of them is unmasked, #XM or #UD was raised, the destination is
    to be left as it was and the handler returns. Unmasked invalid, denormal or zero-divide keep the others from being found."""
    cdef uint32_t unmasked = flags & ~(c.mxcsr >> MXCSR_MASK_SHIFT)
    if unlikely(unmasked != 0):
        if unmasked & MXCSR_BEFORE:
            flags &= MXCSR_BEFORE
        c.mxcsr |= flags
        fault(c, i, V_XM if c.cr4 & CR4_OSXMMEXCPT else V_UD)
        return False
    c.mxcsr |= flags
    return True
