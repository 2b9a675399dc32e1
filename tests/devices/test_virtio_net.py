"""Virtio network from the driver's side: headers, offloads, mergeable buffers, filters, control queue."""

from __future__ import annotations

import random
import struct

import pytest
from cable import BROADCAST, OWN, PEER, Cable, check_tcp, frame, tcp_frame
from virtio_driver import EVENT_IDX, IO, VERSION_1, Driver

from x86emu.devices import virtio_net
from x86emu.devices.virtio_net import VirtioNet

RING, BUFFERS, BUFFER_BYTES = 0x10000, 0x40000, 0x20000
MRG, CSUM, TSO4, GUEST_CSUM, GUEST_TSO4 = 1 << 15, 1, 1 << 11, 1 << 1, 1 << 7
NEEDS_RESET = 0x40


class Queue:
    """One queue's rings in memory, four pages each."""

    def __init__(self, card, number):
        self.card, self.number, self.memory = card, number, card.memory
        self.base = RING + 0x4000 * number
        self.available = self.seen = 0
        self.size = 16
        card.put(0x16, 2, number)
        card.put(0x18, 2, self.size)
        for offset, address in ((0x20, 0), (0x28, 0x1000), (0x30, 0x2000)):
            card.put(offset, 4, self.base + address)
            card.put(offset + 4, 4, 0)
        card.put(0x1C, 2, 1)

    def offer(self, slot, parts):
        """A chain: (address, length, device writes) from descriptor `slot` on."""
        for index, (address, length, writes) in enumerate(parts):
            flags = (2 if writes else 0) | (1 if index < len(parts) - 1 else 0)
            entry = struct.pack("<QIHH", address, length, flags, slot + index + 1)
            self.memory.write(self.base + 16 * (slot + index), entry)
        self.memory.write(self.base + 0x1004 + 2 * (self.available % self.size), struct.pack("<H", slot))
        self.available += 1
        self.memory.write(self.base + 0x1002, struct.pack("<H", self.available & 0xFFFF))

    def notify(self):
        self.card.put(0x3000 + 4 * self.number, 2, self.number)

    def used(self):
        """(head, length) of all that came back since the last call."""
        (index,) = struct.unpack("<H", self.memory.read(self.base + 0x2002, 2))
        found = []
        while self.seen != index:
            at = self.base + 0x2004 + 8 * (self.seen % self.size)
            found.append(struct.unpack("<II", self.memory.read(at, 8)))
            self.seen = self.seen + 1 & 0xFFFF
        return found


class Card(Driver):
    def __init__(self, memory, features=None, takes_segments=False):
        self.cable = Cable(takes_segments)
        super().__init__(VirtioNet(self.cable, OWN), memory)
        self.model.kick = lambda: self.function.notify(0)
        self.model.config_changed = self.function.config_changed
        accepted = self.offered() & ~EVENT_IDX if features is None else features
        for status in (0, 1, 3):
            self.put(0x14, 1, status)
        for half in (0, 1):
            self.put(8, 4, half)
            self.put(0xC, 4, accepted >> 32 * half & 0xFFFF_FFFF)
        self.put(0x14, 1, 0xB)
        assert self.status == 0xB
        self.receive, self.transmit, self.control = (Queue(self, number) for number in range(3))
        self.put(0x14, 1, 0xF)

    def send(self, data, header=bytes(12)):
        self.memory.write(BUFFERS, header + data)
        self.transmit.offer(0, [(BUFFERS, len(header), False), (BUFFERS + len(header), len(data), False)])
        self.transmit.notify()
        assert self.transmit.used() == [(0, 0)]
        sent, self.cable.sent = self.cable.sent, []
        return sent

    def give(self, count, length):
        for slot in range(count):
            self.receive.offer(slot, [(BUFFERS + slot * 0x2000, length, True)])
        self.receive.notify()

    def received(self):
        return [self.memory.read(BUFFERS + head * 0x2000, length) for head, length in self.receive.used()]

    def command(self, group, command, data=b""):
        self.memory.write(BUFFERS + 0x80000, bytes((group, command)) + data)
        at = BUFFERS + 0x80000
        self.control.offer(0, [(at, 2, False), (at + 2, len(data), False), (at + 0x1000, 1, True)])
        self.control.notify()
        assert self.control.used() == [(0, 1)]
        return self.memory.read(at + 0x1000, 1)[0]


