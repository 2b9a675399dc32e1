"""Cases made from the instruction table: every encoding, operand form and width, addressing form and prefix of a row,
with corner values in registers and memory (Intel SDM volume 2A, chapter 2; volume 2D, appendix A).

Everything follows from a seed: batch n of a campaign is make_batch(seed, n), whoever makes it and in whatever order.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.records import LAYOUT, WINDOW_BYTES, Records, empty, set_code
from x86emu.conform.vex import VexFields, choose_fields, index_values
from x86emu.isa.table import Operand, Row, load_rows

STATES_PER_ENCODING = 8
STEP = 0x80000000
"""Bit of `steps` for engines that have two ways to run a case: single steps."""

# What a process under an operating system cannot do with the same outcome on every host, whatever the implementation:
# by reason, so that a report can name it.  These rows are for other suites.
ENVIRONMENT: dict[str, frozenset[str]] = {
    "calls the operating system": frozenset("SYSCALL SYSENTER SYSEXIT SYSRET INT INT1 INT3 INTO IRET".split()),
    "depends on the descriptor tables of the operating system": frozenset(
        "LAR LSL VERR VERW LDS LES LSS LFS LGS CALLF JMPF RETF ARPL".split()
    ),
    "tells the processor, its clock or its configuration": frozenset(
        "CPUID RDTSC RDTSCP RDRAND RDSEED RDPID XGETBV RDPMC SGDT SIDT SLDT STR SMSW RDFSBASE RDGSBASE WRFSBASE "
        "WRGSBASE RDPKRU WRPKRU".split()
    ),
    "has an image that processors lay out differently": frozenset(
        "FXSAVE FXRSTOR XSAVE XRSTOR XSAVEC XSAVEOPT XSAVES XRSTORS FXSAVE64 FXRSTOR64 XSAVE64 XRSTOR64 XSAVEC64 "
        "XSAVEOPT64 XSAVES64 XRSTORS64 FNSAVE FSAVE FRSTOR FNSTENV FSTENV FLDENV".split()
    ),
    "waits or hints": frozenset("MONITOR MWAIT UMONITOR UMWAIT TPAUSE PAUSE HLT".split()),
    "writes FLAGS.TF, by which the oracle steps": frozenset("PUSHF POPF".split()),
}
_EXCLUDED = {name: reason for reason, names in ENVIRONMENT.items() for name in names}
_SEGMENT_FIXED = ("ES", "CS", "SS", "DS", "FS", "GS")


def environment_reason(row: Row) -> str | None:
    """Why a row cannot be compared in user mode, or None."""
    if row.mnemonic in _EXCLUDED:
        return _EXCLUDED[row.mnemonic]
    if row.feature in ("pre386", "pre186"):
        return "of processors before the 80386"
    for operand in row.operands:
        if operand.letter == "S" or operand.name in _SEGMENT_FIXED:
            return "depends on the descriptor tables of the operating system"
        if operand.letter == "A":
            return "depends on the descriptor tables of the operating system"
    if row.mnemonic in ("CALL", "JMP") and any(operand.size == "p" for operand in row.operands):
        return "depends on the descriptor tables of the operating system"
    return None


def usable(row: Row, mode: int, features: frozenset[str]) -> bool:
    """Whether the row makes cases in this mode on processors with these features."""
    if row.has("i64") and mode == 64 or row.has("o64") and mode != 64:
        return False
    return row.feature in features and environment_reason(row) is None


@dataclass
class Form:
    """What one encoding exercises, for the coverage report."""

    row: int
    mode: int
    operands: str
    """Operand widths and kinds, as `r32,m32`."""
    addressing: str = ""
    prefixes: str = ""
    texts: list[str] = field(default_factory=list)

    @property
    def key(self) -> tuple[int, int, str, str, str]:
        return self.row, self.mode, self.operands, self.addressing, self.prefixes


_U64 = (1 << 64) - 1
CORNERS = np.array(
    [0, 1, 2, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 32,
     (1 << 63) - 1, 1 << 63, _U64, _U64 - 1, 0xFFFFFFFF80000000, 0xFFFFFFFFFFFF8000, 0xFFFFFFFFFFFFFF80, 9, 10, 0x99,
     0x0F0F0F0F0F0F0F0F, 0x5555555555555555, 31, 32, 33, 63, 64, 65],
    np.uint64,
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


def _integers(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """64-bit values: corners, small ones, random ones of every length."""
    values = rng.integers(0, _U64, shape, np.uint64, endpoint=True)
    values >>= rng.integers(0, 64, shape, np.uint64) * (rng.random(shape) < 0.4)
    corner = rng.random(shape) < 0.4
    values[corner] = rng.choice(CORNERS, int(corner.sum()))
    return values


def _floats(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    """64-bit halves of vector operands: integers, singles, doubles, corners of both."""
    values = _integers(rng, shape)
    kind = rng.integers(0, 6, shape)
    pairs = rng.choice(np.array(_SINGLES, np.uint64), shape) | rng.choice(
        np.array(_SINGLES, np.uint64), shape
    ) << np.uint64(32)
    values = np.where(kind == 0, pairs, values)
    values = np.where(kind == 1, rng.choice(np.array(_DOUBLES, np.uint64), shape), values)
    near_one = rng.integers(0x3F0, 0x410, shape, np.uint64) << np.uint64(52) | rng.integers(
        0, 1 << 52, shape, np.uint64
    )
    values = np.where(kind == 2, near_one | (rng.integers(0, 2, shape, np.uint64) << np.uint64(63)), values)
    one = rng.integers(0x70, 0x90, shape, np.uint64) << np.uint64(23) | rng.integers(0, 1 << 23, shape, np.uint64)
    two = rng.integers(0x70, 0x90, shape, np.uint64) << np.uint64(23) | rng.integers(0, 1 << 23, shape, np.uint64)
    values = np.where(kind == 3, one | two << np.uint64(32), values)
    return values


def _fill_states(records: Records, rng: np.random.Generator, long: bool, features: frozenset[str]) -> None:
    """Registers and memory of all records, before addresses are put in; the upper halves of YMM with AVX."""
    count = len(records)
    records["gpr"] = _integers(rng, (count, 16))
    if not long:
        records["gpr"] &= np.uint64(0xFFFFFFFF)
        records["gpr"][:, 8:] = 0
    records["gpr"][:, 4] = LAYOUT.stack + 0x800 + 8 * rng.integers(0, 32, count).astype(np.uint64)
    flags = rng.integers(0, 1 << 12, count, np.uint64) & np.uint64(0x8D5)
    records["rflags"] = flags | np.uint64(0x202) | (rng.random(count) < 0.15).astype(np.uint64) << np.uint64(10)
    xmm = _floats(rng, (count, 16, 2))
    if not long:
        xmm[:, 8:] = 0
    records["xmm"] = xmm
    if "avx" in features:
        records["ymm_high"][:, : 16 if long else 8] = _floats(rng, (count, 16 if long else 8, 2))
    records["window"] = _floats(rng, (count, WINDOW_BYTES // 8)).view(np.uint8).reshape(count, WINDOW_BYTES)
    rounding = rng.integers(0, 4, count).astype(np.uint32) << 13
    special = rng.random(count)
    mxcsr = np.uint32(0x1F80) | rounding
    mxcsr = np.where(special < 0.1, mxcsr | np.uint32(0x8040), mxcsr)
    mxcsr = np.where(special > 0.9, mxcsr & ~(np.uint32(0x80) << rng.integers(0, 6, count).astype(np.uint32)), mxcsr)
    records["mxcsr"] = mxcsr
    _fill_x87(records, rng)


def _fill_x87(records: Records, rng: np.random.Generator) -> None:
    count = len(records)
    mantissa = rng.integers(1 << 63, _U64, (count, 8), np.uint64, endpoint=True)
    exponent = rng.integers(0x3FD0, 0x4030, (count, 8)).astype(np.uint16)
    wild = rng.random((count, 8)) < 0.1
    exponent[wild] = rng.integers(0, 0x7FFF, int(wild.sum())).astype(np.uint16)
    exponent |= (rng.integers(0, 2, (count, 8)) << 15).astype(np.uint16)
    corner = np.array(list(_EXTENDED), dtype=[("m", "<u8"), ("e", "<u2")])
    pick = rng.integers(0, len(corner), (count, 8))
    special = rng.random((count, 8)) < 0.35
    records["st_mantissa"] = np.where(special, corner["m"][pick], mantissa)
    records["st_exponent"] = np.where(special, corner["e"][pick], exponent)
    precision = rng.choice(np.array([0x300, 0x300, 0x300, 0x200, 0x000], np.uint16), count)
    records["control"] = 0x7F | precision | (rng.integers(0, 4, count) << 10).astype(np.uint16)
    records["control"] &= np.uint16(0xFFBF)
    records["control"] |= np.uint16(0x40)
    records["status"] = (rng.integers(0, 8, count) << 11).astype(np.uint16) | (
        rng.integers(0, 1 << 15, count).astype(np.uint16) & np.uint16(0x4700)
    )
    records["valid"] = np.where(rng.random(count) < 0.75, 0xFF, rng.integers(0, 256, count)).astype(np.uint16)


# ---------------------------------------------------------------- encodings

_OVERRIDES = (0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65)


@dataclass
class _Encoding:
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
    """Makes encodings of rows; all choices come from one random generator."""

    def __init__(self, rng: np.random.Generator, mode: int) -> None:
        self.rng = rng
        self.mode = mode
        self.long = mode == 64

    def chance(self, probability: float) -> bool:
        return bool(self.rng.random() < probability)

    def pick(self, count: int) -> int:
        return int(self.rng.integers(0, count))

    def encode(self, number: int, row: Row) -> _Encoding:
        """One encoding of a row, with register operands at random and memory at a chosen place."""
        letters = {operand.letter for operand in row.operands}
        prefixes = b""
        names = []
        rex = 0
        size = "d"
        sized = any(operand.size in ("v", "z", "y", "a", "p", "v") for operand in row.operands) or row.has("d64")
        if row.prefix in ("", "NP"):
            if sized and self.chance(0.33) and row.prefix == "":
                prefixes += b"\x66"
                size = "w"
                names.append("66")
        if row.prefix not in ("", "NP") and not row.vex:
            prefixes += {"66": b"\x66", "F3": b"\xf3", "F2": b"\xf2", "66F3": b"\x66\xf3", "66F2": b"\x66\xf2"}[
                row.prefix
            ]
        repeated = False
        if (row.has("rep") or row.has("repz")) and self.chance(0.6):
            repeated = True
            kind = b"\xf3" if self.chance(0.5) else b"\xf2"
            prefixes += kind
            names.append(kind.hex())
        address_bits = self.mode
        if self.chance(0.12):
            prefixes += b"\x67"
            address_bits = 32 if self.long else 16
            names.append("67")
        if self.chance(0.12):
            override = _OVERRIDES[self.pick(6 if self.long and self.chance(0.1) else 4)]
            prefixes += bytes([override])
            names.append("segment")
        vex: VexFields | None = None
        if row.vex:
            vex = choose_fields(row, self.rng, self.long)
            rex = vex.rex
            names.append(vex.name)
            if vex.misprefix:
                names.append(f"misplaced {vex.misprefix.hex()}")
        elif self.long:
            if row.has("W1"):
                rex = 0x48
            elif not row.has("W0") and (sized or self.chance(0.05)) and self.chance(0.4):
                rex = 0x48
            if self.chance(0.5):
                rex |= 0x40 | self.pick(8)
            if row.has("B0"):
                rex &= ~1
            if rex:
                names.append("REX.W" if rex & 8 else "REX")
        if (rex & 8 and self.long) or (row.has("f64") and self.long) or (row.has("d64") and self.long and size == "d"):
            size = "q"
        lock = False
        rm_memory = not (row.has("reg") or row.modrm is not None or letters & set("NURCD"))
        memory = False
        if row.has_modrm and rm_memory:
            memory = row.has("mem") or "M" in letters or self.chance(0.45)
        if (row.has("lock") and memory and self.chance(0.25)) or self.chance(0.004):
            lock = True
            prefixes += b"\xf0"
            names.append("lock")
        order = list(prefixes)
        if row.prefix in ("", "NP"):
            self.rng.shuffle(order)
        form = Form(number, self.mode, self._describe(row, size, memory), "", " ".join(names))
        made = _Encoding(b"", form, step=row.has("end") or repeated)
        text = bytes(order) + (vex.misprefix + vex.prefix() if vex else bytes([rex]) if rex else b"")
        opcode = bytearray(row.opcode[-1:] if vex else row.opcode)
        if row.plus_r:
            opcode[-1] |= self.pick(8)
        text += bytes(opcode)
        immediate = self._immediates(row, size, address_bits, made)
        if row.has_modrm:
            text = self._modrm(row, text, rex, memory, address_bits, len(immediate), made, vex.vvvv if vex else 0)
        if letters & set("XY") or row.mnemonic in ("MASKMOVQ", "MASKMOVDQU", "VMASKMOVDQU", "XLAT"):
            self._implicit_addresses(repeated, made)
        made.code = text + immediate
        if self.chance(0.02):
            made.rip = LAYOUT.code + 0x1000 - 1 - self.pick(len(made.code))  # crosses into the second page
        elif self.chance(0.01) and len(made.code) > 1:
            made.rip = LAYOUT.code + LAYOUT.code_bytes - 1 - self.pick(len(made.code) - 1)  # and into nothing
        if made.rip != LAYOUT.code + 0x800 and "rip" in form.addressing:
            made.rip = LAYOUT.code + 0x800
        _ = lock
        return made

    def _describe(self, row: Row, size: str, memory: bool) -> str:
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
                letter = {"I": "imm", "J": "rel", "X": "m", "Y": "m", "P": "mm", "N": "mm", "Q": "mm"}.get(
                    operand.letter
                )
                letter = letter or (
                    ("ymm" if width == "qq" or (row.vex == "256" and width in ("x", "ps", "pd")) else "xmm")
                    if operand.letter in "HLVUW"
                    else "r" if operand.letter in "BEGRZ" else operand.letter.lower()
                )
                parts.append(letter + (text if letter in ("r", "imm", "rel", "m") else ""))
        return ",".join(parts)

    def _immediates(self, row: Row, size: str, address_bits: int, made: _Encoding) -> bytes:
        data = b""
        for operand in row.operands:
            if operand.letter in "IL":
                data += self._immediate(self._immediate_bytes(operand, size))
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
            return (int(CORNERS[self.pick(len(CORNERS))]) & ((1 << 8 * length) - 1)).to_bytes(length, "little")
        return bytes(self.rng.bytes(length))

    def _target(self) -> int:
        """A linear address for a memory operand: mostly good, aligned or not; page ends, holes, non-canonical."""
        kind = self.rng.random()
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

    def _implicit_addresses(self, repeated: bool, made: _Encoding) -> None:
        made.fixed[6] = self._target()
        made.fixed[7] = self._target()
        made.fixed[3] = self._target()
        made.window = self._window_for(made.fixed[7])
        if repeated:
            made.fixed[1] = self.pick(9)
        made.form.addressing = "implicit"

    def _modrm(
        self, row: Row, text: bytes, rex: int, memory: bool, address_bits: int, immediate: int, made: _Encoding,
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

    def _vsib(self, row: Row, reg: int, rex: int, vvvv: int, address_bits: int, made: _Encoding) -> bytes:
        """SIB with a vector index: base and displacement lead to the middle of the data, indices from there."""
        register = self.pick(8)
        while register | (rex & 2) << 2 in (vvvv, reg | (rex & 4) << 1) and self.chance(0.95):
            register = self.pick(8)
        made.index = (register | (rex & 2) << 2, index_values(row, self.rng, STATES_PER_ENCODING))
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

    def _modrm16(self, reg: int, made: _Encoding) -> bytes:
        """16-bit addresses reach only unmapped pages here; the fault's address tells that they are computed right."""
        mod, rm = self.pick(3), self.pick(8)
        size = 2 if mod == 2 or (mod == 0 and rm == 6) else mod
        made.form.addressing = f"16:{mod}.{rm}"
        return bytes([mod << 6 | reg << 3 | rm]) + bytes(self.rng.bytes(size))

    def _modrm32(
        self, before: int, reg: int, rex: int, address_bits: int, immediate: int, target: int, made: _Encoding
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
            value = self.pick(64) if self.chance(0.7) else int(self.rng.integers(0, _U64, dtype=np.uint64)) & mask
            made.fixed[index_register] = value
            made.fixed[base_register] = (target - displacement - (value << scale)) & mask
        else:
            made.fixed[base_register] = (target - displacement) & mask
        made.form.addressing = ("base+index*s" if has_index else "sib base") + (f"+disp{8 * len(tail)}" if tail else "")
        return bytes([mod << 6 | reg << 3 | 4]) + sib + tail


@dataclass
class Batch:
    """Cases of one mode and what they exercise."""

    mode: int
    cases: Records
    forms: list[Form]
    """By encoding: case n is of forms[n // STATES_PER_ENCODING]."""
    seed: int
    number: int
    undefined_flags: NDArray[np.uint64] = field(default_factory=lambda: np.zeros(0, np.uint64))
    """By case: EFLAGS bits that are undefined afterwards, from the rows."""

    def form_of(self, case: int) -> Form:
        return self.forms[case // STATES_PER_ENCODING]


def make_batch(
    seed: int, number: int, mode: int, features: frozenset[str], encodings: int, rows: list[int] | None = None
) -> Batch:
    """Batch `number` of a campaign: encodings times STATES_PER_ENCODING cases; rows limits it to these row numbers.

    The rows come in turn, so that a campaign goes through the whole table again and again.
    """
    rng = np.random.default_rng([seed, number, mode])
    table = load_rows()
    chosen = [n for n in (rows if rows is not None else range(len(table))) if usable(table[n], mode, features)]
    encoder = Encoder(rng, mode)
    count = encodings * STATES_PER_ENCODING
    cases = empty(count)
    cases["mode"] = mode
    _fill_states(cases, rng, mode == 64, features)
    forms: list[Form] = []
    start = number * encodings
    for n in range(encodings):
        row_number = chosen[(start + n) % len(chosen)]
        made = encoder.encode(row_number, table[row_number])
        forms.append(made.form)
        part = cases[n * STATES_PER_ENCODING : (n + 1) * STATES_PER_ENCODING]
        set_code_all(part, made.code)
        part["row"] = row_number
        part["rip"] = made.rip
        part["window_address"] = made.window
        part["steps"] = 1 | (STEP if made.step else 0)
        if made.step and made.fixed.get(1, 9) < 9 and not table[row_number].has("end"):
            part["steps"] = 16 | STEP
        for register, value in made.fixed.items():
            part["gpr"][:, register] = value & _U64
        if made.index is not None:
            part["xmm"][:, made.index[0]] = made.index[1][:, :2]
            part["ymm_high"][:, made.index[0]] = made.index[1][:, 2:]
        if not mode == 64:
            part["gpr"] &= np.uint64(0xFFFFFFFF)
    undefined = np.array([row.flags_undefined for row in table], np.uint64)[cases["row"]]
    return Batch(mode, cases, forms, seed, number, undefined)


def set_code_all(cases: Records, code: bytes) -> None:
    """The same bytes into all records."""
    holder: Any = empty(1)[0]
    set_code(holder, code)
    cases["code"] = holder["code"]
    cases["code_length"] = holder["code_length"]


def make_sequences(seed: int, number: int, mode: int, features: frozenset[str], count: int, length: int = 4) -> Batch:
    """Random sequences of instructions without control flow: flags and values flow from one to the next."""
    rng = np.random.default_rng([seed, number, mode, length])
    table = load_rows()
    chosen = [
        n for n, row in enumerate(table)
        if usable(row, mode, features) and not row.has("end") and not row.has("rep") and not row.has("repz")
    ]  # fmt: skip
    encoder = Encoder(rng, mode)
    cases = empty(count * STATES_PER_ENCODING)
    cases["mode"] = mode
    _fill_states(cases, rng, mode == 64, features)
    forms: list[Form] = []
    undefined = np.zeros(len(cases), np.uint64)
    for n in range(count):
        part = cases[n * STATES_PER_ENCODING : (n + 1) * STATES_PER_ENCODING]
        code = b""
        steps = 0
        window = LAYOUT.data + 0x800
        fixed: dict[int, int] = {}
        unknown = ever = 0
        for _ in range(length):
            row_number = chosen[int(rng.integers(0, len(chosen)))]
            row = table[row_number]
            if row.flags_read & unknown or row.has("undefined") or row.has("approximate") or row.has("vsib"):
                continue
            made = encoder.encode(row_number, table[row_number])
            if len(code) + len(made.code) > 60:
                break
            code += made.code
            steps += 1
            unknown = (unknown | row.flags_undefined) & ~row.flags_written
            ever |= row.flags_undefined  # a fault may end the sequence anywhere
            fixed.update(made.fixed)
            window = made.window
        forms.append(Form(-1, mode, f"sequence of {steps}"))
        undefined[n * STATES_PER_ENCODING : (n + 1) * STATES_PER_ENCODING] = ever
        set_code_all(part, code)
        part["steps"] = steps
        part["window_address"] = window
        for register, value in fixed.items():
            part["gpr"][:, register] = value & _U64
        if mode != 64:
            part["gpr"] &= np.uint64(0xFFFFFFFF)
    return Batch(mode, cases, forms, seed, number, undefined)
