"""Captures of single user-mode instructions from a current processor (format "hwx1", one JSON object a line).

The first line of a file names the layout and its initial contents; a case holds the registers before, the signal or
what changed, and which flags are undefined.  What is undefined beyond flags is judged by the instruction table's rows.
"""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from x86emu.conform.compare import differences
from x86emu.conform.engine import X87, Engine, State, Stop, open_engine, put_outcome
from x86emu.conform.records import GPR, Layout, empty, set_code
from x86emu.conform.results import Failure, UnitResult
from x86emu.conform.suite import Options
from x86emu.errors import UserInputError
from x86emu.isa.disassembler import row_of
from x86emu.isa.models import resolve_model
from x86emu.isa.table import Row, load_rows

SIGNAL_VECTORS = {4: (6,), 5: (1, 3, 4), 8: (0, 16, 19), 11: (4, 5, 7, 12, 13, 14, 17)}
MODEL = "default,+adx,+sse4a,+sha,+clflushopt,+bmi1,+bmi2"
"""What the captured processor and the core have in common."""
PART = 2000


@dataclass(frozen=True)
class CaptureLayout(Layout):
    """Layout with the contents that the header gives."""

    contents: bytes = b""

    def pristine(self) -> bytes:
        return self.contents


def read_capture(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Header and lines of a file. Raises UserInputError for a malformed one."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            first, *lines = file.read().splitlines()
        header: dict[str, Any] = json.loads(first)
        if header.get("format") != "hwx1":
            raise ValueError("its first line does not say format hwx1")
    except (OSError, EOFError, ValueError) as error:
        raise UserInputError(f"{path} is no capture of format hwx1: {error}.") from None
    return header, lines


def layout_of(header: dict[str, Any]) -> CaptureLayout:
    """The layout that a header describes."""
    data, stack = bytes.fromhex(header["data_hex"]), bytes.fromhex(header["stack_hex"])
    return CaptureLayout(
        header["code"], 0x1000, header["data"], len(data), header["stack"], len(stack), 0, data + stack
    )


def state_of_case(case: dict[str, Any], header: dict[str, Any], layout: CaptureLayout) -> State:
    """The state before a case."""
    code = bytes.fromhex(case["b"])
    vectors = [int(value, 16) for value in case.get("x", ())]
    x87 = X87()
    if "f" in case:
        f = case["f"]
        values = [tuple(int(part, 16) for part in st.split(":")) for st in f["st"]]
        x87 = X87(f["cw"], f["top"] << 11, f["tag"], [(v[0], v[1]) for v in values])
    return State(
        mode=int(header["mode"]),
        gpr=[int(case["r"].get(name, "0"), 16) for name in GPR],
        rip=layout.code,
        rflags=int(case["r"]["eflags"], 16),
        vectors=vectors + [0] * (16 - len(vectors)),
        mxcsr=case.get("mx", 0x1F80),
        x87=x87,
        memory={
            layout.code: code.ljust(layout.code_bytes, b"\xcc"),
            layout.data: layout.contents[: layout.data_bytes],
            layout.stack: layout.contents[layout.data_bytes :],
        },
    )


def _expected(case: dict[str, Any], before: State, layout: CaptureLayout) -> State:
    outcome = case["o"]
    memory = {address: bytearray(data) for address, data in before.memory.items()}
    for address, text in outcome.get("m", []):
        value = bytes.fromhex(text)
        for start, contents in memory.items():
            if start <= address < start + len(contents):
                contents[address - start : address - start + len(value)] = value
    x87 = before.x87
    if "f" in outcome:
        f = outcome["f"]
        values = [tuple(int(part, 16) for part in st.split(":")) for st in f["st"]]
        x87 = X87(f["cw"], f["sw"], f["tag"], [(v[0], v[1]) for v in values])
    return replace(
        before,
        gpr=[int(outcome["r"].get(name, f"{old:x}"), 16) for name, old in zip(GPR, before.gpr, strict=True)],
        rip=layout.code + outcome["ip"],
        rflags=outcome["fl"],
        vectors=[int(outcome.get("x", {}).get(str(n), f"{old:x}"), 16) for n, old in enumerate(before.vectors)],
        mxcsr=outcome.get("mx", before.mxcsr),
        x87=x87,
        memory={address: bytes(contents) for address, contents in memory.items()},
    )


class RowFinder:
    """Finds the row of an instruction by asking the disassembler for it."""

    def __init__(self, features: frozenset[str]) -> None:
        self.features = features
        self.rows = {id(row): n for n, row in enumerate(load_rows())}

    def number(self, code: bytes, mode: int) -> int:
        """Row number, or -1."""
        row: Row | None = row_of(code.ljust(15, b"\x90"), mode, self.features)
        return self.rows.get(id(row), -1)


class _Hardware:
    name = "hw"
    title = "captures of single user-mode instructions of a current processor (hwx1)"
    oracle = "the captured processor"
    needs_directory = True

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], tuple[Engine, dict[str, Any], list[str], CaptureLayout]] = {}

    def features(self, options: Options) -> frozenset[str]:
        return frozenset()

    def units(self, options: Options) -> list[str]:
        directory = options.directory or Path()
        names = sorted(str(p.relative_to(directory)) for p in directory.rglob("*.jsonl.gz"))
        if not names:
            raise UserInputError(f"There are no captures (*.jsonl.gz) in {directory}.")
        units = []
        for name in names:
            try:
                count = len(read_capture(directory / name)[1])
            except UserInputError:
                count = 1  # its unit will tell
            if options.limit is not None:
                count = min(count, options.limit)
            units += [f"{name}:{start}" for start in range(0, count, PART)]
        return units

    def _opened(self, path: Path, name: str) -> tuple[Engine, dict[str, Any], list[str], CaptureLayout]:
        key = str(path), name
        if key not in self._open:
            header, lines = read_capture(path)
            layout = layout_of(header)
            options: dict[str, Any] = {"layout": layout}
            if name == "x86emu":
                options["model"] = resolve_model(MODEL)
            self._open[key] = open_engine(name, **options), header, lines, layout
        return self._open[key]

    def run(self, unit: str, options: Options) -> UnitResult:
        name, _, start = unit.rpartition(":")
        result = UnitResult(unit)
        path = (options.directory or Path()) / name
        try:
            engine, header, lines, layout = self._opened(path, options.engine)
        except UserInputError as error:
            result.errors.append(str(error))
            return result
        finder = RowFinder(engine.features())
        began = time.process_time()
        end = int(start) + PART if options.limit is None else min(int(start) + PART, options.limit)
        for number, line in enumerate(lines[int(start) : end], int(start)):
            try:
                case = json.loads(line)
                found, row = self._case(case, header, layout, engine, finder)
            except Exception as error:  # a malformed case, or an engine that raises: the rest goes on
                result.errors.append(f"{path}: case {number}: {error!r}")
                continue
            result.cases += 1
            if row >= 0:
                key = f"{row}|{header['mode']}|{case['n']}||"
                result.coverage[key] = result.coverage.get(key, 0) + 1
            if found:
                label = f"{load_rows()[row]} ({load_rows()[row].source})" if row >= 0 else case["n"]
                if result.fails(label):
                    result.failures.append(
                        Failure(f"{name}:{number}", case["b"], case["t"], int(header["mode"]), label, list(found))
                    )
        result.seconds = time.process_time() - began
        return result

    def _case(
        self, case: dict[str, Any], header: dict[str, Any], layout: CaptureLayout, engine: Engine, finder: RowFinder
    ) -> tuple[list[str], int]:
        before = state_of_case(case, header, layout)
        engine.set_state(before)
        stop = engine.run(1)
        code = bytes.fromhex(case["b"])
        row = finder.number(code, before.mode)
        signal = case["o"]["sig"]
        if signal:
            if stop.vector not in SIGNAL_VECTORS[signal]:
                got = "no exception" if stop.vector is None else f"vector {stop.vector}"
                return [f"{got}, expected signal {signal} (code {case['o'].get('code')})"], row
            return [], row
        return list(self._differences(case, before, stop, engine, layout, row, code)), row

    def _differences(
        self,
        case: dict[str, Any],
        before: State,
        stop: Stop,
        engine: Engine,
        layout: CaptureLayout,
        row: int,
        code: bytes,
    ) -> Iterator[str]:
        records = empty(3)
        records["window_address"] = layout.data
        records["mode"] = before.mode
        records["row"] = row
        records["rip"] = layout.code
        given, expected, actual = records
        set_code(given, code)
        given["gpr"] = before.gpr
        put_outcome(expected, given, _expected(case, before, layout), Stop(), layout)
        put_outcome(actual, given, engine.get_state(), stop, layout)
        if "mx" not in case["o"]:
            actual["mxcsr"] = expected["mxcsr"]
        if "f" not in case["o"]:
            for name in ("st_mantissa", "st_exponent", "status", "control", "valid"):
                actual[name] = expected[name]
        if "x" not in case:
            actual["xmm"] = expected["xmm"]
        actual["ymm_high"] = expected["ymm_high"] = np.uint64(0)
        undefined = case["fu"] | (load_rows()[row].flags_undefined if row >= 0 else 0)
        yield from differences(given, expected, actual, undefined)


SUITE = _Hardware()
