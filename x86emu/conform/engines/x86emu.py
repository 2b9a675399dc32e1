"""x86emu as an engine under test: a processor in user mode under 4-level paging, or an early one in real mode.

64- and 32-bit cases run at CPL 3 with flat segments, as under an operating system (SDM 3A chapters 3 and 4); 16-bit
cases in real mode with all of memory present and, on the 8086, address line 20 masked.
"""

from __future__ import annotations

import struct
from dataclasses import replace

from x86emu._core import Engine as Core
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.conform.batch import BatchRunner
from x86emu.conform.engine import X87, State, Stop
from x86emu.conform.records import GPR, LAYOUT, Layout, Records
from x86emu.core.memory import PhysicalMemory
from x86emu.core.processor import Processor
from x86emu.isa.models import CpuModel, resolve_model

DEFAULT_MODEL = "max"

_PML4, _PDPT, _DIRECTORY, _TABLES = 0x1000, 0x2000, 0x3000, 0x4000
_CODE, _DATA, _TSS = 0x100000, 0x110000, 0x8000
_NO_EXECUTE = 1 << 63
_REAL_MODE_BYTES = (1 << 24) + (1 << 16)


class X86EmuEngine:
    """The engine of this package. model is as `--cpu` takes it, or a CpuModel."""

    name = "x86emu"
    modes = frozenset({16, 32, 64})

    def __init__(self, model: str | CpuModel = DEFAULT_MODEL, layout: Layout = LAYOUT) -> None:
        self.model = resolve_model(model) if isinstance(model, str) else model
        self.layout = layout
        self._user: _UserMachine | None = None
        self._real: _RealMachine | None = None
        self._mode = 64

    def features(self) -> frozenset[str]:
        return self.model.features

    def set_state(self, state: State) -> None:
        self._mode = state.mode
        self._machine().set_state(state)

    def run(self, instructions: int) -> Stop:
        return self._machine().run(instructions)

    def get_state(self) -> State:
        return self._machine().get_state()

    def run_batch(self, cases: Records) -> Records:
        """All cases at once; see x86emu.conform.records."""
        outcomes: Records = self._user_machine().runner.run(cases)
        return outcomes

    def close(self) -> None:
        self._user = self._real = None

    def _machine(self) -> _UserMachine | _RealMachine:
        if self._mode != 16:
            return self._user_machine()
        if self._real is None:
            self._real = _RealMachine(self.model)
        return self._real

    def _user_machine(self) -> _UserMachine:
        if self._user is None:
            self._user = _UserMachine(self.model, self.layout)
        return self._user


class _Processor:
    """What both machines share: registers in and out."""

    def __init__(self, model: CpuModel, memory_bytes: int) -> None:
        self.memory = PhysicalMemory(memory_bytes, 0)
        self.memory.map(0, memory_bytes, 0, 0)
        self.wiring = Wiring()
        self.ports, self.mmio = PortSpace(self.wiring), MmioSpace(self.wiring)
        self.signals = CpuSignals()
        self.core = Core(self.memory, self.wiring, Clock(self.wiring), [self.signals], model)
        self.cpu = self.core.cpus[0]
        self.state = State()

    def _set_registers(self, state: State) -> None:
        cpu = self.cpu
        for n, name in enumerate(GPR):
            setattr(cpu, name, state.gpr[n])
        cpu.rflags = state.rflags
        cpu.rip = state.rip
        cpu.mxcsr = state.mxcsr
        for n, value in enumerate(state.vectors):
            cpu.set_ymm(n, value)
        cpu.set_fpu(state.x87.control, state.x87.status, state.x87.valid, state.x87.st)
        self.state = state

    def _registers(self) -> State:
        cpu, fpu = self.cpu, self.cpu.fpu()
        return replace(
            self.state,
            gpr=[getattr(cpu, name) for name in GPR],
            rip=cpu.rip,
            rflags=cpu.rflags,
            segments=[getattr(cpu, name).selector for name in SEGMENT_NAMES],
            vectors=[cpu.ymm(n) for n in range(16)],
            mxcsr=cpu.mxcsr,
            x87=X87(fpu["control"], fpu["status"], fpu["valid"], fpu["st"]),
            memory={},
        )


SEGMENT_NAMES = ("es", "cs", "ss", "ds", "fs", "gs")


