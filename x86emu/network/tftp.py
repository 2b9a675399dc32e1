"""TFTP (RFC 1350) of one directory, for reading only; options blksize, timeout and tsize (RFC 2347 to 2349).

There is no way out of the directory: a name is resolved with all its links and must lie below it.  Blocks are sent
again in virtual time.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from x86emu.network.backend import Timers

PORT = 69
READ_REQUEST, WRITE_REQUEST, DATA, ACKNOWLEDGE, ERROR, OPTIONS = range(1, 7)
NOT_FOUND, ACCESS, ILLEGAL, UNKNOWN_TRANSFER = 1, 2, 4, 5
BLOCK, LARGEST_BLOCK = 512, 1468  # what fits in one frame
TIME_OUT = 1_000_000_000
RETRIES = 8
TRANSFERS = 32
Peer = tuple[bytes, int]  # the client's address and port


def _error(code: int, words: str) -> bytes:
    return ERROR.to_bytes(2, "big") + code.to_bytes(2, "big") + words.encode() + b"\0"


@dataclass
class _Transfer:
    file: BinaryIO
    netascii: bool
    block: int = BLOCK
    time_out: int = TIME_OUT
    number: int = 0
    packet: bytes = b""
    last: bool = False
    tries: int = 0
    rest: bytearray = field(default_factory=bytearray)
    event: Any = None


class TftpServer:
    """`reply(peer, data)` sends to a client from the server's port, which serves all transfers."""

    def __init__(self, root: Path, timers: Timers, reply: Callable[[Peer, bytes], None]) -> None:
        self.root = root.resolve()
        self.timers = timers
        self.reply = reply
        self._transfers: dict[Peer, _Transfer] = {}

    def receive(self, peer: Peer, data: bytes) -> None:
        """A datagram for the server's port."""
        if len(data) < 4:
            return
        operation, number = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
        if operation == READ_REQUEST:
            self._request(peer, data[2:])
        elif operation == WRITE_REQUEST:
            self.reply(peer, _error(ACCESS, "this server is for reading only"))
        elif operation == ACKNOWLEDGE:
            transfer = self._transfers.get(peer)
            if transfer is None:
                self.reply(peer, _error(UNKNOWN_TRANSFER, "there is no such transfer"))
            elif number == transfer.number & 0xFFFF:
                self._advance(peer, transfer)
        elif operation == ERROR:
            self._end(peer)

    def _request(self, peer: Peer, data: bytes) -> None:
        self._end(peer)
        words = data.split(b"\0")
        if len(words) < 3 or words[-1]:
            self.reply(peer, _error(ILLEGAL, "the request is malformed"))
            return
        mode = words[1].lower()
        if mode not in (b"octet", b"netascii"):
            self.reply(peer, _error(ILLEGAL, "the mode is not known"))
            return
        try:
            path = (self.root / os.fsdecode(words[0].replace(b"\\", b"/")).lstrip("/")).resolve()
            if not path.is_relative_to(self.root) or not path.is_file():
                raise FileNotFoundError
            file = path.open("rb")
        except (OSError, ValueError, RuntimeError):
            self.reply(peer, _error(NOT_FOUND, "there is no such file"))
            return
        while len(self._transfers) >= TRANSFERS:
            self._end(next(iter(self._transfers)))
        transfer = self._transfers[peer] = _Transfer(file, mode == b"netascii")
        accepted = self._take_options(transfer, words[2:-1])
        if accepted:
            transfer.packet = OPTIONS.to_bytes(2, "big") + accepted
            self._send(peer, transfer)
        else:
            self._advance(peer, transfer)

    def _take_options(self, transfer: _Transfer, words: list[bytes]) -> bytes:
        accepted = b""
        for name, value in zip(words[::2], words[1::2], strict=False):
            if not value.isdigit() or len(value) > 12:
                continue
            number = int(value)
            if name.lower() == b"blksize" and number >= 8:
                number = transfer.block = min(number, LARGEST_BLOCK)
            elif name.lower() == b"timeout" and 1 <= number <= 255:
                transfer.time_out = number * TIME_OUT
            elif name.lower() == b"tsize" and not transfer.netascii:
                number = os.fstat(transfer.file.fileno()).st_size
            else:
                continue
            accepted += name + b"\0" + str(number).encode() + b"\0"
        return accepted

    def _advance(self, peer: Peer, transfer: _Transfer) -> None:
        """The block was acknowledged: the next one, or the end."""
        if transfer.last:
            self._end(peer)
            return
        try:
            data = self._read(transfer)
        except OSError:
            self.reply(peer, _error(0, "the file cannot be read"))
            self._end(peer)
            return
        transfer.number += 1
        transfer.tries = 0
        transfer.last = len(data) < transfer.block
        transfer.packet = DATA.to_bytes(2, "big") + (transfer.number & 0xFFFF).to_bytes(2, "big") + data
        self._send(peer, transfer)

    def _read(self, transfer: _Transfer) -> bytes:
        if not transfer.netascii:
            return transfer.file.read(transfer.block)
        while len(transfer.rest) < transfer.block:
            data = transfer.file.read(transfer.block)
            if not data:
                break
            transfer.rest += data.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
        data = bytes(transfer.rest[: transfer.block])
        del transfer.rest[: transfer.block]
        return data

    def _send(self, peer: Peer, transfer: _Transfer) -> None:
        if transfer.event is not None:
            self.timers.cancel(transfer.event)
        transfer.event = self.timers.schedule(
            self.timers.now() + transfer.time_out, lambda: self._time_out(peer, transfer)
        )
        self.reply(peer, transfer.packet)

    def _time_out(self, peer: Peer, transfer: _Transfer) -> None:
        transfer.event = None
        transfer.tries += 1
        if transfer.tries > RETRIES:
            self._end(peer)
        else:
            self._send(peer, transfer)

    def _end(self, peer: Peer) -> None:
        transfer = self._transfers.pop(peer, None)
        if transfer is not None:
            if transfer.event is not None:
                self.timers.cancel(transfer.event)
            transfer.file.close()

    def close(self) -> None:
        """Closes the files of all transfers."""
        for peer in list(self._transfers):
            self._end(peer)
