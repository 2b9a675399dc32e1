"""The host's processor as an engine: cases run in a traced child process (ptrace(2) on x86-64 Linux).

The child is a program of a few bytes that only waits; its memory is then replaced by the pages of the layout, shared
with this process, so that nothing else is mapped.  Each case sets the registers, lets the child run to the breakpoint
behind its code (or one step, for what changes control flow), and reads the registers back.  Faults arrive as signals
and become vectors; whatever a case does, the child alone dies of it, and a new one takes its place.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import platform
import signal
import struct
import sys
import tempfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from x86emu.conform.engine import EngineError, State, Stop, put_outcome, state_of
from x86emu.conform.records import GPR, LAYOUT, NO_VECTOR, WINDOW_BYTES, Layout, Records, digest
from x86emu.errors import UserInputError
from x86emu.isa.features import FEATURES

(_CONT, _SINGLESTEP, _GETREGS, _SETREGS, _ATTACH, _GETFPREGS, _SETFPREGS, _SETOPTIONS, _GETSIGINFO) = (
    7, 9, 12, 13, 16, 14, 15, 0x4200, 0x4202,
)  # fmt: skip
_GETREGSET, _SETREGSET, _XSTATE = 0x4204, 0x4205, 0x202
_EXITKILL = 0x100000
_XSAVE_BYTES, _AVX_OFFSET, _AVX_BYTES = 576, 576, 256
"""Legacy region and header of an XSAVE area, and where AVX lies behind them (SDM 1, 13.4)."""
_WALL = 0x40000000

# struct user_regs_struct of <sys/user.h>
_REGS = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss fs_base gs_base "
    "ds es fs gs"
).split()
_GPR_PLACES = [_REGS.index(n) for n in GPR]
_RIP, _EFLAGS, _CS, _SS, _DS, _ES, _ORIG = (
    _REGS.index(n) for n in ("rip", "eflags", "cs", "ss", "ds", "es", "orig_rax")
)

# Names in /proc/cpuinfo that this package writes otherwise.
_CPUINFO = {"pni": "sse3", "sha_ni": "sha", "3dnowprefetch": "3dnowprefetch", "lzcnt": "abm"}
_PSEUDO = {"base", "i186", "i286", "i386", "i486", "cpuid", "pentium", "p6"}

STEP = 0x80000000
"""Bit of a record's `steps`: execute by single steps instead of up to the breakpoint behind the code."""


def available() -> str | None:
    """None where the native engine works; otherwise a sentence that says why not."""
    if not sys.platform.startswith("linux") or platform.machine() not in ("x86_64", "AMD64"):
        return "the native oracle needs an x86-64 processor under Linux"
    return None


def host_features() -> frozenset[str]:
    """Features of the host's processor that x86emu.isa.features knows."""
    names: set[str] = set(_PSEUDO)
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        for line in lines:
            if line.startswith("flags"):
                names |= {_CPUINFO.get(name, name) for name in line.split(":")[1].split()}
                break
    if host_vendor() == "AuthenticAMD":
        names.add("branch16")
    return frozenset(name for name in names if name in FEATURES)


def host_vendor() -> str:
    """Vendor of the host's processor, as CPUID leaf 0 tells it."""
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as lines:
        return next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), "GenuineIntel")


def _program() -> bytes:
    """A static ELF file of one page: `jmp $`, and `syscall` for the set-up, at its entry."""
    base = 0x400000
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, base + 120, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, base, base, 0x80, 0x80, 0x1000)
    return (head + segment + b"\xeb\xfe\x0f\x05\xcc").ljust(0x80, b"\xcc")


