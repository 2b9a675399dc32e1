"""Families of integer SIMD handlers (SDM 2A to 2C under their mnemonics), for MMX and XMM registers alike.

ELEMENTWISE gives, for each instruction, the element type of operands and result and the result of one element as a
Cython expression of a (destination) and b (source). Everything is done in C's int or wider and cut to the element
type, so that wrap-around is what the manual says; the saturating forms clamp.
"""

from __future__ import annotations

from dataclasses import dataclass

BITS = {"B": 8, "W": 16, "D": 32, "Q": 64}


@dataclass(frozen=True)
class Elementwise:
    """One instruction that treats every element alike."""

    mnemonic: str
    operand: str
    """C type of the elements of a and b; the result has the same width."""
    expression: str
    mmx: bool = True
    xmm: bool = True


def clamp(value: str, low: int, high: int) -> str:
    """A Cython expression for value limited to low..high."""
    return f"({low} if {value} < {low} else ({high} if {value} > {high} else {value}))"


def elementwise() -> list[Elementwise]:
    """The table."""
    rows = []
    for letter, bits in BITS.items():
        unsigned, signed = f"uint{bits}_t", f"int{bits}_t"
        rows += [
            Elementwise(f"PADD{letter}", unsigned, "a + b"),
            Elementwise(f"PSUB{letter}", unsigned, "a - b"),
            Elementwise(f"PCMPEQ{letter}", unsigned, "-1 if a == b else 0", mmx=letter != "Q"),
            Elementwise(f"PCMPGT{letter}", signed, "-1 if a > b else 0", mmx=letter != "Q"),
        ]
        if letter == "Q":
            continue
        for sign, kind in (("S", signed), ("U", unsigned)):
            mmx = (letter, sign) in (("B", "U"), ("W", "S"))
            rows += [
                Elementwise(f"PMIN{sign}{letter}", kind, "a if a < b else b", mmx=mmx),
                Elementwise(f"PMAX{sign}{letter}", kind, "a if a > b else b", mmx=mmx),
            ]
            if letter == "D":
                continue
            low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if sign == "S" else (0, (1 << bits) - 1)
            suffix = ("S" if sign == "S" else "US") + letter
            for name, operator in (("PADD", "+"), ("PSUB", "-")):
                value = f"(<int32_t>a {operator} <int32_t>b)"
                rows.append(Elementwise(name + suffix, kind, clamp(value, low, high)))
        rows += [
            Elementwise(f"PSIGN{letter}", signed, "-b_a if b < 0 else (a if b > 0 else 0)".replace("b_a", "a")),
            Elementwise(f"PABS{letter}", signed, "-b if b < 0 else b"),
        ]
    rows += [
        Elementwise("PAVGB", "uint8_t", "(<uint32_t>a + b + 1) >> 1"),
        Elementwise("PAVGW", "uint16_t", "(<uint32_t>a + b + 1) >> 1"),
        Elementwise("PMULLW", "int16_t", "<int32_t>a * b"),
        Elementwise("PMULHW", "int16_t", "(<int32_t>a * b) >> 16"),
        Elementwise("PMULHUW", "uint16_t", "(<uint32_t>a * b) >> 16"),
        Elementwise("PMULHRSW", "int16_t", "(((<int32_t>a * b) >> 14) + 1) >> 1"),
        Elementwise("PMULLD", "uint32_t", "a * b", mmx=False),
        Elementwise("PMULUDQ", "uint64_t", "(a & 0xFFFFFFFFU) * (b & 0xFFFFFFFFU)"),
        Elementwise("PMULDQ", "int64_t", "<int64_t><int32_t>a * <int32_t>b", mmx=False),
        Elementwise("PAND", "uint32_t", "a & b"),
        Elementwise("PANDN", "uint32_t", "~a & b"),
        Elementwise("POR", "uint32_t", "a | b"),
        Elementwise("PXOR", "uint32_t", "a ^ b"),
    ]
    for kind in ("PS", "PD"):
        for name, expression in (("AND", "a & b"), ("ANDN", "~a & b"), ("OR", "a | b"), ("XOR", "a ^ b")):
            rows.append(Elementwise(name + kind, "uint32_t", expression, mmx=False))
    return rows


LOOP = """
cdef inline void {name}({kind}* d, {kind}* s, int n) noexcept nogil:
    cdef {kind} r[{count}]
    cdef {kind} a, b
    cdef int k
    for k in range(n):
        a = d[k]
        b = s[k]
        r[k] = <{kind}>({expression})
    memcpy(d, r, n * {size})
"""
# Two elements are not looped over: gcc takes such a loop apart before it could make a vector of it.
PAIRWISE = """
cdef inline {kind} {name}_element({kind} a, {kind} b) noexcept nogil:
    return <{kind}>({expression})

cdef inline void {name}({kind}* d, {kind}* s, int n) noexcept nogil:
    cdef {kind} r[2]
    r[0] = {name}_element(d[0], s[0])
    if n == 1:
        d[0] = r[0]
    else:
        r[1] = {name}_element(d[1], s[1])
        memcpy(d, r, 16)
"""


