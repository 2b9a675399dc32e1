"""TCP of the user-mode network against sockets on the host's loopback, with a guest that is driven by hand."""

from __future__ import annotations

import socket

import pytest

from tests.network.lan import GUEST_MAC, Lan, Peer, accept, server
from x86emu.network.packets import ACK, FIN, PROTOCOL_TCP, PSH, RST, SYN, Ipv4, Tcp
from x86emu.network.tcp import SEND_BUFFER, SHORTEST_RTO, State
from x86emu.network.tcp_host import TO_HOST
from x86emu.network.user import GUEST, MAC, ROUTER, Forward

SECOND = 1_000_000_000


@pytest.fixture
def lan():
    lan = Lan()
    yield lan
    lan.network.close()


@pytest.fixture
def listener():
    with server() as sock:
        yield sock


@pytest.fixture
def pair(lan, listener):
    peer = Peer(lan, listener.getsockname()[1])
    peer.open()
    with accept(listener) as host:
        yield peer, host


def drain(peer):
    """Takes all that comes until nothing more does."""
    while peer.take():
        peer.lan.network.poll()


def test_the_hosts_loopback_is_reached_at_10_0_2_2(lan, pair):
    peer, host = pair
    assert lan.polls_wanted
    peer.send(ACK | PSH, b"hello")
    lan.network.poll()
    assert host.recv(100) == b"hello"
    (answer,) = peer.segments()
    assert answer.acknowledgement == peer.sequence and answer.flags == ACK
    host.sendall(b"good day")
    lan.wait(lambda: peer.take() and peer.received)
    assert peer.received == b"good day"


def test_nothing_enters_the_guest_but_at_polls(lan, pair):
    peer, host = pair
    host.sendall(b"data")
    assert peer.segments() == [] and lan.network.waiting
    lan.clock.advance(SECOND)
    assert peer.segments() == []
    assert lan.wait(peer.segments)[0].payload == b"data"


def test_a_refused_port_is_a_reset(lan):
    with server() as sock:
        port = sock.getsockname()[1]
    peer = Peer(lan, port)
    answer = peer.open()
    assert answer.flags == RST | ACK and answer.acknowledgement == peer.sequence and answer.sequence == 0
    assert not lan.network.tcp.connections and not lan.network.waiting


def test_half_close_from_the_guest(lan, pair):
    peer, host = pair
    peer.send(FIN | ACK, b"question")
    lan.network.poll()
    assert host.recv(100) == b"question" and host.recv(100) == b""
    (answer,) = peer.segments()
    assert answer.acknowledgement == peer.sequence  # the FIN too
    host.sendall(b"x" * 5000)
    host.close()
    lan.wait(lambda: peer.take() and len(peer.received) == 5000)
    lan.network.poll()
    drain(peer)
    (connection,) = lan.network.tcp.connections.values()
    assert connection.state is State.CLOSED and not lan.network.waiting
    peer.sequence -= 1
    peer.send(FIN | ACK)  # the guest has not seen our acknowledgement: it is remembered
    assert peer.segments()[0].flags == ACK
    lan.clock.advance(61 * SECOND)
    assert not lan.network.tcp.connections


def test_half_close_from_the_host(lan, pair):
    peer, host = pair
    host.sendall(b"bye")
    host.shutdown(socket.SHUT_WR)
    lan.wait(lambda: any(segment.flags & FIN for segment in peer.take()))
    assert peer.received == b"bye"
    for _ in range(3):
        peer.send(ACK, b"y" * 1000)
        lan.network.poll()
    assert len(host.recv(3000, socket.MSG_WAITALL)) == 3000
    peer.send(FIN | ACK)
    assert host.recv(1) == b"" if lan.network.poll() is False else False


def test_all_is_handed_over_when_the_guest_ends_last(lan, pair):
    """The connection is over for the guest while the host's kernel has not yet taken all."""
    peer, host = pair
    host.shutdown(socket.SHUT_WR)
    lan.wait(lambda: any(segment.flags & FIN for segment in peer.take()))
    peer.send(ACK, b"z" * 1400)
    peer.send(FIN | ACK)
    peer.segments()
    lan.wait(lambda: not lan.network.sockets._masks)
    assert host.recv(2000, socket.MSG_WAITALL) == b"z" * 1400


