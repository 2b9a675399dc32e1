"""x86emu: runs unmodified x86 firmware, operating systems and hypervisors, instruction by instruction."""

__version__ = "0.1.0"
