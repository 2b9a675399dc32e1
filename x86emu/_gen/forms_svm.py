"""The control block's offsets, VMRUN's checks and the instruction intercepts for the core, from x86emu/virt/svm."""

from __future__ import annotations

from x86emu.isa import intercepts
from x86emu.isa.intercepts import KINDS
from x86emu.virt.svm.checks import CHECKS
from x86emu.virt.svm.checks import ENVIRONMENT as ENVIRONMENT_NAMES
from x86emu.virt.svm.exits import instruction_table
from x86emu.virt.svm.vmcb import CLEAN_AREAS, CLEAN_BIT, FIELDS

VOLATILE = ("host_paging", "bad_pdptes", "user_shadow_stack")
"""What is no fact of the processor: rows about it are looked at whatever the clean bits say."""
LOADS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "uint64_t"}


def generate() -> dict[str, str]:
    """vmcb_layout.pxi: an enum of offsets; svm_checks.pxi: failed_check(), 0 or 1 + the row that a block
    breaks; svm_intercepts.pxi: the kinds of instructions and what intercepts each."""
    layout = ["cdef enum:"] + [f"    VMCB_{field.name.upper()} = 0x{field.offset:X}" for field in FIELDS.values()]
    used = sorted({name for check in CHECKS for name in check.fields}, key=lambda name: FIELDS[name].offset)
    layout += [f"    CLEAN_{area.upper()} = 0x{1 << bit:X}" for bit, area in enumerate(CLEAN_AREAS)]
    lines = [
        "cdef uint32_t failed_check(const uint8_t* block, const uint8_t* cached, uint32_t clean,",
        "                           const CheckEnvironment* e) noexcept nogil:",
        '    """0 where every row holds; else 1 + the number of the first row that the block breaks.  Fields of clean',
        '    areas come from the cached block, and rows about nothing else are not looked at."""',
    ]
    for name in used:
        field = FIELDS[name]
        source = f"(cached if clean & 0x{1 << CLEAN_BIT[name]:X} else block)" if name in CLEAN_BIT else "block"
        lines.append(f"    cdef uint64_t {name} = (<const {LOADS[field.width]}*>({source} + 0x{field.offset:X}))[0]")
    for name in ENVIRONMENT_NAMES:
        lines.append(f"    cdef uint64_t {name} = e.{name}")
    for number, check in enumerate(CHECKS):
        areas = sum({1 << CLEAN_BIT[name] for name in check.fields if name in CLEAN_BIT})
        volatile = any(name in check.condition for name in VOLATILE)
        constant = not volatile and all(name in CLEAN_BIT for name in check.fields)
        dirty = f"(clean & 0x{areas:X}) != 0x{areas:X} and " if constant else ""
        lines += [f"    if {dirty}({check.condition}):    # {check.identity}", f"        return {number + 1}"]
    lines.append("    return 0")
    kinds = ["cdef enum:"] + [f"    KIND_{name} = {number}" for name, number in KINDS.items()]
    kinds += [f"    {name} = {value}" for name, value in vars(intercepts).items() if name.startswith("DETAIL_")]
    struct = ["cdef struct CheckEnvironment:"] + [f"    uint64_t {name}" for name in ENVIRONMENT_NAMES]
    return {
        "svm_intercepts.pxi": "\n".join(kinds) + f"\n\ncdef bytes INTERCEPTS = {instruction_table()!r}\n",
        "vmcb_layout.pxi": "\n".join(layout) + "\n",
        "svm_checks.pxi": "\n".join(struct) + "\n\n" + "\n".join(lines) + "\n",
    }


