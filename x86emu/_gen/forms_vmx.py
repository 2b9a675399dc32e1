"""VMCS offsets, the table of fields and VM entry's checks for the core, from x86emu/virt/vmx."""

from __future__ import annotations

import re

from x86emu.isa import vmx_capabilities as capabilities
from x86emu.virt.vmx.checks import CHECKS, ENVIRONMENT, Check
from x86emu.virt.vmx.fields import FIELDS, REVISION

_CONTROL_NUMBERS = {"": 0, "pin": 1, "primary": 2, "secondary": 3, "exit": 4, "entry": 5, "tertiary": 6}
_DERIVED = (
    "secondary", "tertiary", "v86", "event_type", "event_vector", "event_has_error", "event_wants_error",
    "event_may_error", "event_wakes",
)  # fmt: skip


_SEGMENT_FIELD = re.compile(r"guest_(es|cs|ss|ds|fs|gs|ldtr|tr)_(selector|base|limit|access_rights)$")


def _layout() -> str:
    lines = ["cdef enum:", f"    VMCS_REVISION = 0x{REVISION:X}", f"    N_VMCS_FIELDS = {len(FIELDS)}",
             f"    VMCS_BYTES = {max(field.offset for field in FIELDS.values()) + 8}"]  # fmt: skip
    lines += [f"    F_{field.name.upper()} = 0x{field.offset:X}" for field in FIELDS.values()]
    for prefix, table in (
        ("PIN", capabilities.PIN), ("PRI", capabilities.PRIMARY), ("SEC", capabilities.SECONDARY),
        ("TER", capabilities.TERTIARY), ("EXIT", capabilities.EXIT), ("ENTRY", capabilities.ENTRY),
    ):  # fmt: skip
        lines += [f"    {prefix}_{name.upper()} = {bit}" for name, bit in table.items()]
    return "\n".join(lines) + "\n"


def _table() -> str:
    """field_offset: by width, type and index; 0 where there is no such field. field_condition: control << 8 | bit."""
    lines = ["cdef uint16_t field_offset[1024]", "cdef uint16_t field_condition[1024]", "", "cdef void _fill():"]
    for field in FIELDS.values():
        place = (field.encoding >> 13 & 3) << 8 | (field.encoding >> 10 & 3) << 6 | (field.encoding >> 1 & 0x3F)
        lines.append(f"    field_offset[{place}] = 0x{field.offset:X}    # {field.name}")
        if field.control:
            lines.append(f"    field_condition[{place}] = {_CONTROL_NUMBERS[field.control] << 8 | field.bit}")
    return "\n".join([*lines, "_fill()"]) + "\n"


def _c(expression: str) -> str:
    """Constants above 31 bits as unsigned ones."""
    return re.sub(r"\b0x[0-9A-Fa-f]+\b", lambda m: m[0] + "ULL" if int(m[0], 16) > 0x7FFFFFFF else m[0], expression)


def _runs(rows: list[Check]) -> list[tuple[int, int]]:
    """(offset, bytes) of the parts of a VMCS that hold all fields of the rows: one part for each width and type."""
    areas: dict[int, list[int]] = {}
    for name in {name for row in rows for name in row.fields}:
        areas.setdefault(FIELDS[name].encoding >> 10, []).append(FIELDS[name].offset)
    return sorted((min(offsets), max(offsets) + 8 - min(offsets)) for offsets in areas.values())


def _is_segment_row(check: Check) -> bool:
    """A row about nothing but segments and what hardly ever changes: it is not looked at again until they do."""
    steady = {"entry_controls", "guest_cr0", "primary_controls"}
    return check.stage == "guest" and all(_SEGMENT_FIELD.match(name) or name in steady for name in check.fields)


def _unchanged(name: str, rows: list[Check]) -> list[str]:
    compared = [f"memcmp(vmcs + {start}, copy + {start}, {size}) == 0" for start, size in _runs(rows)]
    return [
        f"cdef bint unchanged_{name}(const uint8_t* vmcs, const uint8_t* copy) noexcept nogil:",
        '    """Whether the fields that the rows of this group look at are as in a copy."""',
        "    return (" + "\n            and ".join(compared) + ")",
        "",
    ]


