"""The hot parts of making and judging cases (a Cython module)."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from x86emu.conform.records import Records

def set_tables(stack: int, corners: ArrayLike, singles: ArrayLike, doubles: ArrayLike, extended: ArrayLike) -> None:
    """What fill_states() chooses from: arrays of uint64 (extended: rows of mantissa, sign and exponent)."""

def fill_states(records: Records, seed: int, long_mode: bool, avx: bool) -> None:
    """Registers and memory of all records for 64- or 32-bit mode, without instructions; YMM's upper halves with avx."""

def put_encoding(
    records: Records, start: int, count: int, code: bytes, row: int, rip: int, window: int, steps: int,
    fixed: dict[int, int],
) -> None:  # fmt: skip
    """The same instructions and places into `count` records from `start` on; fixed holds registers by number.

    Raises ValueError where they do not fit.
    """

def differing_cases(
    expected: Records, actual: Records, undefined_flags: NDArray[np.uint64], classes: Any, compared: int
) -> NDArray[np.intp]:
    """Numbers of the cases whose outcomes differ; undefined_flags by case, classes: vectors that are taken for equal.

    Raises ValueError where the arrays have different lengths.
    """
