"""What the user-mode network does by itself: ARP, ICMP, DHCP, DNS, TFTP, UDP, fragments."""

from __future__ import annotations

import os
import socket
import struct

import pytest

from tests.network.lan import GUEST_MAC, Lan
from x86emu.errors import UserInputError
from x86emu.network import dhcp, no_ipv6
from x86emu.network.fragments import LIFETIME, cut
from x86emu.network.packets import (
    ETHERTYPE_IPV4,
    ICMP_ECHO,
    ICMP_ECHO_REPLY,
    ICMP_TIME_EXCEEDED,
    ICMP_UNREACHABLE,
    PROTOCOL_ICMP,
    PROTOCOL_UDP,
    UNREACHABLE_PORT,
    UNREACHABLE_PROHIBITED,
    Icmp,
    Ipv4,
    Udp,
    checksum,
    ones_sum,
)
from x86emu.network.user import GUEST, MAC, NAME_SERVER, ROUTER, Forward

OTHER = socket.inet_aton("10.0.2.77")
FAR = socket.inet_aton("192.0.2.1")  # RFC 5737: nobody's


@pytest.fixture
def lan(tmp_path):
    (tmp_path / "hosts").write_text(
        "127.0.0.1 localhost\n127.0.1.1 thishost.example thishost\n# comment\n"
        "192.0.2.7 seven.example seven # why\n2001:db8::7 seven.example\nnonsense line\n"
    )
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\nnameserver ::1\noptions x\n")
    root = tmp_path / "tftp"
    root.mkdir()
    (root / "kernel").write_bytes(bytes(range(256)) * 10)
    (root / "text").write_bytes(b"one\ntwo\r")
    (root / "out").symlink_to(tmp_path / "hosts")
    lan = Lan(hosts=tmp_path / "hosts", resolv_conf=tmp_path / "resolv.conf", tftp=root, boot_file="pxelinux.0",
              host_name="guest")  # fmt: skip
    # The guest introduces itself.
    lan.arp(ROUTER)
    yield lan
    lan.network.close()


def test_arp(lan):
    reply = lan.arp(ROUTER)
    assert reply.sender_mac == MAC and reply.sender == ROUTER and reply.target == GUEST
    assert lan.arp(NAME_SERVER).sender == NAME_SERVER
    assert lan.arp(GUEST) is None and lan.arp(OTHER) is None


def test_router_solicitations_are_told_that_there_is_no_router(lan):
    source = no_ipv6.link_local(GUEST_MAC)
    routers = b"\xff\x02" + bytes(13) + b"\x02"
    message = struct.pack(">BBHI", 133, 0, 0, 0)
    start = ones_sum(source + routers + struct.pack(">II", len(message), 58))
    message = message[:2] + checksum(message, start).to_bytes(2, "big") + message[4:]
    packet = struct.pack(">IHBB", 6 << 28, len(message), 58, 255) + source + routers + message
    lan.send(0x86DD, packet, bytes.fromhex("333300000002"))
    (frame,) = lan.frames()
    assert frame[:6] == no_ipv6.ALL_NODES_MAC and frame[14 + 8 : 14 + 24] == no_ipv6.link_local(MAC)
    reply = frame[54:]
    assert reply[0] == 134 and reply[4:16] == bytes(12) and reply[16:] == b"\1\1" + MAC
    assert (ones_sum(frame[22:54] + struct.pack(">II", len(reply), 58)) + ones_sum(reply)) % 0xFFFF == 0
    for bad in (packet[:45], packet[:7] + b"\x40" + packet[8:], packet[:-1] + b"\1", packet[:4] + b"\xff" + packet[5:]):
        lan.send(0x86DD, bad, bytes.fromhex("333300000002"))
    assert lan.frames() == []


