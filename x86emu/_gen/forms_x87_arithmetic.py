"""x87 basic arithmetic (SDM volume 1, 8.3.3): six operations, each with seven kinds of operands."""

from __future__ import annotations

_A = "c.fpu.st[{0}].mantissa, c.fpu.st[{0}].sign_exponent"
_CALL = {
    "ADD": "add80({d}, {s}, 0, c.fpu.control)",
    "MUL": "mul80({d}, {s}, c.fpu.control)",
    "SUB": "add80({d}, {s}, SIGN, c.fpu.control)",
    "SUBR": "add80({s}, {d}, SIGN, c.fpu.control)",
    "DIV": "div80({d}, {s}, c.fpu.control)",
    "DIVR": "div80({s}, {d}, c.fpu.control)",
}

# d: ST index of the destination, s: of the source
_REGISTER = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, {d})
    cdef uint32_t s = physical(c, {s})
    cdef Result80 r
    if not ready(c, i):
        return
    note(c, i)
    if likely((c.fpu.valid >> d) & (c.fpu.valid >> s) & 1):
        r = {call}
    else:
        r = indefinite80(UNDERFLOW)
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags){pop}
    chain(c, i)
"""

_MEMORY = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    cdef uint64_t ea = ea_of(c, i)
    cdef {type} v
    cdef Result80 m, r
    if not ready(c, i) or not ld(c, i, ea, &v):
        return
    note_data(c, i, ea)
    m = {load}
    if likely(not_empty(c, d)):
        r = {call}{denormal}
    else:
        r = indefinite80(UNDERFLOW)
    if goes_on(c, r.flags):
        set_register(c, d, r)
        set_status(c, r.flags)
    chain(c, i)
"""

_DENORMAL = """
        if unlikely(m.flags):
            r.flags |= denormal_operand(c, d, r.flags)"""

_OPERANDS = {
    "d": ("uint32_t", "load32(v, 0)", _DENORMAL),
    "q": ("uint64_t", "load64(v, 0)", _DENORMAL),
}
_INTEGERS = {
    "w": ("uint16_t", "load_integer(<int16_t>v)", ""),
    "d": ("uint32_t", "load_integer(<int32_t>v)", ""),
}


def generate() -> dict[str, str]:
    """x87_arithmetic_forms.pxi."""
    text = []
    for operation, call in _CALL.items():
        registers = call.format(d=_A.format("d"), s=_A.format("s"))
        memory = call.format(d=_A.format("d"), s="m.mantissa, m.sign_exponent")
        name = f"F{operation}"
        text.append(_REGISTER.format(name=f"{name}_ST0_STi", d="0", s="i.src", call=registers, pop=""))
        text.append(_REGISTER.format(name=f"{name}_STi_ST0", d="i.src", s="0", call=registers, pop=""))
        text.append(_REGISTER.format(name=f"{name}P_STi_ST0", d="i.src", s="0", call=registers, pop="\n        pop(c)"))
        for size, (type_, load, denormal) in _OPERANDS.items():
            text.append(_MEMORY.format(name=f"{name}_ST0_M{size}", type=type_, load=load, call=memory, denormal=denormal))
        for size, (type_, load, denormal) in _INTEGERS.items():
            name_i = f"FI{operation}_ST0_M{size}"
            text.append(_MEMORY.format(name=name_i, type=type_, load=load, call=memory, denormal=denormal))
    return {"x87_arithmetic_forms.pxi": "".join(text)}
