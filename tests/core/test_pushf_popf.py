"""PUSHF and POPF by mode, privilege and IOPL (SDM 2B; SDM 3B 21.3 for the virtual-8086 mode extensions)."""

import pytest
from bare_guest import Guest

CF, TF, IF, DF, IOPL3, NT, RF, AC, VIF, VIP, ID = (
    0x1, 0x100, 0x200, 0x400, 0x3000, 0x4000, 0x10000, 0x40000, 0x80000, 0x100000, 0x200000,
)  # fmt: skip
VM = 0x20000
EVERYTHING = 0x3FFFFF & ~TF


def popf(guest: Guest, image: int, code: str = "9d", size: int = 4) -> int:
    """RFLAGS after a POPF of image from the stack that the guest has; the guest must not fault."""
    stack = guest.cpu.ss.base + guest.cpu.rsp
    guest.put(stack, image.to_bytes(size, "little"))
    guest.code(bytes.fromhex(code))
    start = guest.cpu.rip
    guest.step()
    assert guest.cpu.rip == start + len(code) // 2
    return guest.cpu.rflags


def test_ring_0_may_change_all_but_vm_vif_vip() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2
    assert popf(guest, EVERYTHING) == 0x2 | 0x8D5 | IF | DF | IOPL3 | NT | AC | ID
    assert popf(guest, 0) == 0x2


def test_sixteen_bit_popf_leaves_the_upper_half() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | AC | ID
    before = guest.cpu.rsp
    assert popf(guest, 0x7EFF, "669d", 2) == 0x2 | 0x8D5 | IF | DF | IOPL3 | NT | AC | ID
    assert guest.cpu.rsp == before + 2


@pytest.mark.parametrize("iopl", [0, 3])
def test_ring_3_changes_if_only_where_iopl_allows_and_never_iopl(iopl: int) -> None:
    guest = Guest()
    guest.protected(cpl=3)
    guest.cpu.rflags = 0x2 | iopl << 12
    assert popf(guest, EVERYTHING) == 0x2 | 0x8D5 | DF | NT | AC | ID | iopl << 12 | (IF if iopl == 3 else 0)
    guest.cpu.rflags = 0x2 | IF | iopl << 12
    assert popf(guest, 0) == 0x2 | iopl << 12 | (0 if iopl == 3 else IF)


def test_pushf_hides_rf_and_vm_in_protected_mode() -> None:
    guest = Guest()
    guest.protected()
    guest.cpu.rflags = 0x2 | CF | AC | ID | RF
    guest.code(bytes.fromhex("9c"))
    guest.step()
    assert guest.word(guest.cpu.rsp) == 0x2 | CF | AC | ID


@pytest.mark.parametrize("code", ["9c", "9d", "669c", "669d"])
def test_v86_below_iopl_3_without_extensions_faults(code: str) -> None:
    guest = Guest()
    guest.v86(iopl=2)
    assert guest.fault(bytes.fromhex(code)) == (13, 0)


def test_v86_with_iopl_3_works_as_in_real_mode_but_for_iopl() -> None:
    guest = Guest()
    guest.v86(iopl=3)
    assert popf(guest, 0x4EFF & ~IOPL3, size=2) == 0x2 | VM | 0x8D5 | IF | DF | NT | IOPL3
    guest.code(bytes.fromhex("9c"))
    guest.step()
    assert guest.word(0x20000 + guest.cpu.rsp, 2) == 0x2 | 0x8D5 | IF | DF | NT | IOPL3


def test_virtual_interrupt_flag_stands_in_for_if() -> None:
    guest = Guest()
    guest.v86(iopl=0)
    guest.cpu.cr4 |= 1
    assert popf(guest, IF | CF, size=2) == 0x2 | VM | CF | VIF
    guest.code(bytes.fromhex("9c"))
    guest.step()
    assert guest.word(0x20000 + guest.cpu.rsp, 2) == 0x2 | CF | IF | IOPL3
    assert popf(guest, 0, size=2) == 0x2 | VM


@pytest.mark.parametrize("image,flags", [(IF, VIP), (TF, 0)])
def test_virtual_interrupt_pending_or_trap_flag_faults(image: int, flags: int) -> None:
    guest = Guest()
    guest.v86(iopl=0, flags=flags)
    guest.cpu.cr4 |= 1
    guest.put(0x20000 + guest.cpu.rsp, image.to_bytes(2, "little"))
    assert guest.fault(bytes.fromhex("9d")) == (13, 0)


def test_trap_flag_traps_after_the_next_instruction() -> None:
    guest = Guest()
    guest.protected()
    guest.put(guest.cpu.rsp, (0x2 | TF).to_bytes(4, "little"))
    guest.code(bytes.fromhex("9d4090"))
    start = guest.cpu.rip
    assert guest.run() == "halted"
    assert guest.vector() == 1
    assert guest.word(guest.cpu.rsp) == start + 2
