"""Frames that no sound guest sends and answers that no sound peer gives: nothing raises, nothing grows without end."""

from __future__ import annotations

import random
import socket
import struct

import pytest

from tests.network.lan import GUEST_MAC, Lan, Peer, accept, server
from tests.network.test_services import query, request
from x86emu.network.packets import ACK, ETHERTYPE_ARP, ETHERTYPE_IPV4, Arp, Ipv4, Tcp, Udp, checksum
from x86emu.network.user import GUEST, MAC, NAME_SERVER, ROUTER


@pytest.fixture
def lan(tmp_path):
    (tmp_path / "file").write_bytes(bytes(3000))
    lan = Lan(tftp=tmp_path, resolv_conf=tmp_path / "none")
    # Random addresses must lead nowhere but to closed ports of this host's loopback.
    real = lan.network.host_address
    lan.network.host_address = lambda address, port: (real(ROUTER, 1) if real(address, port) is not None else None)
    yield lan
    lan.network.close()


def sound(rng):
    """The payload of a frame that is right, and its type."""
    kind = rng.randrange(6)
    if kind == 0:
        return ETHERTYPE_ARP, Arp(rng.randrange(4), GUEST_MAC, GUEST, bytes(6), ROUTER).pack()
    if kind == 1:
        to, payload, protocol = ROUTER, rng.randbytes(8 + rng.randrange(30)), 1
        payload = b"\x08\x00\0\0" + payload
        payload = payload[:2] + checksum(payload).to_bytes(2, "big") + payload[4:]
    elif kind == 2:
        flags = rng.randrange(64)
        options = {"mss": rng.randrange(65536), "window_scale": rng.randrange(256)} if rng.random() < 0.5 else {}
        segment = Tcp(
            rng.randrange(3), rng.randrange(3), rng.randrange(1 << 32), rng.randrange(1 << 32), flags,
            rng.randrange(65536), rng.randbytes(rng.randrange(40)), **options,
        )  # fmt: skip
        to, payload, protocol = ROUTER, segment.pack(GUEST, ROUTER), 6
    else:
        to = rng.choice((ROUTER, NAME_SERVER, b"\xff" * 4))
        data, port = rng.choice(
            ((request(rng.randrange(9), rng.randbytes(20)), 67), (query("a.b"), 53), (b"\0\1file\0octet\0", 69),
             (struct.pack(">HH", rng.randrange(7), rng.randrange(4)), 69), (b"x", rng.randrange(65536)))
        )  # fmt: skip
        payload, protocol = Udp(rng.randrange(65536), port, data).pack(GUEST, to), 17
    return ETHERTYPE_IPV4, Ipv4(GUEST, to, protocol, payload, rng.choice((1, 64)), rng.randrange(4)).pack()


@pytest.mark.parametrize("seed", range(4))
def test_random_and_damaged_frames(lan, seed):
    rng = random.Random(seed)
    for number in range(1500):
        kind, payload = sound(rng)
        damage = rng.randrange(5)
        if damage == 0:
            payload = payload[: rng.randrange(len(payload) + 1)]
        elif damage == 1:
            data = bytearray(payload)
            for _ in range(rng.randrange(1, 5)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            if kind == ETHERTYPE_IPV4 and rng.random() < 0.8:  # with a right header, so that it gets further
                data[10:12] = bytes(2)
                data[10:12] = checksum(bytes(data[: 4 * (data[0] & 15)])).to_bytes(2, "big")
            payload = bytes(data)
        elif damage == 2:
            payload += rng.randbytes(rng.randrange(100))
        frame = rng.choice((MAC, b"\xff" * 6)) + GUEST_MAC + kind.to_bytes(2, "big") + payload
        if rng.random() < 0.05:
            frame = rng.randbytes(rng.randrange(1600))
        lan.network.send(frame, rng.choice((0, 0, 0, 1460)))
        if number % 50 == 0:
            lan.network.poll()
            lan.frames()
            lan.clock.advance(rng.randrange(2_000_000_000))
    assert len(lan.network._waiting) <= 32 and len(lan.network.udp.flows) <= 256


@pytest.mark.parametrize("seed", range(3))
def test_random_segments_within_a_connection(lan, seed):
    rng = random.Random(seed)
    with server() as listener:
        lan.network.host_address = lambda address, port: listener.getsockname()
        peer = Peer(lan, 80)
        peer.open()
        with accept(listener) as host:
            host.setblocking(False)
            for _ in range(1500):
                peer.window = rng.randrange(65536)
                peer.sequence = peer.sequence + rng.choice((0, 0, 0, 1, -1, -500, 70000)) & 0xFFFFFFFF
                peer.expected = peer.expected + rng.choice((0, 0, 0, 1, -1, 1460, 1 << 31)) & 0xFFFFFFFF
                flags = rng.choice((ACK, ACK, ACK, rng.randrange(64)))
                peer.send(flags, rng.randbytes(rng.randrange(1460)))
                peer.sequence &= 0xFFFFFFFF
                try:
                    host.send(bytes(3000))
                    host.recv(100000)
                except OSError:
                    pass
                lan.network.poll()
                peer.segments()
                lan.clock.advance(rng.randrange(10_000_000))


def test_a_resolver_that_sends_rubbish(lan):
    """Whatever it says goes to the guest as it is, even the largest datagram, in fragments."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as resolver:
        resolver.bind(("127.0.0.1", 0))
        lan.network.host_address = lambda address, port: resolver.getsockname()
        lan.network.resolvers.append("127.0.0.1")
        lan.arp(ROUTER)
        lan.udp(NAME_SERVER, 53, query("x.example"))
        _, peer = resolver.recvfrom(1000)
        for size in (0, 1, 65507):
            resolver.sendto(bytes(size), peer)
        lan.wait(lan.packets)


def test_queues_have_an_end(lan):
    for _ in range(5000):
        lan.send(ETHERTYPE_ARP, Arp(1, GUEST_MAC, GUEST, bytes(6), ROUTER).pack())
    assert len(lan.network._queue) == 2048 and lan.network.dropped == 2952
