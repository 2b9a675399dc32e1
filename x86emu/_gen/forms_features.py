"""The feature numbers of x86emu/isa/features.py as a C enum, for handlers that ask Cpu.features."""

from __future__ import annotations

from x86emu.isa.features import FEATURES


def generate() -> dict[str, str]:
    """Gives features.pxi: `FEATURE_<NAME> = number` for every feature."""
    lines = ["cdef enum:"]
    for feature in FEATURES.values():
        lines.append(f"    FEATURE_{feature.name.upper()} = {feature.number}")
    return {"features.pxi": "\n".join(lines) + "\n"}