def test_the_guests_window_is_kept_to(lan, listener):
    peer = Peer(lan, listener.getsockname()[1], window=4000)
    peer.open()
    with accept(listener) as host:
        host.sendall(bytes(range(256)) * 100)
        segments = lan.wait(peer.segments)
        while lan.network.poll() or (more := peer.segments()):
            segments += more
        assert [len(segment.payload) for segment in segments] == [1460, 1460]  # and no part of one: 3.8.6.2.1
        for segment in segments:
            peer.received += segment.payload
        peer.expected += 2920
        peer.window = 0
        peer.send(ACK)
        assert peer.segments() == []
        lan.clock.advance(SHORTEST_RTO + 1000)
        (probe,) = peer.segments()
        assert len(probe.payload) == 1
        peer.send(ACK)  # not taken
        peer.window = 60000
        peer.send(ACK)
        lan.wait(lambda: peer.take() and len(peer.received) == 25600)
        assert peer.received == bytes(range(256)) * 100


def test_window_scale(lan, listener):
    peer = Peer(lan, listener.getsockname()[1], window=1000, scale=7)
    answer = peer.open()
    assert answer.window_scale == 5 and answer.mss == 1460
    with accept(listener) as host:
        host.sendall(bytes(100_000))
        total = 0
        lan.network.poll()
        for _ in range(50):
            total += sum(len(segment.payload) for segment in peer.segments())
            lan.network.poll()
            if total == 100_000:
                break
        assert total == 100_000
        peer.expected += total
        peer.send(ACK)
        peer.send(ACK, b"q")
        answer = peer.segments()[-1]
        assert answer.window << 5 > 65535


def test_lost_segments_are_sent_again_in_virtual_time(lan, pair):
    peer, host = pair
    host.sendall(b"a" * 3000)
    lost = lan.wait(peer.segments)
    assert sum(len(segment.payload) for segment in lost) == 3000
    again = []
    for delay in (1, 2, 4):
        lan.clock.advance(delay * SHORTEST_RTO)
        again += peer.segments()
    assert [segment.sequence for segment in again] == [lost[0].sequence] * 3
    peer.expected += 1460
    peer.send(ACK)
    lan.wait(lambda: peer.take() and len(peer.received) == 1540)


def test_three_duplicates_ask_at_once(lan, pair):
    peer, host = pair
    host.sendall(b"a" * 3000)
    first = lan.wait(peer.segments)[0]
    for _ in range(3):
        peer.send(ACK)
    again, *_ = peer.segments()
    assert again.sequence == first.sequence and len(again.payload) == 1460


def test_a_guest_that_is_gone_is_given_up(lan, pair):
    peer, host = pair
    host.sendall(b"a" * 100)
    lan.wait(peer.segments)
    lan.clock.advance(600 * SECOND)
    assert peer.segments()[-1].flags & RST
    assert not lan.network.tcp.connections
    with pytest.raises(ConnectionResetError):
        host.recv(100)


def test_the_host_that_does_not_read_closes_the_window(lan, pair):
    peer, host = pair
    sent, window = 0, 65535
    for _ in range(5000):
        size = min(1400, window)
        if not size:
            break
        peer.send(ACK, bytes(size))
        sent += size
        answers = peer.segments()
        window = answers[-1].window if answers else window - size
    assert TO_HOST <= sent and window == 0
    peer.send(ACK, b"!")  # a probe
    answer = peer.segments()[-1]
    assert answer.window == 0 and answer.acknowledgement == peer.sequence - 1
    taken = 0
    updates = []
    while taken < sent:
        lan.network.poll()
        taken += len(host.recv(1 << 20))
        updates += peer.segments()
    assert updates and updates[-1].window > 0


def test_rst_from_either_side(lan, listener):
    for number in range(2):
        peer = Peer(lan, listener.getsockname()[1], own=6000 + number)
        peer.open()
        host = accept(listener)
        if number:
            peer.send(RST | ACK)
            with pytest.raises(ConnectionResetError):
                host.recv(10)
        else:
            host.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            host.close()
            assert lan.wait(peer.segments)[-1].flags & RST
        host.close()
        assert not lan.network.tcp.connections


def test_resets_and_syns_out_of_place(lan, pair):
    peer, host = pair
    peer.sequence += 10
    peer.send(RST)  # within the window but not next: a challenge
    assert peer.segments()[0].flags == ACK
    peer.sequence += 1_000_000
    peer.send(RST)
    assert peer.segments() == []
    peer.send(SYN)
    assert peer.segments()[0].flags == ACK
    assert len(lan.network.tcp.connections) == 1
    other = Peer(lan, peer.port, own=7000)
    other.send(ACK, b"who?")
    (answer,) = other.segments()
    assert answer.flags == RST and answer.sequence == other.expected


def test_out_of_order_and_old_data(lan, pair):
    peer, host = pair
    peer.sequence += 100
    peer.send(ACK, b"later")
    assert peer.segments()[0].acknowledgement == peer.sequence - 105
    peer.sequence -= 105
    peer.send(ACK, b"0123456789")
    peer.sequence -= 5
    peer.send(ACK, b"56789abcde")
    lan.network.poll()
    assert host.recv(100) == b"0123456789abcde"
    peer.sequence -= 15
    peer.send(ACK, b"0123456789")
    assert peer.segments()[-1].acknowledgement == peer.sequence + 5


