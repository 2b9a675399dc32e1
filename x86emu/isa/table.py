"""The instruction table: reads the rows of every rows_<area>.py into Row records.

A row is one line of the opcode map (Intel SDM volume 2D, appendix A), written

    opcode | mnemonic | operands | flags | attributes

* opcode: bytes in hexadecimal; mandatory prefixes first (`NP 0F 58` means none of 66, F3, F2; `NFx` none of F3, F2;
  `66 0F 58`; a row without one accepts any); `/n` is an opcode extension in ModRM.reg; `50+r` has a register in the
  low three bits; a byte beyond the opcode is an exact ModRM byte (`0F 01 C8`), `D8 C0+i` one with a register in its
  low three bits.  A row with an exact ModRM byte goes before one with an extension or none.
* opcode of a VEX-encoded row, as the manual writes it (SDM 2A, 3.1.1.2): `VEX.256.66.0F38.W0 16`: the vector length
  (128, 256, LIG where VEX.L is ignored, LZ where it must be 0), the prefix that VEX implies (NP, 66, F3, F2), the map
  (0F, 0F38, 0F3A), VEX.W (W0, W1, WIG), then the opcode byte and, as above, `/n`.  `128/256` stands for two rows;
  `feature=avx/avx2` in it gives the feature of each.  VEX.vvvv must be 1111b unless an operand is B or H.
* operands: the letters and sizes of appendix A.2, separated by commas; registers by name; `rAXv` is rAX by operand
  size; `!v` is no operand, it says that the operand size matters, `!a` that the address size does.
* flags: `w=oszapc r=c u=a`: written with a defined value, read, undefined afterwards.
* attributes: those of ATTRIBUTES below.

A line starting with # and anything behind ` #` is a comment; `-` or nothing stands for an empty column.
"""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from x86emu.errors import UserInputError, X86EmuError
from x86emu.isa.features import feature_named


class TableError(X86EmuError):
    """A row of the instruction table is malformed; the message names the file, the line and what would be right."""


FLAG_BITS = {"c": 0x1, "p": 0x4, "a": 0x10, "z": 0x40, "s": 0x80, "i": 0x200, "d": 0x400, "o": 0x800}
"""The letters of the flags column, as EFLAGS masks."""

LETTERS: dict[str, str] = {
    "A": "far pointer in the instruction",
    "B": "general register by VEX.vvvv",
    "C": "control register by ModRM.reg",
    "D": "debug register by ModRM.reg",
    "E": "general register or memory by ModRM.rm",
    "G": "general register by ModRM.reg",
    "H": "XMM or YMM register by VEX.vvvv",
    "I": "immediate",
    "J": "relative branch target",
    "L": "XMM or YMM register by bits 7:4 of an immediate byte",
    "M": "memory by ModRM.rm",
    "N": "MMX register by ModRM.rm",
    "O": "memory at an offset in the instruction",
    "P": "MMX register by ModRM.reg",
    "Q": "MMX register or memory by ModRM.rm",
    "R": "general register by ModRM.rm",
    "S": "segment register by ModRM.reg",
    "U": "XMM or YMM register by ModRM.rm",
    "V": "XMM or YMM register by ModRM.reg",
    "W": "XMM or YMM register or memory by ModRM.rm",
    "X": "memory at DS:rSI",
    "Y": "memory at ES:rDI",
    "Z": "general register by the opcode's low three bits",
}
MODRM_LETTERS = frozenset("CDEGMNPQRSUVW")
RM_LETTERS = frozenset("EMNQRUW")
MEMORY_LETTERS = frozenset("EMQW")

