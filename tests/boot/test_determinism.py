"""The same input gives the same run: instruction count, and hash of RAM and registers, in any process and build."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.boot.kit import PATIENCE, ROOT, firmware, guest

PROGRAM = """\
import json, sys
from x86emu.boot_command import build_machine
from x86emu.cli import build_parser
options = build_parser().parse_args(["boot", *sys.argv[1:]])
machine = build_machine(options)
result = machine.run(options.max_instructions, timeout={patience})
print(json.dumps([result.reason.name, machine.instructions, machine.clock.now(), machine.state_hash(),
                  machine.serial.text[-200:]]))
"""
# Beyond the end of decompression, with user space running, drivers probed and all processors up.
INSTRUCTIONS = 1_400_000_000


def outcome(tree: Path, processors: int, occasion: int) -> list[object]:
    """Why it ended, instructions, nanoseconds, hash, last output of one run in a process of its own."""
    options = [
        *firmware(), "--kernel", guest("linux64.vmlinuz"), "--initrd", guest("linux64.cpio.gz"),
        "--append", "console=ttyS0", "--smp", processors, "--max-instructions", INSTRUCTIONS,
    ]  # fmt: skip
    program = PROGRAM.format(patience=PATIENCE)
    # A different hash seed and environment size move everything that a host may move.
    environment = {**os.environ, "PYTHONHASHSEED": str(occasion + 1), "PADDING": "x" * 1000 * occasion}
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, options)],
        cwd=tree, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    assert found[:2] == ["INSTRUCTION_LIMIT", INSTRUCTIONS], found
    return found


def copy_changed(source: Path, target: Path) -> None:
    """Copies what differs, with its time stamp."""
    if not target.exists() or source.read_bytes() != target.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def loop_form_tree() -> Path:
    """A copy of the checkout below build/, built with a central loop instead of chained handlers.

    The first copy takes over what the checkout has built, so that only what knows the form is compiled.
    """
    tree = ROOT / "build" / "loop-form"
    tree.mkdir(parents=True, exist_ok=True)
    with open(tree / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (tree / "x86emu").exists():
            for built in (ROOT / "build").glob("lib.*"):
                shutil.copytree(built, tree / "build" / built.name, dirs_exist_ok=True)
            shutil.copytree(ROOT / "x86emu", tree / "x86emu", ignore=shutil.ignore_patterns("__pycache__"))
        for source in (ROOT / "x86emu").rglob("*"):
            if source.suffix in (".py", ".pyx", ".pxd", ".bin") and "_generated" not in source.parts:
                copy_changed(source, tree / source.relative_to(ROOT))
        for name in ("setup.py", "pyproject.toml", "README.md"):
            copy_changed(ROOT / name, tree / name)
        environment = {**os.environ, "X86EMU_LOOP_FORM": "1"}
        done = subprocess.run(
            [sys.executable, "setup.py", "build_ext", "--inplace"],
            cwd=tree, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return tree


@pytest.mark.parametrize("processors", [1, 4])
def test_the_same_boot_twice_and_on_the_loop_form_build(processors: int) -> None:
    first = outcome(ROOT, processors, 0)
    assert first == outcome(ROOT, processors, 1)
    tree = loop_form_tree()
    assert "LOOP_FORM = 1" in (tree / "x86emu" / "_generated" / "build_config.pxi").read_text()
    assert first == outcome(tree, processors, 2)
