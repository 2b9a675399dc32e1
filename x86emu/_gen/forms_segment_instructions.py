"""Handlers of PUSH and POP of a segment register and of LDS, LES, LFS, LGS, LSS, for each operand size."""

from __future__ import annotations

from x86emu._gen.forms_move import BYTES, on_stack

KINDS = {"w": "uint16_t", "d": "uint32_t", "q": "uint64_t"}
POINTER_LOADS = {"LES": "wd", "LDS": "wd", "LSS": "wdq", "LFS": "wdq", "LGS": "wdq"}


def _handler(name: str, call: str) -> str:
    return f"cdef void {name}(Cpu* c, Insn* i) noexcept nogil:\n    {call}\n\n"


def generate() -> dict[str, str]:
    """Gives segment_forms.pxi; the semantics are inline functions of core/segment_instructions.pyx."""
    text = ""
    for size, kind in KINDS.items():
        text += _handler(f"PUSH_S_{size}_slowly", f"push_segment(c, i, <{kind}>0)")
        text += on_stack(f"PUSH_S_{size}", kind, "write_entry", f"c.r[RSP] - {BYTES[size]}",
                         f"(<{kind}*>(t.addend + linear))[0] = c.seg[i.dst].selector",
                         f"move_sp(c, sp, <{kind}>0)")  # fmt: skip
        if size == "w":
            text += _handler("POP_S_w_slowly", f"pop_segment(c, i, <{kind}>0)")
            text += _handler("POP_S_w", "if likely(pop_real_segment(c, i)):\n        chain(c, i)\n"
                             "    else:\n        POP_S_w_slowly(c, i)")
        else:
            text += _handler(f"POP_S_{size}", f"pop_segment(c, i, <{kind}>0)")
    for mnemonic, sizes in POINTER_LOADS.items():
        for size in sizes:
            text += _handler(f"{mnemonic}_R{size}_Mp", f"load_far_pointer(c, i, {mnemonic[1:]}, <{KINDS[size]}>0)")
    return {"segment_forms.pxi": text}
