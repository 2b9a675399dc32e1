"""Far JMP, CALL, RET through code segments and gates; SYSCALL and SYSENTER (SDM 2A, 2B; 3A 5.8)."""

from __future__ import annotations

import pytest
from bare_guest import (
    CODE,
    CODE0,
    CODE0_64,
    CODE3,
    CODE3_64,
    DATA0,
    DATA3,
    FREE,
    GDT,
    STACK0,
    STACK3,
    TSS,
    Guest,
    descriptor,
    gate,
    gate64,
)

UD, TS, NP, SS, GP = 6, 10, 11, 12, 13
TARGET = 0x12000
JMP_FAR, CALL_FAR, RETF = 0xEA, 0x9A, b"\xcb"


def far(opcode: int, selector: int, offset: int = TARGET) -> bytes:
    return bytes([opcode]) + offset.to_bytes(4, "little") + selector.to_bytes(2, "little")


def frame(guest: Guest, *values: int, size: int = 4) -> None:
    sp = guest.cpu.rsp - size * len(values)
    for k, value in enumerate(values):
        guest.put(sp + size * k, value.to_bytes(size, "little"))
    guest.cpu.rsp = sp


# ----- real mode -----


def test_real_mode_jump_call_return() -> None:
    guest = Guest()
    guest.real()
    guest.put(0x23456, RETF)
    guest.code(bytes.fromhex("9a56040023"))  # call 2300:0456
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.cs.base, guest.cpu.rip) == (0x2300, 0x23000, 0x456)
    assert guest.words(STACK0 - 4, 2, 2) == [5, CODE >> 4]
    guest.step()
    assert (guest.cpu.cs.base, guest.cpu.rip, guest.cpu.rsp) == (CODE, 5, STACK0)
    guest.put(0x5000, bytes.fromhex("00200010"))
    guest.code(bytes.fromhex("ff2e0050"))  # jmp far [5000h]
    guest.step()
    assert (guest.cpu.cs.base, guest.cpu.rip) == (0x10000, 0x2000)


def test_entering_and_leaving_protected_mode() -> None:
    """The 386 way: CR0.PE, far jump, and back with 64 KiB segments."""
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(CODE, 0xFFFF, 0x9B))
    guest.real()
    guest.cpu.gdtr.base = GDT
    guest.cpu.cr0 &= ~0x80000001
    code = bytes.fromhex("0f20c00c010f22c066ea") + (CODE + 0x100).to_bytes(4, "little") + b"\x08\x00"
    back = bytes([0xEA]) + (0x200).to_bytes(4, "little") + FREE.to_bytes(2, "little")
    real = bytes.fromhex("0f20c024fe0f22c0ea00030010")
    guest.put(CODE + 0x100, back)
    guest.put(CODE + 0x200, real)
    guest.put(CODE + 0x300, b"\xf4")
    guest.code(code)
    guest.step(4)
    assert (guest.cpu.cs.selector, guest.cpu.cs.attributes & 0x4000) == (CODE0, 0x4000)
    assert guest.run() == "halted"
    assert (guest.cpu.cs.selector, guest.cpu.cs.base, guest.cpu.rip) == (0x1000, 0x10000, 0x301)
    assert not guest.cpu.cr0 & 1


# ----- protected mode: code segments -----


