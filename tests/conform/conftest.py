"""Engines that several of these tests ask: the host's processor, and what is like an Intel processor."""

from __future__ import annotations

from dataclasses import replace

import pytest

from x86emu.conform.engines.native import NativeEngine, available
from x86emu.conform.engines.x86emu import X86EmuEngine
from x86emu.conform.records import empty
from x86emu.errors import UserInputError
from x86emu.isa.models import resolve_model


@pytest.fixture(scope="session")
def native() -> NativeEngine:
    reason = available()
    if reason:
        pytest.skip(reason)
    try:
        made = NativeEngine()
        made.run_batch(empty(1))
    except UserInputError as error:
        pytest.skip(str(error))
    return made


@pytest.fixture(params=["x86emu", "native"])
def intel(request: pytest.FixtureRequest) -> X86EmuEngine | NativeEngine:
    """What is tested here holds on Intel's processors."""
    if request.param == "x86emu":
        model = resolve_model("max")
        return X86EmuEngine(replace(model, vendor="GenuineIntel", features=model.features - {"branch16"}))
    made: NativeEngine = request.getfixturevalue("native")
    if made.vendor != "GenuineIntel":
        pytest.skip("the host's processor is not of Intel's make")
    return made
