"""Shadow stacks in task switches and virtual-8086 mode (SDM 1, 17.2; SDM 3A, 8.3)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_guest import CODE, CODE0, DATA0, FREE, HANDLERS, Guest, descriptor

OLD, NEW, TASK, TASK_CODE = 0x30000, 0x31000, 0x5000, 0x13000
IRET, UD2 = b"\xcf", b"\x0f\x0b"
SH_STK, ENDBR, TRACKER, CET = 1, 4, 0x800, 0x800000


def switching(opcode: int, limit: int = 0x6B, s_cet: int = SH_STK) -> Guest:
    guest = Guest("max")
    guest.protected()
    guest.put(TASK, bytes(0x6C))
    for place, value in ((0x20, TASK_CODE), (0x24, 2), (0x38, 0x15000), (0x48, DATA0), (0x4C, CODE0), (0x50, DATA0),
                         (0x54, DATA0), (0x68, NEW)):  # fmt: skip
        guest.put(TASK + place, struct.pack("<I", value))
    guest.entry(FREE, descriptor(TASK, limit, 0x89))
    guest.put(TASK_CODE, b"\xf4")
    guest.cpu.cr0 |= 0x10000
    guest.cpu.cr4 |= CET
    guest.cpu.s_cet, guest.cpu.ssp = s_cet, OLD
    guest.put(OLD, struct.pack("<Q", OLD | 1))
    guest.put(NEW, struct.pack("<Q", NEW))
    guest.code(bytes([opcode]) + bytes(4) + struct.pack("<H", FREE))
    return guest


def test_call_and_iret() -> None:
    guest = switching(0x9A)
    guest.step()
    assert guest.cpu.rip == TASK_CODE and guest.cpu.ssp == NEW - 24
    assert guest.words(NEW - 24, 4, 8) == [OLD, CODE + 7, CODE0, NEW | 1]
    assert guest.word(OLD, 8) == OLD | 1  # the old task's stack stays in use
    guest.put(TASK_CODE, IRET)
    guest.cpu.rip = TASK_CODE
    guest.step()
    assert guest.cpu.rip == CODE + 7 and guest.cpu.ssp == OLD and guest.word(NEW, 8) == NEW


def test_iret_to_another_place() -> None:
    guest = switching(0x9A)
    guest.step()
    guest.put(NEW - 16, struct.pack("<Q", CODE))
    guest.put(TASK_CODE, IRET)
    guest.cpu.rip = TASK_CODE
    guest.run()
    assert guest.vector() == 21 and guest.word(guest.cpu.rsp) == 2


def test_jump_frees_the_old_stack() -> None:
    guest = switching(0xEA)
    guest.step()
    assert guest.cpu.ssp == NEW and guest.words(NEW, 1, 8) == [NEW | 1] and guest.word(OLD, 8) == OLD


@pytest.mark.parametrize("broken", ["busy", "short", "unaligned"])
def test_a_task_without_a_free_stack(broken: str) -> None:
    guest = switching(0xEA, 0x67 if broken == "short" else 0x6B)
    if broken == "busy":
        guest.put(NEW, struct.pack("<Q", NEW | 1))
    elif broken == "unaligned":
        guest.put(TASK + 0x68, struct.pack("<I", NEW + 4))
    guest.cpu.pl_ssp = (OLD, 0, 0, 0)
    guest.run()
    assert guest.vector() == 10 and guest.word(guest.cpu.rsp) == FREE


def test_a_new_task_begins_with_an_endbranch() -> None:
    guest = switching(0xEA, 0x67, ENDBR)
    guest.step()
    assert guest.cpu.rip == TASK_CODE and guest.cpu.s_cet == ENDBR | TRACKER


def test_virtual_8086_mode_has_no_shadow_stack() -> None:
    guest = Guest("max")
    guest.v86()
    guest.cpu.cr0 |= 0x10000
    guest.cpu.cr4 |= CET
    guest.cpu.s_cet, guest.cpu.u_cet, guest.cpu.pl_ssp = SH_STK, SH_STK, (NEW, 0, 0, OLD)
    guest.put(NEW, struct.pack("<Q", NEW))
    guest.code(b"\xe8\x01\x00\xf4\xc3" + UD2)  # call, ret, and ...
    guest.step(2)
    assert guest.cpu.rip == 3 and guest.word(OLD - 4) == 0
    guest.code(UD2)
    guest.step()
    cpu = guest.cpu
    assert guest.vector() == 6 and cpu.ssp == NEW and guest.word(NEW, 8) == NEW | 1
    guest.put(HANDLERS + 6 * 16, IRET)
    cpu.rip, cpu.activity = HANDLERS + 6 * 16, 0
    guest.step()
    assert cpu.rflags & 0x20000 and cpu.rip == 0 and guest.word(NEW, 8) == NEW
