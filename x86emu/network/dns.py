"""The name server of a user-mode network (RFC 1035): names of the host's hosts file, the rest asked of its resolvers.

Only questions for addresses (A, AAAA) and for the names of addresses (PTR) are answered here; every other message goes
to a resolver as it is, and its answer comes back as it is.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass
from pathlib import Path

PORT = 53
HEADER = 12
TYPE_A, TYPE_PTR, TYPE_AAAA, CLASS_IN = 1, 12, 28, 1
QR, AA, RD, RA = 0x8000, 0x0400, 0x0100, 0x0080
OPCODE = 0x7800
SERVER_FAILURE = 2
TIME_TO_LIVE = 60
POINTER_TO_QUESTION = b"\xc0\x0c"

HOSTS = Path("/etc/hosts")
RESOLV_CONF = Path("/etc/resolv.conf")


@dataclass(frozen=True)
class Question:
    name: str  # lower case, without the last dot
    kind: int
    end: int  # offset behind it in the message


def parse_question(message: bytes) -> Question | None:
    """The one question of a plain query; None for anything else."""
    if len(message) < HEADER:
        return None
    _, flags, questions, answers, authorities, _ = struct.unpack_from(">6H", message)
    if flags & (QR | OPCODE) or questions != 1 or answers or authorities:
        return None
    labels, at = [], HEADER
    while True:
        if at >= len(message):
            return None
        length = message[at]
        at += 1
        if not length:
            break
        if length > 63 or at + length > len(message) or at - HEADER + length > 254:
            return None
        labels.append(message[at : at + length].decode("ascii", "replace").lower())
        at += length
    if at + 4 > len(message):
        return None
    kind, klass = struct.unpack_from(">HH", message, at)
    return Question(".".join(labels), kind, at + 4) if klass == CLASS_IN else None


def _read(path: Path) -> list[list[str]]:
    """The words of every line, without comments; none where the file cannot be read."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [words for line in lines if (words := line.split("#")[0].split(";")[0].split())]


def resolvers(path: Path = RESOLV_CONF) -> list[str]:
    """The IPv4 name servers of the host, in order."""
    found = []
    for words in _read(path):
        if words[0] == "nameserver" and len(words) > 1:
            try:
                found.append(str(ipaddress.IPv4Address(words[1])))
            except ValueError:
                continue  # IPv6, which this network does not have
    return found


class Hosts:
    """Names and addresses of a hosts file."""

    def __init__(self, path: Path, loopback: str) -> None:
        """Loopback addresses of the host are `loopback` in the guest's eyes."""
        self.addresses: dict[str, list[ipaddress.IPv4Address | ipaddress.IPv6Address]] = {}
        self.names: dict[str, str] = {}
        for words in _read(path):
            try:
                address = ipaddress.ip_address(words[0])
            except ValueError:
                continue
            names = [name for name in words[1:] if name.lower() != "localhost"]
            if address.is_loopback:
                if address.version == 6:
                    continue
                address = ipaddress.ip_address(loopback)
            for name in names:
                self.addresses.setdefault(name.lower(), []).append(address)
            if names:
                self.names.setdefault(address.reverse_pointer, names[0])

    def answer(self, message: bytes) -> bytes | None:
        """The reply to a query for a name that is known here."""
        question = parse_question(message)
        if question is None:
            return None
        if question.kind == TYPE_PTR and question.name in self.names:
            labels = self.names[question.name].encode("ascii", "replace").split(b".")
            records = [b"".join(bytes((len(label[:63]),)) + label[:63] for label in labels) + b"\0"]
        elif question.kind in (TYPE_A, TYPE_AAAA) and question.name in self.addresses:
            version = 4 if question.kind == TYPE_A else 6
            records = [
                address.packed for address in self.addresses[question.name] if address.version == version
            ]
        else:
            return None
        body = b"".join(
            POINTER_TO_QUESTION + struct.pack(">HHIH", question.kind, CLASS_IN, TIME_TO_LIVE, len(record)) + record
            for record in records
        )
        return _reply(message, question.end, len(records), 0, AA) + body


def _reply(message: bytes, end: int, answers: int, code: int, flags: int) -> bytes:
    identifier, asked = struct.unpack_from(">HH", message)
    head = struct.pack(">6H", identifier, QR | flags | asked & RD | RA | code, 1, answers, 0, 0)
    return head + message[HEADER:end]


def server_failure(message: bytes) -> bytes | None:
    """What a client is told where no resolver can be asked."""
    question = parse_question(message)
    return _reply(message, question.end, 0, SERVER_FAILURE, 0) if question is not None else None
