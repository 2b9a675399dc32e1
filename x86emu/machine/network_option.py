"""What `--net` says: user|tap|none, then parts after commas (docs/network.md has them all)."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from x86emu.errors import UserInputError
from x86emu.network.user_config import GUEST, Forward, UserConfig

KINDS = ("user", "tap", "none")
MODELS = ("virtio", "e1000", "ne2000")
FIRST_MAC = bytes.fromhex("525400123456")
GUEST_ADDRESS = str(ipaddress.IPv4Address(GUEST))
PARTS = {
    "user": "model, mac, romfile, hostfwd, tftp, bootfile, hostname, restrict and pcap",
    "tap": "model, mac, romfile, ifname and pcap",
}


@dataclass(frozen=True)
class NetworkOption:
    """One Ethernet device and the network that it is on.  `mac` None is the next of 52:54:00:12:34:56 and up."""

    kind: str = "user"
    model: str = "virtio"
    mac: bytes | None = None
    user: UserConfig = field(default_factory=UserConfig)
    interface: str = ""  # of tap
    pcap: Path | None = None
    rom: Path | None = None  # the card's boot ROM; None is the usual one where `boot` has n, else none


def parse_mac(text: str, option: str) -> bytes:
    """A hardware address of a single station.  UserInputError otherwise."""
    match = re.fullmatch(r"[0-9A-Fa-f]{2}(([:-])[0-9A-Fa-f]{2})(\2[0-9A-Fa-f]{2}){4}", text)
    mac = bytes.fromhex(re.sub("[:-]", "", text)) if match else b""
    if not mac or mac[0] & 1 or not any(mac):
        raise UserInputError(
            f"{option}: {text!r} is no hardware address of a network card; 52:54:00:12:34:56 would do (the first number"
            " is even)"
        )
    return mac


def _port(text: str, lowest: int) -> int | None:
    return int(text) if re.fullmatch(r"\d{1,5}", text) and lowest <= int(text) <= 65535 else None


def _address(text: str, default: str) -> str | None:
    try:
        return str(ipaddress.IPv4Address(text)) if text else default
    except ValueError:
        return None


def parse_forward(text: str, option: str) -> Forward:
    """`tcp|udp:HOSTADDR:PORT-GUESTADDR:PORT`; addresses may be left out.  UserInputError otherwise."""
    match = re.fullmatch(r"(tcp|udp):([^:-]*):([^:-]*)-([^:-]*):([^:-]*)", text)
    if match:
        host, port = _address(match[2], "127.0.0.1"), _port(match[3], 0)
        guest, guest_port = _address(match[4], GUEST_ADDRESS), _port(match[5], 1)
        if host is not None and port is not None and guest is not None and guest_port is not None:
            return Forward(match[1], host, port, guest, guest_port)
    raise UserInputError(
        f"{option}: {text!r} is no forward; hostfwd=tcp:127.0.0.1:2222-:22 would do, or hostfwd=udp::5353-:53"
    )


def parse_network(text: str) -> NetworkOption | None:
    """The option's text, None for `none`.  UserInputError where it has a part that is not understood."""
    option = f"--net {text}"
    kind, *parts = text.replace(",,", "\0").split(",")
    if kind not in KINDS:
        raise UserInputError(f"{option}: {kind!r} is no kind of network; user, tap and none are")
    if kind == "none":
        if parts:
            raise UserInputError(f"{option}: none takes no parts; --net none alone would do")
        return None
    values: dict[str, str] = {}
    forwards: list[Forward] = []
    known = set(PARTS[kind].replace(" and", ",").replace(" ", "").split(","))
    for part in parts:
        key, given, value = part.replace("\0", ",").partition("=")
        if key not in known or (not value and key != "restrict") or key in values:
            raise UserInputError(
                f"{option}: {part!r} is not understood; {PARTS[kind]} are, each with its value (a comma in a name is"
                " written twice)"
            )
        if key == "hostfwd":
            forwards.append(parse_forward(value, option))
        else:
            values[key] = value if given else "on"
    model = values.get("model", "virtio")
    if model not in MODELS:
        raise UserInputError(f"{option}: there is no network card {model!r}; {', '.join(MODELS)} would do")
    restrict = values.get("restrict", "off")
    if restrict not in ("on", "off"):
        raise UserInputError(f"{option}: restrict is on or off, not {restrict!r}")
    interface = values.get("ifname", "")
    if len(interface.encode()) > 15:
        raise UserInputError(f"{option}: an interface's name has up to 15 characters; tap0 would do")
    host_name = values.get("hostname", "")
    if not re.fullmatch(r"[A-Za-z0-9.-]{0,63}", host_name):
        raise UserInputError(f"{option}: {host_name!r} is no host name; letters, digits, dots and hyphens would do")
    boot_file = values.get("bootfile", "")
    if len(boot_file.encode()) > 127:
        raise UserInputError(f"{option}: a boot file's name has up to 127 characters; pxelinux.0 would do")
    tftp = Path(values["tftp"]) if "tftp" in values else None
    if tftp is not None and not tftp.is_dir():
        raise UserInputError(f"{option}: {tftp} is no directory; one with the files that the guest boots would do")
    return NetworkOption(
        kind,
        model,
        parse_mac(values["mac"], option) if "mac" in values else None,
        UserConfig(tuple(forwards), tftp, boot_file, host_name, restrict == "on"),
        interface,
        Path(values["pcap"]) if "pcap" in values else None,
        Path(values["romfile"]) if "romfile" in values else None,
    )


def parse_networks(
    given: str | NetworkOption | Sequence[str | NetworkOption], pcap: Path | None = None
) -> tuple[NetworkOption, ...]:
    """All of a command line; `none` goes alone.  `pcap` is what --pcap says: one dump of all that have none."""
    entries = [given] if isinstance(given, str | NetworkOption) else given
    networks = [parse_network(entry) if isinstance(entry, str) else entry for entry in entries]
    if None in networks and len(networks) > 1:
        raise UserInputError("--net none: says that there is no network, and another --net says that there is one")
    found = [network for network in networks if network is not None]
    if pcap is not None and not found:
        raise UserInputError(f"--pcap {pcap}: there is no network to record; --net user would make one")
    return tuple(found)
