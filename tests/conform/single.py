"""Cases of one instruction, and what engines make of them."""

from __future__ import annotations

import numpy as np

from x86emu.conform.engine import run_batch
from x86emu.conform.engines.native import NativeEngine
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import GPR, LAYOUT, Records, empty, set_code


def one(code: bytes, **registers: int) -> Records:
    cases = empty(1)
    set_code(cases[0], code)
    for name, value in registers.items():
        cases["gpr"][0, GPR.index(name)] = value
    cases["gpr"][0, 4] = cases["gpr"][0, 4] or LAYOUT.stack + 0x800
    return cases


def outcome(made: X86EmuEngine | NativeEngine, code: bytes, mode: int = 64, **registers: int) -> np.void:
    case = one(code, **registers)
    case["mode"] = mode
    result: np.void = run_batch(made, case)[0]
    return result
