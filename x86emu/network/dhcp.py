"""A DHCP and BOOTP server for one cable (RFC 2131, RFC 2132; RFC 951): addresses, router, name server, boot file.

An address is leased by the client's hardware address and stays with it.  A request for another one is refused.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

SERVER_PORT, CLIENT_PORT = 67, 68
MAGIC = bytes((99, 130, 83, 99))
BOOT_REQUEST, BOOT_REPLY = 1, 2
FIXED = 236  # bytes before the options
SHORTEST = 300  # of a BOOTP message (RFC 1542, section 2.1)
BROADCAST_FLAG = 0x8000
LEASE_SECONDS = 86400
LEASES = 16

DISCOVER, OFFER, REQUEST, DECLINE, ACKNOWLEDGE, REFUSE, RELEASE, INFORM = range(1, 9)
PAD, END = 0, 255
SUBNET_MASK, ROUTER, NAME_SERVER, HOST_NAME = 1, 3, 6, 12
REQUESTED_ADDRESS, LEASE_TIME, OVERLOAD, MESSAGE_TYPE, SERVER_IDENTIFIER = 50, 51, 52, 53, 54
TFTP_SERVER_NAME, BOOT_FILE_NAME = 66, 67


@dataclass(frozen=True)
class DhcpConfig:
    """What is given away; addresses in bytes.  `boot_file` and `host_name` may be empty."""

    server: bytes
    first: bytes
    mask: bytes
    router: bytes
    name_server: bytes
    host_name: str = ""
    boot_file: str = ""
    next_server: bytes = b""


def parse_options(data: bytes) -> dict[int, bytes] | None:
    """Options by code; None where one reaches beyond the end."""
    options: dict[int, bytes] = {}
    at = 0
    while at < len(data) and data[at] != END:
        if data[at] == PAD:
            at += 1
            continue
        if at + 1 >= len(data) or at + 2 + data[at + 1] > len(data):
            return None
        length = data[at + 1]
        options[data[at]] = options.get(data[at], b"") + data[at + 2 : at + 2 + length]
        at += 2 + length
    return options


def _packed(options: list[tuple[int, bytes]]) -> bytes:
    return b"".join(bytes((code, len(value))) + value for code, value in options if value) + bytes((END,))


@dataclass(frozen=True)
class Reply:
    """A message for the client; `destination` is its address, or the broadcast address."""

    message: bytes
    destination: bytes


class DhcpServer:
    def __init__(self, config: DhcpConfig) -> None:
        self.config = config
        self.leases: dict[bytes, bytes] = {}  # hardware address -> address

    def _lease(self, hardware: bytes) -> bytes:
        if hardware not in self.leases:
            if len(self.leases) >= LEASES:  # the oldest one's
                address = self.leases.pop(next(iter(self.leases)))
            else:
                first = int.from_bytes(self.config.first, "big")
                address = (first + len(self.leases)).to_bytes(4, "big")
            self.leases[hardware] = address
        return self.leases[hardware]

    def answer(self, data: bytes) -> Reply | None:
        """The reply to a client's message; None where there is none."""
        if len(data) < FIXED or data[0] != BOOT_REQUEST or data[1] != 1 or data[2] != 6:
            return None
        flags = int.from_bytes(data[10:12], "big")
        client, hardware = data[12:16], data[28:34]
        with_options = data[FIXED : FIXED + 4] == MAGIC
        options = parse_options(data[FIXED + 4 :]) if with_options else {}
        if options is None:
            return None
        kind = options.get(MESSAGE_TYPE, b"")
        if kind and len(kind) != 1:
            return None
        if options.get(SERVER_IDENTIFIER, self.config.server) != self.config.server:
            return None  # it has chosen another server
        lease = self._lease(hardware)
        answer, address = self._decide(kind[0] if kind else 0, options, client, lease)
        if answer is None:
            return None
        message = self._message(data, address, answer, with_options)
        if answer == REFUSE or flags & BROADCAST_FLAG or client == bytes(4):
            return Reply(message, b"\xff" * 4)
        return Reply(message, client)

    @staticmethod
    def _decide(kind: int, options: dict[int, bytes], client: bytes, lease: bytes) -> tuple[int | None, bytes]:
        """The reply's message type (0: BOOTP, without one) and the address in it (RFC 2131, section 4.3)."""
        if kind == INFORM:
            return ACKNOWLEDGE, bytes(4)
        if kind == 0:
            return 0, lease
        if kind == DISCOVER:
            return OFFER, lease
        if kind == REQUEST:
            wanted = options.get(REQUESTED_ADDRESS, client)
            return (ACKNOWLEDGE, lease) if wanted == lease else (REFUSE, bytes(4))
        return None, bytes(4)

    def _message(self, request: bytes, address: bytes, kind: int, with_options: bool) -> bytes:
        config = self.config
        boot = config.boot_file.encode() if kind != REFUSE else b""
        next_server = config.next_server or config.server
        fixed = struct.pack(
            ">BBBB4sHH4s4s4s4s16s64s128s", BOOT_REPLY, 1, 6, 0, request[4:8], 0, int.from_bytes(request[10:12], "big"),
            request[12:16] if kind == ACKNOWLEDGE else bytes(4), address, next_server if boot else bytes(4),
            request[24:28], request[28:44], b"", boot if len(boot) < 128 else b"",
        )  # fmt: skip
        if not with_options:
            return fixed.ljust(SHORTEST, b"\0")
        options: list[tuple[int, bytes]] = []
        if kind:
            options += [(MESSAGE_TYPE, bytes((kind,))), (SERVER_IDENTIFIER, config.server)]
        if kind != REFUSE:
            if address != bytes(4):
                options.append((LEASE_TIME, struct.pack(">I", LEASE_SECONDS)))
            options += [
                (SUBNET_MASK, config.mask), (ROUTER, config.router), (NAME_SERVER, config.name_server),
                (HOST_NAME, config.host_name.encode()[:255]), (BOOT_FILE_NAME, boot[:255]),
                (TFTP_SERVER_NAME, socket.inet_ntoa(next_server).encode() if boot else b""),
            ]  # fmt: skip
        return (fixed + MAGIC + _packed(options)).ljust(SHORTEST, b"\0")
