"""Encodings made from rows of the instruction table: operand forms and widths, addressing forms and prefixes (Intel SDM
volume 2A, chapter 2; volume 2D, appendix A), and the corner values that go with them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.records import LAYOUT, WINDOW_BYTES
from x86emu.conform.states import set_tables
from x86emu.conform.vex import Choices, VexFields, choose_fields, index_values
from x86emu.isa.table import Operand, Row, load_rows

STATES_PER_ENCODING = 8


@dataclass
class Form:
    """What one encoding exercises, for the coverage report."""

    row: int
    mode: int
    operands: str
    """Operand widths and kinds, as `r32,m32`."""
    addressing: str = ""
    prefixes: str = ""

    @property
    def text(self) -> str:
        """The key of UnitResult.coverage."""
        return f"{self.row}|{self.mode}|{self.operands}|{self.addressing}|{self.prefixes}"


_U64 = (1 << 64) - 1
CORNERS = (
    0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32,
    (1 << 63) - 1, 1 << 63, _U64, _U64 - 1, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFF8000, 0xFFFFFFFFFFFFFF80, 9, 10, 0x99,
    0x0F0F0F0F0F0F0F0F, 0x5555555555555555, 31, 32, 33, 63, 64, 65,
)  # fmt: skip
_SINGLES = (0, 0x80000000, 0x3F800000, 0xBF800000, 0x7F800000, 0xFF800000, 0x7FC00000, 0x7F800001, 0xFFC12345, 1,
            0x807FFFFF, 0x00800000, 0x7F7FFFFF, 0x4F000000, 0xCF000000, 0x4EFFFFFF, 0x40490FDB, 0x3F000000,
            0x3FC00000)  # fmt: skip
_DOUBLES = (0, 1 << 63, 0x3FF0000000000000, 0xBFF0000000000000, 0x7FF0000000000000, 0xFFF0000000000000,
            0x7FF8000000000000, 0x7FF0000000000001, 1, 0x800FFFFFFFFFFFFF, 0x0010000000000000, 0x7FEFFFFFFFFFFFFF,
            0x41E0000000000000, 0xC1E0000000000000, 0x43E0000000000000, 0xC3E0000000000000, 0x3FE0000000000000,
            0x36A0000000000000, 0x47EFFFFFFFFFFFFF, 0x400921FB54442D18)  # fmt: skip
_EXTENDED = (
    (0, 0), (0, 0x8000), (1 << 63, 0x3FFF), (1 << 63, 0xBFFF), (1 << 63, 0x7FFF), (1 << 63, 0xFFFF),
    (0xC000000000000000, 0x7FFF), (0xA000000000000000, 0x7FFF), (0xC000000000000000, 0xFFFF), (1, 0), (1 << 63, 0),
    (_U64, 0x7FFE), (1 << 63, 1), (0x4000000000000000, 0x3FFF), (0, 0x7FFF), (0xC90FDAA22168C235, 0x4000),
    (1 << 63, 0x401E), (1 << 63, 0x403E), (_U64, 0x403D), (1 << 63, 0x3FFE), (0xB504F333F9DE6484, 0x3FFE),
)  # fmt: skip
set_tables(LAYOUT.stack, CORNERS, _SINGLES, _DOUBLES, _EXTENDED)

_REGISTER_LETTERS, _STRING_LETTERS = frozenset("NURCD"), frozenset("XY")
_MANDATORY = {"": b"", "66": b"\x66", "F3": b"\xf3", "F2": b"\xf2", "66F3": b"\x66\xf3", "66F2": b"\x66\xf2"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What encode() asks of a row, looked up once."""

    sized: bool
    """The operand size matters."""
    takes_66: bool
    free: bool
    """Legacy prefixes may stand in any order."""
    mandatory: bytes
    repeats: bool
    wide: int
    """REX.W: 1 always, 0 never, -1 either."""
    no_b: bool
    default_64: bool
    forced_64: bool
    has_modrm: bool
    memory: int
    """Operand in ModRM.rm: 1 memory, 0 register, -1 either."""
    lockable: bool
    ends: bool
    implicit: bool
    """Addresses memory by rSI, rDI or rBX."""


@cache
def facts(number: int) -> Facts:
    """The Facts of a row of the table."""
    row = load_rows()[number]
    letters = {operand.letter for operand in row.operands}
    sized = any(operand.size in ("v", "z", "y", "a", "p") for operand in row.operands) or row.has("d64")
    registers_only = row.has("reg") or row.modrm is not None or bool(letters & _REGISTER_LETTERS)
    return Facts(
        sized=sized,
        takes_66=sized and row.prefix in ("", "NFx"),
        free=row.prefix in ("", "NP", "NFx"),
        mandatory=b"" if row.vex or row.prefix in ("NP", "NFx") else _MANDATORY[row.prefix],
        repeats=row.has("rep") or row.has("repz"),
        wide=1 if row.has("W1") else 0 if row.has("W0") else -1,
        no_b=row.has("B0"),
        default_64=row.has("d64"),
        forced_64=row.has("f64"),
        has_modrm=row.has_modrm,
        memory=0 if registers_only or not row.has_modrm else 1 if row.has("mem") or "M" in letters else -1,
        lockable=row.has("lock"),
        ends=row.has("end"),
        implicit=bool(letters & _STRING_LETTERS) or row.mnemonic in ("MASKMOVQ", "MASKMOVDQU", "VMASKMOVDQU", "XLAT"),
    )


