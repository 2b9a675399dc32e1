"""Machines: `Machine` is a PC with i440FX and PIIX3, wired in pc.py."""

from x86emu.machine.config import MachineConfig
from x86emu.machine.pc import Machine
from x86emu.machine.run import RunResult, StopReason

__all__ = ["Machine", "MachineConfig", "RunResult", "StopReason"]
