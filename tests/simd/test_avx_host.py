"""Every VEX-encoded row against this host's own processor: registers, memory, faults (x86emu.conform)."""

from __future__ import annotations

import pytest

from x86emu.conform.cases import make_batch, usable
from x86emu.conform.compare import differences, differing
from x86emu.conform.engine import Engine, engine_named, run_batch
from x86emu.conform.engines.native import available, host_features
from x86emu.conform.records import code_of
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import disassemble
from x86emu.isa.table import load_rows

FAMILIES = {
    "moves": "rows_avx_move",
    "integers": "rows_avx_integer",
    "floats": "rows_avx_float",
    "fma": "rows_fma",
    "bits": "rows_bmi",
    "cryptography": "rows_avx_crypto",
}


def engines() -> tuple[Engine, Engine]:
    """x86emu as a processor with the host's features, and the host."""
    reason = available()
    if reason:
        pytest.skip(reason)
    if "avx2" not in host_features():
        pytest.skip("this host's processor has no AVX2")
    try:
        return engine_named("x86emu", "native"), engine_named("native")
    except UserInputError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("mode", [64, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_rows_behave_as_the_host(family: str, mode: int) -> None:
    engine, native = engines()
    features = engine.features() & native.features()
    rows = [
        n for n, row in enumerate(load_rows())
        if row.source.startswith(FAMILIES[family]) and usable(row, mode, features)
    ]  # fmt: skip
    assert rows
    batch = make_batch(5, 0, mode, features, 2 * len(rows), rows)
    expected, actual = run_batch(native, batch.cases), run_batch(engine, batch.cases)
    wrong = []
    for n in differing(expected, actual, batch.undefined_flags):
        found = differences(batch.cases[n], expected[n], actual[n], int(batch.undefined_flags[n]))
        if found:
            code = code_of(batch.cases[n])
            wrong.append(f"{disassemble(code.ljust(15, bytes(1)), mode)[1]}: {'; '.join(found)}")
    assert not wrong, "\n".join(wrong[:10])
