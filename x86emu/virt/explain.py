"""What a processor's virtualization did last, in words: exits with their instructions, addresses and page walks,
refused entries with the rows they broke, a triple fault's three faults.  Renders what collect() gathered.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from x86emu.virt.collect import SVM, Recorder, collect, is_shutdown, name_of, words_of
from x86emu.virt.operands import operand_words, vector_name
from x86emu.virt.svm.exits import EXITS
from x86emu.virt.vmx.exit_reasons import explain_vmx_exit

if TYPE_CHECKING:
    from x86emu.core.memory import PhysicalMemory
    from x86emu.core.processor import Processor

_NPF_BITS = {0: "present", 1: "write", 2: "user", 3: "reserved bit", 4: "fetch", 32: "final address", 33: "table walk"}
_IPI = {0: "not a fixed edge-triggered interrupt", 1: "the target does not run", 2: "no such target",
        3: "bad backing page", 4: "vector below 16"}  # fmt: skip
_EVENTS = {0: "external interrupt", 2: "NMI", 4: "software interrupt", 5: "INT1", 6: "software exception"}


def explain_exit(code: int, info1: int, info2: int, rip: int) -> str:
    """One exit of SVM as a line: its name, what happened, where, and EXITINFO1 and 2 in words where they have some."""
    line = f"{name_of(SVM, code):14} at rip {rip:#x}: {words_of(SVM, code)}"
    if code == EXITS[0x400].code:
        bits = ", ".join(name for bit, name in _NPF_BITS.items() if info1 >> bit & 1)
        return f"{line}; guest-physical {info2:#x}: {bits}"
    if code == 0x7B:
        instruction = ("IN" if info1 & 1 else "OUT") + ("S" if info1 & 4 else "")
        return f"{line}; {instruction} port {info1 >> 16 & 0xFFFF:#x}, {info1 >> 4 & 7} bytes"
    if code == 0x4E:
        return f"{line}; error code {info1:#x}, address {info2:#x}"
    if code == 0x401:
        return f"{line}; ICR {info1:#x}: {_IPI.get(info2 >> 32, 'unknown reason')}, index {info2 & 0x1FF}"
    if code == 0x402:
        return f"{line}; {'write' if info1 >> 32 & 1 else 'read'} of APIC register {info1 & 0xFF0:#x}"
    if 0x8F <= code <= 0x9F:
        return f"{line}; new value {info1:#x}"
    if code == 0x7C:
        return f"{line}; {'write' if info1 else 'read'}"
    if info1 or info2:
        line += f"; EXITINFO1 {info1:#x}, EXITINFO2 {info2:#x}"
    return line


def _event(event: int) -> str:
    kind = event >> 8 & 7
    what = vector_name(event & 0xFF) if kind == 3 else f"{_EVENTS.get(kind, 'event')} {event & 0xFF:#x}"
    return f"while it delivered {what}" + (f", error code {event >> 32:#x}" if event >> 11 & 1 and event >> 32 else "")


def _address(value: int | None) -> str:
    return "not mapped" if value is None else f"{value:#x}"


def _path(title: str, path: Mapping[str, Any]) -> list[str]:
    """Linear, guest-physical and physical address, and the walks between them."""
    parts = []
    if path["linear"] is not None:
        parts.append(f"linear {path['linear']:#x}")
    parts.append(f"guest-physical {_address(path['guest_physical'])}")
    parts.append(f"physical {_address(path['physical'])}")
    lines = [f"{title:<12} {' -> '.join(parts)}"]
    for name, key in (("guest walk", "guest_walk"), ("second walk", "second_walk")):
        if path.get(key):
            steps = ", ".join(f"{step} at {at:#x} = {entry:#x}" for step, at, entry in path[key])
            lines.append(f"  {name:<12} {steps}")
    return lines


def exit_line(record: Mapping[str, Any]) -> str:
    """One exit in one line: when, of which control block, why."""
    kind = "VMCB" if record["guest_mode"] == SVM else "VMCS"
    if record["guest_mode"] == SVM:
        words = explain_exit(record["code"], record["info1"], record["info2"], record["rip"])
    else:
        words = explain_vmx_exit(record["code"], record["info1"], record["rip"])
    operands = "" if record["failed"] else operand_words(record)
    if operands:
        words += f"; {operands}"
    return f"{record['instructions']:>14,}  {kind} {record['block']:#x}  {words}"


def _exit(record: Mapping[str, Any]) -> list[str]:
    lines = [f"  #{record['number']} {exit_line(record)}"]
    if record["failed"]:
        return [*lines, f"      {record['failure']}"]
    ran = record["instructions"] - record["entered"]
    behind = record["guest_mode"] == SVM and (0x8F <= record["code"] <= 0x9F or record["code"] == 0x401)
    lines.append(f"      {'goes on at' if behind else 'instruction':<12} {record['instruction'] or '(bytes not known)'}"
                 f"   CPL {record['cpl']}, the guest had run {ran:,} instructions")  # fmt: skip
    if record["event"] >> 31 & 1 and not is_shutdown(record):
        lines.append(f"      {_event(record['event'])}")
    lines += [f"      {line}" for line in _path("code", record["code_address"])]
    if "data_address" in record:
        lines += [f"      {line}" for line in _path("data", record["data_address"])]
    return lines + [f"      {line}" for line in record.get("nested_entry", [])]


def _fault(fault: Mapping[str, Any]) -> str:
    error = "" if fault["error"] is None else f" with error code {fault['error']:#x}"
    address = f", address {fault['address']:#x}" if fault["vector"] == 14 else ""
    what = f"{vector_name(fault['vector'])}{error}{address} at {fault['cs']:04x}:{fault['rip']:x}"
    state = f"CPL {fault['cpl']}, rsp {fault['rsp']:#x}, cr3 {fault['cr3']:#x}"
    return f"{what}  {fault['instruction'] or '(bytes not known)'}   {state}"


def _fault_lines(faults: list[Mapping[str, Any]]) -> list[str]:
    ordinals = ("first", "second", "third")
    return ["triple fault:"] + [f"  {n:<7}{_fault(fault)}" for n, fault in zip(ordinals, faults, strict=True)]


def counter_lines(rows: list[Mapping[str, Any]]) -> list[str]:
    """Exits by reason, with the mean number of instructions of the guest before and of the hypervisor after one."""
    lines = [f"  {'exits':>10}  {'guest before':>14}  {'hypervisor after':>16}  reason"]
    for row in rows:
        n = row["count"]
        lines.append(f"  {n:>10,}  {row['guest'] // n:>14,}  {row['hypervisor'] // n:>16,}  {row['reason']}")
    return lines


def render(found: Mapping[str, Any], count: int = 8, blocks: bool = False) -> str:
    """What collect() found in words: the last `count` exits; blocks: the control blocks as tables, too."""
    index = found["processor"]
    lines = []
    if found["refused"]:
        lines.append(found["refused"])
    if found.get("shutdown"):
        lines.append(found["shutdown"])
    shutdown = any(is_shutdown(record) for record in found["exits"][-count:])
    if found["shut_down"] or shutdown:
        lines += _fault_lines(found["faults"])
    elif found.get("exception"):
        where = "a guest" if found["exception"]["guest_mode"] else "the host"
        lines.append(f"last exception, in {where}: {_fault(found['exception'])}")
    shown = found["exits"][-count:] if count else []
    if not found["exit_count"]:
        return "\n".join([*lines, f"processor {index}: no exits from guest mode"])
    lines.append(f"processor {index}: {found['exit_count']} exits from guest mode; the last {len(shown)}:")
    for record in shown:
        lines += _exit(record)
    lines += counter_lines(found["counters"])
    if blocks:
        for name, text in found["blocks"].items():
            lines += [f"{name}:", text]
    return "\n".join(lines)


def explain(
    cpu: Processor, memory: PhysicalMemory, count: int = 8, blocks: bool = False, recorder: Recorder | None = None
) -> str:
    """A processor's last `count` exits, oldest first, the broken row where its last entry was refused, and more."""
    return render(collect(cpu, memory, count, recorder), count, blocks)
