"""docs/svm-checks.md from the rows: `python -m x86emu.virt.svm.document > docs/svm-checks.md`."""

from __future__ import annotations

from x86emu.virt.svm.checks import CHECKS

_HEAD = """# The checks of VMRUN

Generated from `x86emu/virt/svm/checks.py` by `python -m x86emu.virt.svm.document`. A control block that meets a row's
condition is refused with exit code VMEXIT_INVALID; the rows are tried in this order, and `machine.explain()` names the
first that was met. Clauses are those of the AMD64 Architecture Programmer's Manual, volume 2. Conditions name fields of
the control block (`x86emu/virt/svm/vmcb.py`) and facts of the processor. Each row is exercised by its test,
`tests/virt/test_svm_checks.py::test_check[row]`, but for those marked with a note below.

| row | clause | refused if | condition |
| --- | --- | --- | --- |
"""
_TAIL = """
`cs_l_and_d` has a test of its own, `test_code_segment_of_two_sizes`. `no_long_mode` and `np_paging` need a processor
without long mode or a host without paging, which no test sets up.
"""


def checks_page() -> str:
    """The whole page."""
    rows = [
        f"| {check.identity} | {check.clause} | {check.words} | `{check.condition}` |" for check in CHECKS
    ]
    return _HEAD + "\n".join(rows) + "\n" + _TAIL


if __name__ == "__main__":
    print(checks_page(), end="")