@pytest.fixture
def card(memory):
    return Card(memory)


def header(flags=0, kind=0, payload=0, size=0, start=0, offset=0):
    return struct.pack("<BBHHHHH", flags, kind, payload, size, start, offset, 0)


def test_identity_and_configuration(card):
    config = card.function.config
    assert struct.unpack_from("<HH", config) == (0x1AF4, 0x1000) and config[0x0B] == 2 and config[0x2E] == 1
    assert bytes(card.get(0x2000 + i, 1) for i in range(6)) == OWN
    assert card.get(0x2006, 2) == 1 and card.get(0x12, 2) == 3
    card.model.set_link(False)
    assert card.get(0x2006, 2) == 0 and card.level and card.get(0x1000, 1) == 2
    card.model.ask_to_announce()
    assert card.get(0x2006, 2) == 2
    assert card.command(virtio_net.ANNOUNCE, 0) == 0 and card.get(0x2006, 2) == 0


def test_transmit(card):
    data = frame(PEER, b"payload")
    assert card.send(data) == [(data, 0)]
    assert card.level
    card.model.set_link(False)
    assert card.send(data) == []


def test_a_checksum_left_to_the_card(card):
    whole, bare = (tcp_frame(b"some data", whole=whole) for whole in (True, False))
    assert whole != bare
    assert card.send(bare, header(flags=1, start=34, offset=16)) == [(whole, 0)]
    assert card.send(bare, header(flags=1, start=60, offset=16)) == []  # beyond the end


@pytest.mark.parametrize("vlan", [False, True])
@pytest.mark.parametrize("six", [False, True])
def test_segmentation(card, vlan, six):
    data = bytes(range(256)) * 20
    big = tcp_frame(data, whole=False, flags=0x19, vlan=vlan, six=six)
    sent = card.send(big, header(1, 4 if six else 1, 54, 1000, 34, 16))
    got, sequence = b"", 0xFFFFFF00
    for number, (piece, size) in enumerate(sent):
        assert size == 0 and len(piece) <= 1518
        at, flags, payload = check_tcp(piece)
        assert at == sequence and flags == (0x19 if number == len(sent) - 1 else 0x10)
        got += payload
        sequence = sequence + len(payload) & 0xFFFFFFFF
    assert got == data and len(sent) == 6


def test_a_cable_that_takes_segments(memory):
    card = Card(memory, takes_segments=True)
    big = tcp_frame(bytes(50000), whole=False)
    assert card.send(big, header(1, 1, 54, 1448, 34, 16)) == [(big, 1448)]


@pytest.mark.parametrize(
    ("data", "head"),
    [
        (frame(), header(1, 1, 54, 1000, 34, 16)),  # no TCP
        (tcp_frame(b"x" * 3000, whole=False), header(1, 4, 54, 1000, 34, 16)),  # not of IPv6
        (tcp_frame(b"x" * 3000, whole=False), header(1, 1, 54, 0, 34, 16)),
        (tcp_frame(b"x" * 3000, whole=False), header(1, 3, 54, 1000, 34, 16)),  # UDP was not offered
        (bytes(14), header(1, 1)),
        (bytes(2000), header()),  # larger than a frame
    ],
)
def test_frames_that_cannot_be_sent_are_dropped(card, data, head):
    assert card.send(data, head) == [] and card.status == 0xF


def test_too_short_and_too_long_chains(card):
    for length in (0, 5, 25, 0x20000):
        card.transmit.offer(0, [(BUFFERS, length, False)])
        card.transmit.notify()
    assert len(card.transmit.used()) == 4 and card.cable.sent == [] and card.status == 0xF


def test_receive(card):
    card.give(4, 0x1000)
    data = frame(payload=b"hello")
    card.cable.put(data)
    assert card.received() == [bytes(10) + b"\1\0" + data] and card.level


def test_frames_wait_for_buffers(card):
    for number in range(3):
        card.cable.put(frame(payload=bytes((number,))))
    assert len(card.cable.waiting) == 3 and not card.level
    card.give(2, 0x1000)
    assert [data[26] for data in card.received()] == [0, 1] and len(card.cable.waiting) == 1


