"""What a processor's virtualization did, as plain data that can be written as JSON: exits with instructions and page
walks, refused entries with the rows they broke, control blocks, a triple fault's three faults.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from x86emu.isa.disassembler import IncompleteInstruction, disassemble
from x86emu.isa.vmx_capabilities import SECONDARY
from x86emu.virt.operands import REGISTERS, VMCLEAR, VMLAUNCH, VMPTRLD, VMRESUME, VMXON, memory_operand
from x86emu.virt.svm import checks as svm_checks
from x86emu.virt.svm.exits import EXITS, exit_name
from x86emu.virt.svm.vmcb import SIZE, format_vmcb, read_field
from x86emu.virt.vmx.checks import describe_failure
from x86emu.virt.vmx.exit_reasons import EXIT_REASONS
from x86emu.virt.vmx.fields import print_vmcs, read_vmcs
from x86emu.virt.walk import Walk, walk_ept, walk_linear, walk_nested

if TYPE_CHECKING:
    from x86emu.core.memory import PhysicalMemory
    from x86emu.core.processor import Processor

SVM, VMX = 1, 2
NPT, EPT = 1, 2
_BITS = {0: 16, 1: 32, 2: 64}
EPT_VIOLATION, EPT_MISCONFIGURATION = 48, 49
# ShutdownCause of core/state.pxd
TRIPLE_FAULT, VMX_ABORT = 1, 2
_SHUTDOWN = {
    0: "a VM entry put the guest into the shutdown state",
    VMX_ABORT: "VMX abort (SDM 3C 28.7)",
    3: "shutdown: RSM found a state that may not be (SDM 3C 32.4, AMD APM 2, 10.3)",
    4: "shutdown: #VMEXIT found reserved bits in the host's PDPTEs (AMD APM 2, 15.6)",
}
_ABORTS = {1: "guest MSRs cannot be saved", 2: "the host's PDPTEs are not valid", 4: "host MSRs cannot be loaded"}


def instruction(code: bytes, mode: int, rip: int) -> str:
    """The first instruction of the bytes in words; empty where there are none or they are no instruction."""
    if not code:
        return ""
    try:
        return disassemble(code, _BITS[mode & 3], rip)[1]
    except IncompleteInstruction:
        return ""


def name_of(guest_mode: int, code: int) -> str:
    """The name of an exit: SVM's exit code or VMX's reason."""
    if guest_mode == VMX:
        known = EXIT_REASONS.get(code & 0xFFFF)
        return known[0] if known else f"exit reason {code & 0xFFFF}"
    return exit_name(code)


def words_of(guest_mode: int, code: int) -> str:
    if guest_mode == VMX:
        known = EXIT_REASONS.get(code & 0xFFFF)
        return known[1] if known else "not a known exit reason"
    return EXITS[code].description if code in EXITS else "unknown exit code"


class _Memory:
    """The translations of one exit record."""

    def __init__(self, record: Mapping[str, Any], memory: PhysicalMemory) -> None:
        self.record, self.read = record, memory.read
        self.pointer = record["root"]
        if record["second_level"] == EPT:
            self.pointer = read_vmcs(memory.read, record["block"]).get("ept_pointer", record["root"] | 0x1E)

    def second(self, guest_physical: int) -> Walk | None:
        """None where there is no second level."""
        if self.record["second_level"] == NPT:
            return walk_nested(
                self.read, guest_physical, self.pointer, self.record["host_cr4"], self.record["host_efer"]
            )
        if self.record["second_level"] == EPT:
            return walk_ept(self.read, guest_physical, self.pointer)
        return None

    def physical(self, guest_physical: int) -> int | None:
        walk = self.second(guest_physical)
        return guest_physical if walk is None else walk.result

    def first(self, linear: int) -> Walk:
        r = self.record
        return walk_linear(self.read, linear, r["cr0"], r["cr3"], r["cr4"], r["efer"], self.physical)

    def path(self, linear: int | None, guest_physical: int | None = None) -> dict[str, Any]:
        """Addresses and walks from a linear or a guest-physical address on."""
        found: dict[str, Any] = {"linear": linear, "guest_physical": guest_physical, "physical": None}
        if linear is not None:
            walk = self.first(linear)
            found["guest_walk"] = [list(step) for step in walk.steps]
            if guest_physical is None:
                found["guest_physical"] = guest_physical = walk.result
        if guest_physical is None:
            return found
        nested = self.second(guest_physical)
        if nested is None:
            found["physical"] = guest_physical
        else:
            found["physical"] = nested.result
            found["second_walk"] = [list(step) for step in nested.steps]
        return found


def _data_address(record: Mapping[str, Any], memory: _Memory) -> dict[str, Any] | None:
    """The address that an exit is about, beside its instruction's."""
    code, info1, info2 = record["code"], record["info1"], record["info2"]
    if record["guest_mode"] == SVM:
        if code == EXITS[0x400].code:
            return memory.path(None if info1 >> 33 & 1 and not record["linear"] else record["linear"], info2)
        if code == 0x4E:
            return memory.path(info2)
        if code == 0x79 and info1 or code == 0xA2:
            return memory.path(info1)
        return None
    basic = code & 0xFFFF
    if basic in (EPT_VIOLATION, EPT_MISCONFIGURATION):
        known = basic == EPT_VIOLATION and info1 >> 7 & 1
        return memory.path(record["linear"] if known else None, record["guest_physical"])
    if basic == 0 and info2 & 0xFF == 14 or basic == 14:
        return memory.path(info1)
    operand = memory_operand(record)
    return None if operand is None else memory.path(operand)


