"""Delivery of interrupts and exceptions, and the return from them (SDM 3A chapter 6; SDM 2A: INT n, IRET)."""

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
    HANDLERS,
    IDT,
    STACK0,
    STACK3,
    STACK_IST,
    TSS,
    Guest,
    descriptor,
    gate,
)

DE, DB, NMI, BP, OF, BR, UD, DF, TS, NP, SS, GP, PF = 0, 1, 2, 3, 4, 5, 6, 8, 10, 11, 12, 13, 14
IF, TF, NT, RF, VM, VIF, VIP = 0x200, 0x100, 0x4000, 0x10000, 0x20000, 0x80000, 0x100000
INT_30, IRET, IRETQ = b"\xcd\x30", b"\xcf", b"\x48\xcf"


# ----- real mode -----


def test_real_mode_interrupt_and_return() -> None:
    guest = Guest()
    guest.real()
    guest.cpu.rflags = 0x2 | IF | 0x1
    guest.code(INT_30)
    guest.step()
    cpu = guest.cpu
    assert cpu.cs.base + cpu.rip == HANDLERS + 0x300
    assert guest.words(STACK0 - 6, 3, 2) == [2, CODE >> 4, 0x203]
    assert cpu.rflags & (IF | TF) == 0
    guest.put(HANDLERS + 0x300, IRET)
    guest.step()
    assert (cpu.rip, cpu.cs.base, cpu.rflags, cpu.rsp) == (2, CODE, 0x203, STACK0)


def test_real_mode_faults_push_no_error_code() -> None:
    guest = Guest()
    guest.real()
    guest.cpu.ds.set(0, 0, 0xFFFF, 0x93)
    guest.cpu.rbx = 0xFFFF
    guest.code(b"\x8b\x07")  # mov ax, [bx]: two bytes across the limit
    guest.run()
    assert guest.vector() == GP
    assert guest.cpu.rsp == STACK0 - 6
    assert guest.word(STACK0 - 6, 2) == 0


def test_real_mode_table_limit() -> None:
    guest = Guest()
    guest.real()
    guest.cpu.idtr.limit = 0xBF  # vectors 0 to 2Fh
    guest.code(INT_30)
    guest.run()
    assert guest.vector() == GP, "INT 30h lies beyond IDTR.limit"
    guest.cpu.idtr.limit = 3
    guest.code(INT_30)
    assert guest.run() == "triple fault"
    assert [vector for vector, _, _ in guest.cpu.faults()] == [GP, GP, GP]


# ----- protected mode -----


def test_interrupt_gate_at_the_same_level() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | IF | NT
    guest.code(INT_30)
    guest.step()
    assert guest.cpu.rip == HANDLERS + 0x300
    assert guest.words(guest.cpu.rsp, 3) == [CODE + 2, CODE0, 0x4202]
    assert guest.cpu.rsp == STACK0 - 12
    assert guest.cpu.rflags & (IF | NT | TF) == 0
    guest.interrupt_gate(0x30, 0x8F)
    guest.cpu.rflags = 0x2 | IF
    guest.code(INT_30)
    guest.step()
    assert guest.cpu.rflags & IF, "a trap gate leaves IF"


def test_sixteen_bit_gate() -> None:
    guest = Guest()
    guest.protected()
    guest.interrupt_gate(0x30, 0x86)
    guest.code(INT_30)
    guest.step()
    assert guest.cpu.rip == HANDLERS + 0x300
    assert guest.words(guest.cpu.rsp, 3, 2) == [2, CODE0, 2], "IP is cut to 16 bits"


