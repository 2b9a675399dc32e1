"""IA32_PKRS in VMX operation: "load PKRS" of entries and exits (SDM 3C, 25.7.1, 25.8.1, 27.3.1.1, 28.3.1, 28.5.1)."""

from __future__ import annotations

import pytest

from tests.virt.vmx_guest import VmxGuest
from x86emu.isa.vmx_capabilities import ENTRY, EXIT, capability_msrs

RDMSR_PKRS = "b9e10600000f32"  # mov ecx, 6E1h; rdmsr
MODEL = "sapphire_rapids"


def test_without_the_controls_nothing_is_loaded() -> None:
    guest = VmxGuest(MODEL)
    guest.cpu.pkrs = 0x10
    guest.set(guest_pkrs=0x20, host_pkrs=0x30)
    assert guest.run(RDMSR_PKRS) == 31  # exits without bitmaps
    assert guest.cpu.pkrs == 0x10
    assert guest.get("guest_pkrs") == 0x10  # saved whatever the controls say


@pytest.mark.parametrize("host", [0x10, 0x30])
def test_rights_are_loaded_and_saved(host: int) -> None:
    guest = VmxGuest(MODEL)
    guest.control(ENTRY, "load_pkrs")
    guest.control(EXIT, "load_pkrs")
    guest.cpu.pkrs = 0x10
    guest.set(guest_pkrs=0x20, host_pkrs=host)
    assert guest.run("90") == 18  # VMCALL
    assert (guest.cpu.pkrs, guest.get("guest_pkrs")) == (host, 0x20)


def test_offered_with_protection_keys_of_supervisor_pages_alone() -> None:
    features = {"vmx", "lm", "ept", "vpid", "pks"}
    entry, exit_ = capability_msrs(features)[4], capability_msrs(features)[3]
    assert entry >> 54 & exit_ >> 61 & 1
    without = capability_msrs(features - {"pks"})
    assert not (without[4] >> 54 | without[3] >> 61) & 1
