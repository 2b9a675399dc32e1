"""Disassembler texts taken apart, so that those of different disassemblers can be compared: mnemonic and operands.

Operands are compared as what they mean: registers by name, immediates by value whatever their extension, memory by
segment, base, index, scale and displacement, and by size where both tell one.  Conventions that differ between
disassemblers and mean nothing are levelled: st and st(0), condition names, operands that the mnemonic implies.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

_PREFIXES = frozenset(
    "lock rep repe repz repne repnz bnd notrack xacquire xrelease data16 data32 addr16 addr32 rex.w hint-taken "
    "hint-not-taken".split()
)
_SIZES = {
    "byte": 1, "word": 2, "dword": 4, "fword": 6, "qword": 8, "tbyte": 10, "xword": 10, "oword": 16, "xmmword": 16,
    "ymmword": 32, "yword": 32, "zmmword": 64, "mmword": 8,
}  # fmt: skip
_CONDITIONS = {
    "e": "z", "ne": "nz", "c": "b", "nae": "b", "ae": "nb", "nc": "nb", "na": "be", "a": "nbe", "pe": "p", "po": "np",
    "nge": "l", "ge": "nl", "ng": "le", "g": "nle",
}  # fmt: skip
_TWO_OPERANDS = frozenset(["maskmovq", "maskmovdqu", "vmaskmovdqu"])
"""The third operand is implied: memory at DS:rDI."""
_CONDITIONAL = re.compile(r"(j|set|cmov)(n?[a-z]{1,3})$")
_SEGMENTS = frozenset("es cs ss ds fs gs".split())


@dataclass(frozen=True)
class Memory:
    """A memory operand; terms are (register, scale) sorted, size in bytes or 0 where the text tells none."""

    segment: str
    terms: tuple[tuple[str, int], ...]
    displacement: int
    size: int


Operand = str | int | Memory


@dataclass(frozen=True)
class Instruction:
    """One disassembled instruction."""

    length: int
    mnemonic: str
    operands: tuple[Operand, ...]


def _number(text: str) -> int | None:
    text = text.strip()
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-").strip()
    try:
        if text.startswith("0x"):
            return sign * int(text, 16)
        if text.endswith("h"):
            return sign * int(text[:-1], 16)
        return sign * int(text, 10)
    except ValueError:
        return None


@lru_cache(maxsize=1 << 16)
def operand(text: str) -> Operand:
    """One operand from its text."""
    text = text.strip()
    size = 0
    words = text.split(" ", 1)
    while len(words) == 2 and (words[0] in _SIZES or words[0] in ("ptr", "short", "near", "far", "offset")):
        size = _SIZES.get(words[0], size)
        text = words[1].strip()
        words = text.split(" ", 1)
    if "[" not in text:
        if text == "st":
            return "st(0)"
        if re.fullmatch(r"st\d", text):
            return f"st({text[2]})"
        head, colon, tail = text.partition(":")
        if colon and head in _SEGMENTS and (place := _number(tail)) is not None:
            return Memory(head, (), place, size)
        value = _number(text)
        return text if value is None else value
    before, _, inside = text.partition("[")
    inside = inside.rstrip("]").strip()
    segment = before.strip().rstrip(":")
    if segment.endswith(" ptr"):
        segment = ""
    head, colon, tail = inside.partition(":")
    if colon:
        segment, inside = head.strip(), tail
    terms: list[tuple[str, int]] = []
    displacement = 0
    for part in re.findall(r"[+-]?[^+-]+", inside.replace(" ", "")):
        value = _number(part)
        if value is not None:
            displacement += value
            continue
        name, _, scale = part.lstrip("+").partition("*")
        if name.isdigit():
            name, scale = scale, name
        terms.append((name, int(scale or "1")))
    terms = [t for t in terms if t[0] not in ("riz", "eiz")]
    return Memory(segment, tuple(sorted(terms)), displacement, size)


_WIDTH = re.compile(r"[er]?([a-d]x|[sd]i|[sb]p)$|(?<=\d)[bwd]$")
"""What of a general register's name tells its width."""
_FAR = re.compile(r"(?:far )?(0x[0-9a-f]+|\d+)[:,] ?(0x[0-9a-f]+|\d+)$")


