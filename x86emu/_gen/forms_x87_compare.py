"""x87 comparisons (SDM volume 1, 8.3.6): FCOM and FUCOM with their pops and operands, FCOMI, FTST."""

from __future__ import annotations

# C3, C2, C0 are set and IE, DE noted whether masked or not; an unmasked exception only keeps the stack from popping.
_COMPARE = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t a = physical(c, 0){declarations}
    cdef uint32_t result
    if not ready(c, i){load}:
        return
    {note}
    if likely({valid}):
        result = compare80(c.fpu.st[a].mantissa, c.fpu.st[a].sign_exponent, {operand}, {quiet}){denormal}
    else:
        result = SW_C3 | SW_C2 | SW_C0 | UNDERFLOW
    c.fpu.status &= <uint16_t>~SW_CONDITIONS
    if goes_on(c, result):
        set_status(c, result){pops}
    else:
        c.fpu.status |= <uint16_t>(result & SW_CONDITIONS)
    chain(c, i)
"""

# EFLAGS are set and IE, DE noted whether masked or not; the condition codes stay, C1 too but for an empty
# register.
_COMPARE_FLAGS = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t a = physical(c, 0)
    cdef uint32_t b = physical(c, i.src)
    cdef uint32_t result
    if not ready(c, i):
        return
    note(c, i)
    if likely((c.fpu.valid >> a) & (c.fpu.valid >> b) & 1):
        result = compare80(c.fpu.st[a].mantissa, c.fpu.st[a].sign_exponent,
                           c.fpu.st[b].mantissa, c.fpu.st[b].sign_exponent, {quiet})
    else:
        result = SW_C3 | SW_C2 | SW_C0 | UNDERFLOW
    # C0, C2, C3 stand where CF, PF, ZF are, eight bits up.
    flags_eager(c, (result >> 8) & (FLAG_CF | FLAG_PF | FLAG_ZF))
    result &= ~<uint32_t>SW_CONDITIONS
    if likely(compare_goes_on(c, result)):
        {pops}
    chain(c, i)
"""

_ST = "c.fpu.st[b].mantissa, c.fpu.st[b].sign_exponent"


def generate() -> dict[str, str]:
    """x87_compare_forms.pxi."""
    text = []

    def register(name: str, source: str, quiet: int, pops: int) -> None:
        text.append(
            _COMPARE.format(
                name=name,
                declarations=f"\n    cdef uint32_t b = physical(c, {source})",
                load="",
                note="note(c, i)",
                valid="(c.fpu.valid >> a) & (c.fpu.valid >> b) & 1",
                operand=_ST,
                quiet=quiet,
                denormal="",
                pops="\n        pop(c)" * pops,
            )
        )

    def memory(name: str, type_: str, load: str, pops: int, denormal: bool) -> None:
        text.append(
            _COMPARE.format(
                name=name,
                declarations=f"\n    cdef uint64_t ea = ea_of(c, i)\n    cdef {type_} v\n    cdef Result80 m",
                load=" or not ld(c, i, ea, &v)",
                note=f"note_data(c, i, ea)\n    m = {load}",
                valid="not_empty(c, a)",
                operand="m.mantissa, m.sign_exponent",
                quiet=0,
                denormal="\n        if unlikely(m.flags):\n            result |= denormal_operand(c, a, result)"
                if denormal
                else "",
                pops="\n        pop(c)" * pops,
            )
        )

    for pops, suffix in ((0, ""), (1, "P")):
        register(f"FCOM{suffix}_STi", "i.src", 0, pops)
        register(f"FUCOM{suffix}_STi", "i.src", 1, pops)
        memory(f"FCOM{suffix}_Md", "uint32_t", "load32(v, 0)", pops, True)
        memory(f"FCOM{suffix}_Mq", "uint64_t", "load64(v, 0)", pops, True)
        memory(f"FICOM{suffix}_Mw", "uint16_t", "load_integer(<int16_t>v)", pops, False)
        memory(f"FICOM{suffix}_Md", "uint32_t", "load_integer(<int32_t>v)", pops, False)
        for quiet, name in ((0, "FCOMI"), (1, "FUCOMI")):
            pops_text = "pop(c)" if pops else "pass"
            text.append(_COMPARE_FLAGS.format(name=f"{name}{suffix}_ST0_STi", quiet=quiet, pops=pops_text))
    register("FCOMPP", "1", 0, 2)
    register("FUCOMPP", "1", 1, 2)
    text.append(
        _COMPARE.format(
            name="FTST",
            declarations="",
            load="",
            note="note(c, i)",
            valid="not_empty(c, a)",
            operand="0, 0",
            quiet=0,
            denormal="",
            pops="",
        )
    )
    return {"x87_compare_forms.pxi": "".join(text)}
