"""RDMSR's and WRMSR's dispatch, from the table x86emu/isa/msrs.py: one switch each for reading, writing, power-on."""

from __future__ import annotations

from x86emu.isa.msrs import MSRS, Msr


def _condition(msr: Msr) -> str:
    """The condition under which the processor lacks the MSR, as a C expression; empty where it always has it."""
    groups = []
    for group in msr.condition:
        terms = [
            {"intel": "m.vendor == VENDOR_INTEL", "amd": "m.vendor == VENDOR_AMD"}.get(
                name, f"c.features[FEATURE_{name.upper()}]"
            )
            for name in group
        ]
        groups.append(f"({' or '.join(terms)})" if len(terms) > 1 else terms[0])
    return " and ".join(groups)


def _ordered() -> list[Msr]:
    """Single numbers first, so that they become one C switch; ranges after them."""
    return sorted(MSRS, key=lambda msr: (msr.first != msr.last, msr.first))


def _test(msr: Msr) -> str:
    if msr.first == msr.last:
        return f"number == 0x{msr.first:X}u"
    return f"0x{msr.first:X}u <= number <= 0x{msr.last:X}u"


def _place(msr: Msr) -> str:
    if msr.storage != "slot":
        return f"c.{msr.storage}"
    if msr.first == msr.last:
        return f"c.other_msrs[{msr.slot}]"
    return f"c.other_msrs[{msr.slot} + number - 0x{msr.first:X}u]"


def _read(msr: Msr) -> list[str]:
    if msr.storage.startswith("@"):
        return [f"return read_{msr.storage[1:]}(c, i, number, value)"]
    source = f"0x{msr.storage[1:]}ULL" if msr.storage.startswith("=") else _place(msr)
    return [f"value[0] = {source}", "return True"]


def _write(msr: Msr) -> list[str]:
    rule, _, mask = msr.write.partition("=")
    match rule:
        case "@":
            return [f"return write_{msr.storage.removeprefix('@')}(c, i, number, value)"]
        case "ro":
            return ["return False"]
        case "ignored":
            return ["return True"]
        case "any":
            return [f"{_place(msr)} = value", "return True"]
        case "keep":
            return [f"{_place(msr)} = value & 0x{mask}ULL", "return True"]
        case "mask":
            return [f"if value & ~0x{mask}ULL:", "    return False", f"{_place(msr)} = value", "return True"]
        case "canonical":
            return ["if not canonical_base(c, value):", "    return False", f"{_place(msr)} = value", "return True"]
    raise ValueError(f"MSR {msr.name}: there is no write rule {msr.write!r}.")


def generate() -> dict[str, str]:
    """Gives msr_dispatch.pxi: read_msr, write_msr (False means #GP(0)) and power_on_msrs."""
    lines: list[str] = []
    for verb, value, body in (("read", "uint64_t* value", _read), ("write", "uint64_t value", _write)):
        lines += [
            f"cdef bint {verb}_msr(Cpu* c, Insn* i, uint32_t number, {value}) noexcept nogil:",
            "    cdef ProcessorModel* m = <ProcessorModel*>c.model",
        ]
        for n, msr in enumerate(_ordered()):
            lines.append(f"    {'elif' if n else 'if'} {_test(msr)}:    # {msr.name}")
            if _condition(msr):
                lines += [f"        if not ({_condition(msr)}):", "            return False"]
            lines += [f"        {line}" for line in body(msr)]
        lines += ["    return False", ""]
    lines.append("cdef void power_on_msrs(Cpu* c) noexcept nogil:")
    lines.append('    """Values after power-on or RESET# (SDM 3A table 10-1); INIT leaves all of these alone."""')
    for msr in MSRS:
        if msr.storage == "slot" and msr.slot is not None:
            lines += [
                f"    c.other_msrs[{msr.slot + k}] = 0x{msr.power_on:X}ULL" for k in range(msr.last - msr.first + 1)
            ]
        elif msr.storage[0] not in "@=" and msr.name not in ("BIOS_SIGN_ID", "SMBASE"):
            lines.append(f"    c.{msr.storage} = 0x{msr.power_on:X}ULL")
    return {"msr_dispatch.pxi": "\n".join(lines) + "\n"}
