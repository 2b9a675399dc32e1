"""docs/svm-checks.md from the rows: `python -m x86emu.virt.svm.document > docs/svm-checks.md`."""

from __future__ import annotations

from x86emu.virt.svm.checks import CHECKS

_HEAD = """# The checks of VMRUN

Generated from `x86emu/virt/svm/checks.py` by `python -m x86emu.virt.svm.document`. A control block that meets a row's
condition is refused with exit code VMEXIT_INVALID; the rows are tried in this order, and `machine.explain()` names the
first that was met. Clauses are those of the AMD64 Architecture Programmer's Manual, volume 2. Conditions name fields of
the control block (`x86emu/virt/svm/vmcb.py`) and facts of the processor. Tests are in `tests/virt/test_svm_checks.py`;
there, too, thousands of random control blocks are run, and the core's verdict is compared with the rows'.

| row | clause | refused if | condition | test |
| --- | --- | --- | --- | --- |
"""
_TESTS = {
    "cs_l_and_d": "test_code_segment_of_two_sizes",
    "cet_v86": "test_user_shadow_stacks_in_virtual_8086_mode",
    "np_paging": "test_host_without_paging",
    "no_long_mode": "test_processor_without_long_mode",
}
"""Rows with a test of their own; the others are cases of test_check."""


def checks_page() -> str:
    """The whole page."""
    rows = []
    for check in CHECKS:
        test = _TESTS.get(check.identity, f"test_check[{check.identity}]")
        rows.append(f"| {check.identity} | {check.clause} | {check.words} | `{check.condition}` | `{test}` |")
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(checks_page(), end="")
