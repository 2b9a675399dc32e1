"""x87 loads, stores and conditional moves (SDM volume 1, 8.3.2): families by operand size and condition."""

from __future__ import annotations

_LOAD = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint64_t ea = ea_of(c, i)
    cdef {type} v
    if not ready(c, i) or not ld(c, i, ea, &v):
        return
    note_data(c, i, ea)
    push(c, {load})
    chain(c, i)
"""

# An empty ST0 stores the indefinite of the destination's format if IE is masked.
_STORE = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t s = physical(c, 0)
    cdef uint64_t ea = ea_of(c, i)
    cdef Stored v
    if not ready(c, i):
        return
    if likely(not_empty(c, s)):
        v = {store}
    else:
        v.value = {indefinite}
        v.flags = UNDERFLOW
    if likely(not v.flags & 0x1F & ~<uint32_t>c.fpu.control):
        if not st(c, i, ea, <{type}>v.value):
            return
        note_data(c, i, ea)
        if unlikely(v.flags & ~<uint32_t>c.fpu.control & SW_PE):
            unmasked(c, v.flags)
        set_status(c, v.flags){pop}
    else:
        suppressed_store(c, i, ea, v.flags)
    chain(c, i)
"""

_FCMOV = """
cdef void FCMOV{name}_ST0_STi(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t d = physical(c, 0)
    cdef uint32_t s = physical(c, i.src)
    if not ready(c, i):
        return
    note(c, i)
    if likely((c.fpu.valid >> d) & (c.fpu.valid >> s) & 1):
        if {condition}:
            c.fpu.st[d].mantissa = c.fpu.st[s].mantissa
            c.fpu.st[d].sign_exponent = c.fpu.st[s].sign_exponent
    else:
        stack_underflow(c, d)
    chain(c, i)
"""

_CONSTANT = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    if not ready(c, i):
        return
    note(c, i)
    push(c, {value})
    chain(c, i)
"""

_ST = "c.fpu.st[s].mantissa, c.fpu.st[s].sign_exponent"
_CONDITIONS = {
    "B": "get_cf(c)",
    "E": "get_zf(c)",
    "BE": "get_cf(c) or get_zf(c)",
    "U": "get_pf(c)",
}


def generate() -> dict[str, str]:
    """x87_transfer_forms.pxi."""
    text = [
        _LOAD.format(name="FLD_Md", type="uint32_t", load="load32(v, 1)"),
        _LOAD.format(name="FLD_Mq", type="uint64_t", load="load64(v, 1)"),
        _LOAD.format(name="FILD_Mw", type="uint16_t", load="load_integer(<int16_t>v)"),
        _LOAD.format(name="FILD_Md", type="uint32_t", load="load_integer(<int32_t>v)"),
        _LOAD.format(name="FILD_Mq", type="uint64_t", load="load_integer(<int64_t>v)"),
    ]
    stores = []
    for mnemonic, pops in (("FST", False), ("FSTP", True)):
        stores.append((mnemonic, "d", f"store32({_ST}, c.fpu.control)", "0xFFC00000", pops))
        stores.append((mnemonic, "q", f"store64({_ST}, c.fpu.control)", "0xFFF8000000000000ULL", pops))
    for mnemonic, control, pops in (
        ("FIST", "c.fpu.control", False),
        ("FISTP", "c.fpu.control", True),
        ("FISTTP", "c.fpu.control | CW_ROUNDING", True),
    ):
        for size, indefinite in (("w", "0x8000"), ("d", "0x80000000"), ("q", "0x8000000000000000ULL")):
            if size == "q" and not pops:
                continue
            bits = {"w": 16, "d": 32, "q": 64}[size]
            stores.append((mnemonic, size, f"to_integer80({_ST}, {control}, {bits})", indefinite, pops))
    for mnemonic, size, store, indefinite, pops in stores:
        type_ = {"w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}[size]
        text.append(
            _STORE.format(
                name=f"{mnemonic}_M{size}",
                type=type_,
                store=store,
                indefinite=indefinite,
                pop="\n        pop(c)" if pops else "",
            )
        )
    for name, condition in _CONDITIONS.items():
        text.append(_FCMOV.format(name=name, condition=condition))
        text.append(_FCMOV.format(name=f"N{name}", condition=f"not ({condition})"))
    for index, name in enumerate(("FLD1", "FLDL2T", "FLDL2E", "FLDPI", "FLDLG2", "FLDLN2", "FLDZ")):
        value = {"FLD1": "result80(0x8000000000000000ULL, BIAS, 0)", "FLDZ": "result80(0, 0, 0)"}.get(
            name, f"load_constant({index}, c.fpu.control)"
        )
        text.append(_CONSTANT.format(name=name, value=value))
    return {"x87_transfer_forms.pxi": "".join(text)}
