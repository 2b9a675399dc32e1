"""Every row gives #UD on a processor without its feature, unless the bytes mean something else there."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x86emu.conform.cases import make_batch, usable
from x86emu.conform.engine import run_batch
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import code_of
from x86emu.isa.disassembler import row_of
from x86emu.isa.features import FEATURES, with_needs
from x86emu.isa.models import resolve_model
from x86emu.isa.table import load_rows

MAX = resolve_model("max")
NEEDED = frozenset("base i186 i286 i386 i486 cpuid pentium p6 smm msr pae lm fxsr syscall nx pse pge".split())
"""What the harness's machine itself needs."""


def without(name: str) -> frozenset[str]:
    """All features but name and what needs it."""
    return frozenset(other for other in MAX.features if name not in with_needs(frozenset({other})))


NAMES = sorted(
    name
    for name in {row.feature for row in load_rows() if any(usable(row, mode, MAX.features) for mode in (64, 32))}
    if NEEDED <= without(name)
)
ELSEWHERE = frozenset(["3dnowprefetch", "abm", "bmi1", "prefetchi", "cldemote", "wbnoinvd"])
"""Features whose encodings are older instructions without them: BSF, BSR, NOP, WBINVD."""


def test_the_features_are_known() -> None:
    assert len(NAMES) > 25
    assert set(NAMES) <= set(FEATURES)


@pytest.mark.parametrize("name", NAMES)
def test_a_row_without_its_feature_is_undefined(name: str) -> None:
    features = without(name)
    engine = X86EmuEngine(replace(MAX, features=features))
    rows = [n for n, row in enumerate(load_rows()) if row.feature == name]
    undefined = 0
    for mode in (64, 32):
        if not any(usable(load_rows()[n], mode, MAX.features) for n in rows):
            continue
        batch = make_batch(1, 0, mode, MAX.features, 2 * len(rows), rows)
        outcomes = run_batch(engine, batch.cases)
        for case, vector in zip(batch.cases, outcomes["vector"], strict=True):
            code = code_of(case)
            if int(case["rip"]) & 0xFFF != 0x800 or row_of(code.ljust(15, b"\x90"), mode, features) is not None:
                continue  # across a page, or another instruction: TZCNT is BSF
            undefined += 1
            assert vector == 6, (load_rows()[int(case["row"])], code.hex(), mode)
    assert undefined or name in ELSEWHERE, "nothing was tried"
