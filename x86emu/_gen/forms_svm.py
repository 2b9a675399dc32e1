"""The control block's offsets and VMRUN's checks for the core, from x86emu/virt/svm/vmcb.py and checks.py."""

from __future__ import annotations

from x86emu.virt.svm.checks import CHECKS
from x86emu.virt.svm.checks import ENVIRONMENT as ENVIRONMENT_NAMES
from x86emu.virt.svm.vmcb import FIELDS

LOADS = {1: "uint8_t", 2: "uint16_t", 4: "uint32_t", 8: "uint64_t", 16: "uint64_t"}


def generate() -> dict[str, str]:
    """vmcb_layout.pxi: an enum of offsets; svm_checks.pxi: failed_check(), 0 or 1 + the row that a block breaks."""
    layout = ["cdef enum:"] + [f"    VMCB_{field.name.upper()} = 0x{field.offset:X}" for field in FIELDS.values()]
    used = sorted({name for check in CHECKS for name in check.fields}, key=lambda name: FIELDS[name].offset)
    lines = [
        "cdef uint32_t failed_check(const uint8_t* block, const CheckEnvironment* e) noexcept nogil:",
        '    """0 where every row holds; else 1 + the number of the first row that the block breaks."""',
    ]
    for name in used:
        field = FIELDS[name]
        lines.append(f"    cdef uint64_t {name} = (<const {LOADS[field.width]}*>(block + 0x{field.offset:X}))[0]")
    for name in ENVIRONMENT_NAMES:
        lines.append(f"    cdef uint64_t {name} = e.{name}")
    for number, check in enumerate(CHECKS):
        lines += [f"    if {check.condition}:    # {check.identity}", f"        return {number + 1}"]
    lines.append("    return 0")
    struct = ["cdef struct CheckEnvironment:"] + [f"    uint64_t {name}" for name in ENVIRONMENT_NAMES]
    return {
        "vmcb_layout.pxi": "\n".join(layout) + "\n",
        "svm_checks.pxi": "\n".join(struct) + "\n\n" + "\n".join(lines) + "\n",
    }


