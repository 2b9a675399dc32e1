"""APIC virtualization: TPR shadow, APIC-access page, x2APIC mode, virtual interrupts, posted and virtualized IPIs
(SDM 3C, chapter 30)."""

from __future__ import annotations

import struct

import pytest

from tests.core.bare_machine import IDT
from tests.virt.vmx_guest import GUEST, VmxGuest
from x86emu.isa.vmx_capabilities import EXIT, PIN, PRIMARY, SECONDARY, TERTIARY

ACCESS, PAGE, DESCRIPTOR, TABLE = 0x132000, 0x133000, 0x134000, 0x135000
TPR, PPR, EOI, ISR, IRR, ICR_LOW, ICR_HIGH, SELF_IPI = 0x80, 0xA0, 0xB0, 0x100, 0x200, 0x300, 0x310, 0x3F0
STORE, LOAD = "8903", "8b03"  # mov [rbx], eax; mov eax, [rbx]


class ApicGuest(VmxGuest):
    """A guest with a virtual-APIC page, and an APIC-access page unless x2apic."""

    def __init__(self, *secondary: str, x2apic: bool = False, apic: bool = False) -> None:
        super().__init__("sapphire_rapids", apic=apic)
        self.set(virtual_apic_address=PAGE, apic_access_address=ACCESS)
        self.control(PRIMARY, "use_tpr_shadow", "use_msr_bitmaps")
        self.control(SECONDARY, "virtualize_x2apic_mode" if x2apic else "virtualize_apic_accesses", *secondary)
        if "virtual_interrupt_delivery" in secondary:
            self.control(PIN, "external_interrupt_exiting")
        # what a virtual interrupt with vector 60h runs in the guest: VMCALL
        handler = GUEST + 0x80
        self.memory.write(IDT + 0x60 * 16, struct.pack("<HHBBHII", handler & 0xFFFF, 8, 0, 0x8E, handler >> 16, 0, 0))
        self.memory.write(handler, b"\x0f\x01\xc1")

    def register(self, offset: int) -> int:
        return int.from_bytes(self.memory.read(PAGE + offset, 4), "little")

    def put(self, offset: int, value: int) -> None:
        self.memory.write(PAGE + offset, struct.pack("<I", value))

    def bit(self, registers: int, vector: int) -> int:
        return self.register(registers + (vector >> 5) * 16) >> (vector & 31) & 1


@pytest.mark.parametrize(
    ("code", "offset", "kind"),
    [(LOAD, 0x20, 0), (STORE, 0x80 + 2, 1), ("488b03", TPR, 0), ("8803", 0x84, 1), (LOAD, 0x390, 0)],
)
def test_accesses_that_are_not_virtualized_exit(code: str, offset: int, kind: int) -> None:
    guest = ApicGuest()
    assert guest.run("90" + code, rbx=ACCESS + offset) == 44
    assert guest.get("exit_qualification") == kind << 12 | offset
    assert guest.get("guest_rip") == GUEST + 1


def test_a_fetch_and_a_push_to_the_page_exit() -> None:
    guest = ApicGuest()
    assert guest.run("ffe3", rbx=ACCESS) == 44  # jmp rbx
    assert guest.get("exit_qualification") == 2 << 12
    guest = ApicGuest()
    guest.set(guest_rsp=ACCESS + 0x100)
    assert guest.run("0f0b") == 44  # #UD cannot be delivered
    assert guest.get("exit_qualification") == 3 << 12 | 0xF8
    assert guest.get("idt_vectoring_information") == 0x80000306


def test_the_tpr_is_virtual_and_has_a_threshold() -> None:
    guest = ApicGuest()
    guest.set(tpr_threshold=2)
    guest.put(TPR, 0x30)
    assert guest.run(LOAD + STORE.replace("03", "0b") + "90" * 4, rbx=ACCESS + TPR, rcx=0x41) == 18
    assert guest.cpu.rax == 0x30
    assert guest.register(TPR) == 0x41
    # Below the threshold: an exit right behind the store, though the trace goes on
    assert guest.run(STORE + "90" * 4, rbx=ACCESS + TPR, rax=0x15) == 43
    assert guest.get("guest_rip") == GUEST + 2
    guest.put(TPR, 0x30)
    assert guest.run("440f22c0" + "9090", rax=1) == 43  # mov cr8, rax
    assert guest.get("guest_rip") == GUEST + 4
    assert guest.register(TPR) == 0x10


