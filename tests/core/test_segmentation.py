"""Segment registers, descriptor checks and descriptor tables (SDM 3A chapters 3 and 5; SDM 2)."""

from __future__ import annotations

import pytest
from bare_guest import (
    CODE,
    CODE0,
    CODE3,
    DATA0,
    DATA3,
    FREE,
    GDT,
    LDT,
    LDT_SELECTOR,
    STACK0,
    TSS_SELECTOR,
    Guest,
    descriptor,
)

GP, SS, NP, UD = 13, 12, 11, 6
MOV_SREG = {"es": b"\x8e\xc0", "ss": b"\x8e\xd0", "ds": b"\x8e\xd8", "fs": b"\x8e\xe0", "gs": b"\x8e\xe8"}
DATA_RO, DATA_RW, CODE_XO, CODE_RX, CODE_CONFORMING = 0x90, 0x92, 0x98, 0x9A, 0x9E


def load(guest: Guest, segment: str, selector: int) -> None:
    guest.cpu.rax = selector
    guest.code(MOV_SREG[segment])


@pytest.mark.parametrize(
    ("segment", "cpl", "rpl", "access", "vector"),
    [
        # data segments: DPL against CPL and RPL, type, presence (SDM 2B, MOV)
        ("ds", 0, 0, DATA_RW, None),
        ("ds", 0, 3, DATA_RW, GP),
        ("ds", 0, 3, DATA_RW | 0x60, None),
        ("ds", 3, 0, DATA_RW, GP),
        ("es", 3, 3, DATA_RO | 0x60, None),
        ("fs", 0, 0, CODE_XO, GP),
        ("fs", 0, 0, CODE_RX, None),
        ("gs", 3, 3, CODE_RX, GP),
        ("gs", 3, 3, CODE_CONFORMING, None),
        ("ds", 0, 0, 0x82, GP),
        ("ds", 0, 0, DATA_RW & 0x7F, NP),
        # the stack segment: exactly CPL, writable data
        ("ss", 0, 0, DATA_RW, None),
        ("ss", 0, 3, DATA_RW, GP),
        ("ss", 0, 0, DATA_RW | 0x60, GP),
        ("ss", 0, 0, DATA_RO, GP),
        ("ss", 0, 0, CODE_RX, GP),
        ("ss", 0, 0, DATA_RW & 0x7F, SS),
        ("ss", 3, 3, DATA_RW | 0x60, None),
    ],
)
def test_mov_to_segment_register_checks(segment: str, cpl: int, rpl: int, access: int, vector: int | None) -> None:
    guest = Guest()
    guest.protected(cpl)
    guest.entry(FREE, descriptor(0x12000, 0x345, access))
    before = getattr(guest.cpu, segment).selector
    load(guest, segment, FREE | rpl)
    guest.step()
    view = getattr(guest.cpu, segment)
    if vector is None:
        assert (view.selector, view.base, view.limit) == (FREE | rpl, 0x12000, 0x345)
        assert guest.word(GDT + FREE + 5, 1) == access | 1, "the accessed bit is set in memory"
        assert view.attributes & 0xFF == access | 1
        return
    guest.step()
    assert guest.vector() == vector
    assert guest.word(guest.cpu.rsp) == FREE
    assert guest.word(guest.cpu.rsp + 4) == CODE, "a fault: the handler returns to the instruction"
    assert guest.word(GDT + FREE + 5, 1) == access
    if cpl == 0:
        assert view.selector == before


def test_null_selectors() -> None:
    guest = Guest()
    guest.protected()
    load(guest, "es", 3)
    guest.step()
    assert guest.cpu.es.selector == 3
    assert guest.cpu.es.attributes & 0x10000
    assert guest.fault(b"\x26\xa0\x00\x00\x00\x00") == (GP, 0), "reading through a null ES"
    guest.protected()
    guest.cpu.rax = 0
    assert guest.fault(MOV_SREG["ss"]) == (GP, 0)


