"""`info SUBJECT`: what the machine and its parts are doing.  Nothing here changes the machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from x86emu import __version__
from x86emu.bus.pci import COMMAND, INTERRUPT_LINE, INTERRUPT_PIN, PciFunction
from x86emu.errors import UserInputError
from x86emu.monitor.memory_dump import code_bits
from x86emu.monitor.paging import Page, enabled, pages
from x86emu.monitor.values import REGISTERS_64

if TYPE_CHECKING:
    from x86emu.core.processor import Processor
    from x86emu.machine import Machine

LARGEST_LIST = 4096  # lines of a listing of pages
ACTIVITIES = {0: "running", 1: "halted", 2: "shut down", 3: "waiting for a start-up message"}
LVT_NAMES = ("timer", "thermal", "performance", "LINT0", "LINT1", "error", "CMCI")
MIB = 1 << 20

Subject = Callable[["Machine", "Processor"], str]


def version(machine: Machine, cpu: Processor) -> str:
    """the program's version"""
    return f"x86emu {__version__}"


def status(machine: Machine, cpu: Processor) -> str:
    """whether the machine runs"""
    state = "paused" if machine.paused else "asleep (S3)" if machine.suspended else "running"
    return f"{state}; {machine.clock.now() / 1e9:.6f} s of virtual time, {machine.instructions:,} instructions"


def cpus(machine: Machine, cpu: Processor) -> str:
    """the processors and where they are"""
    return "\n".join(
        f"{'*' if one is cpu else ' '} CPU #{one.index}: {one.cs.selector:04x}:{one.rip:016x}"
        f" {ACTIVITIES.get(one.activity, str(one.activity))}, {one.instructions:,} instructions"
        for one in machine.cpus
    )


def registers(machine: Machine, cpu: Processor) -> str:
    """the registers of the selected processor (see the command cpu)"""
    lines = [f"CPU #{cpu.index}, {code_bits(cpu)}-bit code, CPL {cpu.cpl}, {ACTIVITIES.get(cpu.activity, '?')}"]
    names = REGISTERS_64[:17]
    for first in range(0, len(names), 4):
        lines.append(" ".join(f"{name:>3}={getattr(cpu, name):016x}" for name in names[first : first + 4]))
    lines.append(f"rflags={cpu.rflags:08x} [{_flags(cpu.rflags)}]{' in SMM' if cpu.in_smm else ''}")
    for name in ("es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"):
        view = getattr(cpu, name)
        lines.append(f"{name:>4}={view.selector:04x} {view.base:016x} {view.limit:08x} {view.attributes:04x}")
    for name in ("gdtr", "idtr"):
        lines.append(f"{name}= {getattr(cpu, name).base:016x} {getattr(cpu, name).limit:04x}")
    lines.append(f"cr0={cpu.cr0:08x} cr2={cpu.cr2:016x} cr3={cpu.cr3:016x} cr4={cpu.cr4:08x} efer={cpu.efer:x}")
    lines.append(" ".join(f"dr{number}={cpu.dr(number):x}" for number in (0, 1, 2, 3, 6, 7)))
    lines.append(f"xcr0={cpu.xcr0:x} mxcsr={cpu.mxcsr:08x}")
    lines += [f"xmm{number:<2}={cpu.xmm(number):032x}" for number in range(16 if code_bits(cpu) == 64 else 8)]
    return "\n".join(lines)


def _flags(value: int) -> str:
    names = {11: "O", 10: "D", 9: "I", 8: "T", 7: "S", 6: "Z", 4: "A", 2: "P", 0: "C"}
    return "".join(letter if value >> bit & 1 else "-" for bit, letter in names.items())


def _listing(machine: Machine, cpu: Processor, lines: Iterator[str]) -> str:
    if not enabled(cpu):
        return "Paging is off: linear addresses are physical ones."
    shown: list[str] = []
    for line in lines:
        if len(shown) == LARGEST_LIST:
            shown.append(f"... and more than {LARGEST_LIST} lines")
            break
        shown.append(line)
    return "\n".join(shown)


def mem(machine: Machine, cpu: Processor) -> str:
    """ranges of linear addresses that are mapped, with their rights"""

    def ranges() -> Iterator[str]:
        start: Page | None = None
        end = 0
        for page in pages(cpu, machine.memory):
            rights = page.letters[-2:] + page.letters[0]
            if start is not None and page.linear == end and rights == start.letters[-2:] + start.letters[0]:
                end += page.size
                continue
            if start is not None:
                yield line(start, end)
            start, end = page, page.linear + page.size
        if start is not None:
            yield line(start, end)

    def line(page: Page, end: int) -> str:
        user, write, no_execute = page.letters[7], page.letters[8], page.letters[0]
        rights = ("u" if user == "U" else "-") + "r" + ("w" if write == "W" else "-") + "-x"[no_execute == "-"]
        return f"{page.linear:016x}-{end - 1:016x} {end - page.linear:016x} {rights}"

    return _listing(machine, cpu, ranges())


