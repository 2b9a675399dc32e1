"""`machine.explain()`, `x86emu boot --explain` and `x86emu explain`, `--trace exits`, page walks in words."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, cast

import pytest

from tests.core.bare_machine import CODE, IDT
from tests.virt.svm_guest import GUEST, GUEST_DATA, VMCB, SvmGuest
from tests.virt.vmx_guest import VMCS, VmxGuest
from x86emu.cli import main
from x86emu.machine.reports import triple_fault
from x86emu.virt.collect import Recorder, collect
from x86emu.virt.explain import explain, render
from x86emu.virt.walk import walk_ept, walk_linear, walk_nested


def test_walks_of_both_levels() -> None:
    guest = SvmGuest()
    guest.map_page(GUEST_DATA, 0, 0)
    assert guest.run("90" + "8b042508001300") == 0x400
    found = collect(guest.cpu, guest.memory)
    record = found["exits"][-1]
    assert record["name"] == "NPF"
    assert record["instruction"] == "mov eax, dword [130008h]" or "130008" in record["instruction"]
    code, data = record["code_address"], record["data_address"]
    assert (code["linear"], code["guest_physical"], code["physical"]) == (GUEST + 1,) * 3
    assert (data["linear"], data["guest_physical"], data["physical"]) == (GUEST_DATA + 8, GUEST_DATA + 8, None)
    assert [step[0] for step in data["guest_walk"]] == ["PML4E", "PDPTE", "PDE"]
    assert [step[0] for step in data["second_walk"]] == ["PML4E", "PDPTE", "PDE", "PTE"]
    words = render(found)
    assert "guest walk" in words and "second walk" in words
    assert "not mapped" in words
    assert json.loads(json.dumps(found)) == found


def test_recorder_keeps_walks_as_they_were() -> None:
    guest = SvmGuest()
    recorder = Recorder(guest.memory)
    guest.engine.set_exit_hook(recorder)
    guest.map_page(GUEST_DATA, 0, 0)
    assert guest.run("8b042508001300") == 0x400
    guest.map_page(GUEST_DATA, GUEST_DATA)
    now, then = collect(guest.cpu, guest.memory), collect(guest.cpu, guest.memory, recorder=recorder)
    assert now["exits"][-1]["data_address"]["physical"] == GUEST_DATA + 8
    assert then["exits"][-1]["data_address"]["physical"] is None
    assert "physical not mapped" in explain(guest.cpu, guest.memory, recorder=recorder)


def test_event_that_was_being_delivered() -> None:
    guest = SvmGuest()
    guest.memory.write(IDT + 0x42 * 16, bytes(16))
    guest.set(intercept_exceptions=1 << 13)
    guest.run("cd42")
    words = explain(guest.cpu, guest.memory)
    assert "while it delivered software interrupt 0x42" in words
    assert "int" in words


def test_refused_entry_names_its_row() -> None:
    guest = SvmGuest()
    guest.set(guest_asid=0)
    guest.run("90")
    words = explain(guest.cpu, guest.memory, blocks=True)
    assert words.count("VMRUN refused: the ASID is 0 (APM 2, 15.5.1; asid_zero): guest_asid = 0x0.") == 2
    assert f"VMCB {VMCB:#x}:" in words
    assert "EFER" in words or "efer" in words


def test_a_guests_own_vmrun_is_checked() -> None:
    """One level further down: the guest's hypervisor asks for a VMRUN that the rows would refuse."""
    guest = SvmGuest()
    guest.memory.write(0x140000, guest.block)
    guest.memory.write(0x140000 + 0x58, struct.pack("<I", 0))
    guest.set(rax=0x140000)
    assert guest.run("0f01d8") == 0x80
    words = explain(guest.cpu, guest.memory)
    assert "the guest's VMRUN names the control block at guest-physical 0x140000, physical 0x140000" in words
    assert "the ASID is 0" in words


