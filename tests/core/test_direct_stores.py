"""MOVDIRI, MOVDIR64B, CLZERO, CLDEMOTE, WBNOINVD, SERIALIZE (SDM 2A, 2B; AMD APM 3)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import DATA, BareMachine

GP, UD = (13, 0), (6, None)
LINE = bytes(range(64))


def test_direct_store_of_a_register() -> None:
    m = BareMachine()
    m.memory.write(DATA, bytes(16))
    m.run("480f38f90b 0f38f94b08", rbx=DATA, rcx=0x1122334455667788)
    assert m.memory.read(DATA, 16) == bytes.fromhex("8877665544332211 8877665500000000")


@pytest.mark.parametrize("mode", ["long", "protected"])
def test_direct_store_of_a_line(mode: str) -> None:
    m = BareMachine(mode)
    m.memory.write(DATA + 0x101, LINE)
    m.memory.write(DATA + 0x200, bytes(64))
    m.run("660f38f803", rbx=DATA + 0x101, rax=DATA + 0x200)  # MOVDIR64B rax, [rbx]
    assert m.memory.read(DATA + 0x200, 64) == LINE
    assert m.fault("660f38f803", rbx=DATA + 0x101, rax=DATA + 0x210) == GP


def test_segments_of_a_line() -> None:
    m = BareMachine("protected")
    m.memory.write(DATA, LINE)
    m.cpu.es.set(0x10, DATA, 0x7F, 0x4093)
    m.run("660f38f803", rbx=DATA, rax=0x40)
    assert m.memory.read(DATA + 0x40, 64) == LINE
    assert m.fault("660f38f803", rbx=DATA, rax=0x80) == GP


@pytest.mark.parametrize("mode", ["long", "protected", "real"])
def test_a_line_is_cleared(mode: str) -> None:
    m = BareMachine(mode)
    where = 0x8000
    m.memory.write(where - 64, b"\xee" * 192)
    m.run("0f01fc", rax=where + 13)
    assert m.memory.read(where - 64, 192) == b"\xee" * 64 + bytes(64) + b"\xee" * 64


def test_what_changes_nothing() -> None:
    m = BareMachine()
    m.run("0f01e8 0f1c03 f30f09", rbx=0x123456789ABC0000)  # SERIALIZE, CLDEMOTE of no memory at all, WBNOINVD
    assert BareMachine(cpl=3).fault("f30f09") == GP


@pytest.mark.parametrize(
    ("feature", "code"),
    [("serialize", "0f01e8"), ("clzero", "0f01fc"), ("movdiri", "0f38f90b"), ("movdir64b", "660f38f803")],
)
def test_without_the_feature(feature: str, code: str) -> None:
    assert BareMachine(model=f"max,-{feature}").fault(code, rbx=DATA, rax=DATA) == UD