def test_inner_privilege_stack_and_return() -> None:
    guest = Guest()
    guest.protected(3)
    guest.interrupt_gate(0x30, 0xEE)
    guest.cpu.rflags = 0x2 | IF
    guest.code(INT_30)
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rsp) == (0, CODE0, DATA0, STACK0 - 20)
    assert guest.words(cpu.rsp, 5) == [CODE + 2, CODE3, 0x202, STACK3, DATA3]
    assert cpu.ds.selector == DATA3, "data segments stay"
    cpu.fs.set(DATA0, 0, 0xFFFFFFFF, 0xC093)
    guest.put(HANDLERS + 0x300, IRET)
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rsp, cpu.rip) == (3, CODE3, DATA3, STACK3, CODE + 2)
    assert cpu.rflags == 0x202
    assert cpu.fs.selector == 0, "a ring 0 segment is made null on the way out"
    assert cpu.ds.selector == DATA3


def test_gate_privilege_is_checked_for_software_interrupts_only() -> None:
    guest = Guest()
    guest.protected(3)
    assert guest.fault(INT_30) == (GP, 0x30 * 8 + 2)
    assert guest.word(guest.cpu.rsp + 4) == CODE, "the fault points at INT"
    guest.protected(3)
    assert guest.fault(b"\xcc") == (GP, BP * 8 + 2)
    guest.protected(3)
    guest.code(b"\xf1")  # INT1 passes
    guest.run()
    assert guest.vector() == DB
    assert guest.word(guest.cpu.rsp) == CODE + 1
    guest.protected(3)
    guest.code(b"\x0f\x0b")
    guest.run()
    assert guest.vector() == UD
    assert guest.word(guest.cpu.rsp) == CODE


@pytest.mark.parametrize(
    ("access", "selector", "vector", "error"),
    [
        (0x0E, CODE0, NP, 0x182),
        (0x8C, CODE0, GP, 0x182),
        (0x8E, 0, GP, 0),
        (0x8E, 0x400, GP, 0x400),
        (0x8E, DATA0, GP, DATA0),
        (0x8E, FREE, NP, FREE),
    ],
)
def test_gate_checks(access: int, selector: int, vector: int, error: int) -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0x1B, 0xC))
    guest.interrupt_gate(0x30, access, selector)
    assert guest.fault(INT_30) == (vector, error)


def test_external_events_set_ext() -> None:
    """A fault met while a hardware event is delivered has EXT in its error code (SDM 3A 6.13)."""
    guest = Guest()
    guest.protected()
    guest.interrupt_gate(UD, 0x0E)
    assert guest.fault(b"\x0f\x0b") == (NP, UD * 8 + 3)
    guest.protected()
    guest.cpu.idtr.limit = NMI * 8 + 3
    guest.signals.pulse_nmi()
    guest.code(b"\x90")
    assert guest.run() == "triple fault"
    assert guest.cpu.faults()[2][:2] == (GP, DF * 8 + 3)


def test_rf_in_the_pushed_flags() -> None:
    guest = Guest()
    guest.protected()
    guest.code(b"\x0f\x0b")
    guest.run()
    assert guest.word(guest.cpu.rsp + 8) & RF, "a fault pushes RF set"
    guest.protected()
    guest.code(INT_30)
    guest.run()
    assert not guest.word(guest.cpu.rsp + 8) & RF
    assert not guest.cpu.rflags & RF


def test_stack_faults_during_delivery() -> None:
    guest = Guest()
    guest.protected(3)
    guest.interrupt_gate(0x30, 0xEE)
    guest.put(TSS + 8, b"\x00\x00")
    guest.code(INT_30)
    assert guest.run() == "triple fault", "no SS0: #TS, then #DF cannot get a stack either"
    assert [f[:2] for f in guest.cpu.faults()] == [(TS, 0), (TS, 1), (TS, 1)]
    guest.protected(3)
    guest.cpu.activity = 0
    guest.interrupt_gate(0x30, 0xEE)
    guest.cpu.tr.limit = 8
    guest.code(INT_30)
    assert guest.run() == "triple fault"
    assert guest.cpu.faults()[0][:2] == (TS, 0x28)


def test_double_fault() -> None:
    guest = Guest()
    guest.protected()
    guest.interrupt_gate(GP, 0x0E)  # #GP's gate is not present: #NP while delivering #GP
    guest.code(b"\x8e\xd8")
    guest.cpu.rax = 0x3F8
    guest.cpu.gdtr.limit = 0x3F0
    guest.run()
    assert guest.vector() == DF
    assert guest.words(guest.cpu.rsp, 3) == [0, CODE, CODE0]


