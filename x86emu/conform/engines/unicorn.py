"""Unicorn (the Python package) as an engine: a peer to compare with, by its documented API.

Unicorn runs user code without an operating system, so what a case may not do (ports, CLI) it may do there; it is asked
only for what its results can be compared in.
"""

from __future__ import annotations

from typing import Any

from x86emu.conform.engine import X87, State, Stop
from x86emu.conform.records import LAYOUT, Layout
from x86emu.errors import UserInputError

_GPR = "RAX RCX RDX RBX RSP RBP RSI RDI R8 R9 R10 R11 R12 R13 R14 R15".split()
_GPR32 = "EAX ECX EDX EBX ESP EBP ESI EDI".split()
_FEATURES = frozenset(
    "base i186 i286 i386 i486 cpuid pentium p6 fpu cx8 cmov mmx fxsr sse sse2 sse3 ssse3 sse4_1 sse4_2 popcnt movbe "
    "abm adx bmi1 bmi2 aes pclmulqdq lm cx16 lahf_lm clflush mmxext branch16".split()
)


class UnicornEngine:
    """Raises UserInputError where the package unicorn is not installed."""

    name = "unicorn"
    modes = frozenset({32, 64})

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
        self._state = State()
        self._vector: int | None = None
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
        return self._machines[mode]

    def _interrupt(self, machine: Any, vector: int, user: object) -> None:
        self._vector = vector
        machine.emu_stop()

    def _invalid(self, machine: Any, access: int, address: int, size: int, value: int, user: object) -> bool:
        self._vector = 14
        self._address = address
        return False

    def set_state(self, state: State) -> None:
        machine, constants = self._machine(state.mode), self._constants
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
        self._vector, self._address = None, 0
        code = self._state.memory[self.layout.code]
        try:
            machine.emu_start(self._state.rip, self.layout.code + len(code) + 1, count=instructions & 0xFFFF)
        except self._error as error:
            if self._vector is None:
                self._vector = 6 if getattr(error, "errno", 0) == self._unicorn.UC_ERR_INSN_INVALID else 13
        return Stop(self._vector, self._address)

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

    def close(self) -> None:
        self._machines.clear()