@pytest.mark.parametrize("size", [0, 56, 1472, 8000])
def test_ping_of_its_own_addresses(lan, size):
    echo = Icmp(ICMP_ECHO, 0, b"\x12\x34\x00\x01", os.urandom(size))
    for address in (ROUTER, NAME_SERVER):
        for part in cut(Ipv4(GUEST, address, PROTOCOL_ICMP, echo.pack(), identification=9, fragment=0)):
            lan.send(ETHERTYPE_IPV4, part.pack())
        parts = lan.packets()
        assert len(parts) == (6 if size == 8000 else 1) and all(len(part.payload) <= 1480 for part in parts)
        whole = b"".join(part.payload for part in parts)
        assert parts[0].source == address and whole == Icmp(ICMP_ECHO_REPLY, 0, echo.rest, echo.payload).pack()


def test_ping_of_others(lan):
    lan.packet(PROTOCOL_ICMP, Icmp(ICMP_ECHO, 0, bytes(4)).pack(), OTHER)
    ((source, message),) = lan.messages()
    assert source == ROUTER and message.kind == ICMP_UNREACHABLE
    lan.packet(PROTOCOL_ICMP, Icmp(ICMP_ECHO, 0, bytes(4)).pack(), FAR, ttl=1)
    ((source, message),) = lan.messages()
    assert message.kind == ICMP_TIME_EXCEEDED and message.payload[16:20] == FAR


def test_ping_by_the_hosts_sockets(lan, monkeypatch):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP).close()
    except OSError:
        # This host does not permit ping sockets: the guest is told so.
        lan.packet(PROTOCOL_ICMP, Icmp(ICMP_ECHO, 0, bytes(4)).pack(), FAR)
        ((_, message),) = lan.messages()
        assert (message.kind, message.code) == (ICMP_UNREACHABLE, UNREACHABLE_PROHIBITED)
        return
    monkeypatch.setattr(lan.network, "host_address", lambda address, port: ("127.0.0.1", port))
    lan.packet(PROTOCOL_ICMP, Icmp(ICMP_ECHO, 0, b"\x12\x34\0\x05", b"data").pack(), FAR)
    ((source, message),) = lan.wait(lan.messages)
    assert source == FAR and message == Icmp(ICMP_ECHO_REPLY, 0, b"\x12\x34\0\x05", b"data")


def test_fragments_that_make_no_packet(lan):
    def part(offset, data, more, identification=1):
        fragment = offset // 8 | (0x2000 if more else 0)
        lan.send(
            ETHERTYPE_IPV4,
            Ipv4(GUEST, ROUTER, PROTOCOL_ICMP, data, identification=identification, fragment=fragment).pack(),
        )

    message = Icmp(ICMP_ECHO, 0, bytes(4), bytes(range(100))).pack()
    part(64, message[64:], False)
    part(0, message[:64], True)
    assert len(lan.packets()) == 1  # in any order
    part(0, message[:64], True)
    part(56, message[56:], False)  # overlap
    part(64, message[64:], False)
    assert lan.packets() == []
    part(0, message[:60], True, 2)  # no multiple of eight
    part(60 - 60 % 8, message[56:], False, 2)
    assert lan.packets() == []
    part(65528, bytes(100), False, 3)  # beyond the largest packet
    part(0, message[:64], True, 4)
    lan.clock.advance(LIFETIME)
    part(64, message[64:], False, 4)
    assert lan.packets() == []
    for number in range(100):  # no more than a few are kept
        part(0, bytes(64), True, 1000 + number)
    assert len(lan.network._reassembly._unfinished) == 16


# --- DHCP


def request(kind, options=b"", *, mac=GUEST_MAC, client=bytes(4), cookie=True):
    fixed = struct.pack(
        ">BBBB4sHH4s4s4s4s16s64s128s", 1, 1, 6, 0, b"\1\2\3\4", 0, 0, client, b"", b"", b"", mac, b"", b""
    )
    if not cookie:
        return fixed
    return fixed + dhcp.MAGIC + (bytes((53, 1, kind)) if kind else b"") + options + b"\xff"


