"""Handlers of the data transfers, by form and size (SDM 2: MOV, MOVZX, LEA, XCHG, CMOVcc, SETcc, PUSH, POP ...)."""

from __future__ import annotations

from x86emu._gen.forms_alu import ADDRESSES, MEMORY_FIRST_REGISTER, SIZES, handler, load, loading, register, storing

CONDITIONS = ("O", "NO", "B", "NB", "Z", "NZ", "BE", "NBE", "S", "NS", "P", "NP", "L", "NL", "LE", "NLE")
SIGNED = {"b": "int8_t", "w": "int16_t", "d": "int32_t"}
WIDER = (("w", "b"), ("d", "b"), ("q", "b"), ("w", "w"), ("d", "w"), ("q", "w"))
BYTES = {"w": 2, "d": 4, "q": 8}


def store(ctype: str, value: str) -> tuple[str, ...]:
    """Statements that store value to the memory operand."""
    return (f"if unlikely(not st(c, i, ea_of(c, i), <{ctype}>({value}))):", "    return")


def moves(size: str) -> str:
    """MOV and XCHG."""
    ctype = SIZES[size]
    source = register(MEMORY_FIRST_REGISTER, ctype)
    out = handler(f"MOV_R{size}_R{size}", f"set_r(c, i.dst, {register('src', ctype)})")
    out += handler(f"MOV_R{size}_I", f"set_r(c, i.dst, <{ctype}>i.imm)")
    out += loading(f"MOV_R{size}_M{size}", ctype, "set_r(c, i.dst, {v})")
    out += storing(f"MOV_M{size}_R{size}", ctype, source)
    out += storing(f"MOV_M{size}_I", ctype, "i.imm")
    out += handler(
        f"XCHG_R{size}_R{size}",
        f"cdef {ctype} v = {register('dst', ctype)}",
        f"set_r(c, i.dst, {register('src', ctype)})",
        "set_r(c, i.src, v)",
    )
    exchange = (
        f"cdef {ctype} v",
        "cdef uint64_t ea = ea_of(c, i)",
        f"cdef void* p = rmw_pointer(c, ea, <{ctype}>0)",
        "if unlikely(not rmw_load(c, i, ea, p, &v)):",
        "    return",
        f"rmw_store(c, i, ea, p, {source})",
        f"set_r(c, i.{MEMORY_FIRST_REGISTER}, v)",
    )
    return out + handler(f"XCHG_M{size}_R{size}", *exchange)


def extensions() -> str:
    """MOVZX, MOVSX and MOVSXD."""
    out = ""
    for wide, narrow in WIDER:
        target, source, signed = SIZES[wide], SIZES[narrow], SIGNED[narrow]
        value = register("src", source)
        out += handler(f"MOVZX_R{wide}_R{narrow}", f"set_r(c, i.dst, <{target}>{value})")
        out += loading(f"MOVZX_R{wide}_M{narrow}", source, f"set_r(c, i.dst, <{target}>{{v}})")
        out += handler(f"MOVSX_R{wide}_R{narrow}", f"set_r(c, i.dst, <{target}><{signed}>{value})")
        out += loading(f"MOVSX_R{wide}_M{narrow}", source, f"set_r(c, i.dst, <{target}><{signed}>{{v}})")
    out += handler("MOVSXD_Rw_Rw", f"set_r(c, i.dst, {register('src', 'uint16_t')})")
    out += loading("MOVSXD_Rw_Mw", "uint16_t", "set_r(c, i.dst, {v})")
    for wide in "dq":
        target = SIZES[wide]
        out += handler(f"MOVSXD_R{wide}_Rd", f"set_r(c, i.dst, <{target}><int32_t>{register('src', 'uint32_t')})")
        out += loading(f"MOVSXD_R{wide}_Md", "uint32_t", f"set_r(c, i.dst, <{target}><int32_t>{{v}})")
    return out


def conditional() -> str:
    """CMOVcc and SETcc. CMOVcc reads memory and, at 32 bits, clears the upper half whatever the condition."""
    out = ""
    for code, name in enumerate(CONDITIONS):
        for size in "wdq":
            ctype = SIZES[size]
            dst, src = register("dst", ctype), register("src", ctype)
            out += handler(f"CMOV{name}_R{size}_R{size}", f"set_r(c, i.dst, {src} if condition(c, {code}) else {dst})")
            move = f"set_r(c, i.dst, v if condition(c, {code}) else {dst})"
            out += handler(f"CMOV{name}_R{size}_M{size}", *load(ctype), move)
        out += handler(f"SET{name}_Rb", f"set_r(c, i.dst, <uint8_t>condition(c, {code}))")
        out += handler(f"SET{name}_Mb", *store("uint8_t", f"condition(c, {code})"))
    return out


