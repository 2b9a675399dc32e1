"""ACPI Machine Language: functions that return the bytes of one term each.

Transcribes ACPI Specification 6.4, chapter 20 "ACPI Machine Language (AML) Specification" (names, PkgLength, opcodes)
and section 6.4 "Resource Data Types for ACPI" (the descriptors inside a resource template).  Only the terms that the
tables of our machines use are here.  A term is ``bytes``; terms are put together by calling, not by a syntax tree.
"""

from __future__ import annotations

import struct

ZERO_OP, ONE_OP, ONES_OP = b"\x00", b"\x01", b"\xff"
EXT_OP = b"\x5b"
LOCAL0, LOCAL1, LOCAL2 = b"\x60", b"\x61", b"\x62"
ARG0, ARG1, ARG2 = b"\x68", b"\x69", b"\x6a"
DEBUG_NULL_TARGET = b"\x00"

# Field access types and rules (20.2.5.2).
ANY_ACCESS, BYTE_ACCESS, WORD_ACCESS, DWORD_ACCESS = 0, 1, 2, 3
SYSTEM_MEMORY, SYSTEM_IO, PCI_CONFIG = 0, 1, 2


def name_segment(segment: str) -> bytes:
    """A NameSeg: up to four characters, padded with underscores."""
    if not 1 <= len(segment) <= 4:
        raise ValueError(f"an AML name segment has one to four characters, not {segment!r}")
    return segment.ljust(4, "_").encode("ascii")


def name_string(path: str) -> bytes:
    """A NameString (20.2.2): an optional root ``\\`` or parents ``^``, then segments separated by dots."""
    prefix = b""
    while path[:1] in ("\\", "^"):
        prefix += path[:1].encode("ascii")
        path = path[1:]
    segments = [name_segment(part) for part in path.split(".")] if path else []
    if not segments:
        return prefix + b"\x00"
    if len(segments) == 1:
        return prefix + segments[0]
    if len(segments) == 2:
        return prefix + b"\x2e" + b"".join(segments)
    return prefix + b"\x2f" + bytes([len(segments)]) + b"".join(segments)


def package_length(body_bytes: int) -> bytes:
    """A PkgLength (20.2.4): the length of itself and of the ``body_bytes`` that follow."""
    if body_bytes + 1 < 1 << 6:
        return bytes([body_bytes + 1])
    for following in (1, 2, 3):
        length = body_bytes + 1 + following
        if length < 1 << (4 + 8 * following):
            return bytes([following << 6 | length & 0xF]) + (length >> 4).to_bytes(following, "little")
    raise ValueError(f"an AML package of {body_bytes} bytes is longer than 2**28")


def _packaged(opcode: bytes, body: bytes) -> bytes:
    return opcode + package_length(len(body)) + body


# Data.


def integer(value: int) -> bytes:
    """The shortest ComputationalData for ``value`` (20.2.3)."""
    if value == 0:
        return ZERO_OP
    if value == 1:
        return ONE_OP
    for prefix, size in ((b"\x0a", 1), (b"\x0b", 2), (b"\x0c", 4), (b"\x0e", 8)):
        if value < 1 << (8 * size):
            return prefix + value.to_bytes(size, "little")
    raise ValueError(f"{value:#x} does not fit an AML integer of 64 bits")


def string(text: str) -> bytes:
    return b"\x0d" + text.encode("ascii") + b"\0"


def buffer(data: bytes) -> bytes:
    return _packaged(b"\x11", integer(len(data)) + data)


def package(*elements: bytes) -> bytes:
    return _packaged(b"\x12", bytes([len(elements)]) + b"".join(elements))


def eisa_id(text: str) -> bytes:
    """The compressed EISA id of e.g. ``PNP0A03`` as an integer (6.1.5)."""
    if len(text) != 7 or not text[:3].isupper():
        raise ValueError(f"an EISA id is three capitals and four hexadecimal digits, not {text!r}")
    a, b, c = (ord(letter) - 0x40 for letter in text[:3])
    number = struct.pack(">HH", a << 10 | b << 5 | c, int(text[3:], 16))
    return b"\x0c" + number


# Named objects and scopes.


def name(path: str, value: bytes) -> bytes:
    return b"\x08" + name_string(path) + value


def scope(path: str, *terms: bytes) -> bytes:
    return _packaged(b"\x10", name_string(path) + b"".join(terms))


def device(path: str, *terms: bytes) -> bytes:
    return _packaged(EXT_OP + b"\x82", name_string(path) + b"".join(terms))


def processor(path: str, processor_id: int, block_address: int = 0, block_length: int = 0, *terms: bytes) -> bytes:
    """DefProcessor (ACPI 5.0, 19.5.101; the opcode is retired since 6.4 but is what older systems look for)."""
    body = name_string(path) + struct.pack("<BIB", processor_id, block_address, block_length) + b"".join(terms)
    return _packaged(EXT_OP + b"\x83", body)


