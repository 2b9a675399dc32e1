"""A failing case as one line of a pytest function, and what that line calls."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from x86emu.conform.compare import differences
from x86emu.conform.engine import engine_named, run_batch
from x86emu.conform.records import RECORD, Records
from x86emu.errors import UserInputError


def pack(case: Any) -> str:
    """One record as text."""
    return base64.urlsafe_b64encode(zlib.compress(np.array([case]).tobytes(), 9)).decode("ascii")


def unpack(text: str) -> Records:
    """The record that pack() wrote, as an array of one. Raises UserInputError for other text."""
    try:
        return np.frombuffer(bytearray(zlib.decompress(base64.urlsafe_b64decode(text))), RECORD)
    except (ValueError, zlib.error) as error:
        raise UserInputError(f"This is no packed case: {error}.") from None


def check(text: str, undefined_flags: int = 0, engine: str = "x86emu", oracle: str = "native", like: str = "") -> None:
    """Runs one packed case on both engines; raises AssertionError, naming what differs, where they disagree.

    like names the engine whose features the one under test is limited to, where that is not the oracle.
    """
    case = unpack(text)
    tested, judge = engine_named(engine, like or oracle), engine_named(oracle)
    found = differences(case[0], run_batch(judge, case)[0], run_batch(tested, case)[0], undefined_flags)
    assert not found, "; ".join(found)


def one_liner(case: Any, undefined_flags: int, engine: str, oracle: str, like: str = "") -> str:
    """A line of Python that fails as long as the case does."""
    names = [engine, oracle, *([like] if like not in ("", oracle) else [])]
    return (
        f"def test_case(): from x86emu.conform.reproduce import check; "
        f"check('{pack(case)}', {undefined_flags:#x}, {', '.join(map(repr, names))})"
    )
