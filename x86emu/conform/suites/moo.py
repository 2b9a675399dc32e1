"""Reads the files of SingleStepTests (github.com/SingleStepTests): MOO 1.0, and the JSON form of the older sets.

A MOO file is a run of chunks: four letters, length (u32), contents; all little-endian.  Chunks that are not known are
skipped.  A register set is a mask of which follow; the final state holds only what changed.  A JSON file is a list of
objects that say the same by names.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from x86emu.errors import UserInputError

REGISTERS = ("ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags")


@dataclass
class MooState:
    """Registers by name and memory by physical address; in a final state only what is to be compared."""

    registers: dict[str, int] = field(default_factory=dict)
    memory: dict[int, int] = field(default_factory=dict)


@dataclass
class MooCase:
    """One captured instruction."""

    index: int
    name: str
    code: bytes
    initial: MooState
    final: MooState
    exception: int | None = None
    flags_address: int = 0
    """Where an exception pushed the flags."""
    hash: str = ""
    """By which a set's revocation_list.txt names it: 40 hexadecimal digits."""


@dataclass
class MooFile:
    """One file: the form it is of (the first part of its name), the processor ("" where it does not say), the cases."""

    path: Path
    form: str
    cpu: str
    cases: list[MooCase]


class _Malformed(Exception):
    pass


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        if at + 8 > len(data):
            raise _Malformed(f"the chunk at offset {at} has no complete head")
        tag, length = data[at : at + 4], struct.unpack_from("<I", data, at + 4)[0]
        if at + 8 + length > len(data):
            raise _Malformed(f"the chunk {tag!r} at offset {at} says it has {length} bytes and ends beyond the file")
        yield tag, data[at + 8 : at + 8 + length]
        at += 8 + length


def _state(data: bytes) -> MooState:
    state = MooState()
    for tag, body in _chunks(data):
        if tag == b"REGS":
            mask = struct.unpack_from("<H", body)[0]
            at = 2
            for bit, name in enumerate(REGISTERS):
                if mask >> bit & 1:
                    state.registers[name] = struct.unpack_from("<H", body, at)[0]
                    at += 2
        elif tag == b"RAM ":
            for address, value in struct.iter_unpack("<IB", body[4:]):
                state.memory[address] = value
    return state


def _case(data: bytes) -> MooCase:
    case = MooCase(struct.unpack_from("<I", data)[0], "", b"", MooState(), MooState())
    for tag, body in _chunks(data[4:]):
        if tag == b"NAME":
            case.name = body[4:].decode("ascii", "replace")
        elif tag == b"BYTS":
            case.code = body[4:]
        elif tag == b"INIT":
            case.initial = _state(body)
        elif tag == b"FINA":
            case.final = _state(body)
        elif tag == b"EXCP":
            case.exception, case.flags_address = struct.unpack_from("<BI", body)
        elif tag == b"HASH":
            case.hash = body.hex()
    return case


def _contents(path: Path) -> bytes:
    try:
        return gzip.open(path).read() if path.suffix.lower() == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserInputError(f"{path} cannot be read: {error}.") from None


def read_file(path: Path) -> MooFile:
    """All cases of a file in either form, compressed by gzip or not.

    Raises UserInputError, with file and case number, for a malformed one.
    """
    return read_json(path) if ".json" in path.name.lower() else read_moo(path)


def read_json(path: Path) -> MooFile:
    """All cases of a .json or .json.gz file. Raises UserInputError, with file and case number, for a malformed one."""
    cases: list[MooCase] = []
    try:
        for number, entry in enumerate(json.loads(_contents(path))):
            cases.append(_json_case(entry, number))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserInputError(f"{path} is no file of SingleStepTests: case {len(cases)}: {error!r}.") from None
    return MooFile(path, re.split(r"\.json", path.name, flags=re.IGNORECASE)[0], "", cases)


def _json_case(entry: dict[str, Any], number: int) -> MooCase:
    initial, final = (
        MooState({name: int(v) for name, v in state["regs"].items()}, {int(a): int(v) for a, v in state["ram"]})
        for state in (entry["initial"], entry["final"])
    )
    index, digest = int(entry.get("idx", number)), str(entry.get("hash", ""))
    return MooCase(index, str(entry["name"]), bytes(entry["bytes"]), initial, final, hash=digest)


def read_moo(path: Path) -> MooFile:
    """All cases of a .MOO or .MOO.gz file. Raises UserInputError, with file and case number, for a malformed one."""
    data = _contents(path)
    cases: list[MooCase] = []
    cpu = ""
    count = 0
    try:
        if data[:4] != b"MOO ":
            raise _Malformed("it does not begin with the chunk 'MOO '")
        for tag, body in _chunks(data):
            if tag == b"MOO ":
                count, cpu = struct.unpack_from("<I", body, 4)[0], body[8:12].decode("ascii").strip()
            elif tag == b"TEST":
                cases.append(_case(body))
        if len(cases) < count:
            raise _Malformed(f"it ends there and says that it has {count}")
    except (_Malformed, struct.error, UnicodeDecodeError) as error:
        raise UserInputError(f"{path} is no valid MOO file: case {len(cases)}: {error}.") from None
    return MooFile(path, re.split(r"\.moo", path.name, flags=re.IGNORECASE)[0], cpu, cases)