def tlb(machine: Machine, cpu: Processor) -> str:
    """every page that is mapped: linear, physical, flags of its entries"""
    found = pages(cpu, machine.memory)
    return _listing(machine, cpu, (f"{page.linear:016x}: {page.physical:016x} {page.letters}" for page in found))


def mtree(machine: Machine, cpu: Processor) -> str:
    """who answers at which ports and memory addresses"""
    lines = ["ports"]
    lines += [f"  {r.base:04x}-{r.base + r.length - 1:04x} {r.name}" for r in machine.ports.regions_by_address()]
    lines.append(f"memory ({machine.config.memory // MIB} MiB of RAM, as the host bridge maps it)")
    lines += [f"  {r.base:016x}-{r.base + r.length - 1:016x} {r.name}" for r in machine.mmio.regions_by_address()]
    return "\n".join(lines)


def block(machine: Machine, cpu: Processor) -> str:
    """disks and drives, and the files behind them"""

    def describe(name: str, image: Any) -> str:
        if image is None:
            return f"{name}: empty"
        if not hasattr(image, "path"):
            return f"{name}: {image!r}"
        note = ", read-only" if image.read_only else ""
        return f"{name}: {image.path} ({type(image).__name__.removesuffix('Image').lower()}, {image.size} bytes{note})"

    lines = [describe(name, machine.removable.image(name)) for name in machine.removable.drives]
    for number, channel in enumerate(machine.ide.channels):
        for unit, drive in enumerate(channel.drives):
            if drive is not None and hasattr(drive, "backend"):
                lines.append(describe(f"ide{number}-hd{unit}", drive.backend))
    for function in machine.pci.functions.values():
        backend = getattr(getattr(function, "model", function), "backend", None)
        if backend is not None and hasattr(backend, "sectors"):
            lines.append(describe(function.name, backend))
    return "\n".join(lines) or "There are no disks."


def network(machine: Machine, cpu: Processor) -> str:
    """network cards and what they are plugged into"""
    cards = [
        function for function in machine.pci.functions.values() if function.config[0x0B] == 2  # class: network
    ]
    lines = []
    for card, backend in zip(cards, machine.networks, strict=False):
        mac = getattr(getattr(card, "model", card), "mac", None)
        address = ":".join(f"{byte:02x}" for byte in mac) if isinstance(mac, bytes | bytearray) else "?"
        kind = type(backend).__name__.removesuffix("Network").removesuffix("Backend").lower() or "none"
        lines.append(f"{card.name}: mac {address}, plugged into {kind}")
    return "\n".join(lines) or "There are no network cards."


def pci(machine: Machine, cpu: Processor) -> str:
    """the functions of the PCI bus with their BARs"""
    lines = []
    for (device, number), function in sorted(machine.pci.functions.items()):
        vendor, product = function.get(0, 2), function.get(2, 2)
        identity = f"{vendor:04x}:{product:04x} class {function.get(9, 3):06x}"
        lines.append(f"00:{device:02x}.{number} {identity} {function.name}")
        lines += [f"    {text}" for text in _bars(function)]
        pin = function.config[INTERRUPT_PIN]
        if pin:
            how = ", messages on" if function.message_signalled else ""
            lines.append(f"    INT{'ABCD'[pin - 1]}#, line {function.config[INTERRUPT_LINE]}{how}")
        lines.append(f"    command {function.get(COMMAND, 2):04x}")
    return "\n".join(lines)


def _bars(function: PciFunction) -> Iterator[str]:
    for bar in function.bars:
        base = function.bar_base(bar)
        where = f"{base:#x}, {bar.size:#x} bytes" if base is not None else f"not decoded, {bar.size:#x} bytes"
        yield f"BAR {bar.index} {bar.kind} at {where}"


def irq(machine: Machine, cpu: Processor) -> str:
    """interrupts and exceptions taken so far, by vector"""
    counts = machine.stats()
    lines = [f"vector {vector}: {count:,}" for vector, count in sorted(counts["interrupts"].items())]
    lines += [f"{name}: {count:,}" for name, count in counts["exceptions"].items()]
    return "\n".join([*lines, f"NMI: {counts['nmis']:,}"])


