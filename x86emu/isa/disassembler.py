"""Disassembler in Intel syntax, from the same rows as the decoder (SDM 2A, chapter 2; SDM 2D, appendix A).

Mnemonics are the rows', which are the opcode map's (JNB where assemblers also say JAE), with the usual suffixes of
string instructions and of those whose name tells the operand size (MOVSB, CWDE, IRETQ).  C4 and C5 begin a VEX prefix
wherever protected mode takes them for one; real mode, where they never do, has no instruction there.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from x86emu.errors import X86EmuError
from x86emu.isa.table import Operand, Row, load_rows


class IncompleteInstruction(X86EmuError):
    """The bytes end before the instruction does; more of them are needed."""


_R64 = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split()
_R16 = "ax cx dx bx sp bp si di".split()
REGISTERS = {
    "q": _R64,
    "d": [f"e{name}" for name in _R16] + [f"r{n}d" for n in range(8, 16)],
    "w": _R16 + [f"r{n}w" for n in range(8, 16)],
    "b": "al cl dl bl spl bpl sil dil".split() + [f"r{n}b" for n in range(8, 16)],
}
_LEGACY_BYTES = "al cl dl bl ah ch dh bh".split()
SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs"]
_OVERRIDES = {0x26: "es", 0x2E: "cs", 0x36: "ss", 0x3E: "ds", 0x64: "fs", 0x65: "gs"}
_PAIRS_16 = [("bx", "si"), ("bx", "di"), ("bp", "si"), ("bp", "di"), ("si", ""), ("di", ""), ("bp", ""), ("bx", "")]
_POINTERS = {
    "b": "byte", "w": "word", "d": "dword", "q": "qword", "t": "tbyte", "x": "xmmword", "dq": "xmmword",
    "ps": "xmmword", "pd": "xmmword", "ss": "dword", "sd": "qword", "pi": "qword", "qq": "ymmword",
}  # fmt: skip
_BY_LENGTH = ("x", "ps", "pd")
"""Operand sizes that VEX.256 doubles."""
_FAR_POINTERS = {"w": "dword", "d": "fword", "q": "tbyte"}
# Rows whose mnemonic tells the operand size: by w, d, q.
_BY_SIZE = {
    "CBW": ("cbw", "cwde", "cdqe"),
    "CWD": ("cwd", "cdq", "cqo"),
    "PUSHF": ("pushf", "pushfd", "pushfq"),
    "POPF": ("popf", "popfd", "popfq"),
    "IRET": ("iret", "iretd", "iretq"),
    "PUSHA": ("pusha", "pushad", "pushad"),
    "POPA": ("popa", "popad", "popad"),
    "SYSRET": ("sysret", "sysret", "sysretq"),
    "SYSEXIT": ("sysexit", "sysexit", "sysexitq"),
}
_EARLY = ("pre386", "pre186")
"""Features that contradict today's instruction set, which is what disassemble() takes by default."""
_STRINGS = frozenset("MOVS CMPS STOS LODS SCAS INS OUTS".split())
_POINTED = {"XLAT": 3, "MASKMOVQ": 7, "MASKMOVDQU": 7, "VMASKMOVDQU": 7}
"""Rows whose operand X is at another register than rSI."""
# Rows on general registers or memory whose mnemonic tells VEX.W.
_BY_WIDTH = {"VMOVD": "vmovq", "VPEXTRD": "vpextrq", "VPINSRD": "vpinsrq"}
_ADDRESS_COUNTERS = {"JCXZ": {16: "jcxz", 32: "jecxz", 64: "jrcxz"}}


@dataclass
class _Instruction:
    """What is known of one instruction while it is taken apart."""

    code: bytes
    bits: int
    address: int
    at: int = 0
    rex: int = 0
    repeat: int = 0
    lock: bool = False
    operand_override: bool = False
    address_override: bool = False
    vex: str = ""
    """Vector length of a VEX prefix: "128" or "256"."""
    vvvv: int = 0
    misprefixed: bool = False
    """A prefix that must not stand before VEX."""
    segment: str = ""
    opcode: int = 0
    modrm: int = 0
    operand_size: str = "d"
    address_bits: int = 32
    memory: str = ""
    vector_index: int = -1
    immediates: list[int] = field(default_factory=list)
    row: Row | None = None

    def take(self, count: int) -> int:
        """The next count bytes, unsigned."""
        if self.at + count > 15:
            raise _Undefined(15)
        if self.at + count > len(self.code):
            raise IncompleteInstruction(
                f"The bytes {self.code.hex(' ')} end inside an instruction; give up to 15 bytes from its start."
            )
        value = int.from_bytes(self.code[self.at : self.at + count], "little")
        self.at += count
        return value

    def take_signed(self, count: int) -> int:
        value = self.take(count)
        return value - (1 << 8 * count) if value >> (8 * count - 1) else value


