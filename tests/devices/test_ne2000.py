"""NE2000 from its registers' side: address PROM, remote DMA, the receive ring and its wrap, filters, interrupts."""

from __future__ import annotations

import binascii
import random

import pytest
from cable import BROADCAST, OWN, PEER, Cable, frame

from x86emu.bus.clock import Clock
from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.ethernet import hash_crc
from x86emu.devices.ne2000 import Ne2000Pci

BASE = 0xC000
CR, DATA, RESET = BASE, BASE + 0x10, BASE + 0x1F
PSTART, PSTOP, BNRY, TPSR, TBCR, ISR, RSAR, RBCR, RCR, TCR, DCR, IMR = (
    BASE + offset for offset in (1, 2, 3, 4, 5, 7, 8, 10, 12, 13, 14, 15)
)
CURR = BASE + 7  # of page 1
FIRST, END, SEND_PAGE = 0x4C, 0x60, 0x40


class Card:
    def __init__(self, started=True):
        self.cable = Cable()
        self.ports = PortSpace()
        self.level = False
        bus = PciBus(self.ports, MmioSpace(), self._intx)
        self.clock = Clock()
        self.function = Ne2000Pci(self.cable, OWN, self.clock)
        bus.add(self.function, 3)
        self.function.config_write(0x10, 4, BASE)
        self.function.config_write(4, 2, 5)
        if started:
            self.start()

    def _intx(self, pirq, level):
        self.level = level

    def put(self, port, value, size=1):
        self.ports.write(port, size, value)

    def get(self, port, size=1):
        return self.ports.read(port, size)

    def start(self, receive=0x04):
        self.put(CR, 0x21)
        for port, value in (
            (DCR, 0x49), (RBCR, 0), (RBCR + 1, 0), (RCR, receive), (TCR, 0), (BNRY, FIRST), (PSTART, FIRST),
            (PSTOP, END), (ISR, 0xFF), (IMR, 0x7F),
        ):  # fmt: skip
            self.put(port, value)
        self.put(CR, 0x61)
        for index, byte in enumerate(OWN):
            self.put(BASE + 1 + index, byte)
        self.put(CURR, FIRST + 1)
        self.put(CR, 0x22)

    def come(self, *frames):
        """Frames on the cable, each with its time."""
        for data in frames:
            self.cable.put(data)
            self.clock.advance(200_000)

    def page1(self, port, value=None):
        self.put(CR, 0x62)
        if value is not None:
            self.put(port, value)
        result = self.get(port)
        self.put(CR, 0x22)
        return result

    def dma(self, address, count, command):
        for port, value in ((RBCR, count & 0xFF), (RBCR + 1, count >> 8), (RSAR, address & 0xFF),
                            (RSAR + 1, address >> 8), (CR, command)):  # fmt: skip
            self.put(port, value)

    def fetch(self, address, count, size=2):
        self.dma(address, count, 0x0A)
        if size == 1:
            return bytes(self.get(DATA) for _ in range(count))
        return self.ports.read_block(DATA, size, count // size)

    def store(self, address, data, size=2):
        self.dma(address, len(data), 0x12)
        assert self.ports.write_block(DATA, size, data) == len(data) // size

    def take(self):
        """The next frame of the ring as a driver takes it: (status, frame with its check sequence)."""
        page = self.get(BNRY) + 1
        page = FIRST if page == END else page
        assert page != self.page1(CURR)
        status, following, low, high = self.fetch(page * 256, 4)
        length = low | high << 8
        data = self.fetch(page * 256 + 4, (length + 3) & ~3, 4)[:length]
        self.put(BNRY, FIRST + (following - 1 - FIRST) % (END - FIRST))
        return status, data


@pytest.fixture
def card():
    return Card()


def test_identity():
    card = Card(started=False)
    assert card.function.config[:4] == bytes.fromhex("ec102980") and card.function.config[0x0B] == 2
    assert card.get(BASE + 10) == 0x50 and card.get(BASE + 11) == 0x43
    assert card.get(ISR) & 0x80 and card.get(CR) & 1


def test_the_address_prom(card):
    """Each byte is there twice; in word mode a byte access moves a word."""
    prom = card.fetch(0, 32)
    assert prom[:12] == bytes(byte for byte in OWN for _ in range(2)) and prom[28:] == b"WWWW"
    card.dma(0, 32, 0x0A)
    assert bytes(card.get(DATA) for _ in range(6)) == OWN
    card.put(DCR, 0x48)
    assert card.fetch(0, 12, 1) == prom[:12]
    assert card.get(ISR) & 0x40


@pytest.mark.parametrize("size", [2, 4])
def test_remote_dma(card, size):
    data = bytes(range(256)) * 2
    card.put(ISR, 0x40)
    card.store(0x4000, data, size)
    assert card.get(ISR) & 0x40 and card.level
    card.put(ISR, 0x40)
    assert not card.level
    assert card.fetch(0x4000, 512, size) == data
    assert card.get(BASE + 8) | card.get(BASE + 9) << 8 == 0x4200  # where the DMA is
    card.store(0x3F00, data, size)  # the half below the memory goes nowhere
    assert card.fetch(0x4000, 256) == data[256:] and card.fetch(0x3F00, 256) == b"\xff" * 256


def test_dma_wraps_with_the_ring(card):
    card.store(FIRST * 256, b"begin...")
    card.store(END * 256 - 8, b"the end.")
    assert card.fetch(END * 256 - 8, 16, 4) == b"the end.begin..."
    card.dma(END * 256 - 4, 8, 0x0A)
    assert b"".join(card.get(DATA, 2).to_bytes(2, "little") for _ in range(4)) == b"end.begi"


def test_transmit(card):
    data = frame(PEER, b"out")
    card.store(SEND_PAGE * 256, data)
    card.put(TPSR, SEND_PAGE)
    card.put(TBCR, len(data))
    card.put(TBCR + 1, 0)
    card.put(ISR, 0xFF)
    card.put(CR, 0x26)
    assert card.cable.sent == [(data, 0)] and card.get(ISR) == 2 and card.level
    assert card.get(BASE + 4) & 1 and not card.get(CR) & 4
    card.put(TCR, 2)  # loopback: it does not leave the card
    card.put(CR, 0x26)
    for length in (5, 2000, 65535):
        card.put(TCR, 0)
        card.put(TBCR, length & 0xFF)
        card.put(TBCR + 1, length >> 8)
        card.put(CR, 0x26)
    assert len(card.cable.sent) == 1


def test_receive(card):
    data = frame(payload=b"in")
    card.come(data)
    assert card.level and card.get(ISR) & 1 and card.get(BASE + 12) & 1
    status, got = card.take()
    assert status == 1 and got == data + binascii.crc32(data).to_bytes(4, "little")
    card.come(frame(BROADCAST))
    assert card.take()[0] == 0x21


def test_the_ring_wraps_and_frames_wait_for_room(card):
    rng = random.Random(1)
    frames = [frame(payload=rng.randbytes(rng.choice((0, 200, 494, 750, 1500)))) for _ in range(200)]
    card.come(*frames)
    assert len(card.cable.waiting) > 190
    card.put(ISR, 1)  # a driver that acknowledges after having looked
    assert not card.level
    card.clock.advance(200_000)
    assert card.level
    for data in frames:
        card.clock.advance(200_000)
        assert card.take()[1] == data + binascii.crc32(data).to_bytes(4, "little")
    assert not card.cable.waiting and card.page1(CURR) == (card.get(BNRY) + 1 - FIRST) % (END - FIRST) + FIRST


def test_send_packet_command(card):
    """The remote DMA takes the frame's place and length from the ring and moves the boundary on."""
    data = frame(payload=b"auto")
    card.put(BNRY, FIRST)
    card.put(BNRY, FIRST + 1)
    card.page1(CURR, FIRST + 1)
    card.put(BNRY, FIRST)
    card.cable.put(data)
    card.put(BNRY, FIRST + 1)
    card.put(CR, 0x1A)
    got = card.ports.read_block(DATA, 2, 32)
    assert got[2:4] == b"\x40\0" and got[4:] == data
    assert card.get(BNRY) == FIRST + 2


def received(card, destination):
    before = card.page1(CURR)
    card.come(frame(destination))
    if card.page1(CURR) == before:
        return False
    card.take()
    return True


def test_filters(card):
    other, multicast = bytes.fromhex("525400999999"), bytes.fromhex("01005e000001")
    everyone = (OWN, other, multicast, BROADCAST)
    for receive, passing in (
        (0x00, [True, False, False, False]), (0x04, [True, False, False, True]), (0x10, [True, True, False, False]),
        (0x08, [True, False, False, False]),
    ):  # fmt: skip
        card.put(RCR, receive)
        assert [received(card, address) for address in everyone] == passing
    index = hash_crc(multicast) >> 26
    card.page1(BASE + 8 + (index >> 3), 1 << (index & 7))
    card.put(RCR, 0x08)
    assert received(card, multicast)
    card.put(RCR, 0x24)  # monitor: counted only
    assert not received(card, OWN) and not card.cable.waiting
    assert card.get(BASE + 15) == 1 and card.get(BASE + 15) == 0
    card.come(*[frame()] * 0x80)
    assert card.get(ISR) & 0x20


def test_the_crc_hash():
    """The check sequence of an address, most significant bit first, by its definition (IEEE 802.3, 3.2.9)."""
    for address in (OWN, BROADCAST, bytes(6)):
        crc = 0xFFFFFFFF
        for byte in address:
            for bit in range(8):
                crc = crc << 1 & 0xFFFFFFFF ^ (0x04C11DB7 if (crc >> 31) ^ (byte >> bit & 1) else 0)
        assert hash_crc(address) == crc


def test_a_command_without_start_or_stop_leaves_it_running(card):
    card.put(CR, 0x60)
    card.cable.put(frame())
    assert card.get(CURR) == FIRST + 2 and card.get(CR) == 0x62


def test_stopped_and_reset(card):
    card.put(CR, 0x21)
    assert card.get(ISR) & 0x80
    card.cable.put(frame())
    assert not card.cable.waiting  # nobody listens
    card.put(CR, 0x22)
    assert not card.get(ISR) & 0x80
    card.get(RESET)
    assert card.get(CR) == 0x21 and card.get(ISR) == 0x80 and not card.level


def test_save_and_load(card):
    card.cable.put(frame(payload=b"kept"))
    other = Card()
    other.function.load(card.function.save())
    assert other.level and other.take()[1][14:18] == b"kept"


@pytest.mark.parametrize("seed", range(4))
def test_random_accesses(seed):
    rng = random.Random(seed)
    card = Card()
    for _ in range(3000):
        port, size = BASE + rng.randrange(32), rng.choice((1, 1, 2, 4))
        choice = rng.randrange(8)
        if choice == 0:
            card.come(rng.randbytes(rng.choice((60, 1514))))
        elif choice == 1:
            card.ports.read_block(DATA, size, rng.randrange(100))
        elif choice == 2:
            card.ports.write_block(DATA, size, rng.randbytes(size * rng.randrange(100)))
        elif choice < 5:
            card.get(port & ~(size - 1), size)
        else:
            card.put(port & ~(size - 1), rng.getrandbits(8 * size), size)