def pic(machine: Machine, cpu: Processor) -> str:
    """the 8259 pair and the I/O APIC"""
    lines = []
    for chip in (machine.pic.master, machine.pic.slave):
        lines.append(
            f"{chip.name}: lines {chip.lines:02x} requests {chip.requests:02x} in service {chip.in_service:02x} mask"
            f" {chip.mask:02x} vectors from {chip.vector_base:02x} level {chip.elcr:02x}"
        )
    for pin, entry in enumerate(machine.ioapic.entries):
        modes = ("fixed", "lowest priority", "SMI", "3", "NMI", "INIT", "6", "ExtINT")
        lines.append(
            f"I/O APIC pin {pin:2}: {entry:016x} vector {entry & 0xFF:02x} {modes[entry >> 8 & 7]}"
            f"{' level' if entry & 0x8000 else ''}{' masked' if entry & 0x10000 else ''}"
            f"{' waits for EOI' if entry & 0x4000 else ''}{' asserted' if machine.ioapic.lines >> pin & 1 else ''}"
        )
    return "\n".join(lines)


def lapic(machine: Machine, cpu: Processor) -> str:
    """the local APIC of the selected processor"""
    if not machine.lapics:
        return "The processor has no local APIC."
    apic = machine.lapics[cpu.index]
    state = apic.save()

    def vectors(words: list[int]) -> str:
        found = [32 * index + bit for index, word in enumerate(words) for bit in range(32) if word >> bit & 1]
        return " ".join(f"{vector:02x}" for vector in found) or "none"

    lines = [
        f"local APIC {apic.apic_id}: base {state['base']:x} TPR {state['tpr']:02x} SVR {state['svr']:08x} LDR"
        f" {state['ldr']:08x} DFR {state['dfr']:08x} ESR {state['esr']:02x} ICR {state['icr']:016x}",
        f"requested: {vectors(state['irr'])}", f"in service: {vectors(state['isr'])}",
        f"level-triggered: {vectors(state['tmr'])}",
        f"timer: initial count {state['initial_count']}, divide configuration {state['divide']:x}",
    ]  # fmt: skip
    lines += [
        f"LVT {name}: {entry:08x}{' masked' if entry & 0x10000 else ''}"
        for name, entry in zip(LVT_NAMES, state["lvt"], strict=False)
    ]
    return "\n".join(lines)


def stats(machine: Machine, cpu: Processor) -> str:
    """counters of the run: instructions, ports and memory by device"""
    counts = machine.stats()
    lines = [f"{key}: {value}" for key, value in counts.items() if isinstance(value, int | float)]
    lines += [f"engine {key}: {value:,}" for key, value in counts["engine"].items()]
    for space in ("ports", "mmio"):
        lines += [
            f"{space} {name}: {count['reads']:,} reads, {count['writes']:,} writes"
            for name, count in counts[space].items()
            if count["reads"] or count["writes"]
        ]
    return "\n".join(lines)


def virtualization(machine: Machine, cpu: Processor) -> str:
    """the last exits of the guests that run inside, and why an entry was refused"""
    return machine.explain() or "No guest has run."


def balloon(machine: Machine, cpu: Processor) -> str:
    """the memory balloon"""
    device = machine.balloon
    if device is None:
        raise UserInputError("There is no balloon; start the machine with --balloon.")
    total = machine.config.memory
    device.request_statistics()
    lines = [f"balloon: the guest has {(total - device.actual) // MIB} of {total // MIB} MiB; reported free so far:"
             f" {device.reported // MIB} MiB"]  # fmt: skip
    return "\n".join(lines + [f"{name}: {value:,}" for name, value in device.statistics.items()])


def serial(machine: Machine, cpu: Processor) -> str:
    """serial and virtio consoles and where they lead"""
    lines = []
    for number, console in enumerate(machine.serial_ports, 1):
        where = console.backend.description if console.backend is not None else "nothing"
        lines.append(f"COM{number}: {where}")
    for number, console in enumerate(machine.virtio_consoles):
        where = console.backend.description if console.backend is not None else "nothing"
        lines.append(f"virtio console {number} {machine.config.virtio_consoles[number] or ''}: {where}")
    return "\n".join(lines)


def share(machine: Machine, cpu: Processor) -> str:
    """shared folders"""
    lines = [f"{option.path}{' (read-only)' if option.read_only else ''}" for option in machine.config.shares]
    return "\n".join(lines) or "There are none."


def clock(machine: Machine, cpu: Processor) -> str:
    """virtual time and what the real-time clock shows"""
    return f"{machine.clock.now() / 1e9:.9f} s since power-on; the real-time clock shows {machine.rtc.date()}"


SUBJECTS: dict[str, Subject] = {
    "balloon": balloon, "block": block, "clock": clock, "cpus": cpus, "irq": irq, "lapic": lapic, "mem": mem,
    "mtree": mtree, "network": network, "pci": pci, "pic": pic, "registers": registers, "serial": serial,
    "share": share, "stats": stats, "status": status, "svm": virtualization, "tlb": tlb, "version": version,
    "vmx": virtualization,
}  # fmt: skip