class _Undefined(Exception):
    def __init__(self, length: int) -> None:
        self.length = length


def _specificity(row: Row, prefix: str) -> tuple[int, ...]:
    return (
        0 if row.has("variant") else 1,
        0 if row.modrm is not None and not row.modrm_plus_i else 1 if row.modrm is not None else 2,
        0 if prefix in ("66F3", "66F2") else 1 if prefix in ("F3", "F2") else 2 if prefix else 3,
        0 if row.has("W0") or row.has("W1") else 1,
        0 if row.has("mem") or row.has("reg") else 1,
        0 if row.extension is not None else 1,
        0 if row.has("B0") else 1,
        1 if row.plus_r else 0,
    )


_index: dict[tuple[int, int], list[Row]] = {}


def _rows_for(opcode_map: int, opcode: int) -> list[Row]:
    if not _index:
        for row in load_rows():
            last = row.opcode[-1]
            for value in range(last, last + 8) if row.plus_r else [last]:
                _index.setdefault((row.map, value), []).append(row)
        for found in _index.values():
            found.sort(key=lambda row: _specificity(row, row.prefix))
    return _index.get((opcode_map, opcode), [])


def _accepts(row: Row, i: _Instruction, mod: int, features: Container[str] | None) -> bool:
    """Whether the row is the one for what has been read so far (prefixes, opcode, ModRM)."""
    if row.feature not in features if features is not None else row.feature in _EARLY:
        return False
    if row.extension is not None and row.extension != i.modrm >> 3 & 7:
        return False
    if row.modrm is not None and (i.modrm & (0xF8 if row.modrm_plus_i else 0xFF)) != row.modrm:
        return False
    wanted = row.prefix
    if wanted == "NP" and (i.operand_override or i.repeat):
        return False
    if wanted == "66" and (not i.operand_override or i.repeat):
        return False
    if wanted == "NFx" and i.repeat:
        return False
    if wanted not in ("", "NP", "66", "NFx"):
        if i.repeat != int(wanted[-2:], 16) or (len(wanted) == 4 and not i.operand_override):
            return False
    if row.vex not in (i.vex, "LIG"):
        return False
    letters = {operand.letter for operand in row.operands}
    if letters & {"C", "D"}:
        mod = 3
    if (row.has("mem") or "M" in letters) and mod == 3:
        return False
    if (row.has("reg") or letters & set("NUR")) and mod != 3:
        return False
    long = i.bits == 64
    if (row.has("i64") and long) or (row.has("o64") and not long):
        return False
    wide = bool(i.rex & 8)
    return not ((row.has("W0") and wide) or (row.has("W1") and not wide) or (row.has("B0") and i.rex & 1))


def _read_prefixes(i: _Instruction) -> None:
    while True:
        byte = i.take(1)
        if byte == 0x66:
            i.operand_override = True
        elif byte == 0x67:
            i.address_override = True
        elif byte in (0xF2, 0xF3):
            i.repeat = byte
        elif byte == 0xF0:
            i.lock = True
        elif byte in _OVERRIDES:
            if i.bits != 64 or byte in (0x64, 0x65):  # the others are ignored in 64-bit mode (2.1.1)
                i.segment = _OVERRIDES[byte]
        elif i.bits == 64 and byte & 0xF0 == 0x40:
            i.rex = byte
            continue
        else:
            i.opcode = byte
            return
        i.rex = 0


_VEX_FEATURES = ("avx", "bmi1", "bmi2")


def _read_vex(i: _Instruction, features: Container[str] | None) -> int | None:
    """A VEX prefix (SDM 2A, 2.3.5) behind C4 or C5, and the opcode; the opcode map, or None where it is LES or LDS."""
    if features is not None and not any(name in features for name in _VEX_FEATURES):
        return None
    first = i.take(1)
    if i.bits != 64 and first < 0xC0:
        i.at -= 1
        return None
    i.misprefixed = bool(i.operand_override or i.repeat or i.rex or i.lock)
    last = first if i.opcode == 0xC5 else i.take(1)
    inverted = ~first
    i.rex = 0x40 | (inverted >> 5 & 7 | last >> 4 & 8 if i.opcode == 0xC4 else inverted >> 5 & 4)
    opcode_map = 3 + (first & 31 if i.opcode == 0xC4 else 1)
    i.vvvv = ~last >> 3 & 15
    i.vex = "256" if last & 4 else "128"
    i.operand_override = last & 3 == 1
    i.repeat = (0, 0, 0xF3, 0xF2)[last & 3]
    if i.bits != 64:
        i.rex &= 0x48
    i.opcode = i.take(1)
    if not 4 <= opcode_map <= 6:
        raise _Undefined(i.at)
    return opcode_map


