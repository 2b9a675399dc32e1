"""Hardware task switches and the I/O permission bit map (SDM 3A chapter 8; SDM 1, 19.5.2)."""

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
    HANDLERS,
    IDT,
    TSS,
    TSS_SELECTOR,
    Guest,
    descriptor,
    gate,
)

TS, NP, GP, DB = 10, 11, 13, 1
NT, VM, IF = 0x4000, 0x20000, 0x200
TASK, TASK_CODE, TASK_STACK = 0x5000, 0x13000, 0x15000
TASK_SELECTOR, LDT_OF_TASK = FREE, FREE + 8
JMP_FAR, CALL_FAR, IRET = 0xEA, 0x9A, b"\xcf"


def far(opcode: int, selector: int) -> bytes:
    return bytes([opcode]) + bytes(4) + selector.to_bytes(2, "little")


def task_state(guest: Guest, **changes: int) -> None:
    """A 32-bit TSS at TASK, by field."""
    state = {
        "eip": TASK_CODE, "eflags": 2, "eax": 1, "ecx": 2, "edx": 3, "ebx": 4, "esp": TASK_STACK, "ebp": 6, "esi": 7,
        "edi": 8, "es": DATA0, "cs": CODE0, "ss": DATA0, "ds": DATA0, "fs": 0, "gs": 0, "ldt": 0, "trap": 0,
    } | changes  # fmt: skip
    places = {"eip": 0x20, "eflags": 0x24, "ldt": 0x60, "trap": 0x64}
    places |= {name: 0x28 + 4 * k for k, name in enumerate("eax ecx edx ebx esp ebp esi edi es cs ss ds fs gs".split())}
    guest.put(TASK, bytes(0x68))
    for name, place in places.items():
        guest.put(TASK + place, state[name].to_bytes(4, "little"))
    guest.entry(TASK_SELECTOR, descriptor(TASK, 0x67, 0x89))
    guest.entry(LDT_OF_TASK, descriptor(0x5800, 0x2F, 0x82))
    guest.put(TASK_CODE, b"\xf4")


def busy(guest: Guest, selector: int) -> bool:
    return bool(guest.word(GDT + (selector & 0xFFF8) + 5, 1) & 2)


def test_jump_switches_the_task() -> None:
    guest = Guest()
    guest.protected()
    task_state(guest, ldt=LDT_OF_TASK)
    guest.cpu.rax, guest.cpu.rdi, guest.cpu.rflags = 0x11111111, 0x77777777, 0x203
    guest.cpu.set_dr(7, 0x401)
    guest.code(far(JMP_FAR, TASK_SELECTOR))
    guest.step()
    cpu = guest.cpu
    assert (cpu.rip, cpu.rsp, cpu.rax, cpu.rdi, cpu.rflags) == (TASK_CODE, TASK_STACK, 1, 8, 2)
    assert (cpu.tr.selector, cpu.tr.base, cpu.ldtr.selector, cpu.ldtr.base) == (
        TASK_SELECTOR,
        TASK,
        LDT_OF_TASK,
        0x5800,
    )
    assert cpu.fs.attributes & 0x10000
    assert cpu.cr0 & 8, "CR0.TS"
    assert cpu.dr(7) == 0x400, "local breakpoints are disabled"
    assert not busy(guest, TSS_SELECTOR)
    assert busy(guest, TASK_SELECTOR)
    assert guest.word(TSS + 0x20) == CODE + 7
    assert guest.word(TSS + 0x24) == 0x203
    assert (guest.word(TSS + 0x28), guest.word(TSS + 0x44)) == (0x11111111, 0x77777777)
    assert [guest.word(TSS + at, 2) for at in (0x48, 0x4C, 0x50)] == [DATA0, CODE0, DATA0]


def test_call_nests_and_iret_returns() -> None:
    guest = Guest()
    guest.protected()
    task_state(guest)
    guest.put(TASK_CODE, b"\x40" + IRET)
    guest.cpu.rax = 0x55
    guest.code(far(CALL_FAR, TASK_SELECTOR))
    guest.step()
    assert guest.cpu.rflags & NT
    assert guest.word(TASK, 2) == TSS_SELECTOR, "the link"
    assert busy(guest, TSS_SELECTOR)
    assert busy(guest, TASK_SELECTOR)
    guest.step(2)
    assert (guest.cpu.rip, guest.cpu.rax, guest.cpu.tr.selector) == (CODE + 7, 0x55, TSS_SELECTOR)
    assert not busy(guest, TASK_SELECTOR)
    assert not guest.word(TASK + 0x24) & NT, "NT is cleared in the image of the task that returned"
    assert (guest.word(TASK + 0x20), guest.word(TASK + 0x28)) == (TASK_CODE + 2, 2)


