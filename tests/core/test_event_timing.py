"""When events come: the interrupt flag, what STI and MOV SS hold off, NMI, single step, breakpoints (SDM 3A 6.7, 6.8;
SDM 3B 17.3)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bare_guest import CODE, CODE0, DATA0, HANDLERS, Guest

from x86emu.devices.pic_controller import Pic8259Controller

DB, NMI, SS, GP = 1, 2, 12, 13
IF, TF, RF, VIF, VIP = 0x200, 0x100, 0x10000, 0x80000, 0x100000
INT_30, IRET = b"\xcd\x30", b"\xcf"


class Requests:
    """An interrupt controller that has one vector to give."""

    def __init__(self, guest: Guest, vector: int) -> None:
        self.vector = vector
        self.output: Callable[[bool], None] = lambda level: None
        self.controller = Pic8259Controller(self, guest.signals)

    def acknowledge(self) -> int:
        self.output(False)
        return self.vector


def test_external_interrupt_and_sti_shadow() -> None:
    """The instruction behind STI runs before an interrupt is taken (SDM 2B, STI); so STI, HLT wakes at once."""
    for code, taken_at in ((b"\xfb\x90\x90", 2), (b"\xfb\xf4\x90", 2), (b"\xfb\xfb\x90", 2), (b"\xfb\xfa\x90", None)):
        guest = Guest()
        guest.protected()
        guest.cpu.rflags = 2
        requests = Requests(guest, 0x55)
        requests.output(True)
        guest.code(code)
        guest.run()
        if taken_at is None:
            assert guest.cpu.rip == CODE + 4, "CLI in the shadow: not taken at all"
            continue
        assert guest.vector() == 0x55
        assert guest.words(guest.cpu.rsp, 3) == [CODE + taken_at, CODE0, 0x202]
        assert not guest.signals.intr


def test_interrupt_between_instructions_of_running_code() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x202
    requests = Requests(guest, 0x55)
    guest.clock.schedule(50, lambda: requests.output(True))
    guest.put(HANDLERS + 0x550, b"\x43" + IRET)  # inc ebx; iret
    guest.code(b"\x40\xeb\xfd")  # inc eax; jmp back
    guest.cpu.rax = guest.cpu.rbx = 0
    assert guest.run(200) == "instructions"
    assert guest.cpu.rbx == 1
    assert guest.cpu.rax == 99, "198 instructions of the loop, two of the handler"


def test_mov_ss_holds_off_nmi() -> None:
    guest = Guest()
    guest.protected()
    guest.code(b"\x8e\xd0\x40\x40")  # mov ss, eax; inc eax; inc eax
    guest.cpu.rax = DATA0
    guest.step()
    guest.signals.pulse_nmi()
    guest.run()
    assert guest.vector() == NMI
    assert guest.cpu.rax == DATA0 + 1, "one instruction ran behind MOV SS"
    assert guest.word(guest.cpu.rsp) == CODE + 3


def test_sti_holds_off_nmi() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 2
    guest.code(b"\xfb\x40\x40")  # sti; inc eax; inc eax
    guest.cpu.rax = 0
    guest.step()
    guest.signals.pulse_nmi()
    guest.run()
    assert guest.vector() == NMI
    assert guest.cpu.rax == 1, "one instruction ran behind STI (SDM 2B, STI)"


def test_nmi_is_blocked_until_iret() -> None:
    guest = Guest()
    guest.protected()
    guest.put(HANDLERS + NMI * 16, b"\x40\x40" + IRET)  # inc eax, twice
    guest.cpu.rax = 0
    guest.code(b"\x90\x90\x90")
    guest.signals.pulse_nmi()
    guest.step()
    guest.signals.pulse_nmi()
    guest.step()
    assert guest.cpu.rax == 2, "the second NMI waits"
    guest.run()
    assert guest.cpu.rax == 4
    assert guest.cpu.rip == CODE + 4


def test_cli_sti_privilege() -> None:
    for code in (b"\xfa", b"\xfb"):
        guest = Guest()
        guest.protected(3)
        guest.cpu.rflags = 0x2
        assert guest.fault(code) == (GP, 0)
        guest.protected(3)
        guest.cpu.rflags = 0x3002
        guest.code(code)
        guest.step()
        assert guest.cpu.rip == CODE + 1
    # protected-mode virtual interrupts
    guest = Guest()
    guest.protected(3)
    guest.cpu.cr4 |= 2
    guest.cpu.rflags = 0x2 | IF
    guest.code(b"\xfb\xfa")
    guest.step()
    assert guest.cpu.rflags & VIF
    guest.step()
    assert guest.cpu.rflags & (VIF | IF) == IF
    guest.cpu.rflags = 0x2 | VIP
    assert guest.fault(b"\xfb") == (GP, 0)


def test_single_step_trap() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | TF
    guest.code(b"\x90\x90")
    guest.run()
    assert guest.vector() == DB
    assert guest.words(guest.cpu.rsp, 3) == [CODE + 1, CODE0, 0x102]
    assert guest.cpu.dr(6) & 0x4000
    assert not guest.cpu.rflags & TF


def test_single_step_behind_a_load_of_ss() -> None:
    """The trap of MOV SS is lost, the next instruction's comes; in front of INT1 it does not add a second #DB."""
    guest = Guest()
    guest.protected()
    guest.cpu.rax, guest.cpu.rflags = DATA0, 0x2 | TF
    guest.code(b"\x8e\xd0\x90\x90")
    guest.run()
    assert (guest.vector(), guest.word(guest.cpu.rsp)) == (DB, CODE + 3)
    guest.protected()
    guest.cpu.rax, guest.cpu.rflags = DATA0, 0x2 | TF
    guest.put(HANDLERS + DB * 16, b"\x43\xf4")  # inc ebx; hlt
    guest.cpu.rbx = 0
    guest.code(b"\x8e\xd0\xf1\x90")
    guest.run()
    assert guest.cpu.rbx == 1
    assert guest.word(guest.cpu.rsp) == CODE + 3


