"""Intel 82540EM from its registers' side: EEPROM, PHY, rings, offloads, filters, interrupts, statistics."""

from __future__ import annotations

import binascii
import random
import struct

import pytest
from cable import BROADCAST, OWN, PEER, Cable, check_tcp, frame, tcp_frame

from x86emu.bus.clock import Clock
from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices import e1000_registers as regs
from x86emu.devices.e1000 import E1000

BASE, IO = 0xF000_0000, 0xC000
TX_RING, RX_RING, TX_DATA, RX_DATA = 0x10000, 0x18000, 0x20000, 0x40000
COUNT = 16
LINUX_RCTL = regs.RCTL_EN | regs.RCTL_BAM


class Floating:
    """Memory that reads as ones, and takes nothing, beyond its end."""

    requester_id = 0

    def __init__(self, memory):
        self.memory = memory

    def read(self, address, length):
        assert address < 1 << 64
        return self.memory.read(address, length).ljust(length, b"\xff")

    def write(self, address, data):
        assert address < 1 << 64
        self.memory.bytes[address : address + len(data)] = data[: max(len(self.memory.bytes) - address, 0)]


class Card:
    def __init__(self, memory, takes_segments=False):
        self.memory, self.clock, self.cable = memory, Clock(), Cable(takes_segments)
        self.ports, self.mmio = PortSpace(), MmioSpace()
        self.level = False
        bus = PciBus(self.ports, self.mmio, self._intx)
        self.function = E1000(self.cable, OWN, Floating(memory), self.clock)
        bus.add(self.function, 3)
        self.function.config_write(0x10, 4, BASE)
        self.function.config_write(0x18, 4, IO)
        self.function.config_write(4, 2, 7)
        self.rx_next = 0

    def _intx(self, pirq, level):
        self.level = level

    def get(self, register):
        return self.mmio.read(BASE + register, 4)

    def put(self, register, value):
        self.mmio.write(BASE + register, 4, value)

    def start(self, receive=LINUX_RCTL, buffers=COUNT - 1, interrupts=0x9D):
        self.put(regs.TDBAL, TX_RING)
        self.put(regs.TDLEN, COUNT * 16)
        self.put(regs.TCTL, regs.TCTL_EN | 8)
        self.put(regs.RDBAL, RX_RING)
        self.put(regs.RDLEN, COUNT * 16)
        for slot in range(COUNT):
            self.memory.write(RX_RING + 16 * slot, struct.pack("<QQ", RX_DATA + 0x1000 * slot, 0))
        self.put(regs.RDT, buffers)
        self.put(regs.RCTL, receive)
        self.put(regs.IMS, interrupts)
        return self

    def transmit(self, *descriptors):
        """Puts descriptors, each of (address, low, high), into the ring; what was sent."""
        tail = self.get(regs.TDT)
        for address, low, high in descriptors:
            self.memory.write(TX_RING + 16 * tail, struct.pack("<QII", address, low, high))
            tail = (tail + 1) % COUNT
        self.put(regs.TDT, tail)
        assert self.get(regs.TDH) == tail
        sent, self.cable.sent = self.cable.sent, []
        return sent

    def send(self, data, command=0x0B, low=0, high=0):
        """A legacy descriptor: end of packet, check sequence, report status."""
        self.memory.write(TX_DATA, data)
        return self.transmit((TX_DATA, command << 24 | low << 16 | len(data), high))

    def context(self, *, command=0x03, size=0, header=0, six=False):
        network, transport = 14, 54 if six else 34
        ip = network | network + 10 << 8 | transport - 1 << 16
        tcp = transport | transport + 16 << 8
        return ip | tcp << 32, (0x20 | command) << 24, header << 8 | size << 16

    def received(self):
        """(status, errors, special, data) of all that has come."""
        found = []
        while True:
            at = RX_RING + 16 * self.rx_next
            address, length, _, status, errors, special = struct.unpack("<QHHBBH", self.memory.read(at, 16))
            if not status & regs.RXD_DD:
                return found
            found.append((status, errors, special, self.memory.read(address, length)))
            self.memory.write(at + 8, bytes(8))
            self.rx_next = (self.rx_next + 1) % COUNT