def svm_environment(cpu: Processor) -> dict[str, int]:
    """What the rows of VMRUN's checks ask beside the control block, but the host's paging, taken as on."""
    facts = cpu.virtualization_facts()
    mask = facts["physical_reserved"]
    return {
        "cr3_reserved": mask, "cr4_reserved": ~facts["cr4_valid"], "efer_reserved": ~facts["efer_valid"],
        "has_long_mode": facts["lm"], "has_npt": facts["npt"], "asids": facts["asids"],
        "physical_mask": ~mask & (1 << 64) - 1,
        "host_paging": 1, "ncr3_reserved": mask, "bad_pdptes": 0, "has_vnmi": facts["vnmi"], "has_avic": facts["avic"],
    }  # fmt: skip


def _nested_entry(cpu: Processor, record: Mapping[str, Any], memory: _Memory) -> list[str]:
    """A guest that is a hypervisor itself asks for VMRUN: the rows that its control block breaks."""
    address = record["rax"]
    physical = memory.physical(address)
    if physical is None:
        return [f"the guest's VMRUN names the control block at guest-physical {address:#x}, which is not mapped"]
    block = bytes(memory.read(physical, SIZE))
    broken = svm_checks.broken_checks(block, svm_environment(cpu))
    state = ", ".join(f"{name.upper()} {read_field(block, name):#x}" for name in ("rip", "rsp", "cr3"))
    words = [f"the guest's VMRUN names the control block at guest-physical {address:#x}, physical {physical:#x}: "
             f"guest {state}"]  # fmt: skip
    return words + [svm_checks.describe(check, block) for check in broken]


def shadow_vmcs(values: Mapping[str, int]) -> int | None:
    """Physical address of the VMCS that a guest's VMREAD and VMWRITE reach (SDM 3C 25.10), None without shadowing."""
    link = values["vmcs_link_pointer"]
    on = values["primary_controls"] >> 31 & values["secondary_controls"] >> SECONDARY["vmcs_shadowing"] & 1
    return link if on and link != (1 << 64) - 1 else None


