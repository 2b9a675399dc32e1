"""`python -m x86emu`."""

import sys

from x86emu.cli import main

sys.exit(main())
