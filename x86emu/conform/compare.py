"""Compares outcomes of two engines; what a row of the instruction table calls undefined does not count.

Flags: the row's u= column.  Results: the row's attribute `undefined`, one of the rules below, and `approximate`, for
what the manuals bound instead of define.  There is no other list of exceptions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.records import GPR, NO_VECTOR, Records, code_of
from x86emu.conform.states import differing_cases
from x86emu.isa.table import Row, load_rows

COMPARED_FLAGS = 0xCD5

# An operating system reports several exceptions alike: the vector that stands for each.
_CLASSES = np.arange(258, dtype=np.int16)
_CLASSES[[4, 5]] = 13
_CLASSES[11] = 12
_CLASSES[19] = 16


def _class(vector: int) -> int:
    return int(_CLASSES[vector]) if vector >= 0 else vector


def vector_classes(vectors: NDArray[np.int16]) -> NDArray[np.int16]:
    """Vectors with those made equal that a process cannot tell apart; -1 and -2 stay."""
    return np.where(vectors >= 0, _CLASSES[vectors], vectors)


def differing(expected: Records, actual: Records, undefined_flags: NDArray[np.uint64]) -> NDArray[np.intp]:
    """Numbers of the cases whose outcomes differ anywhere, before the rules for undefined results."""
    return differing_cases(expected, actual, undefined_flags, _CLASSES, COMPARED_FLAGS)


def differences(case: Any, expected: Any, actual: Any, undefined_flags: int) -> list[str]:
    """What differs in one case, as sentences without subject; empty where the rules excuse all of it."""
    found: dict[str, str] = {}
    wanted, got = int(expected["vector"]), int(actual["vector"])
    if wanted != got and _class(wanted) != _class(got):
        if int(case["mode"]) == 32 and {wanted, got} <= {12, 13, 14, 17} and _wraps(expected, actual):
            return []
        if ({wanted, got} <= {NO_VECTOR, 13, 14} or {wanted, got} == {13, 17}) and int(case["row"]) >= 0:
            row = load_rows()[int(case["row"])]
            if "MASKMOV" in row.mnemonic and not row.has("elements"):
                # SDM 2B: whether bytes that the mask leaves out fault is implementation-specific, so also which first
                return []
        if 13 in (wanted, got) and int(case["row"]) >= 0:
            row = load_rows()[int(case["row"])]
            if row.attributes.get("undefined") == "alignment" and _parts(row, case)[2]:
                return []
            if row.attributes.get("undefined") == "partial" and 14 in (wanted, got):
                return []
        if {wanted, got} <= {12, 13, 14, 17} and int(case["row"]) >= 0:
            if load_rows()[int(case["row"])].attributes.get("undefined") == "operand_order":
                return []
        if {12, 13} & {wanted, got} and int(case["mode"]) == 64 and int(case["row"]) >= 0:
            row = load_rows()[int(case["row"])]
            if row.has("elements") and row.attributes.get("undefined") == "fault_address":
                return []  # the whole operand may have to be canonical
        return [f"vector {_vector(got)}, expected {_vector(wanted)}"]
    for n in np.flatnonzero(expected["gpr"] != actual["gpr"]):
        found[GPR[n]] = f"{GPR[n]} {int(actual['gpr'][n]):x}, expected {int(expected['gpr'][n]):x}"
    if expected["rip"] != actual["rip"]:
        start = int(case["rip"])
        found["rip"] = f"rip {int(actual['rip']) - start:+d}, expected {int(expected['rip']) - start:+d}"
    wrong = (int(expected["rflags"]) ^ int(actual["rflags"])) & COMPARED_FLAGS & ~undefined_flags
    if wrong:
        found["rflags"] = (
            f"flags {int(actual['rflags']) & COMPARED_FLAGS:03x}, "
            f"expected {int(expected['rflags']) & COMPARED_FLAGS:03x} (differ in {wrong:03x})"
        )
    for n in np.flatnonzero((expected["xmm"] != actual["xmm"]).any(axis=1)):
        found[f"xmm{n}"] = f"xmm{n} {_vector_text(actual['xmm'][n])}, expected {_vector_text(expected['xmm'][n])}"
    for n in np.flatnonzero((expected["ymm_high"] != actual["ymm_high"]).any(axis=1)):
        got_text, wanted_text = _vector_text(actual["ymm_high"][n]), _vector_text(expected["ymm_high"][n])
        found[f"ymm{n}"] = f"upper half of ymm{n} {got_text}, expected {wanted_text}"
    for n in np.flatnonzero(
        (expected["st_mantissa"] != actual["st_mantissa"]) | (expected["st_exponent"] != actual["st_exponent"])
    ):
        found[f"st{n}"] = f"st{n} {_extended(actual, int(n))}, expected {_extended(expected, int(n))}"
    for name in ("control", "status", "valid", "mxcsr"):
        if expected[name] != actual[name]:
            found[name] = f"{name} {int(actual[name]):04x}, expected {int(expected[name]):04x}"
    if (expected["window"] != actual["window"]).any():
        at = int(np.flatnonzero(expected["window"] != actual["window"])[0]) & ~7
        found["memory"] = (
            f"memory at {int(case['window_address']) + at:x}: {bytes(actual['window'][at : at + 16]).hex()}, "
            f"expected {bytes(expected['window'][at : at + 16]).hex()}"
        )
    elif expected["digest"] != actual["digest"]:
        found["memory"] = "memory differs elsewhere"
    if wanted == got == 14 and expected["fault_address"] != actual["fault_address"]:
        found["cr2"] = f"page fault at {int(actual['fault_address']):x}, expected {int(expected['fault_address']):x}"
    row_number = int(case["row"])
    if found and row_number >= 0:
        row = load_rows()[row_number]
        for attribute, rules in (("undefined", UNDEFINED), ("approximate", APPROXIMATE)):
            if row.has(attribute):
                rules[str(row.attributes[attribute])](row, case, expected, actual, found)
    return list(found.values())


def _wraps(expected: Any, actual: Any) -> bool:
    """An access across 4 GiB: whether it violates a limit of 4 GiB is implementation-specific (SDM 3A 5.3)."""
    return any(int(o["vector"]) == 14 and (int(o["fault_address"]) + 64 & 0xFFFFFFFF) < 128 for o in (expected, actual))


def _vector(vector: int) -> str:
    return "none" if vector == NO_VECTOR else "(the engine failed)" if vector < 0 else str(vector)


def _vector_text(value: Any) -> str:
    return f"{int(value[1]):016x}{int(value[0]):016x}"


def _extended(record: Any, n: int) -> str:
    return f"{int(record['st_mantissa'][n]):016x}:{int(record['st_exponent'][n]):04x}"


# ---------------------------------------------------------------- rules
# Each takes what differs by name and removes what the manual leaves open.

Rule = Callable[[Row, Any, Any, Any, dict[str, str]], None]


def _parts(row: Row, case: Any) -> tuple[int, int, bool, int, bytes]:
    """(ModRM.reg, ModRM.rm, whether memory, operand bits, what follows the opcode) with REX folded in."""
    code = code_of(case)
    at, rex, bits = 0, 0, 32
    long = int(case["mode"]) == 64
    if row.vex:
        return _vex_parts(code, long)
    while code[at] in (0x66, 0x67, 0xF0, 0xF2, 0xF3, 0x26, 0x2E, 0x36, 0x3E, 0x64, 0x65):
        bits = 16 if code[at] == 0x66 else bits
        at += 1
    if long and code[at] & 0xF0 == 0x40:
        rex = code[at]
        at += 1
    if rex & 8:
        bits = 64
    at += len(row.opcode)
    modrm = code[at] if at < len(code) else 0
    return modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7 | (rex & 1) << 3, modrm < 0xC0, bits, code[at:]


def _vex_parts(code: bytes, long: bool) -> tuple[int, int, bool, int, bytes]:
    """_parts() of a VEX-encoded instruction."""
    at = next((n for n, byte in enumerate(code) if byte in (0xC4, 0xC5)), 0)
    rex = 0
    if code[at] == 0xC4:
        rex = ~code[at + 1] >> 5 & 7 | code[at + 2] >> 4 & 8
        at += 1
    elif long:
        rex = ~code[at + 1] >> 5 & 4
    if not long:
        rex = 0
    rest = code[at + 3 :]
    modrm = rest[0] if rest else 0xC0
    reg, rm = modrm >> 3 & 7 | (rex & 4) << 1, modrm & 7 | (rex & 1) << 3
    return reg, rm, modrm < 0xC0, 64 if rex & 8 else 32, rest


def _zero_source(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """BSF, BSR: the destination is undefined where the source is 0 (SDM 2A)."""
    if int(expected["rflags"]) & 0x40:
        found.pop(GPR[_parts(row, case)[0]], None)


def _count(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """SHLD, SHRD: result and flags are undefined for a count above the operand size (SDM 2B)."""
    _, rm, _, bits, rest = _parts(row, case)
    count = rest[-1] if row.operands[-1].letter == "I" else int(case["gpr"][1])
    if bits == 16 and count & 31 > 16:
        for name in (GPR[rm], "rflags", "memory"):
            found.pop(name, None)


def _carry(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """SHL, SHR: CF is undefined for a count at or above the operand size (SDM 2B)."""
    _, _, _, bits, rest = _parts(row, case)
    bits = 8 if row.operands[0].size == "b" else bits
    count = (rest[-1] if row.operands[-1].letter == "I" else int(case["gpr"][1])) & 31
    wrong = (int(expected["rflags"]) ^ int(actual["rflags"])) & COMPARED_FLAGS & ~row.flags_undefined
    if count >= bits and wrong == 1:
        found.pop("rflags", None)


def _word(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """BSWAP: undefined for 16 bits (SDM 2A)."""
    code = code_of(case)
    if 0x66 in code[:-2] and not (int(case["mode"]) == 64 and code[-3] & 0xF8 == 0x48):
        found.pop(GPR[code[-1] & 7], None)
        found.pop(GPR[8 | code[-1] & 7], None)


def _condition_codes(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """x87: the condition codes that SDM 1, table 8-1 leaves undefined: C0, C2, C3 and, for some, C1."""
    mask = {"c023": 0x4500, "c0123": 0x4700}[str(row.attributes["undefined"])]
    if not (int(expected["status"]) ^ int(actual["status"])) & ~mask:
        found.pop("status", None)


def _frame(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """ENTER with 16-bit operands: Intel writes BP, AMD rBP by the stack's address size (SDM 2A; APM 3)."""
    if not (int(expected["gpr"][5]) ^ int(actual["gpr"][5])) & 0xFFFF and _parts(row, case)[3] == 16:
        found.pop("rbp", None)