SIZES: dict[str, str] = {
    "": "no size (only an address, or a size of its own)",
    "a": "two bounds of the operand size (BOUND)",
    "b": "8 bits",
    "w": "16 bits",
    "d": "32 bits",
    "q": "64 bits",
    "v": "16, 32 or 64 bits by operand size",
    "z": "16 or 32 bits by operand size (32 for 64)",
    "y": "32 or 64 bits by operand size",
    "p": "far pointer of 32, 48 or 80 bits by operand size",
    "s": "6 or 10 bytes: limit and base (LGDT)",
    "t": "80 bits",
    "x": "128 bits; 256 with VEX.256",
    "dq": "128 bits",
    "qq": "256 bits",
    "ps": "128 bits of singles; 256 with VEX.256",
    "pd": "128 bits of doubles; 256 with VEX.256",
    "ss": "one single",
    "sd": "one double",
    "pi": "64 bits in an MMX register",
}

FIXED: dict[str, str] = {
    **{name: "b" for name in ("AL", "CL", "DL", "BL", "AH", "CH", "DH", "BH")},
    **{name: "w" for name in ("AX", "CX", "DX", "BX", "ES", "CS", "SS", "DS", "FS", "GS")},
    **{name: "d" for name in ("EAX", "ECX", "EDX", "EBX")},
    **{"1": "b", "3": "b", "ST0": "t", "STi": "t", "XMM0": "x"},
    **{f"r{name}{size}": size for name in ("AX", "CX", "DX", "BX") for size in "vzy"},
}
"""Operands that the opcode implies, with their size letter."""

PSEUDO = {**{f"!{size}": size for size in "bwdqvzy"}, "!a": "address"}

ATTRIBUTES: dict[str, str] = {
    "feature": "=NAME: #UD on a model without it",
    "lock": "the LOCK prefix is allowed with a memory destination",
    "end": "ends the trace",
    "i64": "#UD in 64-bit mode",
    "o64": "only in 64-bit mode",
    "d64": "operand size defaults to 64 bits in 64-bit mode",
    "f64": "operand size is 64 bits in 64-bit mode",
    "mem": "row only for a memory operand (ModRM.mod below 3)",
    "reg": "row only for a register operand (ModRM.mod 3)",
    "ro": "the first operand is only read",
    "wo": "the first operand is only written",
    "prot": "#UD in real and virtual-8086 mode",
    "cpl0": "#GP(0) unless CPL is 0 (the handler checks)",
    "rep": "F3 selects the REP_ handler",
    "repz": "F3 and F2 select the REPE_ and REPNE_ handler",
    "B0": "only without REX.B",
    "noaccess": "the memory operand is only an address: no segment check, no segment base, no access",
    "pops": "a memory operand with rSP as its base is addressed with the rSP after the pop (SDM 2B, POP)",
    "asz": "Insn.aux is the address size: 0 is 16, 1 is 32, 2 is 64 bits",
    "aux": "=N: value of Insn.aux",
    "W0": "only without REX.W",
    "W1": "only with REX.W",
    "x87": "#NM by CR0.EM and CR0.TS",
    "mmx": "#UD by CR0.EM, #NM by CR0.TS",
    "sse": "#UD by CR0.EM and CR4.OSFXSR, #NM by CR0.TS",
    "avx": "#UD by CR4.OSXSAVE and XCR0[2:1], #NM by CR0.TS",
    "vsib": "=128 or 256: the memory operand has a vector register of that length as its index; the handler adds it",
    "elements": "the memory operand is accessed element by element; the handler does the segmentation",
    "unaligned": "a memory operand of 16 bytes need not be aligned; one of 8 is never #AC",
    "variant": "=NAME: the handler's name ends with _NAME; the row goes before others of its encoding",
    "undefined": "=RULE: results that the manual leaves undefined (x86emu/conform/compare.py)",
    "approximate": "=RULE: results that the manual only bounds (x86emu/conform/compare.py)",
    "like": "=MNEMONIC: the handlers are those of that instruction",
    "handler": "=NAME: the handler's name where the computed one does not fit",
}
_WITH_VALUE = frozenset({"feature", "aux", "handler", "variant", "undefined", "approximate", "vsib", "like"})
_EXCLUSIVE = (("mem", "reg"), ("i64", "o64"), ("W0", "W1"), ("rep", "repz"), ("ro", "wo"), ("d64", "f64"))
_PREFIXES = ("66", "F3", "F2")
_VEX_LENGTHS = {"128": "128", "256": "256", "LIG": "LIG", "LZ": "128"}
_VEX_MAPS = {"0F": b"\x0f", "0F38": b"\x0f\x38", "0F3A": b"\x0f\x3a"}


