"""Handlers of two- and one-operand arithmetic and logic, by form and size (SDM 2A; helpers in core/alu.pxd).

Forms: RR register, register; RM register, memory; MR memory, register; RI and MI with an immediate; R and M.  A form
that writes only a register has an `_nf` variant that leaves the flags alone, ADC and SBB a `_cf` variant that is right
in CF alone.
"""

from __future__ import annotations

SIZES = {"b": "uint8_t", "w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}
TWO_OPERANDS = ("add", "or", "adc", "sbb", "and", "sub", "xor")
COMPARING = ("cmp", "test")
ONE_OPERAND = ("inc", "dec", "neg", "not")
MEMORY_FIRST_REGISTER = "dst"
"""The record's field that holds the register operand when the first operand is memory."""


def handler(name: str, *lines: str) -> str:
    """One handler in the form that the registration generator finds."""
    body = "".join(f"    {line}\n" for line in lines)
    return f"cdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n{body}    chain(c, i)\n\n"


def register(field: str, ctype: str) -> str:
    """The value of a register operand."""
    return f"get_r(c, i.{field}, <{ctype}>0)"


def load(ctype: str) -> tuple[str, ...]:
    """Statements that load the memory operand into v."""
    return (f"cdef {ctype} v", "if unlikely(not ld(c, i, ea_of(c, i), &v)):", "    return")


def modify(ctype: str, value: str) -> tuple[str, ...]:
    """Statements that replace the memory operand, v, by value."""
    return (
        f"cdef {ctype} v",
        "cdef uint64_t ea = ea_of(c, i)",
        f"cdef void* p = rmw_pointer(c, ea, <{ctype}>0)",
        "if unlikely(not rmw_load(c, i, ea, p, &v)):",
        "    return",
        f"rmw_store(c, i, ea, p, {value})",
    )


HIT = (
    "cdef uint64_t ea = {address}",
    "cdef TlbEntry* t = {entry}(c, ea)",
    "if likely(entry_holds(c, t, ea, <{ctype}>0)):",
)


ADDRESSES = {"": "ea_of(c, i)", "_at_base": "base_ea_of(c, i)", "_indexed": "wide_ea_of(c, i)"}
"""What follows a handler's name, and its address (peephole.address_forms): of any kind; a base and a displacement
without a mask; an index as well."""


def by_address(
    name: str, entry: str, ctype: str, hit: tuple[str, ...], slowly: str, forms: tuple[str, ...] = ("", "_at_base")
) -> str:
    """A handler that does no more than the case of a TLB hit and leaves all others to `slowly`, in several forms."""
    out = ""
    for suffix in forms:
        address = ADDRESSES[suffix]
        setup = "".join(f"    {line.format(entry=entry, ctype=ctype, address=address)}\n" for line in HIT)
        body = "".join(f"        {line}\n" for line in hit)
        out += f"cdef void {name}{suffix}(Cpu* c, Insn* i) noexcept nogil:\n{setup}{body}    else:\n"
        out += f"        {slowly}(c, i)\n\n"
    return out


def in_two(name: str, entry: str, ctype: str, hit: tuple[str, ...], otherwise: tuple[str, ...]) -> str:
    """A handler that does no more than the case of a TLB hit, and NAME_slowly for all others: without the calls of the
    slow path the first one needs no stack frame. Being registered as a handler keeps the second one out of line."""
    slowly = handler(f"{name}_slowly", *otherwise)
    return slowly + by_address(name, entry, ctype, (*hit, "chain(c, i)"), f"{name}_slowly", tuple(ADDRESSES))


def loading(name: str, ctype: str, statement: str) -> str:
    """A handler whose memory operand is {v} in statement."""
    there = statement.replace("{v}", f"(<{ctype}*>(t.addend + ea))[0]")
    return in_two(name, "read_entry", ctype, (there,), (*load(ctype), statement.replace("{v}", "v")))


def storing(name: str, ctype: str, value: str) -> str:
    """A handler that stores value to its memory operand."""
    slow = (f"if unlikely(not st(c, i, ea_of(c, i), <{ctype}>({value}))):", "    return")
    return in_two(name, "write_entry", ctype, (f"(<{ctype}*>(t.addend + ea))[0] = <{ctype}>({value})",), slow)


def modifying(name: str, ctype: str, value: str) -> str:
    """A handler that replaces its memory operand, v in value, by value."""
    there = (f"(<{ctype}*>(t.addend + ea))[0] = {value.replace('{v}', f'(<{ctype}*>(t.addend + ea))[0]')}",)
    return in_two(name, "write_entry", ctype, there, modify(ctype, value.replace("{v}", "v")))


def two_operands(operation: str, size: str) -> str:
    """All forms of an instruction that writes its first operand."""
    ctype, name = SIZES[size], operation.upper()
    dst, src, immediate = register("dst", ctype), register("src", ctype), f"<{ctype}>i.imm"
    out = ""
    for suffix, function in (("", f"alu_{operation}"), ("_nf", f"{operation}_value")):
        out += handler(f"{name}_R{size}_R{size}{suffix}", f"set_r(c, i.dst, {function}(c, {dst}, {src}))")
        out += handler(f"{name}_R{size}_I{suffix}", f"set_r(c, i.dst, {function}(c, {dst}, {immediate}))")
        value = f"set_r(c, i.dst, {function}(c, {dst}, {{v}}))"
        out += loading(f"{name}_R{size}_M{size}{suffix}", ctype, value)
    if operation in ("adc", "sbb"):
        out += handler(f"{name}_R{size}_R{size}_cf", f"set_r(c, i.dst, {operation}_carry(c, {dst}, {src}))")
        out += handler(f"{name}_R{size}_I_cf", f"set_r(c, i.dst, {operation}_carry(c, {dst}, {immediate}))")
    source = register(MEMORY_FIRST_REGISTER, ctype)
    out += modifying(f"{name}_M{size}_R{size}", ctype, f"alu_{operation}(c, {{v}}, {source})")
    out += modifying(f"{name}_M{size}_I", ctype, f"alu_{operation}(c, {{v}}, {immediate})")
    return out


def comparing(operation: str, size: str) -> str:
    """All forms of CMP or TEST."""
    ctype, name = SIZES[size], operation.upper()
    dst, src, immediate = register("dst", ctype), register("src", ctype), f"<{ctype}>i.imm"
    out = handler(f"{name}_R{size}_R{size}", f"alu_{operation}(c, {dst}, {src})")
    out += handler(f"{name}_R{size}_I", f"alu_{operation}(c, {dst}, {immediate})")
    out += loading(f"{name}_R{size}_M{size}", ctype, f"alu_{operation}(c, {dst}, {{v}})")
    source = register(MEMORY_FIRST_REGISTER, ctype)
    out += loading(f"{name}_M{size}_R{size}", ctype, f"alu_{operation}(c, {{v}}, {source})")
    out += loading(f"{name}_M{size}_I", ctype, f"alu_{operation}(c, {{v}}, {immediate})")
    return out


def one_operand(operation: str, size: str) -> str:
    """Both forms of INC, DEC, NEG or NOT."""
    ctype, name = SIZES[size], operation.upper()
    out = handler(f"{name}_R{size}", f"set_r(c, i.dst, alu_{operation}(c, {register('dst', ctype)}))")
    if operation != "not":
        out += handler(f"{name}_R{size}_nf", f"set_r(c, i.dst, {operation}_value(c, {register('dst', ctype)}))")
    return out + modifying(f"{name}_M{size}", ctype, f"alu_{operation}(c, {{v}})")


def generate() -> dict[str, str]:
    """The .pxi files of this family."""
    text = "# Generated by x86emu/_gen/forms_alu.py\n\n"
    for size in SIZES:
        text += "".join(two_operands(operation, size) for operation in TWO_OPERANDS)
        text += "".join(comparing(operation, size) for operation in COMPARING)
        text += "".join(one_operand(operation, size) for operation in ONE_OPERAND)
    return {"forms_alu.pxi": text}
