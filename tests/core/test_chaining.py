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
    prefix = bytes.fromhex(row.prefix) if row.prefix not in ("", "NP", "NFx") else b""
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


REAL_LOOP = "8ed8 1e 1f 9c 9d 9a00010010 cd60 ebf1"  # MOV and POP DS, POPF, CALL 1000:0100 (RETF), INT 60h (IRET)
USER_LOOP = "0f05 cd30 ebfa"  # SYSCALL (SYSRET) and INT 30h (IRET)
SYSTEM_LOOP = "0f013f 0f20d8 0f22d8 9c 9d b9020100c0 31c0 31d2 0f30 8ed8 ebe6"  # INVLPG, CR3, POPF, WRMSR, MOV DS


def run_transfers() -> None:
    """Runs loops of what ends a trace and goes on by itself: segments, far transfers, interrupts, system calls."""
    sys.path.insert(0, str(Path(__file__).parent))
    from bare_guest import CODE, CODE0_64, FREE, HANDLERS, Guest, descriptor

    for name, loop in (("real", REAL_LOOP), ("user", USER_LOOP), ("system", SYSTEM_LOOP)):
        print(name, flush=True)
        guest = Guest("max")
        if name == "real":
            guest.real()
            guest.put(CODE + 0x100, b"\xcb")
            guest.put(HANDLERS + 0x600, b"\xcf")
        else:
            guest.long_mode()
            guest.interrupt_gate(0x30, 0xEE, CODE0_64)
            guest.put(HANDLERS + 0x300, b"\x48\xcf")
            guest.entry(FREE, descriptor(0, 0xFFFFF, 0xF3, 0xC))  # SS and CS behind SYSRET
            guest.entry(FREE + 8, descriptor(0, 0, 0xFB, 0x2))
            guest.put(CODE + 0x200, b"\x48\x0f\x07")
        guest.code(bytes.fromhex(loop))
        guest.cpu.rflags = 2
        if name == "user":
            to_user = b"".join(
                b"\xb9" + register.to_bytes(4, "little") + b"\xb8" + (value & 0xFFFFFFFF).to_bytes(4, "little")
                + b"\xba" + (value >> 32).to_bytes(4, "little") + b"\x0f\x30"
                for register, value in ((0xC0000081, 0x5B << 48 | CODE0_64 << 32), (0xC0000082, CODE + 0x200))
            )  # fmt: skip
            guest.code(to_user + b"\xb9" + CODE.to_bytes(4, "little") + b"\x48\x0f\x07", CODE + 0x300)
        reason = guest.engine.run(LOOPS * 20)
        assert reason == "instructions" and guest.cpu.instructions == LOOPS * 20, (reason, hex(guest.cpu.rip))
        assert guest.cpu.event_counts()["exceptions"] == {}
    print("transfers completed", flush=True)


def test_no_handler_leaves_a_frame_behind() -> None:
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    result = subprocess.run(
        [sys.executable, __file__], capture_output=True, text=True, timeout=100, env=environment, check=False
    )
    lines = result.stdout.splitlines()
    assert result.returncode == 0, f"crashed at {lines[-1] if lines else result.stderr[-2000:]}\n{result.stderr[-500:]}"
    assert "transfers completed" in lines, result.stderr
    assert int(lines[-1].split()[1]) > 700


if __name__ == "__main__":
    threading.stack_size(STACK_BYTES)
    for work in (run_transfers, run_all):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
