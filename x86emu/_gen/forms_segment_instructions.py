"""Handlers of PUSH and POP of a segment register and of LDS, LES, LFS, LGS, LSS, for each operand size."""

from __future__ import annotations

KINDS = {"w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}
POINTER_LOADS = {"LES": ("ES", "wd"), "LDS": ("DS", "wd"), "LSS": ("SS", "wdq"), "LFS": ("FS", "wdq"), "LGS": ("GS", "wdq")}
SEGMENTS = {"ES": "wd", "CS": "wd", "SS": "wd", "DS": "wd", "FS": "wdq", "GS": "wdq"}


def _handler(name: str, call: str) -> str:
    return f"cdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n    {call}\n\n"


def generate() -> dict[str, str]:
    """Gives segment_forms.pxi; the semantics are inline functions of core/segment_instructions.pyx."""
    text = ""
    for segment, sizes in SEGMENTS.items():
        for size in sizes:
            arguments = f"(c, i, {segment}, <{KINDS[size]}>0)"
            text += _handler(f"PUSH_{segment}_{size}", f"push_segment{arguments}")
            if segment != "CS":
                text += _handler(f"POP_{segment}_{size}", f"pop_segment{arguments}")
    for mnemonic, (segment, sizes) in POINTER_LOADS.items():
        for size in sizes:
            text += _handler(f"{mnemonic}_R{size}_Mp", f"load_far_pointer(c, i, {segment}, <{KINDS[size]}>0)")
    return {"segment_forms.pxi": text}
