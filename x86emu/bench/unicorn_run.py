"""Runs one flat kernel in Unicorn and prints what the image would: NAME.flat NAME SCALE INSTRUCTIONS CHECKSUM."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

LOAD, RETURN, STACK, MEMORY = 0x10000, 0x7000, 0x80000, 256 << 20


def main(path: str, name: str, scale: str, instructions: str, checksum: str) -> None:
    """Runs it; the address it returns to ends the run."""
    unicorn: Any = importlib.import_module("unicorn")
    x86_const: Any = importlib.import_module("unicorn.x86_const")
    machine = unicorn.Uc(unicorn.UC_ARCH_X86, unicorn.UC_MODE_64)
    machine.mem_map(0, MEMORY)
    machine.mem_write(LOAD, Path(path).read_bytes())
    machine.mem_write(STACK - 8, RETURN.to_bytes(8, "little"))
    machine.reg_write(x86_const.UC_X86_REG_RSP, STACK - 8)
    print(f"MB-START {name} scale={scale}", flush=True)
    machine.emu_start(LOAD, RETURN)
    result = f"{machine.reg_read(x86_const.UC_X86_REG_RAX):016x}"
    verdict = "OK" if result == checksum else "BAD"
    print(f"MB-END {name} scale={scale} insns={instructions} sum={result} tsc=0 {verdict}", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:6])