class _Child:
    """One traced process whose only memory is the layout's pages."""

    def __init__(self, layout: Layout, shared: int) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.ptrace.restype = ctypes.c_long
        self._libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        with tempfile.NamedTemporaryFile(prefix="x86emu-", delete=False) as file:
            file.write(_program())
        try:
            os.chmod(file.name, 0o700)
            os.set_inheritable(shared, True)
            self.pid = os.posix_spawn(file.name, [file.name], {})
        except OSError as error:
            raise UserInputError(f"The native oracle cannot start its child process: {error}.") from None
        finally:
            os.unlink(file.name)
        self.alive = True
        if self._libc.ptrace(_ATTACH, self.pid, None, None) != 0:
            reason = os.strerror(ctypes.get_errno())
            self.kill()
            raise UserInputError(
                f"This host does not allow tracing a child process ({reason}); there is no native oracle."
            )
        self.wait()
        self.request(_SETOPTIONS, 0, _EXITKILL)
        self._registers = (ctypes.c_uint64 * len(_REGS))()
        self.avx = "avx" in host_features()
        # the kernel takes the area only in its full length, of which a case concerns the beginning
        self._area = np.zeros(1 << 14, np.uint8)
        self._vector = (ctypes.c_uint64 * 2)(self._area.ctypes.data, len(self._area))
        if self.avx:
            self.request(_GETREGSET, _XSTATE, ctypes.addressof(self._vector))
            self._area[:] = 0
            self._area[512] = 7  # XSTATE_BV: x87, SSE, AVX
        self._prepare(layout, shared)

    def set_floats(self, image: NDArray[np.uint8]) -> None:
        """x87, SSE and, where the host has it, AVX state from an image of the form of _images()."""
        if not self.avx:
            self.request(_SETFPREGS, 0, image.ctypes.data)
            return
        self._area[:512] = image[:512]
        self._area[512] = 7
        self._area[_AVX_OFFSET : _AVX_OFFSET + _AVX_BYTES] = image[_AVX_OFFSET:]
        self.request(_SETREGSET, _XSTATE, ctypes.addressof(self._vector))

    def get_floats(self, image: NDArray[np.uint8]) -> None:
        """The other way round."""
        if not self.avx:
            self.request(_GETFPREGS, 0, image.ctypes.data)
            return
        self.request(_GETREGSET, _XSTATE, ctypes.addressof(self._vector))
        image[:] = self._area[: len(image)]

    def request(self, what: int, address: int, data: int) -> None:
        """One ptrace request. Raises EngineError where the child is gone."""
        if self._libc.ptrace(what, self.pid, address, data) < 0:
            raise EngineError(f"the child of the native engine is lost: {os.strerror(ctypes.get_errno())}")

    def wait(self) -> int:
        """The signal at which it stopped."""
        _, status = os.waitpid(self.pid, _WALL)
        if not os.WIFSTOPPED(status):
            self.alive = False
            raise EngineError("the child of the native engine ended")
        return os.WSTOPSIG(status)

    def kill(self) -> None:
        if self.alive:
            self.alive = False
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, _WALL)

    def _call(self, at: int, number: int, *arguments: int) -> int:
        """Makes the child execute one system call, by the instruction at `at`."""
        registers = self._registers
        place = ctypes.addressof(registers)
        values = dict(zip(("rdi", "rsi", "rdx", "r10", "r8", "r9"), arguments, strict=False))
        for _ in range(8):  # stops of execve() and of attaching may still be on their way
            self.request(_GETREGS, 0, place)
            for name, value in {"rax": number, "rip": at, "orig_rax": (1 << 64) - 1, **values}.items():
                registers[_REGS.index(name)] = value
            self.request(_SETREGS, 0, place)
            self.request(_SINGLESTEP, 0, 0)
            self.wait()
            self.request(_GETREGS, 0, place)
            if registers[_RIP] == at + 2:
                return int(registers[_REGS.index("rax")])
        raise EngineError("the child of the native engine does not execute its system calls")

    def _prepare(self, layout: Layout, shared: int) -> None:
        entry = 0x400000 + 120 + 2
        offset = 0
        for linear, length, protection in (
            (layout.code, layout.code_bytes, 5),
            (layout.data, layout.data_bytes, 3),
            (layout.stack, layout.stack_bytes, 3),
        ):
            result = self._call(entry, 9, linear, length, protection, 0x11, shared, offset)
            if result != linear:
                self.kill()
                raise UserInputError("The native oracle cannot map its pages at their addresses on this host.")
            offset += length
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as lines:
            ranges = [line.split()[0].split("-") for line in lines]
        for start, end in ((int(a, 16), int(b, 16)) for a, b in ranges):
            if start >= 1 << 63 or start in (layout.code, layout.data, layout.stack) or start == 0x400000:
                continue
            self._call(entry, 11, start, end - start)
        # the last page is unmapped by an instruction in the code page, which this process writes beforehand
        self._call(layout.code, 11, 0x400000, 0x1000)


