"""A 9P2000.L client in Python, as far as tests need one: every request by name, errors as OSError."""

from __future__ import annotations

import os
import struct
from typing import Any

from x86emu.sharing import ShareServer

LERROR = 7


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<H", len(data)) + data


class Client:
    def __init__(self, server: ShareServer, message_size: int = 8192) -> None:
        self.server = server
        self.message_size = message_size
        self.next_fid = 1

    def raw(self, kind: int, body: bytes, tag: int = 1, size: int | None = None) -> bytes:
        """The answer's body; OSError where it is an error."""
        request = struct.pack("<IBH", len(body) + 7 if size is None else size, kind, tag) + body
        answer = self.server.handle(request, self.message_size)
        length, got, back = struct.unpack_from("<IBH", answer)
        assert length == len(answer) <= self.message_size
        if got == LERROR:
            (number,) = struct.unpack("<I", answer[7:])
            raise OSError(number, os.strerror(number))
        assert got == kind + 1 and back == tag
        return answer[7:]

    def start(self) -> Client:
        answer = self.raw(100, struct.pack("<I", self.message_size) + text("9P2000.L"), 0xFFFF)
        assert answer == struct.pack("<I", self.message_size) + text("9P2000.L")
        self.root = self.new()
        assert self.raw(104, struct.pack("<II", self.root, 0xFFFF_FFFF) + text("root") + text("") + bytes(4))[0] == 0x80
        return self

    def new(self) -> int:
        self.next_fid += 1
        return self.next_fid

    def walk(self, *names: str | bytes, fid: int | None = None) -> int:
        """A new fid; FileNotFoundError also where only a part of the way could be gone."""
        new = self.new()
        body = struct.pack("<IIH", self.root if fid is None else fid, new, len(names)) + b"".join(map(text, names))
        (count,) = struct.unpack_from("<H", self.raw(110, body))
        if count < len(names):
            raise FileNotFoundError(names[count])
        return new

    def open(self, *names: str, flags: int = 0) -> int:
        fid = self.walk(*names)
        self.raw(12, struct.pack("<II", fid, flags))
        return fid

    def create(self, name: str, *where: str, flags: int = 0o102, mode: int = 0o644) -> int:
        fid = self.walk(*where)
        self.raw(14, struct.pack("<I", fid) + text(name) + struct.pack("<III", flags, mode, 0))
        return fid

    def read(self, fid: int, offset: int = 0, count: int = 4096) -> bytes:
        return self.raw(116, struct.pack("<IQI", fid, offset, count))[4:]

    def write(self, fid: int, data: bytes, offset: int = 0) -> int:
        return int(struct.unpack("<I", self.raw(118, struct.pack("<IQI", fid, offset, len(data)) + data))[0])

    def clunk(self, fid: int) -> None:
        assert self.raw(120, struct.pack("<I", fid)) == b""

    def names(self, fid: int, count: int = 4096) -> list[str]:
        found: list[str] = []
        offset = 0
        while data := self.raw(40, struct.pack("<IQI", fid, offset, count))[4:]:
            while data:
                offset, _, length = struct.unpack_from("<QBH", data, 13)
                found.append(data[24 : 24 + length].decode())
                data = data[24 + length :]
        return found

    def attributes(self, fid: int) -> dict[str, Any]:
        data = self.raw(24, struct.pack("<IQ", fid, 0x7FF))
        names = ("mode", "uid", "gid", "nlink", "rdev", "size", "blksize", "blocks")
        return {
            "qid": data[8:21],
            **dict(zip(names, struct.unpack_from("<IIIQQQQQ", data, 21), strict=True)),
            "mtime": struct.unpack_from("<QQ", data, 89),
        }
