"""VM exits one at a time: reason, qualification, length, what is saved (SDM 3C, 26 and 28)."""

from __future__ import annotations

import struct

import pytest

from tests.virt.vmx_guest import BITMAPS, GUEST, GUEST_DATA, HOST_RIP, LIST, RESUME, VmxGuest
from x86emu.isa.vmx_capabilities import ENTRY, EXIT, PIN, PRIMARY, SECONDARY

CASES = [
    # guest code, control table, control, registers, reason, qualification, length
    ("0fa2", None, "", {}, 10, 0, 2),
    ("f4", PRIMARY, "hlt_exiting", {}, 12, 0, 1),
    ("0f08", None, "", {}, 13, 0, 2),
    ("0f013b", PRIMARY, "invlpg_exiting", {"rbx": 0x123456}, 14, 0x123456, 3),
    ("0f33", PRIMARY, "rdpmc_exiting", {}, 15, 0, 2),
    ("0f31", PRIMARY, "rdtsc_exiting", {}, 16, 0, 2),
    ("0f01c1", None, "", {}, 18, 0, 3),
    ("660fc733", None, "", {"rbx": GUEST_DATA}, 19, 0, 4),
    ("0f01c2", None, "", {}, 20, 0, 3),
    ("0fc77310", None, "", {"rbx": GUEST_DATA}, 21, 0x10, 4),
    ("0fc73b", None, "", {"rbx": GUEST_DATA}, 22, 0, 3),
    ("0f78c8", None, "", {}, 23, 0, 3),
    ("0f01c3", None, "", {}, 24, 0, 3),
    ("0f79c8", None, "", {}, 25, 0, 3),
    ("0f01c4", None, "", {}, 26, 0, 3),
    ("f30fc733", None, "", {"rbx": GUEST_DATA}, 27, 0, 4),
    ("0f22d8", PRIMARY, "cr3_load_exiting", {"rax": 0}, 28, 3, 3),
    ("0f20d9", PRIMARY, "cr3_store_exiting", {}, 28, 0x113, 3),
    ("440f22c0", PRIMARY, "cr8_load_exiting", {"rax": 1}, 28, 8, 4),
    ("440f20c1", PRIMARY, "cr8_store_exiting", {}, 28, 0x118, 4),
    ("0f21fb", PRIMARY, "mov_dr_exiting", {}, 29, 0x317, 3),
    ("0f23c0", PRIMARY, "mov_dr_exiting", {}, 29, 0, 3),
    ("e471", PRIMARY, "unconditional_io_exiting", {}, 30, 0x710048, 2),
    ("ef", PRIMARY, "unconditional_io_exiting", {"rdx": 0x3F8}, 30, 0x3F80003, 1),
    ("f36e", PRIMARY, "unconditional_io_exiting", {"rdx": 0x3F8, "rcx": 2, "rsi": GUEST_DATA}, 30, 0x3F80030, 2),
    ("0f32", None, "", {"rcx": 0xC0000080}, 31, 0, 2),
    ("0f30", None, "", {"rcx": 0xC0000080}, 32, 0, 2),
    ("0f01c9", PRIMARY, "mwait_exiting", {"rax": 0, "rcx": 0}, 36, 0, 3),
    ("0f01c8", PRIMARY, "monitor_exiting", {"rax": GUEST_DATA, "rcx": 0}, 39, 0, 3),
    ("f390", PRIMARY, "pause_exiting", {}, 40, 0, 2),
    ("0f0113", SECONDARY, "descriptor_table_exiting", {"rbx": GUEST_DATA}, 46, 0, 3),
    ("0f00d0", SECONDARY, "descriptor_table_exiting", {}, 47, 0, 3),
    ("660f38800b", None, "", {"rbx": GUEST_DATA}, 50, 0, 5),
    ("660f38810b", None, "", {"rbx": GUEST_DATA}, 53, 0, 5),
    ("0f09", SECONDARY, "wbinvd_exiting", {}, 54, 0, 2),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_instruction_exits(case: tuple[str, dict[str, int] | None, str, dict[str, int], int, int, int]) -> None:
    code, table, control, registers, reason, qualification, length = case
    guest = VmxGuest()
    if table is not None:
        guest.control(table, control)
    # a NOP first, so that the instruction is not the first of its trace
    assert guest.run("90" + code, **registers) == reason
    assert guest.get("exit_qualification") == qualification
    assert guest.get("exit_instruction_length") == length
    assert guest.get("guest_rip") == GUEST + 1
    assert guest.get("exit_interruption_information") == 0
    assert guest.get("idt_vectoring_information") == 0


# Without an exit these halt, wait, fault, or need a board or another operand.
_ONLY_FOR_THE_EXIT = {
    "f4",
    "0f33",
    "e471",
    "ef",
    "f36e",
    "0f01c9",
    "0f22d8",
    "0f0113",
    "0f00d0",
    "440f22c0",
    "440f20c1",
}


@pytest.mark.parametrize(
    "case", [case for case in CASES if case[1] and case[0] not in _ONLY_FOR_THE_EXIT], ids=lambda case: case[0]
)
def test_without_the_control_there_is_no_exit(case: tuple[str, object, str, dict[str, int], int, int, int]) -> None:
    code, registers = case[0], case[3]
    guest = VmxGuest()
    assert guest.run(code, **registers) == 18
    assert guest.get("guest_rip") == GUEST + len(code) // 2


def test_instruction_information() -> None:
    guest = VmxGuest()
    assert guest.run("660fc774cb10", rbx=GUEST_DATA, rcx=2) == 19
    assert guest.get("exit_qualification") == 0x10
    assert guest.get("exit_instruction_information") == 3 | 2 << 7 | 3 << 15 | 1 << 18 | 3 << 23
    guest = VmxGuest()
    assert guest.run("0f78ca") == 23  # VMREAD rdx, rcx
    assert guest.get("exit_instruction_information") == 1 << 10 | 2 << 3 | 1 << 28


def test_state_is_saved_and_loaded() -> None:
    guest = VmxGuest()
    guest.set(guest_fs_base=0x1234, host_fs_base=0x5678, host_sysenter_eip=0x9999, guest_sysenter_eip=0x4444)
    assert guest.run("b877000000bc00d00000f9") == 18
    assert guest.cpu.rax == 0x77
    assert guest.get("guest_rsp") == 0xD000
    assert guest.get("guest_rflags") & 1
    assert guest.get("guest_fs_base") == 0x1234
    assert guest.cpu.fs.base == 0x5678
    assert guest.cpu.rip == HOST_RIP + 1
    assert guest.machine.rdmsr(0x176) == 0x9999


def test_resume_goes_on() -> None:
    guest = VmxGuest()
    assert guest.run("0fa2ffc0") == 10
    guest.set(guest_rip=GUEST + 2)
    assert guest.enter(RESUME, rax=5) == 18
    assert guest.cpu.rax == 6


@pytest.mark.parametrize(("code", "vector", "error"), [("0f0b", 6, None), ("cc", 3, None), ("f1", 1, None)])
def test_exceptions(code: str, vector: int, error: int | None) -> None:
    guest = VmxGuest()
    guest.set(exception_bitmap=1 << vector)
    assert guest.run(code) == 0
    information = guest.get("exit_interruption_information")
    kind = {6: 3, 3: 6, 1: 5}[vector]
    assert information == 0x80000000 | kind << 8 | vector
    assert guest.get("guest_rip") == GUEST
    assert guest.get("exit_instruction_length") == (0 if vector == 6 else 1)


@pytest.mark.parametrize(("mask", "match", "bitmap", "exits"), [
    (0, 0, 1 << 14, True), (0, 0, 0, False), (1, 1, 1 << 14, False), (1, 1, 0, True), (2, 2, 1 << 14, True),
])  # fmt: skip
def test_page_faults_by_error_code(mask: int, match: int, bitmap: int, exits: bool) -> None:
    guest = VmxGuest()
    guest.set(exception_bitmap=bitmap, page_fault_error_code_mask=mask, page_fault_error_code_match=match)
    guest.control(PRIMARY, "hlt_exiting")  # the guest's own handler is a HLT
    reason = guest.run("c70300000000", rbx=0x40000000)  # a write to a page that is not present: error code 2
    if exits:
        assert reason == 0
        assert guest.get("exit_interruption_information") == 0x80000B0E
        assert guest.get("exit_interruption_error_code") == 2
        assert guest.get("exit_qualification") == 0x40000000
    else:
        assert reason == 12
        assert guest.get("guest_cr3") and guest.cpu.cr2 == 0x40000000


def test_triple_fault() -> None:
    guest = VmxGuest()
    guest.set(guest_idtr_limit=0)
    assert guest.run("0f0b") == 2


def test_ept_violation_of_data() -> None:
    guest = VmxGuest()
    guest.map_page(GUEST_DATA, 0, 0)
    assert guest.run("8b03", rbx=GUEST_DATA + 8) == 48
    assert guest.get("exit_qualification") == 0x181
    assert guest.get("guest_physical_address") == GUEST_DATA + 8
    assert guest.get("guest_linear_address") == GUEST_DATA + 8
    guest = VmxGuest()
    guest.map_page(GUEST_DATA, GUEST_DATA, 1)
    assert guest.run("8903", rbx=GUEST_DATA + 8) == 48
    assert guest.get("exit_qualification") == 0x18A
    guest.map_page(GUEST_DATA, GUEST_DATA, 7)
    assert guest.enter(RESUME, rax=0x55AA) == 18
    assert guest.memory.read(GUEST_DATA + 8, 4) == struct.pack("<I", 0x55AA)


def test_ept_violation_of_a_fetch_and_of_a_table() -> None:
    guest = VmxGuest()
    guest.map_page(GUEST, GUEST, 3)
    assert guest.run() == 48
    assert guest.get("exit_qualification") == 0x19C
    guest = VmxGuest()
    guest.map_page(0x2000, 0, 0)
    assert guest.run() == 48
    assert guest.get("exit_qualification") & 0x187 == 0x81
    assert guest.get("guest_physical_address") == 0x2000


def test_execute_only_pages() -> None:
    guest = VmxGuest()
    guest.map_page(GUEST, GUEST, 4)
    assert guest.run("90") == 18
    guest = VmxGuest()
    guest.map_page(GUEST, GUEST, 4)
    assert guest.run("8b03", rbx=GUEST) == 48
    assert guest.get("exit_qualification") == 0x1A1


@pytest.mark.parametrize("entry", [GUEST_DATA | 2, GUEST_DATA | 6 | 0x30, GUEST_DATA | 7 | 0x10, 1 << 45 | 7])
def test_ept_misconfigurations(entry: int) -> None:
    guest = VmxGuest()
    guest.map_page(GUEST_DATA, entry & ~0xFFF, entry & 0xFFF)
    guest.memory.write(0x113000 + (GUEST_DATA >> 12) * 8, struct.pack("<Q", entry))
    assert guest.run("8b03", rbx=GUEST_DATA) == 49
    assert guest.get("guest_physical_address") == GUEST_DATA


def test_injection() -> None:
    guest = VmxGuest()
    guest.set(entry_interruption_information=0x80000306, exception_bitmap=1 << 6)
    # the bitmap does not count for an injected event; its handler is a HLT
    guest.control(PRIMARY, "hlt_exiting")
    assert guest.run() == 12
    assert guest.get("guest_rip") == 0x6000 + 6
    assert guest.get("entry_interruption_information") == 0x306


def test_injection_that_faults_tells_idt_vectoring() -> None:
    guest = VmxGuest()
    guest.set(entry_interruption_information=0x80000306, guest_rsp=0x40000000, exception_bitmap=1 << 14)
    assert guest.run() == 0
    assert guest.get("idt_vectoring_information") == 0x80000306
    assert guest.get("exit_interruption_information") == 0x80000B0E


def test_control_register_masks_and_shadows() -> None:
    guest = VmxGuest()
    guest.set(cr0_mask=0x8, cr0_read_shadow=0x8)
    assert guest.run("0f20c0") == 18  # MOV EAX, CR0 sees the shadow's TS
    assert guest.cpu.rax == guest.get("guest_cr0") | 8
    assert guest.run("0f06") == 28  # CLTS of a bit that the host owns
    assert guest.get("exit_qualification") == 0x20
    assert guest.run("0f22c0", rax=guest.get("guest_cr0")) == 28
    assert guest.run("0f22c0", rax=guest.get("guest_cr0") | 8) == 18
    guest.set(cr3_target_count=1, cr3_target_0=guest.get("guest_cr3"))
    guest.control(PRIMARY, "cr3_load_exiting")
    assert guest.run("0f22d8", rax=guest.get("guest_cr3")) == 18


def test_msr_and_io_bitmaps() -> None:
    guest = VmxGuest()
    guest.control(PRIMARY, "use_msr_bitmaps", "use_io_bitmaps")
    guest.memory.write(BITMAPS, bytes(0x3000))
    assert guest.run("0f32", rcx=0xC0000080) == 18
    guest.memory.write(BITMAPS + 0x2000 + 1024 + (0x80 >> 3), b"\x01")
    assert guest.run("0f32", rcx=0xC0000080) == 31
    assert guest.run("0f30", rcx=0xC0000080, rax=0xD01, rdx=0) == 18
    assert guest.run("0f32", rcx=0x40000000) == 31
    guest.memory.write(BITMAPS + (0x71 >> 3), b"\x02")
    assert guest.run("e570") == 30  # a word or more that reaches the port
    guest.memory.write(BITMAPS + 0x1000 + (0x7FF8 >> 3), b"\x01")
    assert guest.run("ec", rdx=0xFFF8) == 30


def test_interrupt_and_nmi_windows() -> None:
    guest = VmxGuest()
    guest.control(PRIMARY, "interrupt_window_exiting")
    assert guest.run("9090fb9090") == 7
    assert guest.get("guest_rip") == GUEST + 4  # one instruction behind STI
    guest = VmxGuest()
    guest.control(PIN, "nmi_exiting", "virtual_nmis")
    guest.control(PRIMARY, "nmi_window_exiting")
    assert guest.run("90") == 8
    assert guest.get("guest_rip") == GUEST


def test_monitor_trap_flag() -> None:
    guest = VmxGuest()
    guest.control(PRIMARY, "monitor_trap_flag")
    assert guest.run("90ffc0") == 37
    assert guest.get("guest_rip") == GUEST + 1
    assert guest.enter(RESUME) == 37
    assert guest.get("guest_rip") == GUEST + 3


def test_preemption_timer() -> None:
    guest = VmxGuest()
    guest.control(PIN, "preemption_timer")
    guest.control(EXIT, "save_preemption_timer")
    guest.set(preemption_timer_value=0)
    assert guest.run("90") == 52
    assert guest.get("guest_rip") == GUEST
    guest.set(preemption_timer_value=100)
    assert guest.run("ebfe") == 52
    assert guest.get("preemption_timer_value") == 0
    guest.set(preemption_timer_value=1000)
    assert guest.run("90") == 18
    assert 0 < guest.get("preemption_timer_value") <= 1000


def test_tsc_offset() -> None:
    guest = VmxGuest()
    guest.control(PRIMARY, "use_tsc_offsetting")
    guest.set(tsc_offset=1 << 60)
    assert guest.run("0f31") == 18
    assert guest.cpu.rdx >> 28 == 1


def test_msr_lists() -> None:
    guest = VmxGuest()
    entry = struct.pack("<IIQ", 0xC0000081, 0, 0x1122334455667788)
    guest.memory.write(LIST, entry)
    guest.memory.write(LIST + 0x100, struct.pack("<IIQ", 0xC0000081, 0, 0))
    guest.memory.write(LIST + 0x200, struct.pack("<IIQ", 0xC0000081, 0, 0x99))
    guest.set(entry_msr_load_address=LIST, entry_msr_load_count=1, exit_msr_store_address=LIST + 0x100,
              exit_msr_store_count=1, exit_msr_load_address=LIST + 0x200, exit_msr_load_count=1)  # fmt: skip
    assert guest.run() == 18
    assert guest.memory.read(LIST + 0x108, 8) == struct.pack("<Q", 0x1122334455667788)
    assert guest.machine.rdmsr(0xC0000081) == 0x99
    guest.memory.write(LIST, struct.pack("<IIQ", 0xC0000100, 0, 0))
    assert guest.run() == 0x80000022
    assert guest.get("exit_qualification") == 1


def test_apic_access_page_and_tpr_shadow() -> None:
    guest = VmxGuest()
    guest.control(SECONDARY, "virtualize_apic_accesses")
    guest.control(PRIMARY, "use_tpr_shadow")
    page, shadow = 0x140000, 0x141000
    guest.set(apic_access_address=page, virtual_apic_address=shadow)
    guest.memory.write(shadow + 0x80, b"\x50")
    assert guest.run("8b03", rbx=page + 0x80) == 18
    assert guest.cpu.rax == 0x50
    assert guest.run("8b03", rbx=page + 0x20) == 44
    assert guest.get("exit_qualification") == 0x20
    assert guest.run("8903", rbx=page + 0x300) == 44
    assert guest.get("exit_qualification") == 0x1300
    guest.set(tpr_threshold=4)
    assert guest.run("440f22c0", rax=3) == 43
    assert guest.memory.read(shadow + 0x80, 1) == b"\x30"
    assert guest.get("guest_rip") == GUEST + 4


def test_a_guest_without_ept_uses_the_same_memory() -> None:
    guest = VmxGuest("pentium4_vtx")
    assert guest.run("c70399000000", rbx=GUEST_DATA) == 18
    assert guest.memory.read(GUEST_DATA, 4) == b"\x99\0\0\0"


def test_vpid_keeps_translations_apart() -> None:
    guest = VmxGuest()
    guest.control(SECONDARY, "enable_vpid")
    guest.set(virtual_processor_id=1)
    guest.memory.write(GUEST_DATA, b"\x11")
    assert guest.run("8a03", rbx=GUEST_DATA) == 18
    assert guest.cpu.rax & 0xFF == 0x11
    guest.map_page(GUEST_DATA, GUEST_DATA + 0x1000)
    guest.memory.write(GUEST_DATA + 0x1000, b"\x22")
    guest.memory.write(0x104000, struct.pack("<QQ", guest.get("ept_pointer"), 0))
    guest.machine.run("660f38800b", rcx=1, rbx=0x104000)  # INVEPT, one context
    assert guest.run("8a03", rbx=GUEST_DATA) == 18
    assert guest.cpu.rax & 0xFF == 0x22


def test_entry_control_for_ia32e_mode_follows_lma() -> None:
    guest = VmxGuest()
    guest.run()
    assert guest.get("entry_controls") >> ENTRY["ia32e_mode_guest"] & 1