def test_selector_beyond_the_table() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.gdtr.limit = FREE + 6
    guest.cpu.rax = FREE
    assert guest.fault(MOV_SREG["ds"]) == (GP, FREE)
    guest.protected()
    guest.cpu.rax = 0x107
    assert guest.fault(MOV_SREG["ds"]) == (GP, 0x104)
    guest.protected()
    guest.cpu.ldtr.attributes = 0x10000
    guest.cpu.rax = 0xC
    assert guest.fault(MOV_SREG["ds"]) == (GP, 0xC), "no LDT"


def test_local_descriptor_table_and_granularity() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(0x0C, descriptor(0x89ABCDEF, 0x12345, DATA_RW, 0xC))
    load(guest, "fs", 0x0C)
    guest.step()
    assert (guest.cpu.fs.base, guest.cpu.fs.limit) == (0x89ABCDEF, 0x12345FFF)
    assert guest.word(LDT + 0x0D, 1) == DATA_RW | 1
    assert guest.cpu.fs.attributes == 0xC093


def test_limits_and_rights_of_accesses() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0x20000, 0xF, DATA_RW, 0x4))
    load(guest, "fs", FREE)
    guest.step()
    guest.code(bytes.fromhex("64a10c000000"))  # mov eax, fs:[0Ch]: the last four bytes
    guest.step()
    assert guest.cpu.rip == CODE + 6
    assert guest.fault(bytes.fromhex("64a10d000000")) == (GP, 0)
    # expand-down: valid above the limit only
    guest.protected()
    guest.entry(FREE, descriptor(0x20000, 0xF, 0x96, 0x4))
    load(guest, "fs", FREE)
    guest.step()
    guest.code(bytes.fromhex("64a110000000"))
    guest.step()
    assert guest.cpu.rip == CODE + 6
    assert guest.fault(bytes.fromhex("64a10f000000")) == (GP, 0)
    # a read-only segment
    guest.protected()
    guest.entry(FREE, descriptor(0x20000, 0xFF, DATA_RO, 0x4))
    load(guest, "fs", FREE)
    guest.step()
    assert guest.fault(bytes.fromhex("64a310000000")) == (GP, 0)
    # a stack segment's limit is #SS(0)
    guest.protected()
    guest.entry(FREE, descriptor(0, 0x6FFF, DATA_RW, 0x4))
    load(guest, "ss", FREE)
    guest.step()
    assert guest.fault(bytes.fromhex("36a100700000")) == (SS, 0)


def test_real_mode_keeps_limits() -> None:
    """Unreal mode: a segment register loaded in real mode changes its base alone."""
    guest = Guest()
    guest.real()
    guest.cpu.ds.set(0x10, 0, 0xFFFFFFFF, 0xC093)
    load(guest, "ds", 0x1234)
    guest.step()
    assert (guest.cpu.ds.selector, guest.cpu.ds.base, guest.cpu.ds.limit) == (0x1234, 0x12340, 0xFFFFFFFF)
    guest.put(0x212340, b"\x5a")
    guest.code(bytes.fromhex("67a000002000"))  # mov al, [00200000h]
    guest.step()
    assert guest.cpu.rax & 0xFF == 0x5A


def test_loading_cs_or_a_sixth_register_is_undefined() -> None:
    for code in (b"\x8e\xc8", b"\x8e\xf0", b"\x8c\xf8"):
        guest = Guest()
        guest.protected()
        guest.code(code)
        guest.run()
        assert guest.vector() == UD


def test_reading_segment_registers() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rax = guest.cpu.rbx = 0xFFFFFFFF
    guest.code(bytes.fromhex("8cd8668cdb8c1d00500000"))
    guest.run()
    assert guest.cpu.rax == DATA0
    assert guest.cpu.rbx == 0xFFFF0000 | DATA0
    assert guest.word(0x5000) == DATA0, "a store is always 16 bits"