@pytest.fixture
def card(memory):
    return Card(memory)


def test_identity_and_link(card):
    assert card.function.config[:4] == bytes.fromhex("86800e10") and card.function.config[0x0B] == 2
    assert card.get(regs.STATUS) & 0xC3 == 0x83
    card.put(regs.IMS, regs.LSC)
    card.function.set_link(False)
    assert not card.get(regs.STATUS) & regs.STATUS_LU and card.level
    assert card.get(regs.ICR) == regs.LSC and not card.level and card.get(regs.ICR) == 0


def test_eeprom_by_eerd(card):
    words = []
    for address in range(64):
        card.put(regs.EERD, address << 8 | regs.EERD_START)
        value = card.get(regs.EERD)
        assert value & regs.EERD_DONE
        words.append(value >> 16)
    assert sum(words) & 0xFFFF == 0xBABA and words[0x0A] >> 14 == 1 and words[0x0D:0x0F] == [0x100E, 0x8086]
    assert b"".join(word.to_bytes(2, "little") for word in words[:3]) == OWN
    assert card.get(regs.RAL).to_bytes(4, "little") + card.get(regs.RAL + 4).to_bytes(4, "little")[:2] == OWN
    assert card.get(regs.RAL + 4) & regs.RAH_VALID


def microwire(card, bits, out=0):
    """Clocks bits in, most significant first, then `out` bits out; the latter."""
    card.put(regs.EECD, regs.EECD_REQ)
    assert card.get(regs.EECD) & (regs.EECD_GNT | regs.EECD_PRES) == regs.EECD_GNT | regs.EECD_PRES
    card.put(regs.EECD, regs.EECD_REQ | regs.EECD_CS)
    value = 0
    for bit in bits + "0" * out:
        level = regs.EECD_REQ | regs.EECD_CS | (regs.EECD_DI if bit == "1" else 0)
        card.put(regs.EECD, level)
        card.put(regs.EECD, level | regs.EECD_SK)
        value = value << 1 | bool(card.get(regs.EECD) & regs.EECD_DO)
    card.put(regs.EECD, regs.EECD_REQ)
    card.put(regs.EECD, 0)
    return value & (1 << out) - 1


def test_eeprom_bit_by_bit(card):
    for address in (0, 1, 2, 0x3F):
        card.put(regs.EERD, address << 8 | regs.EERD_START)
        assert microwire(card, f"0110{address:06b}", 16) == card.get(regs.EERD) >> 16
    microwire(card, "101" + f"{5:06b}" + f"{0x1234:016b}")
    assert microwire(card, "110" + f"{5:06b}", 16) == 0  # writing was not enabled
    microwire(card, "100110000")
    microwire(card, "101" + f"{5:06b}" + f"{0x1234:016b}")
    assert microwire(card, "110" + f"{5:06b}", 16) == 0x1234
    microwire(card, "111" + f"{5:06b}")
    assert microwire(card, "110" + f"{5:06b}", 32) == 0xFFFF0000  # the following word too
    microwire(card, "100000000")
    microwire(card, "101" + f"{5:06b}" + f"{0:016b}")
    assert microwire(card, "110" + f"{5:06b}", 16) == 0xFFFF


def mdic(card, register, value=None, phy=1):
    operation = regs.MDIC_READ if value is None else regs.MDIC_WRITE
    card.put(regs.MDIC, operation | phy << 21 | register << 16 | (value or 0))
    assert card.get(regs.MDIC) & regs.MDIC_READY
    return card.get(regs.MDIC)


