"""`x` and `xp`: memory as numbers, characters or instructions, by linear or by physical address."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.errors import UserInputError
from x86emu.monitor.paging import translate
from x86emu.monitor.values import Format, show

if TYPE_CHECKING:
    from x86emu.core.processor import Processor
    from x86emu.machine import Machine

LONGEST_INSTRUCTION = 15
ATTRIBUTE_LONG, ATTRIBUTE_DEFAULT_SIZE = 0x2000, 0x4000
EFER_LMA = 1 << 10


def code_bits(cpu: Processor) -> int:
    """16, 32 or 64: how the processor decodes code now."""
    attributes = cpu.cs.attributes
    if cpu.efer & EFER_LMA and attributes & ATTRIBUTE_LONG:
        return 64
    return 32 if attributes & ATTRIBUTE_DEFAULT_SIZE and cpu.cr0 & 1 else 16


class Reader:
    """Reads memory by one kind of address; never has an effect."""

    def __init__(self, machine: Machine, cpu: Processor, physical: bool) -> None:
        self.machine = machine
        self.cpu = cpu
        self.physical = physical

    def read(self, address: int, length: int) -> bytes:
        """Up to `length` bytes: fewer where a page is not there.  UserInputError where the first one is not."""
        if self.physical:
            return self.machine.memory.read(address & (1 << 52) - 1, length)
        found = b""
        while len(found) < length:
            at = address + len(found)
            physical = translate(self.cpu, self.machine.memory, at)
            if physical is None:
                break
            part = min(length - len(found), 4096 - at % 4096)
            found += self.machine.memory.read(physical, part)
        if not found:
            raise UserInputError(f"The page of {address:#x} is not present.")
        return found


def dump(reader: Reader, address: int, format: Format) -> str:
    """Lines with addresses, as many values a line as fit."""
    if format.letter == "i":
        return _instructions(reader, address, format.count)
    per_line = 8 if format.letter == "c" else max(1, 16 // format.size)
    lines = []
    data = reader.read(address, format.count * format.size)
    values = [
        show(int.from_bytes(data[at : at + format.size], "little"), format)
        for at in range(0, len(data) // format.size * format.size, format.size)
    ]
    for first in range(0, len(values), per_line):
        lines.append(f"{address + first * format.size:016x}: " + " ".join(values[first : first + per_line]))
    if len(data) < format.count * format.size:
        lines.append(f"The page of {address + len(data):#x} is not present.")
    return "\n".join(lines)


def _instructions(reader: Reader, address: int, count: int) -> str:
    from x86emu.isa.disassembler import IncompleteInstruction, disassemble

    bits = code_bits(reader.cpu)
    lines = []
    for _ in range(count):
        code = reader.read(address, LONGEST_INSTRUCTION)
        try:
            length, text = disassemble(code, bits, address)
        except IncompleteInstruction:
            lines.append(f"The page of {address + len(code):#x} is not present.")
            break
        lines.append(f"{address:016x}: {code[:length].hex(' '):<32} {text}")
        address += length
    return "\n".join(lines)
