"""Handlers go on to the next record by a jump, not by a call (core/state.pxd, chain): every row that does not end a
trace runs 30 000 times in a row on a thread whose stack is too small for as many frames.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

from x86emu.isa.table import Row, load_rows

STACK_BYTES = 256 << 10
LOOPS = 15_000
# They stop the processor, wait, or leave the state that the loop needs.
LEFT_OUT = frozenset("POP POPA LEAVE ENTER PUSHA PUSH PUSHF FXRSTOR XRSTOR FLDENV FRSTOR LDMXCSR FLDCW".split())


def encodings(row: Row) -> list[bytes]:
    """The row with EBX, XMM3, ST3 or [rdi] as its ModRM operand, immediates 3."""
    prefix = bytes.fromhex(row.prefix) if row.prefix not in ("", "NP") else b""
    rex = b"\x48" if row.has("W1") else b""
    forms = [b""]
    if row.modrm is not None:
        forms = [bytes([row.modrm | (3 if row.modrm_plus_i else 0)])]
    elif row.has_modrm:
        reg = (row.extension or 0) << 3 if row.extension is not None else 0x10
        letters = "".join(operand.letter for operand in row.operands)
        register = not row.has("mem") and "M" not in letters
        memory = not row.has("reg") and not set("NURCD") & set(letters)
        forms = [bytes([0xC3 | reg])] * register + [bytes([0x07 | reg])] * memory
    opcode = bytes([*row.opcode[:-1], row.opcode[-1] | (3 if row.plus_r else 0)])
    immediate = b""
    for operand in row.operands:
        if operand.letter == "I":
            width = {"b": 1, "w": 2, "z": 4, "v": 4}.get(operand.size, 1)
            immediate += (3).to_bytes(width, "little")
        elif operand.letter == "O":
            immediate += (0x30000).to_bytes(8, "little")
    return [prefix + rex + opcode + form + immediate for form in forms]


def run_all() -> None:
    """Runs every encoding; prints each before it runs, so that a crash names its culprit."""
    sys.path.insert(0, str(Path(__file__).parent))
    from bare_guest import CODE, Guest

    guest = Guest("max")
    guest.long_mode()
    guest.cpu.cr4 |= 0x600
    guest.cpu.cr0 &= ~0xC
    completed = 0
    for row in load_rows():
        if row.has("end") or row.has("i64") or row.mnemonic in LEFT_OUT:
            continue
        for code in encodings(row):
            body = code * 2
            guest.code(body + b"\xe9" + (-len(body) - 5).to_bytes(4, "little", signed=True))
            cpu = guest.cpu
            for name in ("rax", "rcx", "rbx", "rbp", "rsi", "rdi", "r8"):
                setattr(cpu, name, 0x30000)
            cpu.rdx, cpu.rsp, cpu.rflags = 0, 0x7000, 2
            cpu.set_fpu(0x37F, 0, 0x3F, [(1 << 63, 0x3FFF)] * 8)
            cpu.cs.set(0x48, 0, 0xFFFFFFFF, 0xA09B)
            cpu.cpl = 0
            print(row.mnemonic, code.hex(), flush=True)
            if guest.engine.run(LOOPS * 3) == "instructions" and CODE <= cpu.rip < CODE + 64:
                completed += 1
    print("completed", completed, flush=True)


def test_no_handler_leaves_a_frame_behind() -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    result = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=100, env=environment, check=False
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, f"crashed at {lines[-1] if lines else result.stderr[-2000:]}\n{result.stderr[-500:]}"
    assert int(lines[-1].split()[1]) > 700


if __name__ == "__main__":
    threading.stack_size(STACK_BYTES)
    thread = threading.Thread(target=run_all)
    thread.start()
    thread.join()
