"""AVIC, virtual NMI, guest mode execute trap, write traps, LBR recording, INVLPGB, counters (AMD APM volume 2)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, IDT, BareMachine, Fault
from tests.virt.svm_guest import GUEST, GUEST_DATA, VMCB, SvmGuest

VMMCALL, NPF, INCOMPLETE_IPI, NOACCEL = 0x81, 0x400, 0x401, 0x402
APIC, BACKING, PHYSICAL, LOGICAL, OTHER = 0x160000, 0x150000, 0x151000, 0x152000, 0x153000
WRITE = 1 << 32
HANDLER = bytes.fromhex("00000800008e17000000000000000000")
"""A gate that leads to 170000h."""


def qword(value: int) -> bytes:
    return value.to_bytes(8, "little")


# ---------------------------------------------------------------- AVIC (15.29)


def avic_guest(x2avic: bool = False) -> SvmGuest:
    guest = SvmGuest()
    guest.set(
        v_intr_masking=0xC1 if x2avic else 0x81, avic_apic_bar=APIC, avic_backing_page=BACKING,
        avic_physical_table=PHYSICAL | 3, avic_logical_table=LOGICAL,
    )  # fmt: skip
    guest.memory.write(PHYSICAL, qword(1 << 63 | 1 << 62 | BACKING) + qword(1 << 63 | OTHER))
    guest.memory.write(LOGICAL, (1 << 31).to_bytes(4, "little") + (1 << 31 | 1).to_bytes(4, "little"))
    guest.memory.write(BACKING + 0xE0, b"\xff" * 4)
    return guest


def store(register: int, value: int) -> str:
    """mov dword [APIC + register], value."""
    return "c70425" + (APIC + register).to_bytes(4, "little").hex() + value.to_bytes(4, "little").hex()


def load(register: int) -> str:
    """mov eax, [APIC + register]."""
    return "8b0425" + (APIC + register).to_bytes(4, "little").hex()


def vector_set(guest: SvmGuest, page: int, register: int, vector: int) -> bool:
    return bool(guest.memory.read(page + register + 16 * (vector // 32) + vector % 32 // 8, 1)[0] >> vector % 8 & 1)


@pytest.mark.parametrize("register", [0x20, 0x30, 0x80, 0xA0, 0xD0, 0xF0, 0x100, 0x200, 0x280, 0x300, 0x320, 0x3E0])
def test_avic_reads_the_backing_page(register: int) -> None:
    guest = avic_guest()
    guest.memory.write(BACKING + register, (0x1234567).to_bytes(4, "little"))
    assert guest.run(load(register)) == VMMCALL
    assert guest.get("rax") == 0x1234567


@pytest.mark.parametrize("register", [0x90, 0x390, 0x400, 0x40])
def test_avic_reads_that_leave_the_guest(register: int) -> None:
    guest = avic_guest()
    assert guest.run(load(register)) == NOACCEL
    assert (guest.get("exitinfo1"), guest.get("rip")) == (register, GUEST)


@pytest.mark.parametrize("register", [0x20, 0xD0, 0xE0, 0xF0, 0x280, 0x320, 0x370, 0x380, 0x3E0])
def test_avic_writes_that_trap(register: int) -> None:
    guest = avic_guest()
    assert guest.run(store(register, 0x77)) == NOACCEL
    assert (guest.get("exitinfo1"), guest.get("rip")) == (register | WRITE, GUEST + 11)
    assert guest.memory.read(BACKING + register, 1) == b"\x77"


@pytest.mark.parametrize("register", [0x30, 0x90, 0xA0, 0x100, 0x200, 0x390])
def test_avic_writes_that_fault(register: int) -> None:
    guest = avic_guest()
    assert guest.run(store(register, 0x77)) == NOACCEL
    assert (guest.get("exitinfo1"), guest.get("rip")) == (register | WRITE, GUEST)
    assert guest.memory.read(BACKING + register, 1) == b"\0"


def test_avic_task_priority_is_the_guests_cr8() -> None:
    guest = avic_guest()
    assert guest.run(store(0x80, 0x50) + "440f20c3") == VMMCALL  # mov rbx, cr8
    assert (guest.cpu.rbx, guest.get("v_tpr")) == (5, 5)
    assert guest.run("b807000000" + "440f22c0") == VMMCALL  # mov cr8, rax
    assert guest.memory.read(BACKING + 0x80, 1) == b"\x70"


def test_avic_needs_the_nested_mapping() -> None:
    guest = avic_guest()
    guest.map_page(APIC, 0, 0)
    assert guest.run(load(0x20)) == NPF
    assert guest.get("exitinfo2") == APIC + 0x20


def test_avic_self_ipi_is_delivered_and_ended() -> None:
    guest = avic_guest()
    handler = 0x170000
    guest.memory.write(IDT + 0x51 * 16, HANDLER)
    guest.memory.write(handler, bytes.fromhex("ffc3" + load(0x120) + store(0xB0, 0) + "48cf"))
    assert guest.run("fb" + store(0x300, 0x40051) + "90", rbx=0) == VMMCALL
    assert guest.cpu.rbx == 1
    assert guest.get("rax") == 1 << (0x51 - 0x40)  # ISR while the handler ran
    assert not vector_set(guest, BACKING, 0x200, 0x51) and not vector_set(guest, BACKING, 0x100, 0x51)


def test_avic_priority_holds_an_interrupt_back() -> None:
    guest = avic_guest()
    assert guest.run("fb" + store(0x80, 0x60) + store(0x300, 0x40051) + "90") == VMMCALL
    assert vector_set(guest, BACKING, 0x200, 0x51)


def test_avic_end_of_a_level_triggered_interrupt_leaves_the_guest() -> None:
    guest = avic_guest()
    guest.memory.write(BACKING + 0x120, (1 << 17).to_bytes(4, "little"))
    guest.memory.write(BACKING + 0x1A0, (1 << 17).to_bytes(4, "little"))
    assert guest.run(store(0xB0, 0)) == NOACCEL
    assert (guest.get("exitinfo1"), guest.get("exitinfo2"), guest.get("rip")) == (0xB0 | WRITE, 0x51, GUEST + 11)


@pytest.mark.parametrize(
    ("icr", "high", "why", "index", "sent"),
    [
        (0x51, 1 << 24, 1, 1, True),  # the target does not run: its IRR is set, the hypervisor wakes it
        (0x851, 2 << 24, 1, 1, True),  # the same by logical id
        (0xC0051, 0, 1, 1, True),  # all but self
        (0x51, 2 << 24, 2, 2, False),  # no such target
        (0x851, 4 << 24, 2, 2, False),
        (0x451, 1 << 24, 0, 0, False),  # NMI
        (0x00F, 1 << 24, 4, 0, False),  # vector 15
    ],
)
def test_avic_incomplete_ipi(icr: int, high: int, why: int, index: int, sent: bool) -> None:
    guest = avic_guest()
    assert guest.run(store(0x310, high) + store(0x300, icr)) == INCOMPLETE_IPI
    assert guest.get("exitinfo1") == high << 32 | icr
    assert guest.get("exitinfo2") == why << 32 | index
    assert guest.get("rip") == GUEST + 22
    assert vector_set(guest, OTHER, 0x200, 0x51) == sent


def test_x2avic_by_msr() -> None:
    guest = avic_guest(x2avic=True)
    guest.memory.write(BACKING + 0x80, b"\x30")
    assert guest.run("b908080000" + "0f32") == VMMCALL
    assert guest.get("rax") == 0x30
    assert guest.run("b80a000000" + "31d2" + "b90f080000" + "0f30") == NOACCEL  # SVR: behind the write
    assert (guest.get("exitinfo1"), guest.get("rip")) == (0xF0 | WRITE, GUEST + 14)
    assert guest.run("b939080000" + "0f32") == NOACCEL  # current count: before the read
    assert (guest.get("exitinfo1"), guest.get("rip")) == (0x390, GUEST + 5)
    assert guest.run("b851000000" + "31d2" + "b93f080000" + "0f30") == VMMCALL  # self IPI
    assert vector_set(guest, BACKING, 0x200, 0x51)


def test_doorbell_makes_a_guest_look_at_its_interrupts() -> None:
    guest = avic_guest()
    guest.memory.write(IDT + 0x51 * 16, HANDLER)
    guest.memory.write(0x170000, bytes.fromhex("ffc3" + "48cf"))
    request = "c70425" + (BACKING + 0x220).to_bytes(4, "little").hex() + (1 << 17).to_bytes(4, "little").hex()
    ring = "b91b0101c0" + "31c0" + "31d2" + "0f30"
    assert guest.run("fb" + request + "90", rbx=0) == VMMCALL
    assert guest.cpu.rbx == 0
    guest.memory.write(BACKING + 0x220, bytes(4))
    assert guest.run("fb" + request + ring + "90", rbx=0) == VMMCALL
    assert guest.cpu.rbx == 1


# ---------------------------------------------------------------- virtual NMI (15.21.10)


def nmi_guest(**fields: int) -> SvmGuest:
    guest = SvmGuest()
    guest.set(intercept_misc1=2, v_intr_masking=4, **fields)
    guest.memory.write(IDT + 2 * 16, HANDLER)
    return guest


def test_virtual_nmi_is_delivered_and_blocks() -> None:
    guest = nmi_guest(v_irq=8)
    guest.memory.write(0x170000, bytes.fromhex("ffc3" + "0f01d9" + "48cf"))
    assert guest.run("90", rbx=0) == VMMCALL
    assert guest.cpu.rbx == 1
    assert guest.get("v_irq") & 0x18 == 0x10  # taken, and blocking
    guest.set(rip=guest.get("nrip"), v_irq=0x18)  # another one waits for the IRET
    assert guest.resume() == VMMCALL
    assert (guest.cpu.rbx, guest.get("v_irq") & 0x18) == (2, 0x10)


def test_injected_nmi_blocks_virtual_ones() -> None:
    guest = nmi_guest(eventinj=0x80000202)
    guest.memory.write(0x170000, bytes.fromhex("0f01d9"))
    assert guest.run("90") == VMMCALL
    assert guest.get("v_irq") & 0x18 == 0x10


def test_physical_nmi_still_leaves_the_guest() -> None:
    guest = nmi_guest()
    assert guest.run("90") == VMMCALL  # GIF is 0 from now on, so that the NMI waits for the guest
    guest.machine_signals().pulse_nmi()
    assert guest.run("90") == 0x61


# ---------------------------------------------------------------- guest mode execute trap (15.25)


def test_execute_trap_takes_code_from_supervisor_pages_only() -> None:
    guest = SvmGuest()
    guest.set(np_enable=9)
    assert guest.run("90") == NPF  # every page is a user page: the first is not executable at CPL 0
    assert guest.get("exitinfo1") & ~4 == 0x100000011
    for page in range(1024):
        guest.map_page(page << 12, page << 12, 3)
    assert guest.run("8b042500001300") == VMMCALL  # data is read from supervisor pages as well
    guest.set(tlb_control=1)
    guest.map_page(GUEST, GUEST, 7)
    assert guest.run("90") == NPF
    assert guest.get("exitinfo2") & ~0xFFF == GUEST


# ---------------------------------------------------------------- write traps, instructions


def test_control_register_write_trap() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc2=3 | 1 << 20)
    assert guest.run("0f20e00d800000000f22e0") == 0x94
    assert guest.get("exitinfo1") == guest.get("cr4") == 0x6A0
    assert (guest.get("rip"), guest.get("nrip")) == (GUEST + 11, GUEST + 11)


def test_efer_write_trap() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc2=3 | 1 << 15)
    assert guest.run("b9800000c00f320d010000000f30") == 0x8F
    assert guest.get("exitinfo1") == guest.get("efer") == 0x1D01
    assert guest.get("rip") == GUEST + 14


def test_software_interrupt_whose_delivery_faults() -> None:
    """15.7.2: EXITINTINFO tells of the INT n, RIP is that of the instruction."""
    guest = SvmGuest()
    guest.memory.write(IDT + 0x42 * 16, bytes(16))
    guest.set(intercept_exceptions=1 << 13)
    assert guest.run("cd42") == 0x4D
    assert guest.get("exitintinfo") == 0x80000442
    assert (guest.get("exitinfo1"), guest.get("rip")) == (0x42 * 8 + 2, GUEST)
    guest.set(intercept_exceptions=1 << 6)
    assert guest.run("0f0b") == 0x46
    assert guest.get("exitintinfo") == 0


def test_idle_hlt() -> None:
    guest = SvmGuest()
    guest.memory.write(VMCB + 0x14, (1 << 6).to_bytes(4, "little"))
    assert guest.run("f4") == 0xA6
    guest.set(v_irq=1, v_intr_vector=0x51, v_intr_prio=0x1F, intercept_misc1=0x10)
    assert guest.run("fbf4") == 0x64  # a virtual interrupt waits: the HLT does not leave the guest, its window does


def test_invlpgb_flushes_what_a_guest_cached() -> None:
    guest = SvmGuest()
    touch = "8b042500001300"
    assert guest.run(touch) == VMMCALL
    guest.map_page(GUEST_DATA, GUEST_DATA, 0)
    assert guest.run(touch) == VMMCALL  # still cached
    flush = "b804000000" + "31c9" + "ba01000000" + "0f01fe" + "0f01ff" + "b800001000"
    assert guest.run(touch, host=flush + "0f01d8") == NPF
    with pytest.raises(Fault):
        BareMachine("long", "max").run("b8c0000000" + "31c931d2" + "0f01fe")


def test_frozen_for_an_x87_error_leaves_the_guest() -> None:
    """15.13.5: with CR0.NE clear, instead of waiting for the interrupt of FERR#."""
    guest = SvmGuest()
    guest.set(intercept_misc1=1 << 30, cr0=0x80050013)
    guest.machine_signals().on_ferr(lambda level: None)
    # fninit; unmask division by zero; 1 / 0; fwait
    assert guest.run("dbe3" + "68" + "7b030000" + "d92c24" + "d9e8d9eedef9" + "9b") == 0x7E


