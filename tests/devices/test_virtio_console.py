"""The virtio console's ports and control queues from the driver's side (section 5.3.6)."""

from __future__ import annotations

import struct

import pytest
from virtio_driver import VERSION_1, WRITE, Driver

from x86emu.devices.virtio_console import ConsolePort, VirtioConsole

MULTIPORT = 1 << 1


class Rings(Driver):
    """A driver that uses several queues: each has rings and buffers of its own 64 KiB."""

    def __init__(self, model, memory):
        super().__init__(model, memory)
        self.states = {}

    def use(self, queue):
        base = 0x10000 * (queue + 1)
        if queue not in self.states:
            self.states[queue] = [0, 0]
            self.put(0x16, 2, queue)
            self.put(0x18, 2, 16)
            for offset, part in ((0x20, 0), (0x28, 0x2000), (0x30, 0x3000)):
                self.put(offset, 4, base + part)
                self.put(offset + 4, 4, 0)
            self.put(0x1C, 2, 1)
        return base, self.states[queue]

    def give(self, queue, data=None, length=64):
        """Offers one buffer: `data` for the device to read, or `length` bytes to write."""
        base, state = self.use(queue)
        slot = state[0] % 16
        at = base + 0x4000 + 0x100 * slot
        if data is not None:
            self.memory.write(at, data)
        self.memory.write(base + 16 * slot, struct.pack("<QIHH", at, length if data is None else len(data),
                                                        WRITE if data is None else 0, 0))  # fmt: skip
        self.memory.write(base + 0x2004 + 2 * slot, struct.pack("<H", slot))
        state[0] += 1
        self.memory.write(base + 0x2002, struct.pack("<H", state[0] & 0xFFFF))
        self.put(0x3000 + 4 * queue, 2, queue)

    def take(self, queue):
        """What the device has written into the next buffer that it gave back; None where there is none."""
        base, state = self.use(queue)
        if struct.unpack("<H", self.memory.read(base + 0x3002, 2))[0] == state[1] & 0xFFFF:
            return None
        slot, length = struct.unpack("<II", self.memory.read(base + 0x3004 + 8 * (state[1] % 16), 8))
        state[1] += 1
        return self.memory.read(base + 0x4000 + 0x100 * slot, length)

    def control(self, port, event, value):
        self.give(3, struct.pack("<IHH", port, event, value))

    def messages(self):
        found = []
        while (message := self.take(2)) is not None:
            found.append((*struct.unpack_from("<IHH", message), message[8:]))
        return found


@pytest.fixture
def sent():
    return [[], [], []]


@pytest.fixture
def console(memory, sent):
    ports = [ConsolePort(sent[0].append), ConsolePort(sent[1].append, "agent"), ConsolePort(sent[2].append)]
    driver = Rings(VirtioConsole(ports=ports), memory)
    driver.start(VERSION_1 | MULTIPORT, queue=99)  # queues are set up when they are used
    for _ in range(8):
        driver.give(2)
    driver.control(0xFFFF_FFFF, 0, 1)
    return driver


def test_ports_are_announced(console):
    assert console.get(0x2004, 4) == 3
    assert console.messages() == [(number, 1, 1, b"") for number in range(3)]
    console.control(0, 3, 1)
    assert console.messages() == [(0, 4, 1, b""), (0, 6, 1, b"")]  # a terminal, open at the host
    console.control(1, 3, 1)
    assert console.messages() == [(1, 7, 1, b"agent"), (1, 6, 1, b"")]
    console.control(3, 3, 1)  # no such port
    console.give(3, b"abc")  # no message
    assert console.messages() == []


def test_each_port_has_its_queues(console, sent):
    for queue, text in ((1, b"zero"), (5, b"one"), (7, b"two")):
        console.give(queue, text)
    assert sent == [[b"zero"], [b"one"], [b"two"]]
    console.give(0)
    console.give(6)
    console.model.receive(b"to zero")
    console.model.receive(b"to two", 2)
    assert console.take(0) == b"to zero" and console.take(6) == b"to two"


def test_a_named_port_waits_until_it_is_open(console):
    console.give(4)
    console.model.receive(b"hello", 1)
    assert console.take(4) is None
    state = console.function.save()
    console.control(1, 6, 1)
    assert console.take(4) == b"hello"
    console.control(1, 6, 0)
    console.give(4)
    console.model.receive(b"later", 1)
    assert console.take(4) is None
    console.function.load(state)
    assert bytes(console.model.ports[1].waiting) == b"hello"


def test_without_the_feature_there_is_one_port(memory, sent):
    driver = Rings(VirtioConsole(ports=[ConsolePort(sent[0].append, "named")]), memory)
    assert driver.offered() & MULTIPORT
    driver.start(VERSION_1, queue=99)  # queues are set up when they are used
    driver.give(1, b"text")
    driver.give(0)
    driver.model.receive(b"back")
    assert sent[0] == [b"text"] and driver.take(0) == b"back"


def test_one_terminal_alone_has_two_queues(memory):
    driver = Driver(VirtioConsole(), memory)
    assert not driver.offered() & MULTIPORT and driver.get(0x12, 2) == 2