def _stage(stage: str, name: str, rows: list[Check]) -> list[str]:
    used = sorted({name for row in rows for name in row.fields}, key=lambda name: FIELDS[name].offset)
    text = " ".join(row.expression for row in rows)
    lines = [
        f"cdef uint32_t failed_{name}_check(const uint8_t* vmcs, const CheckEnvironment* e) noexcept nogil:",
        '    """0 where every row holds, else the number of the first row that the VMCS breaks."""',
    ]
    lines += [f"    cdef uint64_t {name} = (<const uint64_t*>(vmcs + F_{name.upper()}))[0]" for name in used]
    for name in (*ENVIRONMENT, *_DERIVED):
        if re.search(rf"\b{name}\b", text):
            lines.append(f"    cdef uint64_t {name} = e.{name}")
    condition = re.compile(r"\b(canonical|bad_page|bad_list|bad_aligned|bad_cet)\(")
    for row in rows:
        expression = condition.sub(lambda m: f"_{m[1]}(e, ", _c(row.expression))
        lines += [f"    if {expression}:    # {row.identity}", f"        return {row.number}"]
    return [*lines, "    return 0", ""]


def generate() -> dict[str, str]:
    """vmcs_layout.pxi, vmcs_fields.pxi and vmx_checks.pxi."""
    environment = ["cdef struct CheckEnvironment:"]
    environment += [f"    uint64_t {name}" for name in (*ENVIRONMENT, *_DERIVED)]
    qualifications = ["cdef uint32_t qualification_of_check(uint32_t number) noexcept nogil:"]
    for check in CHECKS:
        if check.qualification:
            qualifications += [f"    if number == {check.number}:", f"        return {check.qualification}"]
    qualifications += ["    return 0", ""]
    lines = [*environment, "", 'include "vmx_check_functions.pxi"', ""]
    for stage in ("controls", "host", "guest"):
        rows = [check for check in CHECKS if check.stage == stage]
        lines += _stage(stage, stage, rows)
        if stage == "guest":
            lines += _stage(stage, "changing", [row for row in rows if not _is_segment_row(row)])
            lines += _unchanged("segments", [row for row in rows if _is_segment_row(row)])
        else:
            lines += _unchanged(stage, rows)
    functions = """
cdef inline bint _canonical(const CheckEnvironment* e, uint64_t value) noexcept nogil:
    cdef int64_t top = <int64_t>value >> (e.linear_bits - 1)
    return top == 0 or top == -1

cdef inline bint _bad_page(const CheckEnvironment* e, uint64_t value) noexcept nogil:
    return (value & (e.physical_reserved | 0xFFF)) != 0

cdef inline bint _bad_aligned(const CheckEnvironment* e, uint64_t value, uint64_t low) noexcept nogil:
    return (value & (e.physical_reserved | low)) != 0

cdef inline bint _bad_list(const CheckEnvironment* e, uint64_t value, uint64_t n) noexcept nogil:
    cdef uint64_t last = value + 16 * n - 1
    return value & (e.physical_reserved | 15) or last & e.physical_reserved or last < value

cdef inline bint _bad_cet(const CheckEnvironment* e, uint64_t value) noexcept nogil:
    return value & e.cet_reserved or value & 0xC00 == 0xC00 or not _canonical(e, value)

cdef inline bint bad_limit(uint64_t limit, uint64_t rights) noexcept nogil:
    if rights & 0x8000:
        return limit & 0xFFF != 0xFFF
    return limit >> 20 != 0

cdef bint valid_pat(uint64_t value) noexcept nogil:
    cdef int k
    cdef uint64_t kind
    for k in range(8):
        kind = value >> (8 * k) & 0xFF
        if kind > 7 or kind == 2 or kind == 3:
            return False
    return True
"""
    return {
        "vmcs_layout.pxi": _layout(),
        "vmcs_fields.pxi": _table(),
        "vmx_check_functions.pxi": functions.lstrip(),
        "vmx_checks.pxi": "\n".join([*lines, *qualifications]),
    }
