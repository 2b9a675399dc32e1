"""Cases made from the instruction table: every encoding, operand form and width, addressing form and prefix of a row,
with corner values in registers and memory (Intel SDM volume 2A, chapter 2; volume 2D, appendix A).

Everything follows from a seed: batch n of a campaign is make_batch(seed, n), whoever makes it and in whatever order.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.encoder import STATES_PER_ENCODING, Encoder, Form
from x86emu.conform.records import LAYOUT, RECORD, Records
from x86emu.conform.states import fill_states, put_encoding
from x86emu.conform.vex import Choices
from x86emu.isa.table import Row, load_rows

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
_PRIVILEGED = frozenset("IN INS OUT OUTS CLI STI".split())
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


def needs_right(row: Row) -> bool:
    """Whether the row does in user mode something else than at privilege level 0."""
    return row.has("cpl0") or row.mnemonic in _PRIVILEGED


def usable(row: Row, mode: int, features: frozenset[str]) -> bool:
    """Whether the row makes cases in this mode on processors with these features."""
    if row.has("i64") and mode == 64 or row.has("o64") and mode != 64:
        return False
    if row.vex and "avx" not in features and any(operand.letter in "HUVW" for operand in row.operands):
        return False  # VEX.128 rows of AES and PCLMULQDQ name that feature; they need AVX too (SDM 1, 14.3)
    return row.feature in features and environment_reason(row) is None


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


@cache
def _usable_rows(mode: int, features: frozenset[str], rows: tuple[int, ...] | None) -> list[int]:
    table = load_rows()
    return [n for n in (rows if rows is not None else range(len(table))) if usable(table[n], mode, features)]


@cache
def _flags_undefined() -> NDArray[np.uint64]:
    return np.array([row.flags_undefined for row in load_rows()], np.uint64)


def _filled(count: int, choices: Choices, mode: int, features: frozenset[str]) -> Records:
    """Records with states, without instructions."""
    cases: Records = np.empty(count, RECORD)
    fill_states(cases, int.from_bytes(choices.bytes(8), "little"), mode == 64, "avx" in features)
    return cases


def make_batch(
    seed: int, number: int, mode: int, features: frozenset[str], encodings: int, rows: list[int] | None = None
) -> Batch:
    """Batch `number` of a campaign: encodings times STATES_PER_ENCODING cases; rows limits it to these row numbers.

    The rows come in turn, so that a campaign goes through the whole table again and again.
    """
    choices = Choices(seed, number, mode)
    table = load_rows()
    chosen = _usable_rows(mode, features, tuple(rows) if rows is not None else None)
    if not chosen:
        return Batch(mode, np.empty(0, RECORD), [], seed, number)
    encoder = Encoder(choices, mode)
    cases = _filled(encodings * STATES_PER_ENCODING, choices, mode, features)
    forms: list[Form] = []
    start = number * encodings
    for n in range(encodings):
        row_number = chosen[(start + n) % len(chosen)]
        made = encoder.encode(row_number, table[row_number])
        forms.append(made.form)
        steps = 1
        if made.step:
            counted = made.fixed.get(1, 9) < 9 and not table[row_number].has("end")
            steps = (16 if counted else 1) | STEP
        first = n * STATES_PER_ENCODING
        put_encoding(cases, first, STATES_PER_ENCODING, made.code, row_number, made.rip, made.window, steps, made.fixed)
        if made.index is not None:
            part = cases[first : first + STATES_PER_ENCODING]
            part["xmm"][:, made.index[0]] = made.index[1][:, :2]
            part["ymm_high"][:, made.index[0]] = made.index[1][:, 2:]
    return Batch(mode, cases, forms, seed, number, _flags_undefined()[cases["row"]])


@cache
def _rows_of_sequences(mode: int, features: frozenset[str], rows: tuple[int, ...] | None) -> list[int]:
    table = load_rows()
    return [
        n for n in _usable_rows(mode, features, rows)
        if not any(table[n].has(attribute) for attribute in ("end", "rep", "repz"))
    ]  # fmt: skip


def make_sequences(
    seed: int,
    number: int,
    mode: int,
    features: frozenset[str],
    count: int,
    length: int = 4,
    rows: list[int] | None = None,
) -> Batch:
    """Random sequences of instructions without control flow: flags and values flow from one to the next."""
    choices = Choices(seed, number, mode, length)
    table = load_rows()
    chosen = _rows_of_sequences(mode, features, tuple(rows) if rows is not None else None)
    encoder = Encoder(choices, mode)
    cases = _filled(count * STATES_PER_ENCODING, choices, mode, features)
    forms: list[Form] = []
    undefined = np.zeros(len(cases), np.uint64)
    for n in range(count):
        code = b""
        steps = 0
        window = LAYOUT.data + 0x800
        fixed: dict[int, int] = {}
        unknown = ever = 0
        for _ in range(length):
            row_number = chosen[choices.below(len(chosen))]
            row = table[row_number]
            if row.flags_read & unknown or row.has("undefined") or row.has("approximate") or row.has("vsib"):
                continue
            made = encoder.encode(row_number, row)
            if len(code) + len(made.code) > 60:
                break
            code += made.code
            steps += 1
            unknown = (unknown | row.flags_undefined) & ~row.flags_written
            ever |= row.flags_undefined  # a fault may end the sequence anywhere
            fixed.update(made.fixed)
            window = made.window
        forms.append(Form(-1, mode, f"sequence of {steps}"))
        first = n * STATES_PER_ENCODING
        undefined[first : first + STATES_PER_ENCODING] = ever
        put_encoding(cases, first, STATES_PER_ENCODING, code, -1, LAYOUT.code + 0x800, window, steps, fixed)
    return Batch(mode, cases, forms, seed, number, undefined)