def test_benign_then_contributory_is_serial() -> None:
    guest = Guest()
    guest.protected()
    guest.interrupt_gate(UD, 0x0E)
    guest.code(b"\x0f\x0b")
    guest.run()
    assert guest.vector() == NP, "#UD is benign: no double fault"


def test_triple_fault_reports_the_chain() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.idtr.limit = 0
    guest.cpu.rcx = 0
    guest.code(b"\xf7\xf1")
    assert guest.run() == "triple fault"
    assert [fault[:2] for fault in guest.cpu.faults()] == [(DE, None), (GP, 3), (GP, 0x43)]
    assert guest.cpu.activity == 2
    assert guest.cpu.rip == CODE


def test_a_handler_that_faults_at_once_ends_by_the_limit() -> None:
    guest = Guest()
    guest.protected(3)
    guest.put(HANDLERS + UD * 16, b"\x0f\x0b")
    guest.interrupt_gate(UD, 0x8E, CODE0)
    guest.put(TSS + 4, STACK0.to_bytes(4, "little"))
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0x9E, 0xC))
    guest.interrupt_gate(UD, 0x8E, FREE)  # conforming: the stack shrinks by one frame at each fault
    guest.code(b"\x0f\x0b")
    assert guest.run(100) == "instructions"


def test_bound_and_into() -> None:
    guest = Guest()
    guest.protected()
    guest.put(0x5000, (-5).to_bytes(4, "little", signed=True) + (5).to_bytes(4, "little"))
    for value, outside in ((5, False), (-5, False), (6, True), (-6, True)):
        guest.cpu.rax = value & 0xFFFFFFFF
        guest.code(bytes.fromhex("620500500000"))
        guest.run()
        assert (guest.cpu.rip != CODE + 7) is outside
        if outside:
            assert guest.vector() == BR
    guest.cpu.rflags = 0x2
    guest.code(b"\xce")
    guest.run()
    assert guest.cpu.rip == CODE + 2
    guest.cpu.rflags = 0x802
    guest.code(b"\xce")
    guest.run()
    assert guest.vector() == OF
    assert guest.word(guest.cpu.rsp) == CODE + 1


def test_conforming_handler_keeps_the_privilege() -> None:
    guest = Guest()
    guest.protected(3)
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0x9E, 0xC))
    guest.interrupt_gate(0x30, 0xEE, FREE)
    guest.put(HANDLERS + 0x300, IRET)
    guest.code(INT_30)
    guest.step()
    assert (guest.cpu.cpl, guest.cpu.cs.selector, guest.cpu.rsp) == (3, FREE | 3, STACK3 - 12)
    guest.step()
    assert (guest.cpu.cpl, guest.cpu.cs.selector, guest.cpu.rip) == (3, CODE3, CODE + 2)


# ----- IRET -----


def frame(guest: Guest, *values: int, size: int = 4) -> None:
    sp = guest.cpu.rsp - size * len(values)
    for k, value in enumerate(values):
        guest.put(sp + size * k, value.to_bytes(size, "little"))
    guest.cpu.rsp = sp