def test_phy(card):
    assert mdic(card, 2) & 0xFFFF == 0x0141 and mdic(card, 3) & 0xFFF0 == 0x0C20
    assert mdic(card, 1) & 0x24 == 0x24 and mdic(card, 17) & 0xAC00 == 0xAC00
    mdic(card, 4, 0x0061)
    assert mdic(card, 4) & 0xFFFF == 0x61
    mdic(card, 2, 0)
    assert mdic(card, 2) & 0xFFFF == 0x0141  # read-only
    mdic(card, 0, 0x9140)
    assert mdic(card, 4) & 0xFFFF == 0x01E1 and mdic(card, 0) & 0xFFFF == 0x1140  # reset, which ends by itself
    assert mdic(card, 2, phy=3) & regs.MDIC_ERROR
    card.function.set_link(False)
    assert not mdic(card, 1) & 4


def test_the_io_window(card):
    card.ports.write(IO, 4, regs.VET)
    assert card.ports.read(IO, 4) == regs.VET and card.ports.read(IO + 4, 4) == 0x8100
    card.ports.write(IO + 4, 4, 0x88A8)
    assert card.get(regs.VET) == 0x88A8 and card.mmio.read(BASE + regs.VET + 1, 1) == 0x88
    card.mmio.write(BASE + regs.VET, 2, 0)
    assert card.get(regs.VET) == 0x88A8  # only 32 bits at once
    card.ports.write(IO, 4, 0x7FFFFFFF)
    assert card.ports.read(IO + 4, 4) == 0


def test_legacy_transmit(card):
    card.start()
    data = frame(PEER, b"legacy")
    assert card.send(data) == [(data, 0)]
    assert card.memory.read(TX_RING + 12, 1)[0] & 1 and card.level and card.get(regs.ICR) & 3 == 3
    assert card.send(data[:20]) == [(data[:20].ljust(60, b"\0"), 0)]
    first, second = data[:30], data[30:]
    card.memory.write(TX_DATA, first)
    card.memory.write(TX_DATA + 0x1000, second)
    assert card.transmit((TX_DATA, 30, 0), (TX_DATA + 0x1000, 0x0B000000 | 30, 0)) == [(data, 0)]
    assert card.get(regs.GPTC) == 3 and card.get(regs.GPTC) == 0
    assert card.get(regs.GOTCL) == 192 and card.get(regs.GOTCL + 4) == 0 and card.get(regs.GOTCL) == 0
    assert card.get(regs.PTC64) == 3 and card.get(regs.TOTL) == 192


def test_legacy_checksum(card):
    card.start()
    bare, whole = (tcp_frame(b"some data", whole=whole) for whole in (False, True))
    assert card.send(bare, 0x0F, low=50, high=34 << 8) == [(whole, 0)]
    assert card.send(bare, 0x0F, low=250, high=34 << 8) == [(bare, 0)]  # beyond the end


def test_vlan_tag_insertion(card):
    card.start()
    data = frame(PEER, b"tag")
    card.put(regs.CTRL, regs.CTRL_SLU | regs.CTRL_VME)
    assert card.send(data, 0x4B, high=0x0005 << 16) == [(data[:12] + b"\x81\x00\x00\x05" + data[12:], 0)]


def test_extended_transmit_with_checksums(card):
    card.start()
    whole = tcp_frame(b"x" * 100, whole=True)
    bare = bytearray(tcp_frame(b"x" * 100, whole=False))
    bare[24:26] = b"\0\0"
    card.memory.write(TX_DATA, bytes(bare))
    data = (TX_DATA, 0x2B100000 | len(bare), 0x0300)
    assert card.transmit(card.context(), data) == [(whole, 0)]
    assert card.transmit(data) == [(whole, 0)]  # the context stays


