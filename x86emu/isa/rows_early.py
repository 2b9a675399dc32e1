"""Encodings of the processors before the 80386, and of the 8086 alone (iAPX 86/88, 186/188 User's Manual; iAPX 286
Programmer's Reference Manual, appendix B; the undocumented ones from captures of the chips).

Columns: opcode | mnemonic | operands | flags | attributes.  `variant=8086` has a handler of its own because the chip
differs: shift counts are not masked, #DE points behind the instruction, PUSH SP pushes the decremented value; a repeat
prefix makes IDIV negate its quotient (`variant=8086rep`).  The 8086
ignores opcode bits that it does not need: 60-6F are 70-7F, C0, C1, C8, C9 are C2, C3, CA, CB.  Without a coprocessor
the escape opcodes read their operand and do nothing.
"""

_CONDITIONS = "O NO B NB Z NZ BE NBE S NS P NP L NL LE NLE".split()
_READS = {"O": "o", "B": "c", "Z": "z", "BE": "cz", "S": "s", "P": "p", "L": "so", "LE": "szo"}
_SHIFTS = (
    ("ROL", "w=c r=oc u=o"), ("ROR", "w=c r=oc u=o"), ("RCL", "w=c r=oc u=o"), ("RCR", "w=c r=oc u=o"),
    ("SHL", "w=szpc r=oszapc u=oa"), ("SHR", "w=szpc r=oszapc u=oa"), ("SETMOC", "w=oszapc r=oszapc"),
    ("SAR", "w=szpc r=oszapc u=oa"),
)  # fmt: skip


def _rows() -> str:
    lines = [
        f"6{n:X} | J{name} | Jb | r={_READS[name.removeprefix('N') or name]} | end,f64,feature=pre186"
        for n, name in enumerate(_CONDITIONS)
    ]
    for opcode, size in ((0xD2, "b"), (0xD3, "v")):
        lines += [
            f"{opcode:X} /{n} | {name} | E{size}, CL | {flags} | variant=8086,feature=pre186"
            for n, (name, flags) in enumerate(_SHIFTS)
        ]
        lines.append(f"{opcode - 2:X} /6 | SETMO | E{size}, 1 | w=oszapc | wo,variant=8086,feature=pre186")
    lines += [f"D{n:X} | ESC | Ew | - | ro,variant=8086,feature=pre386" for n in range(8, 16)]
    return "\n".join(lines)


ROWS = """
54 | PUSH | !v | - | variant=8086sp,feature=pre186
C0 | RET | Iw, !v | - | end,f64,feature=pre186
C1 | RET | !v | - | end,f64,feature=pre186
C8 | RETF | Iw, !v | - | end,feature=pre186
C9 | RETF | !v | - | end,feature=pre186
C6 | MOV | Eb, Ib | - | wo,feature=pre186
C7 | MOV | Ev, Iz | - | wo,feature=pre186
8F | POP | Ev | - | wo,feature=pre186
8C | MOV | Rv, Sw | - | wo,reg,variant=8086,feature=pre186
8C | MOV | Mw, Sw | - | wo,mem,variant=8086,feature=pre186
8E | MOV | Sw, Ew | - | wo,end,variant=8086,feature=pre186
F6 /6 | DIV | Eb | u=oszapc | ro,variant=8086,feature=pre186
F6 /7 | IDIV | Eb | u=oszapc | ro,variant=8086,feature=pre186
F3 F6 /7 | IDIV | Eb | u=oszapc | ro,variant=8086rep,feature=pre186
F2 F6 /7 | IDIV | Eb | u=oszapc | ro,variant=8086rep,feature=pre186
F3 F7 /7 | IDIV | Ev | u=oszapc | ro,variant=8086rep,feature=pre186
F2 F7 /7 | IDIV | Ev | u=oszapc | ro,variant=8086rep,feature=pre186
F7 /6 | DIV | Ev | u=oszapc | ro,variant=8086,feature=pre186
F7 /7 | IDIV | Ev | u=oszapc | ro,variant=8086,feature=pre186
27 | DAA | - | w=szapc r=ac u=o | variant=8086,feature=pre186
2F | DAS | - | w=szapc r=ac u=o | variant=8086,feature=pre186
37 | AAA | - | w=ac r=a u=oszp | variant=8086,feature=pre186
3F | AAS | - | w=ac r=a u=oszp | variant=8086,feature=pre186
D4 | AAM | Ib | w=szp u=oac | variant=8086,feature=pre186
FF /6 | PUSH | Ev | - | ro,variant=8086,feature=pre186
FF /7 | PUSH | Ev | - | ro,variant=8086,feature=pre186
""" + _rows() + "\n"
