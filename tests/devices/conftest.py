"""Fixtures for device tests: a clock that only the test moves, and interrupt lines that remember their edges."""

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine


class EdgeCounter:
    """An interrupt sink that counts rising edges by line number."""

    def __init__(self):
        self.rises = {}
        self.levels = {}

    def set_irq(self, number, level):
        self.levels[number] = level
        if level:
            self.rises[number] = self.rises.get(number, 0) + 1


class Memory:
    """Guest memory behind a DMA port."""

    requester_id = 0

    def __init__(self, size=1 << 20):
        self.bytes = bytearray(size)
        self.changes = []

    def read(self, address, length):
        return bytes(self.bytes[address : address + length])

    def write(self, address, data):
        self.bytes[address : address + len(data)] = data

    def buffer(self, address, length):
        return memoryview(self.bytes)[address : address + length] if address + length <= len(self.bytes) else None

    def changed(self, address, length):
        self.changes.append((address, length))


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def edges():
    return EdgeCounter()


@pytest.fixture
def irq(edges):
    return IrqLine(edges, 0, "irq")


@pytest.fixture
def memory():
    return Memory()