def _read_memory(i: _Instruction, row: Row) -> None:
    """ModRM, SIB and displacement (SDM 2A, 2.1.5), as text in i.memory."""
    mod, rm = i.modrm >> 6, i.modrm & 7
    terms: list[str] = []
    default = "ds"
    if i.address_bits == 16:
        terms = [name for name in _PAIRS_16[rm] if name]
        size = {0: 0, 1: 1, 2: 2}[mod]
        if mod == 0 and rm == 6:
            terms, size = [], 2
        displacement = i.take_signed(size) if size else 0
        if "bp" in terms:
            default = "ss"
    else:
        names = REGISTERS["q" if i.address_bits == 64 else "d"]
        size = {0: 0, 1: 1, 2: 4}[mod]
        if rm == 4:
            sib = i.take(1)
            base, index = sib & 7 | (i.rex & 1) << 3, sib >> 3 & 7 | (i.rex & 2) << 2
            if sib & 7 == 5 and mod == 0:
                size = 4
            else:
                terms.append(names[base])
                default = "ss" if base in (4, 5) else "ds"
            if index != 4 or row.has("vsib"):
                scale = 1 << (sib >> 6)
                register = names[index]
                if row.has("vsib"):
                    register = ("ymm" if row.attributes["vsib"] == "256" else "xmm") + str(index)
                    i.vector_index = index
                terms.append(register + (f"*{scale}" if scale > 1 else ""))
        elif rm == 5 and mod == 0:
            size = 4
            if i.bits == 64:
                terms.append("rip" if i.address_bits == 64 else "eip")
        else:
            terms.append(names[rm | (i.rex & 1) << 3])
            default = "ss" if rm | (i.rex & 1) << 3 == 5 else "ds"
        displacement = i.take_signed(size) if size else 0
    i.memory = _memory_text(i, terms, displacement, default)


def _memory_text(i: _Instruction, terms: list[str], displacement: int, default: str) -> str:
    text = " + ".join(terms)
    if not terms:
        text = f"0x{displacement & ((1 << i.address_bits) - 1):x}"
    elif displacement:
        text += f" {'-' if displacement < 0 else '+'} 0x{abs(displacement):x}"
    if i.segment and (i.segment != default or not terms):
        return f"{i.segment}:[{text}]"
    return f"[{text}]"


def _size_letter(size: str, operand_size: str) -> str:
    if size == "v":
        return operand_size
    if size == "z":
        return "w" if operand_size == "w" else "d"
    if size == "y":
        return "q" if operand_size == "q" else "d"
    return size


def _operand_size(row: Row, i: _Instruction, branch16: bool) -> str:
    if row.vex:
        return "q" if i.rex & 8 and i.bits == 64 else "d"
    override = i.operand_override and row.prefix not in ("66", "66F3", "66F2")
    if i.bits == 64:
        if i.rex & 8 or (row.has("f64") and not (override and branch16 and row.has("end"))):
            return "q"
        return "w" if override else "q" if row.has("d64") else "d"
    return "w" if override != (i.bits == 16) else "d"


def _immediate_bytes(operand: Operand, i: _Instruction) -> int:
    if operand.letter == "O":
        return i.address_bits // 8
    if operand.letter == "L":
        return 1
    if operand.letter == "J":
        return 1 if operand.size == "b" else 2 if i.operand_size == "w" else 4
    size = operand.size
    if size == "v":
        return {"w": 2, "d": 4, "q": 8}[i.operand_size]
    if size == "z":
        return 2 if i.operand_size == "w" else 4
    return {"b": 1, "w": 2, "d": 4, "q": 8}[size]


def _general(number: int, size: str, i: _Instruction) -> str:
    if size == "b" and not i.rex:
        return _LEGACY_BYTES[number]
    return REGISTERS[size][number]


def _pointer(operand: Operand, i: _Instruction) -> str:
    size = _size_letter(operand.size, i.operand_size)
    if size in _BY_LENGTH and i.vex == "256":
        size = "qq"
    if size == "p":
        return f"{_FAR_POINTERS[i.operand_size]} ptr "
    return f"{_POINTERS[size]} ptr " if size in _POINTERS else ""