@pytest.mark.parametrize("six", [False, True])
def test_segmentation(card, six):
    card.start()
    payload = bytes(range(256)) * 20
    big = tcp_frame(payload, whole=False, flags=0x19, six=six)
    header = 74 if six else 54
    card.memory.write(TX_DATA, big)
    context = card.context(command=0x05 if six else 0x07, size=1000, header=header, six=six)
    low = 0x2E100000
    sent = card.transmit(
        context, (TX_DATA, low | header, 0x0300), (TX_DATA + header, low | 1 << 24 | len(payload), 0x0300)
    )
    got, sequence = b"", 0xFFFFFF00
    for number, (piece, _) in enumerate(sent):
        at, flags, part = check_tcp(piece)
        assert at == sequence and flags == (0x19 if number == len(sent) - 1 else 0x10)
        got, sequence = got + part, sequence + len(part) & 0xFFFFFFFF
    assert got == payload and len(sent) == 6 and card.get(regs.TSCTC) == 1 and card.get(regs.GPTC) == 6


def test_segments_go_whole_where_the_cable_takes_them(memory):
    card = Card(memory, takes_segments=True).start()
    big = bytearray(tcp_frame(bytes(30000), whole=False))
    big[16:18] = b"\0\0"  # as Linux leaves the total length
    card.memory.write(TX_DATA, bytes(big))
    ((sent, size),) = card.transmit(card.context(command=0x07, size=1460, header=54),
                                    (TX_DATA, 0x2F100000 | len(big), 0x0300))  # fmt: skip
    assert size == 1460 and sent == tcp_frame(bytes(30000), whole=False) and card.get(regs.GPTC) == 21


@pytest.mark.parametrize(
    "context",
    [{"size": 0, "header": 54}, {"size": 100, "header": 20}, {"size": 100, "header": 255},
     {"size": 100, "header": 54, "command": 0x06}, {"size": 100, "header": 54, "command": 0x05}],
)  # fmt: skip
def test_segmentation_without_sound_headers_sends_nothing(card, context):
    card.start()
    card.memory.write(TX_DATA, tcp_frame(b"x" * 150, whole=False))
    given = {"command": 0x07, **context}
    assert card.transmit(card.context(**given), (TX_DATA, 0x2F100000 | 204, 0x0300)) == []


def test_receive(card):
    card.start()
    data = frame(payload=b"in")
    card.cable.put(data)
    assert card.level and card.get(regs.ICR) & regs.RXT0 and not card.level
    ((status, errors, _, got),) = card.received()
    assert status == regs.RXD_DD | regs.RXD_EOP | regs.RXD_IXSM and not errors
    assert got == data + binascii.crc32(data).to_bytes(4, "little")
    assert card.get(regs.GPRC) == 1 and card.get(regs.GORCL) == 64 and card.get(regs.TPR) == 1
    card.put(regs.RCTL, LINUX_RCTL | regs.RCTL_SECRC)
    card.cable.put(data)
    assert card.received()[0][3] == data


def test_frames_wait_for_descriptors(card):
    card.start(buffers=2)
    for number in range(4):
        card.cable.put(frame(payload=bytes((number,))))
    assert [data[14] for *_, data in card.received()] == [0, 1] and len(card.cable.waiting) == 2
    assert card.get(regs.TPR) == 2
    card.put(regs.RDT, 6)
    assert [data[14] for *_, data in card.received()] == [2, 3]


def test_a_frame_over_several_descriptors(card):
    card.start(LINUX_RCTL | 2 << 16)  # buffers of 512 bytes
    data = frame(payload=bytes(range(250)) * 5)
    card.cable.put(data)
    parts = card.received()
    assert [len(part[3]) for part in parts] == [512, 512, len(data) + 4 - 1024]
    assert [bool(part[0] & regs.RXD_EOP) for part in parts] == [False, False, True]
    assert b"".join(part[3] for part in parts)[:-4] == data


def test_the_threshold_interrupt(card):
    card.start(buffers=9, interrupts=regs.RXDMT0)
    for _ in range(2):
        card.cable.put(frame())
    assert card.level and card.get(regs.ICR) & regs.RXDMT0


