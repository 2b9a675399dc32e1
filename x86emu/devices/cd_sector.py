"""A whole sector of a data CD, mode 1 (ECMA-130, chapters 14 and 15 and annexes A and B): sync, header, user data,
error detection and correction codes, 2352 bytes."""

from __future__ import annotations

USER_BYTES = 2048
RAW_BYTES = 2352
SYNC = b"\0" + b"\xff" * 10 + b"\0"
FIRST_ADDRESS = 150  # of sector 0, in frames

# GF(2^8) over x^8 + x^4 + x^3 + x^2 + 1 (annex A): times alpha, and the inverse of x -> x + alpha x.
TIMES_ALPHA = [value << 1 ^ (0x11D if value & 0x80 else 0) for value in range(256)]
SOLVE = [0] * 256
for _value in range(256):
    SOLVE[_value ^ TIMES_ALPHA[_value]] = _value


def _edc_table() -> list[int]:
    """By byte, least significant bit first, for (x^16 + x^15 + x^2 + 1)(x^16 + x^2 + x + 1) (annex B)."""
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0xD8018001 if value & 1 else 0)
        table.append(value)
    return table


EDC_TABLE = _edc_table()


def error_detection(data: bytes | bytearray) -> bytes:
    """The four bytes of the error detection code."""
    code = 0
    for byte in data:
        code = code >> 8 ^ EDC_TABLE[(code ^ byte) & 0xFF]
    return code.to_bytes(4, "little")


def _parity(block: bytearray, vectors: int, length: int, step: int, stride: int) -> bytes:
    """Two parity bytes for each code vector; even and odd bytes are two codes, interleaved (annex A)."""
    size = vectors * length
    first, second = bytearray(vectors), bytearray(vectors)
    for vector in range(vectors):
        index = (vector >> 1) * step + (vector & 1)
        weighted = plain = 0
        for _ in range(length):
            value = block[index]
            index = (index + stride) % size
            weighted = TIMES_ALPHA[weighted ^ value]
            plain ^= value
        first[vector] = SOLVE[TIMES_ALPHA[weighted] ^ plain]
        second[vector] = first[vector] ^ plain
    return bytes(first + second)


def binary_coded(value: int) -> int:
    """Two decimal digits."""
    return value // 10 << 4 | value % 10


def header(lba: int) -> bytes:
    """Minutes, seconds and frames of a sector, and mode 1."""
    frame = lba + FIRST_ADDRESS
    return bytes((*map(binary_coded, (frame // 4500 % 100, frame // 75 % 60, frame % 75)), 1))


def raw_sector(lba: int, user: bytes) -> bytes:
    """All 2352 bytes of a sector with 2048 bytes of user data."""
    front = SYNC + header(lba) + user
    block = bytearray(front[12:] + error_detection(front) + bytes(8))
    block += _parity(block, 86, 24, 2, 86)  # P
    block += _parity(block, 52, 43, 86, 88)  # Q
    return SYNC + bytes(block)
