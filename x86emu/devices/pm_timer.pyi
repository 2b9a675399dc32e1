from typing import Any

from x86emu.bus.clock import Clock
from x86emu.bus.spaces import NativeHandlers

class PmTimer:
    native: NativeHandlers
    def __init__(self, block: Any, clock: Clock) -> None: ...
    def ticks(self) -> int: ...
