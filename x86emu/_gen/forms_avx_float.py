"""Families of AVX floating-point handlers and of FMA3 (SDM 1, chapter 14; SDM 2A to 2C by name).

The host's arithmetic does where it provably gives the same as softfloat: FLOAT_OPERATIONS of forms_simd.py says when.
"""

from __future__ import annotations

from x86emu._gen.forms_simd import FLOAT_OPERATIONS

# kind, shape -> (host type, bits of an element, elements); scalar kinds keep the rest of the first source
PACKED = {("PS", "V"): ("float", 32, 4), ("PS", "Y"): ("float", 32, 8), ("PD", "V"): ("double", 64, 2),
          ("PD", "Y"): ("double", 64, 4)}  # fmt: skip
SCALAR = {("SS", "V"): ("float", 32, 1), ("SD", "V"): ("double", 64, 1)}


def arithmetic() -> str:
    """VADD VSUB VMUL VDIV VSQRT VMIN VMAX on PS, PD, SS, SD."""
    out = ""
    for name, (result, doubt, rounds) in FLOAT_OPERATIONS.items():
        for (kind, shape), (real, bits, n) in (PACKED | SCALAR).items():
            word, function = f"uint{bits}_t", f"fast_v{name}{kind}{shape}".lower()
            unary = name == "SQRT" and n > 1
            guard = "    if not host_rounds(mxcsr):\n        return False\n" if rounds else ""
            look = f"u = p[{{k}}]\nv = q[{{k}}]\nw = r[{{k}}]\ndoubtful |= {doubt}\n"
            if bits == 32 and n > 1:
                lines = look.format(k="k").splitlines()
                looks = f"    for k in range({n}):\n" + "".join(f"        {line}\n" for line in lines)
            else:
                looks = "".join(f"    {x}\n" for k in range(n) for x in look.format(k=k).splitlines())
            first, second = ("src", "src") if unary else ("src", "index")
            end = "" if shape == "Y" else "        clear_upper(c, i.dst)\n"
            keep = f"        keep_rest(c, i, {bits // 8})\n" if n == 1 else ""
            handler = f"V{name}{kind}_" + "_".join(shape * (2 if unary else 3))
            out += f"""
cdef inline bint {function}({word}* d, {word}* p, {word}* q, uint32_t mxcsr) noexcept nogil:
    cdef {word} r[{n}]
    cdef {word} u, v, w, doubtful = 0
    cdef {real} a, b
    cdef int k
{guard}    for k in range({n}):
        a = (<{real}*>p)[k]
        b = (<{real}*>q)[k]
        (<{real}*>r)[k] = {result}
{looks}    if unlikely(doubtful != 0):
        return False
    memcpy(d, r, {n * bits // 8})
    return True

cdef void {handler}(Cpu* c, Insn* i) noexcept nogil:
    if likely({function}(<{word}*>&c.vec[{"SCRATCH" if n == 1 else "i.dst"}], <{word}*>&c.vec[i.{first}],
                         <{word}*>&c.vec[i.{second}], c.mxcsr)):
{keep}{end}        chain(c, i)
    else:
        arithmetic_{bits}(c, i, FLOAT_{name}, {n}, i.{first}, i.{second})
"""
    return out


