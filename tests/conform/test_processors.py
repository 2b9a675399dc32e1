"""What processors do where the manuals are silent or brief, as the native oracle found it; each on both engines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.conform.single import one, outcome
from x86emu.conform.engine import State, run_batch
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import LAYOUT
from x86emu.isa.models import resolve_model

END = LAYOUT.stack + LAYOUT.stack_bytes


def test_popa_has_loaded_what_lies_below_its_page_fault(intel: X86EmuEngine | NativeEngine) -> None:
    after = outcome(intel, b"\x61", 32, rsp=END - 12)
    image = LAYOUT.pristine()[-12:]
    assert (int(after["vector"]), int(after["fault_address"])) == (14, END)
    assert [int(after["gpr"][n]).to_bytes(4, "little") for n in (7, 6, 5)] == [image[0:4], image[4:8], image[8:12]]
    assert after["gpr"][4] == END - 12


@pytest.mark.parametrize("code", [b"\xf3\x6c", b"\xf3\x6d", b"\xf3\x6e", b"\xf3\x6f"])
def test_repeated_port_access_needs_the_right_to_the_port_for_a_count_of_0(
    intel: X86EmuEngine | NativeEngine, code: bytes
) -> None:
    assert outcome(intel, code, rcx=0)["vector"] == 13


@pytest.mark.parametrize(("opcode", "cut"), [(0xA4, (6, 7)), (0xAB, (7,)), (0xAC, ()), (0xA6, ()), (0xAF, ())])
def test_a_count_of_0_in_ecx_cuts_registers_off(
    intel: X86EmuEngine | NativeEngine, opcode: int, cut: tuple[int, ...]
) -> None:
    high = 0xAAAA00000000
    after = outcome(intel, bytes([0x67, 0xF3, opcode]), rcx=high, rsi=high | 3, rdi=high | 5)
    assert [int(after["gpr"][n]) for n in (1, 6, 7)] == [
        0, 3 | (0 if 6 in cut else high), 5 | (0 if 7 in cut else high)
    ]  # fmt: skip


@pytest.mark.parametrize(("opcode", "cut"), [(0xA4, (6, 7)), (0xAB, (7,)), (0xAC, ()), (0xA6, ()), (0xAF, ())])
def test_a_fault_in_the_first_iteration_has_cut_them_off(
    intel: X86EmuEngine | NativeEngine, opcode: int, cut: tuple[int, ...]
) -> None:
    high = 0xAAAA00000000
    after = outcome(intel, bytes([0x67, 0xF3, opcode]), rcx=high | 9, rsi=high | 3, rdi=high | 5)
    assert after["vector"] == 14
    assert [int(after["gpr"][n]) for n in (1, 6, 7)] == [
        9, 3 | (0 if 6 in cut else high), 5 | (0 if 7 in cut else high)
    ]  # fmt: skip


@pytest.mark.parametrize("code", [b"\xdf\x17", b"\xdb\x1f", b"\xd9\x17", b"\xdd\x1f", b"\xdb\x3f", b"\xdf\x37"])
def test_a_store_that_an_exception_keeps_back_does_not_look_at_memory(
    intel: X86EmuEngine | NativeEngine, code: bytes
) -> None:
    """FIST, FISTP, FST, FSTP, FBSTP of an empty register with IE unmasked, to where nothing is mapped."""
    case = one(code, rdi=0x1000)
    case["control"] = 0x37E
    after = run_batch(intel, case)[0]
    assert (int(after["vector"]), int(after["status"]) & 0x80FF) == (-1, 0x80C1)


def test_a_fault_within_repeated_scas_leaves_the_flags(intel: X86EmuEngine | NativeEngine) -> None:
    after = outcome(intel, b"\xf2\xae", rax=0x1FF, rcx=9, rdi=LAYOUT.data + LAYOUT.data_bytes - 2)
    assert (int(after["vector"]), int(after["gpr"][1]), int(after["rflags"]) & 0x8D5) == (14, 7, 0)


def test_bound_judges_the_lower_bound_before_it_reads_the_upper_one(intel: X86EmuEngine | NativeEngine) -> None:
    place = LAYOUT.data + LAYOUT.data_bytes - 4
    lower = int.from_bytes(LAYOUT.pristine()[LAYOUT.data_bytes - 4 : LAYOUT.data_bytes], "little", signed=True)
    vectors = [
        int(outcome(intel, b"\x62\x0b", 32, rbx=place, rcx=n & 0xFFFFFFFF)["vector"]) for n in (lower - 1, lower)
    ]
    assert vectors[0] in (5, 13)  # Linux tells a process of #BR as of #GP
    assert vectors[1] == 14


def test_unmasked_underflow_of_an_exact_product_is_not_inexact(intel: X86EmuEngine | NativeEngine) -> None:
    case = one(b"\xf2\x0f\x59\xc1")
    case["xmm"][0, 0, 0], case["xmm"][0, 1, 0] = 0x0018000000000001, 0x3FE0000000000000
    case["mxcsr"] = 0x1F80 & ~0x800
    assert int(run_batch(intel, case)[0]["mxcsr"]) & 0x3F == 0x10


def test_products_of_dpps_raise_before_its_sums_are_made(intel: X86EmuEngine | NativeEngine) -> None:
    case = one(b"\x66\x0f\x3a\x40\xc1\xff")
    case["xmm"][0, 0, 0], case["xmm"][0, 1, 0] = 0x00800001, 0x3F000000  # the product is a denormal, inexact
    case["mxcsr"] = 0x1F80 & ~0x100
    after = run_batch(intel, case)[0]
    assert int(after["mxcsr"]) & 0x3F == 0x32  # UE and PE of the product, DE of the sum
    case["mxcsr"] = 0x1F80 & ~0x800
    assert int(run_batch(intel, case)[0]["mxcsr"]) & 0x3F == 0x10  # exact with an unbounded exponent


def test_near_branches_with_66_are_the_makes_own() -> None:
    model = resolve_model("max")
    amd, other = X86EmuEngine(model), X86EmuEngine(replace(model, features=model.features - {"branch16"}))
    taken, fallen = b"\x66\x0f\x84\x34\x12\x00\x00", b"\x66\x0f\x85\x34\x12\x00\x00"
    case = np.concatenate([one(taken), one(fallen)])
    case["rflags"] = 0x42
    start = int(case["rip"][0])
    assert run_batch(amd, case)["rip"].tolist() == [(start + 5 + 0x1234) & 0xFFFF, start + 5]
    assert run_batch(other, case)["rip"].tolist() == [start + 7 + 0x1234, start + 7]


def test_code_of_an_earlier_case_is_gone() -> None:
    """What a case reads from the code pages beside its own instructions is CCh."""
    reader = one(b"\x8b\x03", rbx=LAYOUT.code + 0x800)
    reader["rip"] = LAYOUT.code + 0x900
    outcomes = run_batch(X86EmuEngine(), np.concatenate([one(b"\x90\x90\x90\x90"), reader]))
    assert outcomes["gpr"][1, 0] == 0xCCCCCCCC


def early_80286(code: bytes, **registers: int) -> State:
    """The state after one instruction at 1000:0100 with SS 2000h, DS 3000h and an exception handler at 0:500h."""
    made = X86EmuEngine("i80286")
    gpr = [registers.get(name, 0) for name in "ax cx dx bx sp bp si di".split()] + [0] * 8
    memory = {
        0x10100: code,
        0x34: b"\x00\x05\x00\x00",
        0x20000: bytes(0x200),
        0x3FFFC: bytes(range(8)),
        0x30000: b"\xaa\xbb",
    }
    segments = [0, 0x1000, 0x2000, 0x3000, 0, 0]
    made.set_state(State(16, gpr, 0x100, 2, segments, memory=memory))
    made.run(1)
    return made.get_state()


def test_pop_has_moved_sp_on_the_80286_when_it_cannot_store() -> None:
    """Captured: cases 2164, 3173 and 4801 of 8F."""
    after = early_80286(b"\x8f\x07", bx=0xFFFF, sp=0x100)
    assert (after.rip, after.gpr[4]) == (0x500, 0x102 - 6)


def test_the_second_word_of_a_far_pointer_wraps_on_the_80286() -> None:
    """Captured: case 2743 of C5."""
    after = early_80286(b"\xc5\x2f", bx=0xFFFE, sp=0x100)
    assert (after.rip, after.gpr[5], after.segments[3]) == (0x102, 0x0302, 0xBBAA)
    after = early_80286(b"\xc5\x2f", bx=0xFFFD, sp=0x100)
    assert after.rip == 0x500


@pytest.mark.parametrize("code", [b"\xf2\x0f\xc7\xf0", b"\xf3\x0f\xc7\xf0", b"\xf2\x0f\xc7\xf8"])
def test_rdrand_and_rdseed_take_no_repeat_prefix(intel: X86EmuEngine | NativeEngine, code: bytes) -> None:
    if not {"rdrand", "rdseed"} <= intel.features():
        pytest.skip("this host's processor has no RDRAND or RDSEED")
    assert outcome(intel, code)["vector"] == 6


def test_movsxd_of_16_bits_reads_16(intel: X86EmuEngine | NativeEngine) -> None:
    place = LAYOUT.data + LAYOUT.data_bytes - 2
    after = outcome(intel, b"\x66\x63\x07", rax=0x1122334455667788, rdi=place)
    word = int.from_bytes(LAYOUT.pristine()[LAYOUT.data_bytes - 2 : LAYOUT.data_bytes], "little")
    assert (int(after["vector"]), int(after["gpr"][0])) == (-1, 0x1122334455660000 | word)