class NativeEngine:
    """The host's processor. Raises UserInputError where this host cannot do it."""

    name = "native"
    modes = frozenset({32, 64})

    def __init__(self, layout: Layout = LAYOUT) -> None:
        reason = available()
        if reason:
            raise UserInputError(f"There is no native oracle here: {reason}.")
        self.layout = layout
        self.vendor = host_vendor()
        total = layout.code_bytes + layout.data_bytes + layout.stack_bytes
        self._file = os.memfd_create("x86emu-conform", 0)
        os.ftruncate(self._file, total)
        self._memory = mmap.mmap(self._file, total)
        self._code = np.frombuffer(self._memory, np.uint8, layout.code_bytes)
        self._data = np.frombuffer(self._memory, np.uint8, total - layout.code_bytes, layout.code_bytes)
        self._data64 = self._data.view(np.uint64)
        self._pristine = np.frombuffer(layout.pristine(), np.uint8)
        self._pristine64 = self._pristine.view(np.uint64)
        self._data[:] = self._pristine
        self._single: tuple[Any, Any] | None = None
        self._child: _Child | None = None
        self._signal_info = (ctypes.c_uint8 * 128)()

    def features(self) -> frozenset[str]:
        return host_features()

    def _living_child(self) -> _Child:
        if self._child is None or not self._child.alive:
            self._code[:] = 0xCC
            self._code[:2] = (0x0F, 0x05)
            self._child = _Child(self.layout, self._file)
            self._code[:] = 0xCC
        return self._child

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child = None

    # ----- batches -----
    def run_batch(self, cases: Records) -> Records:
        """All cases; a child that dies is replaced, and its case reports vector -2."""
        regs = self._general_registers(cases)
        floats = _images(cases)
        outcomes = cases.copy()
        digests = np.zeros(len(cases), np.uint64)
        vectors = np.full(len(cases), NO_VECTOR, np.int16)
        addresses = np.zeros(len(cases), np.uint64)
        windows = outcomes["window"]
        for n in range(len(cases)):
            try:
                vectors[n], addresses[n], digests[n] = self._one(
                    cases[n], regs[n : n + 1].ctypes.data, floats[n], windows[n]
                )
            except EngineError:
                vectors[n] = -2
                if self._child is not None:
                    self._child.kill()
        self._put(outcomes, regs, floats)
        outcomes["vector"], outcomes["fault_address"], outcomes["digest"] = vectors, addresses, digests
        # a breakpoint reports the address behind it
        return outcomes

    def _one(self, case: Any, regs: int, floats: NDArray[np.uint8], window: NDArray[np.uint8]) -> tuple[int, int, int]:
        child = self._living_child()
        layout = self.layout
        at = int(case["rip"]) - layout.code
        length = min(int(case["code_length"]), layout.code_bytes - at)
        self._code[at : at + length] = case["code"][:length]
        place = int(case["window_address"]) - layout.data
        self._data[place : place + WINDOW_BYTES] = window
        child.request(_SETREGS, 0, regs)
        child.set_floats(floats)
        steps = int(case["steps"])
        request = _SINGLESTEP if steps & STEP else _CONT
        view = (ctypes.c_uint64 * len(_REGS)).from_address(regs)
        vector, address = NO_VECTOR, 0
        for _ in range(max(1, steps & 0xFFFF)):
            child.request(request, 0, 0)
            stopped = child.wait()
            child.request(_GETREGS, 0, regs)
            if stopped != signal.SIGTRAP:
                vector, address = self._vector(child, stopped)
            elif request == _CONT:
                view[_RIP] -= 1
            if vector != NO_VECTOR or request == _CONT or view[_RIP] == layout.code + at + length:
                break
        child.get_floats(floats)
        self._code[at : at + length] = 0xCC
        window[:] = self._data[place : place + WINDOW_BYTES]
        self._data[place : place + WINDOW_BYTES] = self._pristine[place : place + WINDOW_BYTES]
        changed = 0
        if not np.array_equal(self._data64, self._pristine64):
            changed = digest(self._pristine64, self._data64)
            self._data[:] = self._pristine
        return vector, address, changed

    def _vector(self, child: _Child, stopped: int) -> tuple[int, int]:
        """The exception behind a signal (Linux: arch/x86/kernel/traps.c)."""
        child.request(_GETSIGINFO, 0, ctypes.addressof(self._signal_info))
        code, address = struct.unpack_from("<i4xQ", bytes(self._signal_info), 8)
        if stopped == signal.SIGILL:
            return 6, 0
        if stopped == signal.SIGFPE:
            return (0 if code == 1 else 16), 0
        if stopped == signal.SIGSEGV:
            return (14, address) if code in (1, 2) else (13, 0)
        if stopped == signal.SIGBUS:
            return (17 if code == 1 else 12), 0
        raise EngineError(f"the child stopped by signal {stopped}")

    def _general_registers(self, cases: Records) -> NDArray[np.uint64]:
        regs = np.zeros((len(cases), len(_REGS)), np.uint64)
        for n, place in enumerate(_GPR_PLACES):
            regs[:, place] = cases["gpr"][:, n]
        regs[:, _RIP], regs[:, _EFLAGS] = cases["rip"], cases["rflags"] | np.uint64(0x200)
        regs[:, _ORIG] = (1 << 64) - 1
        long = cases["mode"] == 64
        regs[:, _CS] = np.where(long, 0x33, 0x23)
        regs[:, _SS] = 0x2B
        regs[:, _DS] = regs[:, _ES] = 0x2B
        return regs

    def _put(self, outcomes: Records, regs: NDArray[np.uint64], floats: NDArray[np.uint8]) -> None:
        for n, place in enumerate(_GPR_PLACES):
            outcomes["gpr"][:, n] = regs[:, place]
        outcomes["rip"], outcomes["rflags"] = regs[:, _RIP], regs[:, _EFLAGS]
        outcomes["control"] = floats[:, 0:2].copy().view("<u2")[:, 0]
        outcomes["status"] = floats[:, 2:4].copy().view("<u2")[:, 0]
        outcomes["valid"] = floats[:, 4]
        outcomes["mxcsr"] = floats[:, 24:28].copy().view("<u4")[:, 0]
        for n in range(8):
            outcomes["st_mantissa"][:, n] = floats[:, 32 + 16 * n : 40 + 16 * n].copy().view("<u8")[:, 0]
            outcomes["st_exponent"][:, n] = floats[:, 40 + 16 * n : 42 + 16 * n].copy().view("<u2")[:, 0]
        outcomes["xmm"] = floats[:, 160:416].copy().view("<u8").reshape(-1, 16, 2)
        outcomes["ymm_high"] = floats[:, _AVX_OFFSET:].copy().view("<u8").reshape(-1, 16, 2)

    # ----- case by case -----
    def set_state(self, state: State) -> None:
        from x86emu.conform.records import empty, set_code

        record = empty(1)[0]
        put_outcome(record, record.copy(), state, Stop(), self.layout)
        record["mode"] = state.mode
        code = state.memory[self.layout.code]
        at = state.rip - self.layout.code
        set_code(record, code[at : at + 15])
        self._single = (record, None)

    def run(self, instructions: int) -> Stop:
        if self._single is None:
            raise EngineError("set_state() comes before run()")
        case = np.array([self._single[0]])
        case["steps"] = instructions | STEP
        outcome = self.run_batch(case)[0]
        self._single = (self._single[0], outcome)
        vector = int(outcome["vector"])
        return Stop(None if vector < 0 else vector, int(outcome["fault_address"]))

    def get_state(self) -> State:
        if self._single is None or self._single[1] is None:
            raise EngineError("run() comes before get_state()")
        return state_of(self._single[1], self.layout)


