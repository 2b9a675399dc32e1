"""Processors with AVX enabled, for the tests of VEX-encoded instructions."""

from __future__ import annotations

from tests.core.bare_machine import DATA, BareMachine

PAGE = 0x200000
"""Where the last mapped page ends: 4 MiB are mapped in long mode, and beyond them nothing."""
END = 2 * PAGE
UD, NM, SS, GP, PF, XM = 6, 7, 12, 13, 14, 19
AREA = DATA + 0x1000


def machine(mode: str = "long", model: str = "max", cpl: int = 0, xcr0: int = 7) -> BareMachine:
    """A processor with CR4.OSFXSR, OSXMMEXCPT and OSXSAVE, and these components in XCR0."""
    m = BareMachine(mode, model, cpl)
    m.cpu.cr4 |= 0x40600
    m.cpu.xcr0 = xcr0
    return m


def fill(m: BareMachine) -> list[int]:
    """A value of its own in every YMM register; the values."""
    values = [int.from_bytes(bytes((16 * n + k) & 0xFF for k in range(32)), "little") for n in range(16)]
    for n, value in enumerate(values):
        m.cpu.set_ymm(n, value)
    return values
