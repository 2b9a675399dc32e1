"""Faults of MMX and SSE instructions (SDM 1, 11.5; SDM 3A, tables 2-2, 12-1 and 13-1), and SSE4A by its definition."""

from __future__ import annotations

from functools import cache

import pytest

from tests.conform_hw import LAYOUT, UserMachine

UD, NM, GP, MF, XM = 6, 7, 13, 16, 19
ONE = 0x3FF0000000000000
DENORMAL = 1
SIGNALLING = 0x7FF0000000000001
HUGE = 0x7FE0000000000000
CR0, CR4 = 0x80010033, 0x20 | 0x200 | 0x400


def data_page() -> int:
    """Linear address of the four data pages."""
    address = LAYOUT["data"]
    assert isinstance(address, int)
    return address


@cache
def machine() -> UserMachine:
    return UserMachine(64, LAYOUT, "default,+sse4a")


def run(
    code: str, *, xmm0: int = 0, xmm1: int = 0, mxcsr: int = 0x1F80, cr0: int = CR0, cr4: int = CR4, **registers: int
) -> int | None:
    """Executes one instruction; returns the vector of its fault, None if it has none."""
    cpu = machine().cpu
    cpu.cr0, cpu.cr4 = cr0, cr4
    machine().load_code(bytes.fromhex(code))
    cpu.set_fpu(0x37F, registers.pop("status", 0), 0, [(n + 1, 0) for n in range(8)])
    cpu.set_xmm(0, xmm0)
    cpu.set_xmm(1, xmm1)
    cpu.mxcsr = mxcsr
    for name, value in registers.items():
        setattr(cpu, name, value)
    machine().engine.run(1)
    cpu.cr0, cpu.cr4 = CR0, CR4
    return machine().vector


@pytest.mark.parametrize(
    ("code", "a", "b", "unmasked", "flags"),
    [
        ("f20f58c1", ONE, SIGNALLING, 0x1, 0x1),  # ADDSD: invalid
        ("f20f58c1", ONE, DENORMAL, 0x2, 0x2),  # a denormal operand keeps inexactness from being found
        ("f20f5ec1", ONE, 0, 0x4, 0x4),  # DIVSD by zero
        ("f20f59c1", HUGE, HUGE, 0x8, 0x8),  # MULSD: overflow, exact with an unbounded exponent
        ("f20f59c1", HUGE | 1, HUGE | 1, 0x8, 0x28),  # overflow and inexact
        ("f20f58c1", ONE, HUGE, 0x20, 0x20),  # ADDSD: inexact
        ("f20f59c1", 0x0010000000000000, 0x3FE0000000000000, 0x10, 0x10),  # a tiny exact product
        ("660f58c1", ONE | SIGNALLING << 64, DENORMAL | ONE << 64, 0x3, 0x3),  # ADDPD: flags of both elements
        ("0f5ac1", 0, 0x7F800001, 0x1, 0x1),  # CVTPS2PD
        ("660f2fc1", ONE, SIGNALLING, 0x1, 0x1),  # COMISD
    ],
)
def test_unmasked_exceptions(code: str, a: int, b: int, unmasked: int, flags: int) -> None:
    cpu = machine().cpu
    mxcsr = 0x1F80 & ~(unmasked << 7)
    assert run(code, xmm0=a, xmm1=b, mxcsr=mxcsr, rflags=0x202 | 0x8D5) == XM
    assert (cpu.xmm(0), cpu.mxcsr) == (a, mxcsr | flags)
    assert cpu.rflags & 0x8D5 == 0x8D5
    assert run(code, xmm0=a, xmm1=b, mxcsr=mxcsr, cr4=CR4 & ~0x400) == UD
    assert (cpu.xmm(0), cpu.mxcsr) == (a, mxcsr | flags)


def test_masked_invalid_is_not_hidden_by_an_unmasked_flag_that_is_not_raised() -> None:
    assert run("f20f58c1", xmm0=ONE, xmm1=SIGNALLING, mxcsr=0x1F80 & ~0x200) is None
    assert machine().cpu.mxcsr == 0x1D81
    assert machine().cpu.xmm(0) == SIGNALLING | 1 << 51


@pytest.mark.parametrize(
    ("code", "with_em", "without_osfxsr"),
    [
        ("0f58c1", UD, UD),  # ADDPS
        ("660fefc1", UD, UD),  # PXOR xmm
        ("f20f2cc1", UD, UD),  # CVTTSD2SI
        ("0fefc1", UD, None),  # PXOR mm
        ("660f3800c1", UD, UD),  # PSHUFB xmm
        ("0f3800c1", UD, None),  # PSHUFB mm
        ("0f77", UD, None),  # EMMS
    ],
)
def test_control_registers(code: str, with_em: int, without_osfxsr: int | None) -> None:
    assert run(code) is None
    assert run(code, cr0=CR0 | 8) == NM
    assert run(code, cr0=CR0 | 4) == with_em
    assert run(code, cr4=CR4 & ~0x200) == without_osfxsr