def test_push_and_pop() -> None:
    guest = Guest()
    guest.protected()
    guest.code(bytes.fromhex("1e070fa0660fa8"))  # push ds; pop es; push fs; push gs (16 bits)
    guest.cpu.es.set(0, 0, 0, 0x10000)
    guest.run()
    assert guest.cpu.es.selector == DATA0
    assert guest.cpu.rsp == STACK0 - 6
    assert guest.word(STACK0 - 4) == DATA0
    guest.protected()
    guest.put(STACK0 - 4, (FREE | 4).to_bytes(4, "little"))
    guest.cpu.rsp = STACK0 - 4
    guest.code(b"\x1f")
    guest.entry(FREE | 4, bytes(8))
    assert guest.run() == "halted"
    assert (guest.vector(), guest.word(guest.cpu.rsp)) == (GP, FREE | 4)
    assert guest.cpu.rsp == STACK0 - 20, "ESP of the failing POP was kept"


@pytest.mark.parametrize(
    ("opcode", "segment"), [("c4", "es"), ("c5", "ds"), ("0fb2", "ss"), ("0fb4", "fs"), ("0fb5", "gs")]
)
def test_far_pointer_loads(opcode: str, segment: str) -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0, 0xFFFFF, DATA_RW, 0xC))
    guest.put(0x5000, (0x87654321).to_bytes(4, "little") + FREE.to_bytes(2, "little"))
    guest.code(bytes.fromhex(opcode + "0d00500000"))
    guest.step()
    assert guest.cpu.rcx == 0x87654321
    assert getattr(guest.cpu, segment).selector == FREE
    guest.protected()
    guest.cpu.rcx = 77
    guest.put(0x5004, (0x3F8).to_bytes(2, "little"))
    guest.cpu.gdtr.limit = 0x3F0
    assert guest.fault(bytes.fromhex(opcode + "0d00500000")) == (GP, 0x3F8)
    assert guest.cpu.rcx == 77


def zf(guest: Guest, code: bytes) -> bool:
    guest.code(code)
    guest.step()
    return bool(guest.cpu.rflags & 0x40)


def test_lar_lsl_verr_verw() -> None:
    guest = Guest()
    guest.protected(3)
    guest.cpu.rflags = 0x2 | 0x885  # everything set but ZF and AF: LAR must keep them
    guest.entry(FREE, descriptor(0x1234, 0x56789, DATA_RO | 0x60, 0xD))
    guest.entry(FREE + 8, descriptor(0, 0x10, CODE_CONFORMING))
    guest.entry(FREE + 16, descriptor(0, 0x11, DATA_RW))
    guest.entry(FREE + 24, descriptor(0, 0x222, 0xEC))  # a call gate
    lar, lsl = bytes.fromhex("0f02d8"), bytes.fromhex("0f03d8")
    verr, verw = bytes.fromhex("0f00e0"), bytes.fromhex("0f00e8")
    guest.cpu.rax = FREE | 3
    assert zf(guest, lar)
    assert guest.cpu.rbx == 0xD0F000
    assert guest.cpu.rflags & 0x8D5 == 0x885 | 0x40
    assert zf(guest, lsl)
    assert guest.cpu.rbx == 0x56789FFF
    assert zf(guest, verr)
    assert not zf(guest, verw), "read-only"
    guest.cpu.rax = FREE + 8  # conforming code is visible from everywhere
    assert zf(guest, lar)
    assert guest.cpu.rbx == 0x9E00
    assert zf(guest, verr)
    assert not zf(guest, verw)
    guest.cpu.rax = FREE + 16  # ring 0 data from ring 3
    for code in (lar, lsl, verr, verw):
        guest.cpu.rbx = 5
        assert not zf(guest, code)
        assert guest.cpu.rbx == 5
    guest.cpu.rax = FREE + 24
    assert zf(guest, lar)
    assert guest.cpu.rbx == 0xEC00
    assert not zf(guest, lsl), "a gate has no limit"
    assert not zf(guest, verr)
    for selector in (0, 0xFFF8):
        guest.cpu.rax = selector
        assert not zf(guest, lar)


