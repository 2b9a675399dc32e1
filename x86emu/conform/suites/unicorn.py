"""Generated cases judged by Unicorn (PyPI package unicorn), a peer more than a judge: where the two differ the host's
processor votes, if there is one."""

from x86emu.conform.generated import GeneratedSuite

SUITE = GeneratedSuite("unicorn", "generated cases, judged by Unicorn", "unicorn", voter="native")