def ask(lan, data, source=bytes(4), to=b"\xff" * 4):
    lan.udp(to, 67, data, own=68, source=source)
    answers = lan.datagrams()
    if not answers:
        return None
    ((address, datagram),) = answers
    assert address == ROUTER and datagram.source_port == 67 and datagram.destination_port == 68
    data = datagram.payload
    assert data[4:8] == b"\1\2\3\4" and data[28:34] == request(0)[28:34]
    return data, dhcp.parse_options(data[240:]) if data[236:240] == dhcp.MAGIC else {}


def test_dhcp_gives_an_address(lan):
    data, options = ask(lan, request(dhcp.DISCOVER))
    assert data[16:20] == GUEST and data[20:24] == ROUTER and data[108:118] == b"pxelinux.0"
    assert options[53] == bytes((dhcp.OFFER,)) and options[54] == ROUTER and options[3] == ROUTER
    assert options[1] == b"\xff\xff\xff\0" and options[6] == NAME_SERVER and options[12] == b"guest"
    assert options[66] == b"10.0.2.2" and options[67] == b"pxelinux.0"
    _, options = ask(lan, request(dhcp.REQUEST, bytes((50, 4)) + GUEST + bytes((54, 4)) + ROUTER))
    assert options[53] == bytes((dhcp.ACKNOWLEDGE,))
    data, options = ask(lan, request(dhcp.REQUEST, client=GUEST), GUEST, ROUTER)  # a renewal
    assert options[53] == bytes((dhcp.ACKNOWLEDGE,)) and data[12:16] == GUEST
    _, options = ask(lan, request(dhcp.REQUEST, bytes((50, 4)) + OTHER))
    assert options[53] == bytes((dhcp.REFUSE,)) and 1 not in options
    assert ask(lan, request(dhcp.REQUEST, bytes((50, 4)) + GUEST + bytes((54, 4)) + OTHER)) is None
    assert ask(lan, request(dhcp.RELEASE, client=GUEST)) is None
    data, options = ask(lan, request(dhcp.INFORM, client=GUEST), GUEST, ROUTER)
    assert data[16:20] == bytes(4) and 51 not in options and options[6] == NAME_SERVER


def test_bootp_without_options(lan):
    data, options = ask(lan, request(0, cookie=False))
    assert len(data) == 300 and data[16:20] == GUEST and not options


def test_leases_are_limited(lan):
    server = lan.network.dhcp
    given = {server.answer(request(dhcp.DISCOVER, mac=bytes((2, 0, 0, 0, 0, n)))).message[16:20] for n in range(200)}
    assert len(given) == 16 and len(server.leases) == 16


@pytest.mark.parametrize("length", [0, 10, 236, 239, 240, 241, 242])
def test_short_dhcp(lan, length):
    lan.udp(b"\xff" * 4, 67, request(dhcp.DISCOVER)[:length], own=68, source=bytes(4))
    lan.frames()


# --- DNS