def _nested_vmx(record: Mapping[str, Any], found: Mapping[str, Any], memory: _Memory) -> list[str]:
    """A guest that is a hypervisor itself names a VMCS, or enters its guest.

    What lies in a VMCS of the guest's is its hypervisor's matter, but for a shadow VMCS."""
    basic = record["code"] & 0xFFFF
    if basic in (VMCLEAR, VMPTRLD, VMXON) and found.get("data_address", {}).get("physical") is not None:
        pointer = int.from_bytes(memory.read(found["data_address"]["physical"], 8), "little")
        words = f"the guest's {EXIT_REASONS[basic][0]} names the region at guest-physical {pointer:#x}"
        physical = memory.physical(pointer)
        return [words + (", which is not mapped" if physical is None else f", physical {physical:#x}")]
    if basic in (VMLAUNCH, VMRESUME):
        shadow = shadow_vmcs(read_vmcs(memory.read, record["block"]))
        if shadow is not None:
            values = read_vmcs(memory.read, shadow)
            return [f"the guest's VMCS is shadowed at physical {shadow:#x}: guest RIP {values['guest_rip']:#x}, "
                    f"RSP {values['guest_rsp']:#x}, CR3 {values['guest_cr3']:#x}"]  # fmt: skip
    return []


def _failure(record: Mapping[str, Any], memory: PhysicalMemory) -> str:
    """The row that a refused entry broke, with the fields' values as they are now."""
    if record["guest_mode"] == VMX:
        return describe_failure(record["failed"], read_vmcs(memory.read, record["block"]))
    return svm_checks.describe(svm_checks.CHECKS[record["failed"] - 1], memory.read(record["block"], SIZE))


def _exit(cpu: Processor, record: dict[str, Any], memory: PhysicalMemory) -> dict[str, Any]:
    translations = _Memory(record, memory)
    found = {key: value for key, value in record.items() if key != "bytes"}
    found["name"] = name_of(record["guest_mode"], record["code"])
    found["words"] = words_of(record["guest_mode"], record["code"])
    if record["failed"]:
        found["failure"] = _failure(record, memory)
        return found
    linear = record["rip"] + record["cs_base"]
    found["code_address"] = translations.path(linear)
    code = record["bytes"]
    if not code and found["code_address"]["physical"] is not None:
        code = memory.read(found["code_address"]["physical"], min(15, 4096 - (linear & 0xFFF)))
    found["bytes"] = bytes(code).hex()
    found["instruction"] = instruction(bytes(code), record["mode"], record["rip"])
    data = _data_address(record, translations)
    if data is not None:
        found["data_address"] = data
    if record["guest_mode"] == VMX:
        found["nested_entry"] = _nested_vmx(record, found, translations)
    elif record["code"] == 0x80:
        found["nested_entry"] = _nested_entry(cpu, record, translations)
    return found


def _block(address: int, guest_mode: int, memory: PhysicalMemory) -> str:
    if guest_mode == VMX:
        return print_vmcs(read_vmcs(memory.read, address))
    return format_vmcb(memory.read(address, SIZE))


def is_shutdown(record: Mapping[str, Any]) -> bool:
    """A guest's triple fault."""
    return bool((record["code"] & 0xFFFF) == (2 if record["guest_mode"] == VMX else 0x7F))


def shutdown_words(cpu: Processor, memory: PhysicalMemory) -> str | None:
    """Why a processor is in the shutdown state, in words; None where it is not, and for a triple fault."""
    cause = cpu.shutdown_cause
    if cause is None or cause == TRIPLE_FAULT:
        return None
    words = _SHUTDOWN[cause]
    if cause == VMX_ABORT and cpu.current_vmcs is not None:
        indicator = int.from_bytes(memory.read(cpu.current_vmcs + 4, 4), "little")
        words += f": {_ABORTS.get(indicator, f'indicator {indicator}')}, VMCS {cpu.current_vmcs:#x}"
    return words


