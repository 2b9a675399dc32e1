"""Which of several exceptions processors raise: fetches before #UD, faults of a store after its operation, alignment.

Each on both engines, as in test_processors."""

from __future__ import annotations

import numpy as np
import pytest

from tests.conform.single import one, outcome
from x86emu.conform.compare import differences
from x86emu.conform.engine import run_batch
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import LAYOUT
from x86emu.isa.models import resolve_model
from x86emu.isa.table import load_rows

# ----- an encoding that is undefined is fetched to its end before it is #UD -----
CODE_END = LAYOUT.code + LAYOUT.code_bytes


def cut(made: X86EmuEngine | NativeEngine, code: bytes, mode: int, there: int) -> int | str:
    """What happens where only so many bytes of the code lie in the page: "fetch", or the vector."""
    case = one(code[:there], rsp=LAYOUT.stack + 0x800)
    case["mode"], case["rip"] = mode, CODE_END - there
    after = run_batch(made, case)[0]
    fetching = int(after["vector"]) == 14 and int(after["fault_address"]) == CODE_END
    return "fetch" if fetching else int(after["vector"])


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("f0 c4a145 73 f3 31", 64),  # LOCK before VEX
        ("c4e3fd 22 c1 db", 32),  # VPINSRD with VEX.L
        ("66 c4831d 06 a222450000 f8", 64),  # 66 before VEX
        ("c4e178 80 00000000", 64),  # no such opcode, with the length of JO
        ("c4e178 20 05", 64),  # as MOV CR: no displacement
        ("c4e578 58 41 00", 64),  # a reserved map, the low two bits of which are those of 0F
        ("c404 00", 64),  # map 0: the length of LES
        ("c4a0 78787878", 64),
        ("c4e0", 32),
        ("0f38 f8 8000000000", 32),
        ("0f3a 64 05 00000000 11", 32),
        ("0f3b 64 c0 11", 64),  # escapes of Intel's processors
        ("0f3c 64 c0", 64),
        ("0f7b 05 00000000", 64),
        ("0f04", 64),
        ("66 0f25", 32),
        ("c7 88 00000000 00000000", 32),  # C7 /1
        ("f0 66 b8 0000", 64),
        ("82 05 00000000 00", 64),
        ("ea 00000000 0000", 64),
        ("f3 0f38 f0 05 00000000", 64),  # MOVBE takes no F3
    ],
)
def test_an_undefined_encoding_is_fetched_to_its_end(intel: X86EmuEngine | NativeEngine, text: str, mode: int) -> None:
    code = bytes.fromhex(text)
    found = [cut(intel, code, mode, there) for there in range(1, len(code) + 1)]
    assert found == ["fetch"] * (len(code) - 1) + [6]


def test_what_amd_s_processors_fetch_of_an_undefined_encoding() -> None:
    """Captured lengths: 0F 39, 0F 3B to 3F, 7A, 7B, A6 and A7 end at the opcode."""
    amd = X86EmuEngine(resolve_model("max,+branch16"))
    assert [cut(amd, bytes([0x0F, n, 5]), 64, 2) for n in (0x39, 0x3B, 0x3F, 0x7A, 0xA7)] == [6] * 5
    assert cut(amd, b"\x0f\x3a\x64\x05", 64, 4) == "fetch"


def test_fs_stays_the_segment_under_later_null_prefixes(intel: X86EmuEngine | NativeEngine) -> None:
    """In 64-bit mode ES to DS prefixes are ignored: with FS the fault is #GP, with rBP's own segment #SS."""
    bad = 0x0000900000000000
    codes = (b"\x8a\x45\x00", b"\x64\x8a\x45\x00", b"\x64\x2e\x8a\x45\x00", b"\x2e\x64\x8a\x45\x00")
    assert [int(outcome(intel, code, rbp=bad)["vector"]) for code in codes] == [12, 13, 13, 13]


