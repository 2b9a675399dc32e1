from typing import Any

from x86emu.bus.clock import Clock
from x86emu.bus.spaces import NativeHandlers

class RtcPorts:
    native: NativeHandlers
    index: int
    def __init__(self, rtc: Any, clock: Clock, *, tells_mask: bool) -> None: ...
    def publish(self, register_a: int, updates: bool, phase: int, update_length: int) -> None: ...
    def read(self, offset: int, size: int) -> int: ...
