"""--net and --pcap: what they take, and one line of refusal for what they do not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.test_boot_input import bios, refusal
from x86emu.errors import UserInputError
from x86emu.machine.network_option import NetworkOption, parse_network, parse_networks
from x86emu.machine.networks import addresses
from x86emu.network.user import Forward

assert bios  # a fixture


def test_everything_at_once(tmp_path: Path) -> None:
    network = parse_network(
        f"user,model=virtio,mac=52:54:00:aa:BB:cc,hostfwd=tcp:127.0.0.1:2222-:22,hostfwd=udp::0-10.0.2.16:53,"
        f"tftp={tmp_path},bootfile=a,,b,hostname=guest-1.example,restrict,pcap=x.pcap,romfile=card.rom"
    )
    assert network is not None and network.kind == "user" and network.mac == bytes.fromhex("525400aabbcc")
    assert network.user.forwards == (
        Forward("tcp", "127.0.0.1", 2222, "10.0.2.15", 22), Forward("udp", "127.0.0.1", 0, "10.0.2.16", 53),
    )  # fmt: skip
    assert network.user.tftp == tmp_path and network.user.boot_file == "a,b" and network.user.restrict
    assert network.user.host_name == "guest-1.example" and network.pcap == Path("x.pcap")
    assert network.rom == Path("card.rom")
    assert parse_network("user") == NetworkOption()
    assert parse_network("none") is None and parse_networks(["none"]) == ()
    tap = parse_network("tap,ifname=tap7,mac=02-00-00-00-00-01")
    assert tap is not None and tap.interface == "tap7" and tap.mac == b"\x02\0\0\0\0\1"


def test_hardware_addresses() -> None:
    given = parse_network("user,mac=52:54:00:12:34:56")
    assert given is not None
    assert [mac.hex() for mac in addresses((NetworkOption(), given, NetworkOption()))] == [
        "525400123457", "525400123456", "525400123458",
    ]  # fmt: skip
    with pytest.raises(UserInputError, match="the same mac"):
        addresses((given, given))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--net", "bridge"], "--net bridge: 'bridge' is no kind of network; user, tap and none are"),
        (["--net", "none,mac=1"], "none takes no parts"),
        (["--net", "none", "--net", "user"], "--net none: says that there is no network"),
        (["--net", "user,model=rtl8139"], "there is no network card 'rtl8139'"),
        (["--net", "user,mac=1:2:3"], "'1:2:3' is no hardware address"),
        (["--net", "user,mac=53:54:00:12:34:56"], "is no hardware address of a network card"),
        (["--net", "user,mac=00:00:00:00:00:00"], "is no hardware address of a network card"),
        (["--net", "user,hostfwd=tcp:22"], "'tcp:22' is no forward; hostfwd=tcp:127.0.0.1:2222-:22 would do"),
        (["--net", "user,hostfwd=tcp::99999-:22"], "is no forward"),
        (["--net", "user,hostfwd=tcp:localhost:80-:80"], "is no forward"),
        (["--net", "user,hostfwd=tcp::80-:0"], "is no forward"),
        (["--net", "user,ifname=tap0"], "'ifname=tap0' is not understood"),
        (["--net", "tap,tftp=."], "'tftp=.' is not understood; model, mac, romfile, ifname and pcap are"),
        (["--net", "user,mac"], "'mac' is not understood"),
        (["--net", "user,mac=52:54:00:12:34:56,mac=52:54:00:12:34:57"], "is not understood"),
        (["--net", "user,restrict=maybe"], "restrict is on or off, not 'maybe'"),
        (["--net", "user,tftp=/nonexistent"], "/nonexistent is no directory"),
        (["--net", "user,hostname=a b"], "'a b' is no host name"),
        (["--net", f"user,bootfile={'x' * 200}"], "a boot file's name has up to 127 characters"),
        (["--net", "tap,ifname=averylonginterfacename"], "an interface's name has up to 15 characters"),
        (["--net", "user,romfile=/nonexistent/rom"], "/nonexistent/rom"),
        (["--pcap", "dump"], "--pcap dump: there is no network to record; --net user would make one"),
        (["--net", "user", "--pcap", "/nonexistent/dump"], "--pcap /nonexistent/dump: cannot be written"),
        (["--net", "user"] * 29, "more than the 28 free PCI slots"),
    ],
)
def test_refusals(bios: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str) -> None:  # noqa: F811
    assert words in refusal(capsys, "--bios", str(bios), *arguments)


def test_boot_from_the_network_needs_the_rom(
    bios: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch  # noqa: F811
) -> None:
    monkeypatch.setattr("x86emu.machine.networks.BOOT_ROMS", Path("/nonexistent"))
    line = refusal(capsys, "--bios", str(bios), "--boot", "n", "--net", "user")
    assert "/nonexistent/pxe-virtio.rom is not there" in line and "apt-get install ipxe-qemu would bring it" in line


def test_a_port_that_is_taken(bios: Path, capsys: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refusal(capsys, "--bios", str(bios), "--net", f"user,hostfwd=tcp::{port}-:22")
    assert f"hostfwd=tcp:127.0.0.1:{port}: the host gives no such port (Address already in use)" in line
