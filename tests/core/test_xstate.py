"""FXSAVE, FXRSTOR, XSAVE and kin: layout, checks, components (SDM 1, 10.5 and chapter 13)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import DATA, BareMachine

GP = (13, 0)
UD = (6, None)
NM = (7, None)
AREA = DATA + 0x1000


def with_xsave(components: int = 0x203) -> BareMachine:
    m = BareMachine()
    m.run("0f22e0", rax=m.cpu.cr4 | 0x440000)
    m.run("0f01d1", rax=components, rdx=0, rcx=0)
    return m


def fill(m: BareMachine) -> None:
    for n in range(16):
        m.cpu.set_xmm(n, (n + 1) * 0x0101010101010101 << 64 | 0xABCD0000 | n)
    m.cpu.set_fpu(0x27F, 3 << 11, 0b01111000, [(0x8000000000000000 + n, 0x3FFF + n) for n in range(8)])
    m.cpu.mxcsr = 0x1FA0


def words(m: BareMachine, offset: int, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, m.memory.read(AREA + offset, struct.calcsize(layout)))


def test_fxsave_layout() -> None:
    m = BareMachine()
    fill(m)
    m.memory.write(AREA, b"\xee" * 512)
    m.run("480fae03", rbx=AREA)
    assert words(m, 0, "<HHBB") == (0x27F, 3 << 11, 0b01111000, 0)
    assert words(m, 24, "<II") == (0x1FA0, 0x2FFFF)
    assert words(m, 32, "<QHHI") == (0x8000000000000000, 0x3FFF, 0, 0)
    assert words(m, 32 + 7 * 16, "<QH") == (0x8000000000000007, 0x4006)
    assert words(m, 160, "<QQ") == (0xABCD0000, 0x0101010101010101)
    assert words(m, 160 + 15 * 16, "<QQ") == (0xABCD000F, 0x1010101010101010)
    assert m.memory.read(AREA + 464, 48) == b"\xee" * 48


def test_fxrstor_brings_it_back() -> None:
    m = BareMachine()
    fill(m)
    before = m.cpu.fpu(), [m.cpu.xmm(n) for n in range(16)], m.cpu.mxcsr
    m.run("0fae03", rbx=AREA)
    m.run("dbe3")  # FNINIT
    m.cpu.mxcsr = 0x1F80
    for n in range(16):
        m.cpu.set_xmm(n, 0)
    m.run("0fae0b", rbx=AREA)
    assert (m.cpu.fpu(), [m.cpu.xmm(n) for n in range(16)], m.cpu.mxcsr) == before


def test_outside_64_bit_mode_there_are_eight_registers() -> None:
    m = BareMachine("protected")
    fill(m)
    m.memory.write(AREA, b"\xee" * 512)
    m.run("0fae03", rbx=AREA)
    assert words(m, 160 + 7 * 16, "<Q") == (0xABCD0007,)
    assert m.memory.read(AREA + 160 + 8 * 16, 16) == b"\xee" * 16


def test_fxrstor_recomputes_the_error_summary() -> None:
    m = BareMachine()
    m.run("0fae03", rbx=AREA)
    m.memory.write(AREA, struct.pack("<HH", 0x37E, 0x0001))  # an unmasked invalid operation is pending
    m.run("0fae0b", rbx=AREA)
    assert m.cpu.fpu()["status"] == 0x8081


@pytest.mark.parametrize("code", ["0fae03", "0fae0b"])
def test_fxsave_alignment_and_availability(code: str) -> None:
    assert BareMachine().fault(code, rbx=AREA + 8) == GP
    for bit in (8, 4):  # TS, EM
        m = BareMachine()
        m.cpu.cr0 |= bit
        assert m.fault(code, rbx=AREA) == NM
    assert BareMachine("protected", "pentium").fault(code, rbx=AREA) == UD


def test_mxcsr_reserved_bits() -> None:
    m = BareMachine()
    m.memory.write(DATA, struct.pack("<I", 0x1FA0))
    m.run("0fae13 0fae1c25 08000100", rbx=DATA)  # LDMXCSR, STMXCSR [DATA + 8]
    assert m.cpu.mxcsr == 0x1FA0
    assert m.memory.read(DATA + 8, 4) == struct.pack("<I", 0x1FA0)
    m.memory.write(DATA, struct.pack("<I", 0x80001F80))
    assert m.fault("0fae13", rbx=DATA) == GP
    m.run("0fae03", rbx=AREA)
    m.memory.write(AREA + 24, struct.pack("<I", 0x01000000))
    assert m.fault("0fae0b", rbx=AREA) == GP


def test_fast_fxsave_leaves_xmm_out() -> None:
    m = BareMachine()
    fill(m)
    m.wrmsr(0xC0000080, m.rdmsr(0xC0000080) | 0x4000)
    m.memory.write(AREA, b"\xee" * 512)
    m.run("0fae03", rbx=AREA)
    assert m.memory.read(AREA + 160, 16) == b"\xee" * 16
    assert words(m, 24, "<I") == (0x1FA0,)


def test_xsave_needs_osxsave_alignment_and_no_ts() -> None:
    assert BareMachine().fault("0fae23", rbx=AREA) == UD
    m = with_xsave()
    assert m.fault("0fae23", rbx=AREA + 16, rax=3, rdx=0) == GP
    m = with_xsave()
    m.cpu.cr0 |= 8
    assert m.fault("0fae23", rbx=AREA, rax=3, rdx=0) == NM


def test_xsave_writes_what_is_asked_and_tells_what_is_in_use() -> None:
    m = with_xsave()
    fill(m)
    m.cpu.pkru = 0x30
    m.memory.write(AREA, bytes(512) + struct.pack("<Q", 4) + bytes(2200))
    m.run("0fae23", rbx=AREA, rax=0x202, rdx=0)
    assert words(m, 512, "<QQ") == (4 | 0x202, 0)
    assert words(m, 0, "<H") == (0,)  # the x87 was not asked for
    assert words(m, 24, "<I") == (0x1FA0,)
    assert words(m, 160, "<Q") == (0xABCD0000,)
    assert words(m, 2688, "<Q") == (0x30,)


def test_xsaveopt_leaves_initial_components_out() -> None:
    m = with_xsave()
    m.run("dbe3")
    m.cpu.set_xmm(0, 7)
    m.cpu.set_fpu(0x37F, 0, 0, [(0, 0)] * 8)
    m.memory.write(AREA, b"\xee" * 512 + bytes(2200))
    m.run("0fae33", rbx=AREA, rax=0x203, rdx=0)
    assert words(m, 512, "<Q") == (2,)
    assert words(m, 0, "<H") == (0xEEEE,)
    assert words(m, 160, "<Q") == (7,)


def test_xrstor_restores_and_initializes() -> None:
    m = with_xsave()
    fill(m)
    m.cpu.pkru = 0x30
    saved = [m.cpu.xmm(n) for n in range(16)], m.cpu.fpu()["st"]
    m.memory.write(AREA, bytes(2700))
    m.run("480fae23", rbx=AREA, rax=0x203, rdx=0)
    m.run("dbe3")
    m.cpu.pkru = 0
    for n in range(16):
        m.cpu.set_xmm(n, 0)
    m.run("480fae2b", rbx=AREA, rax=0x203, rdx=0)
    assert ([m.cpu.xmm(n) for n in range(16)], m.cpu.fpu()["st"], m.cpu.pkru) == (*saved, 0x30)
    m.memory.write(AREA + 512, bytes(8))  # now everything is told to be initial
    m.run("480fae2b", rbx=AREA, rax=0x203, rdx=0)
    assert [m.cpu.xmm(n) for n in range(16)] == [0] * 16
    assert m.cpu.fpu()["control"] == 0x37F
    assert m.cpu.pkru == 0
    assert m.cpu.mxcsr == 0x1FA0  # loaded though its component is not there


@pytest.mark.parametrize(("offset", "value"), [(512, 4), (520, 1), (528, 1), (520, 1 << 63 | 4)])
def test_xrstor_header_checks(offset: int, value: int) -> None:
    m = with_xsave()
    m.memory.write(AREA, bytes(2700))
    m.memory.write(AREA + 24, struct.pack("<I", 0x1F80))
    assert m.fault("0fae2b", rbx=AREA, rax=3, rdx=0) is None
    m.memory.write(AREA + offset, struct.pack("<Q", value))
    assert m.fault("0fae2b", rbx=AREA, rax=3, rdx=0) == GP


def test_xsavec_packs_and_xrstor_unpacks() -> None:
    m = with_xsave()
    fill(m)
    m.cpu.pkru = 0x30
    saved = [m.cpu.xmm(n) for n in range(16)], m.cpu.fpu()["st"]
    m.memory.write(AREA, b"\xee" * 2700)
    m.run("480fc723", rbx=AREA, rax=0x203, rdx=0)
    assert words(m, 512, "<QQ") == (0x203, 1 << 63 | 0x203)
    assert words(m, 576, "<Q") == (0x30,)
    m.memory.write(AREA + 528, bytes(48))
    m.run("dbe3")
    m.cpu.pkru = 0
    for n in range(16):
        m.cpu.set_xmm(n, 0)
    m.run("480fae2b", rbx=AREA, rax=0x203, rdx=0)
    assert ([m.cpu.xmm(n) for n in range(16)], m.cpu.fpu()["st"], m.cpu.pkru) == (*saved, 0x30)
