"""The 8086's shifts and rotates by CL, by operation and size (core/early.pyx)."""

from __future__ import annotations

_OPERATIONS = "ROL ROR RCL RCR SHL SHR SAR".split()


def generate() -> dict[str, str]:
    """Gives early_forms.pxi: `SHL_Rb_CL_8086` and so on."""
    lines = []
    for name in _OPERATIONS:
        for size in "bw":
            lines += [
                f"cdef void {name}_R{size}_CL_8086(Cpu* c, Insn* i) noexcept nogil:",
                f"    shift_{size}(c, i, OP_{name})",
                "",
            ]
    return {"early_forms.pxi": "\n".join(lines)}
