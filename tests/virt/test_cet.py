"""Control-flow enforcement in guests: what entries load, exits save and hosts get back (SDM 3C, chapters 27 and 28; APM
2, 15.5), and #CP as an injected and as an intercepted exception."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import DIRECTORY, STUBS
from tests.core.cet_machine import PAGES, SHADOW
from tests.virt.svm_guest import SvmGuest
from tests.virt.vmx_guest import GUEST, VmxGuest
from x86emu.isa.vmx_capabilities import ENTRY, EXIT

RDMSR_S_CET = "b9a20600000f32"  # mov ecx, 6A2h; rdmsr
MODEL = "sapphire_rapids"
JUMP = "ffe0"


def test_without_the_controls_nothing_is_loaded() -> None:
    guest = VmxGuest(MODEL)
    guest.cpu.s_cet = 2
    guest.set(guest_s_cet=1, host_s_cet=4)
    assert guest.run(RDMSR_S_CET + "89c3") == 31  # RDMSR exits without bitmaps
    assert guest.cpu.s_cet == 2
    assert guest.get("guest_s_cet") == 2  # saved whatever the controls say


def test_state_is_loaded_and_saved() -> None:
    guest = VmxGuest(MODEL)
    guest.control(ENTRY, "load_cet_state")
    guest.control(EXIT, "load_cet_state")
    cr4 = guest.cpu.cr4 | 0x800000
    guest.set(
        guest_cr4=cr4, guest_s_cet=1, guest_ssp=0x8000, guest_interrupt_ssp_table=0x9000,
        host_s_cet=2, host_ssp=0x7000, host_interrupt_ssp_table=0x6000,
    )  # fmt: skip
    assert guest.run("f3480f1ec8") == 18  # RDSSPQ
    cpu = guest.cpu
    assert cpu.rax == 0x8000
    assert (cpu.s_cet, cpu.ssp, cpu.interrupt_ssp_table) == (2, 0x7000, 0x6000)
    found = [guest.get(f"guest_{name}") for name in ("s_cet", "ssp", "interrupt_ssp_table")]
    assert found == [1, 0x8000, 0x9000]
    assert cpu.cr4 & 0x800000 == 0


def test_a_guest_is_tracked_across_exits() -> None:
    """The tracker waits while the guest is left, and the fault comes in the guest when it goes on."""
    guest = VmxGuest(MODEL)
    guest.control(ENTRY, "load_cet_state")
    guest.control(EXIT, "load_cet_state")
    guest.set(guest_cr4=guest.cpu.cr4 | 0x800000, guest_s_cet=0x804, exception_bitmap=1 << 21)
    assert guest.run("90") == 0
    assert guest.get("exit_interruption_information") == 0x80000B15
    assert guest.get("exit_interruption_error_code") == 3
    assert guest.get("guest_rip") == GUEST and guest.get("guest_s_cet") == 0x804
    guest.set(guest_s_cet=0x804)
    assert guest.run("f30f1efa") == 18
    assert guest.get("guest_s_cet") == 4


def test_an_ept_violation_tells_a_shadow_stack_access() -> None:
    """Bit 13 of the qualification (SDM 3C, table 28-7); the page is one of the guest's without the write permission."""
    guest = VmxGuest(MODEL)
    guest.control(ENTRY, "load_cet_state")
    guest.memory.write(DIRECTORY + 8, (PAGES | 7).to_bytes(8, "little"))
    guest.memory.write(PAGES, (SHADOW | 0x41).to_bytes(8, "little"))
    guest.map_page(SHADOW, SHADOW, 1)
    guest.set(guest_cr4=guest.cpu.cr4 | 0x800000, guest_s_cet=3, guest_ssp=SHADOW + 0x800)
    assert guest.run("480f38f603", rbx=SHADOW + 8) == 48  # WRSSQ
    assert guest.get("exit_qualification") == 0x218A
    assert guest.get("guest_linear_address") == SHADOW + 8


@pytest.mark.parametrize(("information", "error"), [(0x80000B15, True), (0x80000315, False)])
def test_injection_with_and_without_an_error_code(information: int, error: bool) -> None:
    """IA32_VMX_BASIC[56]: both are allowed for every exception."""
    guest = VmxGuest(MODEL)
    assert guest.machine.rdmsr(0x480) >> 56 & 1
    guest.set(entry_interruption_information=information, entry_exception_error_code=2)
    guest.memory.write(STUBS + 21, b"\x0f\x01\xc1")
    assert guest.run() == 18
    assert guest.get("guest_rsp") == 0xE000 - (48 if error else 40)
    if error:
        assert guest.memory.read(guest.get("guest_rsp"), 8) == (2).to_bytes(8, "little")


def test_an_older_processor_knows_no_state_and_one_rule_of_error_codes() -> None:
    guest = VmxGuest("nehalem_ept")
    assert not guest.machine.rdmsr(0x480) >> 56 & 1
    assert not guest.machine.rdmsr(0x484) >> 52 & 1


def test_svm_loads_saves_and_restores() -> None:
    guest = SvmGuest()
    cpu = guest.cpu
    cpu.s_cet, cpu.ssp, cpu.interrupt_ssp_table = 2, 0x7000, 0x6000
    guest.set(cr4=0x800620, s_cet=1, ssp=0x8000, isst_addr=0x9000)
    assert guest.run("f3480f1ec84889c3") == 0x81
    assert cpu.rbx == 0x8000
    assert (cpu.s_cet, cpu.ssp, cpu.interrupt_ssp_table) == (2, 0x7000, 0x6000)
    assert (guest.get("s_cet"), guest.get("ssp"), guest.get("isst_addr")) == (1, 0x8000, 0x9000)


def test_svm_intercepts_control_protection() -> None:
    guest = SvmGuest()
    guest.set(cr4=0x800620, s_cet=4, intercept_exceptions=1 << 21, rax=GUEST + 2)
    assert guest.run(JUMP + "90") == 0x40 + 21
    assert guest.get("exitinfo1") == 3
    assert guest.get("s_cet") == 0x804
