"""What a processor's virtualization did last, in words: the last exits, and why a VMRUN was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.virt.svm.checks import CHECKS, describe
from x86emu.virt.svm.exits import EXITS, exit_name
from x86emu.virt.svm.vmcb import SIZE
from x86emu.virt.vmx.checks import describe_failure
from x86emu.virt.vmx.exit_reasons import explain_vmx_exit
from x86emu.virt.vmx.fields import read_vmcs

if TYPE_CHECKING:
    from x86emu._core import Processor
    from x86emu.core.memory import PhysicalMemory

_NPF_BITS = {0: "present", 1: "write", 2: "user", 3: "reserved bit", 4: "fetch", 32: "final address", 33: "table walk"}


def explain_exit(code: int, info1: int, info2: int, rip: int) -> str:
    """One exit as a line: its name, what happened, where, and EXITINFO1 and 2 in words where they have some."""
    known = EXITS.get(code)
    line = f"{exit_name(code):14} at rip {rip:#x}: {known.description if known else 'unknown exit code'}"
    if code == EXITS[0x400].code:
        bits = ", ".join(name for bit, name in _NPF_BITS.items() if info1 >> bit & 1)
        return f"{line}; guest-physical {info2:#x}: {bits}"
    if code == 0x7B:
        instruction = ("IN" if info1 & 1 else "OUT") + ("S" if info1 & 4 else "")
        return f"{line}; {instruction} port {info1 >> 16 & 0xFFFF:#x}, {info1 >> 4 & 7} bytes"
    if code == 0x7C:
        return f"{line}; {'WRMSR' if info1 else 'RDMSR'}"
    if code == 0x4E:
        return f"{line}; error code {info1:#x}, address {info2:#x}"
    if info1 or info2:
        line += f"; EXITINFO1 {info1:#x}, EXITINFO2 {info2:#x}"
    return line


def explain(cpu: Processor, memory: PhysicalMemory, count: int = 8) -> str:
    """The last `count` exits of a processor, oldest first, and the broken row where its last VMRUN was refused."""
    lines = []
    if cpu.failed_check is not None:
        lines.append(describe(CHECKS[cpu.failed_check], memory.read(cpu.vmcb, SIZE)))
    vmx = cpu.in_vmx_operation
    if vmx and cpu.failed_vmx_check and cpu.current_vmcs is not None:
        lines.append(describe_failure(cpu.failed_vmx_check, read_vmcs(memory.read, cpu.current_vmcs)))
    exits = cpu.exits()[-count:]
    if exits:
        lines.append(f"processor {cpu.index}: {cpu.exit_count} exits from guest mode; the last {len(exits)}:")
        for code, info1, info2, rip, _, _, instructions in exits:
            words = explain_vmx_exit(code, info1, info2, rip) if vmx else explain_exit(code, info1, info2, rip)
            lines.append(f"  {instructions:>14,}  {words}")
    else:
        lines.append(f"processor {cpu.index}: no exits from guest mode")
    return "\n".join(lines)
