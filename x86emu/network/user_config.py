"""What a user may ask of the user-mode network (user.py), apart from the network itself, which few machines have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from x86emu.network import dns

NETWORK = bytes((10, 0, 2))
GUEST = NETWORK + b"\x0f"


@dataclass(frozen=True)
class Forward:
    """A port of the host that leads into the guest."""

    protocol: str  # tcp or udp
    host: str
    port: int
    guest: str
    guest_port: int


@dataclass(frozen=True)
class UserConfig:
    """What a user may ask of the network."""

    forwards: tuple[Forward, ...] = ()
    tftp: Path | None = None
    boot_file: str = ""
    host_name: str = ""
    restrict: bool = False  # nothing goes out but by forwards and TFTP
    hosts: Path = dns.HOSTS
    resolv_conf: Path = dns.RESOLV_CONF
