"""SingleStepTests: instructions captured from real 8086, 8088 and 80286 processors (github.com/SingleStepTests).

An 8086 case is one instruction with its prefixes; an 80286 case runs until the HLT behind it, or at the target of a
branch or an exception, has executed.  Undefined flags come from the set's metadata.json, which lies beside the files or
beside those of the set's other form: it knows the chips, the instruction table what later manuals promise.  Cases that
the set's revocation_list.txt names, here or above, are not run but counted apart as doubtful.
"""

from __future__ import annotations

import json
import re
import time
from functools import cache
from pathlib import Path
from typing import Any

from x86emu.conform.engine import Engine, State
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.conform.suites.moo import MooCase, MooFile, read_file
from x86emu.errors import UserInputError

MODELS = {"8086": "i8086", "8088": "i8086", "C286": "i80286", "80286": "i80286"}
"""Processor of a file's header, or of metadata.json: the model of this package."""
_GPR = ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")
_SEGMENTS = ("es", "cs", "ss", "ds")
_FILE = re.compile(r"\.(moo|json)(\.gz)?$", re.IGNORECASE)
_FIXED_FLAGS = 0xF02A
"""FLAGS bits that no instruction of these processors changes in real mode."""


@cache
def _engine(name: str, model: str) -> Engine:
    if name != "x86emu":
        from x86emu.conform.engine import open_engine

        engine = open_engine(name)
        if 16 not in engine.modes:
            raise UserInputError(f"The engine {name} has no real mode; the suite singlestep needs one.")
        return engine
    from x86emu.conform.engines.x86emu import X86EmuEngine

    return X86EmuEngine(model)


@cache
def _metadata(directory: Path) -> dict[str, Any]:
    places = [directory / "metadata.json", *sorted(directory.parent.glob("*/metadata.json"))]
    path = next((place for place in places if place.exists()), None)
    if path is None:
        return {"opcodes": {}}
    try:
        metadata: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        metadata["opcodes"].items()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserInputError(f"{path} is no metadata of a SingleStepTests set: {error!r}.") from None
    return metadata


@cache
def _revoked(directory: Path) -> dict[str, Path]:
    """Hashes of the cases that the set's authors have found bad, and the file that says so."""
    for place in (directory, directory.parent):
        path = place / "revocation_list.txt"
        if path.exists():
            lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
            return {line.split()[0].lower(): path for line in lines if line.strip() and not line.startswith("#")}
    return {}


def flags_mask(path: Path, form: str) -> int:
    """FLAGS bits that are defined after instructions of this form."""
    opcode, _, extension = form.partition(".")
    entry = _metadata(path.parent)["opcodes"].get(opcode, {})
    if extension:
        entry = entry.get("reg", {}).get(extension, entry)
    return int(entry.get("flags-mask", 0xFFFF))


def initial_state(case: MooCase, fixed: int) -> State:
    """What the engine is set to; memory that only the final state names begins as zeros."""
    registers = case.initial.registers
    memory = dict.fromkeys(case.final.memory, 0) | case.initial.memory
    return State(
        mode=16,
        gpr=[registers[name] for name in _GPR] + [0] * 8,
        rip=registers["ip"],
        rflags=registers["flags"] & 0xFFF | fixed | 2,
        segments=[registers[name] for name in _SEGMENTS] + [0, 0],
        memory={address: bytes([value]) for address, value in memory.items()},
    )