def test_register_virtualization_reads_and_writes() -> None:
    guest = ApicGuest("apic_register_virtualization")
    guest.put(0x30, 0x12345678)
    assert guest.run(LOAD, rbx=ACCESS + 0x30) == 18
    assert guest.cpu.rax == 0x12345678
    # a write is done and then told: an APIC-write exit behind the instruction
    assert guest.run(STORE + "90", rbx=ACCESS + 0xF0, rax=0x1FF) == 56
    assert guest.get("exit_qualification") == 0xF0
    assert guest.get("guest_rip") == GUEST + 2
    assert guest.register(0xF0) == 0x1FF
    assert guest.run(STORE + "90", rbx=ACCESS + EOI, rax=0) == 56
    assert guest.run(STORE + "90", rbx=ACCESS + ICR_HIGH, rax=0x12345678) == 18
    assert guest.register(ICR_HIGH) == 0x12000000
    assert guest.run(LOAD, rbx=ACCESS + 0xA0) == 44  # PPR is not among them


def test_a_virtual_interrupt_is_delivered_and_ended() -> None:
    guest = ApicGuest("virtual_interrupt_delivery", "apic_register_virtualization")
    guest.put(IRR + 3 * 16, 1)  # 60h
    guest.set(guest_interrupt_status=0x60)
    assert guest.run("90fb9090") == 18  # taken behind STI's shadow
    assert guest.get("guest_rip") == GUEST + 0x80
    assert guest.get("guest_interrupt_status") == 0x6000
    assert (guest.bit(IRR, 0x60), guest.bit(ISR, 0x60), guest.register(PPR)) == (0, 1, 0x60)
    # EOI
    assert guest.run(STORE, rbx=ACCESS + EOI, rax=5) == 18
    assert guest.get("guest_interrupt_status") == 0
    assert (guest.bit(ISR, 0x60), guest.register(PPR), guest.register(EOI)) == (0, 0, 0)
    # and one that the EOI-exit bitmap selects
    guest.put(ISR + 3 * 16, 2)
    guest.set(guest_interrupt_status=0x6100, eoi_exit_bitmap_1=1 << 0x21)
    assert guest.run(STORE + "90", rbx=ACCESS + EOI, rax=0) == 45
    assert guest.get("exit_qualification") == 0x61
    assert guest.get("guest_rip") == GUEST + 2


def test_a_masked_virtual_interrupt_waits_for_the_tpr() -> None:
    guest = ApicGuest("virtual_interrupt_delivery")
    guest.put(IRR + 3 * 16, 1)
    guest.put(TPR, 0x70)
    guest.set(guest_interrupt_status=0x60, guest_rflags=0x202)
    assert guest.run("9090") == 18
    assert guest.get("guest_rip") == GUEST + 2
    assert guest.run("90440f22c09090", rax=5) == 18
    assert guest.get("guest_rip") == GUEST + 0x80


def test_interrupt_window_exiting_holds_virtual_interrupts_off() -> None:
    guest = ApicGuest("virtual_interrupt_delivery")
    guest.put(IRR + 3 * 16, 1)
    guest.set(guest_interrupt_status=0x60, guest_rflags=0x202)
    guest.control(PRIMARY, "interrupt_window_exiting")
    assert guest.run("9090") == 7
    assert guest.get("guest_interrupt_status") == 0x60


def test_a_self_ipi_by_icr_and_by_msr() -> None:
    guest = ApicGuest("virtual_interrupt_delivery", "apic_register_virtualization")
    guest.set(guest_rflags=0x202)
    assert guest.run(STORE + "9090", rbx=ACCESS + ICR_LOW, rax=0x40060) == 18
    assert guest.get("guest_rip") == GUEST + 0x80
    assert guest.get("guest_interrupt_status") == 0x6000
    assert guest.run(STORE + "9090", rbx=ACCESS + ICR_LOW, rax=0x60) == 56  # to another processor
    assert guest.get("exit_qualification") == ICR_LOW
    guest = ApicGuest("virtual_interrupt_delivery", x2apic=True)
    guest.set(guest_rflags=0x202)
    assert guest.run("0f309090", rcx=0x83F, rax=0x60, rdx=0) == 18
    assert guest.get("guest_interrupt_status") == 0x6000
    assert guest.run("0f309090", rcx=0x83F, rax=5, rdx=0) == 56
    assert guest.get("exit_qualification") == SELF_IPI


