"""Controls of the second and third generation that change or add exits: shadowing, scaling, loops, unblocking
(SDM 3C, 25.6, 26.1.3, 26.3, 28.2)."""

from __future__ import annotations

import struct

from tests.core.bare_machine import STACK
from tests.virt.vmx_guest import GUEST, GUEST_DATA, OTHER, VMCS, VmxGuest
from x86emu.isa.vmx_capabilities import PIN, PRIMARY, SECONDARY
from x86emu.virt.vmx.fields import FIELDS, REVISION

MODEL = "sapphire_rapids"
READ_BITMAP, WRITE_BITMAP = 0x138000, 0x139000
VMREAD, VMWRITE = "0f78ca", "0f79ca"  # vmread rdx, rcx; vmwrite rcx, rdx


def shadowing() -> VmxGuest:
    guest = VmxGuest(MODEL)
    guest.control(SECONDARY, "vmcs_shadowing")
    guest.set(vmread_bitmap=READ_BITMAP, vmwrite_bitmap=WRITE_BITMAP, vmcs_link_pointer=OTHER)
    guest.memory.write(OTHER, struct.pack("<I", REVISION | 1 << 31))
    return guest


def test_vmcs_shadowing() -> None:
    guest = shadowing()
    rip = FIELDS["guest_rip"]
    assert guest.run(VMWRITE + VMREAD.replace("ca", "cb"), rcx=rip.encoding, rdx=0x1234) == 18
    assert guest.cpu.rbx == 0x1234
    assert guest.memory.read(OTHER + rip.offset, 2) == b"\x34\x12"
    # a bit in the bitmap, or an encoding beyond it, exits
    guest.memory.write(READ_BITMAP + (rip.encoding >> 3), bytes([1 << (rip.encoding & 7)]))
    assert guest.run(VMREAD, rcx=rip.encoding) == 23
    assert guest.run(VMREAD, rcx=0x8000) == 23
    assert guest.run(VMWRITE, rcx=rip.encoding) == 18
    # VMfail in the guest names its error in the current VMCS
    guest.set(instruction_error=0)
    assert guest.run(VMREAD, rcx=0x7F00) == 18
    assert guest.get("guest_rflags") & 0x8D5 == 0x40
    assert guest.get("instruction_error") == 12
    guest.set(vmcs_link_pointer=(1 << 64) - 1)
    assert guest.run(VMWRITE, rcx=rip.encoding) == 18
    assert guest.get("guest_rflags") & 0x8D5 == 1


def test_a_shadow_vmcs_cannot_be_run() -> None:
    guest = VmxGuest(MODEL)
    guest.memory.write(VMCS, struct.pack("<I", REVISION | 1 << 31))
    assert guest.pointer("vmptrld", VMCS) == 0
    assert guest.run() is None
    assert guest.error == -1
    guest = VmxGuest("nehalem_ept")
    guest.memory.write(VMCS, struct.pack("<I", REVISION | 1 << 31))
    assert guest.pointer("vmptrld", VMCS) == 0x40
    assert guest.get("instruction_error") == 11


def test_vmwrite_to_a_read_only_field() -> None:
    for model, error in ((MODEL, 0), ("nehalem_ept", 13)):
        guest = VmxGuest(model)
        guest.machine.run(VMWRITE, rcx=FIELDS["exit_reason"].encoding, rdx=7)
        assert guest.error == error


def test_tsc_scaling() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PRIMARY, "use_tsc_offsetting")
    guest.control(SECONDARY, "use_tsc_scaling")
    guest.machine.wrmsr(0x10, 1 << 40)
    guest.set(tsc_multiplier=3 << 47, tsc_offset=0x1000)
    assert guest.run("0f31") == 18
    tsc = guest.cpu.rdx << 32 | guest.cpu.rax
    assert 0 <= tsc - (3 * (1 << 39) + 0x1000) < 1000
    assert guest.run("0f32", rcx=0x10) == 31
    guest.control(PRIMARY, "use_msr_bitmaps")
    assert guest.run("0f32", rcx=0x10) == 18
    assert 0 <= (guest.cpu.rdx << 32 | guest.cpu.rax) - (3 * (1 << 39) + 0x1000) < 2000


def test_a_guest_writes_the_tsc_itself() -> None:
    """Offset and multiplier are for reading (SDM 3C 26.3)."""
    guest = VmxGuest(MODEL)
    guest.control(PRIMARY, "use_tsc_offsetting")
    guest.control(PRIMARY, "use_msr_bitmaps")
    guest.set(tsc_offset=1 << 40)
    assert guest.run("0f30", rcx=0x10, rax=0, rdx=0x10) == 18
    assert 0 <= guest.machine.rdmsr(0x10) - (0x10 << 32) < 100000


def test_pause_loops() -> None:
    guest = VmxGuest(MODEL)
    guest.control(SECONDARY, "pause_loop_exiting")
    guest.set(ple_gap=10, ple_window=50)
    assert guest.run("f390" * 5) == 18  # too short
    assert guest.run("f390ebfc", rcx=0) == 40  # a loop
    assert guest.get("guest_rip") == GUEST
    far = "90" * 30
    assert guest.run(("f390" + far) * 4) == 18  # far from each other


def test_rdpid_needs_rdtscp() -> None:
    guest = VmxGuest(MODEL)
    guest.set(exception_bitmap=1 << 6)
    assert guest.run("f30fc7f8") == 0
    guest.control(SECONDARY, "enable_rdtscp")
    assert guest.run("f30fc7f8") == 18


