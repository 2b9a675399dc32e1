"""Handlers of near transfers of control, by condition, operand and address size (SDM 2A; helpers: control.pxd)."""

from __future__ import annotations

from x86emu._gen.forms_alu import SIZES
from x86emu._gen.forms_move import BYTES, CONDITIONS, stack_place

COUNTERS = {"w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}
COMBINATIONS = (("w", "w"), ("w", "d"), ("d", "w"), ("d", "d"), ("q", "d"), ("q", "q"), ("w", "q"))
"""Operand and address size: 64-bit code has no 16 bits of address, and 16 bits of operand on AMD's processors only."""


def terminal(name: str, *lines: str) -> str:
    """A handler that ends its trace."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"cdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n{body}\n"


def branch(name: str, size: str, condition: str, *before: str) -> str:
    """A conditional branch."""
    return terminal(
        name,
        *before,
        f"if {condition}:",
        f"    take_{size}(c, i, target_{size}(c, i))",
        "else:",
        f"    fall_{size}(c, i)",
    )


def counted(size: str, address: str) -> str:
    """LOOP, LOOPE, LOOPNE and JCXZ. The counter changes only when the branch cannot fault any more."""
    ctype = COUNTERS[address]
    count = f"cdef {ctype} count = <{ctype}>(<{ctype}>c.r[RCX] - 1)"
    out = ""
    for name, condition in (
        ("LOOP", "count != 0"), ("LOOPE", "count != 0 and get_zf(c)"), ("LOOPNE", "count != 0 and not get_zf(c)")
    ):  # fmt: skip
        out += terminal(
            f"{name}_J{size}_{address}",
            count,
            f"cdef uint64_t rip = target_{size}(c, i)",
            f"if {condition}:",
            "    if unlikely(not check_target(c, i, rip)):",
            "        return",
            "    set_r(c, RCX, count)",
            f"    take_{size}(c, i, rip)",
            "else:",
            "    set_r(c, RCX, count)",
            f"    fall_{size}(c, i)",
        )
    return out + branch(f"JCXZ_J{size}_{address}", size, f"<{ctype}>c.r[RCX] == 0")


def pushing(size: str, i: str = "i") -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Statements of a near CALL down to the test for room on the stack, and those that push. i: the CALL's record."""
    ctype = SIZES[size]
    room = stack_place(f"c.r[RSP] - {BYTES[size]}", "write_entry", ctype)
    return room, (
        f"(<{ctype}*>(t.addend + linear))[0] = <{ctype}>next_rip_{size}(c, {i})",
        f"move_sp(c, sp, <{ctype}>0)",
        f"expect_return_{size}(c, {i})",
    )


def read_target(size: str, address: str, *slowly: str) -> tuple[str, ...]:
    """Statements that read an indirect branch's target, rip, in memory at ea; what is no TLB hit goes the slow way."""
    ctype = SIZES[size]
    return (
        f"cdef {ctype} rip",
        address,
        "cdef TlbEntry* e = read_entry(c, ea)",
        f"if unlikely(not entry_holds(c, e, ea, <{ctype}>0)):",
        *(f"    {line}" for line in slowly),
        "    return",
        f"rip = (<{ctype}*>(e.addend + ea))[0]",
    )


def indirect(
    name: str,
    size: str,
    target: tuple[str, ...],
    by_address: bool,
    *slowly: str,
    before: tuple[str, ...] = (),
    i: str = "i",
) -> str:
    """JMP or CALL, whose record is i, to the rip that `target` finds, or `slowly` for what is not as usual; `before` is
    what another instruction of the handler's leaves.

    The host mostly mispredicts these branches and then waits for the entry: one that reads its target in memory asks by
    its address (by_address). In 64-bit code the entry vouches for the target as well."""
    entry, first = ("jump_slot(c, ea)", "first_of_slot(c, ea)") if by_address else ("jump_entry(c, rip)", "entry.first")
    known, by_entry = f"target_allowed_{size}(c, rip)", "goto_by(c, entry, rip)"
    if size == "q":
        known, by_entry = "leads_to(c, entry, rip)", f"goto_entry(c, entry, {first}, rip)"
    tests: tuple[str, ...] = (f"if likely({known}):",)
    work: tuple[str, ...] = ()
    if "CALL_" in name:
        room, work = pushing(size, i)
        tests = (*room[:-1], f"{room[-1].removesuffix('):')} and {known}):")
    definitions = [line for line in tests if line.startswith("cdef ")]
    return terminal(
        name,
        *definitions,
        *target,
        f"cdef JumpEntry* entry = {entry}",
        *(line for line in tests if line not in definitions),
        *(f"    {line}" for line in (*before, *work)),
        f"    {by_entry}",
        "else:",
        *(f"    {line}" for line in slowly),
    )


def unconditional(size: str) -> str:
    """JMP, CALL and RET. The target is checked before anything is pushed, and before RET releases the stack.

    Intel's processors, though, have pushed in 64-bit mode when they find it not canonical.
    """
    ctype = SIZES[size]
    checked = ("if unlikely(not check_target(c, i, rip)):", "    return")
    call_checked = ("if unlikely(not check_call(c, i, rip)):", "    return") if size == "q" else checked
    pushed = (f"if unlikely(not push(c, i, <{ctype}>next_rip_of(c, i))):", "    return", f"expect_return_{size}(c, i)")
    allowed = f"target_allowed_{size}(c, rip)"
    out = terminal(f"JMP_J{size}", f"take_{size}(c, i, target_{size}(c, i))")
    direct = f"cdef uint64_t rip = target_{size}(c, i)"
    out += terminal(f"CALL_J{size}_slowly", direct, *call_checked, *pushed, f"take_{size}(c, i, rip)")
    # Each has a form without a stack frame, for TLB hits and targets that are plainly in order, and one for all else.
    room, call = pushing(size)
    out += terminal(
        f"CALL_J{size}",
        direct,
        *room[:-1],
        f"{room[-1].removesuffix('):')} and {allowed}):",
        *(f"    {line}" for line in call),
        f"    take_{size}(c, i, rip)",
        "else:",
        f"    CALL_J{size}_slowly(c, i)",
    )
    wide = size == "q"
    from_register = (f"cdef uint64_t rip = <{ctype}>c.r[i.dst]",)
    from_memory = (
        f"cdef {ctype} rip",
        f"cdef uint64_t ea = {'wide_' if wide else ''}ea_of(c, i)",
        "if unlikely(not ld(c, i, ea, &rip)):",
        "    return",
    )
    otherwise = "goto_unknown(c, rip, {})" if wide else "goto_by(c, {}, rip)"
    for form, slow, entry in (("R", from_register, "jump_entry(c, rip)"), ("M", from_memory, "jump_slot(c, ea)")):
        out += terminal(f"JMP_{form}{size}_slowly", *slow, *checked, otherwise.format(entry))
        out += terminal(f"CALL_{form}{size}_slowly", *slow, *call_checked, *pushed, otherwise.format(entry))
    for name in ("JMP", "CALL"):
        slowly = f"{name}_R{size}_slowly(c, i)"
        out += indirect(f"{name}_R{size}", size, from_register, False, slowly)
        slowly = f"{name}_M{size}_slowly(c, i)"
        target = read_target(size, from_memory[1], slowly)
        out += indirect(f"{name}_M{size}", size, target, True, slowly)
    popped = (f"cdef {ctype} rip", "if unlikely(not stack_load(c, i, c.r[RSP], &rip)):", "    return", *checked)
    released = f"move_sp(c, c.r[RSP] + {BYTES[size]}, <{ctype}>0)"
    out += terminal(f"RET_{size}_slowly", *popped, released, f"goto_return_{size}(c, i, rip)")
    out += terminal(
        f"RET_{size}",
        "cdef uint64_t rip",
        *(("cdef JumpEntry* entry",) if wide else ()),
        *stack_place("c.r[RSP]", "read_entry", ctype),
        f"    rip = (<{ctype}*>(t.addend + linear))[0]",
        *(("    entry = jump_entry(c, rip)",) if wide else ()),
        f"    if likely({'leads_to(c, entry, rip)' if wide else allowed}):",
        f"        {released}",
        f"        {'goto_entry(c, entry, entry.first, rip)' if wide else f'goto_return_{size}(c, i, rip)'}",
        "    else:",
        f"        RET_{size}_slowly(c, i)",
        "else:",
        f"    RET_{size}_slowly(c, i)",
    )
    out += terminal(
        f"RET_I_{size}",
        *popped,
        f"move_sp(c, c.r[RSP] + {BYTES[size]} + <uint16_t>i.imm, <{ctype}>0)",
        f"goto_return_{size}(c, i, rip)",
    )
    return out


def generate() -> dict[str, str]:
    """The .pxi files of this family."""
    text = "# Generated by x86emu/_gen/forms_control.py\n\n"
    for size in "wdq":
        for code, name in enumerate(CONDITIONS):
            text += branch(f"J{name}_J{size}", size, f"condition(c, {code})")
        text += unconditional(size)
    text += "".join(counted(size, address) for size, address in COMBINATIONS)
    return {"forms_control.pxi": text}