@dataclass(frozen=True)
class Operand:
    """One operand of a row."""

    letter: str
    """A key of LETTERS; "fixed" for a register or constant that the opcode implies; "!" for the pseudo operand."""
    size: str
    """A key of SIZES."""
    name: str
    """For a fixed operand its name (AL, CL, DX, 1, ST0, STi, XMM0, rAXv ...), otherwise the text of the row."""

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Row:
    """One encoding."""

    prefix: str
    """"" accepts any; "NP", "66", "F3", "F2"; "66F3" and "66F2" want both; "NFx" accepts 66 and no other."""
    opcode: bytes
    """Without prefixes: 1 byte, 0F and 1 byte, or 0F 38 / 0F 3A and 1 byte. With plus_r the low three bits are 0."""
    extension: int | None
    """ModRM.reg, for `/n`."""
    plus_r: bool
    modrm: int | None
    """Exact ModRM byte; with modrm_plus_i its low three bits are free."""
    modrm_plus_i: bool
    mnemonic: str
    operands: tuple[Operand, ...]
    flags_written: int
    """EFLAGS masks."""
    flags_read: int
    flags_undefined: int
    feature: str
    """Canonical feature name; "base" where none is given."""
    attributes: dict[str, str | int | bool] = field(hash=False)
    source: str = ""
    """file:line"""
    vex: str = ""
    """Empty for a row without VEX; otherwise its vector length: "128", "256", or "LIG" for either."""

    @property
    def map(self) -> int:
        """Opcode map: 0 one-byte, 1 after 0F, 2 after 0F 38, 3 after 0F 3A; 4 to 6 are those three behind VEX."""
        if self.vex:
            return {1: 4, 2: 5 if self.opcode[1:2] == b"\x38" else 6}[len(self.opcode) - 1]
        if self.opcode[0] != 0x0F or len(self.opcode) == 1:
            return 0
        return {2: 1, 3: 2 if self.opcode[1] == 0x38 else 3}[len(self.opcode)]

    @property
    def has_modrm(self) -> bool:
        """Whether a ModRM byte follows the opcode."""
        return (
            self.extension is not None
            or self.modrm is not None
            or any(operand.letter in MODRM_LETTERS for operand in self.operands)
        )

    def has(self, attribute: str) -> bool:
        """Whether the row bears the attribute."""
        return attribute in self.attributes

    def __str__(self) -> str:
        opcode = " ".join(f"{byte:02X}" for byte in self.opcode) + ("+r" if self.plus_r else "")
        if self.vex:
            opcode = f"VEX.{self.vex} {opcode}"
        if self.extension is not None:
            opcode += f" /{self.extension}"
        if self.modrm is not None:
            opcode += f" {self.modrm:02X}" + ("+i" if self.modrm_plus_i else "")
        return f"{self.prefix} {opcode} {self.mnemonic} {','.join(map(str, self.operands))}".strip()


def _hex_byte(token: str, where: str) -> int:
    try:
        if len(token) != 2:
            raise ValueError
        return int(token, 16)
    except ValueError:
        raise TableError(
            f"{where}: {token!r} is no opcode byte; write two hexadecimal digits, `/0`..`/7`, `50+r` or `C0+i`."
        ) from None