def elementwise_text() -> str:
    """Inline functions over n elements, and the handlers that call them."""
    out = []
    for row in elementwise():
        name = row.mnemonic.lower()
        bits = int("".join(ch for ch in row.operand if ch.isdigit()))
        out.append(
            (PAIRWISE if bits == 64 else LOOP).format(
                name=name, kind=row.operand, expression=row.expression, count=128 // bits, size=bits // 8
            )
        )
        call = f"{name}(<{row.operand}*>{{d}}, <{row.operand}*>{{s}}, {{bytes}} // {bits // 8})"
        out.append(pair_handlers(row.mnemonic, call, row.mmx, row.xmm))
    return "".join(out)


def pair_handlers(mnemonic: str, call: str, mmx: bool = True, xmm: bool = True, immediate: bool = False) -> str:
    """The handlers on MMX and XMM registers of a function `call` of {d}, {s} and {bytes}."""
    suffix = "_I" if immediate else ""
    out = ""
    if xmm:
        body = call.format(d="xmm(c, i.dst)", s="xmm(c, i.src)", bytes=16)
        out += f"""
cdef void {mnemonic}_V_V{suffix}(Cpu* c, Insn* i) noexcept nogil:
    {body}
    chain(c, i)
"""
    if mmx:
        body = call.format(d="mm(c, i.dst)", s="mm(c, i.src)", bytes=8)
        out += f"""
cdef void {mnemonic}_P_P{suffix}(Cpu* c, Insn* i) noexcept nogil:
    if not mmx_ready(c, i):
        return
    {body}
    mmx_written(c, i.dst)
    chain(c, i)
"""
    return out


# Functions of simd_shuffle.pyx: mnemonic -> function (with its element type), MMX too?
SHUFFLES: dict[str, tuple[str, str, bool]] = {
    "PUNPCKLBW": ("unpack_low", "uint8_t", True),
    "PUNPCKLWD": ("unpack_low", "uint16_t", True),
    "PUNPCKLDQ": ("unpack_low", "uint32_t", True),
    "PUNPCKLQDQ": ("unpack_low", "uint64_t", False),
    "PUNPCKHBW": ("unpack_high", "uint8_t", True),
    "PUNPCKHWD": ("unpack_high", "uint16_t", True),
    "PUNPCKHDQ": ("unpack_high", "uint32_t", True),
    "PUNPCKHQDQ": ("unpack_high", "uint64_t", False),
    "UNPCKLPS": ("unpack_low", "uint32_t", False),
    "UNPCKHPS": ("unpack_high", "uint32_t", False),
    "UNPCKLPD": ("unpack_low", "uint64_t", False),
    "UNPCKHPD": ("unpack_high", "uint64_t", False),
    "PACKSSWB": ("pack_signed_words", "int16_t", True),
    "PACKUSWB": ("pack_unsigned_words", "int16_t", True),
    "PACKSSDW": ("pack_signed_dwords", "int32_t", True),
    "PACKUSDW": ("pack_unsigned_dwords", "int32_t", False),
    "PSHUFB": ("shuffle_bytes", "uint8_t", True),
}

HORIZONTAL: dict[str, tuple[str, str, bool]] = {
    "PHADDW": ("horizontal_add", "int16_t", True),
    "PHADDD": ("horizontal_add", "int32_t", True),
    "PHADDSW": ("horizontal_add_saturated", "int16_t", True),
    "PHSUBW": ("horizontal_subtract", "int16_t", True),
    "PHSUBD": ("horizontal_subtract", "int32_t", True),
    "PHSUBSW": ("horizontal_subtract_saturated", "int16_t", True),
    "PMADDWD": ("multiply_add_words", "int16_t", True),
    "PMADDUBSW": ("multiply_add_bytes", "uint8_t", True),
    "PSADBW": ("sum_of_differences", "uint8_t", True),
}


def family_text(table: dict[str, tuple[str, str, bool]]) -> str:
    """Handlers of functions over n elements."""
    out = []
    for mnemonic, (function, kind, mmx) in table.items():
        size = int("".join(ch for ch in kind if ch.isdigit())) // 8
        out.append(pair_handlers(mnemonic, f"{function}(<{kind}*>{{d}}, <{kind}*>{{s}}, {{bytes}} // {size})", mmx))
    return "".join(out)


