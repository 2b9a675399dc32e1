"""VEX prefixes of generated cases (Intel SDM volume 2A, 2.3.5), and operands with a vector index (2.3.12)."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from x86emu.isa.table import Row

_PP = {"NP": 0, "66": 1, "F3": 2, "F2": 3}
INDEX_STEPS = np.array([0, 1, 2, 3, 4, 5, 6, 8, 12, 16, 31, -1, -2, -3, -4, -8, -16, 200, -200, 1 << 20], np.int64)
"""Indices of gathers: mostly near, the last one out of what is mapped."""


class Choices:
    """Random choices that follow from a seed: a thin cover of random.Random, whose calls are cheaper than NumPy's."""

    def __init__(self, *seed: int) -> None:
        source = random.Random(".".join(map(str, seed)))
        self.random = source.random
        self.shuffle = source.shuffle
        self._bits = source.getrandbits

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def below(self, count: int) -> int:
        """A number from 0 to count - 1."""
        return int(self.random() * count)

    def bytes(self, count: int) -> bytes:
        return self._bits(8 * count).to_bytes(count, "little") if count else b""


@dataclass
class VexFields:
    """What one VEX prefix says."""

    rex: int
    """W R X B as in a REX prefix, with 40h."""
    vvvv: int
    long_vector: bool
    pp: int
    map: int
    two_bytes: bool
    misprefix: bytes
    """A prefix that must not stand before VEX, or none."""

    def prefix(self) -> bytes:
        """The bytes between the legacy prefixes and the opcode."""
        last = (~self.vvvv & 15) << 3 | self.long_vector << 2 | self.pp
        if self.two_bytes:
            return bytes([0xC5, (~self.rex & 4) << 5 | last])
        return bytes([0xC4, (~self.rex & 7) << 5 | self.map, (self.rex & 8) << 4 | last])

    @property
    def name(self) -> str:
        """For the coverage report."""
        return ("VEX2" if self.two_bytes else "VEX3") + (".W" if self.rex & 8 else "")


def choose_fields(row: Row, choices: Choices, long: bool) -> VexFields:
    """The fields of one encoding of a row; a few encodings are wrong on purpose."""
    chance, below = choices.chance, choices.below
    rex = 0x40
    if row.has("W1") or (not row.has("W0") and chance(0.4)):
        rex |= 8
    if chance(0.6):
        rex |= below(8) if long else below(2)
    vvvv = 0
    if any(operand.letter in "BH" for operand in row.operands):
        vvvv = below(16 if long or chance(0.05) else 8)
    elif chance(0.01):
        vvvv = 1 << below(4)
    wide = row.vex == "256" or (row.vex == "LIG" and chance(0.3))
    opcode_map = row.map - 3
    two_bytes = opcode_map == 1 and not rex & 11 and chance(0.6)
    if not long and two_bytes:
        vvvv &= 7
    misprefix = bytes([(0x66, 0xF2, 0xF3, 0xF0, 0x48)[below(5 if long else 4)]]) if chance(0.01) else b""
    return VexFields(rex, vvvv, wide ^ chance(0.005), _PP[row.prefix], opcode_map, two_bytes, misprefix)


def index_values(row: Row, choices: Choices, states: int) -> np.ndarray:
    """Contents of a vector index register for some states, as an array [state, quadword] of four quadwords each."""
    wide = row.mnemonic[-2] == "Q"
    steps = len(INDEX_STEPS) - (1 if choices.chance(0.8) else 0)
    picked = INDEX_STEPS[[[choices.below(steps) for _ in range(4 if wide else 8)] for _ in range(states)]]
    return picked.astype("<i8" if wide else "<i4").view("<u8").reshape(states, 4)
