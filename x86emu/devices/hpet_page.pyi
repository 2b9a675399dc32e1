from typing import Any

from x86emu.bus.clock import Clock
from x86emu.bus.spaces import NativeHandlers

class HpetPage:
    native: NativeHandlers
    def __init__(self, hpet: Any, timers: list[Any], clock: Clock) -> None: ...
    def publish_counter(self, running: bool, started: int) -> None: ...
    def publish_timer(self, number: int, idle: bool) -> None: ...
