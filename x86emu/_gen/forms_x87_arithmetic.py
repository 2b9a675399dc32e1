"""x87 basic arithmetic (SDM volume 1, 8.3.3): six operations, each with seven kinds of operands.

Addition, subtraction and multiplication come twice: the handler proper does two normal operands with everything
masked, 64-bit precision, round to nearest, a normal result, and calls nothing, so that it needs no stack frame; all
else goes to the general form, NAME_general, by a sibling call.
"""

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

# ----- the quick forms; am, ase and bm, bse are destination and source, status the status word -----
_QUICK_REGISTER = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t status = c.fpu.status
    cdef uint32_t p = ((status >> 11) + {d}) & 7
    cdef F80* a = &c.fpu.st[p]
    cdef F80* b = &c.fpu.st[((status >> 11) + {s}) & 7]
    cdef uint32_t both = (c.fpu.valid >> p) & (c.fpu.valid >> (((status >> 11) + {s}) & 7)) & 1
    cdef uint64_t am = a.mantissa
    cdef uint64_t bm = b.mantissa
    cdef uint32_t ase = a.sign_exponent
    cdef uint32_t bse = b.sign_exponent{flip}
    cdef uint64_t hi, lo
    cdef uint32_t ea, eb, n, up, sign
    if unlikely(not both or not quick(status, c.fpu.control)):
        {name}_general(c, i)
        return
{compute}
    a.mantissa = hi
    a.sign_exponent = <uint16_t>(sign | ea)
    note(c, i)
    c.fpu.status = <uint16_t>({status} | up << 9 | (SW_PE if lo else 0)){pop}
    chain(c, i)
"""

_QUICK_MEMORY = """
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint32_t status = c.fpu.status
    cdef uint32_t p = (status >> 11) & 7
    cdef F80* a = &c.fpu.st[p]
    cdef uint64_t am = a.mantissa
    cdef uint32_t ase = a.sign_exponent
    cdef uint64_t bm
    cdef uint32_t bse
    cdef uint64_t hi, lo
    cdef uint32_t ea, eb, n, up, sign
    cdef uint64_t address = ea_of(c, i)
    cdef {type}* v = <{type}*>plain_read(c, address, {bytes})
    if unlikely(v == NULL or not (c.fpu.valid >> p) & 1 or not quick(status, c.fpu.control)):
        {name}_general(c, i)
        return
    eb = <uint32_t>(v[0] >> {fraction}) & {exponent}
    if unlikely(eb - 1 >= <uint32_t>{exponent} - 1):
        {name}_general(c, i)
        return
    bm = 0x8000000000000000ULL | (<uint64_t>v[0] << {shift} & 0x7FFFFFFFFFFFFFFFULL)
    bse = (<uint32_t>(v[0] >> {sign_shift}) & SIGN) | (eb + (BIAS - {bias})){flip}
{compute}
    a.mantissa = hi
    a.sign_exponent = <uint16_t>(sign | ea)
    note_data(c, i, address)
    c.fpu.status = <uint16_t>((status & ~SW_C1) | up << 9 | (SW_PE if lo else 0))
    chain(c, i)
"""

_QUICK_ADD = """
    ea = ase & EXPONENT
    eb = bse & EXPONENT
    lo = am & bm
    if ea < eb or (ea == eb and am < bm):
        hi = am
        am = bm
        bm = hi
        n = ea
        ea = eb
        eb = n
        sign = bse & SIGN
    else:
        sign = ase & SIGN
    n = ea - eb
    if unlikely(n > 63 or eb == 0 or ea == EXPONENT or not lo >> 63):
        {name}_general(c, i)
        return
    lo = (bm << 1) << (63 - n)
    bm >>= n
    if not (ase ^ bse) & SIGN:
        hi = am + bm
        if hi < am:
            lo = (lo >> 1) | (lo & 1) | (hi << 63)
            hi = (hi >> 1) | 0x8000000000000000ULL
            ea += 1
    else:
        hi = am - bm - (lo != 0)
        lo = 0 - lo
        if not hi >> 63:
            if unlikely(hi == 0):
                {name}_general(c, i)
                return
            n = clz64(hi)
            hi = (hi << n) | (lo >> (64 - n))
            lo <<= n
            ea -= n