def stack_place(place: str, entry: str, ctype: str) -> tuple[str, ...]:
    """Statements down to the test for a TLB hit at `place` in the stack, linear; one of 64 bits is that of 64-bit
    mode, whose stack has no base, no limit and no other address size."""
    if ctype == "uint64_t":
        return (
            f"cdef uint64_t sp = {place}",
            "cdef uint64_t linear = sp",
            f"cdef TlbEntry* t = {entry}(c, linear)",
            f"if likely(entry_holds(c, t, linear, <{ctype}>0)):",
        )
    return (
        f"cdef uint64_t sp = ({place}) & c.sp_mask",
        "cdef uint64_t linear = sp + c.stack_base",
        f"cdef TlbEntry* t = {entry}(c, linear)",
        f"if likely(sp < c.stack_limit and entry_holds(c, t, linear, <{ctype}>0)):",
    )


def on_stack(name: str, ctype: str, entry: str, place: str, *hit: str) -> str:
    """A handler for an implicit stack access without SS checks at place that hits the TLB; the rest is NAME_slowly."""
    declarations = [line.split(" = ")[0] for line in hit if line.startswith("cdef ")]
    statements = [line.removeprefix(f"cdef {ctype} ") for line in hit]
    lines = [
        *declarations,
        *stack_place(place, entry, ctype),
        *(f"    {line}" for line in (*statements, "chain(c, i)")),
        "else:",
        f"    {name}_slowly(c, i)",
    ]
    return f"cdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n" + "".join(f"    {line}\n" for line in lines) + "\n"


def stack(size: str) -> str:
    """PUSH, POP, LEAVE, PUSHA and POPA. The row of POP (`pops`) lets the decoder address memory by the rSP after it."""
    ctype = SIZES[size]
    pushed = ("if unlikely(not push(c, i, {})):", "    return")
    out = ""
    for form, value in ((f"R{size}", register("dst", ctype)), (f"I_{size}", f"<{ctype}>i.imm")):
        out += handler(f"PUSH_{form}_slowly", pushed[0].format(value), pushed[1])
        out += on_stack(f"PUSH_{form}", ctype, "write_entry", f"c.r[RSP] - {BYTES[size]}",
                        f"(<{ctype}*>(t.addend + linear))[0] = {value}", f"move_sp(c, sp, <{ctype}>0)")  # fmt: skip
    out += handler(f"PUSH_M{size}", *load(ctype), pushed[0].format("v"), pushed[1])
    popped = (f"cdef {ctype} v", "if unlikely(not pop(c, i, &v)):", "    return")
    out += handler(f"POP_R{size}_slowly", *popped, "set_r(c, i.dst, v)")
    value = f"cdef {ctype} v = (<{ctype}*>(t.addend + linear))[0]"
    out += on_stack(f"POP_R{size}", ctype, "read_entry", "c.r[RSP]", value,
                    f"move_sp(c, sp + {BYTES[size]}, <{ctype}>0)", "set_r(c, i.dst, v)")  # fmt: skip
    out += handler(
        f"POP_M{size}",
        f"cdef {ctype} v",
        "if unlikely(not stack_load(c, i, c.r[RSP], &v)):",
        "    return",
        "if unlikely(not st(c, i, ea_of(c, i), v)):",
        "    return",
        f"set_sp(c, c.r[RSP] + {BYTES[size]})",
    )
    out += handler(
        f"LEAVE_{size}",
        f"cdef {ctype} v",
        "if unlikely(not stack_load(c, i, c.r[RBP], &v)):",
        "    return",
        f"set_sp(c, c.r[RBP] + {BYTES[size]})",
        "set_r(c, RBP, v)",
    )
    if size != "q":
        step = BYTES[size]
        pushes: list[str] = []
        # POPA: each register is loaded before the next one is read; rSP moves last, so that a fault can be restarted
        pops: list[str] = [f"cdef {ctype} v"]
        for place, number in enumerate(("RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI"), 1):
            pushes += [f"if not stack_store(c, i, c.r[RSP] - {place * step}, <{ctype}>c.r[{number}]):", "    return"]
        for place, number in enumerate(("RDI", "RSI", "RBP", "RSP", "RBX", "RDX", "RCX", "RAX")):
            pops += [f"if not stack_load(c, i, c.r[RSP] + {place * step}, &v):", "    return"]
            pops += [f"set_r(c, {number}, v)"] if number != "RSP" else []
        out += handler(f"PUSHA_{size}", *pushes, f"set_sp(c, c.r[RSP] - {8 * step})")
        out += handler(f"POPA_{size}", *pops, f"set_sp(c, c.r[RSP] + {8 * step})")
    return out


def generate() -> dict[str, str]:
    """The .pxi files of this family."""
    text = "# Generated by x86emu/_gen/forms_move.py\n\n"
    text += "".join(moves(size) for size in SIZES) + extensions() + conditional()
    for size in "wdq":
        for suffix, address in ADDRESSES.items():
            text += handler(f"LEA_R{size}_M{suffix}", f"set_r(c, i.dst, <{SIZES[size]}>{address})")
        text += stack(size)
    return {"forms_move.pxi": text}
