"""What an implementation has to offer to be measured: the Engine protocol, and State, what it is set to and asked for.

To measure another emulator write one class with these methods and pass `--engine package.module:Class`.  An engine
that can run many cases at once may also have `run_batch(records)` (see x86emu.conform.records); without it the
function run_batch() below goes case by case.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np

from x86emu.conform.records import LAYOUT, NO_VECTOR, RECORD, WINDOW_BYTES, Layout, Records, code_of, digest
from x86emu.errors import UserInputError, X86EmuError
from x86emu.isa.models import resolve_model


class EngineError(X86EmuError):
    """An engine could not run a case; the message names the engine and the case."""


@dataclass
class X87:
    """x87 state; st lists (mantissa, sign and exponent) by ST number, MMX registers are their mantissas."""

    control: int = 0x37F
    status: int = 0
    valid: int = 0
    """Bit n set: physical register n is not empty."""
    st: list[tuple[int, int]] = field(default_factory=lambda: [(0, 0)] * 8)


@dataclass
class State:
    """Architectural state of one processor in user mode (mode 64, 32) or real mode (mode 16)."""

    mode: int = 64
    gpr: list[int] = field(default_factory=lambda: [0] * 16)
    """rax rcx rdx rbx rsp rbp rsi rdi r8..r15, zero-extended."""
    rip: int = 0
    rflags: int = 2
    segments: list[int] = field(default_factory=lambda: [0] * 6)
    """Selectors of ES CS SS DS FS GS; in real mode their bases are 16 times as much.  User mode ignores them: flat."""
    vectors: list[int] = field(default_factory=lambda: [0] * 16)
    """YMM0..15 (an engine without AVX ignores the upper halves)."""
    mxcsr: int = 0x1F80
    x87: X87 = field(default_factory=X87)
    memory: dict[int, bytes] = field(default_factory=dict)
    """Contents by address: all of code, data and stack in user mode; in real mode what the case says, physical."""


@dataclass(frozen=True)
class Stop:
    """Why run() came back."""

    vector: int | None = None
    """Vector of the exception raised; None: the instructions were executed."""
    address: int = 0
    """CR2, for a page fault."""


@runtime_checkable
class Engine(Protocol):
    """An implementation under test, or an oracle."""

    name: str
    modes: frozenset[int]
    """Of 16, 32, 64."""

    def features(self) -> frozenset[str]:
        """Names of the instruction-set features it has, as in x86emu.isa.features."""
        ...

    def set_state(self, state: State) -> None:
        """Sets registers and memory; in user mode nothing but state.memory is mapped."""
        ...

    def run(self, instructions: int) -> Stop:
        """Executes up to so many instructions (a repeated string instruction counts once); ends before the handler of
        an exception, with the registers as the exception found them."""
        ...

    def get_state(self) -> State:
        """Registers and the memory that set_state() gave."""
        ...

    def close(self) -> None:
        """Gives back what it holds: processes, memory."""
        ...


def state_of(record: Any, layout: Layout = LAYOUT) -> State:
    """The State that one record stands for."""
    pristine = bytearray(layout.pristine())
    window = bytes(record["window"])
    place = int(record["window_address"]) - layout.data
    pristine[place : place + WINDOW_BYTES] = window
    code = bytearray(b"\xcc" * layout.code_bytes)
    at = int(record["rip"]) - layout.code
    text = bytes(record["code"][: int(record["code_length"])])[: layout.code_bytes - at]
    code[at : at + len(text)] = text
    return State(
        mode=int(record["mode"]),
        gpr=[int(v) for v in record["gpr"]],
        rip=int(record["rip"]),
        rflags=int(record["rflags"]),
        vectors=[
            int(low[0]) | int(low[1]) << 64 | int(high[0]) << 128 | int(high[1]) << 192
            for low, high in zip(record["xmm"], record["ymm_high"], strict=True)
        ],
        mxcsr=int(record["mxcsr"]),
        x87=X87(
            int(record["control"]),
            int(record["status"]),
            int(record["valid"]),
            [(int(m), int(e)) for m, e in zip(record["st_mantissa"], record["st_exponent"], strict=True)],
        ),
        memory={
            layout.code: bytes(code),
            layout.data: bytes(pristine[: layout.data_bytes]),
            layout.stack: bytes(pristine[layout.data_bytes :]),
        },
    )


def put_outcome(record: Any, case: Any, state: State, stop: Stop, layout: Layout = LAYOUT) -> None:
    """Writes what an engine reports after a case into an outcome record."""
    for name in RECORD.names or ():
        record[name] = case[name]
    record["gpr"] = state.gpr
    record["rip"] = state.rip
    record["rflags"] = state.rflags
    for n, value in enumerate(state.vectors):
        record["xmm"][n] = value & (1 << 64) - 1, value >> 64 & (1 << 64) - 1
        record["ymm_high"][n] = value >> 128 & (1 << 64) - 1, value >> 192
    record["mxcsr"] = state.mxcsr
    record["control"], record["status"], record["valid"] = state.x87.control, state.x87.status, state.x87.valid
    record["st_mantissa"] = [m for m, _ in state.x87.st]
    record["st_exponent"] = [e for _, e in state.x87.st]
    record["vector"] = NO_VECTOR if stop.vector is None else stop.vector
    record["fault_address"] = stop.address
    after = bytearray(state.memory[layout.data] + state.memory[layout.stack])
    place = int(case["window_address"]) - layout.data
    record["window"] = np.frombuffer(bytes(after[place : place + WINDOW_BYTES]), np.uint8)
    before = layout.pristine()
    after[place : place + WINDOW_BYTES] = before[place : place + WINDOW_BYTES]
    record["digest"] = digest(np.frombuffer(before, np.uint64), np.frombuffer(bytes(after), np.uint64))


FAILED = -2
"""Vector of a case that an engine could not run."""


def run_batch(engine: Engine, cases: Records, errors: list[str] | None = None) -> Records:
    """Outcomes of all cases, by the engine's own run_batch() if it has one.

    Where the engine raises, the case gets the vector FAILED and errors a sentence that names it; without errors
    EngineError is raised.
    """
    own = getattr(engine, "run_batch", None)
    if own is not None:
        try:
            outcome: Records = own(cases)
            return outcome
        except Exception:
            if len(cases) == 1 and errors is None:
                raise
    outcomes = cases.copy()
    for number in range(len(cases)):
        try:
            if own is not None:
                outcomes[number] = own(cases[number : number + 1])[0]
                continue
            engine.set_state(state_of(cases[number]))
            stop = engine.run(int(cases[number]["steps"]) & 0xFFFF)
            put_outcome(outcomes[number], cases[number], engine.get_state(), stop)
        except Exception as error:
            sentence = f"engine {engine.name} failed at case {number} (code {code_of(cases[number]).hex()}): {error!r}"
            if errors is None:
                raise EngineError(sentence) from error
            errors.append(sentence)
            outcomes[number] = cases[number]
            outcomes[number]["vector"] = FAILED
    return outcomes


ENGINES = {
    "x86emu": "x86emu.conform.engines.x86emu:X86EmuEngine",
    "unicorn": "x86emu.conform.engines.unicorn:UnicornEngine",
    "native": "x86emu.conform.engines.native:NativeEngine",
}
"""The engines that come with the package."""


def open_engine(name: str, **options: Any) -> Engine:
    """The engine of that name, or of `package.module:Class`. Raises UserInputError where it cannot be had."""
    place = ENGINES.get(name, name)
    module_name, colon, class_name = place.partition(":")
    if not colon:
        raise UserInputError(
            f"There is no engine {name!r}; there are {', '.join(ENGINES)}, and any class given as package.module:Class."
        )
    try:
        made = getattr(importlib.import_module(module_name), class_name)(**options)
    except (ImportError, AttributeError) as error:
        raise UserInputError(f"The engine {name} cannot be loaded: {error}.") from None
    if not isinstance(made, Engine):
        raise UserInputError(f"{place} is no engine: it lacks methods of x86emu.conform.engine.Engine.")
    return made


_SYSTEM = frozenset("smm vme de pse tsc msr pae mce apic sep mtrr pge mca pat pse36 syscall nx xsave".split())
"""Features that user mode does not see, but that its page tables and registers need."""
_engines: dict[str, Engine] = {}


def engine_named(name: str, oracle: str = "") -> Engine:
    """An engine that stays open for the life of this process.

    x86emu becomes a processor of the oracle's make and with no feature that the oracle lacks, so that what is missing
    there is #UD in both. Raises UserInputError where one of them cannot be had.
    """
    key = f"{name} for {oracle}"
    if key not in _engines:
        options: dict[str, Any] = {}
        if name == "x86emu" and oracle and oracle != "x86emu":
            judge = engine_named(oracle)
            model = resolve_model("max")
            options["model"] = replace(
                model,
                features=model.features & (judge.features() | _SYSTEM),
                vendor=getattr(judge, "vendor", model.vendor),
            )
        _engines[key] = open_engine(name, **options)
    return _engines[key]
