"""MOV to and from control and debug registers, and their checks (SDM 2B MOV; 3A 2.5, 10.8.5; 3B 17.2)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, DATA, PML4, BareMachine

GP = (13, 0)
UD = (6, None)
PE, TS, WP, NW, CD, PG = 1, 8, 0x10000, 0x20000000, 0x40000000, 0x80000000
MOV_CR0_RAX, MOV_CR3_RAX, MOV_CR4_RAX, MOV_CR8_RAX = "0f22c0", "0f22d8", "0f22e0", "440f22c0"


def test_reads_give_the_register() -> None:
    m = BareMachine()
    m.run("0f20c0 0f20d9 0f20e2 440f20c3")
    assert (m.cpu.rax, m.cpu.rcx, m.cpu.rdx, m.cpu.rbx) == (m.cpu.cr0, m.cpu.cr3, m.cpu.cr4, 0)


@pytest.mark.parametrize("n", [1, 5, 6, 7])
def test_control_registers_that_do_not_exist(n: int) -> None:
    assert BareMachine().fault(f"0f20{0xC0 | n << 3:02x}") == UD
    assert BareMachine().fault(f"0f22{0xC0 | n << 3:02x}") == UD


def test_modrm_mod_is_ignored() -> None:
    m = BareMachine()
    m.run("0f2018", rax=1)  # mod 0, rm 0: still CR3 to RAX
    assert m.cpu.rax == PML4


def test_user_mode_may_not() -> None:
    for code in (MOV_CR0_RAX, "0f20c0", "0f21c0", "0f06", "0f01f8"):
        assert BareMachine(cpl=3).fault(code) is not None
    assert BareMachine(cpl=3).fault("0f20c0") == GP
    assert BareMachine(cpl=3).fault("f4") == GP


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (PG | WP | 0x33, None),
        (1 << 32 | PG | 0x33, GP),
        (PG | 0x32, GP),  # paging without protection
        (PG | NW | 0x33, GP),  # NW without CD
        (PG | NW | CD | 0x33, None),
        (0x33, GP),  # paging off in 64-bit mode
    ],
)
def test_cr0_checks_in_64_bit_mode(value: int, fault: tuple[int, int] | None) -> None:
    assert BareMachine().fault(MOV_CR0_RAX, rax=value) == fault


def test_reserved_cr0_bits_are_ignored_and_et_is_fixed() -> None:
    m = BareMachine("protected")
    m.run(MOV_CR0_RAX, rax=0x1000FF81 | TS)
    assert m.cpu.cr0 == 0x39 & ~0x20 | 0x10 | TS or m.cpu.cr0 == PE | TS | 0x10
    m.run("0f06")  # CLTS
    assert not m.cpu.cr0 & TS


def test_the_80386_has_no_wp_and_no_cr4() -> None:
    m = BareMachine("protected", "i80386")
    m.run(MOV_CR0_RAX, rax=WP | CD | PE)
    assert m.cpu.cr0 & 0xFFFFFFEF == PE
    assert m.fault("0f20e0") == UD


def test_entering_long_mode_sets_lma_and_needs_pae() -> None:
    m = BareMachine("protected")
    m.cpu.cr3 = PML4
    m.wrmsr(0xC0000080, 0x100)
    assert m.cpu.efer == 0x100
    assert m.fault(MOV_CR0_RAX, rax=PG | 0x33) == GP
    m.run(MOV_CR4_RAX, rax=0x20)
    m.run(MOV_CR0_RAX, rax=PG | 0x33)
    assert m.cpu.efer == 0x500
    # Compatibility mode may leave again.
    m.run(MOV_CR0_RAX, rax=0x33)
    assert m.cpu.efer == 0x100


def test_cr3_reserved_bits_and_pcid() -> None:
    m = BareMachine()
    assert m.fault(MOV_CR3_RAX, rax=1 << 63 | PML4) == GP
    assert m.fault(MOV_CR3_RAX, rax=1 << 51 | PML4) == GP
    m.run(MOV_CR4_RAX, rax=m.cpu.cr4 | 0x20000)
    m.run(MOV_CR3_RAX, rax=1 << 63 | PML4 | 5)
    assert m.cpu.cr3 == PML4 | 5


def test_pcide_needs_a_zero_pcid_and_holds_paging() -> None:
    m = BareMachine()
    m.run(MOV_CR3_RAX, rax=PML4 | 0x18)
    assert m.fault(MOV_CR4_RAX, rax=m.cpu.cr4 | 0x20000) == GP
    m = BareMachine("protected")
    assert m.fault(MOV_CR4_RAX, rax=0x20020) == GP


@pytest.mark.parametrize(
    ("model", "bit", "fault"),
    [
        ("max", 11, None), ("default,-umip", 11, GP), ("default", 13, GP), ("default,-smep", 20, GP),
        ("default,-smap", 21, GP), ("max", 22, None), ("default", 22, GP), ("default", 18, None), ("max", 30, GP),
        ("max", 12, GP),
    ],
)  # fmt: skip
def test_cr4_bits_by_feature(model: str, bit: int, fault: tuple[int, int] | None) -> None:
    m = BareMachine(model=model)
    assert m.fault(MOV_CR4_RAX, rax=m.cpu.cr4 | 1 << bit) == fault


def test_cr4_pae_holds_in_long_mode() -> None:
    assert BareMachine().fault(MOV_CR4_RAX, rax=0x600) == GP


def test_pae_paging_loads_and_checks_its_pointers() -> None:
    m = BareMachine("protected")
    m.memory.write(0x8000, (DATA | 1).to_bytes(8, "little") + bytes(24))
    m.cpu.cr3 = 0x8000
    m.run(MOV_CR4_RAX, rax=0x20)
    m.memory.write(DATA, (0x83).to_bytes(8, "little"))
    m.run(MOV_CR0_RAX, rax=PG | 0x33)
    m.memory.write(0x8000, (DATA | 1 | 0x20).to_bytes(8, "little"))  # a reserved bit
    assert m.fault(MOV_CR3_RAX, rax=0x8000) == GP


def test_cr8_is_the_task_priority() -> None:
    m = BareMachine(apic=True)
    m.run(MOV_CR8_RAX, rax=9)
    m.run("440f20c3")
    assert m.cpu.rbx == 9
    assert m.fault(MOV_CR8_RAX, rax=16) == GP


def test_lmsw_sets_but_does_not_clear_pe() -> None:
    m = BareMachine("real")
    m.run("0f01f0", rax=0xE)
    assert m.cpu.cr0 & 0xF == 0xE
    m = BareMachine("protected")
    m.run("0f01f0", rax=0)
    assert m.cpu.cr0 & 0xF == PE
    m.memory.write(DATA, b"\x08\x00")
    m.run("0f0133", rbx=DATA)  # LMSW [EBX]
    assert m.cpu.cr0 & 0xF == PE | TS


def test_smsw_widths_and_umip() -> None:
    m = BareMachine()
    m.run("480f01e0 660f01e1 0f0123", rax=-1 & 0xFFFFFFFFFFFFFFFF, rcx=0x1111111111111111, rbx=DATA)
    assert m.cpu.rax == m.cpu.cr0
    assert m.cpu.rcx == 0x1111111111110000 | m.cpu.cr0 & 0xFFFF
    assert m.memory.read(DATA, 4) == (m.cpu.cr0 & 0xFFFF).to_bytes(4, "little")
    m = BareMachine(cpl=3)
    m.run("0f01e0")
    m = BareMachine(cpl=3)
    m.cpu.cr4 |= 0x800
    assert m.fault("0f01e0") == GP


def test_debug_registers() -> None:
    m = BareMachine()
    m.run("0f23f0 0f21f1", rax=0)
    assert m.cpu.rcx == 0xFFFF0FF0
    m.run("0f23f8 0f21f9", rax=0xFFFF0000)
    assert m.cpu.rcx == 0xFFFF0400
    m.run("0f23f8", rax=0)
    m.run("0f23c0 0f21c1", rax=0x123456789A)
    assert m.cpu.rcx == 0x123456789A
    assert m.fault("0f23f8", rax=1 << 32) == GP
    assert m.fault("0f23f0", rax=1 << 32) == GP


def test_dr4_is_dr6_until_debugging_extensions() -> None:
    m = BareMachine()
    m.run("0f21e0 0f21e9")
    assert (m.cpu.rax, m.cpu.rcx) == (0xFFFF0FF0, 0x400)
    m.run(MOV_CR4_RAX, rax=m.cpu.cr4 | 8)
    assert m.fault("0f21e0") == UD


def test_general_detect() -> None:
    m = BareMachine()
    m.run("0f23f8", rax=0x2000)
    assert m.fault("0f21c0") == (1, None)
    assert m.cpu.dr(6) & 0x2000
    assert not m.cpu.dr(7) & 0x2000


def test_invlpg_brings_in_a_changed_mapping() -> None:
    m = BareMachine()
    m.memory.write(DATA, b"A")
    m.memory.write(0x200000 + DATA, b"B")
    m.run("8a03", rbx=DATA)
    assert m.cpu.rax & 0xFF == ord("A")
    # Map the second 2 MiB through a second entry, first to frame 0, then to frame 1.
    linear = 0x200000 + DATA
    m.memory.write(0x3008, (0x87).to_bytes(8, "little"))
    m.run("0f013b 8a03", rbx=linear)
    assert m.cpu.rax & 0xFF == ord("A")
    m.memory.write(0x3008, (0x200087).to_bytes(8, "little"))
    m.run("0f013b 8a03", rbx=linear)
    assert m.cpu.rax & 0xFF == ord("B")


def test_invpcid_checks() -> None:
    m = BareMachine()
    m.memory.write(DATA, bytes(16))
    for kind in range(4):
        assert m.fault("660f388203", rax=kind, rbx=DATA) is None
    assert m.fault("660f388203", rax=4, rbx=DATA) == GP
    m.memory.write(DATA, (5).to_bytes(8, "little") + bytes(8))
    assert m.fault("660f388203", rax=1, rbx=DATA) == GP  # a PCID without CR4.PCIDE
    m.memory.write(DATA, bytes(8) + (1 << 63).to_bytes(8, "little"))
    assert m.fault("660f388203", rax=0, rbx=DATA) == GP  # not canonical
    assert m.fault("660f388203", rax=2, rbx=DATA) is None


def test_stac_and_clac() -> None:
    m = BareMachine()
    m.run("0f01cb")
    assert m.cpu.rflags & 0x40000
    m.run("0f01ca")
    assert not m.cpu.rflags & 0x40000
    assert BareMachine(cpl=3).fault("0f01cb") == UD
    assert BareMachine(model="default,-smap").fault("0f01cb") == UD


def test_protection_key_rights() -> None:
    m = BareMachine()
    assert m.fault("0f01ee", rcx=0) == UD
    m = BareMachine()
    m.run(MOV_CR4_RAX, rax=m.cpu.cr4 | 0x400000)
    m.run("0f01ef", rax=0x55555554, rcx=0, rdx=0)
    assert m.cpu.pkru == 0x55555554
    m.run("0f01ee", rcx=0, rax=0, rdx=7)
    assert (m.cpu.rax, m.cpu.rdx) == (0x55555554, 0)
    assert m.fault("0f01ef", rcx=1) == GP
    assert m.fault("0f01ef", rcx=0, rdx=1) == GP


def test_xsetbv_and_xgetbv() -> None:
    m = BareMachine()
    assert m.fault("0f01d0", rcx=0) == UD
    m = BareMachine()
    m.run(MOV_CR4_RAX, rax=m.cpu.cr4 | 0x40000)
    m.run("0f01d1", rax=3, rdx=0, rcx=0)
    m.run("0f01d0", rcx=0)
    assert (m.cpu.rax, m.cpu.rdx) == (3, 0)
    for value in (2, 0, 5, 0x8003):
        assert m.fault("0f01d1", rax=value, rdx=0, rcx=0) == GP
    assert m.fault("0f01d1", rax=3, rdx=0, rcx=1) == GP
    assert m.fault("0f01d0", rcx=2) == GP


def test_halt_waits_and_rip_is_behind() -> None:
    m = BareMachine()
    m.run("90")
    assert m.cpu.activity == 1
    assert m.cpu.rip == CODE + 2


@pytest.mark.parametrize(
    ("model", "kept"), [("i80386", 0), ("pentium", 0x240000), ("pentium,-cpuid", 0x40000), ("max", 0x240000)]
)
def test_flags_tell_the_generation(model: str, kept: int) -> None:
    m = BareMachine("protected", model)
    m.run("68 02002400 9d 9c 58")  # push 240002h (AC and ID); popfd; pushfd; pop eax
    assert m.cpu.rax & 0x240000 == kept