@pytest.mark.parametrize(
    ("cpl", "rpl", "access", "vector"),
    [
        (0, 0, 0x9A, None),
        (0, 3, 0x9A, GP),
        (3, 0, 0x9A, GP),
        (3, 0, 0xFA, None),
        (3, 3, 0xFA, None),
        (0, 0, 0xFA, GP),
        (3, 3, 0x9E, None),  # conforming: less DPL is fine
        (0, 0, 0xFE, GP),
        (0, 0, 0x92, GP),
        (0, 0, 0x1A, NP),
        (0, 0, 0x82, GP),
    ],
)
@pytest.mark.parametrize("opcode", [JMP_FAR, CALL_FAR])
def test_direct_transfers(opcode: int, cpl: int, rpl: int, access: int, vector: int | None) -> None:
    guest = Guest()
    guest.protected(cpl)
    guest.entry(FREE, descriptor(0, 0xFFFFF, access, 0xC))
    if vector is not None:
        assert guest.fault(far(opcode, FREE | rpl)) == (vector, FREE)
        return
    sp = guest.cpu.rsp
    selector = guest.cpu.cs.selector
    guest.code(far(opcode, FREE | rpl))
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.rip, guest.cpu.cpl) == (FREE | cpl, TARGET, cpl)
    if opcode == CALL_FAR:
        assert guest.words(sp - 8, 2) == [CODE + 7, selector]
        assert guest.cpu.rsp == sp - 8
    assert guest.word(GDT + FREE + 5, 1) & 1


def test_target_limits_and_null() -> None:
    for opcode in (JMP_FAR, CALL_FAR):
        guest = Guest()
        guest.protected()
        guest.entry(FREE, descriptor(0, 0xFFF, 0x9A, 0x4))
        assert guest.fault(far(opcode, FREE, 0x1000)) == (GP, 0)
        guest.protected()
        assert guest.fault(far(opcode, 3)) == (GP, 0)


def test_return_to_the_same_and_to_an_outer_level() -> None:
    guest = Guest()
    guest.protected()
    frame(guest, TARGET, CODE0)
    guest.code(b"\xca\x08\x00")
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp) == (TARGET, STACK0 + 8)
    guest.cpu.rsp = STACK0
    frame(guest, TARGET, CODE3, 0x11, 0x22, STACK3, DATA3)
    guest.code(b"\xca\x08\x00")
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rip) == (3, CODE3, DATA3, TARGET)
    assert cpu.rsp == STACK3 + 8, "the parameters are released from the outer stack too"
    assert cpu.ds.selector == 0, "ring 0 data segments are made null"


@pytest.mark.parametrize(
    ("values", "vector", "error"),
    [
        ((TARGET, 0), GP, 0),
        ((TARGET, DATA0), GP, DATA0),
        ((TARGET, CODE3, STACK3, 0), GP, 0),
        ((TARGET, CODE3, STACK3, DATA0), GP, DATA0),
        ((TARGET, FREE), NP, FREE),
        ((TARGET, CODE3, STACK3, FREE + 0xB), SS, FREE + 8),
    ],
)
def test_return_checks(values: tuple[int, ...], vector: int, error: int) -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0x1A, 0xC))
    guest.entry(FREE + 8, descriptor(0, 0xFFFFF, 0x72, 0xC))
    frame(guest, *values)
    sp = guest.cpu.rsp
    assert guest.fault(RETF) == (vector, error)
    assert guest.cpu.rsp == sp - 16


def test_return_to_an_inner_level_is_refused() -> None:
    guest = Guest()
    guest.protected(3)
    frame(guest, TARGET, CODE0)
    assert guest.fault(RETF) == (GP, CODE0)


# ----- call gates -----


def test_call_gate_to_more_privilege_copies_parameters() -> None:
    guest = Guest()
    guest.protected(3)
    guest.entry(FREE, gate(CODE0, TARGET, 0xEC, 3))
    guest.put(TARGET, b"\xca\x0c\x00")  # retf 12
    frame(guest, 0xA1, 0xA2, 0xA3)
    guest.code(far(CALL_FAR, FREE | 3, 0x999))
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rip, cpu.rsp) == (0, CODE0, DATA0, TARGET, STACK0 - 28)
    assert guest.words(cpu.rsp, 7) == [CODE + 7, CODE3, 0xA1, 0xA2, 0xA3, STACK3 - 12, DATA3]
    guest.step()
    assert (cpu.cpl, cpu.rip, cpu.rsp, cpu.ss.selector) == (3, CODE + 7, STACK3, DATA3)