def enter_user_mode(cpu: Processor, mode: int) -> None:
    """Flat segments at CPL 3 in 64- or 32-bit mode, as under an operating system; FS and GS are null."""
    cpu.activity = 0
    cpu.cpl = 3
    if mode == 64:
        cpu.cs.set(0x33, 0, 0xFFFFFFFF, 0xA0FB)
    else:
        cpu.cs.set(0x23, 0, 0xFFFFFFFF, 0xC0FB)
    for segment in (cpu.ss, cpu.ds, cpu.es):
        segment.set(0x2B, 0, 0xFFFFFFFF, 0xC0F3)
    for segment in (cpu.fs, cpu.gs):
        segment.set(0, 0, 0xFFFFFFFF, 0x10000)


class _UserMachine(_Processor):
    """Page tables, flat segments, CPL 3."""

    def __init__(self, model: CpuModel, layout: Layout) -> None:
        super().__init__(model, 4 << 20)
        write = self.memory.write
        write(_PML4, struct.pack("<Q", _PDPT | 7))
        write(_PDPT, struct.pack("<Q", _DIRECTORY | 7))
        self.regions = (
            (layout.code, _CODE, layout.code_bytes, 5),
            (layout.data, _DATA, layout.data_bytes, 7 | _NO_EXECUTE),
            (layout.stack, _DATA + layout.data_bytes, layout.stack_bytes, 7 | _NO_EXECUTE),
        )
        # what the processor itself reads, the TSS, lies in the first MiB, for the supervisor only
        for number, (linear, physical, length, rights) in enumerate((*self.regions, (0, 0, 0x100000, 3))):
            table = _TABLES + number * 0x1000
            write(_DIRECTORY + (linear >> 21) * 8, struct.pack("<Q", table | 7))
            for page in range(0, length, 0x1000):
                entry = table + ((linear + page) >> 12 & 511) * 8
                write(entry, struct.pack("<Q", physical + page | rights))
        cpu = self.cpu
        cpu.efer = 0xD01  # SCE, LME, LMA, NXE
        cpu.cr4 = 0x20 | 0x200 | 0x400  # PAE, OSFXSR, OSXMMEXCPT
        if "xsave" in model.features:
            cpu.cr4 |= 0x40000
            cpu.xcr0 = 7 if "avx" in model.features else 3
        cpu.cr3 = _PML4
        write(_TSS + 0x66, b"\x68\x00")  # no I/O permission bitmap: no port is allowed
        cpu.tr.set(0x40, _TSS, 0x67, 0x8B)
        cpu.cr0 = 0x80050033  # PG, AM, WP, NE, ET, MP, PE
        self.runner = BatchRunner(self.core, layout, _CODE, _DATA)

    def set_state(self, state: State) -> None:
        for linear, physical, length, _ in self.regions:
            self.memory.write(physical, state.memory.get(linear, b"").ljust(length, b"\0"))
        enter_user_mode(self.cpu, state.mode)
        self._set_registers(state)

    def run(self, instructions: int) -> Stop:
        vector, address = self.runner.execute(instructions)
        return Stop(None if vector < 0 else vector, address)

    def get_state(self) -> State:
        state = self._registers()
        state.memory = {linear: self.memory.read(physical, length) for linear, physical, length, _ in self.regions}
        return state


class _RealMachine(_Processor):
    """Real mode with RAM everywhere that the processor can address."""

    def __init__(self, model: CpuModel) -> None:
        super().__init__(model, _REAL_MODE_BYTES)
        self.wrapped = "i286" not in model.features
        self.signals.set_a20_masked(self.wrapped)
        self.cpu.cr0 = 0x10
        self.early = "i386" not in model.features
        self.fixed_flags = 0 if "i286" in model.features else 0xF000
        self.runner = BatchRunner(self.core, LAYOUT, 0, 0x10000)
        self.segments = [getattr(self.cpu, name) for name in SEGMENT_NAMES]

    def set_state(self, state: State) -> None:
        cpu = self.cpu
        cpu.activity = 0
        for n, segment in enumerate(self.segments):
            segment.set(state.segments[n], state.segments[n] << 4, 0xFFFF, 0x9B if n == 1 else 0x93)
        cpu.idtr.base, cpu.idtr.limit = 0, 0x3FF
        for address, data in state.memory.items():
            self.memory.write(address, data)
        self._set_registers(state)

    def run(self, instructions: int) -> Stop:
        self.runner.execute_real(instructions)
        return Stop()

    def get_state(self) -> State:
        state = self._registers()
        if self.early:
            state.rip &= 0xFFFF
            state.rflags = state.rflags & 0xFFF | self.fixed_flags
        state.memory = {address: self.memory.read(address, len(data)) for address, data in self.state.memory.items()}
        return state
