"""The processor that `--cpu MODEL[,+FEATURE][,-FEATURE]` names, and the list of them for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from x86emu.isa.models import CpuModel


def processor_model(text: str) -> CpuModel:
    """The model with its features added and removed; UserInputError where there is no such model or feature."""
    from x86emu.isa.models import resolve_model

    return resolve_model(text)


def describe_models() -> str:
    """All models, one a line, and the features that can be added or removed."""
    from x86emu.isa.features import IMPLEMENTED
    from x86emu.isa.models import load_model, names

    lines = [f"{name:16} {load_model(name).description}" for name in names()]
    return "\n".join([*lines, "", "features: " + " ".join(sorted(IMPLEMENTED))]) + "\n"