def test_sixteen_bit_call_gate() -> None:
    guest = Guest()
    guest.protected(3)
    guest.entry(FREE, gate(CODE0, 0x9000, 0xE4, 2))
    guest.put(STACK3 - 4, bytes.fromhex("11112222"))
    guest.cpu.rsp = STACK3 - 4
    guest.code(far(CALL_FAR, FREE | 3))
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp) == (0x9000, STACK0 - 12)
    assert guest.words(guest.cpu.rsp, 6, 2) == [7, CODE3, 0x1111, 0x2222, (STACK3 - 4) & 0xFFFF, DATA3]


def test_gate_at_the_same_level() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, gate(CODE0, TARGET, 0x8C, 5))
    for opcode, depth in ((JMP_FAR, 0), (CALL_FAR, 8)):
        guest.cpu.rsp = STACK0
        guest.code(far(opcode, FREE))
        guest.step()
        assert (guest.cpu.rip, guest.cpu.rsp) == (TARGET, STACK0 - depth)


@pytest.mark.parametrize(
    ("opcode", "cpl", "raw", "vector", "error"),
    [
        (CALL_FAR, 3, gate(CODE0, TARGET, 0x8C), GP, FREE),
        (CALL_FAR, 3, gate(CODE0, TARGET, 0x6C), NP, FREE),
        (CALL_FAR, 3, gate(0, TARGET, 0xEC), GP, 0),
        (CALL_FAR, 3, gate(DATA0, TARGET, 0xEC), GP, DATA0),
        (CALL_FAR, 0, gate(CODE3, TARGET, 0x8C), GP, CODE3 & ~3),
        (JMP_FAR, 3, gate(CODE0, TARGET, 0xEC), GP, CODE0),
    ],
)
def test_call_gate_checks(opcode: int, cpl: int, raw: bytes, vector: int, error: int) -> None:
    guest = Guest()
    guest.protected(cpl)
    guest.entry(FREE, raw)
    assert guest.fault(far(opcode, FREE | cpl)) == (vector, error)


def test_call_gate_stack_faults() -> None:
    for stack_selector, vector, error in ((0, TS, 0), (DATA3, TS, DATA3 & ~3), (0x3F8, TS, 0x3F8)):
        guest = Guest()
        guest.protected(3)
        guest.cpu.gdtr.limit = 0x3F0
        # gates of ring 1, so that the handlers of #TS find a stack in ring 0: the gate leads to ring 1 code
        guest.entry(FREE, gate(FREE + 8, TARGET, 0xEC))
        guest.entry(FREE + 8, descriptor(0, 0xFFFFF, 0xBA, 0xC))
        guest.put(TSS + 12, (0x9000).to_bytes(4, "little") + stack_selector.to_bytes(2, "little"))
        assert guest.fault(far(CALL_FAR, FREE | 3)) == (vector, error)


def test_long_mode_call_gate() -> None:
    guest = Guest()
    guest.long_mode(3)
    guest.entry(FREE, gate64(CODE0_64, TARGET, 0xEC))
    guest.put(0x5000, (0).to_bytes(4, "little") + (FREE | 3).to_bytes(2, "little"))
    guest.put(TARGET, b"\x48\xcb")
    guest.code(bytes.fromhex("ff1c2500500000"))  # call far [5000h]
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rip, cpu.rsp) == (0, CODE0_64, 0, TARGET, STACK0 - 32)
    assert guest.words(cpu.rsp, 4, 8) == [CODE + 7, CODE3_64, STACK3, DATA3]
    guest.step()
    assert (cpu.cpl, cpu.rip, cpu.rsp, cpu.ss.selector) == (3, CODE + 7, STACK3, DATA3)


def test_long_mode_refuses_old_gates() -> None:
    for raw in (gate(CODE0_64, TARGET, 0x84), gate(CODE0_64, 0, 0x85), descriptor(0x5000, 0x67, 0x89)):
        guest = Guest()
        guest.long_mode()
        guest.entry(FREE, raw + bytes(8))
        guest.put(0x5000, (0).to_bytes(4, "little") + FREE.to_bytes(2, "little"))
        assert guest.fault(bytes.fromhex("ff2c2500500000"), 8) == (GP, FREE)