def _parse_opcode(text: str, where: str) -> tuple[str, bytes, int | None, bool, int | None, bool]:
    tokens = text.split()
    if not tokens:
        raise TableError(f"{where}: the row has no opcode.")
    prefix = ""
    while len(tokens) > 1 and (tokens[0] in ("NP", "NFx") or tokens[0] in _PREFIXES) and not tokens[1].startswith("/"):
        prefix += tokens.pop(0)
    if prefix not in ("", "NP", "NFx", "66", "F3", "F2", "66F3", "66F2"):
        raise TableError(f"{where}: the prefixes {prefix!r} are none of NP, NFx, 66, F3, F2, `66 F3`, `66 F2`.")
    extension: int | None = None
    if tokens[-1].startswith("/"):
        if tokens[-1][1:] not in tuple("01234567") or len(tokens[-1]) != 2:
            raise TableError(f"{where}: {tokens[-1]!r} is no opcode extension; write /0 to /7.")
        extension = int(tokens.pop()[1])
    plus_r = plus_i = False
    if tokens and tokens[-1].endswith("+r"):
        plus_r, tokens[-1] = True, tokens[-1][:-2]
    elif tokens and tokens[-1].endswith("+i"):
        plus_i, tokens[-1] = True, tokens[-1][:-2]
    values = bytes(_hex_byte(token, where) for token in tokens)
    length = 1 if values[:1] != b"\x0f" else 3 if values[1:2] in (b"\x38", b"\x3a") else 2
    if len(values) < length:
        raise TableError(f"{where}: the opcode {text!r} is incomplete: its map needs {length} bytes.")
    if len(values) > length + 1:
        raise TableError(f"{where}: the opcode {text!r} is too long; at most an exact ModRM byte may follow.")
    modrm = values[length] if len(values) > length else None
    if modrm is not None and modrm < 0xC0:
        raise TableError(f"{where}: the ModRM byte {modrm:02X} is a memory form; give `/n` and the attribute mem.")
    if modrm is not None and extension is not None:
        raise TableError(f"{where}: an exact ModRM byte and an extension /{extension} exclude each other.")
    if plus_i and (modrm is None or modrm & 7):
        raise TableError(f"{where}: `+i` belongs to an exact ModRM byte whose low three bits are 0, as in `D8 C0+i`.")
    if plus_r and (modrm is not None or values[-1] & 7):
        raise TableError(f"{where}: `+r` belongs to an opcode byte whose low three bits are 0, as in `50+r`.")
    return prefix, values[:length], extension, plus_r, modrm, plus_i


def _parse_vex(text: str, where: str) -> tuple[str, str, bytes, int | None, str]:
    """Vector length, prefix, opcode, extension and W attribute of `VEX.128.66.0F.WIG 58 /n`."""
    head, *tokens = text.split()
    parts = head.split(".")[1:]
    if (
        len(parts) != 4
        or parts[0] not in _VEX_LENGTHS
        or parts[1] not in ("NP", *_PREFIXES)
        or parts[2] not in _VEX_MAPS
        or parts[3] not in ("W0", "W1", "WIG")
    ):
        raise TableError(
            f"{where}: {head!r} is no VEX encoding; write VEX, then one each of {' '.join(_VEX_LENGTHS)} 128/256, "
            f"of NP 66 F3 F2, of {' '.join(_VEX_MAPS)} and of W0 W1 WIG, with points between."
        )
    extension: int | None = None
    if tokens and tokens[-1][:1] == "/":
        if tokens[-1][1:] not in tuple("01234567") or len(tokens[-1]) != 2:
            raise TableError(f"{where}: {tokens[-1]!r} is no opcode extension; write /0 to /7.")
        extension = int(tokens.pop()[1])
    if len(tokens) != 1:
        raise TableError(f"{where}: behind {head} stands one opcode byte, then perhaps /0 to /7; not {text!r}.")
    opcode = _VEX_MAPS[parts[2]] + bytes([_hex_byte(tokens[0], where)])
    return _VEX_LENGTHS[parts[0]], parts[1], opcode, extension, parts[3]