def method(path: str, arguments: int, *terms: bytes, serialized: bool = False) -> bytes:
    flags = arguments | (0x08 if serialized else 0)
    return _packaged(b"\x14", name_string(path) + bytes([flags]) + b"".join(terms))


def operation_region(path: str, space: int, offset: int, length: int) -> bytes:
    return EXT_OP + b"\x80" + name_string(path) + bytes([space]) + integer(offset) + integer(length)


def field(region: str, access: int, *elements: tuple[str | None, int]) -> bytes:
    """A field list over ``region``: (name or None for reserved, bits) in order; no lock, preserve."""
    body = name_string(region) + bytes([access])
    for element, bits in elements:
        body += (b"\x00" if element is None else name_segment(element)) + _field_bits(bits)
    return _packaged(EXT_OP + b"\x81", body)


def _field_bits(bits: int) -> bytes:
    """A PkgLength that counts bits and does not count itself."""
    if bits < 1 << 6:
        return bytes([bits])
    for following in (1, 2, 3):
        if bits < 1 << (4 + 8 * following):
            return bytes([following << 6 | bits & 0xF]) + (bits >> 4).to_bytes(following, "little")
    raise ValueError(f"an AML field of {bits} bits is too wide")


# Statements and expressions inside methods.


def store(source: bytes, target: bytes) -> bytes:
    return b"\x70" + source + target


def return_(value: bytes) -> bytes:
    return b"\xa4" + value


def if_(condition: bytes, *terms: bytes) -> bytes:
    return _packaged(b"\xa0", condition + b"".join(terms))


def else_(*terms: bytes) -> bytes:
    return _packaged(b"\xa1", b"".join(terms))


def and_(left: bytes, right: bytes, target: bytes = DEBUG_NULL_TARGET) -> bytes:
    return b"\x7b" + left + right + target


def or_(left: bytes, right: bytes, target: bytes = DEBUG_NULL_TARGET) -> bytes:
    return b"\x7d" + left + right + target


def find_set_right_bit(source: bytes, target: bytes) -> bytes:
    return b"\x82" + source + target


def decrement(target: bytes) -> bytes:
    return b"\x76" + target


def create_dword_field(source: bytes, byte_index: int, path: str) -> bytes:
    return b"\x8a" + source + integer(byte_index) + name_string(path)


# Resource descriptors (6.4).


def resource_template(*descriptors: bytes) -> bytes:
    """A buffer of descriptors closed by the end tag (checksum zero: "assume correct")."""
    return buffer(b"".join(descriptors) + b"\x79\x00")


def io(base: int, length: int, alignment: int = 1) -> bytes:
    """I/O port descriptor, 16-bit decode, fixed at ``base`` (6.4.2.5)."""
    return struct.pack("<BBHHBB", 0x47, 0x01, base, base, alignment, length)


def irq_no_flags(*lines: int) -> bytes:
    """ISA interrupt, edge-triggered, active-high, exclusive (6.4.2.1)."""
    return struct.pack("<BH", 0x22, sum(1 << line for line in lines))


def dma(channel: int) -> bytes:
    """Compatibility-mode 8-bit DMA channel, no bus master (6.4.2.2)."""
    return struct.pack("<BBB", 0x2A, 1 << channel, 0)


def interrupt(*gsis: int, level: bool = True, active_low: bool = False, shared: bool = True) -> bytes:
    """Extended interrupt descriptor, consumer (6.4.3.6)."""
    flags = 0x01 | (0 if level else 0x02) | (0x04 if active_low else 0) | (0x08 if shared else 0)
    body = bytes([flags, len(gsis)]) + b"".join(struct.pack("<I", gsi) for gsi in gsis)
    return b"\x89" + struct.pack("<H", len(body)) + body


def memory32_fixed(base: int, length: int, *, writable: bool) -> bytes:
    """32-bit fixed memory range (6.4.3.4)."""
    return struct.pack("<BHBII", 0x86, 9, int(writable), base, length)


def word_bus_number(first: int, last: int) -> bytes:
    """Bus numbers produced by a bridge (6.4.3.5.3)."""
    body = struct.pack("<BBBHHHHH", 2, 0x0C, 0, 0, first, last, 0, last - first + 1)
    return b"\x88" + struct.pack("<H", len(body)) + body


def word_io(first: int, last: int) -> bytes:
    """I/O window produced by a bridge, entire range (6.4.3.5.3, 6.4.3.5.5)."""
    body = struct.pack("<BBBHHHHH", 1, 0x0C, 0x03, 0, first, last, 0, last - first + 1)
    return b"\x88" + struct.pack("<H", len(body)) + body


def dword_memory(first: int, last: int, *, cacheable: bool = False) -> bytes:
    """Memory window produced by a bridge, read-write (6.4.3.5.2, 6.4.3.5.5)."""
    body = struct.pack("<BBBIIIII", 0, 0x0C, 0x01 | (0x02 if cacheable else 0), 0, first, last, 0, last - first + 1)
    return b"\x87" + struct.pack("<H", len(body)) + body