def parse(length: int, text: str) -> Instruction:
    """An instruction from its text in Intel syntax.

    Reserved NOPs have ModRM.rm alone as operand, of no size (SDM 2D, table A-3); others show ModRM.reg too, and names
    that some of them have got since.
    """
    words = text.lower().strip().split(" ", 1)
    while len(words) == 2 and words[0] in _PREFIXES:
        words = words[1].strip().split(" ", 1)
    mnemonic = words[0]
    rest = words[1].strip() if len(words) == 2 else ""
    match = _CONDITIONAL.match(mnemonic)
    if match and match[2] in _CONDITIONS:
        mnemonic = match[1] + _CONDITIONS[match[2]]
    if mnemonic == "ret" and (rest == "far" or rest.startswith("far ")):
        mnemonic, rest = "retf", rest[4:]
    if mnemonic in ("jmp", "call", "ljmp", "lcall") and (far := _FAR.match(rest)):
        one, other = (int(part, 0) for part in far.groups())
        # iced writes the offset first
        return Instruction(length, mnemonic, (other, one) if rest.startswith("far ") else (one, other))
    texts = re.split(r",(?![^\[]*\])", rest) if rest else []
    operands = tuple(operand(t) for t in texts)
    if mnemonic == "nop" or mnemonic.startswith(("prefetchit", "rdssp")):
        first = operands[:1]
        operands = tuple(
            Memory(o.segment, o.terms, o.displacement, 0)
            if isinstance(o, Memory)
            else _WIDTH.sub(r"\1", o)
            if isinstance(o, str)
            else o
            for o in first
        )
    elif mnemonic in _TWO_OPERANDS:
        operands = operands[:2]
    return Instruction(length, mnemonic, operands)


def _same_number(one: int, other: int) -> bool:
    """Whether the two are the same immediate, extended to different widths or not."""
    if (one - other) % (1 << 64) == 0:
        return True
    small, large = sorted((one % (1 << 64), other % (1 << 64)))
    for bits in (8, 16, 32):
        if small >> bits == 0 and small >> bits - 1:  # negative in so many bits
            for wide in (16, 32, 64):
                if wide > bits and large == small + (1 << wide) - (1 << bits):
                    return True
    return False


_NULL_SEGMENTS = frozenset(["", "es", "cs", "ss", "ds"])


def _same_memory(one: Memory, other: Memory, level: bool) -> bool:
    """level: overrides of ES, CS, SS and DS mean nothing, or go without saying."""
    if one.terms != other.terms or (one.size and other.size and one.size != other.size):
        return False
    if one.segment != other.segment:
        null = _NULL_SEGMENTS if level else {"", "ds", "ss"}
        if not {one.segment, other.segment} <= null:
            return False
    first = one.terms[0][0] if one.terms else ""
    bits = 64 if first.startswith("r") and not first.endswith("d") else 32 if first else 0
    if first in ("bx", "bp", "si", "di"):
        bits = 16
    difference = one.displacement - other.displacement
    return difference % (1 << bits) == 0 if bits else any(difference % (1 << b) == 0 for b in (16, 32, 64))


def _same(one: Operand, other: Operand, level: bool) -> bool:
    if isinstance(one, int) and isinstance(other, int):
        return _same_number(one, other)
    if isinstance(one, Memory) and isinstance(other, Memory):
        return _same_memory(one, other, level)
    return one == other


def same_operands(one: Instruction, other: Instruction, mode: int) -> bool:
    """Whether the two have the same operands; one may leave out what its mnemonic implies."""
    a, b = one.operands, other.operands
    level = mode == 64 or one.mnemonic in _SEGMENT_IMPLIED or one.mnemonic == "lea"
    if len(a) == len(b):
        return all(_same(x, y, level) for x, y in zip(a, b, strict=True))
    short, long_ = (a, b) if len(a) < len(b) else (b, a)
    return _implied(list(short), list(long_), level)


_SEGMENT_IMPLIED = frozenset(f"{name}{size}" for name in ("movs", "cmps", "stos", "scas", "ins") for size in "bwdq")
_IMPLICIT = frozenset({"st(0)", "st(1)", "al", "ax", "eax", "rax", "dx", "cl", "xmm0", "ecx", "edx", "rcx", "rdx", 1})
_POINTERS = frozenset("rsi rdi rbx esi edi ebx si di bx".split())


def _implied(short: list[Operand], long_: list[Operand], level: bool) -> bool:
    """Whether leaving operands that an instruction implies out of long_ gives short."""
    if len(short) == len(long_):
        return all(_same(x, y, level) for x, y in zip(short, long_, strict=True))
    for n, left_out in enumerate(long_):
        plain = isinstance(left_out, Memory) and all(name in _POINTERS for name, _ in left_out.terms)
        if (plain or left_out in _IMPLICIT) and _implied(short, long_[:n] + long_[n + 1 :], level):
            return True
    return False
