"""MMX and SSE instructions against captures of a processor, by family and mode."""

from __future__ import annotations

import re
import struct

import pytest

from tests.conform_hw import Case, cases, check, load, machine

FAMILIES = {
    "moves": r"MOV|LDDQU|MASKMOV|PMOVMSKB|EMMS",
    "integers": r"P(ADD|SUB|CMPEQ|CMPGT|MIN|MAX|AVG|MUL|MADD|SAD|ABS|SIGN|HADD|HSUB|HMIN|AND|OR|XOR|TEST)|MPSADBW",
    "shuffles": r"P?(UNPCK|ACK|SHUF|BLEND|ALIGNR|INSR|EXTR)|INSERTPS|EXTRACTPS|PMOV[SZ]X",
    "shifts": r"PS(LL|RL|RA)",
    "arithmetic": r"(ADD|SUB|MUL|DIV|MIN|MAX|SQRT|ADDSUB|HADD|HSUB|DP|ROUND)(PS|PD|SS|SD)",
    "logic": r"(AND|ANDN|OR|XOR)P[SD]",
    "comparisons": r"CMP(PS|PD|SS|SD)|U?COMIS",
    "conversions": r"CVT",
    "strings": r"PCMP[EI]STR",
    "cryptography": r"AES|SHA|PCLMULQDQ|EXTRQ|INSERTQ",
    "state": r"(LD|ST)MXCSR|FX",
}
APPROXIMATIONS = re.compile(r"R(SQRT|CP)[PS]S_")
ELSEWHERE = re.compile(r"FISTTP|CRC32|[LMS]FENCE|PREFETCH|RESERVEDNOP")
"""Part of SSE and its successors, but without SIMD registers."""


def is_simd(case: Case) -> bool:
    """Touches XMM or MMX registers."""
    return "x" in case or ("f" in case and ("_MM" in case["n"] or case["n"] == "EMMS"))


@pytest.mark.parametrize("mode", [64, 32])
@pytest.mark.parametrize("family", FAMILIES)
def test_family_behaves_as_captured(family: str, mode: int) -> None:
    pattern = re.compile(FAMILIES[family])
    check(mode, lambda case: is_simd(case) and pattern.match(case["n"]) is not None, at_least=10)


@pytest.mark.parametrize("mode", [64, 32])
def test_no_form_is_left_out(mode: int) -> None:
    every = re.compile("|".join(FAMILIES.values()))
    left = {case["n"] for case in load(mode)[1] if is_simd(case) and not every.match(case["n"])}
    assert {name for name in left if not APPROXIMATIONS.match(name) and not ELSEWHERE.match(name)} == set()


def close(got: int, captured: int) -> bool:
    """Two approximations of one value, each within 1.5 * 2^-12 of it; or the same infinity, zero or NaN."""
    one, other = (struct.unpack("<f", value.to_bytes(4, "little"))[0] for value in (got, captured))
    return got == captured or abs(one - other) <= 3 * 2**-12 * abs(other)


@pytest.mark.parametrize("mode", [64, 32])
def test_approximations_are_within_the_manuals_bound(mode: int) -> None:
    chosen = cases(mode, lambda case: APPROXIMATIONS.match(case["n"]) is not None)
    assert len(chosen) >= 40
    for case in chosen:
        differences = machine(mode).run(case)
        assert all(text.startswith("xmm") for text in differences), case["t"]
        for number, initial in enumerate(case["x"]):
            expected = int(case["o"].get("x", {}).get(str(number), initial), 16)
            got = machine(mode).cpu.xmm(number)
            for shift in range(0, 128, 32):
                assert close(got >> shift & 0xFFFFFFFF, expected >> shift & 0xFFFFFFFF), (case["t"], number, shift)