def extension_text() -> str:
    """PMOVSX and PMOVZX: low elements of the source, made wider."""
    out = []
    for sign, prefix in (("S", "int"), ("Z", "uint")):
        for source, target in ("BW", "BD", "BQ", "WD", "WQ", "DQ"):
            narrow, wide = f"{prefix}{BITS[source]}_t", f"{prefix}{BITS[target]}_t"
            n = 128 // BITS[target]
            out.append(f"""
cdef inline void pmov{sign.lower()}x{source.lower()}{target.lower()}({wide}* d, {narrow}* s) noexcept nogil:
    cdef {wide} r[{n}]
    cdef int k
    for k in range({n}):
        r[k] = s[k]
    memcpy(d, r, 16)

cdef void PMOV{sign}X{source}{target}_V_V(Cpu* c, Insn* i) noexcept nogil:
    pmov{sign.lower()}x{source.lower()}{target.lower()}(<{wide}*>xmm(c, i.dst), <{narrow}*>xmm(c, i.src))
    chain(c, i)
""")
    return "".join(out)


def shift_text() -> str:
    """PSLL, PSRL, PSRA by the low quadword of a register or by an immediate."""
    out = []
    for mnemonic, function in (("PSLL", "shift_left"), ("PSRL", "shift_right"), ("PSRA", "shift_right")):
        for letter in "WDQ":
            if mnemonic + letter == "PSRAQ":
                continue
            kind = ("int" if mnemonic == "PSRA" else "uint") + f"{BITS[letter]}_t"
            n = f"{{bytes}} // {BITS[letter] // 8}"
            by_register = f"{function}(<{kind}*>{{d}}, (<uint64_t*>{{s}})[0], {n})"
            out.append(pair_handlers(mnemonic + letter, by_register))
            out.append(
                pair_handlers(mnemonic + letter, f"{function}(<{kind}*>{{d}}, <uint8_t>i.imm, {n})")
                .replace("_V_V(", "_V_I(")
                .replace("_P_P(", "_P_I(")
            )
    return "".join(out)


# What a load does with the rest of the register: see LOAD_ in simd_move.pyx.
LOADED = {
    "LOAD_ZERO": "set_pair(c, i.dst, v, 0)",
    "LOAD_TWICE": "set_pair(c, i.dst, v, v)",
    "LOAD_LOW": "set_pair(c, i.dst, v, c.vec[i.dst].q[1])",
    "LOAD_HIGH": "set_pair(c, i.dst, c.vec[i.dst].q[0], v)",
}
SCALAR_LOADS = {
    "MOVSS_V_Md": (32, "LOAD_ZERO"),
    "MOVD_V_Md": (32, "LOAD_ZERO"),
    "MOVSD_V_Mq": (64, "LOAD_ZERO"),
    "MOVQ_V_Mq": (64, "LOAD_ZERO"),
    "MOVD_V_Mq": (64, "LOAD_ZERO"),
    "MOVDDUP_V_Mq": (64, "LOAD_TWICE"),
    "MOVLPS_V_Mq": (64, "LOAD_LOW"),
    "MOVLPD_V_Mq": (64, "LOAD_LOW"),
    "MOVHPS_V_Mq": (64, "LOAD_HIGH"),
    "MOVHPD_V_Mq": (64, "LOAD_HIGH"),
}
SCALAR_STORES = {
    "MOVSS_Md_V": (32, 0),
    "MOVD_Md_V": (32, 0),
    "MOVNTSS_Md_V": (32, 0),
    "MOVSD_Mq_V": (64, 0),
    "MOVQ_Mq_V": (64, 0),
    "MOVD_Mq_V": (64, 0),
    "MOVNTSD_Mq_V": (64, 0),
    "MOVLPS_Mq_V": (64, 0),
    "MOVLPD_Mq_V": (64, 0),
    "MOVHPS_Mq_V": (64, 1),
    "MOVHPD_Mq_V": (64, 1),
}
STORES = "MOVUPS MOVUPD MOVDQU"
ALIGNED = "MOVAPS MOVAPD MOVDQA"


