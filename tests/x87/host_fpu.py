"""This host's own x87 FPU as a reference: one instruction between FRSTOR and FNSAVE, in a few bytes of machine code.

Works on x86-64 Linux hosts that allow a private executable mapping. Only Intel's are asked: details that the manual
leaves open, as C1 after FCOMI, are the engine's after them. Elsewhere `available()` is False and tests skip.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
from dataclasses import dataclass, field
from pathlib import Path

F80 = tuple[int, int]  # (mantissa, sign and exponent)


def available() -> bool:
    """Whether this host can be asked."""
    if platform.machine() not in ("x86_64", "AMD64") or platform.system() != "Linux":
        return False
    return "GenuineIntel" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


@dataclass
class FpuState:
    """x87 state in the terms of FNSAVE: `st[i]` is ST(i)."""

    control: int = 0x37F
    status: int = 0
    tag: int = 0xFFFF
    st: list[F80] = field(default_factory=lambda: [(0, 0)] * 8)
    memory: bytes = b""

    def image(self) -> bytes:
        """The 108 bytes of a 32-bit protected-mode FNSAVE image (SDM 1, figure 8-9)."""
        body = struct.pack("<IIIIIII", self.control, self.status, self.tag, 0, 0, 0, 0)
        return body + b"".join(struct.pack("<QH", m, e) for m, e in self.st)


class HostFpu:
    """Runs single x87 instructions; the operand, if any, is [rdi]."""

    def __init__(self) -> None:
        self._code = mmap.mmap(-1, 4096 * 16, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._base = ctypes.addressof(ctypes.c_char.from_buffer(self._code))
        self._used = 0
        self._buffer = ctypes.create_string_buffer(512)
        self._functions: dict[bytes, ctypes._CFuncPtr] = {}  # type: ignore[name-defined]

    def _function(self, instruction: bytes):  # type: ignore[no-untyped-def]
        known = self._functions.get(instruction)
        if known is None:
            # frstor [rdi+64]; instruction; fnsave [rdi+192]; ret
            code = bytes([0xDD, 0x67, 0x40]) + instruction + bytes([0xDD, 0xB7, 0xC0, 0, 0, 0, 0xC3])
            self._code[self._used : self._used + len(code)] = code
            known = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._base + self._used)
            self._used += (len(code) + 15) & ~15
            self._functions[instruction] = known
        return known

    def run(self, instruction: bytes, state: FpuState) -> FpuState:
        """State after `instruction` (hex bytes without a WAIT; memory operand [rdi], ModRM.rm 7)."""
        operand = state.memory.ljust(64, b"\0")
        ctypes.memmove(self._buffer, operand + state.image(), 172)
        self._function(instruction)(ctypes.addressof(self._buffer))
        raw = self._buffer.raw
        saved = raw[192:300]
        control, status, tag = (v & 0xFFFF for v in struct.unpack_from("<III", saved))
        st = [struct.unpack_from("<QH", saved, 28 + 10 * i) for i in range(8)]
        return FpuState(control, status, tag, st, raw[: len(state.memory)])
