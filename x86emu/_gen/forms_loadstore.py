"""Records that the decoder puts around register-form handlers: loads to and stores from the temporary registers."""

from __future__ import annotations

_INTEGER = {"b": "uint8_t", "w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}

_LOAD = """
cdef void LOAD_{s}(Cpu* c, Insn* i) noexcept nogil:
    cdef {t} v
    if not ld(c, i, ea_of(c, i), &v):
        return
    c.r[REG_TMP] = v
    chain(c, i)

cdef void LOADRMW_{s}(Cpu* c, Insn* i) noexcept nogil:
    cdef {t} v
    if not ld_rmw(c, i, ea_of(c, i), &v):
        return
    c.r[REG_TMP] = v
    chain(c, i)

cdef void STORE_{s}(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), <{t}>c.r[REG_TMP]):
        return
    chain(c, i)

cdef void LOADV_{s}(Cpu* c, Insn* i) noexcept nogil:
    cdef {t} v
    if not ld(c, i, ea_of(c, i), &v):
        return
    c.vec[16].q[0] = v
    c.vec[16].q[1] = 0
    chain(c, i)

cdef void LOADRMWV_{s}(Cpu* c, Insn* i) noexcept nogil:
    cdef {t} v
    if not ld_rmw(c, i, ea_of(c, i), &v):
        return
    c.vec[16].q[0] = v
    c.vec[16].q[1] = 0
    chain(c, i)

cdef void STOREV_{s}(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), <{t}>c.vec[16].q[0]):
        return
    chain(c, i)

cdef void LOADP_{s}(Cpu* c, Insn* i) noexcept nogil:
    cdef {t} v
    if not ld(c, i, ea_of(c, i), &v):
        return
    c.fpu.st[8].mantissa = v
    chain(c, i)

cdef void STOREP_{s}(Cpu* c, Insn* i) noexcept nogil:
    if not st(c, i, ea_of(c, i), <{t}>c.fpu.st[8].mantissa):
        return
    chain(c, i)
"""

_UNALIGNED = """
cdef void LOADV_qu(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t v
    if not ld_unaligned(c, i, ea_of(c, i), &v):
        return
    c.vec[16].q[0] = v
    c.vec[16].q[1] = 0
    chain(c, i)

cdef void STOREV_qu(Cpu* c, Insn* i) noexcept nogil:
    if not st_unaligned(c, i, ea_of(c, i), c.vec[16].q[0]):
        return
    chain(c, i)
"""
"""Of VCVTPH2PS and VCVTPS2PH, which do not check alignment (SDM 2A, exception type 11)."""


def generate() -> dict[str, str]:
    """loadstore_forms.pxi."""
    return {"loadstore_forms.pxi": "".join(_LOAD.format(s=s, t=t) for s, t in _INTEGER.items()) + _UNALIGNED}