def test_mergeable_buffers(card):
    card.give(3, 1000)
    data = frame(payload=bytes(range(250)) * 16)
    card.cable.put(data, 1460)
    assert card.receive.used() == [] and len(card.cable.waiting) == 1  # 3000 bytes are too few, and are kept
    for slot in (3, 4):
        card.receive.offer(slot, [(BUFFERS + slot * 0x2000, 1000, True)])
    card.receive.notify()
    parts = card.received()
    assert [len(part) for part in parts] == [1000] * 4 + [26]
    whole = b"".join(parts)
    assert struct.unpack_from("<H", whole, 10) == (5,) and whole[12:] == data


def test_without_mergeable_buffers(memory):
    card = Card(memory, VERSION_1)
    card.give(3, 500)
    card.cable.put(frame(payload=bytes(600)))
    card.cable.put(frame(payload=b"small"))
    assert [len(part) for part in card.received()] == [0, 72]  # the first did not fit and is lost


def test_large_segments_are_marked(card):
    assert card.model._segments_wanted()
    card.give(10, 0x2000)
    big = tcp_frame(bytes(20000), whole=False)
    card.cable.put(big, 1448)
    whole = b"".join(card.received())
    assert struct.unpack_from("<BBHHHHH", whole) == (1, 1, 54, 1448, 34, 16, 3) and whole[12:] == big
    assert card.command(virtio_net.GUEST_OFFLOADS, 0, (0).to_bytes(8, "little")) == 0
    assert not card.model._segments_wanted()
    assert card.command(virtio_net.GUEST_OFFLOADS, 0, (1 << 14).to_bytes(8, "little")) == 1
    card.cable.put(big, 1448)
    assert card.received() == [] and not card.cable.waiting


MULTICAST = bytes.fromhex("01005e000001")
ELSE = bytes.fromhex("525400999999")


def passes(card, destination, data=b"", kind=0x0800):
    card.give(1, 0x1000)
    card.cable.put(frame(destination, data, kind))
    got = card.received()
    if not got:  # take the buffer back by a frame that always passes
        card.model.modes, saved = {0}, card.model.modes
        card.model.vlans, vlans = None, card.model.vlans
        card.cable.put(frame())
        assert card.received()
        card.model.modes, card.model.vlans = saved, vlans
    return bool(got)


def test_receive_filters(card):
    everyone = (OWN, ELSE, MULTICAST, BROADCAST)
    assert all(passes(card, address) for address in everyone)
    assert card.command(virtio_net.RX, virtio_net.RX_PROMISC, b"\0") == 0
    assert [passes(card, address) for address in everyone] == [True, False, False, True]
    table = struct.pack("<I", 1) + ELSE + struct.pack("<I", 1) + MULTICAST
    assert card.command(virtio_net.MAC, 0, table) == 0
    assert all(passes(card, address) for address in everyone)
    assert card.command(virtio_net.MAC, 0, bytes(8)) == 0
    for mode, passing in ((1, MULTICAST), (2, ELSE)):
        assert not passes(card, passing)
        assert card.command(virtio_net.RX, mode, b"\1") == 0
        assert passes(card, passing)
    for mode, stopped in ((3, MULTICAST), (4, OWN), (5, BROADCAST)):
        assert card.command(virtio_net.RX, mode, b"\1") == 0
        assert not passes(card, stopped)


def test_mac_address_and_vlans(card):
    card.command(virtio_net.RX, virtio_net.RX_PROMISC, b"\0")
    assert card.command(virtio_net.MAC, 1, ELSE) == 0
    assert passes(card, ELSE) and not passes(card, OWN) and card.get(0x2000, 4) == int.from_bytes(ELSE[:4], "little")
    tagged = b"\x00\x05\x08\x00"
    assert passes(card, ELSE, tagged, 0x8100)
    assert card.command(virtio_net.VLAN, 0, struct.pack("<H", 6)) == 0
    assert not passes(card, ELSE, tagged, 0x8100)
    assert card.command(virtio_net.VLAN, 0, struct.pack("<H", 5)) == 0
    assert passes(card, ELSE, tagged, 0x8100)
    assert card.command(virtio_net.VLAN, 1, struct.pack("<H", 5)) == 0
    assert not passes(card, ELSE, tagged, 0x8100)