def test_a_large_segment_of_the_guests_device(lan, pair):
    peer, host = pair
    data = bytes(range(250)) * 200
    segment = Tcp(peer.own, peer.port, peer.sequence, peer.expected, ACK, 65535, data)
    packet = Ipv4(GUEST, ROUTER, PROTOCOL_TCP, segment.pack(GUEST, ROUTER, whole=False))
    lan.network.send(MAC + GUEST_MAC + b"\x08\x00" + packet.pack())
    assert peer.segments() == []  # a wrong checksum
    lan.network.send(MAC + GUEST_MAC + b"\x08\x00" + packet.pack(), 1460)
    lan.network.poll()
    assert host.recv(len(data), socket.MSG_WAITALL) == data


def test_large_segments_for_a_device_that_takes_them(lan, listener):
    lan.network.segments_wanted = lambda: True
    peer = Peer(lan, listener.getsockname()[1], window=65535, scale=4)
    peer.open()
    with accept(listener) as host:
        host.sendall(bytes(70000))
        sizes = []
        while sum(sizes) < 70000:
            lan.network.poll()
            lan.clock.advance(50_000)
            while (waiting := lan.network.next_frame()) is not None:
                frame, size = waiting
                if len(frame) > 100:
                    sizes.append(len(frame) - 54)
                    assert size == (1460 if len(frame) > 1514 else 0)
                lan.network.frame_taken()
        assert max(sizes) > 1460 and all(size % 1460 == 0 or size < 65500 for size in sizes)


def test_the_hosts_data_waits_for_the_guest(lan, pair):
    """No more is read than the buffer takes, and the socket is left alone meanwhile."""
    peer, host = pair
    host.setblocking(False)
    try:
        while True:
            host.send(bytes(1 << 16))
            lan.network.poll()
    except BlockingIOError:
        pass
    (connection,) = lan.network.tcp.connections.values()
    assert connection.send_room() == 0 and len(connection._buffer) == SEND_BUFFER
    assert not lan.network.sockets.poll()


def forwarded(**more):
    return Lan(forwards=(Forward("tcp", "127.0.0.1", 0, "10.0.2.15", 22),), **more)


@pytest.mark.parametrize("restrict", [False, True])
def test_a_forward_into_the_guest(restrict):
    lan = forwarded(restrict=restrict)
    assert lan.network.waiting
    with socket.create_connection(lan.network.listening[0]) as host:
        host.settimeout(5)
        lan.wait(lambda: lan.network.tcp.connections)
        lan.answer_arp()
        peer = Peer(lan, 0, own=22)
        (syn,) = lan.wait(peer.segments)
        assert syn.flags == SYN and syn.mss == 1460 and syn.source_port == host.getsockname()[1]
        peer.port, peer.expected = syn.source_port, syn.sequence + 1
        peer.send(SYN | ACK, mss=1460)
        (answer,) = peer.segments()
        assert answer.flags == ACK
        peer.send(ACK, b"SSH-2.0")
        lan.network.poll()
        assert host.recv(100) == b"SSH-2.0"
        host.sendall(b"hello")
        lan.wait(lambda: peer.take() and peer.received == b"hello")
    lan.network.close()


def test_a_forward_that_the_guest_refuses():
    lan = forwarded()
    with socket.create_connection(lan.network.listening[0]) as host:
        host.settimeout(5)
        lan.wait(lambda: lan.network.tcp.connections)
        lan.answer_arp()
        peer = Peer(lan, 0, own=22)
        (syn,) = lan.wait(peer.segments)
        peer.port, peer.expected, peer.sequence = syn.source_port, syn.sequence + 1, 0
        peer.send(RST | ACK)
        with pytest.raises(ConnectionResetError):
            host.recv(1)
    lan.network.close()


def test_a_forward_without_a_guest_ends():
    lan = forwarded()
    with socket.create_connection(lan.network.listening[0]) as host:
        host.settimeout(5)
        lan.wait(lambda: lan.network.tcp.connections)
        lan.clock.advance(100 * SECOND)
        assert not lan.network.tcp.connections
        with pytest.raises(ConnectionResetError):
            host.recv(1)
    lan.network.close()


def test_restrict_lets_nothing_out(listener):
    lan = Lan(restrict=True)
    assert Peer(lan, listener.getsockname()[1]).open().flags == RST | ACK
    lan.network.close()


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "10.0.2.99", "10.0.2.3"])
def test_addresses_that_lead_nowhere(lan, listener, address):
    assert Peer(lan, listener.getsockname()[1], to=socket.inet_aton(address)).open().flags == RST | ACK
