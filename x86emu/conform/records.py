"""The binary form of a case and of its outcome: one NumPy record each, the same layout on both sides of a run.

A batch is an array of these records.  As input a record holds the state before the first instruction; as outcome the
state after the last one, or at the fault.  x86emu/conform/batch.pyx declares the same fields as a C structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Records = NDArray[np.void]
"""An array of RECORD."""

GPR = ("rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
"""General registers in the order of their numbers."""
CODE_BYTES = 64
WINDOW_BYTES = 128

RECORD = np.dtype(
    [
        ("gpr", "<u8", (16,)),
        ("rip", "<u8"),
        ("rflags", "<u8"),
        ("fault_address", "<u8"),
        ("window_address", "<u8"),
        ("digest", "<u8"),
        ("st_mantissa", "<u8", (8,)),
        ("xmm", "<u8", (16, 2)),
        ("ymm_high", "<u8", (16, 2)),
        ("window", "u1", (WINDOW_BYTES,)),
        ("code", "u1", (CODE_BYTES,)),
        ("st_exponent", "<u2", (8,)),
        ("control", "<u2"),
        ("status", "<u2"),
        ("valid", "<u2"),
        ("vector", "<i2"),
        ("mxcsr", "<u4"),
        ("steps", "<u4"),
        ("code_length", "<u2"),
        ("mode", "<u2"),
        ("row", "<i4"),
    ]
)
"""gpr: as GPR.  st_mantissa, st_exponent: by ST number (exponent with the sign);
status holds TOP; valid is the abridged tag word (bit = physical register not empty).  window: 128 bytes of data at
window_address, written before and read after; digest: 0, or a number that tells what changed outside the window.
code: code_length bytes at rip; steps: how many instructions; mode: 32 or 64.  vector: of the exception that ended the
case, -1 for none; fault_address: CR2 of a page fault.  row: number in load_rows(), -1 where it has none."""

NO_VECTOR = -1


@cache
def _random_bytes(seed: int, count: int) -> bytes:
    return np.random.default_rng(seed).bytes(count)


@dataclass(frozen=True)
class Layout:
    """What is mapped while cases run: user mode, flat segments, nothing else readable, writable or executable."""

    code: int = 0x10000000
    code_bytes: int = 0x2000
    data: int = 0x20000000
    data_bytes: int = 0x2000
    stack: int = 0x30000000
    stack_bytes: int = 0x1000
    seed: int = 1
    """Of the bytes that data and stack hold before each case."""

    def pristine(self) -> bytes:
        """Initial contents of the data pages and, behind them, of the stack."""
        return _random_bytes(self.seed, self.data_bytes + self.stack_bytes)


LAYOUT = Layout()

FNV_OFFSET, FNV_PRIME, MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def digest(before: NDArray[np.uint64], after: NDArray[np.uint64]) -> int:
    """What differs between two images of data and stack, as one number: FNV-1a over (place, new 8 bytes), or 0."""
    places = np.flatnonzero(before != after)
    if not len(places):
        return 0
    value = FNV_OFFSET
    for place in places.tolist():
        for part in (place, int(after[place])):
            value = ((value ^ part) * FNV_PRIME) & MASK
    return value or 1


def empty(count: int) -> Records:
    """count records, all fields 0 but those that a processor has otherwise after FNINIT."""
    records = np.zeros(count, RECORD)
    records["control"] = 0x37F
    records["mxcsr"] = 0x1F80
    records["rflags"] = 2
    records["steps"] = 1
    records["mode"] = 64
    records["row"] = -1
    records["vector"] = NO_VECTOR
    records["rip"] = LAYOUT.code + 0x800
    records["window_address"] = LAYOUT.data + 0x800
    return records


def code_of(record: Any) -> bytes:
    """The instruction bytes of one record."""
    return bytes(record["code"][: int(record["code_length"])])


def set_code(record: Any, code: bytes) -> None:
    """Puts instruction bytes into one record. Raises ValueError for more than CODE_BYTES."""
    if len(code) > CODE_BYTES:
        raise ValueError(f"{len(code)} bytes of code; a case holds {CODE_BYTES}")
    record["code"] = np.frombuffer(code.ljust(CODE_BYTES, b"\xcc"), np.uint8)
    record["code_length"] = len(code)