def test_data_breakpoint_held_off_by_mov_ss_goes_with_int1() -> None:
    guest = Guest()
    guest.protected()
    guest.put(0x5000, DATA0.to_bytes(2, "little"))
    guest.cpu.set_dr(0, 0x5000)
    guest.cpu.set_dr(7, 0x30402)  # reads and writes, one byte
    guest.put(HANDLERS + DB * 16, b"\x43\xf4")
    guest.cpu.rbx = 0
    guest.code(bytes.fromhex("8e1500500000f190"))  # mov ss, [5000h]; int1
    guest.run()
    assert guest.cpu.rbx == 1
    assert guest.cpu.dr(6) & 0xF == 1


def test_software_interrupts_are_not_stepped_into() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | TF
    guest.put(HANDLERS + 0x300, b"\x40" + IRET)
    guest.code(INT_30 + b"\x90\x90")
    guest.run()
    assert guest.vector() == DB
    assert guest.word(guest.cpu.rsp) == CODE + 3, "the trap comes behind the instruction that IRET returned to"
    assert guest.cpu.rax & 0xFF == 1


def test_instruction_breakpoint() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.set_dr(1, CODE + 1)
    guest.cpu.set_dr(7, 0x404)
    guest.put(HANDLERS + DB * 16, bytes.fromhex("814c240800000100") + IRET)  # or dword [esp+8], RF; iret
    guest.code(b"\x40\x40\x40")
    guest.cpu.rax = 0
    guest.run()
    assert guest.cpu.rax == 3
    assert guest.cpu.dr(6) & 0xF == 2


@pytest.mark.parametrize(("model", "hits"), [("default", 1), ("haswell", 0)])
def test_instruction_breakpoint_behind_mov_ss(model: str, hits: int) -> None:
    """Intel's processors ignore it there (SDM 3A 6.8.3), AMD's do not."""
    guest = Guest(model)
    guest.protected()
    guest.cpu.set_dr(1, CODE + 2)
    guest.cpu.set_dr(7, 0x404)
    guest.put(HANDLERS + DB * 16, bytes.fromhex("43814c240800000100") + IRET)  # inc ebx; or dword [esp+8], RF; iret
    guest.code(b"\x8e\xd0\x41")  # mov ss, eax; inc ecx
    guest.cpu.rax, guest.cpu.rbx, guest.cpu.rcx = DATA0, 0, 0
    guest.run()
    assert (guest.cpu.rbx, guest.cpu.rcx) == (hits, 1)
