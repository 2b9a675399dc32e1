"""The monitor: a prompt by which a person or a script looks at a running machine and steers it."""

from x86emu.monitor.session import MonitorSession

__all__ = ["MonitorSession"]
