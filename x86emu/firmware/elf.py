"""ELF kernels: segments to load, the entry's physical address and the notes (System V ABI, chapters 4 and 5).

pyelftools reads headers; what it says of broken files in many kinds of exceptions becomes one sentence here.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from pathlib import Path

from x86emu.errors import UserInputError

MACHINES = {"EM_386": 32, "EM_X86_64": 64}


@dataclass(frozen=True)
class Segment:
    """One loadable segment: where its bytes go, and how many zeros follow them."""

    physical: int
    virtual: int
    data: bytes
    memory_size: int


@dataclass(frozen=True)
class ElfKernel:
    segments: tuple[Segment, ...]
    notes: tuple[tuple[str, int, bytes], ...]  # name, type, descriptor
    entry: int
    bits: int

    @property
    def end(self) -> int:
        """First physical address behind the kernel."""
        return max(segment.physical + segment.memory_size for segment in self.segments)

    @property
    def physical_entry(self) -> int:
        """The entry; where it is given as a virtual address, its place in physical memory."""
        for segment in self.segments:
            if segment.physical <= self.entry < segment.physical + segment.memory_size:
                return self.entry
        for segment in self.segments:
            if segment.virtual <= self.entry < segment.virtual + segment.memory_size:
                return self.entry - segment.virtual + segment.physical
        return self.entry


def is_elf(data: bytes) -> bool:
    return data[:4] == b"\x7fELF"


def _notes(data: bytes) -> list[tuple[str, int, bytes]]:
    found = []
    at = 0
    while at + 12 <= len(data):
        name_size, desc_size, kind = struct.unpack_from("<III", data, at)
        name_at = at + 12
        desc_at = name_at + (name_size + 3 & ~3)
        at = desc_at + (desc_size + 3 & ~3)
        if desc_at + desc_size > len(data):
            break
        name = data[name_at : name_at + name_size].rstrip(b"\0").decode("latin-1")
        found.append((name, kind, data[desc_at : desc_at + desc_size]))
    return found


def read_elf(path: Path, data: bytes) -> ElfKernel:
    """Parses an executable; UserInputError where it is broken, truncated, or for another machine."""
    from elftools.elf.elffile import ELFFile

    try:
        elf = ELFFile(io.BytesIO(data))
        machine = str(elf["e_machine"])
        headers = [segment.header for segment in elf.iter_segments()]
        entry, bits, little = int(elf["e_entry"]), int(elf.elfclass), bool(elf.little_endian)
    except Exception as error:  # pyelftools raises whatever its parsing comes upon
        raise UserInputError(
            f"{path}: is a broken or truncated ELF file ({type(error).__name__}); give the whole kernel image"
        ) from None
    if machine not in MACHINES or not little:
        raise UserInputError(f"{path}: is an ELF file for {machine}; give a kernel built for i386 or x86-64")
    segments, notes = [], []
    for header in headers:
        if header["p_type"] not in ("PT_LOAD", "PT_NOTE"):
            continue
        start, size = header["p_offset"], header["p_filesz"]
        if start + size > len(data):
            raise UserInputError(
                f"{path}: is truncated: a segment ends at byte {start + size} and the file has {len(data)}; give the"
                " whole kernel image"
            )
        body = data[start : start + size]
        if header["p_type"] == "PT_NOTE":
            notes += _notes(body)
        elif header["p_memsz"]:
            memory_size = max(header["p_memsz"], size)
            segments.append(Segment(header["p_paddr"], header["p_vaddr"], body, memory_size))
    if not segments:
        raise UserInputError(f"{path}: is an ELF file with nothing to load (an object file?); give a linked kernel")
    return ElfKernel(tuple(segments), tuple(notes), entry, bits)