def test_three_faults_of_a_triple_fault() -> None:
    guest = SvmGuest()
    guest.set(intercept_misc1=1 << 31)
    guest.memory.write(VMCB + 0x480, bytes(16))
    assert guest.run("9031c0f7f0") == 0x7F  # division by zero, and no IDT
    words = explain(guest.cpu, guest.memory)
    assert "triple fault:" in words
    lines = words.split("triple fault:")[1].splitlines()[1:4]
    assert ["#DE" in lines[0], "#GP" in lines[1], "#GP" in lines[2]] == [True] * 3
    assert all("div eax" in line for line in lines)
    assert f":{GUEST + 3:x}" in lines[0]


def recorded(guest: VmxGuest) -> dict[str, Any]:
    guest.machine.engine.set_exit_hook(Recorder(guest.memory))
    return collect(guest.cpu, guest.memory)


def test_the_last_exception_of_the_host_has_its_place() -> None:
    guest = VmxGuest()
    assert recorded(guest)["exception"] is None
    assert guest.machine.fault("9031c0f7f0") == (0, None)
    found = collect(guest.cpu, guest.memory)
    assert found["exception"] | {"rip": CODE + 3, "cs": 8, "vector": 0, "guest_mode": 0} == found["exception"]
    assert f"last exception, in the host: #DE at 0008:{CODE + 3:x}  div eax   CPL 0, rsp 0x" in render(found)
    assert json.loads(json.dumps(found)) == found
    assert guest.machine.fault("48a1ffffffff7f000000") == (14, 0)  # mov rax, [7FFFFFFFFFh]
    words = explain(guest.cpu, guest.memory)
    assert f"#PF with error code 0x0, address 0x7fffffffff at 0008:{CODE:x}  mov rax, " in words
    assert found["faults"] == [] and "triple fault" not in words


def test_an_exception_that_a_guest_handles_is_told_as_its() -> None:
    guest = VmxGuest()
    recorded(guest)
    guest.memory.write(0x6000 + 6, bytes.fromhex("0f01c1"))  # VMCALL as the handler of #UD
    assert guest.run("90900f0b") == 18
    assert f"last exception, in a guest: #UD at 0008:{GUEST + 2:x}  ud2 " in explain(guest.cpu, guest.memory)


def test_a_double_fault_that_is_handled_is_no_triple_fault() -> None:
    guest = VmxGuest()
    recorded(guest)
    guest.memory.write(IDT + 13 * 16, bytes(16))
    guest.memory.write(IDT, bytes(16))
    assert guest.machine.fault("9031c0f7f0") == (8, 0)
    found = collect(guest.cpu, guest.memory)
    assert found["faults"] == []
    assert f"#DF with error code 0x0 at 0008:{CODE + 3:x}  div eax" in render(found)


def test_without_recording_no_exception_is_claimed() -> None:
    guest = VmxGuest()
    assert guest.machine.fault("0f0b") == (6, None)
    found = collect(guest.cpu, guest.memory)
    assert (found["faults"], found["exception"]) == ([], None)
    assert render(found) == "processor 0: no exits from guest mode"


def test_a_vmx_abort_is_no_triple_fault() -> None:
    guest = VmxGuest()
    recorded(guest)
    guest.set(exit_msr_load_count=1, exit_msr_load_address=GUEST_DATA)
    guest.memory.write(GUEST_DATA, struct.pack("<QQ", 0x12345, 0))
    guest.memory.write(GUEST, bytes.fromhex("0f01c1"))
    guest.memory.write(CODE, bytes.fromhex("0f01c2f4"))
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    assert guest.machine.engine.run(1000) == "triple fault"  # the state that the processor is left in
    words = explain(guest.cpu, guest.memory)
    assert words.startswith(f"VMX abort (SDM 3C 28.7): host MSRs cannot be loaded, VMCS {VMCS:#x}\n")
    assert "triple fault" not in words
    assert f"VMCALL at rip {GUEST:#x}" in words
    assert ": VMX abort (SDM 3C 28.7): host MSRs" in triple_fault(cast(Any, guest.machine))


def test_other_shutdowns_are_no_triple_fault() -> None:
    guest = VmxGuest()
    guest.set(guest_activity=2)
    guest.memory.write(CODE, bytes.fromhex("0f01c2f4"))
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    assert guest.machine.engine.run(1000) == "halted"
    assert explain(guest.cpu, guest.memory).startswith("a VM entry put the guest into the shutdown state\n")
    guest = VmxGuest()
    guest.memory.write(0x38000, bytes.fromhex("2e66810e48ff000000800faa"))  # or dword cs:[CR4], 80000000h; rsm
    guest.machine.signals[0].pulse_smi()
    guest.memory.write(CODE, b"\x90\xf4")
    guest.cpu.rip, guest.cpu.activity = CODE, 0
    assert guest.machine.engine.run(1000) == "triple fault"
    assert explain(guest.cpu, guest.memory).startswith("shutdown: RSM found a state that may not be")