def test_arpl() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rax, guest.cpu.rbx = 0x12340048, 0x3
    assert zf(guest, bytes.fromhex("63d8"))
    assert guest.cpu.rax == 0x1234004B
    assert not zf(guest, bytes.fromhex("63d8"))
    guest.put(0x5000, b"\x50\x00")
    assert zf(guest, bytes.fromhex("631d00500000"))
    assert guest.word(0x5000, 2) == 0x53


def test_lldt_and_ltr() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0x5000, 0x27, 0x82))
    guest.cpu.rax = FREE
    guest.code(bytes.fromhex("0f00d00f00c3"))  # lldt ax; sldt ebx
    guest.run()
    assert (guest.cpu.ldtr.base, guest.cpu.ldtr.limit, guest.cpu.rbx) == (0x5000, 0x27, FREE)
    guest.cpu.rax = 0
    guest.code(bytes.fromhex("0f00d0"))
    guest.run()
    assert guest.cpu.ldtr.attributes & 0x10000
    guest.entry(FREE, descriptor(0x5000, 0x67, 0x89))
    guest.cpu.rax = FREE
    guest.code(bytes.fromhex("0f00d80f00cb"))  # ltr ax; str ebx
    guest.run()
    assert (guest.cpu.tr.base, guest.cpu.tr.attributes & 0xFF, guest.cpu.rbx) == (0x5000, 0x8B, FREE)
    assert guest.word(GDT + FREE + 5, 1) == 0x8B, "busy"
    guest.protected()
    guest.cpu.rax = FREE
    assert guest.fault(bytes.fromhex("0f00d8")) == (GP, FREE), "a busy TSS cannot be loaded"
    for code, selector, error in (("0f00d0", CODE0, CODE0), ("0f00d0", 0x64, 0x64), ("0f00d8", 0, 0)):
        guest.protected()
        guest.cpu.rax = selector
        assert guest.fault(bytes.fromhex(code)) == (GP, error)
    guest.protected()
    guest.entry(FREE, descriptor(0x5000, 0x67, 0x09))
    guest.cpu.rax = FREE
    assert guest.fault(bytes.fromhex("0f00d8")) == (NP, FREE)
    guest.protected(3)
    guest.cpu.rax = LDT_SELECTOR
    assert guest.fault(bytes.fromhex("0f00d0")) == (GP, 0)


def test_descriptor_table_registers() -> None:
    guest = Guest()
    guest.protected()
    guest.put(0x5000, bytes.fromhex("7f0078563412"))
    guest.code(bytes.fromhex("0f011d005000000f010d10500000"))  # lidt [5000h]; sidt [5010h]
    guest.run()
    assert (guest.cpu.idtr.base, guest.cpu.idtr.limit) == (0x12345678, 0x7F)
    assert guest.memory.read(0x5010, 7) == bytes.fromhex("7f007856341200")
    guest.code(bytes.fromhex("660f011500500000"))  # lgdt with a 16-bit operand: a 24-bit base
    guest.run()
    assert guest.cpu.gdtr.base == 0x345678
    guest.protected(3)
    assert guest.fault(bytes.fromhex("0f011500500000")) == (GP, 0)


def test_umip() -> None:
    for code in ("0f010500500000", "0f010d00500000", "0f00c0", "0f00c8"):
        guest = Guest()
        guest.protected(3)
        guest.code(bytes.fromhex(code))
        guest.step()
        assert guest.cpu.rip != CODE, "allowed without CR4.UMIP"
        guest.protected(3)
        guest.cpu.cr4 |= 0x800
        assert guest.fault(bytes.fromhex(code)) == (GP, 0)


