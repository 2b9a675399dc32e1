"""Instruction lengths captured from a processor: `declen64.txt.gz`, `declen32.txt.gz`.

A line is 15 bytes in hexadecimal, a verdict, a length: `ok n` the processor executed n bytes, `UD n` it raised #UD
having asked for n bytes, `long 15` the instruction is longer than 15 bytes.  Extensions that the engine lacks are #UD
there; a line counts as different only where both sides know the instruction or its verdict is `long`.

Which make the processor was, the captures beside the file tell (hw*.jsonl.gz, first line); AMD's take 66h before near
branches in 64-bit mode (APM 3, 1.2.7).
"""

from __future__ import annotations

import gzip
import json
import time
import zlib
from functools import cache
from pathlib import Path

from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import IncompleteInstruction, disassemble
from x86emu.isa.features import FEATURES


@cache
def decoded_features(directory: Path) -> frozenset[str]:
    """Features by which the files of a directory are decoded: all, and the quirks of the captured make."""
    everything = frozenset(FEATURES) - {"pre386", "pre186", "branch16"}
    for path in sorted(directory.glob("hw*.jsonl.gz")):
        try:
            with gzip.open(path, "rt", encoding="utf-8") as file:
                vendor = json.loads(file.readline())["cpu"][0]
        except (OSError, EOFError, ValueError, KeyError, IndexError):
            continue  # the suite hw names it
        return everything | {"branch16"} if vendor == "AuthenticAMD" else everything
    return everything


class _Lengths:
    name = "declen"
    title = "instruction lengths captured from a processor, against the disassembler"
    oracle = "the captured processor"
    needs_directory = True

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        directory = options.directory or Path()
        names = sorted(str(p.relative_to(directory)) for p in directory.rglob("declen*.txt.gz"))
        if not names:
            raise UserInputError(f"There are no files declen*.txt.gz in {directory}.")
        return names

    def run(self, unit: str, options: Options) -> UnitResult:
        result = UnitResult(unit)
        path = (options.directory or Path()) / unit
        mode = 64 if "64" in path.name else 32
        features = decoded_features(path.parent)
        start = time.process_time()
        try:
            self._file(path, unit, mode, features, options, result)
        except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
            result.errors.append(f"{path}: case {result.cases} cannot be read: {error}")
        result.seconds = time.process_time() - start
        return result

    def _file(
        self, path: Path, unit: str, mode: int, features: frozenset[str], options: Options, result: UnitResult
    ) -> None:
        with gzip.open(path, "rt", encoding="ascii") as file:
            for number, line in enumerate(file):
                if options.limit is not None and number >= options.limit:
                    break
                parts = line.split()
                try:
                    code, verdict, length = bytes.fromhex(parts[0]), parts[1], int(parts[2])
                except (ValueError, IndexError):
                    result.errors.append(f"{path}: line {number + 1} is not `bytes verdict length`: {line.strip()!r}")
                    continue
                result.cases += 1
                self._line(code, verdict, length, mode, features, f"{unit}:{number + 1}", result)

    def _line(
        self,
        code: bytes,
        verdict: str,
        length: int,
        mode: int,
        features: frozenset[str],
        name: str,
        result: UnitResult,
    ) -> None:
        try:
            got, text = disassemble(code, mode, 0, features)
        except IncompleteInstruction:
            got, text = 16, "(longer than 15 bytes)"
        undefined = text == "(undefined)"
        if verdict == "long":
            wrong = not undefined and got <= 15
        elif verdict == "ok":
            wrong = not undefined and got != length
        else:
            wrong = False  # #UD by an operand, a prefix or a missing extension: a length of its own
        if wrong:
            label = f"{mode}-bit {text.split()[0]}"
            if result.fails(label):
                result.failures.append(
                    Failure(name, code.hex(), text, mode, label, [f"length {got}, the processor: {verdict} {length}"])
                )


SUITE = _Lengths()
