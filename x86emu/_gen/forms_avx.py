"""Families of AVX handlers on integers and of those that move data (SDM 1, chapter 14; SDM 2A to 2C by name).

What an instruction does to an element or to a lane of 128 bits is what the SSE instruction does: the tables are those
of forms_simd.py, and more of the same kind. A lane's function is called with {d}, {s}: destination (a copy of the first
source) and second source; {lane} is 0 or 1.
"""

from __future__ import annotations

from x86emu._gen.forms_simd import BITS, HORIZONTAL, SHUFFLES, Elementwise, elementwise

UNARY_ELEMENTS = ("PABSB", "PABSW", "PABSD")
VARIABLE_SHIFTS = [
    Elementwise("PSRLVD", "uint32_t", "a >> b if b < 32 else 0"),
    Elementwise("PSRLVQ", "uint64_t", "a >> b if b < 64 else 0"),
    Elementwise("PSLLVD", "uint32_t", "a << b if b < 32 else 0"),
    Elementwise("PSLLVQ", "uint64_t", "a << b if b < 64 else 0"),
    Elementwise("PSRAVD", "int32_t", "a >> (b if <uint32_t>b < 32 else 31)"),
]
_U8, _U16, _U32, _U64 = (f"<uint{n}_t*>{{d}}, <uint{n}_t*>{{s}}" for n in (8, 16, 32, 64))

# mnemonic -> call
BINARY = {
    name: f"{function}(<{kind}*>{{d}}, <{kind}*>{{s}}, {128 // int(''.join(ch for ch in kind if ch.isdigit()))})"
    for name, (function, kind, _) in (SHUFFLES | HORIZONTAL).items()
}
BINARY_IMMEDIATE = {
    "PALIGNR": f"align_right({_U8}, <uint8_t>i.imm, 16)",
    "SHUFPS": f"shuffle_singles({_U32}, <uint8_t>i.imm)",
    "SHUFPD": f"shuffle_doubles({_U64}, <uint8_t>i.imm >> 2 * {{lane}})",
    "BLENDPS": f"blend({_U32}, <uint8_t>i.imm >> 4 * {{lane}}, 4)",
    "BLENDPD": f"blend({_U64}, <uint8_t>i.imm >> 2 * {{lane}}, 2)",
    "PBLENDW": f"blend({_U16}, <uint8_t>i.imm, 8)",
    "PBLENDD": f"blend({_U32}, <uint8_t>i.imm >> 4 * {{lane}}, 4)",
    "MPSADBW": f"multiple_sad({_U8}, <uint8_t>i.imm >> 3 * {{lane}})",
}
BINARY_PERMUTES = {
    "PERMILPS": f"permute_singles({_U32})",
    "PERMILPD": f"permute_doubles({_U64})",
}
UNARY = {
    "MOVSLDUP": f"duplicate_even({_U32})",
    "MOVSHDUP": f"duplicate_odd({_U32})",
    "MOVDDUP": f"duplicate_low({_U64})",
}
UNARY_IMMEDIATE = {
    "PSHUFD": f"shuffle_dwords({_U32}, <uint8_t>i.imm)",
    "PSHUFLW": f"shuffle_low_words({_U64}, <uint8_t>i.imm)",
    "PSHUFHW": f"shuffle_high_words({_U64}, <uint8_t>i.imm)",
    "PERMILPS": f"shuffle_dwords({_U32}, <uint8_t>i.imm)",
    "PERMILPD": f"pick_doubles({_U64}, <uint8_t>i.imm >> 2 * {{lane}})",
}
BLENDS_BY_SIGN = {"BLENDVPS": "uint32_t", "BLENDVPD": "uint64_t", "PBLENDVB": "uint8_t"}
ACCUMULATIONS = {
    "VPDPBUSD": ("bytes", 0), "VPDPBUSDS": ("bytes", 1), "VPDPWSSD": ("words", 0), "VPDPWSSDS": ("words", 1),
}  # fmt: skip
"""AVX-VNNI: what is multiplied, and whether the sums saturate."""
CRYPTO = {
    "AESENC": f"aes_round({_U8}, encrypt_table, 1)",
    "AESDEC": f"aes_round({_U8}, decrypt_table, 3)",
    "AESENCLAST": f"aes_last({_U8}, sbox, 1)",
    "AESDECLAST": f"aes_last({_U8}, inverse_sbox, 3)",
    "GF2P8MULB": f"multiply_bytes({_U8})",
}
CRYPTO_IMMEDIATE = {
    "PCLMULQDQ": f"carryless_multiply({_U64}, <uint8_t>i.imm)",
    "GF2P8AFFINEQB": f"affine_bytes({_U8}, <uint8_t>i.imm, 0)",
    "GF2P8AFFINEINVQB": f"affine_bytes({_U8}, <uint8_t>i.imm, 1)",
}