@pytest.mark.parametrize(
    ("values", "vector", "error"),
    [
        ((0x12000, 0, 2), GP, 0),
        ((0x12000, 0x3F8, 2), GP, 0x3F8),
        ((0x12000, DATA0, 2), GP, DATA0),
        ((0x12000, FREE, 2), GP, FREE),  # ring 3 code with RPL 0
        ((0x12000, FREE | 8, 2), NP, FREE | 8),
        ((0x12000, CODE3, 2, 0x1000, 0), GP, 0),
        ((0x12000, CODE3, 2, 0x1000, DATA0), GP, DATA0),
        ((0x12000, CODE3, 2, 0x1000, FREE + 0x13), SS, FREE + 0x10),
        ((0x12000, FREE + 0x1B, 2, 0x1000, DATA3), GP, 0),  # EIP beyond the limit
    ],
)
def test_iret_checks(values: tuple[int, ...], vector: int, error: int) -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.gdtr.limit = 0x3F0
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0xFA, 0xC))
    guest.entry(FREE + 8, descriptor(0, 0xFFFFF, 0x1A, 0xC))
    guest.entry(FREE + 0x10, descriptor(0, 0xFFFFF, 0x72, 0xC))
    guest.entry(FREE + 0x18, descriptor(0, 0xFFF, 0xFA, 0x4))
    frame(guest, *values)
    sp = guest.cpu.rsp
    assert guest.fault(IRET) == (vector, error)
    assert guest.cpu.rsp == sp - 16, "ESP was not moved"


def test_iret_flags_by_privilege() -> None:
    everything = 0x257FD5
    for cpl, iopl, kept in ((0, 0, 0x247ED5 | 0x100 | IF | 0x3000), (3, 0, 0x244DD5), (3, 3, 0x244DD5 | IF)):
        guest = Guest()
        guest.protected(cpl)
        guest.cpu.rflags = 0x2 | iopl << 12
        frame(guest, CODE + 0x100, CODE3 if cpl else CODE0, everything)
        guest.code(IRET)
        guest.step()
        assert guest.cpu.rip == CODE + 0x100
        expected = (kept & ~NT) | NT | iopl << 12 | RF | 2
        assert guest.cpu.rflags == expected, (cpl, iopl)


def test_iret_to_sixteen_bit_stack_keeps_the_upper_half() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(FREE, descriptor(0x20000, 0xFFFF, 0xF2))
    guest.cpu.rsp = 0x17000
    frame(guest, CODE + 0x100, CODE3, 2, 0x1234, FREE | 3)
    guest.code(IRET)
    guest.step()
    assert guest.cpu.rsp == 0x11234, "only SP is popped for a 16-bit stack"


# ----- virtual-8086 mode -----


def test_v86_interrupt_to_ring_0_and_back() -> None:
    guest = Guest()
    guest.v86(iopl=3, flags=IF)
    guest.interrupt_gate(0x30, 0xEE)
    guest.put(HANDLERS + 0x300, IRET)
    guest.cpu.fs.set(0x1111, 0x11110, 0xFFFF, 0xF3)
    guest.code(INT_30)
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.selector, cpu.ss.selector, cpu.rsp) == (0, CODE0, DATA0, STACK0 - 36)
    assert guest.words(cpu.rsp, 9) == [2, CODE >> 4, 0x23202, 0x8000, 0x2000, 0, 0, 0x1111, 0]
    assert cpu.rflags & (VM | IF) == 0
    assert [getattr(cpu, name).attributes & 0x10000 for name in ("ds", "es", "fs", "gs")] == [0x10000] * 4
    guest.step()
    assert (cpu.cpl, cpu.cs.selector, cpu.cs.base, cpu.rip) == (3, CODE >> 4, CODE, 2)
    assert (cpu.ss.base, cpu.rsp, cpu.fs.base, cpu.rflags) == (0x20000, 0x8000, 0x11110, 0x23202)
    assert cpu.cs.attributes == 0xF3


def test_v86_sensitive_instructions() -> None:
    for code in (INT_30, b"\xfa", b"\xfb", IRET, b"\x9c", b"\x9d"):
        guest = Guest()
        guest.v86(iopl=0)
        guest.code(code)
        guest.run()
        assert (guest.vector(), guest.word(guest.cpu.rsp)) == (GP, 0), code.hex()


def test_v86_handler_must_be_ring_0() -> None:
    guest = Guest()
    guest.v86(iopl=3)
    guest.entry(FREE, descriptor(0, 0xFFFFF, 0xBB, 0xC))  # DPL 1
    guest.interrupt_gate(0x30, 0xEE, FREE)
    guest.code(INT_30)
    guest.run()
    assert (guest.vector(), guest.word(guest.cpu.rsp)) == (GP, FREE)


