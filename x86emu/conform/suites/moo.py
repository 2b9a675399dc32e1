"""Reads the MOO format of the SingleStepTests vectors (MOO 1.0, github.com/SingleStepTests).

A file is a run of chunks: four letters, length (u32), contents; all little-endian.  Chunks that are not known are
skipped.  A register set is a mask of which follow; the final state holds only what changed.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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


@dataclass
class MooFile:
    """One file: the form it is of (its name up to .MOO), the processor, the cases."""

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
    return case


def read_moo(path: Path) -> MooFile:
    """All cases of a .MOO or .MOO.gz file. Raises UserInputError, with file and case number, for a malformed one."""
    try:
        data = gzip.open(path).read() if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError) as error:
        raise UserInputError(f"{path} cannot be read: {error}.") from None
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
    return MooFile(path, path.name.split(".MOO")[0], cpu, cases)
