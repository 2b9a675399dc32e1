"""The wire format of 9P2000.L: message types, qids and the marshalling of fields.

Plan 9 from Bell Labs, Programmer's Manual section 5 (intro: little-endian integers, strings with a 16-bit length); the
9P2000.L extension's description in the diod project (protocol.md) for the types below 100 and their numbers.
"""

from __future__ import annotations

import struct
from enum import IntEnum


class Message(IntEnum):
    """Types of requests; an answer is one more."""

    LERROR = 6
    STATFS = 8
    LOPEN = 12
    LCREATE = 14
    SYMLINK = 16
    MKNOD = 18
    RENAME = 20
    READLINK = 22
    GETATTR = 24
    SETATTR = 26
    XATTRWALK = 30
    XATTRCREATE = 32
    READDIR = 40
    FSYNC = 50
    LOCK = 52
    GETLOCK = 54
    LINK = 70
    MKDIR = 72
    RENAMEAT = 74
    UNLINKAT = 76
    VERSION = 100
    AUTH = 102
    ATTACH = 104
    FLUSH = 108
    WALK = 110
    READ = 116
    WRITE = 118
    CLUNK = 120
    REMOVE = 122


HEADER = struct.Struct("<IBH")
NO_TAG = 0xFFFF
NO_FID = 0xFFFF_FFFF

QID_DIRECTORY, QID_SYMLINK, QID_FILE = 0x80, 0x02, 0x00
Qid = tuple[int, int, int]  # type, version, path


class Malformed(Exception):
    """A message that ends too early or has something behind its end."""


class Reader:
    """Takes the fields of a message one by one.  Malformed where they are not there."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, layout: str) -> tuple[int, ...]:
        """Integers by a struct layout."""
        size = struct.calcsize("<" + layout)
        if self.at + size > len(self.data):
            raise Malformed
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += size
        return values

    def number(self, letter: str = "I") -> int:
        """One integer: B, H, I or Q."""
        return self.take(letter)[0]

    def part(self, count: int) -> bytes:
        """That many bytes."""
        if self.at + count > len(self.data):
            raise Malformed
        self.at += count
        return self.data[self.at - count : self.at]

    def string(self) -> bytes:
        """A string, as the bytes that it has."""
        return self.part(self.number("H"))

    def end(self) -> None:
        """All must have been taken."""
        if self.at != len(self.data):
            raise Malformed


def pack_string(text: bytes) -> bytes:
    """A string with its length."""
    return struct.pack("<H", len(text)) + text


def pack_qid(qid: Qid) -> bytes:
    """13 bytes."""
    return struct.pack("<BIQ", *qid)
