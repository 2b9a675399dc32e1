"""docs/vmx-checks.md from the rows: `python -m x86emu.virt.vmx.document > docs/vmx-checks.md`."""

from __future__ import annotations

from x86emu.virt.vmx.checks import CHECKS

_HEAD = """# The checks of VM entry

Generated from `x86emu/virt/vmx/checks.py` by `python -m x86emu.virt.vmx.document`. A VMCS that meets a row's condition
fails VM entry: a row about controls with VM-instruction error 7, about host state with 8, about guest state with exit
reason 33 and the exit qualification shown. The rows are tried in this order, and `machine.explain()` names the first
that was met. Clauses are those of the Intel SDM, volume 3C, with VM entries in chapter 27. Conditions name fields of
the VMCS (`x86emu/virt/vmx/fields.py`), controls by their names, and facts of the processor. The last column names the
test in `tests/virt/test_vmx_checks.py` that breaks the row; all rows are compared between the core and Python on random
VMCS contents by `test_random_control_blocks_agree_with_the_rows`.

| row | clause | stage | fails if | condition | test |
| --- | --- | --- | --- | --- | --- |
"""


_TESTS = {
    "pdpte": "`test_a_pdpte_with_reserved_bits`",
    "space_guest": "`test_a_host_outside_ia32e_mode`",
}


def checks_page() -> str:
    """The whole page."""
    rows = []
    for check in CHECKS:
        stage = check.stage + (f", qualification {check.qualification}" if check.qualification else "")
        condition = check.condition.replace("|", "\\|")
        test = _TESTS.get(check.identity, f"`test_check[{check.identity}]`")
        row = (check.identity, check.clause, stage, check.words, f"`{condition}`", test)
        rows.append("| " + " | ".join(row) + " |")
    return _HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    print(checks_page(), end="")