@cache
def describe(number: int, size: str, memory: bool) -> str:
    """Operand widths and kinds of an encoding, as `r32,m32`."""
    row = load_rows()[number]
    bits = {"b": "8", "w": "16", "d": "32", "q": "64"}
    parts = []
    for operand in row.operands:
        if operand.letter == "!":
            continue
        width = {"v": size, "z": "w" if size == "w" else "d", "y": "q" if size == "q" else "d"}.get(
            operand.size, operand.size
        )
        text = bits.get(width, width)
        if operand.letter == "fixed":
            parts.append(operand.name if not operand.name.startswith("r") else f"{operand.name[:3]}{text}")
        elif operand.letter in "EMQWO" and (memory or operand.letter in "MO"):
            parts.append(f"m{text}")
        else:
            letter = {"I": "imm", "J": "rel", "X": "m", "Y": "m", "P": "mm", "N": "mm", "Q": "mm"}.get(operand.letter)
            letter = letter or (
                ("ymm" if width == "qq" or (row.vex == "256" and width in ("x", "ps", "pd")) else "xmm")
                if operand.letter in "HLVUW"
                else "r"
                if operand.letter in "BEGRZ"
                else operand.letter.lower()
            )
            parts.append(letter + (text if letter in ("r", "imm", "rel", "m") else ""))
    return ",".join(parts)


_OVERRIDES = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65)


@dataclass
class Encoding:
    """Bytes, and what the state must be for the operand to lie at `target`."""

    code: bytes
    form: Form
    fixed: dict[int, int] = field(default_factory=dict)
    window: int = LAYOUT.data + 0x800
    rip: int = LAYOUT.code + 0x800
    step: bool = False
    index: tuple[int, NDArray[np.uint64]] | None = None
    """A vector register that is an index, and its contents by state."""