def test_task_gates() -> None:
    guest = Guest()
    guest.protected(3)
    task_state(guest)
    guest.entry(FREE + 0x10, gate(TASK_SELECTOR, 0, 0xE5))
    guest.code(far(JMP_FAR, FREE + 0x13))
    guest.step()
    assert (guest.cpu.rip, guest.cpu.cpl) == (TASK_CODE, 0)
    guest = Guest()
    guest.protected(3)
    task_state(guest)
    assert guest.fault(far(JMP_FAR, TASK_SELECTOR)) == (GP, TASK_SELECTOR), "DPL of the TSS"


def test_exception_through_a_task_gate_pushes_its_error_code() -> None:
    guest = Guest()
    guest.protected(3)
    task_state(guest)
    guest.put(IDT + GP * 8, gate(TASK_SELECTOR, 0, 0x85))
    guest.cpu.rflags = 0x202
    guest.cpu.rax = DATA0
    guest.code(b"\x8e\xd8")
    guest.step()
    guest.run()
    assert (guest.cpu.rip, guest.cpu.rsp) == (TASK_CODE + 1, TASK_STACK - 4)
    assert guest.word(TASK_STACK - 4) == DATA0
    assert guest.word(TSS + 0x20) == CODE, "the faulting instruction"
    assert guest.word(TSS + 0x24) == 0x10202, "RF is set in the image"
    assert guest.cpu.rflags & NT


@pytest.mark.parametrize(
    ("changes", "vector", "error"),
    [
        ({"ldt": DATA0}, TS, DATA0),
        ({"ldt": 0x0C}, TS, 0x0C),
        ({"cs": 0}, TS, 0),
        ({"cs": DATA0}, TS, DATA0),
        ({"cs": CODE3 & ~3}, TS, CODE3 & ~3),
        ({"ss": 0}, TS, 0),
        ({"ss": DATA3}, TS, DATA3 & ~3),
        ({"ds": 0x3F8}, TS, 0x3F8),
        ({"gs": FREE + 0x20}, NP, FREE + 0x20),
        ({"eip": 0x12345678, "cs": FREE + 0x28}, GP, 0),
    ],
)
def test_faults_in_the_new_task(changes: dict[str, int], vector: int, error: int) -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.gdtr.limit = 0x3F0
    guest.entry(FREE + 0x20, descriptor(0, 0xFFFFF, 0x12, 0xC))
    guest.entry(FREE + 0x28, descriptor(0, 0xFFFF, 0x9A, 0x4))
    task_state(guest, **changes)
    # the handler is a task of its own: the new task may have no stack
    handler = 0x5400
    guest.put(handler, guest.memory.read(TASK, 0x68))
    for place, value in ((0x20, HANDLERS + vector * 16), (0x4C, CODE0), (0x50, DATA0), (0x54, 0), (0x5C, 0), (0x60, 0)):
        guest.put(handler + place, value.to_bytes(4, "little"))
    guest.entry(FREE + 0x30, descriptor(handler, 0x67, 0x89))
    guest.put(IDT + vector * 8, gate(FREE + 0x30, 0, 0x85))
    guest.code(far(JMP_FAR, TASK_SELECTOR))
    guest.run()
    assert guest.vector() == vector
    assert guest.word(guest.cpu.rsp) == error
    assert guest.word(handler, 2) == TASK_SELECTOR, "the fault happened in the new task"
    assert busy(guest, TASK_SELECTOR)
    assert guest.word(TASK + 0x20) == changes.get("eip", TASK_CODE)