def test_call_pushes_before_its_target_is_not_canonical(intel: X86EmuEngine | NativeEngine) -> None:
    bad = 0x0000900000000000
    assert outcome(intel, b"\xff\xd0", rax=bad, rsp=bad)["vector"] == 12
    assert outcome(intel, b"\xff\xd0", rax=bad, rsp=0x1000)["vector"] == 14
    after = outcome(intel, b"\xff\xd0", rax=bad, rsp=LAYOUT.stack + 0x800)
    assert (int(after["vector"]), int(after["gpr"][4])) == (13, LAYOUT.stack + 0x800)
    assert int(after["digest"])  # the return address


def test_the_destination_of_a_line_is_in_es_wherever_its_source_is(intel: X86EmuEngine | NativeEngine) -> None:
    """MOVDIR64B RSI, [RBP]."""
    if "movdir64b" not in intel.features():
        pytest.skip("this host's processor has no MOVDIR64B")
    bad, code = 0x0000900000000000, b"\x66\x0f\x38\xf8\x75\x00"
    assert outcome(intel, code, rsi=bad, rbp=LAYOUT.data)["vector"] == 13
    assert outcome(intel, code, rsi=LAYOUT.data, rbp=bad)["vector"] == 12


def half(made: X86EmuEngine | NativeEngine, single: int, mxcsr: int, code: str = "c4e3791dc800") -> np.void:
    """VCVTPS2PH of one single in XMM1."""
    if "f16c" not in made.features():
        pytest.skip("this host's processor has no F16C")
    case = one(bytes.fromhex(code), rdi=LAYOUT.data + 0x800)
    case["xmm"][0, 1, 0], case["mxcsr"], case["mode"] = single, mxcsr, 32
    result: np.void = run_batch(made, case)[0]
    return result


@pytest.mark.parametrize(
    ("single", "flags"),
    [(0x357FFFFF, 0x30), (0xB4BA6000, 0x10), (0x36040000, 0x10), (0x00800000, 0x10), (0x00000001, 0x32)],
)
def test_unmasked_underflow_of_vcvtps2ph(intel: X86EmuEngine | NativeEngine, single: int, flags: int) -> None:
    """PE tells whether 11 bits hold the value, not whether the denormal that nobody gets does; always of denormals."""
    assert int(half(intel, single, 0x1F80 & ~0x800)["mxcsr"]) & 0x3F == flags


def test_vcvtps2ph_raises_before_it_stores(intel: X86EmuEngine | NativeEngine) -> None:
    to_cs = "2e c4e3791d0f00"  # not writable
    after = half(intel, 0x3F800001, 0x1F80 & ~0x1000, to_cs)
    assert (int(after["vector"]) in (16, 19), int(after["mxcsr"]) & 0x3F) == (True, 0x20)
    assert half(intel, 0x3F800001, 0x1F80, to_cs)["vector"] == 13


def reciprocal(made: X86EmuEngine | NativeEngine, single: int) -> np.void:
    """RCPPS XMM0, XMM1."""
    case = one(b"\x0f\x53\xc1")
    case["xmm"][0, 1, 0] = single
    result: np.void = run_batch(made, case)[0]
    return result


@pytest.mark.parametrize("single", [0x7E800006, 0x7E8001FE])
def test_rcpps_of_a_tiny_result_is_zero(intel: X86EmuEngine | NativeEngine, single: int) -> None:
    assert int(reciprocal(intel, single)["xmm"][0, 0]) & 0xFFFFFFFF == 0


def test_a_reciprocal_at_the_edge_of_the_normal_numbers_may_be_zero() -> None:
    """1 / 2**126 is 2**-126; processors whose approximation lies below it give 0."""
    case = one(b"\x0f\x53\xc1")
    case["row"] = next(n for n, row in enumerate(load_rows()) if row.mnemonic == "RCPPS")
    expected, actual = case.copy(), case.copy()
    expected["xmm"][0, 0, 0] = 0x00800000
    assert differences(case[0], expected[0], actual[0], 0) == []
    expected["xmm"][0, 0, 0] = 0x00802000
    assert differences(case[0], expected[0], actual[0], 0)


