"""Unicorn (the Python package) as an engine: a peer to compare with.

Unicorn runs user code at privilege level 0 and without an operating system, so what a case may not do (ports, CLI) it
may do there; `ring` tells that to who makes cases.  Batches go by arrays: memory is shared, registers are moved by the
batch calls of the library with pointers that are made once.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import warnings
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.engine import X87, State, Stop
from x86emu.conform.records import LAYOUT, NO_VECTOR, WINDOW_BYTES, Layout, Records, digest
from x86emu.errors import UserInputError

_GPR = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split()
_GPR32 = "EAX ECX EDX EBX ESP EBP ESI EDI".split()
_FEATURES = frozenset(
    "base i186 i286 i386 i486 cpuid pentium p6 fpu cx8 cmov mmx fxsr sse sse2 sse3 ssse3 sse4_1 sse4_2 popcnt movbe "
    "abm adx bmi1 bmi2 aes pclmulqdq lm cx16 lahf_lm clflush mmxext".split()
)


_REGISTERS = np.dtype(
    [
        ("gpr", "<u8", (16,)), ("rip", "<u8"), ("rflags", "<u8"), ("mxcsr", "<u8"), ("status", "<u8"),
        ("control", "<u8"), ("st", [("m", "<u8"), ("e", "<u8")], (8,)), ("tags", "<u8"), ("xmm", "<u8", (16, 2)),
    ]
)  # fmt: skip
"""Registers as the library reads and writes them, each at a place of its own; st by physical number."""


_OUTCOME = np.dtype(
    [
        ("registers", _REGISTERS), ("window", "u1", (WINDOW_BYTES,)), ("fault_address", "<u8"), ("digest", "<u8"),
        ("vector", "<i8"),
    ]
)  # fmt: skip
"""What the child process and this one share of each case."""


def _shared(count: int) -> NDArray[np.void]:
    """count outcomes in memory that a child process shares."""
    made = np.frombuffer(mmap.mmap(-1, max(1, count * _OUTCOME.itemsize)), _OUTCOME, count)
    made["vector"] = NO_VECTOR
    return made


class _Batches:
    """One machine of Unicorn in one mode whose memory is this process's own, and whose registers move by pointers."""

    def __init__(self, engine: UnicornEngine, mode: int) -> None:
        uc, layout, constants = engine._unicorn, engine.layout, engine._constants
        self.machine = uc.Uc(uc.UC_ARCH_X86, uc.UC_MODE_64 if mode == 64 else uc.UC_MODE_32)
        self._memory = mmap.mmap(-1, layout.code_bytes + layout.data_bytes + layout.stack_bytes)
        everything = np.frombuffer(self._memory, np.uint8)
        self.code = everything[: layout.code_bytes]
        self.data = everything[layout.code_bytes :]
        self.code[:] = 0xCC
        self.pristine = np.frombuffer(layout.pristine(), np.uint8)
        self.data[:] = self.pristine
        place = everything.ctypes.data
        read, write, execute = uc.UC_PROT_READ, uc.UC_PROT_WRITE, uc.UC_PROT_EXEC
        for linear, length, rights in (
            (layout.code, layout.code_bytes, read | execute),
            (layout.data, layout.data_bytes, read | write),
            (layout.stack, layout.stack_bytes, read | write),
        ):
            self.machine.mem_map_ptr(linear, length, rights, ctypes.c_void_p(place))
            place += length
        self.machine.hook_add(uc.UC_HOOK_INTR, engine._interrupt)
        self.machine.hook_add(uc.UC_HOOK_MEM_INVALID, engine._invalid)
        count = 16 if mode == 64 else 8
        names = [f"XMM{n}" for n in range(count)]
        written = [(name, "gpr", n) for n, name in enumerate(_GPR if mode == 64 else _GPR32)]
        written += [("EFLAGS", "rflags", 0), ("MXCSR", "mxcsr", 0), ("FPSW", "status", 0), ("FPCW", "control", 0)]
        written += [(f"FP{n}", "st", n) for n in range(8)]
        written += [("FPTAG", "tags", 0), *((name, "xmm", n) for n, name in enumerate(names))]
        self.scratch = np.zeros(1, _REGISTERS)
        self.size = _REGISTERS.itemsize
        self.address = self.scratch.ctypes.data
        self._written = self._pointers(written, constants)
        self._read = self._pointers([*written, ("RIP" if mode == 64 else "EIP", "rip", 0)], constants)
        self.last = (0, b"")
        self.context = self.machine.context_save()

    def _pointers(self, places: list[tuple[str, str, int]], constants: Any) -> tuple[Any, Any, int]:
        numbers = (ctypes.c_int * len(places))(*(getattr(constants, f"UC_X86_REG_{name}") for name, _, _ in places))
        fields: Any = _REGISTERS.fields
        pointers = (ctypes.c_void_p * len(places))(
            *(self.address + fields[f][1] + n * (fields[f][0].itemsize // (fields[f][0].shape or (1,))[0])
              for _, f, n in places)
        )  # fmt: skip
        return numbers, pointers, len(places)

    def set_registers(self, image: int) -> None:
        ctypes.memmove(self.address, image, self.size)
        self.machine._do_reg_write_batch(*self._written)

    def get_registers(self, image: int) -> None:
        self.machine._do_reg_read_batch(*self._read)
        ctypes.memmove(image, self.address, self.size)

    def set_code(self, at: int, code: bytes) -> None:
        """Code at an offset in its pages, CCh elsewhere; translations are dropped where it is other code."""
        if (at, code) == self.last:
            return
        old, text = self.last
        self.code[old : old + len(text)] = 0xCC
        self.code[at : at + len(code)] = np.frombuffer(code, np.uint8)
        self.last = (at, code)
        self.machine.ctl_flush_tb()


def _images(cases: Records) -> NDArray[np.void]:
    images = np.zeros(len(cases), _REGISTERS)
    for name in ("gpr", "rip", "rflags", "mxcsr", "status", "control", "xmm"):
        images[name] = cases[name]
    top = cases["status"] >> 11 & 7
    for physical in range(8):
        n = (physical - top.astype(np.int64)) & 7
        images["st"]["m"][:, physical] = np.take_along_axis(cases["st_mantissa"], n[:, None], 1)[:, 0]
        images["st"]["e"][:, physical] = np.take_along_axis(cases["st_exponent"], n[:, None], 1)[:, 0]
        images["tags"] |= np.where(cases["valid"] >> physical & 1, 0, 3 << 2 * physical).astype(np.uint64)
    return images


def _put(outcomes: Records, images: NDArray[np.void]) -> None:
    for name in ("gpr", "rip", "rflags", "mxcsr", "status", "control"):
        outcomes[name] = images[name]
    outcomes["xmm"] = images["xmm"]
    top = (images["status"] >> np.uint64(11) & np.uint64(7)).astype(np.int64)
    valid = np.zeros(len(outcomes), np.uint16)
    for n in range(8):
        physical = ((top + n) & 7)[:, None]
        outcomes["st_mantissa"][:, n] = np.take_along_axis(images["st"]["m"], physical, 1)[:, 0]
        outcomes["st_exponent"][:, n] = np.take_along_axis(images["st"]["e"], physical, 1)[:, 0]
        valid |= np.where(images["tags"] >> np.uint64(2 * n) & np.uint64(3) != 3, 1 << n, 0).astype(np.uint16)
    outcomes["valid"] = valid


class UnicornEngine:
    """Raises UserInputError where the package unicorn is not installed."""

    name = "unicorn"
    modes = frozenset({32, 64})
    vendor = "GenuineIntel"
    """Whose make it is like: 66h before near branches in 64-bit mode is ignored."""
    ring = 0
    """Privilege level at which cases run: rows that need a right make none."""

    def __init__(self, layout: Layout = LAYOUT) -> None:
        try:
            import unicorn
            from unicorn import x86_const
        except ImportError:
            raise UserInputError("The engine unicorn needs the Python package unicorn: pip install unicorn.") from None
        self._unicorn, self._constants = unicorn, x86_const
        self._error: type[Exception] = vars(unicorn)["UcError"]
        self.layout = layout
        self._machines: dict[int, Any] = {}
        self._contexts: dict[int, Any] = {}
        self._batches: dict[int, _Batches] = {}
        self._state = State()
        self._vector: int | None = None
        self._fetching = False
        self._fetches = (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT)
        self._address = 0
        self._gpr = {
            64: [getattr(x86_const, f"UC_X86_REG_{name}") for name in _GPR],
            32: [getattr(x86_const, f"UC_X86_REG_{name}") for name in _GPR32],
        }
        self._xmm = [getattr(x86_const, f"UC_X86_REG_XMM{n}") for n in range(16)]

    def features(self) -> frozenset[str]:
        return _FEATURES

    def _machine(self, mode: int) -> Any:
        if mode not in self._machines:
            uc = self._unicorn
            machine = uc.Uc(uc.UC_ARCH_X86, uc.UC_MODE_64 if mode == 64 else uc.UC_MODE_32)
            layout = self.layout
            machine.mem_map(layout.code, layout.code_bytes, uc.UC_PROT_READ | uc.UC_PROT_EXEC)
            machine.mem_map(layout.data, layout.data_bytes, uc.UC_PROT_READ | uc.UC_PROT_WRITE)
            machine.mem_map(layout.stack, layout.stack_bytes, uc.UC_PROT_READ | uc.UC_PROT_WRITE)
            machine.hook_add(uc.UC_HOOK_INTR, self._interrupt)
            machine.hook_add(
                uc.UC_HOOK_MEM_INVALID, self._invalid
            )  # unmapped or protected: the access is refused, which ends the run
            self._machines[mode] = machine
            self._contexts[mode] = machine.context_save()
        return self._machines[mode]

    def _interrupt(self, machine: Any, vector: int, user: object) -> None:
        self._vector = vector
        machine.emu_stop()

    def _invalid(self, machine: Any, access: int, address: int, size: int, value: int, user: object) -> bool:
        self._vector = 14
        self._address = address
        self._fetching = access in self._fetches
        return False

    def set_state(self, state: State) -> None:
        machine, constants = self._machine(state.mode), self._constants
        machine.context_restore(self._contexts[state.mode])  # after an exception the next would be a double fault
        self._state = state
        for address, data in state.memory.items():
            machine.mem_write(address, data)
        machine.ctl_flush_tb()  # code that was translated before is not noticed to have changed
        for n, register in enumerate(self._gpr[state.mode]):
            machine.reg_write(register, state.gpr[n])
        machine.reg_write(constants.UC_X86_REG_EFLAGS, state.rflags)
        for n in range(16 if state.mode == 64 else 8):
            machine.reg_write(self._xmm[n], state.vectors[n] & (1 << 128) - 1)
        machine.reg_write(constants.UC_X86_REG_MXCSR, state.mxcsr)
        machine.reg_write(constants.UC_X86_REG_FPSW, state.x87.status)
        machine.reg_write(constants.UC_X86_REG_FPCW, state.x87.control)
        top = state.x87.status >> 11 & 7
        tags = 0
        for n in range(8):
            if not state.x87.valid >> n & 1:
                tags |= 3 << 2 * n
        for n in range(8):
            physical = (top + n) & 7
            register = getattr(constants, f"UC_X86_REG_FP{physical}")
            machine.reg_write(register, state.x87.st[n])
        machine.reg_write(constants.UC_X86_REG_FPTAG, tags)

    def run(self, instructions: int) -> Stop:
        machine = self._machine(self._state.mode)
        self._vector, self._address, self._fetching = None, 0, False
        code = self._state.memory[self.layout.code]
        start = self._state.rip
        length = len(code[start - self.layout.code :].rstrip(b"\xcc"))  # CCh fills the pages behind the instructions
        try:
            machine.emu_start(start, start + max(1, length), count=instructions & 0xFFFF)
        except self._error as error:
            if self._vector is None:
                self._vector = 6 if getattr(error, "errno", 0) == self._unicorn.UC_ERR_INSN_INVALID else 13
        if self._fetching and instructions & 0xFFFF == 1:
            counter = self._constants.UC_X86_REG_RIP if self._state.mode == 64 else self._constants.UC_X86_REG_EIP
            if machine.reg_read(counter) != start:
                self._vector = None  # a branch has been taken; what lies at its target is no part of the case
        return Stop(self._vector, self._address if self._vector is not None else 0)

    def get_state(self) -> State:
        machine, constants, mode = self._machine(self._state.mode), self._constants, self._state.mode
        status = machine.reg_read(constants.UC_X86_REG_FPSW)
        top = status >> 11 & 7
        tags = machine.reg_read(constants.UC_X86_REG_FPTAG)
        registers = [machine.reg_read(register) for register in self._gpr[mode]]
        st = [machine.reg_read(getattr(constants, f"UC_X86_REG_FP{(top + n) & 7}")) for n in range(8)]
        return State(
            mode=mode,
            gpr=registers + [0] * (16 - len(registers)),
            rip=machine.reg_read(constants.UC_X86_REG_RIP if mode == 64 else constants.UC_X86_REG_EIP),
            rflags=machine.reg_read(constants.UC_X86_REG_EFLAGS),
            vectors=[machine.reg_read(self._xmm[n]) for n in range(16 if mode == 64 else 8)]
            + [0] * (0 if mode == 64 else 8),
            mxcsr=machine.reg_read(constants.UC_X86_REG_MXCSR),
            x87=X87(
                machine.reg_read(constants.UC_X86_REG_FPCW),
                status,
                sum(1 << n for n in range(8) if tags >> 2 * n & 3 != 3),
                [(int(m), int(e)) for m, e in st],
            ),
            memory={
                address: bytes(machine.mem_read(address, len(data))) for address, data in self._state.memory.items()
            },
        )

    def run_batch(self, cases: Records) -> Records:
        """All cases; the same as set_state(), run() and get_state() for each.

        They run in a child process: a case at which the library crashes has vector -2, and the others go on.
        """
        shared = _shared(len(cases))
        shared["registers"], shared["window"] = _images(cases), cases["window"]
        progress = np.frombuffer(mmap.mmap(-1, 8), np.int64)
        start = 0
        while start < len(cases):
            for mode in {int(mode) for mode in cases["mode"][start:]}:
                if mode not in self._batches:
                    self._batches[mode] = _Batches(self, mode)
            progress[0] = start
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # of fork() with threads: the child has but its own
                child = os.fork()
            if child == 0:
                self._child(cases, shared, start, progress)
            os.waitpid(child, 0)
            start = int(progress[0])
            if start < len(cases):
                shared["vector"][start] = -2
                start += 1
        outcomes = cases.copy()
        _put(outcomes, shared["registers"])
        outcomes["window"], outcomes["vector"] = shared["window"], shared["vector"]
        outcomes["fault_address"], outcomes["digest"] = shared["fault_address"], shared["digest"]
        return outcomes

    def _child(self, cases: Records, shared: NDArray[np.void], start: int, progress: NDArray[np.int64]) -> NoReturn:
        status = 1
        try:
            self._run_cases(cases, shared, start, progress)
            status = 0
        finally:
            os._exit(status)

    def _run_cases(self, cases: Records, shared: NDArray[np.void], start: int, progress: NDArray[np.int64]) -> None:
        layout, windows = self.layout, shared["window"]
        first, stride = shared.ctypes.data, shared.itemsize
        vectors, addresses, digests = shared["vector"], shared["fault_address"], shared["digest"]
        rips, lengths = cases["rip"].tolist(), cases["code_length"].tolist()
        places, steps = (cases["window_address"] - np.uint64(layout.data)).tolist(), cases["steps"].tolist()
        codes, modes = cases["code"], cases["mode"].tolist()
        for n in range(start, len(cases)):
            progress[0] = n
            b = self._batches[modes[n]]
            at, place, image = rips[n] - layout.code, places[n], first + n * stride
            b.set_code(at, codes[n, : min(lengths[n], layout.code_bytes - at)].tobytes())
            b.data[place : place + WINDOW_BYTES] = windows[n]
            b.set_registers(image)
            self._vector, self._address, self._fetching = None, 0, False
            try:
                b.machine.emu_start(rips[n], rips[n] + lengths[n], count=steps[n] & 0xFFFF)
            except self._error as error:
                if self._vector is None:
                    self._vector = 6 if getattr(error, "errno", 0) == self._unicorn.UC_ERR_INSN_INVALID else 13
            b.get_registers(image)
            if self._fetching and int(shared["registers"]["rip"][n]) != rips[n] and steps[n] & 0xFFFF == 1:
                self._vector = None  # a branch has been taken; what lies at its target is no part of the case
                b.machine.context_restore(b.context)
            if self._vector is not None:
                vectors[n], addresses[n] = self._vector, self._address
                b.machine.context_restore(b.context)  # the next exception would be a double fault
            windows[n] = b.data[place : place + WINDOW_BYTES]
            b.data[place : place + WINDOW_BYTES] = b.pristine[place : place + WINDOW_BYTES]
            if not np.array_equal(b.data, b.pristine):
                digests[n] = digest(b.pristine.view(np.uint64), b.data.view(np.uint64))
                b.data[:] = b.pristine
        progress[0] = len(cases)

    def close(self) -> None:
        self._machines.clear()
        self._batches.clear()
