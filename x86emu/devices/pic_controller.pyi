from collections.abc import Callable
from typing import Protocol

from x86emu.bus.platform import CpuSignals

class InterruptController(Protocol):
    output: Callable[[bool], object] | None
    def acknowledge(self) -> int: ...

class Pic8259Controller:
    pic: InterruptController
    signals: CpuSignals
    def __init__(self, pic: InterruptController, signals: CpuSignals) -> None: ...
    def set_intr(self, level: bool) -> None: ...