def compare(case: MooCase, got: State, mask: int) -> list[str]:
    """What differs from the capture."""
    found = []
    expected = case.initial.registers | case.final.registers
    for n, name in enumerate(_GPR):
        if got.gpr[n] != expected[name]:
            found.append(f"{name} {got.gpr[n]:04x}, expected {expected[name]:04x}")
    for n, name in enumerate(_SEGMENTS):
        if got.segments[n] != expected[name]:
            found.append(f"{name} {got.segments[n]:04x}, expected {expected[name]:04x}")
    if got.rip != expected["ip"]:
        found.append(f"ip {got.rip:04x}, expected {expected['ip']:04x}")
    if (got.rflags ^ expected["flags"]) & mask & ~_FIXED_FLAGS:
        found.append(f"flags {got.rflags & 0xFFF:03x}, expected {expected['flags'] & 0xFFF:03x}")
    pushed = _pushed_flags(case, expected)
    for address, value in case.final.memory.items():
        defined = mask >> 8 * (address - pushed) & 0xFF if address in (pushed, pushed + 1) else 0xFF
        if (got.memory[address][0] ^ value) & defined:
            found.append(f"memory at {address:05x} {got.memory[address][0]:02x}, expected {value:02x}")
    return found


def _pushed_flags(case: MooCase, expected: dict[str, int]) -> int:
    """Where an exception pushed FLAGS, whose undefined bits are undefined there too; -2 where it did not."""
    place = (expected["ss"] << 4) + (expected["sp"] + 4 & 0xFFFF)
    if case.exception is not None:
        return place  # the address in the file is off by one where the stack pointer is odd
    vector = [case.initial.memory.get(n) for n in range(4)]  # the 8086 set does not name exceptions: #DE
    if None in vector:
        return -2
    offset, segment = (
        int.from_bytes(bytes(v or 0 for v in vector[:2]), "little"),
        (vector[2] or 0) | (vector[3] or 0) << 8,
    )
    if (expected["cs"], expected["ip"]) != (segment, offset):
        return -2
    return place & 0xFFFFF


class _SingleStep:
    name = "singlestep"
    title = "SingleStepTests: captures of an 8086 and an 80286 (.MOO, .MOO.gz, .json, .json.gz)"
    oracle = "an Intel P80C86A-2 and a Harris 80C286-12"
    needs_directory = True

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        directory = options.directory or Path()
        found = sorted(
            str(path.relative_to(directory))
            for path in directory.rglob("*")
            if _FILE.search(path.name) and path.name not in ("metadata.json", "manifest.json") and path.is_file()
        )
        if not found:
            raise UserInputError(
                f"There are no files *.MOO, *.MOO.gz or *.json.gz in {directory}; give the directory of a set."
            )
        return found

    def run(self, unit: str, options: Options) -> UnitResult:
        result = UnitResult(unit)
        path = (options.directory or Path()) / unit
        try:
            file = read_file(path)
            file.cpu = file.cpu or str(_metadata(path.parent).get("cpu", ""))
            if file.cpu not in MODELS:
                raise UserInputError(f"{path}: there is no model for the processor {file.cpu!r} of this file.")
            engine = _engine(options.engine, MODELS[file.cpu])
            mask, revoked = flags_mask(path, file.form), _revoked(path.parent)
        except UserInputError as error:
            result.errors.append(str(error))
            return result
        start = time.process_time()
        for case in file.cases[: options.limit]:
            if case.hash.lower() in revoked:
                result.doubtful[f"{unit}:{case.index}"] = f"revoked by the set's authors ({revoked[case.hash.lower()]})"
                continue
            self._case(case, file, engine, mask, result)
        result.seconds = time.process_time() - start
        result.coverage[f"form {file.cpu}|16|{file.form}||"] = result.cases
        return result

    def _case(self, case: MooCase, file: MooFile, engine: Engine, mask: int, result: UnitResult) -> None:
        result.cases += 1
        early = MODELS[file.cpu] == "i8086"
        try:
            engine.set_state(initial_state(case, 0xF000 if early else 0))
            engine.run(1 if early else 5)
            found = compare(case, engine.get_state(), mask)
        except Exception as error:  # a malformed case, or an engine that raises: the rest goes on
            result.errors.append(f"{file.path}: case {case.index}: {error!r}")
            return
        if found:
            name = f"{file.cpu} {file.form}"
            if result.fails(name):
                result.failures.append(
                    Failure(f"{result.unit}:{case.index}", case.code.hex(), case.name, 16, name, found)
                )


SUITE = _SingleStep()
