"""System management mode (SDM 3C chapter 32; AMD APM volume 2 chapter 10)."""

from __future__ import annotations

import pytest
from bare_guest import CODE, CODE0, CODE0_64, DATA0, STACK0, Guest

SMBASE, RSM, UD = 0x30000, b"\x0f\xaa", 6


def test_rsm_outside_smm_is_undefined() -> None:
    guest = Guest()
    guest.protected()
    guest.code(RSM)
    guest.run()
    assert guest.vector() == UD


@pytest.mark.parametrize(
    ("model", "revision", "smbase_at", "eax_at"),
    [("default", 0x20064, 0xFF00, 0xFFF8), ("pentium", 0x20000, 0xFEF8, 0xFFD0)],
)
def test_entry_and_return(model: str, revision: int, smbase_at: int, eax_at: int) -> None:
    guest = Guest(model)
    guest.protected()
    cpu = guest.cpu
    cpu.rax, cpu.rflags = 0x12345678, 0x203
    cpu.fs.set(0x1234, 0x55550, 0x777, 0xF3)
    before = (cpu.cs.attributes, cpu.ss.attributes, cpu.tr.base, cpu.ldtr.limit, cpu.gdtr.base, cpu.idtr.limit, cpu.cr0)
    guest.put(SMBASE + 0x8000, b"\xf4")
    guest.code(b"\x40")
    guest.signals.pulse_smi()
    guest.run()
    assert cpu.in_smm
    assert (cpu.cs.base, cpu.cs.selector, cpu.rip, cpu.cs.limit) == (SMBASE, SMBASE >> 4, 0x8001, 0xFFFFFFFF)
    assert (cpu.cr0 & 0x8000000D, cpu.cr4, cpu.efer, cpu.rflags, cpu.dr(7)) == (0, 0, 0, 2, 0x400)
    assert guest.word(SMBASE + 0xFEFC) == revision
    assert guest.word(SMBASE + smbase_at) == SMBASE
    assert guest.word(SMBASE + eax_at) == 0x12345678
    guest.put(SMBASE + eax_at, (0x777).to_bytes(4, "little"))
    guest.put(SMBASE + smbase_at, (0xA0000).to_bytes(4, "little"))
    guest.put(SMBASE + 0x8001, RSM)
    cpu.activity = 0
    guest.step()
    assert not cpu.in_smm
    assert (cpu.rip, cpu.rax, cpu.rflags, cpu.cs.selector, cpu.ss.selector) == (CODE, 0x777, 0x203, CODE0, DATA0)
    assert (cpu.fs.selector, cpu.fs.base, cpu.fs.limit, cpu.fs.attributes) == (0x1234, 0x55550, 0x777, 0xF3)
    after = (cpu.cs.attributes, cpu.ss.attributes, cpu.tr.base, cpu.ldtr.limit, cpu.gdtr.base, cpu.idtr.limit, cpu.cr0)
    assert after == before
    assert cpu.smbase == 0xA0000, "SMBASE was relocated"
    guest.run()
    assert cpu.rax == 0x778


def test_long_mode_state_survives() -> None:
    guest = Guest()
    guest.long_mode()
    cpu = guest.cpu
    cpu.r15, cpu.gs.base = 0xFEDCBA9876543210, 0xFFFF800000000000
    guest.put(SMBASE + 0x8000, RSM)
    guest.code(b"\x49\xff\xc7")
    guest.signals.pulse_smi()
    guest.step(2)
    assert (cpu.rip, cpu.r15) == (CODE + 3, 0xFEDCBA9876543211)
    assert (cpu.efer, cpu.cr3, cpu.cs.selector, cpu.gs.base) == (0x501, 0x40000, CODE0_64, 0xFFFF800000000000)
    assert cpu.rsp == STACK0


def test_auto_halt_restart() -> None:
    guest = Guest()
    guest.protected()
    guest.put(SMBASE + 0x8000, RSM)
    guest.code(b"\x90")
    assert guest.run() == "halted"
    rip = guest.cpu.rip
    guest.signals.pulse_smi()
    assert guest.run() == "halted", "RSM went back to the halt"
    assert guest.cpu.rip == rip
    # mov byte cs:[FEC9h], 0; rsm: behind the HLT
    guest.put(SMBASE + 0x8000, bytes.fromhex("2ec606c9fe00") + RSM)
    guest.put(rip, b"\x90\x90\xf4")
    guest.signals.pulse_smi()
    assert guest.run() == "halted"
    assert guest.cpu.rip == rip + 3


def test_nmi_waits_in_smm() -> None:
    guest = Guest()
    guest.protected()
    guest.put(SMBASE + 0x8000, b"\x90\x90" + RSM)
    guest.code(b"\x90")
    guest.signals.pulse_smi()
    guest.step()
    guest.signals.pulse_nmi()
    guest.step(1)
    assert guest.cpu.in_smm
    guest.run()
    assert guest.vector() == 2
    assert not guest.cpu.in_smm


def test_forbidden_state_shuts_down() -> None:
    guest = Guest()
    guest.protected()
    guest.put(SMBASE + 0x8000, b"\xf4")
    guest.code(b"\x90")
    guest.signals.pulse_smi()
    guest.run()
    guest.put(SMBASE + 0xFF58, (0x80000000).to_bytes(8, "little"))  # CR0.PG without CR0.PE
    guest.put(SMBASE + 0x8001, RSM)
    guest.cpu.activity = 0
    assert guest.run() == "triple fault"
    assert guest.cpu.activity == 2