# ----- alignment checking (SDM 3A 6.15, interrupt 17) -----
@pytest.mark.parametrize(
    ("text", "mode", "alignment"),
    [
        ("8b07", 64, 4), ("488b07", 64, 8), ("0f10 07", 64, 1), ("f20f10 07", 64, 8), ("db2f", 64, 8), ("db3f", 64, 8),
        ("df27", 64, 8), ("dd27", 64, 4), ("66 d937", 32, 2), ("d937", 32, 4), ("dd37", 64, 4), ("0ff7ef", 64, 8),
        ("660ff7ef", 64, 8), ("c4e279 13 07", 64, 1), ("c4e3791d 0f00", 64, 1), ("c4e271 8e 0f", 64, 1),
        ("c4e2719014 3d00000000", 64, 1),
    ],
)  # fmt: skip
def test_alignment_that_is_checked(intel: X86EmuEngine | NativeEngine, text: str, mode: int, alignment: int) -> None:
    """MOV, MOVUPS, MOVSD, FLD and FSTP m80, FBLD, FRSTOR, FNSTENV, FNSAVE, MASKMOVQ, MASKMOVDQU, VCVTPH2PS,
    VCVTPS2PH, VPMASKMOVD; the gather's base is RDI."""
    if text.startswith("c4") and not {"avx2", "f16c"} <= intel.features():
        pytest.skip("this host's processor has no AVX2 or F16C")
    refused = []
    for offset in range(9):
        case = one(bytes.fromhex(text), rdi=LAYOUT.data + 0x800 + offset)
        case["mode"], case["rflags"], case["valid"] = mode, 0x40202, 0xFF if text[:2] in ("db", "df") else 0
        case["xmm"][0, 1] = case["xmm"][0, 5] = case["xmm"][0, 7] = (1 << 64) - 1
        if text in ("db2f", "df27"):
            case["valid"] = 0
        case["st_mantissa"], case["st_exponent"] = 1 << 63, 0x3FFF
        refused.append(int(run_batch(intel, case)[0]["vector"]) == 17)
    assert refused == [offset % alignment != 0 for offset in range(9)]


@pytest.mark.parametrize(("mode", "size"), [(64, 8), (32, 4)])
def test_enter_checks_the_alignment_of_the_new_top_of_the_stack(
    intel: X86EmuEngine | NativeEngine, mode: int, size: int
) -> None:
    vectors = []
    for length in range(9):
        case = one(bytes([0xC8, length, 0, 0]), rbp=LAYOUT.stack + 0x840)
        case["mode"], case["rflags"] = mode, 0x40202
        vectors.append(int(run_batch(intel, case)[0]["vector"]))
    assert vectors == [17 if length % size else -1 for length in range(9)]


def test_a_place_that_is_not_canonical_comes_before_its_alignment(intel: X86EmuEngine | NativeEngine) -> None:
    vectors = []
    for place in (0x0000900000000001, 0x00007FFFFFFFFFFD):
        case = one(b"\x8b\x07", rdi=place)
        case["rflags"] = 0x40202
        vectors.append(int(run_batch(intel, case)[0]["vector"]))
    assert vectors == [13, 17]


def test_pop_reads_the_stack_before_it_judges_the_segment_of_its_destination(
    intel: X86EmuEngine | NativeEngine,
) -> None:
    """CS may not be written: #GP, but for a stack that is not there."""
    for rsp, vector in ((LAYOUT.stack + 0x800, 13), (0x90B21196, 14)):
        case = one(bytes.fromhex("2e8f00"), rsp=rsp, rax=LAYOUT.data)  # pop dword cs:[eax]
        case["mode"] = 32
        assert int(run_batch(intel, case)[0]["vector"]) == vector
