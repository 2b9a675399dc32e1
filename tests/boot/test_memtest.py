"""Debian's memtest86+: a whole pass over a small memory without an error."""

from __future__ import annotations

import re

import pytest

from tests.boot.kit import guest
from x86emu.machine import Machine

# Half of a pass, 160 s of virtual time, is a test that only waits: it is there at every memory size.
PATIENCE = 3000


@pytest.mark.slow
def test_a_pass_without_errors() -> None:
    with Machine(cdrom=str(guest("memtest.iso")), memory="8M", boot="d") as machine:
        machine.run(until="Pass:  1", timeout=PATIENCE)
        screen = "\n".join(machine.screen.lines())
    assert re.search(r"Pass:\s+1\s+Errors: 0\b", screen), screen