def test_between_compatibility_and_64_bit_mode() -> None:
    guest = Guest()
    guest.long_mode()
    guest.cpu.rsp = STACK0
    frame(guest, TARGET, CODE0, size=8)
    guest.put(TARGET, far(JMP_FAR, CODE0_64, CODE))
    guest.code(b"\x48\xcb")
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.rip, guest.cpu.cs.attributes & 0x6000) == (CODE0, TARGET, 0x4000)
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.rip, guest.cpu.cs.attributes & 0x6000) == (CODE0_64, CODE, 0x2000)


# ----- SYSCALL, SYSRET, SYSENTER, SYSEXIT -----

LSTAR, STAR, FMASK, CSTAR = 0xC0000082, 0xC0000081, 0xC0000084, 0xC0000083
SYSENTER_CS, SYSENTER_ESP, SYSENTER_EIP = 0x174, 0x175, 0x176


def write_msr(guest: Guest, msr: int, value: int) -> None:
    """By WRMSR at CPL 0, whatever the guest's mode: registers are put back."""
    cpu = guest.cpu
    saved = [cpu.rax, cpu.rcx, cpu.rdx, cpu.rip]
    cpu.rcx, cpu.rax, cpu.rdx = msr, value & 0xFFFFFFFF, value >> 32
    guest.code(b"\x0f\x30", 0x18000)
    guest.step()
    assert cpu.rip == 0x18002
    cpu.rax, cpu.rcx, cpu.rdx, cpu.rip = saved


def prepare_syscall(model: str) -> Guest:
    guest = Guest(model)
    guest.long_mode()
    write_msr(guest, STAR, (FREE | 3) << 48 | CODE0_64 << 32 | 0x7777)
    write_msr(guest, LSTAR, TARGET)
    write_msr(guest, CSTAR, TARGET + 0x100)
    write_msr(guest, FMASK, 0x40700)
    return guest


@pytest.mark.parametrize("model", ["sapphire_rapids", "epyc_genoa"])
def test_syscall_and_sysret(model: str) -> None:
    guest = prepare_syscall(model)
    guest.long_mode(3)
    cpu = guest.cpu
    cpu.rflags = 0x2 | 0x200 | 0x1
    guest.put(TARGET, b"\x48\x0f\x07")
    guest.code(b"\x0f\x05")
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rip) == (0, CODE0_64, CODE0_64 + 8, TARGET)
    assert (cpu.rcx, cpu.r11, cpu.rflags) == (CODE + 2, 0x203, 0x3)
    assert (cpu.cs.attributes, cpu.ss.attributes) == (0xA09B, 0xC093)
    assert cpu.rsp == STACK3, "the stack pointer is the program's still"
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector) == (3, FREE + 16 | 3, FREE + 8 | 3)
    assert (cpu.rip, cpu.rflags, cpu.cs.attributes) == (CODE + 2, 0x203, 0xA0FB)


def test_single_step_through_syscall() -> None:
    """SYSCALL that clears TF is not trapped; SYSRET that sets TF is, at once."""
    guest = prepare_syscall("epyc_genoa")
    guest.long_mode(3)
    guest.cpu.rflags = 0x2 | 0x100
    guest.put(TARGET, b"\x90\x48\x0f\x07")
    guest.code(b"\x0f\x05\x90\x90")
    guest.step(2)
    assert guest.cpu.rip == TARGET + 1, "no trap: SFMASK clears TF"
    guest.run()
    assert guest.vector() == 1
    assert guest.words(guest.cpu.rsp, 2, 8) == [CODE + 2, FREE + 16 | 3]
    assert guest.cpu.dr(6) & 0x4000