def test_x2apic_registers_are_in_the_page() -> None:
    guest = ApicGuest("apic_register_virtualization", x2apic=True)
    guest.memory.write(PAGE + 0x390, struct.pack("<Q", 0x1122334455667788))
    assert guest.run("0f32", rcx=0x839) == 18
    assert (guest.cpu.rax, guest.cpu.rdx) == (0x55667788, 0x11223344)
    assert guest.run("0f30", rcx=0x808, rax=0x20, rdx=0) == 18
    assert guest.register(TPR) == 0x20
    guest.set(exception_bitmap=1 << 13)
    assert guest.run("0f30", rcx=0x808, rax=0x100, rdx=0) == 0  # a reserved bit: #GP
    assert guest.get("exit_interruption_information") == 0x80000B0D


def test_hlt_ends_with_a_virtual_interrupt() -> None:
    guest = ApicGuest("virtual_interrupt_delivery")
    guest.put(IRR + 3 * 16, 1)
    guest.set(guest_interrupt_status=0x60, guest_rflags=0x202, guest_activity=1)
    assert guest.run("") == 18
    assert guest.get("guest_rip") == GUEST + 0x80
    assert guest.get("guest_activity") == 0


def posting_guest() -> ApicGuest:
    guest = ApicGuest("virtual_interrupt_delivery", "apic_register_virtualization", apic=True)
    guest.control(PIN, "process_posted_interrupts")
    guest.control(EXIT, "acknowledge_interrupt_on_exit")
    guest.set(posted_interrupt_vector=0xF2, posted_interrupt_descriptor=DESCRIPTOR, guest_rflags=0x202)
    assert guest.machine.lapic is not None
    guest.machine.wrmsr(0x1B, 0xFEE00D00)
    guest.machine.wrmsr(0x80F, 0x1FF)
    return guest


def test_a_notification_posts_interrupts_without_an_exit() -> None:
    guest = posting_guest()
    guest.memory.write(DESCRIPTOR + 0x60 // 8, b"\x01")
    guest.memory.write(DESCRIPTOR + 32, b"\x01")
    guest.machine.wrmsr(0x83F, 0xF2)  # the host sends itself the notification with its interrupts off
    assert guest.run("9090") == 18
    assert guest.get("guest_rip") == GUEST + 0x80
    assert guest.get("guest_interrupt_status") == 0x6000
    assert guest.memory.read(DESCRIPTOR, 33) == bytes(33)
    assert guest.machine.rdmsr(0x817) == 0  # the notification itself was ended in the real APIC


def test_another_interrupt_still_exits() -> None:
    guest = posting_guest()
    guest.machine.wrmsr(0x83F, 0xF3)
    assert guest.run("9090") == 1
    assert guest.get("exit_interruption_information") == 0x800000F3


def test_an_ipi_is_posted_to_its_target() -> None:
    """The target is the sender itself here: the notification comes back and is processed in the guest."""
    guest = posting_guest()
    guest.control(TERTIARY, "ipi_virtualization")
    guest.memory.write(TABLE + 8 * 3, struct.pack("<Q", DESCRIPTOR | 1))
    guest.memory.write(DESCRIPTOR + 32, struct.pack("<II", 0xF2 << 16, 0))  # vector, this processor's x2APIC ID
    guest.set(pid_pointer_table=TABLE, last_pid_pointer_index=3)
    guest.put(ICR_HIGH, 3 << 24)
    assert guest.run(STORE + "90" * 8, rbx=ACCESS + ICR_LOW, rax=0x60) == 18
    assert guest.get("guest_rip") == GUEST + 0x80
    guest.put(ICR_HIGH, 4 << 24)  # beyond the table
    guest.set(guest_rflags=2)
    assert guest.run(STORE + "90" * 8, rbx=ACCESS + ICR_LOW, rax=0x60) == 56
    guest.put(ICR_HIGH, 2 << 24)  # an entry that is not valid
    assert guest.run(STORE + "90" * 8, rbx=ACCESS + ICR_LOW, rax=0x60) == 56