def parse_operand(text: str, where: str = "operand") -> Operand:
    """One operand in the notation of the rows. Raises TableError for what is none."""
    if text in FIXED:
        return Operand("fixed", FIXED[text], text)
    if text in PSEUDO:
        return Operand("!", PSEUDO[text], text)
    letter, size = text[:1], text[1:]
    if letter not in LETTERS or size not in SIZES:
        raise TableError(
            f"{where}: {text!r} is no operand; write a letter of {''.join(sorted(LETTERS))} and a size of "
            f"{' '.join(s for s in SIZES if s)} (as Ev, Ib, Mps), one of {' '.join(FIXED)}, or `!v`."
        )
    if not size and letter not in "MCDS":
        raise TableError(f"{where}: the operand {text!r} lacks its size; only M, C, D and S go without.")
    return Operand(letter, size, text)


def _parse_flags(text: str, where: str) -> tuple[int, int, int]:
    masks = {"w": 0, "r": 0, "u": 0}
    for part in text.split():
        kind, equals, letters = part.partition("=")
        if kind not in masks or not equals or any(letter not in FLAG_BITS for letter in letters):
            raise TableError(f"{where}: {part!r} is no flags entry; write w=, r= or u= with letters of oszapcdi.")
        for letter in letters:
            masks[kind] |= FLAG_BITS[letter]
    if masks["w"] & masks["u"]:
        raise TableError(f"{where}: a flag cannot be both written (w=) and undefined (u=).")
    return masks["w"], masks["r"], masks["u"]


def _parse_attributes(text: str, where: str) -> dict[str, str | int | bool]:
    attributes: dict[str, str | int | bool] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        name, equals, value = part.partition("=")
        if name not in ATTRIBUTES:
            raise TableError(f"{where}: there is no attribute {name!r}; there are {', '.join(ATTRIBUTES)}.")
        if bool(equals) != (name in _WITH_VALUE) or (equals and not value):
            form = f"{name}=VALUE" if name in _WITH_VALUE else name
            raise TableError(f"{where}: the attribute {part!r} is to be written {form}.")
        if name in attributes:
            raise TableError(f"{where}: the attribute {name} is given twice.")
        attributes[name] = int(value, 0) if name == "aux" else value if equals else True
    for one, other in _EXCLUSIVE:
        if one in attributes and other in attributes:
            raise TableError(f"{where}: the attributes {one} and {other} exclude each other.")
    return attributes


def parse_row(line: str, where: str) -> Row:
    """One line of a ROWS text; where (file:line) goes into messages. Raises TableError."""
    columns = [("" if column.strip() == "-" else column.strip()) for column in line.split("|")]
    if not 2 <= len(columns) <= 5:
        raise TableError(
            f"{where}: the row has {len(columns)} columns; write opcode | mnemonic | operands | flags | attributes."
        )
    columns += [""] * (5 - len(columns))
    vex = width = ""
    plus_r = plus_i = False
    modrm: int | None = None
    if columns[0].startswith("VEX"):
        vex, prefix, opcode, extension, width = _parse_vex(columns[0], where)
    else:
        prefix, opcode, extension, plus_r, modrm, plus_i = _parse_opcode(columns[0], where)
    mnemonic = columns[1]
    if not mnemonic.replace("_", "").isalnum() or mnemonic != mnemonic.upper():
        raise TableError(f"{where}: {mnemonic!r} is no mnemonic; write capital letters, digits and _.")
    operands = tuple(parse_operand(t.strip(), where) for t in columns[2].split(",")) if columns[2] else ()
    written, read, undefined = _parse_flags(columns[3], where)
    attributes = _parse_attributes(columns[4], where)
    if width in ("W0", "W1"):
        attributes[width] = True
    try:
        feature = feature_named(str(attributes.get("feature", "base"))).name
    except UserInputError as error:
        raise TableError(f"{where}: {error}") from None
    letters = [operand.letter for operand in operands]
    if sum(letter in RM_LETTERS for letter in letters) > 1:
        raise TableError(f"{where}: two operands of {columns[2]!r} want ModRM.rm.")
    if not vex and (set("BHL") & set(letters) or "qq" in [operand.size for operand in operands]):
        raise TableError(f"{where}: the operands B, H, L and the size qq are for rows with VEX.")
    if "Z" in letters and not plus_r:
        raise TableError(f"{where}: an operand Z needs an opcode with `+r`.")
    if "STi" in [operand.name for operand in operands] and not plus_i:
        raise TableError(f"{where}: an operand STi needs an exact ModRM byte with `+i`.")
    return Row(
        prefix, opcode, extension, plus_r, modrm, plus_i, mnemonic, operands, written, read, undefined, feature,
        attributes, where, vex,
    )  # fmt: skip