def test_lmsw_from_memory() -> None:
    guest = VmxGuest(MODEL)
    guest.set(cr0_mask=0xF, cr0_read_shadow=1)
    guest.memory.write(GUEST_DATA, b"\x09\x12")
    assert guest.run("0f0133", rbx=GUEST_DATA) == 28
    assert guest.get("exit_qualification") == 0x1209 << 16 | 0x40 | 3 << 4
    assert guest.get("guest_linear_address") == GUEST_DATA
    guest.memory.write(GUEST_DATA, b"\x01\x12")
    assert guest.run("0f0133", rbx=GUEST_DATA) == 18


def test_vmread_information_with_memory() -> None:
    guest = VmxGuest(MODEL)
    assert guest.run("0f784c9308", rbx=GUEST_DATA, rdx=1) == 23  # vmread [rbx + rdx * 4 + 8], rcx
    assert guest.get("exit_qualification") == 8
    assert guest.get("exit_instruction_information") == 2 | 2 << 7 | 3 << 15 | 2 << 18 | 3 << 23 | 1 << 28


def test_an_iret_that_faults_tells_that_it_unblocked_nmis() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PIN, "nmi_exiting", "virtual_nmis")
    guest.set(guest_interruptibility=8, exception_bitmap=1 << 13, guest_rsp=STACK - 40)
    guest.memory.write(STACK - 40, struct.pack("<5Q", GUEST, 0x1238, 2, 0xE000, 0x10))  # a selector beyond the GDT
    assert guest.run("48cf") == 0
    assert guest.get("exit_interruption_information") == 0x80001B0D
    assert guest.get("guest_interruptibility") == 0
    guest.set(guest_interruptibility=0)
    assert guest.run("48cf") == 0
    assert guest.get("exit_interruption_information") == 0x80000B0D


def test_an_ept_violation_of_an_iret_tells_it_too() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PIN, "nmi_exiting", "virtual_nmis")
    guest.set(guest_interruptibility=8, guest_rsp=GUEST_DATA)
    guest.map_page(GUEST_DATA, 0, 0)
    assert guest.run("48cf") == 48
    assert guest.get("exit_qualification") == 0x1781


def test_the_preemption_timer_wakes_hlt() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PIN, "preemption_timer")
    guest.set(preemption_timer_value=5000)
    before = guest.machine.engine.clock.now()
    assert guest.run("f4") == 52
    assert guest.get("guest_activity") == 1
    assert guest.machine.engine.clock.now() - before >= 5000


def test_the_timer_comes_right_behind_an_injected_event() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PIN, "preemption_timer")
    guest.set(preemption_timer_value=0, entry_interruption_information=0x80000301)
    assert guest.run("90") == 52
    assert guest.get("guest_rip") != GUEST
    guest.set(guest_rip=GUEST, guest_rsp=0xE000, guest_pending_debug=0x1002)
    assert guest.run("90") == 52
    assert guest.get("guest_rip") != GUEST


def test_mtf_behind_a_fault_is_at_the_handler() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PRIMARY, "monitor_trap_flag")
    assert guest.run("0f0b") == 37
    assert guest.get("guest_rip") == 0x6000 + 6  # the stub of #UD


def test_the_tsc_in_msr_lists_has_no_offset() -> None:
    guest = VmxGuest(MODEL)
    guest.control(PRIMARY, "use_tsc_offsetting")
    guest.set(tsc_offset=1 << 40, exit_msr_store_count=1, exit_msr_store_address=GUEST_DATA)
    guest.memory.write(GUEST_DATA, struct.pack("<QQ", 0x10, 0))
    assert guest.run("") == 18
    assert 0 < struct.unpack("<Q", guest.memory.read(GUEST_DATA + 8, 8))[0] < 1 << 30


def test_segment_bases_are_not_for_msr_lists() -> None:
    for number in (0xC0000100, 0xC0000101, 0x800, 0x79):
        guest = VmxGuest(MODEL)
        guest.set(entry_msr_load_count=1, entry_msr_load_address=GUEST_DATA)
        guest.memory.write(GUEST_DATA, struct.pack("<QQ", number, 0))
        assert guest.run("") == 0x80000022
        assert guest.get("exit_qualification") == 1


def test_a_software_interrupt_of_length_0() -> None:
    guest = VmxGuest(MODEL)
    guest.set(entry_interruption_information=0x80000400 | 0x20, entry_instruction_length=0)
    guest.control(PRIMARY, "hlt_exiting")
    assert guest.run("90") == 12
    assert guest.get("guest_rip") == 0x6020  # the stub of vector 20h
    guest = VmxGuest("nehalem_ept")
    guest.set(entry_interruption_information=0x80000400 | 0x20, entry_instruction_length=0)
    assert guest.run("90") is None
    assert guest.error == 7


def test_the_sti_shadow_ends_before_the_next_instruction_is_fetched() -> None:
    # STI and NOP end a page; the next instruction's page exits (SDM 3C, 25.4.2: blocking ends behind the NOP).
    guest = VmxGuest(MODEL)
    guest.memory.write(GUEST + 0xFFE, b"\xfb\x90")
    guest.map_page(GUEST + 0x1000, 0, 0)
    guest.set(guest_rip=GUEST + 0xFFE)
    assert guest.run() == 48
    assert guest.get("guest_rip") == GUEST + 0x1000
    assert guest.get("guest_interruptibility") == 0
    guest.memory.write(GUEST + 0xFFE, b"\x90\xfb")
    guest.set(guest_rip=GUEST + 0xFFE, guest_rflags=2)
    assert guest.run() == 48
    assert guest.get("guest_interruptibility") == 1