def _fault(fault: tuple[int, int | None, int], place: Mapping[str, Any]) -> dict[str, Any]:
    vector, error, address = fault
    found = {key: value for key, value in place.items() if key not in ("bytes", "n_bytes")}
    found |= {"vector": vector, "error": error, "address": address, "bytes": place["bytes"].hex()}
    return found | {"instruction": instruction(place["bytes"], place["mode"], place["rip"])}


def _faults(cpu: Processor, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The three faults of the processor's shutdown, or of its guest's last one; none where there was neither."""
    faults = cpu.faults()
    if cpu.shutdown_cause != TRIPLE_FAULT:
        event = None
        for record in filter(is_shutdown, records):
            event = record["event"]
            faults[2] = event & 0xFF, event >> 32 if event >> 11 & 1 else None, record["linear"]
        if event is None:
            return []
    return [_fault(fault, place) for fault, place in zip(faults, cpu.fault_places(), strict=True)]


def last_exit(cpu: Processor) -> dict[str, Any]:
    """The record of the exit that happens now, for a hook of Engine.set_exit_hook(), with the guest's registers."""
    return cpu.exit_records(1)[0] | {"registers": [getattr(cpu, name) for name in REGISTERS]}


class Recorder:
    """Explains every exit as it happens, while the guest's and the nested tables are what they were; a hook for
    Engine.set_exit_hook()."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.kept: dict[int, deque[dict[str, Any]]] = {}

    def __call__(self, cpu: Processor) -> None:
        kept = self.kept.setdefault(cpu.index, deque(maxlen=64))
        kept.append(_exit(cpu, last_exit(cpu), self.memory))


def collect(
    cpu: Processor, memory: PhysicalMemory, count: int = 64, recorder: Recorder | None = None
) -> dict[str, Any]:
    """Everything about one processor: its last `count` exits, oldest first, and what goes with them.

    Without a recorder the page walks are those of the tables as they are now."""
    records = cpu.exit_records(count)
    kept = {exit_["number"]: exit_ for exit_ in recorder.kept.get(cpu.index, ())} if recorder else {}
    exits = [kept[record["number"]] if record["number"] in kept else _exit(cpu, record, memory) for record in records]
    exception = cpu.last_exception()
    blocks: dict[str, str] = {}
    for record in reversed(records):
        key = f"{'VMCS' if record['guest_mode'] == VMX else 'VMCB'} {record['block']:#x}"
        if key not in blocks:
            blocks[key] = _block(record["block"], record["guest_mode"], memory)
            shadow = shadow_vmcs(read_vmcs(memory.read, record["block"])) if record["guest_mode"] == VMX else None
            if shadow is not None:
                blocks[f"{key}'s shadow VMCS {shadow:#x}"] = _block(shadow, VMX, memory)
    refused = None
    if cpu.in_vmx_operation and cpu.failed_vmx_check and cpu.current_vmcs is not None:
        refused = describe_failure(cpu.failed_vmx_check, read_vmcs(memory.read, cpu.current_vmcs))
    elif cpu.failed_check is not None:
        refused = svm_checks.describe(svm_checks.CHECKS[cpu.failed_check], memory.read(cpu.vmcb, SIZE))
    return {
        "processor": cpu.index,
        "shut_down": cpu.shutdown_cause == TRIPLE_FAULT,
        "shutdown": shutdown_words(cpu, memory),
        "exit_count": cpu.exit_count,
        "refused": refused,
        "faults": _faults(cpu, records),
        "exception": None if exception is None else _fault(*exception),
        "exits": exits,
        "counters": counters(cpu),
        "blocks": blocks,
    }


def counters(cpu: Processor) -> list[dict[str, Any]]:
    """How often each reason was met, with the instructions of the guest before and of the hypervisor after."""
    rows = [
        {"reason": name_of(mode, code), "count": n, "guest": guest, "hypervisor": host}
        for (mode, code), (n, guest, host) in cpu.exit_counters().items()
    ]
    return sorted(rows, key=lambda row: (-int(row["count"]), str(row["reason"])))