"""

_QUICK_MUL = """
    ea = ase & EXPONENT
    eb = bse & EXPONENT
    sign = (ase ^ bse) & SIGN
    if unlikely(ea - 1 >= <uint32_t>0x7FFE or eb - 1 >= <uint32_t>0x7FFE or not (am & bm) >> 63):
        {name}_general(c, i)
        return
    hi = <uint64_t>((<u128>am * bm) >> 64)
    lo = am * bm
    ea = ea + eb - (BIAS - 1)
    if not hi >> 63:
        hi = (hi << 1) | (lo >> 63)
        lo <<= 1
        ea -= 1
"""

_ROUND = """
    up = lo > 0x8000000000000000ULL or (lo == 0x8000000000000000ULL and hi & 1)
    hi += up
    if unlikely(hi == 0):
        hi = 0x8000000000000000ULL
        ea += 1
    if unlikely(ea - 1 >= <uint32_t>0x7FFE):
        {name}_general(c, i)
        return
"""

_OPERANDS = {
    "d": ("uint32_t", "load32(v, 0)", _DENORMAL),
    "q": ("uint64_t", "load64(v, 0)", _DENORMAL),
}
_FORMATS = {
    "d": {"bytes": 4, "fraction": 23, "exponent": "0xFF", "shift": 40, "sign_shift": 16, "bias": 127},
    "q": {"bytes": 8, "fraction": 52, "exponent": "0x7FF", "shift": 11, "sign_shift": 48, "bias": 1023},
}
_INTEGERS = {
    "w": ("uint16_t", "load_integer(<int16_t>v)", ""),
    "d": ("uint32_t", "load_integer(<int32_t>v)", ""),
}
_STATUS_POPPED = "((status + 0x800) & SW_TOP) | (status & ~(SW_TOP | SW_C1))"
_FLIP = {"SUB": "\n    bse ^= SIGN", "SUBR": "\n    ase ^= SIGN"}


def generate() -> dict[str, str]:
    """x87_arithmetic_forms.pxi."""
    text = []
    for operation, call in _CALL.items():
        registers = call.format(d=_A.format("d"), s=_A.format("s"))
        memory = call.format(d=_A.format("d"), s="m.mantissa, m.sign_exponent")
        compute = {"MUL": _QUICK_MUL, "DIV": "", "DIVR": ""}.get(operation, _QUICK_ADD)
        flip = _FLIP.get(operation, "")
        for suffix, d, s, pops in (
            ("_ST0_STi", "0", "i.src", False),
            ("_STi_ST0", "i.src", "0", False),
            ("P_STi_ST0", "i.src", "0", True),
        ):
            name = f"F{operation}{suffix}"
            general = f"{name}_general" if compute else name
            pop = "\n        pop(c)" if pops else ""
            text.append(_REGISTER.format(name=general, d=d, s=s, call=registers, pop=pop))
            if compute:
                text.append(
                    _QUICK_REGISTER.format(
                        name=name,
                        d=d,
                        s=s,
                        flip=flip,
                        compute=(compute + _ROUND).strip("\n").format(name=name),
                        status=_STATUS_POPPED if pops else "(status & ~SW_C1)",
                        pop="\n    c.fpu.valid &= <uint8_t>~(1 << ((status >> 11) & 7))" if pops else "",
                    )
                )
        for size, (type_, load, denormal) in _OPERANDS.items():
            name = f"F{operation}_ST0_M{size}"
            general = f"{name}_general" if compute else name
            text.append(_MEMORY.format(name=general, type=type_, load=load, call=memory, denormal=denormal))
            if compute:
                text.append(
                    _QUICK_MEMORY.format(
                        name=name,
                        type=type_,
                        flip=flip,
                        compute=(compute + _ROUND).strip("\n").format(name=name),
                        **_FORMATS[size],
                    )
                )
        for size, (type_, load, denormal) in _INTEGERS.items():
            name = f"FI{operation}_ST0_M{size}"
            text.append(_MEMORY.format(name=name, type=type_, load=load, call=memory, denormal=denormal))
    return {"x87_arithmetic_forms.pxi": "".join(text)}