def test_sysret_to_compatibility_mode() -> None:
    guest = prepare_syscall("sapphire_rapids")
    guest.cpu.rcx, guest.cpu.r11 = 0xFFFFFFFF00012345, 0x202
    guest.code(b"\x0f\x07")
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.rip, guest.cpu.cs.attributes) == (FREE | 3, 0x12345, 0xC0FB)


def test_sysret_to_a_non_canonical_address() -> None:
    guest = prepare_syscall("sapphire_rapids")
    guest.cpu.rcx, guest.cpu.r11 = 1 << 47, 2
    assert guest.fault(b"\x48\x0f\x07", 8) == (GP, 0)
    assert guest.word(guest.cpu.rsp + 16, 8) == CODE0_64, "Intel: at CPL 0"
    guest = prepare_syscall("epyc_genoa")
    guest.cpu.rcx, guest.cpu.r11 = 1 << 47, 2
    assert guest.fault(b"\x48\x0f\x07", 8) == (GP, 0)
    assert guest.word(guest.cpu.rsp + 16, 8) == FREE + 16 | 3, "AMD: at CPL 3"
    assert guest.word(guest.cpu.rsp + 8, 8) == 1 << 47


@pytest.mark.parametrize(("model", "works"), [("sapphire_rapids", False), ("epyc_genoa", True)])
def test_syscall_from_compatibility_mode(model: str, works: bool) -> None:
    guest = prepare_syscall(model)
    guest.long_mode(3)
    guest.cpu.cs.set(CODE3, 0, 0xFFFFFFFF, 0xC0FB)
    guest.code(b"\x0f\x05")
    guest.step()
    if works:
        assert (guest.cpu.rip, guest.cpu.cs.selector, guest.cpu.rcx) == (TARGET + 0x100, CODE0_64, CODE + 2)
    else:
        guest.run()
        assert guest.vector() == UD


def test_syscall_needs_sce() -> None:
    guest = prepare_syscall("default")
    guest.cpu.efer &= ~1
    guest.code(b"\x0f\x05")
    guest.run()
    assert guest.vector() == UD


def test_sysenter_and_sysexit() -> None:
    guest = Guest("sapphire_rapids")
    guest.protected()
    write_msr(guest, SYSENTER_CS, CODE0)
    write_msr(guest, SYSENTER_ESP, 0x6800)
    write_msr(guest, SYSENTER_EIP, TARGET)
    guest.protected(3)
    cpu = guest.cpu
    cpu.rflags = 0x202
    guest.put(TARGET, b"\x0f\x35")
    guest.code(b"\x0f\x34")
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rip, cpu.rsp) == (0, CODE0, CODE0 + 8, TARGET, 0x6800)
    assert not cpu.rflags & 0x200
    cpu.rcx, cpu.rdx = STACK3, CODE + 0x50
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector) == (3, CODE0 + 16 | 3, CODE0 + 24 | 3)
    assert (cpu.rip, cpu.rsp) == (CODE + 0x50, STACK3)
    guest.protected()
    write_msr(guest, SYSENTER_CS, 3)
    assert guest.fault(b"\x0f\x34") == (GP, 0)


def test_sysenter_in_long_mode_by_vendor() -> None:
    guest = Guest("sapphire_rapids")
    guest.long_mode()
    write_msr(guest, SYSENTER_CS, CODE0_64)
    write_msr(guest, SYSENTER_ESP, 0x6800)
    write_msr(guest, SYSENTER_EIP, TARGET)
    guest.long_mode(3)
    guest.put(TARGET, b"\x48\x0f\x35")
    guest.code(b"\x0f\x34")
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.rip, cpu.rsp, cpu.cs.attributes) == (0, CODE0_64, TARGET, 0x6800, 0xA09B)
    cpu.rcx, cpu.rdx = STACK3, CODE + 0x50
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector) == (3, CODE0_64 + 32 | 3, CODE0_64 + 40 | 3)
    guest = Guest("epyc_genoa")
    guest.long_mode()
    guest.code(b"\x0f\x34")
    guest.run()
    assert guest.vector() == UD
