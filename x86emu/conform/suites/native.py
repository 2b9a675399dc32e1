"""Generated cases judged by this host's processor (x86-64 under Linux)."""

from x86emu.conform.generated import GeneratedSuite

SUITE = GeneratedSuite("native", "generated cases, judged by the host's processor", "native")