def _images(cases: Records) -> NDArray[np.uint8]:
    """XSAVE areas up to the AVX component (SDM 1, tables 10-2 and 13-1)."""
    images = np.zeros((len(cases), _AVX_OFFSET + _AVX_BYTES), np.uint8)
    images[:, _AVX_OFFSET:] = np.ascontiguousarray(cases["ymm_high"]).view(np.uint8).reshape(-1, _AVX_BYTES)
    images[:, 0:2] = cases["control"].astype("<u2").reshape(-1, 1).view(np.uint8)
    images[:, 2:4] = cases["status"].astype("<u2").reshape(-1, 1).view(np.uint8)
    images[:, 4] = cases["valid"]
    images[:, 24:28] = cases["mxcsr"].astype("<u4").reshape(-1, 1).view(np.uint8)
    for n in range(8):
        images[:, 32 + 16 * n : 40 + 16 * n] = np.ascontiguousarray(cases["st_mantissa"][:, n : n + 1]).view(np.uint8)
        images[:, 40 + 16 * n : 42 + 16 * n] = np.ascontiguousarray(cases["st_exponent"][:, n : n + 1]).view(np.uint8)
    images[:, 160:416] = np.ascontiguousarray(cases["xmm"]).view(np.uint8).reshape(-1, 256)
    return images