class Encoder:
    """Makes encodings of rows; all choices come from one source."""

    def __init__(self, choices: Choices, mode: int) -> None:
        self.choices = choices
        self.chance = choices.chance
        self.pick = choices.below
        self.mode = mode
        self.long = mode == 64

    def encode(self, number: int, row: Row) -> Encoding:
        """One encoding of a row, with register operands at random and memory at a chosen place."""
        f = facts(number)
        random, pick, long = self.choices.random, self.pick, self.long
        prefixes = f.mandatory
        names = []
        rex = 0
        size = "d"
        if f.takes_66 and random() < 0.33:
            prefixes += b"\x66"
            size = "w"
            names.append("66")
        repeated = f.repeats and random() < 0.6
        if repeated:
            kind = b"\xf3" if random() < 0.5 else b"\xf2"
            prefixes += kind
            names.append(kind.hex())
        address_bits = self.mode
        if random() < 0.12:
            prefixes += b"\x67"
            address_bits = 32 if long else 16
            names.append("67")
        if random() < 0.12:
            prefixes += bytes([_OVERRIDES[pick(6 if long and random() < 0.1 else 4)]])
            names.append("segment")
        vex: VexFields | None = None
        if row.vex:
            vex = choose_fields(row, self.choices, long)
            rex = vex.rex
            names.append(vex.name)
            if vex.misprefix:
                names.append(f"misplaced {vex.misprefix.hex()}")
        elif long:
            if f.wide == 1 or (f.wide and random() < (0.4 if f.sized else 0.02)):
                rex = 0x48
            if random() < 0.5:
                rex |= 0x40 | pick(8)
            if f.no_b:
                rex &= ~1
            if rex:
                names.append("REX.W" if rex & 8 else "REX")
        if long and (rex & 8 or f.forced_64 or (f.default_64 and size == "d")):
            size = "q"
        memory = f.memory == 1 or (f.memory == -1 and random() < 0.45)
        if random() < (0.25 if f.lockable and memory else 0.004):
            prefixes += b"\xf0"
            names.append("lock")
        if f.free and len(prefixes) > 1:
            order = list(prefixes)
            self.choices.shuffle(order)
            prefixes = bytes(order)
        form = Form(number, self.mode, describe(number, size, memory), "", " ".join(names))
        made = Encoding(b"", form, step=f.ends or repeated)
        if vex:
            text = prefixes + vex.misprefix + vex.prefix() + row.opcode[-1:]
        else:
            text = prefixes + (bytes([rex]) if rex else b"") + row.opcode
        if row.plus_r:
            text = text[:-1] + bytes([text[-1] | pick(8)])
        immediate = self._immediates(row, size, address_bits, made)
        if f.has_modrm:
            text = self._modrm(row, text, rex, memory, address_bits, len(immediate), made, vex.vvvv if vex else 0)
        if f.implicit:
            self._implicit_addresses(repeated, made)
        made.code = text + immediate
        place = random()
        if place < 0.03 and "rip" not in form.addressing:
            if place < 0.02:
                made.rip = LAYOUT.code + 0x1000 - 1 - pick(len(made.code))  # crosses into the second page
            elif len(made.code) > 1:
                made.rip = LAYOUT.code + LAYOUT.code_bytes - 1 - pick(len(made.code) - 1)  # and into nothing
        return made

    def _immediates(self, row: Row, size: str, address_bits: int, made: Encoding) -> bytes:
        data = b""
        for operand in row.operands:
            if operand.letter in "IL":
                data += self._immediate(1 if operand.letter == "L" else self._immediate_bytes(operand, size))
            elif operand.letter == "J":
                length = 1 if operand.size == "b" else 2 if size == "w" and not (self.long and row.has("f64")) else 4
                distance = self.pick(100) + 1 if self.chance(0.7) else -20 - self.pick(100)
                data += distance.to_bytes(length, "little", signed=True)
            elif operand.letter == "O":
                target = self._target()
                made.window = self._window_for(target)
                data += (target & (1 << address_bits) - 1).to_bytes(address_bits // 8, "little")
                made.form.addressing = "moffs"
        if row.mnemonic == "ENTER":
            data = struct.pack("<HB", self.pick(64), self.pick(4) if self.chance(0.5) else 0)
        return data

    def _immediate_bytes(self, operand: Operand, size: str) -> int:
        if operand.size == "v":
            return {"w": 2, "d": 4, "q": 8}[size]
        if operand.size == "z":
            return 2 if size == "w" else 4
        return {"b": 1, "w": 2, "d": 4, "q": 8}[operand.size]

    def _immediate(self, length: int) -> bytes:
        if self.chance(0.4):
            return (CORNERS[self.pick(len(CORNERS))] & ((1 << 8 * length) - 1)).to_bytes(length, "little")
        return self.choices.bytes(length)

    def _target(self) -> int:
        """A linear address for a memory operand: mostly good, aligned or not; page ends, holes, non-canonical."""
        kind = self.choices.random()
        middle = LAYOUT.data + 0x1000
        if kind < 0.45:
            return LAYOUT.data + 0x800 + 16 * self.pick(32)
        if kind < 0.75:
            return LAYOUT.data + 0x400 + self.pick(0x800)
        if kind < 0.85:
            return middle - self.pick(17)
        if kind < 0.90:
            return LAYOUT.data + LAYOUT.data_bytes - self.pick(17)
        if kind < 0.93:
            return LAYOUT.data - self.pick(17)
        if kind < 0.95:
            return LAYOUT.code + 0x800 + self.pick(64)
        if kind < 0.97 and self.long:
            return 0x0000800000000000 - self.pick(17) if self.chance(0.5) else 0xFFFF7FFFFFFFFFFF - self.pick(17)
        return LAYOUT.stack + 0x100 + self.pick(0x400)

    def _window_for(self, target: int) -> int:
        low = LAYOUT.data
        high = LAYOUT.data + LAYOUT.data_bytes - WINDOW_BYTES
        return min(max((target - 48) & ~15, low), high) if low - 64 <= target <= high + 256 else low + 0x800

    def _implicit_addresses(self, repeated: bool, made: Encoding) -> None:
        made.fixed[6] = self._target()
        made.fixed[7] = self._target()
        made.fixed[3] = self._target()
        made.window = self._window_for(made.fixed[7])
        if repeated:
            made.fixed[1] = self.pick(9)
        made.form.addressing = "implicit"

    def _modrm(
        self, row: Row, text: bytes, rex: int, memory: bool, address_bits: int, immediate: int, made: Encoding,
        vvvv: int = 0,
    ) -> bytes:  # fmt: skip
        reg = row.extension if row.extension is not None else self.pick(8)
        if row.modrm is not None:
            return text + bytes([row.modrm | (self.pick(8) if row.modrm_plus_i else 0)])
        if not memory:
            return text + bytes([0xC0 | reg << 3 | self.pick(8)])
        target = self._target()
        made.window = self._window_for(target)
        if address_bits == 16:
            return text + self._modrm16(reg, made)
        if row.has("vsib"):
            return text + self._vsib(row, reg, rex, vvvv, address_bits, made)
        return text + self._modrm32(len(text), reg, rex, address_bits, immediate, target, made)

    def _vsib(self, row: Row, reg: int, rex: int, vvvv: int, address_bits: int, made: Encoding) -> bytes:
        """SIB with a vector index: base and displacement lead to the middle of the data, indices from there."""
        register = self.pick(8)
        while register | (rex & 2) << 2 in (vvvv, reg | (rex & 4) << 1) and self.chance(0.95):
            register = self.pick(8)
        made.index = (register | (rex & 2) << 2, index_values(row, self.choices, STATES_PER_ENCODING))
        target = LAYOUT.data + 0x1000 + self.pick(64) if self.chance(0.5) else self._target()
        made.window = self._window_for(target)
        mod, base, scale = self.pick(3), self.pick(8), self.pick(4)
        if base == 5 and mod == 0:
            made.form.addressing = "vector*s+disp32"
            return bytes([reg << 3 | 4, scale << 6 | register << 3 | 5]) + struct.pack("<I", target & 0x7FFFFFFF)
        displacement = 0 if mod == 0 else self.pick(256) - 128 if mod == 1 else self.pick(1 << 32) - (1 << 31)
        tail = displacement.to_bytes({0: 0, 1: 1, 2: 4}[mod], "little", signed=True)
        made.fixed[base | (rex & 1) << 3 if self.long else base] = (target - displacement) & ((1 << address_bits) - 1)
        made.form.addressing = "base+vector*s" + (f"+disp{8 * len(tail)}" if tail else "")
        return bytes([mod << 6 | reg << 3 | 4, scale << 6 | register << 3 | base]) + tail

    def _modrm16(self, reg: int, made: Encoding) -> bytes:
        """16-bit addresses reach only unmapped pages here; the fault's address tells that they are computed right."""
        mod, rm = self.pick(3), self.pick(8)
        size = 2 if mod == 2 or (mod == 0 and rm == 6) else mod
        made.form.addressing = f"16:{mod}.{rm}"
        return bytes([mod << 6 | reg << 3 | rm]) + self.choices.bytes(size)

    def _modrm32(
        self, before: int, reg: int, rex: int, address_bits: int, immediate: int, target: int, made: Encoding
    ) -> bytes:
        mask = (1 << address_bits) - 1
        mod, rm = self.pick(3), self.pick(8)
        if mod == 0 and rm == 5:
            made.form.addressing = "rip" if self.long else "disp32"
            displacement = target
            if self.long:
                displacement = target - (made.rip + before + 1 + 4 + immediate)
                if not -(1 << 31) <= displacement < 1 << 31:
                    displacement = 0x100
            return bytes([reg << 3 | 5]) + (displacement & 0xFFFFFFFF).to_bytes(4, "little")
        displacement = 0
        if mod == 1:
            displacement = self.pick(256) - 128
        elif mod == 2:
            displacement = self.pick(1 << 16) - (1 << 15) if self.chance(0.7) else self.pick(1 << 32) - (1 << 31)
        tail = displacement.to_bytes({0: 0, 1: 1, 2: 4}[mod], "little", signed=True)
        if rm != 4:
            base = rm | (rex & 1) << 3 if self.long else rm
            made.fixed[base] = (target - displacement) & mask
            made.form.addressing = f"base+disp{8 * len(tail)}" if tail else "base"
            return bytes([mod << 6 | reg << 3 | rm]) + tail
        scale, index, base = self.pick(4), self.pick(8), self.pick(8)
        sib = bytes([scale << 6 | index << 3 | base])
        index_register = index | (rex & 2) << 2 if self.long else index
        base_register = base | (rex & 1) << 3 if self.long else base
        has_index = index_register != 4
        if base == 5 and mod == 0:
            made.form.addressing = "index*s+disp32" if has_index else "sib disp32"
            if has_index:
                value = self.pick(64)
                made.fixed[index_register] = value
                displacement = target - (value << scale)
            else:
                displacement = target
            if not -(1 << 31) <= displacement < 1 << 32:
                displacement = 0x100
            tail = (displacement & 0xFFFFFFFF).to_bytes(4, "little")
            return bytes([reg << 3 | 4]) + sib + tail
        if has_index and index_register == base_register:
            value = (target - displacement) // (1 + (1 << scale))
            made.fixed[base_register] = value & mask
        elif has_index:
            value = self.pick(64) if self.chance(0.7) else int.from_bytes(self.choices.bytes(8), "little") & mask
            made.fixed[index_register] = value
            made.fixed[base_register] = (target - displacement - (value << scale)) & mask
        else:
            made.fixed[base_register] = (target - displacement) & mask
        made.form.addressing = ("base+index*s" if has_index else "sib base") + (f"+disp{8 * len(tail)}" if tail else "")
        return bytes([mod << 6 | reg << 3 | 4]) + sib + tail
