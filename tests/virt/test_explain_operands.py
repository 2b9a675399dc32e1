"""Explanations of exits name what the guest's instruction was about: MSRs, ports' data, fields, addresses, VMCSs."""

from __future__ import annotations

import struct

import pytest

from tests.virt.svm_guest import IO_MAP, RUN, SvmGuest
from tests.virt.vmx_guest import GUEST_DATA, OTHER, VmxGuest
from x86emu.isa.vmx_capabilities import PRIMARY, SECONDARY
from x86emu.virt.collect import Recorder, collect, last_exit
from x86emu.virt.explain import explain, render
from x86emu.virt.operands import field_name, memory_operand, msr_name
from x86emu.virt.vmx.fields import FIELDS, REVISION

VMX = [
    # guest code, control of the primary controls, registers, words
    ("0f32", "", {"rcx": 0xC0000080}, "RDMSR EFER (0xc0000080)"),
    ("0f30", "", {"rcx": 0xC0000082, "rax": 0x1234, "rdx": 0x55}, "WRMSR LSTAR (0xc0000082) = 0x5500001234"),
    ("0fa2", "", {"rax": 7, "rcx": 1}, "leaf 0x7, 0x1"),
    ("0f01c1", "", {"rax": 11}, "RAX 0xb"),
    ("0f22da", "cr3_load_exiting", {"rdx": 0x7000}, "MOV to CR3; CR3 = 0x7000"),
    ("0f23fb", "mov_dr_exiting", {"rbx": 0x455}, "DR7 = 0x455"),
    ("ef", "unconditional_io_exiting", {"rdx": 0x3F8, "rax": 0x12345678}, "data 0x12345678"),
    ("0f79c8", "", {"rcx": 0x681E, "rax": 0x99}, "field guest_rip = 0x99"),
    ("0f78c8", "", {"rcx": 0x4402}, "field exit_reason"),
    ("0f78c8", "", {"rcx": 0x2011}, "field high half of tsc_offset"),
    ("0f78c8", "", {"rcx": 0x7FFE}, "field no known field, encoding 0x7ffe"),
    ("660f38810b", "", {"rbx": GUEST_DATA, "rcx": 1}, "type 0x1 (one VPID)"),
    ("660f38800b", "", {"rbx": GUEST_DATA, "rcx": 9}, "type 0x9"),
]  # fmt: skip
SVM = [
    ("0f32", {"intercept_misc1": 1 << 28}, {"rcx": 0xC0000080}, "RDMSR EFER (0xc0000080)"),
    ("b8341200000f30", {"intercept_misc1": 1 << 28}, {"rcx": 0xC0000082, "rdx": 0x55},
     "WRMSR LSTAR (0xc0000082) = 0x5500001234"),
    ("b8070000000fa2", {"intercept_misc1": 1 << 18}, {"rcx": 1}, "leaf 0x7, 0x1"),
    ("0f22da", {"intercept_cr_write": 1 << 3}, {"rdx": 0x7000}, "CR3 = 0x7000"),
    ("b842000000e680", {"intercept_misc1": 1 << 27}, {}, "OUT port 0x80, 1 bytes; data 0x42"),
    ("b8005000000f01df", {"intercept_misc1": 1 << 26}, {"rcx": 3}, "address 0x5000, ASID 0x3"),
    ("b8005000000f01da", {"intercept_misc2": 7}, {}, "control block at guest-physical 0x5000"),
    ("b80b0000000f01d9", {}, {}, "RAX 0xb"),
]  # fmt: skip


def recorder(guest: SvmGuest | VmxGuest) -> Recorder:
    found = Recorder(guest.memory)
    guest.machine.engine.set_exit_hook(found)
    return found


@pytest.mark.parametrize(("code", "control", "registers", "words"), VMX, ids=[row[3] for row in VMX])
def test_vmx_operands(code: str, control: str, registers: dict[str, int], words: str) -> None:
    guest = VmxGuest()
    if control:
        guest.control(PRIMARY, control)
    seen = recorder(guest)
    guest.run("90" + code, **registers)
    assert f"; {words}" in explain(guest.cpu, guest.memory, 1, recorder=seen)


@pytest.mark.parametrize(("code", "fields", "registers", "words"), SVM, ids=[row[3] for row in SVM])
def test_svm_operands(code: str, fields: dict[str, int], registers: dict[str, int], words: str) -> None:
    guest = SvmGuest()
    guest.memory.write(IO_MAP, b"\xff" * 0x6000)
    guest.set(**fields)
    seen = recorder(guest)
    guest.run("90" + code, RUN, 100000, **registers)
    assert f"; {words}" in explain(guest.cpu, guest.memory, 1, recorder=seen)


def test_exception_with_error_code() -> None:
    guest = VmxGuest()
    guest.set(exception_bitmap=1 << 14, guest_dr7=0x400)
    assert guest.run("90c7042500008000" + "01000000") == 0
    assert "#PF, error code 0x2, address 0x800000" in explain(guest.cpu, guest.memory, 1)


def test_memory_operand_is_walked() -> None:
    guest = VmxGuest()
    guest.memory.write(GUEST_DATA + 0x28, struct.pack("<Q", OTHER))
    seen = recorder(guest)
    guest.run("900fc774cb08", rbx=GUEST_DATA, rcx=4)  # vmptrld [rbx+rcx*8+8]
    found = collect(guest.cpu, guest.memory, recorder=seen)
    record = found["exits"][-1]
    assert memory_operand(record) == GUEST_DATA + 0x28
    data = record["data_address"]
    assert (data["linear"], data["guest_physical"], data["physical"]) == (GUEST_DATA + 0x28,) * 3
    assert f"the guest's VMPTRLD names the region at guest-physical {OTHER:#x}, physical {OTHER:#x}" in render(found, 1)
    records: list[dict[str, object]] = []
    guest.machine.engine.set_exit_hook(lambda cpu: records.append(last_exit(cpu)))
    guest.run("90640fc733", rbx=GUEST_DATA)  # with the base of FS, which the record does not have
    assert memory_operand(records[0]) is None
    assert memory_operand(guest.cpu.exit_records(1)[0]) is None
    seen = recorder(guest)
    guest.map_page(OTHER & ~0xFFF, 0, 0)
    guest.run("900fc774cb08", rbx=GUEST_DATA, rcx=4)
    words = explain(guest.cpu, guest.memory, 1, recorder=seen)
    assert f"names the region at guest-physical {OTHER:#x}, which is not mapped" in words


def test_entry_of_a_guests_guest_with_shadow_vmcs() -> None:
    guest = VmxGuest("sapphire_rapids")
    guest.memory.write(OTHER, struct.pack("<I", REVISION | 1 << 31))
    guest.memory.write(OTHER + FIELDS["guest_rip"].offset, struct.pack("<Q", 0xFFFFFFFF81000000))
    guest.set(vmcs_link_pointer=OTHER, vmread_bitmap=GUEST_DATA, vmwrite_bitmap=GUEST_DATA)
    guest.control(SECONDARY, "vmcs_shadowing")
    assert guest.run("900f01c3") == 24
    words = explain(guest.cpu, guest.memory, 1, blocks=True)
    assert f"the guest's VMCS is shadowed at physical {OTHER:#x}: guest RIP 0xffffffff81000000" in words
    assert f"'s shadow VMCS {OTHER:#x}:" in words


def test_names() -> None:
    assert msr_name(0x480) == "VMX_CAPABILITY (0x480)"
    assert msr_name(0x12345678) == "MSR 0x12345678"
    assert field_name(0x6C16) == "host_rip"
