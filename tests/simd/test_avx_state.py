"""What VEX-encoded instructions need and leave: modes, prefixes, CR0, CR4, XCR0; upper halves; XSAVE's AVX component
(SDM 2A, 2.3 and 2.4; SDM 1, chapter 13 and 14.8)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import DATA, BareMachine
from tests.simd.avx import AREA, GP, NM, UD, fill, machine

LOW = (1 << 128) - 1
VADDPS, VADDPS_256, ANDN = "c5f058c2", "c5f458c2", "c4e270f2c2"
WHOLE = 0x207


def vector(m: BareMachine, code: str, **registers: int) -> int | None:
    """Vector of the fault that code raises."""
    fault = m.fault(code, **registers)
    return None if fault is None else fault[0]


@pytest.mark.parametrize(
    ("code", "why"),
    [
        (VADDPS, None),
        ("c4e17058c2", None),  # the three-byte form
        ("66c5f058c2", "66 before VEX"),
        ("f3c5f058c2", "F3 before VEX"),
        ("f2c5f058c2", "F2 before VEX"),
        ("f0c5f058c2", "LOCK before VEX"),
        ("40c5f058c2", "REX before VEX"),
        ("67c5f058c2", None),
        ("2ec5f058c2", None),
        ("c5f828c2", None),  # VMOVAPS
        ("c5f028c2", "VEX.vvvv names nothing and is not 1111b"),
        ("c4e27c18c2", "VEX.pp is not 66"),
        ("c4e47058c2", "map 4"),
        ("c5f412c2", "VMOVHLPS with VEX.L"),
        ("c4e279 19c2", "VBROADCASTSD without VEX.L"),
        ("c4e2f136c2", "VPERMD without VEX.L, with VEX.W"),
        ("c4e2d590c8", "VPGATHERDQ with a register operand"),
        ("c4e2ed90 4c00 00", None),  # VPGATHERDQ ymm1, [rax + xmm0], ymm2
        ("c4e2ed90 4c10 00", "VPGATHERDQ: the index is the mask"),
        ("c4e2f590 4c00 00", "VPGATHERDQ: the mask is the destination"),
        ("c4e2ed90 4800", "VPGATHERDQ without SIB"),
    ],
)
def test_encodings(code: str, why: str | None) -> None:
    assert vector(machine(), code, rax=DATA) == (None if why is None else UD), why


@pytest.mark.parametrize(
    ("mode", "code", "wanted"),
    [
        ("protected", VADDPS, None),
        ("protected", "c4c17058c2", None),  # VEX.B is ignored
        ("protected", "c4e1b028c2", UD),  # all four bits of an unused VEX.vvvv count
        ("protected", "c4e1b058c2", None),  # the top bit of a used one does not
        ("protected", "c50b", None),  # LDS ecx, [ebx]
        ("real", "c5f058c2", UD),  # LDS with a register
        ("real", ANDN, UD),
        ("protected", ANDN, None),
    ],
)
def test_modes(mode: str, code: str, wanted: int | None) -> None:
    m = machine(mode)
    m.memory.write(DATA, struct.pack("<IH", 5, 0x10))
    assert vector(m, code, rbx=DATA) == wanted


def test_virtual_8086_mode_has_no_vex() -> None:
    m = machine("protected", cpl=3)
    for name in ("cs", "ss", "ds", "es", "fs", "gs"):
        getattr(m.cpu, name).set(0, 0, 0xFFFF, 0xF3)
    m.cpu.rflags |= 0x20000
    assert vector(m, VADDPS) == UD


def test_control_registers() -> None:
    without = machine()
    without.cpu.cr4 &= ~0x40000
    assert vector(without, VADDPS) == UD
    assert vector(without, ANDN) is None  # needs no AVX state
    assert vector(machine(xcr0=3), VADDPS) == UD
    assert vector(machine(xcr0=1), VADDPS_256) == UD
    m = machine()
    m.cpu.cr0 |= 8
    assert vector(m, VADDPS) == NM
    assert vector(m, ANDN) is None
    m.cpu.xcr0 = 3
    assert vector(m, VADDPS) == UD  # before #NM
    m = machine()
    m.cpu.cr0 |= 4
    assert vector(m, VADDPS) is None  # CR0.EM does not matter
    m.cpu.cr4 &= ~0x200
    assert vector(m, VADDPS) is None  # nor CR4.OSFXSR


@pytest.mark.parametrize(
    ("feature", "code"),
    [
        ("avx", VADDPS),
        ("avx2", "c5f5fcc2"),  # VPADDB ymm
        ("avx2", "c4e27918c2"),  # VBROADCASTSS xmm0, xmm2
        ("fma", "c4e27198c2"),
        ("f16c", "c4e27913c2"),
        ("bmi1", ANDN),
        ("bmi2", "c4e27bf6c2"),  # MULX
        ("vaes", "c4e275dcc2"),
        ("aes", "c4e271dcc2"),
        ("pclmulqdq", "c4e37144c200"),
        ("vpclmulqdq", "c4e37544c200"),
        ("gfni", "c4e271cfc2"),
        ("gfni", "660f38cfc2"),
        ("avx_vnni", "c4e27150c2"),
        ("xsaves", "0fc72b"),
    ],
)
def test_without_the_feature_there_is_no_instruction(feature: str, code: str) -> None:
    assert vector(machine(), code, rbx=AREA, rax=0, rdx=0) is None
    assert vector(machine(model=f"max,-{feature}"), code, rbx=AREA, rax=0, rdx=0) == UD


def test_upper_halves() -> None:
    m = machine()
    values = fill(m)
    m.run("c5f157c0")  # VXORPD xmm0, xmm1, xmm0
    m.run("660f57d9")  # XORPD xmm3, xmm1
    assert m.cpu.ymm(0) == (values[0] ^ values[1]) & LOW
    assert m.cpu.ymm(3) == (values[3] ^ values[1]) & LOW | values[3] >> 128 << 128
    m.run("c5e058e4", rax=0)  # VADDPS: only the destination loses its upper half
    assert m.cpu.ymm(5) == values[5]
    m.run("c5f877")  # VZEROUPPER
    assert [m.cpu.ymm(n) >> 128 for n in range(16)] == [0] * 16
    assert m.cpu.ymm(5) == values[5] & LOW
    fill(m)
    m.run("c5fc77")  # VZEROALL
    assert [m.cpu.ymm(n) for n in range(16)] == [0] * 16


def test_outside_64_bit_mode_eight_registers_are_cleared() -> None:
    m = machine("protected")
    values = fill(m)
    m.run("c5f877")
    assert [m.cpu.ymm(n) for n in range(16)] == [v & LOW for v in values[:8]] + values[8:]
    m.run("c5fc77")
    assert [m.cpu.ymm(n) for n in range(16)] == [0] * 8 + values[8:]


@pytest.mark.parametrize(
    ("code", "alignment"),
    [
        ("c5f82803", 16),  # VMOVAPS xmm0, [rbx]
        ("c5fc2803", 32),
        ("c5fd7f03", 32),  # VMOVDQA [rbx], ymm0
        ("c5fde703", 32),  # VMOVNTDQ
        ("c4e27d2a03", 32),  # VMOVNTDQA
        ("c5fc1003", 1),  # VMOVUPS
        ("c5fe7f03", 1),  # VMOVDQU
        ("c5f45803", 1),  # VADDPS ymm0, ymm1, [rbx]
        ("c5f9ef03", 1),  # VPXOR xmm0, xmm0, [rbx]
    ],
)
def test_alignment(code: str, alignment: int) -> None:
    assert vector(machine(), code, rbx=DATA + 64) is None
    for offset in (1, 8, 16):
        wanted = GP if offset % alignment else None
        assert vector(machine(), code, rbx=DATA + 64 + offset) == wanted, offset


def words(m: BareMachine, offset: int, layout: str) -> tuple[int, ...]:
    return struct.unpack(layout, m.memory.read(AREA + offset, struct.calcsize(layout)))


@pytest.mark.parametrize(
    ("save", "restore", "compacted"),
    [
        ("480fae23", "480fae2b", False),  # XSAVE, XRSTOR
        ("480fae33", "480fae2b", False),  # XSAVEOPT
        ("480fc723", "480fae2b", True),  # XSAVEC
        ("480fc72b", "480fc71b", True),  # XSAVES, XRSTORS
    ],
)
def test_the_avx_component(save: str, restore: str, compacted: bool) -> None:
    m = machine(xcr0=WHOLE)
    values = fill(m)
    m.cpu.pkru = 0x30
    m.memory.write(AREA, bytes(2800))
    m.run(save, rbx=AREA, rax=WHOLE, rdx=0)
    assert words(m, 512, "<QQ") == (WHOLE, 1 << 63 | WHOLE if compacted else 0)
    assert words(m, 576, "<2Q") == (values[0] >> 128 & (1 << 64) - 1, values[0] >> 192)
    assert words(m, 576 + 256 if compacted else 2688, "<I") == (0x30,)
    m.run("c5fc77")
    m.cpu.pkru = 0
    m.run(restore, rbx=AREA, rax=4, rdx=0)
    assert [m.cpu.ymm(n) for n in range(16)] == [v >> 128 << 128 for v in values]
    m.run(restore, rbx=AREA, rax=WHOLE, rdx=0)
    assert [m.cpu.ymm(n) for n in range(16)] == values
    assert m.cpu.pkru == 0x30


def test_components_in_initial_state_are_left_out() -> None:
    m = machine()
    fill(m)
    m.run("c5f877")  # VZEROUPPER makes AVX initial
    m.memory.write(AREA, bytes(2800))
    m.run("480fc723", rbx=AREA, rax=7, rdx=0)
    assert words(m, 512, "<QQ")[0] & 4 == 0
    assert words(m, 512, "<QQ")[1] == 1 << 63 | 7


def test_xsaves_is_for_the_supervisor_and_takes_the_compacted_format_alone() -> None:
    m = machine(cpl=3)
    assert vector(m, "480fc72b", rbx=AREA, rax=7, rdx=0) == GP
    assert vector(m, "480fc71b", rbx=AREA, rax=7, rdx=0) == GP
    m = machine()
    m.memory.write(AREA, bytes(2800))
    m.memory.write(AREA + 24, struct.pack("<I", 0x1F80))
    assert vector(m, "480fc71b", rbx=AREA, rax=7, rdx=0) == GP  # a standard image
    m.memory.write(AREA + 520, struct.pack("<Q", 1 << 63 | 7))
    assert vector(m, "480fc71b", rbx=AREA, rax=7, rdx=0) is None
    assert m.rdmsr(0xDA0) == 0
    with pytest.raises(Exception, match="13"):
        m.wrmsr(0xDA0, 0x100)


def test_cpuid_tells_the_size_in_use() -> None:
    m = machine(xcr0=3)
    m.run("0fa2", rax=0xD, rcx=0)
    assert (m.cpu.rbx, m.cpu.rcx) == (576, 2696)
    m.cpu.xcr0 = 7
    m.run("0fa2", rax=0xD, rcx=0)
    assert m.cpu.rbx == 832
    m.run("0fa2", rax=0xD, rcx=1)
    assert (m.cpu.rax & 0xF, m.cpu.rbx) == (0xF, 832)