def _mmx_fault(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """MMX with an exception: whether TOP and the tags have changed by then is not said (SDM 1, 9.5.1); Intel's have."""
    _fault_address(row, case, expected, actual, found)
    if int(expected["vector"]) >= 0:
        for name in ("status", "valid", *(f"st{n}" for n in range(8))):
            found.pop(name, None)


def _fault_address(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """Byte masks: whether bytes that the mask leaves out fault is implementation-specific (SDM 2B, MASKMOVDQU)."""
    distance = int(expected["fault_address"]) - int(actual["fault_address"])
    if any(distance % (1 << bits) in (*range(32), *range((1 << bits) - 31, 1 << bits)) for bits in (16, 32, 64)):
        found.pop("cr2", None)  # the bytes may wrap within the address size


def _partial(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """Accesses wider than a quadword may be several: a store may have written a part when it faults, and which part's
    fault is first is not said (SDM 3A, 9.1.1). The latter is judged in differences()."""
    if int(expected["vector"]) in (13, 14):
        found.pop("memory", None)


def _operand_order(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """CMPS: which of its two operands faults first is not said (SDM 2A)."""
    found.pop("cr2", None)


def _alignment(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """SHA with a misaligned operand: #GP on Intel (SDM 2A, exception type 4), none on AMD. Judged in differences()."""


UNDEFINED: dict[str, Rule] = {
    "frame": _frame,
    "mmx_fault": _mmx_fault,
    "fault_address": _fault_address,
    "partial": _partial,
    "alignment": _alignment,
    "operand_order": _operand_order,
    "zero_source": _zero_source,
    "count": _count,
    "carry": _carry,
    "word": _word,
    "c023": _condition_codes,
    "c0123": _condition_codes,
}
"""Values of the row attribute `undefined`."""


def _ordered(mantissa: int, exponent: int) -> int:
    """Extended values as integers in their order, one apart where they are neighbours."""
    magnitude = (exponent & 0x7FFF) << 63 | (mantissa & (1 << 63) - 1)
    return -magnitude if exponent & 0x8000 else magnitude


def _one_ulp(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """x87 transcendentals: within 1 ulp (SDM 1, 8.3.10); C1, which tells the direction of rounding, goes with it.

    Two implementations may lie on both sides, hence two steps between them."""
    open_bits = 0x4700
    for n in range(8):
        one = _ordered(int(actual["st_mantissa"][n]), int(actual["st_exponent"][n]))
        other = _ordered(int(expected["st_mantissa"][n]), int(expected["st_exponent"][n]))
        if abs(one - other) <= 2:
            found.pop(f"st{n}", None)
            if one != other and abs(abs(one) - (1 << 63)) <= 2:
                open_bits |= 0x10  # one of them is tiny, and underflows
    if not (int(expected["status"]) ^ int(actual["status"])) & ~open_bits:
        found.pop("status", None)


def _relative(row: Row, case: Any, expected: Any, actual: Any, found: dict[str, str]) -> None:
    """RCPPS, RSQRTPS and kin: relative error up to 1.5 * 2**-12 (SDM 2B), 0 for what that makes tiny."""
    error = 3 * 2.0**-12
    tiny = 2.0**-126 * (1 + error)
    for name, part in (("xmm", "xmm"), ("ymm", "ymm_high")):
        for n in range(16):
            with np.errstate(invalid="ignore"):
                one = actual[part][n].copy().view(np.float32).astype(np.float64)
                other = expected[part][n].copy().view(np.float32).astype(np.float64)
            same = actual[part][n].copy().view(np.uint32) == expected[part][n].copy().view(np.uint32)
            with np.errstate(all="ignore"):
                near = np.abs(one - other) <= np.abs(other) * error
                near |= ((one == 0) | (other == 0)) & (np.maximum(np.abs(one), np.abs(other)) <= tiny)
            if (same | near).all():
                found.pop(f"{name}{n}", None)


APPROXIMATE: dict[str, Rule] = {"one_ulp": _one_ulp, "12bits": _relative}
"""Values of the row attribute `approximate`."""
