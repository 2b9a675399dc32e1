"""What VMRUN loads and #VMEXIT saves and restores; events, interrupts, GIF, TSC (AMD APM 2, chapter 15)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, STUBS, BareMachine, Fault
from tests.virt.svm_guest import GUEST, GUEST_DATA, HOST_SAVE, VMCB, SvmGuest
from x86emu.virt.svm.vmcb import segment

VMMCALL = 0x81


def test_round_trip_keeps_the_host() -> None:
    guest = SvmGuest()
    cpu = guest.cpu
    before = (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer, cpu.cs.attributes, cpu.ss.selector, cpu.idtr.limit, cpu.gdtr.base)
    cpu.rsp = 0xD000
    cpu.rflags = 0x2
    assert guest.run("b811111111bb22222222bc00c00000f9", rcx=5) == VMMCALL
    after = (cpu.cr0, cpu.cr3, cpu.cr4, cpu.efer, cpu.cs.attributes, cpu.ss.selector, cpu.idtr.limit, cpu.gdtr.base)
    assert after == before
    assert (cpu.rax, cpu.rsp, cpu.rflags, cpu.cpl) == (VMCB, 0xD000, 2, 0)
    assert (cpu.rbx, cpu.rcx) == (0x22222222, 5)  # the other registers are not switched
    assert (guest.get("rax"), guest.get("rsp"), guest.get("rflags")) == (0x11111111, 0xC000, 3)
    assert guest.get("cr0") == 0x80050033
    assert cpu.dr(7) == 0x400


def test_segments_survive_a_round_trip() -> None:
    guest = SvmGuest()
    names = ("es", "cs", "ss", "ds")
    before = [segment(guest.block, name) for name in names]
    guest.run("90")
    assert [segment(guest.block, name) for name in names] == before


def test_second_run_continues() -> None:
    guest = SvmGuest()
    assert guest.run("ffc30f01d9ffc3", rbx=1) == VMMCALL
    assert guest.cpu.rbx == 2
    guest.set(rip=guest.get("nrip"))
    assert guest.resume() == VMMCALL
    assert guest.cpu.rbx == 3


def test_vmload_and_vmsave() -> None:
    guest = SvmGuest()
    guest.set(star=0x1122334455667788, lstar=0xFFFFFFFF80000000, sfmask=0x700, kernel_gs_base=1 << 56, sysenter_eip=9)
    guest.cpu.rax = VMCB
    guest.memory.write(CODE, bytes.fromhex("0f01da48c7c00010100" + "00f01dbf4"))
    guest.cpu.rip = CODE
    guest.engine.run(100)
    saved = guest.memory.read(HOST_SAVE, 4096)
    assert saved[0x600:0x610] == guest.block[0x600:0x610]
    assert int.from_bytes(saved[0x620:0x628], "little") == 0xFF00000000000000  # made canonical
    assert saved[0x440:0x460] == guest.block[0x440:0x460]
    assert saved[0x490:0x4A0] == guest.block[0x490:0x4A0]


@pytest.mark.parametrize("code", ["0f01d8", "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01df", "0f01d9", "0f01de"])
def test_undefined_without_svme(code: str) -> None:
    machine = BareMachine("long", "max")
    assert machine.fault(code, rax=VMCB) == (6, None)


@pytest.mark.parametrize("code", ["0f01d8", "0f01da", "0f01db", "0f01dc", "0f01dd", "0f01df"])
def test_privileged(code: str) -> None:
    machine = BareMachine("long", "max", cpl=3)
    machine.cpu.efer = machine.cpu.efer | 0x1000
    assert machine.fault(code, rax=VMCB) == (13, 0)


@pytest.mark.parametrize("rax", [VMCB + 8, 1 << 50, 0x40000000])
def test_bad_block_address(rax: int) -> None:
    machine = BareMachine("long", "max")
    machine.cpu.efer = machine.cpu.efer | 0x1000
    with pytest.raises(Fault) as caught:
        machine.run("0f01d8", rax=rax)
    assert caught.value.args == (13, 0)


class TestEvents:
    def test_injected_exception(self) -> None:
        guest = SvmGuest()
        guest.set(eventinj=0x80000B0D | 0x1238 << 32, intercept_misc1=1 << 24, intercept_exceptions=0xFFFFFFFF)
        guest.memory.write(STUBS + 13, b"\xf4")
        assert guest.run("90") == 0x78
        assert guest.get("rip") == STUBS + 13
        stack = guest.get("rsp")
        assert int.from_bytes(guest.memory.read(stack, 8), "little") == 0x1238
        assert int.from_bytes(guest.memory.read(stack + 8, 8), "little") == GUEST
        assert guest.get("eventinj") >> 31 & 1 == 0

    def test_injected_interrupt_needs_no_if(self) -> None:
        guest = SvmGuest()
        guest.set(eventinj=0x80000040, intercept_misc1=1 << 24)
        assert guest.run("90") == 0x78
        assert guest.get("rip") == STUBS + 0x40

    def test_injected_software_interrupt_returns_to_next_rip(self) -> None:
        guest = SvmGuest()
        guest.set(eventinj=0x80000450, intercept_misc1=1 << 24, nrip=GUEST + 2)
        assert guest.run("cd50") == 0x78
        assert int.from_bytes(guest.memory.read(guest.get("rsp"), 8), "little") == GUEST + 2

    def test_injected_page_fault_takes_cr2_from_the_block(self) -> None:
        guest = SvmGuest()
        guest.set(eventinj=0x80000B0E | 2 << 32, cr2=0xDEAD000, intercept_misc1=1 << 24)
        assert guest.run("90") == 0x78
        assert guest.get("cr2") == 0xDEAD000

    def test_nested_fault_during_injection(self) -> None:
        guest = SvmGuest()
        guest.set(eventinj=0x80000040)
        guest.map_page(0x5000, 0, 0)  # the IDT
        assert guest.run("90") == 0x400
        assert guest.get("exitintinfo") == 0x80000040
        assert guest.get("exitinfo2") == 0x5000 + 0x400
        assert guest.get("rip") == GUEST


class TestInterrupts:
    def test_physical_interrupt_exits(self) -> None:
        guest = SvmGuest()
        guest.set(intercept_misc1=1, v_intr_masking=1)
        guest.machine.engine.cpus[0].rflags = 0x202
        guest.machine_signals().set_intr(1)
        assert guest.run("ebfe", host="fb0f01ddfb0f01d8fa") == 0x60
        assert guest.get("rip") == GUEST

    def test_masked_by_the_hosts_flag(self) -> None:
        guest = SvmGuest()
        guest.set(intercept_misc1=1, v_intr_masking=1, rflags=0x202)
        guest.machine_signals().set_intr(1)
        assert guest.run("9090", host="0f01ddfa0f01d8") == VMMCALL  # host IF is 0

    def test_nmi_exits_and_stays_pending(self) -> None:
        guest = SvmGuest()
        guest.set(intercept_misc1=2)
        assert guest.run("90", host="0f01dd0f01d8") == VMMCALL
        guest.set(rip=GUEST)
        signals = guest.machine_signals()
        guest.memory.write(CODE, bytes.fromhex("0f01dd0f01d8f4"))
        guest.cpu.rip, guest.cpu.rax, guest.cpu.activity = CODE, VMCB, 0
        guest.engine.step()
        signals.pulse_nmi()
        guest.engine.run(1000)
        assert guest.get("exitcode") == 0x61
        assert guest.cpu.rip == CODE + 7  # GIF is 0: the host halts with the NMI pending
        guest.memory.write(CODE, bytes.fromhex("0f01dcf4"))
        guest.cpu.rip, guest.cpu.activity = CODE, 0
        guest.engine.run(1000)
        assert guest.cpu.rip == STUBS + 3

    def test_smi_and_init_exit(self) -> None:
        for bit, pulse, code in ((2, "pulse_smi", 0x62), (3, "pulse_init", 0x63)):
            guest = SvmGuest()
            guest.set(intercept_misc1=1 << bit)
            guest.memory.write(CODE, bytes.fromhex("0f01dd0f01d8f4"))
            guest.cpu.rip, guest.cpu.rax = CODE, VMCB
            guest.engine.step()
            getattr(guest.machine_signals(), pulse)()
            guest.engine.run(1000)
            assert guest.get("exitcode") == code

    def test_virtual_interrupt_is_taken(self) -> None:
        guest = SvmGuest()
        guest.set(v_irq=1, v_intr_prio=0x15, v_intr_vector=0x55, v_intr_masking=1, intercept_misc1=1 << 24)
        assert guest.run("90fb9090") == 0x78
        assert guest.get("rip") == STUBS + 0x55
        assert guest.get("v_irq") == 0
        assert int.from_bytes(guest.memory.read(guest.get("rsp"), 8), "little") == GUEST + 3  # after STI's shadow

    def test_virtual_interrupt_window(self) -> None:
        guest = SvmGuest()
        guest.set(v_irq=1, v_intr_prio=0x15, v_intr_masking=1, intercept_misc1=1 << 4)
        assert guest.run("90fb9090") == 0x64
        assert (guest.get("rip"), guest.get("v_irq")) == (GUEST + 3, 1)

    def test_virtual_tpr_holds_off(self) -> None:
        guest = SvmGuest()
        guest.set(v_irq=1, v_intr_prio=5, v_intr_vector=0x55, v_intr_masking=1, v_tpr=5, rflags=0x202)
        guest.set(intercept_misc1=1 << 24)
        assert guest.run("90440f20c0") == VMMCALL
        assert guest.get("rax") == 5
        guest.set(rip=GUEST)
        assert guest.run("b804000000440f22c090") == 0x78
        assert guest.get("v_tpr") == 4

    def test_interrupt_shadow_is_saved(self) -> None:
        guest = SvmGuest()
        guest.set(intercept_misc1=1 << 18)
        assert guest.run("fb0fa2") == 0x72
        assert guest.get("interrupt_shadow") == 1
        guest.set(rip=guest.get("nrip"), interrupt_shadow=0)
        assert guest.resume() == VMMCALL
        assert guest.get("interrupt_shadow") == 0

    def test_virtual_gif(self) -> None:
        guest = SvmGuest()
        guest.set(v_intr_masking=3, v_irq=3, v_intr_prio=0x15, v_intr_vector=0x55, intercept_misc1=1 << 24)
        assert guest.run("0f01ddfb9090") == VMMCALL  # CLGI holds the virtual interrupt off
        assert guest.get("v_irq") == 1
        guest.set(rip=GUEST, rflags=2)
        assert guest.run("0f01ddfb900f01dc90") == 0x78
        assert guest.get("v_irq") == 2


def test_a_guest_writes_the_tsc_itself() -> None:
    """The offset is for reading (APM 2, 15.30.5)."""
    guest = SvmGuest()
    guest.set(tsc_offset=1 << 40)
    assert guest.run("b910000000 31c0 ba10000000 0f30") == VMMCALL
    assert 0 <= guest.machine.rdmsr(0x10) - (0x10 << 32) < 100000


def test_tsc_offset_and_ratio() -> None:
    guest = SvmGuest()
    guest.set(tsc_offset=1 << 40)
    guest.run("0f31")
    assert guest.get("rax") < 100000
    assert guest.cpu.rdx == 1 << 8
    # WRMSR TSC_RATIO = 2.0
    guest.set(tsc_offset=0, rip=GUEST)
    guest.run("0f31", host="50b9040100c031c0ba020000000f30580f01d8")
    doubled = guest.get("rax")
    guest.set(rip=GUEST)
    guest.run("0f31", host="50b9040100c031c0ba010000000f30580f01d8")
    assert guest.get("rax") < doubled < 2 * guest.get("rax")


def test_pause_filter() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc1=1 << 23, pause_filter_count=3)
    assert guest.run("f390f390f390f390f390") == 0x77
    assert guest.get("rip") == GUEST + 6


def test_pause_filter_threshold() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc1=1 << 23, pause_filter_count=1, pause_filter_threshold=10)
    far = "f390" + "90" * 20
    assert guest.run(far * 4) == VMMCALL  # far apart: counted anew each time
    guest.set(rip=GUEST)
    assert guest.run("f390f390") == 0x77


def test_virtual_vmsave() -> None:
    guest = SvmGuest()
    guest.set(lbr_virtualization_enable=2)
    guest.map_page(0x140000, GUEST_DATA)
    guest.memory.write(GUEST_DATA, bytes(4096))
    assert guest.run("b800001400" + "0f01db") == VMMCALL
    assert int.from_bytes(guest.memory.read(GUEST_DATA + 0x490, 2), "little") == 0x40  # TR


def test_without_nested_paging() -> None:
    guest = SvmGuest("athlon64_svm", nested=False)
    assert guest.run("8b042500001300") == VMMCALL
    assert guest.get("nrip") == 0  # no NRIP save on the first generation


def test_lbr_virtualization() -> None:
    guest = SvmGuest()
    guest.set(lbr_virtualization_enable=1, dbgctl=1)
    assert guest.run("b9d90100000f32") == VMMCALL
    assert guest.get("rax") == 1
    assert guest.cpu.rdx == 0


def test_guest_in_real_mode() -> None:
    guest = SvmGuest()
    guest.set(cr0=0x10, cr4=0, efer=0x1000, cr3=0, rip=0, rflags=2)
    for name, selector in (("cs", 0xF000), ("ds", 0), ("es", 0), ("ss", 0)):
        offset = {"es": 0x400, "cs": 0x410, "ss": 0x420, "ds": 0x430}[name]
        value = selector | 0x9B << 16 | 0xFFFF << 32 | (GUEST if name == "cs" else 0) << 64
        guest.memory.write(VMCB + offset, value.to_bytes(16, "little"))
    assert guest.run("b83412") == VMMCALL
    assert guest.get("rax") & 0xFFFF == 0x1234
    assert guest.get("rip") == 3


def test_vm_cr_and_hsave() -> None:
    machine = BareMachine("long", "max")
    assert machine.fault("b9170101c0b8010000000f30") == (13, 0)  # the save area is a page
    machine.run("b9140101c0b81000000031d20f30")  # VM_CR.SVMDIS
    assert machine.fault("b9800000c00f320d001000000f30") == (13, 0)


def test_the_sti_shadow_ends_before_the_next_instruction_is_fetched() -> None:
    guest = SvmGuest()
    guest.map_page(GUEST + 0x1000, 0, 0)
    for code, shadow in ((b"\xfb\x90", 0), (b"\x90\xfb", 1)):
        guest.memory.write(GUEST + 0xFFE, code)
        guest.set(rip=GUEST + 0xFFE, rflags=2)
        assert guest.resume() == 0x400
        assert guest.get("rip") == GUEST + 0x1000
        assert guest.get("interrupt_shadow") & 1 == shadow
