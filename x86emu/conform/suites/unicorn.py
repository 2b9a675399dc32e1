"""Generated cases judged by Unicorn (PyPI package unicorn), a peer more than a judge."""

from x86emu.conform.generated import GeneratedSuite

SUITE = GeneratedSuite("unicorn", "generated cases, judged by Unicorn", "unicorn")
