"""Page walks for people: every entry on the way, without effects (Intel SDM volume 3A, chapter 4; 3C, 29.3; AMD APM
volume 2, chapter 5 and 15.25).

They show the tables as they are in memory now and stop where an entry is not present; whether the access was allowed
is the processor's to say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Read = Callable[[int, int], bytes]
"""Reads bytes at a physical address."""

PG, PAE, PSE, LA57, LMA = 1 << 31, 0x20, 0x10, 0x1000, 0x400
ADDRESS = 0x000FFFFFFFFFF000
NAMES = {1: "PTE", 2: "PDE", 3: "PDPTE", 4: "PML4E", 5: "PML5E"}


@dataclass
class Walk:
    """The entries that a translation reads, outermost first, and where it ends."""

    steps: list[tuple[str, int, int]] = field(default_factory=list)
    """Name of the entry, its address, its value."""
    result: int | None = None
    """The address that comes out; None where an entry is not present."""

    def __str__(self) -> str:
        text = ", ".join(f"{name} at {address:#x} = {value:#x}" for name, address, value in self.steps)
        if self.result is None:
            text += " (not present)" if self.steps else "no paging structure"
        return text or "paging is off"


def _entry(read: Read, address: int, size: int) -> int:
    return int.from_bytes(read(address, size), "little")


def _tables(
    read: Read, address: int, root: int, levels: int, translate: Callable[[int], int | None], ept: bool = False
) -> Walk:
    """A walk through tables of 512 entries with large pages at levels 2 and 3."""
    walk = Walk()
    table = root & ADDRESS
    for level in range(levels, 0, -1):
        shift = 12 + 9 * (level - 1)
        at = table + (address >> shift & 0x1FF) * 8
        where = translate(at)
        if where is None:
            walk.steps.append((NAMES[level], at, 0))
            return walk
        entry = _entry(read, where, 8)
        walk.steps.append((NAMES[level], at, entry))
        if not entry & (7 if ept else 1):
            return walk
        if level == 1 or level <= 3 and entry & 0x80:
            walk.result = entry & ADDRESS & -1 << shift | address & (1 << shift) - 1
            return walk
        table = entry & ADDRESS
    return walk


def _legacy(read: Read, address: int, root: int, large: bool, translate: Callable[[int], int | None]) -> Walk:
    """32-bit paging."""
    walk = Walk()
    if address >> 32:
        return walk
    table = root & 0xFFFFF000
    for level in (2, 1):
        at = table + (address >> (22 if level == 2 else 12) & 0x3FF) * 4
        where = translate(at)
        entry = _entry(read, where, 4) if where is not None else 0
        walk.steps.append((NAMES[level], at, entry))
        if not entry & 1:
            return walk
        if level == 2 and entry & 0x80 and large:
            walk.result = entry & 0xFFC00000 | (entry & 0x1FE000) << 19 | address & 0x3FFFFF
            return walk
        table = entry & 0xFFFFF000
    walk.result = table | address & 0xFFF
    return walk


def _pae(read: Read, address: int, root: int, translate: Callable[[int], int | None]) -> Walk:
    at = (root & 0xFFFFFFE0) + (address >> 30 & 3) * 8
    where = translate(at)
    entry = _entry(read, where, 8) if where is not None else 0
    first = ("PDPTE", at, entry)
    if not entry & 1 or address >> 32:
        return Walk([first])
    rest = _tables(read, address & 0x3FFFFFFF, entry, 2, translate)
    return Walk([first, *rest.steps], rest.result)


def walk_linear(
    read: Read, linear: int, cr0: int, cr3: int, cr4: int, efer: int, translate: Callable[[int], int | None]
) -> Walk:
    """Linear to guest-physical address by the paging mode that the registers tell.

    translate gives the physical address of a guest-physical one, None where there is none."""
    if not cr0 & PG:
        return Walk(result=linear & 0xFFFFFFFF)
    if efer & LMA:
        return _tables(read, linear, cr3, 5 if cr4 & LA57 else 4, translate)
    if cr4 & PAE:
        return _pae(read, linear & 0xFFFFFFFF, cr3, translate)
    return _legacy(read, linear & 0xFFFFFFFF, cr3, bool(cr4 & PSE), translate)


def walk_nested(read: Read, guest_physical: int, root: int, host_cr4: int, host_efer: int) -> Walk:
    """Guest-physical to physical address through nested tables in the host's paging mode (APM 2, 15.25)."""
    return walk_linear(read, guest_physical, PG, root, host_cr4, host_efer, lambda address: address)


def walk_ept(read: Read, guest_physical: int, pointer: int) -> Walk:
    """Guest-physical to physical address by an EPT pointer (SDM 3C 29.3.2)."""
    return _tables(read, guest_physical, pointer, (pointer >> 3 & 7) + 1, lambda address: address, ept=True)