def test_exit_hook_and_counters() -> None:
    guest = SvmGuest()
    seen: list[str] = []
    guest.engine.set_exit_hook(lambda cpu: seen.append(hex(cpu.exit_records()[-1]["code"])))
    guest.set(intercept_misc1=1 << 18)
    guest.run("9090900fa2")
    guest.engine.set_exit_hook(None)
    guest.run("0fa2")
    assert seen == ["0x72"]
    count, before, after = guest.cpu.exit_counters()[1, 0x72]
    assert (count, before) == (2, 3)
    assert after > 0


def test_hook_that_raises_ends_the_run() -> None:
    guest = SvmGuest()

    def hook(cpu: object) -> None:
        raise RuntimeError("seen enough")

    guest.engine.set_exit_hook(hook)
    with pytest.raises(RuntimeError, match="seen enough"):
        guest.run("90")


def memory_of(entries: dict[int, int]):  # type: ignore[no-untyped-def]
    def read(address: int, length: int) -> bytes:
        return (entries.get(address, 0) & (1 << 8 * length) - 1).to_bytes(length, "little")

    return read


def test_walks_of_every_mode() -> None:
    same = lambda address: address  # noqa: E731
    read = memory_of({0x1000: 0x2001, 0x2004: 0x3001, 0x3008: 0x87000000})
    assert walk_linear(read, 0x401234, 1 << 31, 0x1000, 0, 0, same).result is None
    read = memory_of({0x1004: 0x2001, 0x2004: 0x5001, 0x100C: 0x800083})
    assert walk_linear(read, 0x401234, 1 << 31, 0x1000, 0, 0, same).result == 0x5234
    assert walk_linear(read, 0xC01234, 1 << 31, 0x1000, 0x10, 0, same).result == 0x801234
    read = memory_of({0x1000: 0x2001, 0x2008: 0x3001, 0x3008: 0x7001})
    assert walk_linear(read, 0x201234, 1 << 31, 0x1000, 0x20, 0, same).result == 0x7234
    read = memory_of({0x1000: 0x2007, 0x2000: 0x3007, 0x3000: 0x4007, 0x4000: 0x5007, 0x5000: 0x6007})
    assert walk_linear(read, 0x123, 1 << 31, 0x1000, 0x1020, 0x400, same).result == 0x6123
    assert walk_nested(read, 0x123, 0x1000, 0x20, 0x400).result == 0x5123
    assert walk_ept(read, 0x123, 0x1000 | 0x1E).result == 0x5123
    assert walk_linear(read, 0x123, 0, 0, 0, 0, same).result == 0x123
    assert str(walk_nested(read, 1 << 39, 0x1000, 0x20, 0x400)).endswith("(not present)")


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    guest = SvmGuest()
    guest.set(guest_asid=0)
    guest.run("90")
    file = tmp_path / "run.json"
    found = {"format": "x86emu explanation 1", "ended": "the guest powered off"}
    file.write_text(json.dumps(found | {"processors": [collect(guest.cpu, guest.memory)]}))
    assert main(["explain", str(file), "--blocks"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("the guest powered off\nVMRUN refused: the ASID is 0")
    assert f"VMCB {VMCB:#x}:" in out
    assert main(["explain", str(file), "--processor", "1"]) == 2
    assert "processors 0 to 0" in capsys.readouterr().err
    file.write_text("{}")
    assert main(["explain", str(file)]) == 2
    assert main(["explain", str(tmp_path / "none")]) == 2
    assert "cannot be read" in capsys.readouterr().err


def test_code_at_the_place_of_the_host() -> None:
    guest = SvmGuest()
    guest.run("90")
    assert guest.cpu.exit_records()[-1]["rip"] == GUEST + 1
    assert guest.cpu.rip == CODE + 4