@pytest.mark.parametrize(
    ("group", "command", "data"),
    [(0, 9, b"\1"), (0, 0, b""), (1, 0, b"\1\0\0\0"), (1, 0, struct.pack("<I", 1 << 30) + bytes(12)), (1, 1, b"12345"),
     (2, 0, b"\0\x10"), (2, 3, b"\0\0"), (3, 5, b""), (4, 0, b"\1\0"), (9, 9, b"x")],
)  # fmt: skip
def test_bad_commands_are_refused(card, group, command, data):
    assert card.command(group, command, data) == 1 and card.status == 0xF


def test_the_legacy_interface(memory):
    """A header of ten bytes, and a hardware address that the driver may write."""
    card = Card(memory)
    card.ports.write(IO + 0x12, 1, 0)
    assert card.ports.read(IO, 4) & (1 << 5 | 1 << 15) == 1 << 5 | 1 << 15
    card.ports.write(IO + 4, 4, 1 << 5)
    for offset, value in enumerate(ELSE):
        card.ports.write(IO + 0x14 + offset, 1, value)
    assert bytes(card.ports.read(IO + 0x14 + i, 1) for i in range(6)) == ELSE
    for number in (0, 1):
        card.ports.write(IO + 0x0E, 2, number)
        assert card.ports.read(IO + 0x0C, 2) == 256
        card.ports.write(IO + 8, 4, 0x20 + 4 * number)
    card.ports.write(IO + 0x12, 1, 7)
    for base, writes, length in ((0x20000, 2, 100), (0x24000, 0, 10 + 60)):
        memory.write(base, struct.pack("<QIHH", BUFFERS + base, length, writes, 0))
        memory.write(base + 0x1000, struct.pack("<HHH", 0, 1, 0))
    memory.write(BUFFERS + 0x24000, bytes(10) + frame(PEER))
    for number in (0, 1):
        card.ports.write(IO + 0x10, 2, number)
    assert card.cable.sent == [(frame(PEER), 0)]
    card.cable.put(frame(ELSE, b"legacy"))
    assert memory.read(BUFFERS + 0x20000, 70) == bytes(10) + frame(ELSE, b"legacy")


def test_nobody_listens(memory):
    card = Card(memory)
    card.put(0x14, 1, 0)
    card.cable.put(frame())
    assert not card.cable.waiting


def test_a_receive_buffer_without_room_for_the_header(card):
    card.give(1, 8)
    card.cable.put(frame())
    assert card.status & NEEDS_RESET and "no room for the header" in card.function.problem


def test_save_and_load(card, memory):
    card.command(virtio_net.VLAN, 0, struct.pack("<H", 6))
    card.command(virtio_net.RX, 1, b"\1")
    state = card.function.save()
    other = Card(memory)
    other.function.load(state)
    assert other.model.vlans == {6} and other.model.modes == {0, 1} and other.function.save() == state


@pytest.mark.parametrize("seed", range(4))
def test_random_drivers(memory, seed):
    """Chains, headers and commands at random: the worst is a device that wants a reset."""
    rng = random.Random(seed)
    for _ in range(30):
        card = Card(memory, rng.choice((None, VERSION_1, VERSION_1 | MRG | CSUM | TSO4 | GUEST_CSUM | GUEST_TSO4)))
        for _ in range(30):
            queue = rng.choice((card.receive, card.transmit, card.control))
            memory.write(BUFFERS, rng.randbytes(200))
            if rng.random() < 0.7:
                memory.write(BUFFERS, header(rng.randrange(3), rng.choice((0, 1, 4, 0x81)), 54, rng.randrange(3000)))
                memory.write(BUFFERS + 12, tcp_frame(rng.randbytes(1000), whole=False, six=rng.random() < 0.3))
            parts = [
                (BUFFERS + rng.randrange(3) * 12, rng.choice((0, 1, 12, 66, 1078, 70000)), rng.random() < 0.5)
                for _ in range(rng.randrange(1, 4))
            ]
            queue.offer(rng.randrange(8), parts)
            queue.notify()
            if rng.random() < 0.3:
                card.cable.put(rng.randbytes(rng.choice((60, 1514))), 0)
