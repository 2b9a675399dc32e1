"""isa-debug-exit: a port by which a test guest ends the run with a status (QEMU's device of that name).

A write of v asks for the host exit status 2v + 1, so that no guest can claim success by accident.
"""

from __future__ import annotations

from collections.abc import Callable

from x86emu.bus.device import Device


class IsaDebugExit(Device):
    """Calls `exit_request(status)` on a write of 1, 2 or 4 bytes; map four ports, usually at F4h or 501h."""

    def __init__(self, exit_request: Callable[[int], object], *, name: str = "isa-debug-exit") -> None:
        super().__init__(name)
        self.exit_request = exit_request

    def read(self, offset: int, size: int) -> int:
        """Reads as zero."""
        return 0

    def write(self, offset: int, size: int, value: int) -> None:
        """Asks for the end of the run, with the status 2 * value + 1."""
        self.exit_request(value << 1 | 1)