def test_vme_redirection() -> None:
    guest = Guest()
    guest.v86(iopl=0, flags=VIF | IF)
    guest.cpu.cr4 |= 1
    guest.put(0x30 * 4, bytes.fromhex("34120030"))
    guest.put(0x31234, IRET)
    guest.put(TSS + 0x100 - 32, bytes(32))  # redirection bits clear: by the vector table at 0
    guest.code(INT_30)
    guest.step()
    cpu = guest.cpu
    assert (cpu.cs.selector, cpu.rip, cpu.rsp) == (0x3000, 0x1234, 0x7FFA)
    assert guest.words(0x27FFA, 3, 2) == [2, CODE >> 4, 0x3202], "VIF stands in for IF, IOPL reads 3"
    assert cpu.rflags & (VM | VIF | IF) == VM | IF
    guest.step()
    assert cpu.rflags & (VM | VIF | IF | 0x3000) == VM | IF | VIF
    assert (cpu.cs.base, cpu.rip, cpu.rsp) == (CODE, 2, 0x8000)
    # a set bit: as without VME
    guest.put(TSS + 0x100 - 32 + 6, b"\x01")
    guest.code(INT_30)
    guest.run()
    assert (guest.vector(), guest.word(guest.cpu.rsp)) == (GP, 0)


def test_vme_virtual_interrupt_flag() -> None:
    guest = Guest()
    guest.v86(iopl=0, flags=IF)
    guest.cpu.cr4 |= 1
    guest.code(b"\xfb\xfa")
    guest.step()
    assert guest.cpu.rflags & VIF
    guest.step()
    assert guest.cpu.rflags & (VIF | IF) == IF
    guest.cpu.rflags |= VIP
    guest.code(b"\xfb")
    guest.run()
    assert guest.vector() == GP


# ----- 64-bit mode -----


def test_long_mode_frame_is_aligned() -> None:
    guest = Guest()
    guest.long_mode()
    guest.cpu.rsp = STACK0 - 3
    guest.cpu.rflags = 0x2 | IF
    guest.put(HANDLERS + 0x300, IRETQ)
    guest.code(INT_30)
    guest.step()
    assert guest.cpu.rsp == STACK0 - 0x10 - 40
    assert guest.words(guest.cpu.rsp, 5, 8) == [CODE + 2, CODE0_64, 0x202, STACK0 - 3, DATA0]
    assert guest.cpu.ss.selector == DATA0, "SS stays at the same privilege"
    guest.step()
    assert (guest.cpu.rip, guest.cpu.rsp, guest.cpu.rflags) == (CODE + 2, STACK0 - 3, 0x202)


def test_long_mode_inner_stack_and_ist() -> None:
    guest = Guest()
    guest.long_mode(3)
    guest.interrupt_gate(0x30, 0xEE, CODE0_64)
    guest.interrupt_gate(0x31, 0xEE, CODE0_64, ist=1)
    guest.code(INT_30)
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.ss.selector, cpu.rsp) == (0, 0, STACK0 - 40)
    assert guest.words(cpu.rsp, 5, 8) == [CODE + 2, CODE3_64, 2, STACK3, DATA3]
    guest.put(HANDLERS + 0x300, IRETQ)
    guest.step()
    assert (cpu.cpl, cpu.ss.selector, cpu.rsp, cpu.rip) == (3, DATA3, STACK3, CODE + 2)
    guest.code(b"\xcd\x31")
    guest.step()
    assert cpu.rsp == STACK_IST - 40
    guest.long_mode(0)
    guest.interrupt_gate(0x31, 0x8E, CODE0_64, ist=1)
    guest.code(b"\xcd\x31")
    guest.step()
    assert cpu.rsp == STACK_IST - 40, "the interrupt stack table works without a change of privilege"