def parse_rows(text: str, name: str, first_line: int = 1) -> list[Row]:
    """All rows of a ROWS text; name and first_line make the places in messages and in Row.source. Raises TableError."""
    rows = []
    for number, raw in enumerate(text.splitlines(), first_line):
        line = raw.split(" #")[0].strip() if not raw.lstrip().startswith("#") else ""
        for one in _both_lengths(line) if line else ():
            rows.append(parse_row(one, f"{name}:{number}"))
    return rows


def _both_lengths(line: str) -> list[str]:
    """A row, or the two rows that `VEX.128/256` stands for."""
    if not line.startswith("VEX.128/256."):
        return [line]
    short = _FEATURES_BY_LENGTH.sub(r"feature=\1", line)
    long = _FEATURES_BY_LENGTH.sub(r"feature=\2", line)
    return [short.replace("128/256", "128", 1), long.replace("128/256", "256", 1)]


_FEATURES_BY_LENGTH = re.compile(r"feature=(\w+)/(\w+)")


def check_unambiguous(rows: Iterable[Row]) -> None:
    """Raises TableError where two rows of one feature would claim the same encoding.

    With different features they may: the decoder passes over a row whose feature the model lacks.
    """
    seen: dict[tuple[object, ...], Row] = {}
    for row in rows:
        kinds = ["mem"] if row.has("mem") else ["reg"] if row.has("reg") or row.modrm is not None else ["mem", "reg"]
        modes = ["o64"] if row.has("o64") else ["i64"] if row.has("i64") else ["i64", "o64"]
        widths = ["W0"] if row.has("W0") else ["W1"] if row.has("W1") else ["W0", "W1"]
        lengths = ["128", "256"] if row.vex == "LIG" else [row.vex]
        for kind, mode, width, length in itertools.product(kinds, modes, widths, lengths):
            encoding = (row.prefix, row.opcode, row.extension, row.plus_r, row.modrm)
            key = (*encoding, kind, mode, width, length, row.feature)
            if key in seen:
                other = seen[key]
                raise TableError(f"{row.source}: `{row}` encodes the same as `{other}` at {other.source}.")
            seen[key] = row


_cache: list[Row] | None = None


def load_rows() -> list[Row]:
    """All rows of every module rows_<area> beside this one, in the order of module names and lines.

    Raises TableError for a malformed row or two rows with one encoding.
    """
    global _cache
    if _cache is None:
        package = importlib.import_module("x86emu.isa")
        rows: list[Row] = []
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda m: m.name):
            if module.name.startswith("rows_"):
                imported = importlib.import_module(f"x86emu.isa.{module.name}")
                text: str = imported.ROWS
                rows += parse_rows(text, f"{module.name}.py", _line_of(imported.__file__, text))
        check_unambiguous(rows)
        _cache = rows
    return list(_cache)


def _line_of(path: str | None, text: str) -> int:
    """Line of the file on which the ROWS text begins, so that messages lead to the row."""
    if path is None:
        return 1
    with open(path, encoding="utf-8") as file:
        content = file.read()
    position = content.find(text)
    return 1 if position < 0 else content.count("\n", 0, position) + 1
