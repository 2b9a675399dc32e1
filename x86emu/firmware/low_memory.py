"""Room below 1 MiB for what a loader hands to a kernel: command lines, information structures, the memory map."""

from __future__ import annotations

from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.firmware.plan import LOW_END, LOW_FIRST, Piece


class LowMemory:
    """Gives out addresses between 64 KiB and 576 KiB that no piece of the kernel takes."""

    def __init__(self, path: Path, taken: list[Piece]) -> None:
        self.path = path
        self.taken = sorted((p.address, p.end) for p in taken if p.address < LOW_END)
        self.next = LOW_FIRST

    def allocate(self, size: int, alignment: int = 16) -> int:
        """The first free address for ``size`` bytes; UserInputError where the kernel fills low memory."""
        at = self.next + -self.next % alignment
        for start, end in self.taken:
            if at < end and start < at + size:
                at = end + -end % alignment
        if at + size > LOW_END:
            raise UserInputError(
                f"{self.path}: leaves no {size} bytes below {LOW_END:#x} for its command line and memory map; a kernel"
                " linked at 1 MiB or above, or a shorter command line, would do"
            )
        self.next = at + size
        return at