def _hexadecimal(value: int, size: str) -> str:
    if value < 0:
        bits = {"b": 8, "w": 16, "d": 32, "q": 64}.get(size, 32)
        return f"0x{value & ((1 << bits) - 1):x}"
    return f"0x{value:x}" if value > 9 else str(value)


def _string_operand(operand: Operand, i: _Instruction) -> str:
    letter = {16: "w", 32: "d", 64: "q"}[i.address_bits]
    register = REGISTERS[letter][7 if operand.letter == "Y" else 6]
    if i.row is not None and i.row.mnemonic in _POINTED:
        register = REGISTERS[letter][_POINTED[i.row.mnemonic]]
    pointer = _pointer(operand, i)
    if operand.letter == "Y":
        return f"{pointer}es:[{register}]" if i.bits != 64 else f"{pointer}[{register}]"
    return f"{pointer}{i.segment + ':' if i.segment else ''}[{register}]"


def _fixed(operand: Operand, i: _Instruction) -> str:
    name = operand.name
    if name in ("1", "3"):
        return name
    if name == "ST0":
        return "st(0)"
    if name == "STi":
        return f"st({i.modrm & 7})"
    if name.startswith("r"):
        number = _R16.index(name[1:3].lower())
        return REGISTERS[_size_letter(operand.size, i.operand_size)][number]
    return name.lower()


def _operand_text(operand: Operand, i: _Instruction, first_size: str) -> str:
    letter = operand.letter
    size = _size_letter(operand.size, i.operand_size)
    reg = i.modrm >> 3 & 7 | (i.rex & 4) << 1
    rm = i.modrm & 7 | (i.rex & 1) << 3
    if i.memory and letter in "EMQW":
        return _pointer(operand, i) + i.memory
    if letter == "fixed":
        return _fixed(operand, i)
    if letter in "BEGRZ":
        number = {"B": i.vvvv, "E": rm, "R": rm, "G": reg, "Z": i.opcode & 7 | (i.rex & 1) << 3}[letter]
        if i.row is not None and i.row.mnemonic in ("LAR", "LSL") and letter == "E" and i.operand_size != "w":
            size = "d"  # r32/m16 (SDM 2A)
        if i.row is not None and i.row.mnemonic == "MOVDIR64B":  # an address
            size = {16: "w", 32: "d", 64: "q"}[i.address_bits]
        return _general(number, size, i)
    if letter in "PNQ":
        return f"mm{(reg if letter == 'P' else rm) & 7}"
    if letter in "HVUW":
        long = operand.size == "qq" or (operand.size in _BY_LENGTH and i.vex == "256")
        number = reg if letter == "V" else i.vvvv if letter == "H" else rm
        return f"{'ymm' if long else 'xmm'}{number}"
    if letter == "S":
        row = i.row
        loads_cs = reg & 7 == 1 and row is not None and row.operands[0] is operand and row.feature != "pre186"
        if reg & 7 > 5 or loads_cs:  # SDM 2B, MOV
            raise _Undefined(i.at)
        return SEGMENTS[reg & 7]
    if letter in "CD":
        return f"{letter.lower()}r{reg}"
    if letter in "XY":
        return _string_operand(operand, i)
    value = i.immediates.pop(0)
    if letter == "O":
        return _pointer(operand, i) + _memory_text(i, [], value, "ds")
    if letter == "L":
        return f"{'ymm' if i.vex == '256' else 'xmm'}{value >> 4 & (15 if i.bits == 64 else 7)}"
    if letter == "J":
        bits = 16 if i.operand_size == "w" else 64 if i.bits == 64 else 32
        return f"0x{(i.address + i.at + value) & ((1 << bits) - 1):x}"
    if letter == "A":
        return f"0x{value >> 32:x}:0x{value & 0xFFFFFFFF:x}"
    return _hexadecimal(value, first_size if operand.size != "w" else "w")


def _mnemonic(row: Row, i: _Instruction) -> str:
    name = row.mnemonic
    if name in _BY_SIZE:
        return _BY_SIZE[name]["wdq".index(i.operand_size)]
    if name in _ADDRESS_COUNTERS:
        return _ADDRESS_COUNTERS[name][i.address_bits]
    if name in _BY_WIDTH and i.operand_size == "q":
        return _BY_WIDTH[name]
    if name in _STRINGS:
        operand = next(operand for operand in row.operands if operand.letter in "XY")
        return name.lower() + _size_letter(operand.size, i.operand_size)
    return name.lower()


def _repeat_text(row: Row, i: _Instruction) -> str:
    if not i.repeat:
        return ""
    if row.has("repz"):
        return "repe " if i.repeat == 0xF3 else "repne "
    return "rep " if row.has("rep") else ""