def test_long_mode_segments() -> None:
    guest = Guest()
    guest.long_mode()
    guest.cpu.rax = 0
    guest.code(MOV_SREG["ss"])
    guest.step()
    assert guest.cpu.ss.selector == 0
    guest.cpu.gs.base = 0x1111
    guest.put(0x5000, bytes.fromhex("ffff8877665544332211"))
    assert guest.fault(bytes.fromhex("0f01142500500000"), 8) == (GP, 0), "a base that is not canonical"
    guest.put(0x5000, bytes.fromhex("ff030010000000000000"))
    guest.code(bytes.fromhex("0f011425005000000f01042510500000"))
    guest.run()
    assert guest.memory.read(0x5010, 10) == bytes.fromhex("ff030010000000000000")
    guest.long_mode(3)
    guest.cpu.rax = 3
    assert guest.fault(MOV_SREG["ss"], 8) == (GP, 0), "SS may not be null at CPL 3"


def test_swapgs_and_fs_gs_bases() -> None:
    guest = Guest()
    guest.long_mode()
    guest.cpu.gs.base = 0x1111
    guest.code(bytes.fromhex("0f01f8"))
    guest.run()
    assert guest.cpu.gs.base == 0
    guest.code(bytes.fromhex("0f01f8"))
    guest.run()
    assert guest.cpu.gs.base == 0x1111
    guest.code(bytes.fromhex("f3480faed0"))  # wrfsbase rax
    guest.run()
    assert guest.vector() == UD, "CR4.FSGSBASE is clear"
    guest.long_mode()
    guest.cpu.cr4 |= 0x10000
    guest.cpu.rax = 0x20000
    guest.put(0x20008, b"\x99")
    guest.code(bytes.fromhex("f3480faed0648a1c2508000000f3480faec1"))  # wrfsbase, mov bl, fs:[8], rdfsbase
    guest.run()
    assert guest.cpu.rbx & 0xFF == 0x99
    assert guest.cpu.rcx == 0x20000
    guest.cpu.rax = 1 << 63
    assert guest.fault(bytes.fromhex("f3480faed8"), 8) == (GP, 0)
    guest.long_mode(3)
    assert guest.fault(bytes.fromhex("0f01f8"), 8) == (GP, 0)


def test_long_mode_task_register() -> None:
    guest = Guest()
    guest.long_mode()
    guest.entry(FREE, descriptor(0x5000, 0x67, 0x89) + (0x7FFF).to_bytes(8, "little"))
    guest.cpu.rax = FREE
    guest.code(bytes.fromhex("0f00d8"))
    guest.run()
    assert guest.cpu.tr.base == 0x7FFF00005000
    guest.long_mode()
    guest.entry(FREE, descriptor(0x5000, 0x67, 0x89) + (0x8000).to_bytes(8, "little"))
    guest.cpu.rax = FREE
    assert guest.fault(bytes.fromhex("0f00d8"), 8) == (GP, FREE), "an upper half that is not canonical"


def test_table_bases_are_checked_by_the_processors_width() -> None:
    """57 bits on a processor that has 5-level paging, whatever CR4.LA57 says."""
    for model, fine in (("sapphire_rapids", True), ("nehalem_ept", False)):
        guest = Guest(model)
        guest.long_mode()
        guest.put(0x5000, b"\xff\xff" + (1 << 50).to_bytes(8, "little"))
        guest.code(bytes.fromhex("0f011c2500500000"))  # lidt
        guest.step()
        assert (guest.cpu.idtr.base == 1 << 50) is fine


def test_system_selectors_are_as_built() -> None:
    guest = Guest()
    guest.protected(3)
    guest.cpu.rax = TSS_SELECTOR
    guest.code(bytes.fromhex("0f02d8"))
    guest.step()
    assert not guest.cpu.rflags & 0x40, "DPL 0"
    assert (guest.cpu.cs.selector, guest.cpu.ds.selector) == (CODE3, DATA3)
