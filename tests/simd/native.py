"""Runs one SSE or MMX instruction on this host's own CPU, where that is an x86-64 under Linux.

The instruction works on XMM0..3, MM0..3, RAX, RCX, RDX and, as a memory operand, [RDI+100h] (16-byte aligned).
It must not fault: MXCSR's exceptions are to be masked.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
import struct
import sys
from dataclasses import dataclass, field

AVAILABLE = sys.platform.startswith("linux") and platform.machine() == "x86_64"
WHY_NOT = "needs an x86-64 processor under Linux to compare with"

_XMM, _GPR, _MMX, _MXCSR, _SAVED, _FLAGS, _MEMORY, _SIZE = 0, 0x40, 0x60, 0x80, 0x84, 0x88, 0x100, 0x140


@dataclass
class State:
    """What goes in and what comes out: four XMM and MMX registers, RAX RCX RDX, MXCSR, 64 bytes of memory, RFLAGS."""

    xmm: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    mmx: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    gpr: list[int] = field(default_factory=lambda: [0, 0, 0])
    mxcsr: int = 0x1F80
    memory: bytes = bytes(64)
    flags: int = 0x2


def features() -> set[str]:
    """The feature names in /proc/cpuinfo."""
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("flags"):
                return set(line.split(":")[1].split())
    return set()


class Native:
    """A callable for one instruction's bytes."""

    def __init__(self, instruction: bytes) -> None:
        def disp8(offset: int) -> bytes:
            return struct.pack("<i", offset)

        code = b"\x0f\xae\x9f" + disp8(_SAVED) + b"\x0f\xae\x97" + disp8(_MXCSR)  # stmxcsr, ldmxcsr
        for n in range(4):
            code += bytes([0x0F, 0x10, 0x87 | n << 3]) + disp8(_XMM + 16 * n)  # movups
            code += bytes([0x0F, 0x6F, 0x87 | n << 3]) + disp8(_MMX + 8 * n)  # movq mm
        for n in range(3):
            code += bytes([0x48, 0x8B, 0x87 | n << 3]) + disp8(_GPR + 8 * n)  # mov
        code += b"\xff\xb7" + disp8(_FLAGS) + b"\x9d" + instruction  # push, popf
        code += b"\x9c\x8f\x87" + disp8(_FLAGS)  # pushf, pop
        for n in range(4):
            code += bytes([0x0F, 0x11, 0x87 | n << 3]) + disp8(_XMM + 16 * n)
            code += bytes([0x0F, 0x7F, 0x87 | n << 3]) + disp8(_MMX + 8 * n)
        for n in range(3):
            code += bytes([0x48, 0x89, 0x87 | n << 3]) + disp8(_GPR + 8 * n)
        code += b"\x0f\xae\x9f" + disp8(_MXCSR) + b"\x0f\xae\x97" + disp8(_SAVED) + b"\x0f\x77\xc3"  # emms, ret
        self._page = mmap.mmap(-1, 8192, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        self._page[: len(code)] = code
        self._address = ctypes.addressof(ctypes.c_char.from_buffer(self._page))
        self._data = (ctypes.c_char * _SIZE).from_buffer(self._page, 4096)
        self._call = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._address)

    def __call__(self, s: State) -> State:
        """Runs it on a state and gives the state afterwards."""
        image = bytearray(_SIZE)
        for n in range(4):
            image[_XMM + 16 * n : _XMM + 16 * n + 16] = s.xmm[n].to_bytes(16, "little")
            struct.pack_into("<Q", image, _MMX + 8 * n, s.mmx[n])
        struct.pack_into("<3Q", image, _GPR, *s.gpr)
        struct.pack_into("<I", image, _MXCSR, s.mxcsr)
        struct.pack_into("<Q", image, _FLAGS, s.flags)
        image[_MEMORY : _MEMORY + 64] = s.memory
        ctypes.memmove(self._data, bytes(image), _SIZE)
        self._call(self._address + 4096)
        out = bytes(self._data)
        return State(
            [int.from_bytes(out[_XMM + 16 * n : _XMM + 16 * n + 16], "little") for n in range(4)],
            list(struct.unpack_from("<4Q", out, _MMX)),
            list(struct.unpack_from("<3Q", out, _GPR)),
            struct.unpack_from("<I", out, _MXCSR)[0],
            out[_MEMORY : _MEMORY + 64],
            struct.unpack_from("<Q", out, _FLAGS)[0],
        )
