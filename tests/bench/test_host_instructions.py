"""The guard against slow-downs: host instructions for each guest instruction of every kernel, against stored ones."""

from __future__ import annotations

import os
import shutil

import pytest

from x86emu.bench import host_instructions

in_ci = pytest.mark.skipif(
    os.environ.get("CI") != "true",
    reason="minutes of valgrind: continuous integration runs it; `x86emu bench --host-instructions` does by hand",
)


def test_the_compiler_is_told() -> None:
    assert host_instructions.compiler().rpartition(" ")[2][0].isdigit()


def test_growth_beyond_five_percent_is_told() -> None:
    assert host_instructions.grown({"fib": 10.4, "alu": 5.0}, {"fib": 10.0}) == []
    assert host_instructions.grown({"fib": 10.6}, {"fib": 10.0}) == [
        "fib: 10.60 host instructions for a guest instruction instead of 10.00 (+6.0%)"
    ]


def test_every_kernel_has_a_stored_figure() -> None:
    for compiler, figures in host_instructions.stored().items():
        assert set(figures) == set(host_instructions.COUNTED), compiler


# In two parts, which run side by side.
@in_ci
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="needs valgrind; apt-get install valgrind")
@pytest.mark.skipif(shutil.which("nasm") is None, reason="needs nasm; apt-get install nasm")
@pytest.mark.parametrize("part", [0, 1])
def test_no_kernel_needs_more_host_instructions_than_stored(part: int, record_property: pytest.RecordProperty) -> None:
    old = host_instructions.stored().get(host_instructions.compiler())
    if old is None:
        pytest.skip(
            f"no figures are stored for {host_instructions.compiler()};"
            " x86emu bench --host-instructions --update stores them"
        )
    new = host_instructions.measure(list(host_instructions.COUNTED[part::2]))
    for name, figure in new.items():
        record_property("figure", f"{name}: {figure} host instructions for a guest instruction, stored {old[name]}")
    assert host_instructions.grown(new, old) == []
