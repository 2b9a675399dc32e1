"""SMIs in VMX operation, by the default treatment (SDM 3C, 32.14): SMM is outside VMX operation, RSM brings it back.

The SMI handler starts in real-address mode with the IDTR of the interrupted code: its vector 6 is then the upper half
of gate 1, which is 0:0, and its vector 13 the type of gate 3, which is 0:8E00h; both have a HLT here.
"""

from __future__ import annotations

import pytest

from tests.core.bare_machine import CODE, DATA
from tests.virt.vmx_guest import GUEST, VMCS, VmxGuest
from x86emu.isa.vmx_capabilities import SECONDARY
from x86emu.virt.vmx.fields import LAUNCH_STATE

HANDLER = 0x38000  # SMBASE 30000h
UNDEFINED, PROTECTION = 0x0001, 0x8E01  # RIP behind the HLT
RSM = "0faa"
PROTECT_AND_BACK = "0f20c0 0c01 0f22c0 24fe 0f22c0"  # mov eax, cr0; or al, 1; mov cr0, eax; and al, 0FEh; mov cr0, eax
TELL = "c606f01f01"  # mov byte [1FF0h], 1


def with_handler(code: str, model: str = "sapphire_rapids") -> VmxGuest:
    guest = VmxGuest(model)
    guest.memory.write(HANDLER, bytes.fromhex(code) + b"\xf4")
    for address in (0, 0x8E00):
        guest.memory.write(address, b"\xf4")
    return guest


@pytest.mark.parametrize("model", ["nehalem_ept", "sapphire_rapids"])
def test_a_guest_goes_on_behind_rsm(model: str) -> None:
    guest = with_handler(PROTECT_AND_BACK + TELL + RSM, model)
    guest.machine.signals[0].pulse_smi()
    assert guest.run("90") == 18
    assert guest.memory.read(0x1FF0, 1) == b"\x01"
    assert guest.cpu.current_vmcs == VMCS
    assert guest.cpu.cr4 & 0x2000


def test_an_smi_between_instructions_of_a_guest() -> None:
    guest = with_handler(PROTECT_AND_BACK + TELL + RSM)
    guest.memory.write(GUEST, bytes.fromhex("ebfe"))
    guest.memory.write(VMCS + LAUNCH_STATE, bytes(4))
    cpu = guest.cpu
    guest.memory.write(CODE, bytes.fromhex("0f01c2f4"))
    cpu.rip, cpu.activity = CODE, 0
    guest.machine.engine.run(10)
    assert (cpu.guest_mode, cpu.rip) == (2, GUEST)
    guest.machine.signals[0].pulse_smi()
    guest.machine.engine.run(1)
    assert cpu.in_smm and cpu.guest_mode == 0 and not cpu.cr4 & 0x2000
    guest.machine.engine.run(20)
    assert not cpu.in_smm
    assert (cpu.guest_mode, cpu.rip, cpu.cr4 & 0x2000) == (2, GUEST, 0x2000)


@pytest.mark.parametrize(
    ("code", "stopped_at"),
    [
        ("0fc73e0010", UNDEFINED),  # vmptrst [1000h]
        ("0f01c1", UNDEFINED),  # vmcall
        ("0f20e0 80cc20 0f22e0", PROTECTION),  # mov eax, cr4; or ah, 20h; mov cr4, eax: VMXE is reserved in SMM
    ],
)
def test_no_vmx_operation_in_smm(code: str, stopped_at: int) -> None:
    guest = with_handler(code)
    guest.machine.signals[0].pulse_smi()
    guest.memory.write(CODE, b"\x90\xf4")
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    guest.machine.engine.run(100)
    assert guest.cpu.in_smm
    assert (guest.cpu.cs.base, guest.cpu.rip) == (0, stopped_at)


def test_rsm_restores_the_fixed_bits() -> None:
    """Whatever the handler made of CR0 and CR4 in the save area."""
    guest = with_handler("2e6681a648ff" "ffdfffff" "2e6681a658ff" "dfffffff" + RSM)  # cs: and dword [...], ~VMXE; ~NE
    cpu = guest.cpu
    cr0, cr4 = cpu.cr0, cpu.cr4
    guest.machine.signals[0].pulse_smi()
    guest.memory.write(CODE, b"\x90\xf4")
    cpu.rip, cpu.activity = CODE, 0
    guest.machine.engine.run(100)
    assert not cpu.in_smm
    assert (cpu.rip, cpu.cr0, cpu.cr4) == (CODE + 2, cr0, cr4)


def test_xsaves_in_a_guest() -> None:
    """#UD without its control (26.1.3); with it, no exit while IA32_XSS selects no component."""
    guest = VmxGuest("sapphire_rapids")
    guest.cpu.cr4 = guest.cpu.cr4 | 0x40000
    everything = (1 << 64) - 1
    guest.set(guest_cr4=guest.cpu.cr4, host_cr4=guest.cpu.cr4, exception_bitmap=1 << 6, xss_exiting_bitmap=everything)
    code = f"0fc72c25{DATA.to_bytes(4, 'little').hex()}"  # xsaves [DATA]
    assert guest.run(code, rax=3, rdx=0) == 0
    assert guest.get("exit_interruption_information") & 0xFF == 6
    guest.control(SECONDARY, "enable_xsaves")
    assert guest.run(code, rax=3, rdx=0) == 18
    assert guest.memory.read(DATA + 0x208 + 7, 1) == b"\x80", "the compacted form"
