"""Every row of the table has a feature, and gives #UD without it unless the bytes mean something else there.

Rows that an operating system keeps from processes are tried too: #UD comes before privilege and before operands."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from x86emu.conform.encoder import Encoder
from x86emu.conform.engine import State, run_batch
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import LAYOUT, empty, set_code
from x86emu.conform.vex import Choices
from x86emu.isa.disassembler import row_of
from x86emu.isa.features import FEATURES, with_needs
from x86emu.isa.models import resolve_model
from x86emu.isa.table import load_rows

MAX = resolve_model("max")
NEEDED = frozenset("base i186 i286 i386 i486 cpuid pentium p6 smm msr pae lm fxsr syscall nx pse pge".split())
"""What the harness's machine for user mode needs itself; without one of these the cases run in real mode."""
NAMES = sorted({row.feature for row in load_rows()} - {"base"})
ELSEWHERE = frozenset(["3dnowprefetch", "abm", "cldemote", "wbnoinvd", "lm"])
"""Features whose encodings are other instructions without them (BSR, NOP, WBINVD), or of a mode that comes with it."""
TRIES = 6
HANDLER = 0x4321


def without(name: str) -> frozenset[str]:
    """All features but name and what needs it."""
    return frozenset(other for other in MAX.features if name not in with_needs(frozenset({other})))


def encodings(name: str, mode: int) -> list[tuple[str, bytes]]:
    """Some encodings of each row of a feature, with what the rows say."""
    made = []
    for number, row in enumerate(load_rows()):
        if row.feature != name or (row.has("i64") and mode == 64) or (row.has("o64") and mode != 64):
            continue
        for n in range(TRIES):
            code = Encoder(Choices(number, n, mode), mode).encode(number, row).code
            made.append((f"{row} ({row.source})", code))
    return made


def in_user_mode(engine: X86EmuEngine, mode: int, codes: list[bytes]) -> list[bool]:
    cases = empty(len(codes))
    cases["mode"] = mode
    cases["gpr"] = LAYOUT.data + 0x800
    for case, code in zip(cases, codes, strict=True):
        set_code(case, code)
    return [int(vector) == 6 for vector in run_batch(engine, cases)["vector"]]


def in_real_mode(engine: X86EmuEngine, code: bytes) -> bool:
    vectors = {4 * n: (HANDLER if n == 6 else 0x1111).to_bytes(2, "little") + b"\0\0" for n in range(20)}
    state = State(16, [0] * 16, 0x100, 2, [0, 0x1000, 0x2000, 0x3000, 0, 0], memory={**vectors, 0x10100: code})
    state.gpr[4] = 0x200
    engine.set_state(state)
    engine.run(1)
    return engine.get_state().rip == HANDLER


@cache
def tried(name: str) -> dict[str, int]:
    """How many encodings of each row were #UD; those that were not and ought to have been fail."""
    features = without(name)
    engine = X86EmuEngine(replace(MAX, features=features))
    found: dict[str, int] = {}
    for mode in (64, 32) if features >= NEEDED else (16,):
        # what is left out is another instruction there, as TZCNT is BSF
        chosen = [e for e in encodings(name, mode) if row_of(e[1].ljust(15, b"\x90"), mode, features) is None]
        codes = [code for _, code in chosen]
        undefined = [in_real_mode(engine, c) for c in codes] if mode == 16 else in_user_mode(engine, mode, codes)
        for (row, code), good in zip(chosen, undefined, strict=True):
            assert good, (row, code.hex(), mode)
            found[row] = found.get(row, 0) + 1
    return found


def test_every_row_has_a_feature() -> None:
    assert {row.feature for row in load_rows()} <= set(FEATURES)
    assert len(NAMES) > 60


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_its_feature_is_undefined(name: str) -> None:
    assert tried(name) or name in ELSEWHERE, "nothing was tried"


def test_hardly_a_row_is_left_out() -> None:
    """Those whose bytes are other instructions on a processor without the feature."""
    rows = {f"{row} ({row.source})" for row in load_rows() if row.feature != "base"}
    left = rows - {row for name in NAMES for row in tried(name)}
    assert len(left) < 64, sorted(left)
