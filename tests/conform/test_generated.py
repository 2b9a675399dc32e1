"""Cases from the table, their comparison, shrinking and reproduction; with the host's processor where it can judge."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conform.single import one
from x86emu.conform import generated
from x86emu.conform.cases import make_batch, make_sequences, usable
from x86emu.conform.compare import differences, differing
from x86emu.conform.encoder import STATES_PER_ENCODING
from x86emu.conform.engine import State, Stop, open_engine, put_outcome, run_batch, state_of
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import LAYOUT, Records, code_of, digest, empty, set_code
from x86emu.conform.reproduce import check, one_liner, pack, unpack
from x86emu.conform.shrink import shrink
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import disassemble
from x86emu.isa.table import load_rows


@pytest.fixture(scope="module")
def engine() -> X86EmuEngine:
    return X86EmuEngine()


def test_a_batch_follows_from_its_seed(engine: X86EmuEngine) -> None:
    first, again = (make_batch(3, 2, 64, engine.features(), 40) for _ in range(2))
    assert first.cases.tobytes() == again.cases.tobytes()
    assert make_batch(4, 2, 64, engine.features(), 40).cases.tobytes() != first.cases.tobytes()


@pytest.mark.parametrize("mode", [64, 32])
def test_every_usable_row_is_generated_and_disassembles_to_itself(engine: X86EmuEngine, mode: int) -> None:
    table = load_rows()
    wanted = {n for n, row in enumerate(table) if usable(row, mode, engine.features())}
    batch = make_batch(1, 0, mode, engine.features(), len(wanted))
    assert {int(n) for n in batch.cases["row"]} == wanted
    for case in batch.cases[::STATES_PER_ENCODING]:
        code = code_of(case)
        length, text = disassemble(code.ljust(16, b"\x90"), mode)
        assert len(code) <= 15
        assert text == "(undefined)" or length == len(code), (code.hex(), text, str(table[int(case["row"])]))


def test_outcomes_of_a_batch(engine: X86EmuEngine) -> None:
    cases = np.concatenate(
        [
            one(b"\x01\xd8", rax=5, rbx=7),
            one(b"\x0f\x0b"),
            one(b"\xf7\xf1", rax=1),
            one(b"\x8b\x03", rbx=0x1234),
            one(b"\x50", rax=3),
        ]
    )
    outcomes = run_batch(engine, cases)
    assert outcomes["vector"].tolist() == [-1, 6, 0, 14, -1]
    assert outcomes["gpr"][0, 0] == 12
    assert (outcomes["rip"] - cases["rip"]).tolist() == [2, 0, 0, 0, 1]
    assert outcomes["fault_address"][3] == 0x1234
    before = np.frombuffer(LAYOUT.pristine(), np.uint64)
    after = before.copy()
    after[(LAYOUT.data_bytes + 0x7F8) >> 3] = 3
    assert outcomes["digest"].tolist() == [0, 0, 0, 0, digest(before, after)]


def test_batch_and_single_cases_agree(engine: X86EmuEngine) -> None:
    batch = make_batch(5, 0, 64, engine.features(), 60)
    outcomes = run_batch(engine, batch.cases)
    for n in range(0, len(batch.cases), 5):
        engine.set_state(state_of(batch.cases[n]))
        stop = engine.run(int(batch.cases[n]["steps"]) & 0xFFFF)
        single = empty(1)[0]
        put_outcome(single, batch.cases[n], engine.get_state(), stop)
        if int(batch.cases[n]["steps"]) & 0xFFFF > 1:
            continue
        assert differences(batch.cases[n], outcomes[n], single, 0) == [], code_of(batch.cases[n]).hex()


def test_undefined_flags_and_results_do_not_count() -> None:
    rows = load_rows()
    number = next(n for n, row in enumerate(rows) if row.mnemonic == "BSF")
    case = one(b"\x0f\xbc\xc1")
    case["row"] = number
    expected, actual = case.copy(), case.copy()
    expected["rflags"] |= np.uint64(0x40)
    actual["rflags"] |= np.uint64(0x40 | 0x800)
    actual["gpr"][0, 0] = 99
    undefined = np.array([rows[number].flags_undefined], np.uint64)
    assert differing(expected, actual, undefined).tolist() == [0]
    assert differences(case[0], expected[0], actual[0], int(undefined[0])) == []
    expected["rflags"] = actual["rflags"] = 2
    assert differences(case[0], expected[0], actual[0], int(undefined[0])) == ["rax 63, expected 0"]


class Wrong(X86EmuEngine):
    """Adds one to RBX whenever the code holds BSWAP EAX."""

    def run_batch(self, cases: Records) -> Records:
        outcomes = super().run_batch(cases)
        for n in range(len(cases)):
            if b"\x0f\xc8" in code_of(cases[n]):
                outcomes["gpr"][n, 3] += np.uint64(1)
        return outcomes


def test_shrinking_leaves_what_matters(engine: X86EmuEngine) -> None:
    case = make_sequences(1, 0, 64, engine.features(), 1).cases[:1].copy()
    set_code(case[0], b"\x90\x0f\xc8\xf8")
    case["steps"] = 3
    case["rflags"] = 0x202
    small = shrink(case[0], 0, Wrong(), engine)
    assert code_of(small) == b"\x0f\xc8"
    assert not small["gpr"].any()
    assert not small["xmm"].any()


def test_a_case_survives_packing_and_its_line_runs() -> None:
    case = one(b"\x01\xd8", rax=5, rbx=7)
    assert unpack(pack(case[0])).tobytes() == case.tobytes()
    scope: dict[str, object] = {}
    exec(one_liner(case[0], 0, "x86emu", "x86emu"), scope)
    scope["test_case"]()  # type: ignore[operator]
    with pytest.raises(UserInputError, match="no packed case"):
        check("nonsense")


def test_engines_are_loaded_by_name() -> None:
    with pytest.raises(UserInputError, match="no engine 'bochs'.*package.module:Class"):
        open_engine("bochs")
    with pytest.raises(UserInputError, match="cannot be loaded"):
        open_engine("x86emu.conform.engine:Nothing")
    with pytest.raises(UserInputError, match="lacks methods"):
        open_engine("x86emu.conform.engine:State")


def test_the_host_agrees_on_simple_cases(native: NativeEngine, engine: X86EmuEngine) -> None:
    cases = np.concatenate(
        [one(b"\x01\xd8", rax=5, rbx=7), one(b"\x0f\x0b"), one(b"\xf7\xf1", rax=1), one(b"\x8b\x03", rbx=0x1234),
         one(b"\x50", rax=3), one(b"\xf4"), one(b"\xe4\x20")]
    )  # fmt: skip
    expected, actual = native.run_batch(cases), engine.run_batch(cases)
    assert differing(expected, actual, np.zeros(len(cases), np.uint64)).tolist() == []


def test_a_case_that_kills_the_child_is_contained(native: NativeEngine) -> None:
    fatal = one(b"\x0f\x05", rax=231)  # exit_group
    outcomes = native.run_batch(np.concatenate([fatal, one(b"\x40\xb0\x09")]))
    assert outcomes["vector"].tolist() == [-2, -1]
    assert outcomes["gpr"][1, 0] == 9


@pytest.mark.parametrize("mode", [64, 32])
def test_integer_rows_agree_with_the_host(native: NativeEngine, engine: X86EmuEngine, mode: int) -> None:
    features = native.features() & engine.features()
    rows = [n for n, row in enumerate(load_rows()) if row.source.startswith("rows_integer") and row.mnemonic != "LEAVE"]
    rows = [n for n in rows if load_rows()[n].mnemonic != "ENTER"]
    batch = make_batch(7, 0, mode, features, 500, rows)
    expected, actual = native.run_batch(batch.cases), engine.run_batch(batch.cases)
    found = []
    for n in differing(expected, actual, batch.undefined_flags):
        what = differences(batch.cases[n], expected[n], actual[n], int(batch.undefined_flags[n]))
        if what:
            found.append(f"{generated.text_of(code_of(batch.cases[n]), mode)}: {'; '.join(what)}")
    assert not found, "\n".join(found[:10])


def test_state_of_and_put_outcome_are_inverse() -> None:
    case = make_batch(9, 1, 64, X86EmuEngine().features(), 3).cases[5]
    state: State = state_of(case)
    out = empty(1)[0]
    put_outcome(out, case, state, Stop())
    assert out.tobytes() == case.tobytes()


@pytest.mark.parametrize("code", [b"\x0f\x00\x13", b"\x0f\x00\x1b", b"\x0f\x01\x33"])  # LLDT, LTR, LMSW word [rbx]
def test_privilege_is_checked_before_the_operand_is_read(engine: X86EmuEngine, code: bytes) -> None:
    assert engine.run_batch(one(code, rbx=0x1234))["vector"].tolist() == [13]
