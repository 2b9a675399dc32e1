"""VMX instructions in root operation: faults and every VM-instruction error that can occur (SDM 3C, 31)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import BareMachine, Fault
from tests.virt.vmx_guest import CF, LAUNCH, OTHER, POINTER, RESUME, VMCS, VMXON, ZF, VmxGuest
from x86emu.isa.vmx_capabilities import capability_msrs, exists
from x86emu.virt.vmx.fields import FIELDS


def failure(guest: VmxGuest, code: str, **registers: int) -> int:
    guest.machine.run(code, **registers)
    return guest.error


def test_vmxon_needs_cr4_and_the_feature_control_msr() -> None:
    machine = BareMachine("long", "nehalem_ept")
    with pytest.raises(Fault) as fault:
        machine.run("f30fc733", rbx=POINTER)
    assert fault.value.args == (6, None)
    machine.cpu.cr4 = machine.cpu.cr4 | 0x2000
    assert machine.fault("f30fc733", rbx=POINTER) == (13, 0)


def test_instructions_are_undefined_outside_vmx_operation() -> None:
    guest = VmxGuest(on=False)
    for code in ("0f01c1", "0f01c2", "0f01c3", "0f01c4", "0fc733", "660fc733", "0fc73b", "0f78c8", "0f79c8"):
        assert guest.machine.fault(code, rbx=POINTER) == (6, None), code


def test_a_model_without_vmx_has_no_instructions() -> None:
    assert BareMachine("long", "epyc_genoa").fault("0f01c1") == (6, None)


def test_vmxon_with_a_bad_region_fails_without_a_number() -> None:
    guest = VmxGuest(on=False)
    assert guest.pointer("vmxon", 1) == CF
    assert guest.pointer("vmxon", 1 << 45) == CF
    guest.memory.write(VMXON, struct.pack("<I", 0x77))
    assert guest.pointer("vmxon", VMXON) == CF


def test_without_a_current_vmcs_failures_are_invalid() -> None:
    guest = VmxGuest()
    assert guest.pointer("vmclear", VMCS) == 0
    assert failure(guest, LAUNCH) == -1
    assert failure(guest, "0f78c8", rcx=0x681E) == -1
    guest.machine.run("0fc73b", rbx=POINTER)
    assert guest.memory.read(POINTER, 8) == b"\xff" * 8


@pytest.mark.parametrize(
    ("instruction", "address", "number"),
    [
        ("vmclear", 0x800, 2), ("vmclear", 1 << 45, 2), ("vmclear", VMXON, 3), ("vmptrld", 0x10, 9),
        ("vmptrld", 1 << 45, 9), ("vmptrld", VMXON, 10), ("vmptrld", 0x140000, 11), ("vmptrld", 3 << 30, 11),
        ("vmxon", OTHER, 15),
    ],
)  # fmt: skip
def test_pointer_errors(instruction: str, address: int, number: int) -> None:
    guest = VmxGuest()
    assert guest.pointer(instruction, address) == ZF
    assert guest.error == number


def test_vmptrld_of_a_shadow_vmcs() -> None:
    guest = VmxGuest()
    guest.memory.write(OTHER, struct.pack("<I", 0x80000031))
    guest.pointer("vmptrld", OTHER)
    assert guest.error == 11


def test_vmptrst_tells_the_current_vmcs() -> None:
    guest = VmxGuest()
    guest.machine.run("0fc73b", rbx=POINTER)
    assert struct.unpack("<Q", guest.memory.read(POINTER, 8)) == (VMCS,)


def test_launch_states() -> None:
    guest = VmxGuest()
    assert failure(guest, RESUME) == 5
    assert guest.run() == 18
    assert failure(guest, LAUNCH) == 4
    guest.set(guest_rip=guest.get("guest_rip"))
    assert guest.enter(RESUME) == 18
    guest.pointer("vmclear", VMCS)
    guest.pointer("vmptrld", VMCS)
    assert failure(guest, RESUME) == 5


def test_vmcall_in_root_operation() -> None:
    assert failure(VmxGuest(), "0f01c1") == 1


def test_entry_while_mov_ss_blocks_events() -> None:
    assert failure(VmxGuest(), "8ed0" + LAUNCH, rax=0x10) == 26


def test_unsupported_and_read_only_fields() -> None:
    guest = VmxGuest()
    for encoding in (0x681F, 0x7000, 0x10000, 0x4C02, 0x2014 + 0x100, 1 << 40):
        assert failure(guest, "480f78c8".replace("48", "", 1), rcx=encoding) == 12, hex(encoding)
        assert failure(guest, "0f79c8", rcx=encoding, rax=1) == 12, hex(encoding)
    assert failure(guest, "0f79c8", rcx=0x4402, rax=1) == 13


def test_fields_of_absent_controls_do_not_exist() -> None:
    guest = VmxGuest("pentium4_vtx")
    for name in ("ept_pointer", "virtual_processor_id", "secondary_controls", "guest_efer", "preemption_timer_value"):
        assert failure(guest, "0f78c8", rcx=FIELDS[name].encoding) == 12, name
    assert failure(guest, "0f78c8", rcx=FIELDS["guest_rip"].encoding) == 0


def test_every_field_reads_back_in_its_width() -> None:
    guest = VmxGuest()
    for field in FIELDS.values():
        if field.kind == "read-only":
            continue
        guest.machine.run("0f79c8", rcx=field.encoding, rax=0x123456789ABCDEF0)
        if guest.error == 12:
            continue
        guest.machine.run("0f78ca", rcx=field.encoding, rdx=0)
        width = field.width or 64
        assert guest.cpu.rdx == 0x123456789ABCDEF0 & ((1 << width) - 1), field.name
        assert guest.get(field.name) == guest.cpu.rdx


def test_upper_halves() -> None:
    guest = VmxGuest()
    guest.machine.run("0f79c8", rcx=0x2010, rax=0x1111111122222222)
    guest.machine.run("0f79c8", rcx=0x2011, rax=0x33333333)
    assert guest.get("tsc_offset") == 0x3333333322222222
    guest.machine.run("0f78ca", rcx=0x2011)
    assert guest.cpu.rdx == 0x33333333


def test_vmread_to_memory() -> None:
    guest = VmxGuest()
    guest.machine.run("0f780b", rcx=FIELDS["guest_rip"].encoding, rbx=POINTER)
    assert struct.unpack("<Q", guest.memory.read(POINTER, 8)) == (guest.get("guest_rip"),)


def test_invept_and_invvpid_operands() -> None:
    guest = VmxGuest()
    guest.memory.write(POINTER, struct.pack("<QQ", guest.get("ept_pointer"), 0))
    assert failure(guest, "660f38800b", rcx=1, rbx=POINTER) == 0
    assert failure(guest, "660f38800b", rcx=2, rbx=POINTER) == 0
    assert failure(guest, "660f38800b", rcx=0, rbx=POINTER) == 28
    guest.memory.write(POINTER, struct.pack("<QQ", 0x8, 0))
    assert failure(guest, "660f38800b", rcx=1, rbx=POINTER) == 28
    for kind, vpid, address, expected in (
        (0, 1, 0x1000, 0), (0, 1, 1 << 50, 28), (1, 1, 0, 0), (1, 0, 0, 28), (2, 0, 0, 0), (3, 5, 0, 0), (4, 1, 0, 28),
        (1, 0x10001, 0, 28),
    ):  # fmt: skip
        guest.memory.write(POINTER, struct.pack("<QQ", vpid, address))
        assert failure(guest, "660f38810b", rcx=kind, rbx=POINTER) == expected, (kind, vpid, address)


def test_vmxoff_ends_vmx_operation() -> None:
    guest = VmxGuest()
    guest.machine.run("0f01c4")
    assert guest.machine.fault("0f01c4") == (6, None)
    guest.machine.run("0f22e0", rax=guest.cpu.cr4 & ~0x2000)


def test_control_register_bits_are_fixed_in_vmx_operation() -> None:
    guest = VmxGuest()
    cpu = guest.cpu
    assert guest.machine.fault("0f22e0", rax=cpu.cr4 & ~0x2000) == (13, 0)
    assert guest.machine.fault("0f22c0", rax=cpu.cr0 & ~0x20) == (13, 0)
    assert guest.machine.fault("0f22c0", rax=cpu.cr0 & ~0x80000000) == (13, 0)


def test_init_is_held_off_in_vmx_operation() -> None:
    guest = VmxGuest()
    guest.machine.signals[0].pulse_init()
    guest.machine.run("90")
    assert guest.cpu.cr0 & 0x80000000
    assert guest.run("90") == 3  # a guest does not hold it off: an exit


@pytest.mark.parametrize("model", ["nehalem_ept", "pentium4_vtx", "sapphire_rapids"])
def test_capability_msrs(model: str) -> None:
    machine = BareMachine("long", model)
    values = capability_msrs(machine.features)
    basic = machine.rdmsr(0x480)
    assert basic == values[0]
    for number in range(1, 9):
        assert machine.rdmsr(0x480 + number) == values[number]
    assert machine.rdmsr(0x489) & 0x2000
    for number in range(0x480, 0x4A0):
        known = exists(machine.features, number)
        assert (machine.fault("0f32", rcx=number) is None) == known, hex(number)
        assert machine.fault("0f30", rcx=number, rax=0, rdx=0) == (13, 0)
