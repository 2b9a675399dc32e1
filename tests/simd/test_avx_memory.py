"""Masked moves and gathers: what the mask leaves out is not touched, and a gather goes on after a fault (SDM 2C:
VMASKMOV, VPMASKMOV, VPGATHERDD and kin)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import DATA, Fault
from tests.simd.avx import END, GP, PF, SS, fill, machine

ONES = (1 << 32) - 1


def vector_of(*elements: int, bits: int = 32) -> int:
    return sum((element & (1 << bits) - 1) << bits * n for n, element in enumerate(elements))


def elements(value: int, bits: int = 32) -> list[int]:
    return [value >> shift & (1 << bits) - 1 for shift in range(0, 256, bits)]


def test_masked_load() -> None:
    m = machine()
    fill(m)
    m.memory.write(DATA, bytes(range(32)))
    m.cpu.set_ymm(1, vector_of(1 << 31, 0, 0x7FFFFFFF, ONES, 0, 1 << 31, 0, 0))
    m.run("c4e2752c03", rbx=DATA)  # VMASKMOVPS ymm0, ymm1, [rbx]
    assert elements(m.cpu.ymm(0)) == [0x03020100, 0, 0, 0x0F0E0D0C, 0, 0x17161514, 0, 0]
    m.run("c4e2712c03", rbx=DATA)  # the same on xmm0
    assert elements(m.cpu.ymm(0)) == [0x03020100, 0, 0, 0x0F0E0D0C, 0, 0, 0, 0]


@pytest.mark.parametrize(("load", "store", "bits"), [("8c", "8e", 32), ("2c", "2e", 32), ("2d", "2f", 64)])
def test_the_page_beyond_is_not_touched(load: str, store: str, bits: int) -> None:
    m = machine()
    m.memory.write(END - 16, bytes(range(16)))
    inside = vector_of(*([1 << bits - 1] * (128 // bits)), bits=bits)
    m.cpu.set_ymm(1, inside)
    m.run(f"c4e275{load}03", rbx=END - 16)
    assert m.cpu.ymm(0) == int.from_bytes(bytes(range(16)), "little")
    m.cpu.set_ymm(2, (1 << 256) - 1)
    m.run(f"c4e275{store}13", rbx=END - 16)
    assert m.memory.read(END - 16, 16) == b"\xff" * 16
    m.memory.write(END - 16, bytes(16))
    m.cpu.set_ymm(1, inside | 1 << 255)
    assert m.fault(f"c4e275{load}03", rbx=END - 16) == (PF, 0)
    assert m.fault(f"c4e275{store}13", rbx=END - 16) == (PF, 2)
    assert m.memory.read(END - 16, 16) == bytes(16)  # nothing was stored before the fault


def test_no_element_no_access_and_no_limit() -> None:
    m = machine("protected")
    m.cpu.ds.set(0x10, 0, 0xFF, 0x4093)
    m.cpu.set_ymm(1, 0)
    assert m.fault("c4e2752c03", rbx=0x1000) is None
    m.cpu.set_ymm(1, 1 << 255)
    assert m.fault("c4e2752c03", rbx=0x1000) == (GP, 0)
    m.cpu.ss.set(0x10, 0, 0xFFFF, 0x4093)
    assert m.fault("c4e2752c4500", rbp=0x20000) == (SS, 0)
    assert m.fault("c4e2752c03", rbx=0xE0) is None  # up to the limit


def test_gathers_take_what_the_mask_says() -> None:
    m = machine()
    m.memory.write(DATA, b"".join(n.to_bytes(4, "little") for n in range(256)))
    fill(m)
    before = elements(m.cpu.ymm(0))
    m.cpu.set_ymm(1, vector_of(0, 5, -1, 100, 7, 1 << 30, 3, 50))
    m.cpu.set_ymm(2, vector_of(ONES, 1 << 31, ONES, ONES, ONES, 0, 0x7FFFFFFF, ONES))
    m.run("c4e26d900488", rax=DATA + 4)  # VPGATHERDD ymm0, [rax + ymm1*4], ymm2
    assert elements(m.cpu.ymm(0)) == [1, 6, 0, 101, 8, before[5], before[6], 51]
    assert m.cpu.ymm(2) == 0


def test_quadword_indices_and_narrow_results() -> None:
    m = machine()
    m.memory.write(DATA, b"".join(n.to_bytes(8, "little") for n in range(64)))
    fill(m)
    m.cpu.set_ymm(1, vector_of(3, 0, 9, 1, bits=64))
    m.cpu.set_ymm(2, vector_of(ONES, ONES, ONES, ONES))
    m.run("c4e26d9104c8", rax=DATA)  # VPGATHERQD xmm0, [rax + ymm1*8], xmm2
    assert elements(m.cpu.ymm(0)) == [3, 0, 9, 1, 0, 0, 0, 0]
    m.cpu.set_ymm(2, (1 << 256) - 1)
    m.run("c4e2ed9304c8", rax=DATA)  # VGATHERQPD ymm0, [rax + ymm1*8], ymm2
    assert elements(m.cpu.ymm(0), 64) == [3, 0, 9, 1]


def test_a_gather_is_restarted_where_it_faulted() -> None:
    m = machine()
    m.memory.write(END - 8, (0x11111111).to_bytes(4, "little") + (0x22222222).to_bytes(4, "little"))
    fill(m)
    before = elements(m.cpu.ymm(0))
    m.cpu.set_ymm(1, vector_of(-8, -4, 0, -8, 0, 0, 0, 0))
    m.cpu.set_ymm(2, (1 << 256) - 1)
    with pytest.raises(Fault, match="14"):
        m.run("c4e26d900408", rax=END)  # VPGATHERDD ymm0, [rax + ymm1], ymm2
    assert elements(m.cpu.ymm(0)) == [0x11111111, 0x22222222, *before[2:]]
    assert elements(m.cpu.ymm(2)) == [0, 0, *[ONES] * 6]
    m.cpu.set_ymm(1, vector_of(0, 0, -4, -8, -8, -8, -8, -8))  # as if the page had come; the first two are done
    m.run("c4e26d900408", rax=END)
    assert elements(m.cpu.ymm(0))[:4] == [0x11111111, 0x22222222, 0x22222222, 0x11111111]
    assert m.cpu.ymm(2) == 0


def test_segments_of_gathers() -> None:
    m = machine()
    m.memory.write(DATA + 0x40, b"\x78\x56\x34\x12")
    m.cpu.fs.set(0, DATA, 0xFFFFFFFF, 0xC093)
    m.cpu.set_ymm(1, 0x40)
    m.cpu.set_ymm(2, ONES)
    m.run("64c4e269900408", rax=0)  # fs:
    assert m.cpu.ymm(0) & ONES == 0x12345678
    m = machine("protected")
    m.cpu.ds.set(0x10, 0, 0xFF, 0x4093)
    m.cpu.set_ymm(1, 0x100)
    m.cpu.set_ymm(2, ONES)
    assert m.fault("c4e269900408", rax=0) == (GP, 0)
