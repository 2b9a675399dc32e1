"""The disassembler of this package against Capstone and iced-x86: length and operands, on random bytes and on encodings
made from the table.

Three disassemblers vote.  Where the other two agree with each other and not with this one, or all three differ, the
case counts as different; where this one has company, the odd one out is told as a peer's difference.  Instructions
outside the table (x86emu/isa/rows_*.py) are counted by mnemonic.
"""

from __future__ import annotations

import importlib
import random
import time
from typing import Any

from x86emu.conform.encoder import Encoder
from x86emu.conform.operands import Instruction, parse, same_operands
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.conform.vex import Choices
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import IncompleteInstruction, disassemble
from x86emu.isa.table import load_rows

PART = 10_000
TABLE_PASSES = 8
"""Units in which each row makes ROUNDS encodings, for each mode."""
ROUNDS = 8
ADDRESS = 0x1000
_EARLY = ("pre386", "pre186")


class _Capstone:
    """Raises ImportError where the package is missing."""

    name = "Capstone"

    def __init__(self, mode: int) -> None:
        capstone: Any = importlib.import_module("capstone")
        self._decoder = capstone.Cs(capstone.CS_ARCH_X86, getattr(capstone, f"CS_MODE_{mode}"))

    def decode(self, code: bytes) -> tuple[Instruction, str] | None:
        found = next(self._decoder.disasm_lite(code, ADDRESS), None)
        if found is None:
            return None
        text = f"{found[2]} {found[3]}"
        return parse(found[1], text), text


class _Iced:
    """Raises ImportError where the package is missing."""

    name = "iced-x86"

    def __init__(self, mode: int) -> None:
        self._iced: Any = importlib.import_module("iced_x86")
        self._mode = mode
        f = self._iced.Formatter(self._iced.FormatterSyntax.INTEL)
        f.hex_prefix, f.hex_suffix = "0x", ""
        f.rip_relative_addresses = True
        f.show_branch_size = f.use_pseudo_ops = f.small_hex_numbers_in_decimal = False
        f.add_leading_zero_to_hex_numbers = False
        f.memory_size_options = self._iced.MemorySizeOptions.ALWAYS
        self._formatter = f

    def decode(self, code: bytes) -> tuple[Instruction, str] | None:
        found = self._iced.Decoder(self._mode, code, ip=ADDRESS).decode()
        if found.is_invalid:
            return None
        text: str = self._formatter.format(found)
        return parse(found.len, text), text


def _own(code: bytes, mode: int) -> tuple[Instruction, str] | None:
    try:
        length, text = disassemble(code, mode, ADDRESS)
    except IncompleteInstruction:
        return None
    return None if text == "(undefined)" else (parse(length, text), text)


_Decoded = tuple[Instruction, str] | None


def _agree(one: _Decoded, other: _Decoded, mode: int) -> bool:
    if one is None or other is None:
        return one is other
    return one[0].length == other[0].length and same_operands(one[0], other[0], mode)


def random_codes(rng: random.Random, count: int) -> list[bytes]:
    """15 random bytes each; half of them begin with a prefix or escape, so that the larger maps are reached."""
    codes = []
    for _ in range(count):
        code = rng.randbytes(15)
        if rng.random() < 0.5:
            code = bytes([rng.choice((0x0F, 0x66, 0xF3, 0xF2, 0x48, 0xC5, 0xC4))]) + code[1:]
        if rng.random() < 0.3:
            code = code[:1] + b"\x0f" + code[2:]
        codes.append(code)
    return codes


def table_codes(seed: int, number: int, mode: int, rounds: int) -> list[bytes]:
    """rounds encodings of each row of the table, filled up to 15 bytes at random."""
    choices = Choices(seed, number, mode, 99)
    encoder = Encoder(choices, 64 if mode == 64 else 32)
    codes = []
    for n, row in enumerate(load_rows()):
        if row.feature in _EARLY or (row.has("i64") if mode == 64 else row.has("o64")):
            continue
        for _ in range(rounds):
            code = encoder.encode(n, row).code
            codes.append(code + choices.bytes(15 - len(code)) if len(code) < 15 else code[:15])
    return codes


class _Decoders:
    name = "decoders"
    title = "the disassembler, against Capstone and iced-x86 (lengths and operands)"
    oracle = "Capstone and iced-x86"
    needs_directory = False

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        if options.engine != "x86emu":
            raise UserInputError("The suite decoders compares disassemblers; only the engine x86emu has one here.")
        try:
            _Capstone(64)
            _Iced(64)
        except ImportError as error:
            raise UserInputError(
                f"The suite decoders needs the Python packages capstone and iced-x86 ({error}): "
                "pip install capstone iced-x86."
            ) from None
        modes = (*options.modes, 16) if len(options.modes) > 1 else options.modes
        units = [f"random.{modes[n % len(modes)]}.{n}" for n in range((options.count + PART - 1) // PART)]
        return units + [f"table.{mode}.{n}" for mode in modes for n in range(TABLE_PASSES)]

    def run(self, unit: str, options: Options) -> UnitResult:
        kind, mode_text, number = unit.split(".")
        mode = int(mode_text)
        if kind == "random":
            codes = random_codes(random.Random(f"{options.seed}.{unit}"), min(PART, options.count))
        else:
            codes = table_codes(options.seed, int(number), mode, ROUNDS)
        if options.limit is not None:
            codes = codes[: options.limit]
        capstone, iced = _Capstone(mode), _Iced(mode)
        known = frozenset(row.mnemonic.lower() for row in load_rows())
        result = UnitResult(unit, cases=len(codes))
        start = time.process_time()
        own = [_own(code, mode) for code in codes]
        result.seconds = time.process_time() - start
        for n, code in enumerate(codes):
            first, second, third = own[n], capstone.decode(code), iced.decode(code)
            with_second, with_third = _agree(first, second, mode), _agree(first, third, mode)
            if with_second and with_third:
                continue
            shown = first or second or third
            assert shown is not None
            texts = [
                f"{name}: {found[1]} ({found[0].length} bytes)" if found else f"{name}: undefined"
                for name, found in (("here", first), (capstone.name, second), (iced.name, third))
            ]
            failure = Failure(f"{unit}.{n}", code.hex(), shown[1], mode, shown[0].mnemonic, texts)
            if with_second or with_third:
                _odd_one_out(failure, iced.name if with_second else capstone.name, result)
            elif first is None and third is not None and (third[0].mnemonic not in known or _is_evex(code, mode)):
                key = f"outside the table|{mode}|{third[0].mnemonic}||"
                result.coverage[key] = result.coverage.get(key, 0) + 1
            elif result.fails(failure.row):
                result.failures.append(failure)
        return result


def _is_evex(code: bytes, mode: int) -> bool:
    """Whether an EVEX prefix (SDM 2A, 2.7) follows the legacy ones; the table has no such rows."""
    rest = code.lstrip(b"\x66\x67\xf0\xf2\xf3\x26\x2e\x36\x3e\x64\x65")
    return rest[:1] == b"\x62" and (mode == 64 or rest[1:2] >= b"\xc0")


def _odd_one_out(failure: Failure, name: str, result: UnitResult) -> None:
    key = f"{name}: {failure.row}|{failure.mode}-bit"
    result.peer[key] = result.peer.get(key, 0) + 1
    if result.peer[key] == 1:
        failure.row = f"{name}: {failure.row}"
        result.peer_examples.append(failure)


SUITE = _Decoders()