def lanes(mnemonic: str, call: str, unary: bool = False, immediate: bool = False, shapes: str = "VY") -> str:
    """The handlers on XMM and YMM registers of what one lane's function does."""
    out = ""
    for shape in shapes:
        width = 128 if shape == "V" else 256
        source = "src" if unary else "index"
        lines = "".join(
            "    " + call.format(d=f"lane(c, SCRATCH, {k})", s=f"lane(c, i.{source}, {k})", lane=k) + "\n"
            for k in range(width // 128)
        )
        name = "_".join([f"V{mnemonic}", *(shape * (2 if unary else 3)), *(["I"] if immediate else [])])
        begin = "" if unary else f"    begin_{width}(c, i.src)\n"
        out += f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
{begin}{lines}    end_{width}(c, i.dst)
    chain(c, i)
"""
    return out


def accumulations(name: str, kind: str, saturate: int) -> str:
    """Sums of products, added to the doublewords of the destination."""
    return "".join(
        f"""
cdef void {name}_{"_".join(shape * 3)}(Cpu* c, Insn* i) noexcept nogil:
    accumulate_{kind}(c, i, {width // 32}, {saturate})
    end_{width}(c, i.dst)
    chain(c, i)
"""
        for shape, width in (("V", 128), ("Y", 256))
    )


ELEMENTS = """
cdef inline void {function}({kind}* d, {kind}* p, {kind}* q) noexcept nogil:
    cdef {kind} r[{n}]
    cdef {kind} a, b
    cdef int k
    for k in range({n}):
        a = p[k]
        b = q[k]
        r[k] = <{kind}>({expression})
    memcpy(d, r, {size})

cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    {function}(<{kind}*>&c.vec[i.dst], <{kind}*>&c.vec[i.src], <{kind}*>&c.vec[i.{second}])
{end}    chain(c, i)
"""
# Two elements are not looped over: gcc takes such a loop apart before it could make a vector of it.
PAIRS = """
cdef inline {kind} {function}_element({kind} a, {kind} b) noexcept nogil:
    return <{kind}>({expression})

cdef inline void {function}({kind}* d, {kind}* p, {kind}* q) noexcept nogil:
    cdef {kind} r[2]
    r[0] = {function}_element(p[0], q[0])
    r[1] = {function}_element(p[1], q[1])
    memcpy(d, r, 16)

cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    {function}(<{kind}*>&c.vec[i.dst], <{kind}*>&c.vec[i.src], <{kind}*>&c.vec[i.{second}])
{end}    chain(c, i)
"""


def elements(row: Elementwise) -> str:
    """The handlers of an instruction that treats every element alike."""
    bits = int("".join(ch for ch in row.operand if ch.isdigit()))
    unary = row.mnemonic in UNARY_ELEMENTS
    out = ""
    for shape, width in (("V", 128), ("Y", 256)):
        template = PAIRS if width // bits == 2 else ELEMENTS
        out += template.format(
            function=f"v{row.mnemonic.lower()}_{width}", kind=row.operand, n=width // bits, expression=row.expression,
            size=width // 8, name="_".join([f"V{row.mnemonic}", *(shape * (2 if unary else 3))]),
            second="src" if unary else "index", end="    clear_upper(c, i.dst)\n" if shape == "V" else "",
        )  # fmt: skip
    return out


def extensions() -> str:
    """VPMOVSX and VPMOVZX."""
    out = ""
    for sign, prefix in (("S", "int"), ("Z", "uint")):
        for source, target in ("BW", "BD", "BQ", "WD", "WQ", "DQ"):
            narrow, wide = f"{prefix}{BITS[source]}_t", f"{prefix}{BITS[target]}_t"
            for shape, width in (("V", 128), ("Y", 256)):
                n = width // BITS[target]
                out += f"""
cdef inline void extend_{sign.lower()}{source}{target}_{width}({wide}* d, {narrow}* s) noexcept nogil:
    cdef {wide} r[{n}]
    cdef int k
    for k in range({n}):
        r[k] = s[k]
    memcpy(d, r, {width // 8})

cdef void VPMOV{sign}X{source}{target}_{shape}_V(Cpu* c, Insn* i) noexcept nogil:
    extend_{sign.lower()}{source}{target}_{width}(<{wide}*>&c.vec[i.dst], <{narrow}*>&c.vec[i.src])
{"    clear_upper(c, i.dst)" if shape == "V" else "    pass"}
    chain(c, i)
"""
    return out


def shifts() -> str:
    """Shifts by the low quadword of an XMM register or by an immediate, and of bytes."""
    out = ""
    for mnemonic, function in (("PSLL", "shift_left"), ("PSRL", "shift_right"), ("PSRA", "shift_right")):
        for letter in "WDQ":
            if mnemonic + letter == "PSRAQ":
                continue
            kind = ("int" if mnemonic == "PSRA" else "uint") + f"{BITS[letter]}_t"
            call = f"{function}(<{kind}*>{{d}}, COUNT, {128 // BITS[letter]})"
            by_register = lanes(mnemonic + letter, call.replace("COUNT", "c.vec[i.index].q[0]"))
            out += by_register.replace("_Y_Y_Y(", "_Y_Y_V(")
            by_immediate = lanes(mnemonic + letter, call.replace("COUNT", "<uint8_t>i.imm"))
            out += by_immediate.replace("_V_V_V(", "_V_V_I(").replace("_Y_Y_Y(", "_Y_Y_I(")
    for mnemonic, function in (("PSLLDQ", "shift_left_bytes"), ("PSRLDQ", "shift_right_bytes")):
        text = lanes(mnemonic, f"{function}(<uint64_t*>{{d}}, <uint8_t>i.imm)")
        out += text.replace("_V_V_V(", "_V_V_I(").replace("_Y_Y_Y(", "_Y_Y_I(")
    return out


def integers() -> str:
    """avx_integer.pxi."""
    rows = [row for row in elementwise() if row.xmm and not row.mnemonic.endswith(("PS", "PD"))]
    out = "".join(elements(row) for row in rows + VARIABLE_SHIFTS)
    out += "".join(lanes(name, BINARY[name]) for name in HORIZONTAL)
    out += lanes("MPSADBW", BINARY_IMMEDIATE["MPSADBW"], immediate=True)
    out += "".join(accumulations(name, *facts) for name, facts in ACCUMULATIONS.items())
    out += lanes("PHMINPOSUW", "least_word(<uint64_t*>{d}, <uint16_t*>{s})", unary=True, shapes="V")
    return out + shifts()


def shuffles() -> str:
    """avx_shuffle.pxi."""
    out = "".join(elements(row) for row in elementwise() if row.mnemonic.endswith(("PS", "PD")))
    out += "".join(lanes(name, BINARY[name]) for name in SHUFFLES)
    out += "".join(
        lanes(name, call, immediate=True) for name, call in BINARY_IMMEDIATE.items() if name != "MPSADBW"
    )
    out += "".join(lanes(name, call) for name, call in BINARY_PERMUTES.items())
    for name, kind in BLENDS_BY_SIGN.items():
        text = lanes(name, f"blend_lane(c, i, {{lane}}, <{kind}>0)")
        out += text.replace("_V_V_V(", "_V_V_V_V(").replace("_Y_Y_Y(", "_Y_Y_Y_Y(")
    out += "".join(lanes(name, call, unary=True) for name, call in UNARY.items())
    out += "".join(lanes(name, call, unary=True, immediate=True) for name, call in UNARY_IMMEDIATE.items())
    return out + extensions()


def crypto() -> str:
    """avx_crypto.pxi, included by simd_crypto.pyx, where the functions and their tables are."""
    out = "".join(lanes(name, call) for name, call in CRYPTO.items())
    return out + "".join(lanes(name, call, immediate=True) for name, call in CRYPTO_IMMEDIATE.items())


LOADS = "MOVUPS MOVUPD MOVDQU LDDQU", "MOVAPS MOVAPD MOVDQA MOVNTDQA"
STORES = "MOVUPS MOVUPD MOVDQU", "MOVAPS MOVAPD MOVDQA MOVNTPS MOVNTPD MOVNTDQ"
COPIES = "MOVUPS MOVUPD MOVDQU MOVAPS MOVAPD MOVDQA"


def moves() -> str:
    """avx_moves.pxi: loads, stores and copies of 16 and 32 bytes, which differ in alignment only."""
    out = ""
    for shape, memory, size in (("V", "Mx", 16), ("Y", "My", 32)):
        clear = "        clear_upper(c, i.dst)\n" if size == 16 else ""
        for name in COPIES.split():
            out += f"""
cdef void V{name}_{shape}_{shape}(Cpu* c, Insn* i) noexcept nogil:
    memcpy(&c.vec[i.dst], &c.vec[i.src], {size})
{clear[4:]}    chain(c, i)
"""
        for aligned in (0, 1):
            loads = [(f"V{name}_{shape}_{memory}", "i.dst", clear) for name in LOADS[aligned].split()]
            stores = [(f"V{name}_{memory}_{shape}", "i.dst") for name in STORES[aligned].split()]
            if size == 32 and not aligned:
                # the records around an instruction that has a memory operand but only a register form
                loads.append(("LOADV_yu", "16", ""))
                stores.append(("STOREV_yu", "16"))
            for name, register, end in loads:
                out += f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    if likely(load_vector(c, i, {register}, {size}, {aligned})):
{end}        chain(c, i)
    else:
        load_slowly(c, i, {register}, {size}, {aligned})
"""
            for name, register in stores:
                out += f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    if likely(store_vector(c, i, {register}, {size}, {aligned})):
        chain(c, i)
    else:
        store_slowly(c, i, {register}, {size}, {aligned})
"""
    for name in ("VMOVSS_V_Md", "VMOVD_V_Md", "VMOVSD_V_Mq", "VMOVQ_V_Mq", "VMOVD_V_Mq"):
        bits = 32 if name.endswith("d") else 64
        out += f"""
cdef void {name}(Cpu* c, Insn* i) noexcept nogil:
    cdef uint{bits}_t v
    if likely(load_{bits}(c, i, &v)):
        set_low(c, i.dst, v, 0)
        chain(c, i)
    else:
        load_scalar_slowly(c, i, {bits // 8})
"""
    return out


def masked() -> str:
    """avx_masked.pxi: masked loads and stores, and gathers."""
    out = ""
    for name, bits in (("VMASKMOVPS", 32), ("VMASKMOVPD", 64), ("VPMASKMOVD", 32), ("VPMASKMOVQ", 64)):
        for shape, memory, width in (("V", "Mx", 128), ("Y", "My", 256)):
            n = width // bits
            for form, function in ((f"{shape}_{shape}_{memory}", "load"), (f"{memory}_{shape}_{shape}", "store")):
                out += f"""
cdef void {name}_{form}(Cpu* c, Insn* i) noexcept nogil:
    if not masked_{function}_{bits}(c, i, {n}):
        return
    chain(c, i)
"""
    for name, size in (("VPGATHERD", 32), ("VPGATHERQ", 64), ("VGATHERD", 32), ("VGATHERQ", 64)):
        for kind, bits in (("D", 32), ("Q", 64)) if name.startswith("VP") else (("PS", 32), ("PD", 64)):
            memory = "Md" if bits == 32 else "Mq"
            for long_vector in (False, True):
                elements_ = (256 if long_vector else 128) // max(bits, size)
                shape = "Y" if elements_ * bits == 256 else "V"
                variant = "_long" if long_vector and shape == "V" else ""
                out += f"""
cdef void {name}{kind}_{shape}_{memory}_{shape}{variant}(Cpu* c, Insn* i) noexcept nogil:
    if not gather_{size}_{bits}(c, i, {elements_}, {32 if long_vector else 16}):
        return
    chain(c, i)
"""
    return out


def generate() -> dict[str, str]:
    """The files that the avx_*.pyx modules and simd_crypto.pyx include."""
    return {
        "avx_integers.pxi": integers(),
        "avx_shuffles.pxi": shuffles(),
        "avx_crypto.pxi": crypto(),
        "avx_moves.pxi": moves(),
        "avx_masked.pxi": masked(),
    }