def _immediates(row: Row, i: _Instruction) -> None:
    for operand in row.operands:
        if operand.letter == "A":
            offset = i.take(2 if i.operand_size == "w" else 4)
            i.immediates.append(i.take(2) << 32 | offset)
        elif operand.letter == "O":
            i.immediates.append(i.take(_immediate_bytes(operand, i)))
        elif operand.letter in "IJL":
            unsigned = operand.letter == "I" and operand.size == "w"
            count = _immediate_bytes(operand, i)
            i.immediates.append(i.take(count) if unsigned else i.take_signed(count))


def _disassemble(i: _Instruction, features: Container[str] | None) -> str:
    _read_prefixes(i)
    opcode_map = 0
    if i.opcode == 0x0F:
        opcode_map, i.opcode = 1, i.take(1)
        if i.opcode in (0x38, 0x3A):
            opcode_map, i.opcode = (2 if i.opcode == 0x38 else 3), i.take(1)
    elif i.opcode in (0xC4, 0xC5):
        opcode_map = _read_vex(i, features) or 0
    candidates = _rows_for(opcode_map, i.opcode)
    if any(row.has_modrm for row in candidates):
        i.modrm = i.take(1)
    mod = i.modrm >> 6
    if i.bits == 64:
        i.address_bits = 32 if i.address_override else 64
    else:
        i.address_bits = 16 if (i.bits == 16) != i.address_override else 32
    row = next((row for row in candidates if _accepts(row, i, mod, features)), None)
    if row is None:
        raise _Undefined(i.at)
    i.row = row
    if not row.has_modrm and any(candidate.has_modrm for candidate in candidates):
        i.at -= 1
    i.operand_size = _operand_size(row, i, features is not None and "branch16" in features)
    in_memory = any(operand.letter in "EMQW" for operand in row.operands)
    if row.has_modrm and mod != 3 and not any(operand.letter in "CD" for operand in row.operands):
        if row.has("vsib") and (i.modrm & 7 != 4 or i.address_bits == 16):
            raise _Undefined(i.at)
        _read_memory(i, row)
        if not in_memory:
            i.memory = ""
    _immediates(row, i)
    if i.misprefixed or (row.vex and i.vvvv and not any(operand.letter in "BH" for operand in row.operands)):
        raise _Undefined(i.at)
    if i.bits != 64:
        i.vvvv &= 7  # its top bit counts only where it must be 1
    if row.has("vsib") and len({i.vector_index, i.vvvv, i.modrm >> 3 & 7 | (i.rex & 4) << 1}) < 3:
        raise _Undefined(i.at)  # destination, mask and index must differ
    if i.lock and not (row.has("lock") and i.memory):
        raise _Undefined(i.at)
    shown = [operand for operand in row.operands if operand.letter != "!"]
    first = _size_letter(shown[0].size, i.operand_size) if shown and shown[0].letter not in "VUNPH" else "b"
    if row.has("d64") and shown and shown[0].letter == "I":
        first = i.operand_size  # PUSH extends its immediate
    texts = [_operand_text(operand, i, first) for operand in shown]
    head = ("lock " if i.lock else "") + _repeat_text(row, i) + _mnemonic(row, i)
    if row.mnemonic in _STRINGS:
        texts = [text for text, operand in zip(texts, shown, strict=True) if operand.letter in "XY" or text == "dx"]
    return f"{head} {', '.join(texts)}".rstrip()


def disassemble(code: bytes, mode: int, address: int = 0, features: Container[str] | None = None) -> tuple[int, str]:
    """Length in bytes and text of the instruction that code begins with.

    mode is 16, 32 or 64 (bits of the code segment); address is where the first byte lies, for branch targets; features
    limits the instruction set to a model's (all of it by default).  An undefined instruction gives the bytes that a
    processor looks at and the text `(undefined)`.  Raises IncompleteInstruction where code is too short, ValueError for
    another mode.
    """
    if mode not in (16, 32, 64):
        raise ValueError(f"There is no {mode}-bit mode; the mode is 16, 32 or 64.")
    i = _Instruction(code, mode, address)
    try:
        text = _disassemble(i, features)
        return i.at, text
    except _Undefined as undefined:
        return undefined.length, "(undefined)"


def row_of(code: bytes, mode: int, features: Container[str] | None = None) -> Row | None:
    """The row of the instruction that code begins with; None where it is undefined. Raises as disassemble()."""
    i = _Instruction(code, mode, 0)
    try:
        _disassemble(i, features)
    except _Undefined:
        return None
    return i.row