def simple() -> str:
    """What has only the exact way: a function called with the number of elements."""
    out = ""

    def handler(name: str, call: str) -> str:
        head = f"\ncdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n"
        return f"{head}    if not {call}:\n        return\n    chain(c, i)\n"

    for (kind, shape), (_, bits, n) in PACKED.items():
        three, lanes = "_".join(shape * 3), n * bits // 128
        for name, operation in (("HADD", "FLOAT_ADD"), ("HSUB", "FLOAT_SUB")):
            out += handler(f"V{name}{kind}_{three}", f"horizontal_{bits}(c, i, {operation}, {lanes})")
        out += handler(f"VADDSUB{kind}_{three}", f"alternate_{bits}(c, i, {lanes})")
        out += handler(f"VCMP{kind}_{three}_I", f"compare_{bits}(c, i, {n})")
        out += handler(f"VROUND{kind}_{shape}_{shape}_I", f"round_{bits}(c, i, {n}, i.src)")
        if (kind, shape) != ("PD", "Y"):
            out += handler(f"VDP{kind}_{three}_I", f"dot_product_{bits}(c, i, {lanes})")
        if kind == "PS":
            for name, root in (("RCP", 0), ("RSQRT", 1)):
                out += handler(f"V{name}PS_{shape}_{shape}", f"approximate(c, i, {n}, {root}, i.src)")
    for (kind, _), (_, bits, _) in SCALAR.items():
        out += handler(f"VCMP{kind}_V_V_V_I", f"compare_{bits}(c, i, 1)")
        out += handler(f"VROUND{kind}_V_V_V_I", f"round_{bits}(c, i, 1, i.index)")
        if kind == "SS":
            for name, root in (("RCP", 0), ("RSQRT", 1)):
                out += handler(f"V{name}SS_V_V_V", f"approximate(c, i, 1, {root}, i.index)")
    return out


ORDERS = {"132": ("dst", "index", "src"), "213": ("src", "dst", "index"), "231": ("src", "index", "dst")}
"""Which operands are multiplied, which is added."""
SIGNS = {"VFMADD": (0, 0, 0), "VFMSUB": (0, 1, 1), "VFNMADD": (1, 0, 0), "VFNMSUB": (1, 1, 1), "VFMADDSUB": (0, 1, 0),
         "VFMSUBADD": (0, 0, 1)}  # fmt: skip
"""Whether the product is negated, the addend of even elements, the addend of odd ones."""


def fused() -> str:
    """FMA3."""
    out = ""
    for order, operands in ORDERS.items():
        x, y, z = (f"i.{operand}" for operand in operands)
        for name, (product, even, odd) in SIGNS.items():
            for (kind, shape), (_, bits, n) in (PACKED if even != odd else PACKED | SCALAR).items():
                signs = product | even << 1 | odd << 2
                out += f"""
cdef void {name}{order}{kind}_{"_".join(shape * 3)}(Cpu* c, Insn* i) noexcept nogil:
    if not multiply_add_{bits}(c, i, {x}, {y}, {z}, {signs}, {n}):
        return
    chain(c, i)
"""
    return out


