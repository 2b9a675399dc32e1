"""What a user types for a number or a format: expressions with registers, and /COUNT FORMAT SIZE as in debuggers."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from x86emu.errors import UserInputError

if TYPE_CHECKING:
    from x86emu.core.processor import Processor

REGISTERS_64 = (
    "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
    "rip", "rflags", "cr0", "cr2", "cr3", "cr4", "efer",
)  # fmt: skip
SEGMENTS = ("cs", "ds", "es", "fs", "gs", "ss")
NARROW = {"e" + name[1:]: name for name in REGISTERS_64 if name.startswith("r") and not name[1].isdigit()}
NARROW["pc"] = "rip"
BINARY: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv,
    ast.Div: operator.floordiv, ast.Mod: operator.mod, ast.BitAnd: operator.and_, ast.BitOr: operator.or_,
    ast.BitXor: operator.xor, ast.LShift: operator.lshift, ast.RShift: operator.rshift,
}  # fmt: skip
LARGEST_COUNT = 1 << 16
SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
FORMATS = "xduoci"


def register(cpu: Processor, name: str) -> int:
    """A register's value; `eax` and `pc` are known too.  UserInputError where there is none of that name."""
    name = name.lower()
    if name in SEGMENTS:
        return int(getattr(cpu, name).selector)
    if name in NARROW:
        value = int(getattr(cpu, NARROW[name]))
        return value if name == "pc" else value & 0xFFFF_FFFF
    if name in REGISTERS_64:
        return int(getattr(cpu, name))
    raise UserInputError(f"There is no register ${name}; $rip, $eax, $cs or $cr3 would do.")


def evaluate(text: str, cpu: Processor) -> int:
    """An expression's value, 64 bits.  UserInputError where it is none."""
    plain = re.sub(r"\$(\w+)", lambda match: str(register(cpu, match[1])), text)
    try:
        tree = ast.parse(plain.strip(), mode="eval")
        return _value(tree.body) & 0xFFFF_FFFF_FFFF_FFFF
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        raise UserInputError(f"{text!r} is no number; 0x7c00, $rsp+8 or ($cs<<4)+$rip would do.") from None


def _value(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Invert | ast.UAdd):
        value = _value(node.operand)
        return -value if isinstance(node.op, ast.USub) else ~value if isinstance(node.op, ast.Invert) else value
    if isinstance(node, ast.BinOp) and type(node.op) in BINARY:
        left, right = _value(node.left), _value(node.right)
        if isinstance(node.op, ast.LShift) and not 0 <= right < 64:
            raise ValueError
        return BINARY[type(node.op)](left, right) & (1 << 128) - 1
    raise ValueError


@dataclass(frozen=True)
class Format:
    """How many of what size to show how."""

    count: int = 1
    letter: str = "x"
    size: int = 4


def parse_format(text: str, before: Format) -> Format:
    """`/4xw`, `/10i`, `/2g`.  Parts that are missing are as before, but for the count, which is 1."""
    match = re.fullmatch(r"/(\d*)([a-z]*)", text)
    letters = match[2] if match is not None else "?"
    kinds = [letter for letter in letters if letter in FORMATS]
    sizes = [SIZES[letter] for letter in letters if letter in SIZES]
    if match is None or len(kinds) + len(sizes) != len(letters) or len(kinds) > 1 or len(sizes) > 1:
        raise UserInputError(
            f"{text!r} is no format; /8xb, /4xw, /2xg or /10i would do: x d u o c i for the form, b h w g for 1, 2, 4"
            " or 8 bytes."
        )
    count = int(match[1] or 1)
    if count > LARGEST_COUNT:
        raise UserInputError(f"{count} are too many; up to {LARGEST_COUNT} can be shown at once.")
    return Format(count, kinds[0] if kinds else before.letter, sizes[0] if sizes else before.size)


def show(value: int, format: Format) -> str:
    """One value in a format."""
    bits = 8 * format.size
    value &= (1 << bits) - 1
    if format.letter == "d":
        return str(value - (1 << bits) if value >> bits - 1 else value)
    if format.letter == "u":
        return str(value)
    if format.letter == "o":
        return f"{value:#o}"
    if format.letter == "c":
        character = chr(value & 0xFF)
        return f"'{character}'" if character.isprintable() and ord(character) < 0x7F else f"'\\x{value & 0xFF:02x}'"
    return f"{value:#0{2 * format.size + 2}x}"