def test_receive_checksums(card):
    card.start()
    card.put(regs.RXCSUM, regs.RXCSUM_IP | regs.RXCSUM_TCP)
    good = tcp_frame(b"1234", whole=True)
    bad = good[:-1] + b"5"
    worse = good[:20] + b"\xff" + good[21:]
    for data, status, errors in (
        (good, 0x60, 0), (bad, 0x60, regs.RXE_TCPE), (worse, 0x40, regs.RXE_IPE),
    ):  # fmt: skip
        card.cable.put(OWN + data[6:])
        ((got_status, got_errors, _, _),) = card.received()
        assert (got_status & 0x64, got_errors) == (status, errors)
    card.cable.put(frame(payload=b"", kind=0x0806))
    assert card.received()[0][0] & 0x64 == regs.RXD_IXSM


def test_filters(card):
    other, multicast = bytes.fromhex("525400999999"), bytes.fromhex("01005e7f1234")
    everyone = (OWN, other, multicast, BROADCAST)

    def passing():
        result = []
        for address in everyone:
            card.cable.put(frame(address))
            got = card.received()
            card.put(regs.RDT, (card.rx_next - 1) % COUNT)
            result.append(bool(got))
        return result

    card.start(regs.RCTL_EN)
    assert passing() == [True, False, False, False]
    for bits, expected in (
        (regs.RCTL_BAM, [True, False, False, True]), (regs.RCTL_UPE, [True, True, False, False]),
        (regs.RCTL_MPE, [True, False, True, True]),
    ):  # fmt: skip
        card.put(regs.RCTL, regs.RCTL_EN | bits)
        assert passing() == expected
    for offset, shift in enumerate((4, 3, 2, 0)):
        card.put(regs.RCTL, regs.RCTL_EN | offset << 12)
        hashed = (multicast[4] | multicast[5] << 8) >> shift & 0xFFF
        card.put(regs.MTA + 4 * (hashed >> 5), 1 << (hashed & 31))
        assert passing()[2]
        card.put(regs.MTA + 4 * (hashed >> 5), 0)
        assert not passing()[2]
    card.put(regs.RAL + 8, int.from_bytes(other[:4], "little"))
    card.put(regs.RAL + 12, int.from_bytes(other[4:], "little") | regs.RAH_VALID)
    assert passing()[1]


def test_vlan_filter_and_stripping(card):
    card.start(LINUX_RCTL | regs.RCTL_VFE)
    tagged = frame(payload=b"\x00\x25\x08\x00payload", kind=0x8100)
    card.cable.put(tagged)
    assert card.received() == []
    card.put(regs.VFTA + 4, 1 << 5)
    card.cable.put(tagged)
    assert card.received()[0][3][:60] == tagged
    card.put(regs.CTRL, regs.CTRL_VME)
    card.cable.put(tagged)
    ((status, _, special, data),) = card.received()
    assert status & regs.RXD_VP and special == 0x25 and data[12:21] == b"\x08\x00payload"


def test_interrupt_throttling(card):
    card.start()
    card.put(regs.ITR, 1000)  # 256 us
    card.clock.advance(1)
    card.cable.put(frame())
    assert card.level
    card.get(regs.ICR)
    card.cable.put(frame())
    assert not card.level
    card.clock.advance(255_000)
    assert not card.level
    card.clock.advance(1_000)
    assert card.level


def test_receive_and_transmit_delays(card):
    card.start()
    card.put(regs.RDTR, 10)
    card.put(regs.RADV, 15)
    card.cable.put(frame())
    card.clock.advance(8 * 1024)
    assert not card.level
    card.cable.put(frame())  # begins the delay anew, but the absolute one goes on
    card.clock.advance(6 * 1024)
    assert not card.level
    card.clock.advance(1024)
    assert card.level and card.get(regs.ICR) == regs.RXT0
    card.cable.put(frame())
    card.put(regs.RDTR, regs.FLUSH_PARTIAL)
    assert card.level
    card.get(regs.ICR)
    card.put(regs.IMC, regs.TXQE)
    card.put(regs.TIDV, 20)
    card.send(frame(PEER), 0x8B)
    assert not card.level
    card.clock.advance(20 * 1024)
    assert card.level and card.get(regs.ICR) & regs.TXDW