def test_checks_before_the_switch() -> None:
    for raw, vector in (
        (descriptor(TASK, 0x66, 0x89), TS),
        (descriptor(TASK, 0x67, 0x8B), GP),
        (descriptor(TASK, 0x67, 0x09), NP),
    ):
        guest = Guest()
        guest.protected()
        task_state(guest)
        guest.entry(TASK_SELECTOR, raw)
        assert guest.fault(far(JMP_FAR, TASK_SELECTOR)) == (vector, TASK_SELECTOR)
        assert guest.word(guest.cpu.rsp + 4) == CODE
        assert guest.cpu.tr.selector == TSS_SELECTOR
        assert not guest.cpu.cr0 & 8


def test_iret_with_a_bad_link() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | NT
    guest.put(TSS, FREE.to_bytes(2, "little"))
    guest.entry(FREE, descriptor(TASK, 0x67, 0x89))
    assert guest.fault(IRET) == (TS, FREE), "the task to return to must be busy"


def test_sixteen_bit_task() -> None:
    guest = Guest()
    guest.protected()
    values = [0x9000, 2, 0x11, 0x12, 0x13, 0x14, 0x6000, 0x16, 0x17, 0x18, DATA0, CODE0, DATA0, DATA0, 0]
    guest.put(TASK, bytes(14) + b"".join(v.to_bytes(2, "little") for v in values))
    guest.entry(TASK_SELECTOR, descriptor(TASK, 0x2B, 0x81))
    guest.code(far(JMP_FAR, TASK_SELECTOR))
    guest.step()
    cpu = guest.cpu
    assert (cpu.rip, cpu.rax, cpu.rsp, cpu.rdi, cpu.tr.attributes & 0xF) == (0x9000, 0x11, 0x6000, 0x18, 3)
    assert cpu.fs.attributes & 0x10000
    guest.entry(TSS_SELECTOR, descriptor(TSS, 0x2FF, 0x89))
    guest.put(TSS + 0x20, CODE.to_bytes(4, "little"))
    guest.code(far(JMP_FAR, TSS_SELECTOR), 0x9000)
    guest.step()
    assert guest.cpu.rip == CODE
    assert guest.word(TASK + 0x0E, 2) == 0x9007
    assert guest.word(TASK + 0x12, 2) == 0x11


def test_switch_to_a_v86_task() -> None:
    guest = Guest()
    guest.protected()
    task_state(guest, eflags=VM | 0x3002, eip=0x100, cs=0x1300, ss=0x2000, esp=0x8000, ds=0x1234)
    guest.code(far(JMP_FAR, TASK_SELECTOR))
    guest.step()
    cpu = guest.cpu
    assert (cpu.cpl, cpu.cs.base, cpu.rip, cpu.ss.base, cpu.ds.base) == (3, 0x13000, 0x100, 0x20000, 0x12340)
    assert cpu.rflags & VM


def test_debug_trap_bit() -> None:
    guest = Guest()
    guest.protected()
    task_state(guest, trap=1)
    guest.code(far(JMP_FAR, TASK_SELECTOR))
    guest.run()
    assert guest.vector() == DB
    assert guest.cpu.dr(6) & 0x8000
    assert guest.word(guest.cpu.rsp) == TASK_CODE


def test_io_permission_bit_map() -> None:
    def fails(port: int, iopl: int = 0) -> bool:
        guest = Guest()
        guest.protected(3)
        guest.put(TSS + 0x100, bytes(0x80))
        guest.put(TSS + 0x100 + 0x10, b"\x02")  # port 81h
        guest.cpu.tr.limit = 0x100 + 0x20
        guest.cpu.rflags = 0x2 | iopl << 12
        guest.cpu.rdx = port
        guest.code(b"\xed")  # in eax, dx
        guest.step()
        return bool(guest.cpu.rip != CODE + 1)

    assert not fails(0x60)
    assert fails(0x80), "bytes 80h to 83h hold one that is denied"
    assert fails(0x7E)
    assert not fails(0x82)
    assert not fails(0x80, iopl=3)
    assert not fails(0xF8)
    assert fails(0x100), "the map ends at the limit"


def test_io_in_v86_mode_asks_the_map_whatever_iopl() -> None:
    guest = Guest()
    guest.v86(iopl=3)
    guest.put(TSS + 0x100 + 0xC, b"\x01")
    guest.code(b"\xe4\x60")
    guest.run()
    assert (guest.vector(), guest.word(guest.cpu.rsp)) == (GP, 0)