PACKED_CONVERSIONS = {
    "singles_to_dwords": ("uint32_t", "uint32_t", ", bint truncate", "<uint32_t>f32_to_int(&e, s[k], 32, truncate)"),
    "doubles_to_dwords": ("uint64_t", "uint32_t", ", bint truncate", "<uint32_t>f64_to_int(&e, s[k], 32, truncate)"),
    "dwords_to_singles": ("int32_t", "uint32_t", "", "int_to_f32(&e, s[k])"),
    "singles_to_doubles": ("uint32_t", "uint64_t", "", "f32_to_f64(&e, s[k])"),
    "doubles_to_singles": ("uint64_t", "uint32_t", "", "f64_to_f32(&e, s[k])"),
    "halves_to_singles": ("uint16_t", "uint32_t", "", "f16_to_f32(&e, s[k])"),
    "singles_to_halves": ("uint32_t", "uint16_t", "", "f32_to_f16(&e, s[k], <int>i.imm)"),
}
"""Function: types of source and result, a parameter behind their number, one element."""
SCALAR_CONVERSIONS = {
    "single_to_double": ("uint64_t", "", "f32_to_f64(&e, <uint32_t>c.vec[i.index].q[0])", "put_double"),
    "double_to_single": ("uint32_t", "", "f64_to_f32(&e, c.vec[i.index].q[0])", "put_single"),
    "integer_to_single": ("uint32_t", ", int64_t v", "int_to_f32(&e, v)", "put_single"),
    "integer_to_double": ("uint64_t", ", int64_t v", "int_to_f64(&e, v)", "put_double"),
}
"""Function: type of the result, a further parameter, the result, where it is put."""
CONVERSIONS = {
    "VCVTPS2DQ_V_V": "singles_to_dwords(c, i, 4, 0)",
    "VCVTPS2DQ_Y_Y": "singles_to_dwords(c, i, 8, 0)",
    "VCVTTPS2DQ_V_V": "singles_to_dwords(c, i, 4, 1)",
    "VCVTTPS2DQ_Y_Y": "singles_to_dwords(c, i, 8, 1)",
    "VCVTPD2DQ_V_V": "doubles_to_dwords(c, i, 2, 0)",
    "VCVTPD2DQ_V_Y": "doubles_to_dwords(c, i, 4, 0)",
    "VCVTTPD2DQ_V_V": "doubles_to_dwords(c, i, 2, 1)",
    "VCVTTPD2DQ_V_Y": "doubles_to_dwords(c, i, 4, 1)",
    "VCVTDQ2PS_V_V": "dwords_to_singles(c, i, 4)",
    "VCVTDQ2PS_Y_Y": "dwords_to_singles(c, i, 8)",
    "VCVTDQ2PD_V_V": "dwords_to_doubles(c, i, 2)",
    "VCVTDQ2PD_Y_V": "dwords_to_doubles(c, i, 4)",
    "VCVTPS2PD_V_V": "singles_to_doubles(c, i, 2)",
    "VCVTPS2PD_Y_V": "singles_to_doubles(c, i, 4)",
    "VCVTPD2PS_V_V": "doubles_to_singles(c, i, 2)",
    "VCVTPD2PS_V_Y": "doubles_to_singles(c, i, 4)",
    "VCVTPH2PS_V_V": "halves_to_singles(c, i, 4)",
    "VCVTPH2PS_Y_V": "halves_to_singles(c, i, 8)",
    "VCVTPS2PH_V_V_I": "singles_to_halves(c, i, 4)",
    "VCVTPS2PH_V_Y_I": "singles_to_halves(c, i, 8)",
    "VCVTSS2SD_V_V_V": "single_to_double(c, i)",
    "VCVTSD2SS_V_V_V": "double_to_single(c, i)",
    "VCVTSI2SS_V_V_Rd": "integer_to_single(c, i, <int32_t>c.r[i.index])",
    "VCVTSI2SS_V_V_Rq": "integer_to_single(c, i, <int64_t>c.r[i.index])",
    "VCVTSI2SD_V_V_Rd": "integer_to_double(c, i, <int32_t>c.r[i.index])",
    "VCVTSI2SD_V_V_Rq": "integer_to_double(c, i, <int64_t>c.r[i.index])",
}


def converting_functions() -> str:
    """What the handlers call; False where an exception was raised and the register is as it was."""
    out = ""
    for name, (source, result, parameter, element) in PACKED_CONVERSIONS.items():
        out += f"""
cdef bint {name}(Cpu* c, Insn* i, int n{parameter}) noexcept nogil:
    cdef {source}* s = <{source}*>&c.vec[i.src]
    cdef {result} r[8]
    cdef FloatContext e
    cdef int k
    begin(&e, c)
    for k in range(n):
        r[k] = {element}
    if not float_done(c, i, e.flags):
        return False
    put_result(c, i.dst, r, sizeof({result}) * n)
    return True
"""
    for name, (result, parameter, value, put) in SCALAR_CONVERSIONS.items():
        out += f"""
cdef bint {name}(Cpu* c, Insn* i{parameter}) noexcept nogil:
    cdef FloatContext e
    cdef {result} r
    begin(&e, c)
    r = {value}
    if not float_done(c, i, e.flags):
        return False
    {put}(c, i, r)
    return True
"""
    return out


def conversions() -> str:
    """All conversions."""
    return converting_functions() + "".join(
        f"\ncdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n    if not {call}:\n        return\n    chain(c, i)\n"
        for name, call in CONVERSIONS.items()
    )


def generate() -> dict[str, str]:
    """The files that avx_float.pyx, avx_fma.pyx and avx_convert.pyx include."""
    return {
        "avx_floats.pxi": arithmetic() + simple(),
        "avx_fused.pxi": fused(),
        "avx_conversions.pxi": conversions(),
    }