def test_mask_set_and_clear(card):
    card.put(regs.ICS, regs.TXDW | regs.RXT0)
    assert not card.level and card.get(regs.IMS) == 0
    card.put(regs.IMS, regs.RXT0)
    assert card.level and card.get(regs.IMS) == regs.RXT0
    card.put(regs.IMC, regs.RXT0)
    assert not card.level
    card.put(regs.IMS, 0xFFFF_FFFF)
    card.put(regs.ICR, regs.TXDW | regs.RXT0)
    assert not card.level and card.get(regs.ICR) == 0


def test_reset(card):
    card.start()
    card.cable.put(frame())
    card.put(regs.CTRL, regs.CTRL_RST)
    assert not card.level and card.get(regs.RCTL) == 0 and card.get(regs.IMS) == 0 and card.get(regs.GPRC) == 0
    assert card.get(regs.CTRL) == regs.CTRL_FD and card.get(regs.RAL + 4) & regs.RAH_VALID
    card.cable.put(frame())
    assert not card.cable.waiting  # nobody listens


def test_without_bus_mastering_nothing_moves(card):
    card.start()
    card.function.config_write(4, 2, 3)
    card.cable.put(frame())
    card.memory.write(TX_RING, struct.pack("<QII", TX_DATA, 0x0B000000 | 60, 0))
    card.put(regs.TDT, 1)
    assert len(card.cable.waiting) == 1 and card.cable.sent == [] and card.get(regs.TDH) == 0


def test_save_and_load(card, memory):
    card.start()
    card.put(regs.ITR, 1000)
    card.cable.put(frame())
    card.get(regs.ICR)
    card.cable.put(frame())
    other = Card(memory)
    other.function.load(card.function.save())
    assert other.function.save() == card.function.save() and not other.level
    other.clock.advance(300_000)
    assert other.level


@pytest.mark.parametrize("seed", range(4))
def test_random_registers_and_descriptors(memory, seed):
    rng = random.Random(seed)
    card = Card(memory).start()
    known = [*regs.PLAIN, regs.CTRL, regs.EECD, regs.EERD, regs.MDIC, regs.ICS, regs.IMS, regs.IMC, regs.RCTL,
             regs.RDT, regs.TDT, regs.TDT, regs.TDT, regs.RDT, regs.RAL, regs.MTA]  # fmt: skip
    for step in range(2500):
        choice = rng.randrange(10)
        if choice < 3:
            memory.write(rng.choice((TX_RING, RX_RING)) + 16 * rng.randrange(COUNT), rng.randbytes(16))
        elif choice == 3:
            network, command = rng.randrange(40), rng.randrange(256)
            low = command << 24 | rng.randrange(2) << 20 | rng.randrange(3000)
            entry = struct.pack("<QII", network | rng.getrandbits(56) << 8, low, rng.getrandbits(32))
            memory.write(TX_RING + 16 * rng.randrange(COUNT), entry)
            memory.write(TX_DATA, tcp_frame(rng.randbytes(500), whole=False))
        elif choice == 4:
            card.cable.put(rng.randbytes(rng.choice((14, 60, 1514))))
        elif choice == 5:
            card.mmio.read(BASE + rng.randrange(0, 0x20000), rng.choice((1, 2, 4, 8)))
        elif choice == 6:
            card.clock.advance(rng.randrange(100_000))
        elif step % 100 == 0:
            card.start()
        else:
            card.put(rng.choice(known), rng.choice((rng.getrandbits(32), rng.randrange(COUNT), 0)))