def test_long_mode_error_code_and_checks() -> None:
    guest = Guest()
    guest.long_mode(3)
    assert guest.fault(INT_30, 8) == (GP, 0x30 * 8 + 2)
    assert guest.cpu.rsp == STACK0 - 48
    for selector in (CODE0, DATA0):
        guest.long_mode()
        guest.interrupt_gate(0x30, 0x8E, selector)
        assert guest.fault(INT_30, 8) == (GP, selector), "the handler must be 64-bit code"
    guest.long_mode()
    guest.put(IDT + 0x300, gate(CODE0_64, 0, 0x85) + bytes(8))
    assert guest.fault(INT_30, 8) == (GP, 0x182), "there are no task gates"
    guest.long_mode()
    guest.put(IDT + 0x300 + 8, (0x8000).to_bytes(4, "little"))
    assert guest.fault(INT_30, 8) == (GP, 0), "the handler's address is not canonical"
    guest.long_mode(3)
    guest.interrupt_gate(0x30, 0xEE, CODE0_64)
    guest.put(TSS + 4, (1 << 63).to_bytes(8, "little"))
    guest.interrupt_gate(SS, 0x8E, CODE0_64, ist=1)
    assert guest.fault(INT_30, 8) == (SS, 0), "RSP0 is not canonical"


def test_interrupt_from_compatibility_mode() -> None:
    guest = Guest()
    guest.long_mode(3)
    guest.cpu.cs.set(CODE3, 0, 0xFFFFFFFF, 0xC0FB)
    guest.interrupt_gate(0x30, 0xEE, CODE0_64)
    guest.put(HANDLERS + 0x300, IRETQ)
    guest.code(INT_30)
    guest.step()
    assert guest.words(guest.cpu.rsp, 5, 8) == [CODE + 2, CODE3, 2, STACK3, DATA3]
    guest.step()
    assert (guest.cpu.cs.selector, guest.cpu.rip, guest.cpu.rsp) == (CODE3, CODE + 2, STACK3)


def test_long_mode_iret_checks() -> None:
    for values, vector, error in (
        ((CODE, CODE3_64, 2, STACK3, 0), GP, 0),
        ((CODE, CODE3, 2, STACK3, 3), GP, 0),
        ((1 << 63, CODE0_64, 2, STACK0, 0), GP, 0),
        ((CODE, CODE0_64, 2, STACK0, DATA3), GP, DATA3 & ~3),
    ):
        guest = Guest()
        guest.long_mode()
        frame(guest, *values, size=8)
        assert guest.fault(IRETQ, 8) == (vector, error), values
    guest = Guest()
    guest.long_mode()
    frame(guest, CODE + 0x100, CODE0_64, 2, STACK0, 0, size=8)
    guest.code(IRETQ)
    guest.step()
    assert (guest.cpu.rip, guest.cpu.ss.selector, guest.cpu.rsp) == (CODE + 0x100, 0, STACK0), "SS may be null at CPL 0"
    guest.long_mode()
    guest.cpu.rflags = 0x2 | NT
    assert guest.fault(IRETQ, 8) == (GP, 0), "NT in IA-32e mode"


def test_iret_keeps_the_base_of_a_nulled_gs() -> None:
    guest = Guest()
    guest.long_mode()
    guest.cpu.gs.base = 0x123456789
    frame(guest, CODE + 0x100, CODE3_64, 2, STACK3, DATA3, size=8)
    guest.code(IRETQ)
    guest.step()
    assert (guest.cpu.gs.selector, guest.cpu.gs.base) == (0, 0x123456789)


def test_page_fault_sets_cr2_and_error_code() -> None:
    guest = Guest()
    guest.long_mode(3)
    guest.cpu.rbx = 0x0000123456789ABC
    assert guest.fault(b"\x88\x03", 8) == (PF, 6)
    assert guest.cpu.cr2 == 0x0000123456789ABC


def test_accessed_bit_of_the_handler() -> None:
    guest = Guest()
    guest.protected()
    guest.entry(CODE0, descriptor(0, 0xFFFFF, 0x9A, 0xC))
    guest.code(INT_30)
    guest.step()
    assert guest.word(GDT + CODE0 + 5, 1) == 0x9B
