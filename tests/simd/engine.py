"""Runs one SSE or MMX instruction on the engine, in the terms of tests/simd/native.py."""

from __future__ import annotations

from functools import cache

from tests.conform_hw import LAYOUT, UserMachine
from tests.simd.native import State


@cache
def machine() -> UserMachine:
    return UserMachine(64, LAYOUT, "default,+sse4a,+sha,+aes,+pclmulqdq,+gfni")


def emulate(code: bytes, before: State) -> State:
    """One instruction on the engine."""
    cpu = machine().cpu
    machine().load_code(code)
    for n in range(4):
        cpu.set_xmm(n, before.xmm[n])
    cpu.set_fpu(0x37F, 0, 0, [(before.mmx[n] if n < 4 else 0, 0) for n in range(8)])
    cpu.rax, cpu.rcx, cpu.rdx = before.gpr
    cpu.rflags, cpu.mxcsr = before.flags, before.mxcsr
    machine().engine.run(1)
    assert machine().vector is None, f"unexpected fault {cpu.last_fault}"
    st = cpu.fpu()["st"]
    return State(
        [cpu.xmm(n) for n in range(4)],
        [st[n][0] for n in range(4)],
        [cpu.rax, cpu.rcx, cpu.rdx],
        cpu.mxcsr,
        before.memory,
        cpu.rflags,
    )
