"""Makes a failing case small: fewer instructions, registers and memory that are 0 where they do not matter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from x86emu.conform.compare import differences
from x86emu.conform.engine import Engine, run_batch
from x86emu.conform.records import Records, code_of, set_code
from x86emu.isa.disassembler import disassemble


def _simpler(case: Any) -> Iterator[Any]:
    """Cases with one thing less, the larger steps first."""

    def changed(**values: Any) -> Any:
        new = np.array([case])[0]
        for name, value in values.items():
            new[name] = value
        return new

    if int(case["row"]) < 0:
        yield from _fewer_instructions(case)
    for name in ("window", "xmm", "ymm_high", "st_mantissa"):
        if case[name].any():
            yield changed(**{name: 0})
    for name, rest in (("control", 0x37F), ("status", 0), ("valid", 0), ("mxcsr", 0x1F80), ("rflags", 2)):
        if case[name] != rest:
            yield changed(**{name: rest})
    for name, count in (("gpr", 16), ("xmm", 16), ("st_mantissa", 8), ("st_exponent", 8)):
        for n in range(count):
            if case[name][n].any():
                new = np.array([case])[0]
                new[name][n] = 0
                yield new


def _fewer_instructions(case: Any) -> Iterator[Any]:
    code, mode = code_of(case), int(case["mode"])
    places = [0]
    while places[-1] < len(code):
        length, _ = disassemble(code[places[-1] :].ljust(16, b"\x90"), mode)
        places.append(places[-1] + max(1, length))
    if len(places) <= 2:
        return
    for start, end in zip(places, places[1:], strict=False):
        new = np.array([case])[0]
        set_code(new, code[:start] + code[end:])
        new["steps"] = int(case["steps"]) - 1
        yield new


def shrink(case: Any, undefined_flags: int, engine: Engine, oracle: Engine, rounds: int = 8) -> Any:
    """The smallest case found on which the engines still disagree."""
    for _ in range(rounds):
        candidates = list(_simpler(case))
        if not candidates:
            return case
        batch: Records = np.array(candidates)
        expected, actual = run_batch(oracle, batch), run_batch(engine, batch)
        kept = [
            n for n in range(len(batch)) if differences(batch[n], expected[n], actual[n], undefined_flags)
        ]  # fmt: skip
        if not kept:
            return case
        merged = _merge(case, [batch[n] for n in kept])
        one = np.array([merged])
        if one.tobytes() == np.array([case]).tobytes():
            case = batch[kept[0]]
            continue
        if differences(one[0], run_batch(oracle, one)[0], run_batch(engine, one)[0], undefined_flags):
            case = merged
        else:
            case = batch[kept[0]]
    return case


def _merge(case: Any, simpler: list[Any]) -> Any:
    """All simplifications at once, where they concern data alone."""
    new = np.array([case])[0]
    for other in simpler:
        if code_of(other) != code_of(case):
            continue
        for name in ("gpr", "xmm", "ymm_high", "st_mantissa", "st_exponent", "window"):
            places = other[name] != case[name]
            new[name] = np.where(places, other[name], new[name])
        for name in ("control", "status", "valid", "mxcsr", "rflags"):
            if other[name] != case[name]:
                new[name] = other[name]
    return new
