"""Starts a benchmark kernel in a machine without firmware: its image where the BIOS would load it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from x86emu.machine import Machine

LOAD, ENTRY, LOAD_BYTES = 0x7C00, 0x7E10, 31_232  # mb.inc: 512 bytes, a header of 16, the payload
STUB, INT_15H = 0x500, 4 * 0x15


def start(machine: Machine, image: bytes) -> None:
    """Puts the first processor of a fresh machine at the image's start-up code."""
    machine.memory.write(LOAD, image[:LOAD_BYTES])
    machine.memory.write(STUB, b"\xcf")  # INT 15h, by which the start-up code asks for A20, returns
    machine.memory.write(INT_15H, STUB.to_bytes(4, "little"))
    processor = machine.engine.cpus[0]
    processor.cs.selector, processor.cs.base, processor.rip = 0, 0, ENTRY
