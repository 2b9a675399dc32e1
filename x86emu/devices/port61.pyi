from typing import Any

from x86emu.bus.clock import Clock
from x86emu.bus.spaces import NativeHandlers

class SpeakerPort:
    native: NativeHandlers
    def __init__(self, timer: Any, clock: Clock) -> None: ...
    def publish(self, bits: int, counter: Any) -> None: ...
    def read(self, offset: int, size: int) -> int: ...