# ---------------------------------------------------------------- branch recording (13.1.1.6)


def msr(number: int) -> str:
    return "b9" + number.to_bytes(4, "little").hex()


def test_last_branch_and_interrupt_are_recorded() -> None:
    machine = BareMachine("long", "epyc_genoa")
    enable = msr(0x1D9) + "b801000000" + "31d2" + "0f30"
    disable = msr(0x1D9) + "31c0" + "0f30"
    machine.run(enable + "eb02" + "9090" + disable + msr(0x1DB) + "0f3289c3" + msr(0x1DC) + "0f3289c6")
    at = CODE + len(bytes.fromhex(enable))
    assert (machine.cpu.rbx, machine.cpu.rsi) == (at, at + 4)
    assert machine.fault(enable + "eb02" + "9090" + "0f0b") == (6, None)
    assert machine.cpu.last_branches() == (at + 4, 0x6006, at, at + 4)


def test_branches_that_are_not_taken_are_not_recorded() -> None:
    machine = BareMachine("long", "epyc_genoa")
    enable = msr(0x1D9) + "b801000000" + "31d2" + "0f30"
    disable = msr(0x1D9) + "31c0" + "0f30"
    machine.run(enable + "31c07502" + "b903000000bf00000100f3aa" + disable)
    assert machine.cpu.last_branches()[:2] == (0, 0)


# ---------------------------------------------------------------- counters (13.2)


def test_counters_count_instructions() -> None:
    machine = BareMachine("long", "epyc_genoa")
    select = msr(0xC0010000) + "b8c0004300" + "31d2" + "0f30"
    machine.run(select + "31c9" + "0f33" + "89c3" + "0f33" + "29d8")
    assert machine.cpu.rax == 2  # RDPMC, MOV
    machine.run("31c0" + "31d2" + msr(0xC0010000) + "0f30" + msr(0xC0010004) + "b834120000" + "0f30" + "31c9" + "0f33")
    assert machine.cpu.rax == 0x1234
    assert machine.fault("0f33", rcx=6) == (13, 0)
    assert BareMachine("long", "nehalem_ept").fault("0f33", rcx=0) == (13, 0)
