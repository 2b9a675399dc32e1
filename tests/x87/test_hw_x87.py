"""x87 instructions against captures of a processor (they skip where the captures are not)."""

from __future__ import annotations

import pytest

from tests.conform_hw import Case, cases, check, machine

F80 = tuple[int, int]


def is_x87(case: Case) -> bool:
    return "f" in case and str(case["n"]).startswith("F") and not case.get("approx")


@pytest.mark.parametrize("mode", [32, 64])
def test_exact_instructions(mode: int) -> None:
    check(mode, is_x87, at_least=1000)


def ordinal(value: F80) -> int:
    """Position on the line of all finite numbers."""
    mantissa, exponent = value[0], value[1] & 0x7FFF
    position = (exponent << 63) + (mantissa & (1 << 63) - 1)
    return -position if value[1] & 0x8000 else position


@pytest.mark.parametrize("mode", [32, 64])
def test_transcendental_instructions(mode: int) -> None:
    """At most one unit in the last place apart, and the same status but for C1."""
    chosen = cases(mode, lambda case: bool("f" in case and case.get("approx") and not case["o"]["sig"]))
    assert len(chosen) >= 50
    for case in chosen:
        machine(mode).run(case)
        state, expected = machine(mode).cpu.fpu(), case["o"]["f"]
        assert (state["status"] ^ expected["sw"]) & ~0x200 == 0, case
        assert state["valid"] == expected["tag"], case
        for got, text in zip(state["st"], expected["st"], strict=True):
            mantissa, exponent = (int(part, 16) for part in text.split(":"))
            assert abs(ordinal(got) - ordinal((mantissa, exponent))) <= 1, case
