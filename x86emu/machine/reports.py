"""What is told of a run: its counters, a line for an instruction, the faults of a processor that shut down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from x86emu.core.processor import Processor
    from x86emu.machine.pc import Machine

EXCEPTION_NAMES = {
    0: "#DE", 1: "#DB", 3: "#BP", 4: "#OF", 5: "#BR", 6: "#UD", 7: "#NM", 8: "#DF", 10: "#TS", 11: "#NP", 12: "#SS",
    13: "#GP", 14: "#PF", 16: "#MF", 17: "#AC", 18: "#MC", 19: "#XM", 20: "#VE", 21: "#CP",
}  # fmt: skip
SELECTOR_ERRORS = (10, 11, 12, 13)  # exceptions whose error code names a descriptor
TRACED = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp")
ACTIVITY_SHUTDOWN = 2
MASK64 = (1 << 64) - 1


def trace_hook(listener: Callable[[str], object]) -> Callable[[Processor], None]:
    """Tells ``listener`` of each instruction: processor, CS:RIP, linear address, general registers, RFLAGS."""

    def hook(cpu: Processor) -> None:
        registers = " ".join(f"{name}={getattr(cpu, name):x}" for name in TRACED)
        place = f"{cpu.cs.selector:04x}:{cpu.rip:x} {(cpu.cs.base + cpu.rip) & MASK64:x}"
        listener(f"{cpu.index} {place} {registers} rflags={cpu.rflags:x}")

    return hook


def statistics(machine: Machine) -> dict[str, Any]:
    """Machine.stats()."""
    from x86emu.virt.collect import counters

    mips = machine.instructions / machine.cpu_seconds / 1e6 if machine.cpu_seconds else 0.0
    return {
        "instructions": machine.instructions,
        "virtual_nanoseconds": machine.clock.now(),
        "seconds": machine.seconds,
        "cpu_seconds": machine.cpu_seconds,
        "mips": mips,
        **_event_counts(machine),
        "exits": [counters(cpu) for cpu in machine.engine.cpus],
        "processors": [{"instructions": cpu.instructions} for cpu in machine.engine.cpus],
        "engine": machine.engine.trace_statistics(),
        "ports": {name: {"reads": r, "writes": w} for name, (r, w) in machine.ports.statistics().items()},
        "mmio": {name: {"reads": r, "writes": w} for name, (r, w) in machine.mmio.statistics().items()},
    }


def _event_counts(machine: Machine) -> dict[str, Any]:
    """Exceptions by name and interrupts by vector, over all processors."""
    exceptions: Counter[str] = Counter()
    interrupts: Counter[str] = Counter()
    nmis = 0
    for cpu in machine.engine.cpus:
        counts = cpu.event_counts()
        exceptions.update({EXCEPTION_NAMES.get(n, f"vector {n}"): count for n, count in counts["exceptions"].items()})
        interrupts.update({f"{n:02X}h": count for n, count in counts["interrupts"].items()})
        nmis += counts["nmis"]
    return {"exceptions": dict(exceptions), "interrupts": dict(interrupts), "nmis": nmis}


def triple_fault(machine: Machine) -> str:
    """Which processor shut down, where, and by which faults or for which other cause."""
    from x86emu.virt.collect import shutdown_words

    for cpu in machine.engine.cpus:
        if cpu.activity == ACTIVITY_SHUTDOWN:
            if words := shutdown_words(cpu, machine.memory):
                return f"processor {cpu.index} at {cpu.cs.selector:04x}:{cpu.rip:x}: {words}"
            faults = ", then ".join(_fault_words(vector, error) for vector, error, _ in cpu.faults())
            return f"processor {cpu.index} at {cpu.cs.selector:04x}:{cpu.rip:x}: {faults}"
    return ""


def _fault_words(vector: int, error: int | None) -> str:
    """An exception for people: `#GP error 0x33 at the gate of vector 6` (SDM 3A 6.13 for the error code)."""
    words = EXCEPTION_NAMES.get(vector, f"vector {vector}")
    if error is None:
        return words
    words += f" error {error:#x}"
    return words + f" at the gate of vector {error >> 3}" if vector in SELECTOR_ERRORS and error & 2 else words
