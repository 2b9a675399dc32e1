"""SPEC_CTRL is an MSR like any other for bitmaps, permission maps and lists (SDM 3C 26.6.9, 27.4; APM 2 15.11)."""

from __future__ import annotations

import struct

from tests.virt.svm_guest import MSR_MAP, SvmGuest
from tests.virt.test_svm_exits import with_intercept
from tests.virt.vmx_guest import BITMAPS, LIST, VmxGuest
from x86emu.isa.vmx_capabilities import PRIMARY

SPEC_CTRL = 0x48


def test_vmx() -> None:
    guest = VmxGuest("sapphire_rapids")
    guest.control(PRIMARY, "use_msr_bitmaps")
    guest.memory.write(BITMAPS, bytes(0x3000))
    for n, value in enumerate((1, 0, 4)):  # loaded at entry, stored and loaded at exit
        guest.memory.write(LIST + 0x100 * n, struct.pack("<IIQ", SPEC_CTRL, 0, value))
    guest.set(entry_msr_load_address=LIST, entry_msr_load_count=1, exit_msr_store_address=LIST + 0x100,
              exit_msr_store_count=1, exit_msr_load_address=LIST + 0x200, exit_msr_load_count=1)  # fmt: skip
    assert guest.run("0f320c020f30", rcx=SPEC_CTRL) == 18  # rdmsr; or al, 2; wrmsr
    assert guest.memory.read(LIST + 0x108, 8) == struct.pack("<Q", 3)
    assert guest.machine.rdmsr(SPEC_CTRL) == 4
    guest.memory.write(BITMAPS + 0x2000 + (SPEC_CTRL >> 3), b"\x01")
    assert guest.run("0f32", rcx=SPEC_CTRL) == 31
    guest.memory.write(LIST, struct.pack("<IIQ", SPEC_CTRL, 0, 1 << 63))
    assert guest.run() == 0x80000022


def test_svm() -> None:
    guest = SvmGuest("epyc_genoa")
    with_intercept(guest, "MSR")
    assert guest.run("b948000000 b801000000 31d2 0f30") == 0x81
    assert guest.machine.rdmsr(SPEC_CTRL) == 1, "kept by #VMEXIT where SPEC_CTRL is not virtualized"
    guest.memory.write(MSR_MAP + 2 * SPEC_CTRL // 8, bytes([1 << 2 * SPEC_CTRL % 8]))
    assert guest.run("b948000000 0f32") == 0x7C