def move_text() -> str:
    """The moves of 16 bytes, which differ in alignment only, and of 4 or 8 bytes."""
    out = []
    loads = [(name, False) for name in [*STORES.split(), "LDDQU"]] + [(n, True) for n in [*ALIGNED.split(), "MOVNTDQA"]]
    stores = [(name, False) for name in STORES.split()]
    stores += [(n, True) for n in [*ALIGNED.split(), "MOVNTPS", "MOVNTPD", "MOVNTDQ"]]
    for name in (STORES + " " + ALIGNED).split():
        out.append(f"""
cdef void {name}_V_V(Cpu* c, Insn* i) noexcept nogil:
    move_register(c, i)
    chain(c, i)
""")
    handlers = [(f"{name}_V_Mx", "load_vector", "i.dst", aligned) for name, aligned in loads]
    handlers += [(f"{name}_Mx_V", "store_vector", "i.dst", aligned) for name, aligned in stores]
    # the records around an instruction that has a memory operand but only a register form
    handlers += [("LOADV_x", "load_vector", "16", True), ("LOADV_xu", "load_vector", "16", False)]
    handlers += [("STOREV_x", "store_vector", "16", True), ("STOREV_xu", "store_vector", "16", False)]
    for name, function, register, aligned in handlers:
        out.append(f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    if likely({function}(c, i, {register}, 16, {int(aligned)})):
        chain(c, i)
    else:
        {function}_slowly(c, i, {register}, {int(aligned)})
""")
    for name, (bits, upper) in SCALAR_LOADS.items():
        out.append(
            f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint{bits}_t v
    if likely(load_{bits}(c, i, &v)):
        {{body}}
        chain(c, i)
    else:
        load_slowly(c, i, {bits // 8}, {upper})
""".replace("{body}", LOADED[upper])
        )
    for name, (bits, word) in SCALAR_STORES.items():
        out.append(f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    if likely(store_{bits}(c, i, <uint{bits}_t>c.vec[i.dst].q[{word}])):
        chain(c, i)
    else:
        store_slowly(c, i, {bits // 8}, {word})
""")
    return "".join(out)


FLOAT_KINDS = {"PS": ("float", 32, 4), "PD": ("double", 64, 2), "SS": ("float", 32, 1), "SD": ("double", 64, 1)}
# name -> (result of the host's arithmetic, what makes it doubtful, whether it relies on rounding mode and a sticky PE)
FLOAT_OPERATIONS = {
    "ADD": ("a + b", "denormal(u) | denormal(v) | unusual_sum(w)", True),
    "SUB": ("a - b", "denormal(u) | denormal(v) | unusual_sum(w)", True),
    "MUL": ("a * b", "denormal(u) | denormal(v) | unusual_product(w, u, v)", True),
    "DIV": ("a / b", "denormal(u) | denormal(v) | unusual_quotient(w, u)", True),
    "SQRT": ("square_root(b)", "not_positive(v)", True),
    "MIN": ("a if a < b else b", "denormal(u) | denormal(v) | not_number(u) | not_number(v)", False),
    "MAX": ("a if a > b else b", "denormal(u) | denormal(v) | not_number(u) | not_number(v)", False),
}


def float_text() -> str:
    """ADD SUB MUL DIV MIN MAX SQRT on PS, PD, SS, SD: the host's arithmetic where provably the same, else softfloat.

    u, v, w are the bit patterns of the operands a, b and of the result. Four singles are looked at together, in vector
    code; fewer elements one by one."""
    out = []
    for name, (result, doubt, rounds) in FLOAT_OPERATIONS.items():
        for kind, (real, bits, n) in FLOAT_KINDS.items():
            word = f"uint{bits}_t"
            guard = "    if not host_rounds(mxcsr):\n        return False\n" if rounds else ""
            look = f"""        u = d[{{k}}]
        v = s[{{k}}]
        w = r[{{k}}]
        doubtful |= {doubt}
"""
            if n == 4:
                looks = "    for k in range(4):\n" + look.format(k="k")
            else:
                looks = "".join(look.format(k=k).replace("        ", "    ") for k in range(n))
            out.append(f"""
cdef inline bint fast_{name.lower()}{kind.lower()}({word}* d, {word}* s, uint32_t mxcsr) noexcept nogil:
    cdef {word} r[{n}]
    cdef {word} u, v, w, doubtful = 0
    cdef {real} a, b
    cdef int k
{guard}    for k in range({n}):
        a = (<{real}*>d)[k]
        b = (<{real}*>s)[k]
        (<{real}*>r)[k] = {result}
{looks}    if unlikely(doubtful != 0):
        return False
    memcpy(d, r, {n * bits // 8})
    return True

cdef void {name}{kind}_V_V(Cpu* c, Insn* i) noexcept nogil:
    if likely(fast_{name.lower()}{kind.lower()}(<{word}*>xmm(c, i.dst), <{word}*>xmm(c, i.src), c.mxcsr)):
        chain(c, i)
    else:
        arithmetic_{bits}(c, i, FLOAT_{name}, {n})
""")
    return "".join(out)


def generate() -> dict[str, str]:
    """The files that the simd_*.pyx modules include."""
    return {
        "simd_elementwise.pxi": elementwise_text(),
        "simd_shuffles.pxi": family_text(SHUFFLES) + extension_text(),
        "simd_horizontal.pxi": family_text(HORIZONTAL),
        "simd_shifts.pxi": shift_text(),
        "simd_moves.pxi": move_text(),
        "simd_floats.pxi": float_text(),
    }
