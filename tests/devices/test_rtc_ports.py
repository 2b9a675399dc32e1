"""The real-time clock's C side against register A in Python, at many times, held and running."""

import random

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine
from x86emu.devices.mc146818 import REGISTER_A, UPDATE_IN_PROGRESS_NS, Mc146818

SECOND = 1_000_000_000


@pytest.mark.parametrize("seed", range(8))
def test_the_fast_side_agrees_with_register_a(seed: int) -> None:
    rng = random.Random(seed)
    clock = Clock()
    rtc = Mc146818(IrqLine(None, 8), clock)
    seen = set()
    for _ in range(200):
        if rng.randrange(8) == 0:
            index = rng.choice((0x0A, 0x0B))
            rtc.write(0, 1, index)
            rtc.write(1, 1, rng.choice((0x26, 0x26, 0x76, 0x2F) if index == 0x0A else (0x02, 0x02, 0x82, 0x06)))
        rtc.write(0, 1, REGISTER_A)
        until_update = (rtc._phase - clock.now()) % SECOND
        clock.advance(rng.choice((until_update, max(until_update - UPDATE_IN_PROGRESS_NS, 0), rng.randrange(SECOND))))
        clock.advance(rng.randrange(3))
        value = rtc.read(1, 1)
        assert rtc._ports.read(1, 1) == value
        seen.add(value & 0x80)
    assert seen == {0, 0x80}
    assert rtc._ports.read(0, 1) == 0xFF
