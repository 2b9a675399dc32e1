"""A processor's page tables, read as the hardware would (Intel SDM volume 3A, chapter 4) but without any effect.

Accessed and dirty bits stay as they are, and no permission is checked.  Under nested paging CR3 and the tables hold
guest-physical addresses, which are not translated further here.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from x86emu.core.memory import PhysicalMemory
    from x86emu.core.processor import Processor

CR0_PG = 1 << 31
CR4_PSE, CR4_PAE, CR4_LA57 = 1 << 4, 1 << 5, 1 << 12
EFER_LMA = 1 << 10
PRESENT, WRITABLE, USER, ACCESSED, DIRTY, LARGE, GLOBAL = 0x01, 0x02, 0x04, 0x20, 0x40, 0x80, 0x100
NO_EXECUTE = 1 << 63
ADDRESS = 0x000F_FFFF_FFFF_F000
CACHE_OFF, WRITE_THROUGH = 0x10, 0x08


@dataclass(frozen=True)
class Page:
    """A translation: `size` bytes from `linear` are at `physical`; `flags` are the entries', ANDed where they limit."""

    linear: int
    physical: int
    size: int
    flags: int

    @property
    def letters(self) -> str:
        """The flags as nine letters: no-execute, global, large, dirty, accessed, cache off, through, user, write."""
        bits = ((NO_EXECUTE, "X"), (GLOBAL, "G"), (LARGE, "P"), (DIRTY, "D"), (ACCESSED, "A"), (CACHE_OFF, "C"),
                (WRITE_THROUGH, "T"), (USER, "U"), (WRITABLE, "W"))  # fmt: skip
        return "".join(letter if self.flags & bit else "-" for bit, letter in bits)


@dataclass(frozen=True)
class Level:
    """One level of tables: from which bit of the address its index comes, how wide that is, and an entry's size."""

    shift: int
    bits: int
    entry_bytes: int
    large: bool


def enabled(cpu: Processor) -> bool:
    """Whether paging is on."""
    return bool(cpu.cr0 & CR0_PG)


def levels(cpu: Processor) -> list[Level]:
    """The levels of the mode that the processor is in, from CR3 downwards (table 4-1)."""
    if not cpu.cr4 & CR4_PAE:
        return [Level(22, 10, 4, bool(cpu.cr4 & CR4_PSE)), Level(12, 10, 4, False)]
    lower = [Level(21, 9, 8, True), Level(12, 9, 8, False)]
    if not cpu.efer & EFER_LMA:
        return [Level(30, 2, 8, False), *lower]
    upper = [Level(39, 9, 8, False), Level(30, 9, 8, True)]
    return ([Level(48, 9, 8, False)] if cpu.cr4 & CR4_LA57 else []) + upper + lower


def _canonical(cpu: Processor, linear: int) -> int:
    if not cpu.efer & EFER_LMA:
        return linear
    width = 57 if cpu.cr4 & CR4_LA57 else 48
    return linear | -(linear >> width - 1 & 1) << width & 0xFFFF_FFFF_FFFF_FFFF


def _root(cpu: Processor) -> int:
    if cpu.cr4 & CR4_PAE and not cpu.efer & EFER_LMA:
        return cpu.cr3 & 0xFFFF_FFE0
    return cpu.cr3 & ADDRESS


def _target(entry: int, level: Level) -> int:
    """Where a mapping entry points."""
    if level.entry_bytes == 4 and level.shift == 22:  # PSE-36: bits 20:13 are address bits 39:32
        return entry & 0xFFC0_0000 | (entry >> 13 & 0xFF) << 32
    return entry & ADDRESS & ~((1 << level.shift) - 1)


def pages(cpu: Processor, memory: PhysicalMemory) -> Iterator[Page]:
    """Every present translation, in the order of linear addresses."""
    if not enabled(cpu):
        return
    chain = levels(cpu)
    legacy_pae = chain[0].shift == 30

    def walk(table: int, depth: int, base: int, inherited: int) -> Iterator[Page]:
        level = chain[depth]
        size = level.entry_bytes
        data = memory.read(table, size << level.bits)
        for index in range(1 << level.bits):
            entry = int.from_bytes(data[size * index : size * index + size], "little")
            if not entry & PRESENT:
                continue
            linear = base + (index << level.shift)
            limits = entry & (WRITABLE | USER) if not (legacy_pae and depth == 0) else WRITABLE | USER
            flags = inherited & limits | (inherited | entry) & NO_EXECUTE
            if depth == len(chain) - 1 or level.large and entry & LARGE:
                own = entry & (ACCESSED | DIRTY | GLOBAL | CACHE_OFF | WRITE_THROUGH)
                own |= LARGE if depth < len(chain) - 1 else 0
                yield Page(_canonical(cpu, linear), _target(entry, level), 1 << level.shift, flags | own)
            else:
                yield from walk(entry & ADDRESS, depth + 1, linear, flags)

    yield from walk(_root(cpu), 0, 0, WRITABLE | USER)


def translate(cpu: Processor, memory: PhysicalMemory, linear: int) -> int | None:
    """The physical address, or None where the page is not present."""
    linear &= 0xFFFF_FFFF_FFFF_FFFF if cpu.efer & EFER_LMA else 0xFFFF_FFFF
    if not enabled(cpu):
        return linear
    chain = levels(cpu)
    if _canonical(cpu, linear & (1 << chain[0].shift + chain[0].bits) - 1) != linear:
        return None
    table = _root(cpu)
    for depth, level in enumerate(chain):
        index = linear >> level.shift & (1 << level.bits) - 1
        entry = int.from_bytes(memory.read(table + level.entry_bytes * index, level.entry_bytes), "little")
        if not entry & PRESENT:
            return None
        if depth == len(chain) - 1 or level.large and entry & LARGE:
            return _target(entry, level) | linear & (1 << level.shift) - 1
        table = entry & ADDRESS
    return None