def query(name, kind=1, identifier=7):
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack(">6H", identifier, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", kind, 1)


def resolve(lan, data):
    lan.udp(NAME_SERVER, 53, data)
    ((source, datagram),) = lan.datagrams()
    assert source == NAME_SERVER and datagram.source_port == 53 and datagram.payload[:2] == data[:2]
    _, flags, _, answers, _, _ = struct.unpack_from(">6H", datagram.payload)
    assert flags & 0x8000 and datagram.payload[12 : len(data)] == data[12:]
    return flags & 15, answers, datagram.payload[len(data) :]


def test_dns_answers_from_the_hosts_file(lan):
    assert resolve(lan, query("Seven.Example"))[1:] == (
        1, b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("192.0.2.7"),
    )  # fmt: skip
    code, answers, record = resolve(lan, query("seven.example", 28))
    assert answers == 1 and record[12:] == socket.inet_pton(socket.AF_INET6, "2001:db8::7")
    assert resolve(lan, query("seven", 28))[:2] == (0, 0)  # the name is known, such an address is not
    assert resolve(lan, query("thishost"))[2][12:] == ROUTER  # the host's loopback, as the guest sees it
    assert resolve(lan, query("7.2.0.192.in-addr.arpa", 12))[2][12:] == b"\5seven\7example\0"


def test_dns_asks_the_hosts_resolver(lan, monkeypatch):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        resolver.settimeout(5)
        monkeypatch.setattr(lan.network, "host_address", lambda address, port: resolver.getsockname())
        lan.udp(NAME_SERVER, 53, query("elsewhere.example"))
        assert lan.network.waiting
        data, peer = resolver.recvfrom(1000)
        assert data == query("elsewhere.example")
        resolver.sendto(b"the answer", peer)
        ((source, datagram),) = lan.wait(lan.datagrams)
        assert source == NAME_SERVER and datagram.payload == b"the answer" and not lan.network.waiting
        lan.network.resolvers.append("second")
        for _ in range(2):  # asked again without an answer: the next resolver
            lan.udp(NAME_SERVER, 53, query("elsewhere.example"))
        assert lan.network.resolvers == ["second", "127.0.0.1"]


@pytest.mark.parametrize("restrict", [False, True])
def test_dns_without_a_resolver(tmp_path, restrict):
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n" if restrict else "")
    lan = Lan(resolv_conf=tmp_path / "resolv.conf", hosts=tmp_path / "none", restrict=restrict)
    lan.arp(ROUTER)
    assert resolve(lan, query("anything.example")) == (2, 0, b"")
    lan.udp(NAME_SERVER, 53, b"rubbish")
    assert lan.datagrams() == []
    lan.network.close()


# --- TFTP


def tftp(lan, data, own=3000):
    lan.udp(ROUTER, 69, data, own=own)
    return [datagram.payload for _, datagram in lan.datagrams()]


def acknowledge(number):
    return struct.pack(">HH", 4, number)


def test_tftp_reads_a_file(lan):
    (first,) = tftp(lan, b"\0\1/kernel\0octet\0")
    assert first[:4] == b"\0\3\0\1" and len(first) == 516
    lan.clock.advance(1_000_000_000)
    assert [datagram.payload for _, datagram in lan.datagrams()] == [first]  # again
    data = first[4:]
    for number in range(1, 6):
        (block,) = tftp(lan, acknowledge(number))
        assert block[:4] == struct.pack(">HH", 3, number + 1)
        data += block[4:]
    assert data == bytes(range(256)) * 10 and len(block) == 4  # a whole number of blocks: an empty one ends it
    assert tftp(lan, acknowledge(6)) == []
    assert tftp(lan, acknowledge(6))[0][:4] == b"\0\5\0\5"


def test_tftp_options(lan):
    (accepted,) = tftp(lan, b"\0\1kernel\0OCTET\0blksize\x009000\0tsize\x000\0timeout\x003\0what\x001\0")
    assert accepted == b"\0\6blksize\x001468\0tsize\x002560\0timeout\x003\0"
    (first,) = tftp(lan, acknowledge(0))
    assert first[:4] == b"\0\3\0\1" and len(first) == 1472
    (last,) = tftp(lan, acknowledge(1))
    assert len(last) == 4 + 2560 - 1468
    (text,) = tftp(lan, b"\0\1text\0netascii\0", 3001)
    assert text[4:] == b"one\r\ntwo\r\0"


@pytest.mark.parametrize(
    "name", [b"../hosts", b"/etc/hosts", b"out", b"nothing", b"..", b".", b"", b"\xff\xfe", b"a/" * 2000, b"kernel/x"]
)
def test_tftp_has_no_way_out(lan, name):
    if name == b"/etc/hosts":
        assert os.path.exists("/etc/hosts")
    (answer,) = tftp(lan, b"\0\1" + name[:1300] + b"\0octet\0")
    assert answer[:4] == b"\0\5\0\1"


def test_tftp_refusals(lan):
    assert tftp(lan, b"\0\2kernel\0octet\0")[0][:4] == b"\0\5\0\2"
    assert tftp(lan, b"\0\1kernel")[0][:4] == b"\0\5\0\4"
    assert tftp(lan, b"\0\1kernel\0mail\0")[0][:4] == b"\0\5\0\4"
    for rubbish in (b"", b"\0", b"\0\1", b"\0\7xxxx", b"\0\1\0\0"):
        tftp(lan, rubbish)
    for port in range(1000, 1100):
        tftp(lan, b"\0\1kernel\0octet\0", port)
    assert len(lan.network.tftp._transfers) == 32
    lan.clock.advance(60_000_000_000)
    assert not lan.network.tftp._transfers


def test_tftp_directory_is_checked(tmp_path):
    with pytest.raises(UserInputError, match="is no directory"):
        Lan(tftp=tmp_path / "none")


# --- UDP


@pytest.fixture
def host():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
        yield sock


@pytest.mark.parametrize("size", [0, 10, 1472, 1473, 20000])
def test_udp_to_the_hosts_loopback(lan, host, size):
    data = os.urandom(size)
    port = host.getsockname()[1]
    packet = Ipv4(GUEST, ROUTER, PROTOCOL_UDP, Udp(4000, port, data).pack(GUEST, ROUTER), identification=5, fragment=0)
    for part in cut(packet):
        lan.send(ETHERTYPE_IPV4, part.pack())
    assert lan.network.waiting and lan.polls_wanted
    got, peer = host.recvfrom(65536)
    assert got == data
    host.sendto(data[::-1], peer)
    parts = lan.wait(lan.packets)
    assert all(len(part.payload) <= 1480 for part in parts)
    assert b"".join(part.payload for part in parts)[8:] == data[::-1]
    assert not lan.network.waiting


def test_udp_to_a_closed_port(lan, host):
    port = host.getsockname()[1]
    host.close()
    lan.udp(ROUTER, port, b"anybody?")
    ((source, message),) = lan.wait(lan.messages)
    assert (message.kind, message.code) == (ICMP_UNREACHABLE, UNREACHABLE_PORT)
    assert message.payload[16:20] == ROUTER and struct.unpack_from(">HH", message.payload, 20) == (4000, port)


def test_the_oldest_flow_makes_room(lan, host):
    for port in range(10_000, 10_300):
        lan.udp(ROUTER, host.getsockname()[1], b"x", own=port)
    assert len(lan.network.udp.flows) == 256
    lan.clock.advance(6_000_000_000)
    assert not lan.network.waiting  # nobody has answered in time


def test_a_udp_forward(host):
    lan = Lan(forwards=(Forward("udp", "127.0.0.1", 0, "10.0.2.15", 53),))
    lan.arp(ROUTER)
    host.sendto(b"question", lan.network.listening[0])
    ((source, datagram),) = lan.wait(lan.datagrams)
    assert source == ROUTER and datagram.payload == b"question" and datagram.destination_port == 53
    assert datagram.source_port == host.getsockname()[1]
    lan.udp(ROUTER, datagram.source_port, b"answer", own=53)
    assert host.recvfrom(100) == (b"answer", lan.network.listening[0])
    lan.network.close()


@pytest.mark.parametrize("protocol", ["tcp", "udp"])
def test_a_port_that_is_taken(protocol):
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if protocol == "tcp":
            taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserInputError, match=f"hostfwd={protocol}:127.0.0.1:{port}: the host gives no such port"):
            Lan(forwards=(Forward(protocol, "127.0.0.1", port, "10.0.2.15", 53),))


def test_checksums_of_known_packets():
    """RFC 1071, section 3: the sum of its example is ddf2."""
    assert checksum(bytes.fromhex("0001f203f4f5f6f7")) == 0xFFFF - 0xDDF2
    assert Udp(1, 2, b"").pack(bytes(4), bytes(4))[6:8] != b"\0\0"