@pytest.mark.parametrize(
    ("code", "aligned_only"),
    [
        ("0f2803", True),
        ("0f2903", True),
        ("660f6f03", True),
        ("660f7f03", True),
        ("0f2b03", True),
        ("660fe703", True),
        ("660f382a03", True),
        ("0f5803", True),
        ("660fef03", True),
        ("660f3a0f0301", True),
        ("66480f6e03", False),
        ("0f1003", False),
        ("0f1103", False),
        ("f30f6f03", False),
        ("f30f7f03", False),
        ("f20ff003", False),
        ("f20f5803", False),
        ("f30f5803", False),
        ("0f5a03", False),
        ("660f3a600301", False),
        ("660f3a630301", False),
        ("0fef03", False),
        ("f20f1203", False),
        ("f30f1203", True),
        ("660f383003", False),
        ("f30fe603", False),
        ("660fe603", True),
    ],
)
def test_alignment(code: str, aligned_only: bool) -> None:
    data = data_page()
    assert run(code, rbx=data + 0x40) is None
    assert run(code, rbx=data + 0x48) == (GP if aligned_only else None)
    assert run(code, rbx=data + 0x41) == (GP if aligned_only else None)
    assert run(code, rbx=data + 0x4000) == 14


@pytest.mark.parametrize(
    "code", ["0fefc1", "0f77", "0f6ec0", "0f7ec0", "0f2ac1", "660f2ac1", "0f2dc1", "f30fd6c1", "f20fd6c1"]
)
def test_pending_x87_exception(code: str) -> None:
    assert run(code, status=0x8081) == MF
    assert machine().cpu.fpu()["status"] == 0x8081
    assert run(code, status=0x1800) is None
    assert machine().cpu.fpu()["status"] == 0


def test_mmx_writes_make_every_register_valid() -> None:
    assert run("0fefc9", status=0x1800) is None  # PXOR mm1, mm1
    state = machine().cpu.fpu()
    assert (state["valid"], state["status"], state["st"][1]) == (0xFF, 0, (0, 0xFFFF))
    assert run("660f2a03", rbx=data_page(), status=0x1800) is None  # CVTPI2PD from memory
    assert (machine().cpu.fpu()["valid"], machine().cpu.fpu()["status"]) == (0, 0x1800)


def test_masked_move_stores_only_where_the_mask_says() -> None:
    data = data_page()
    mask = int.from_bytes(bytes(0x80 if n in (0, 3, 15) else 0x7F for n in range(16)), "little")
    source = int.from_bytes(bytes(range(1, 17)), "little")
    assert run("660ff7c1", xmm0=source, xmm1=mask, rdi=data + 5) is None
    stored = machine().memory.ram[0x110000 + 5 : 0x110000 + 21].tobytes()
    assert stored == bytes(n + 1 if n in (0, 3, 15) else 0 for n in range(16))
    # a masked byte in a page that is not there does not count, an unmasked one does, and then nothing is stored
    end = data + 0x4000
    assert run("660ff7c1", xmm0=source, xmm1=mask & (1 << 64) - 1, rdi=end - 8) is None
    assert run("660ff7c1", xmm0=source, xmm1=mask, rdi=end - 8) == 14
    assert machine().memory.ram[0x113FF8:0x114000].tobytes() == bytes(8)


@pytest.mark.parametrize("length", [0, 1, 5, 31, 64 - 8])
@pytest.mark.parametrize("index", [0, 3, 8])
def test_sse4a_fields(length: int, index: int) -> None:
    a, b = 0x123456789ABCDEF0, 0xF0E1D2C3B4A59687
    if length == 0 and index:
        return
    mask = (1 << (length or 64)) - 1
    control = length | index << 8
    cpu = machine().cpu
    assert run(f"660f78c0{length:02x}{index:02x}", xmm0=a) is None
    assert cpu.xmm(0) == a >> index & mask
    assert run("660f79c1", xmm0=a, xmm1=control) is None
    assert cpu.xmm(0) == a >> index & mask
    expected = a & ~(mask << index) | (b & mask) << index
    assert run(f"f20f78c1{length:02x}{index:02x}", xmm0=a, xmm1=b) is None
    assert cpu.xmm(0) == expected
    assert run("f20f79c1", xmm0=a, xmm1=b | control << 64) is None
    assert cpu.xmm(0) == expected
