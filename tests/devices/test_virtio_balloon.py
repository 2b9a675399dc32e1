"""The virtio balloon from the driver's side."""

from __future__ import annotations

import struct

import pytest
from virtio_driver import BUFFERS, VERSION_1, Driver

from x86emu.core.memory import PhysicalMemory
from x86emu.devices.virtio_balloon import VirtioBalloon

STATS, REPORTING = 1 << 1, 1 << 5
PAGE = 4096


@pytest.fixture
def released():
    return []


@pytest.fixture
def balloon(memory, released):
    return Driver(VirtioBalloon(lambda address, length: released.append((address, length))), memory)


def pages(*numbers):
    return struct.pack(f"<{len(numbers)}I", *numbers)


def test_inflate_and_deflate(balloon, released):
    balloon.start(VERSION_1, queue=0)
    assert balloon.request([pages(0x40, 0x41, 0x42, 0x50, 0x4F, 0x100)], [])[0] == 0
    assert released == [(0x40 * PAGE, 3 * PAGE), (0x4F * PAGE, 2 * PAGE)]  # 100h lies beyond memory
    balloon.put(0x2004, 4, 5)
    assert balloon.model.actual == 5 * PAGE
    balloon.setup_queue(1)
    del released[:]
    assert balloon.request([pages(0x40, 0x41)], [])[0] == 0 and not released


def test_the_target_is_a_configuration_change(balloon):
    balloon.start(VERSION_1)
    assert not balloon.level
    balloon.model.set_target(8 << 20)
    assert balloon.level and balloon.get(0x1000, 1) == 2 and balloon.get(0x2000, 4) == 2048


def test_statistics_are_told_when_asked_for(balloon, memory):
    balloon.start(VERSION_1 | STATS)
    balloon.setup_queue(2)
    assert not balloon.model.request_statistics()
    memory.write(BUFFERS, struct.pack("<HQHQHQ", 4, 1000, 5, 2000, 99, 7))
    balloon.describe(0, BUFFERS, 30)
    balloon.offer(0)
    balloon.notify()
    assert balloon.used() is None
    assert balloon.model.statistics == {"free_memory": 1000, "total_memory": 2000}
    assert balloon.model.request_statistics() and balloon.used() == (0, 0) and balloon.level
    assert not balloon.model.request_statistics()
    memory.write(BUFFERS + 2, struct.pack("<Q", 900))
    balloon.offer(0)
    balloon.notify()
    assert balloon.model.statistics["free_memory"] == 900


@pytest.mark.parametrize(("features", "queue"), [(STATS | REPORTING, 3), (REPORTING, 2)])
def test_free_pages_are_reported(balloon, memory, released, features, queue):
    balloon.start(VERSION_1 | features)
    balloon.setup_queue(queue)
    balloon.describe(0, 0x40000, 0x10000, 3, 1)
    balloon.describe(1, 0x60800, 0x1800, 2)
    balloon.offer(0)
    balloon.notify()
    assert balloon.used() == (0, 0)
    assert released == [(0x40000, 0x10000), (0x61000, 0x1000)] and balloon.model.reported == 0x11000
    state = balloon.function.save()
    balloon.put(0x14, 1, 0)
    balloon.function.load(state)
    assert balloon.model.reported == 0x11000


def test_released_pages_read_as_zeros_and_use_no_memory():
    memory = PhysicalMemory(16 << 20)
    memory.map(0, 8 << 20, 0, 0)
    memory.map(0x1_0000_0000, 8 << 20, 8 << 20, 8 << 20)
    memory.ram[:] = 0xA5
    before = resident()
    memory.release(0x10_0000, 4 << 20)
    assert before - resident() > 3 << 20
    memory.release(0x1_0000_1000, PAGE)
    memory.release(0x2_0000_0000, PAGE)  # nothing there
    assert not any(memory.read(0x10_0000, 4 << 20)) and not any(memory.read(0x1_0000_1000, PAGE))
    assert memory.read(0xF_FFFF, 1) == memory.read(0x50_0000, 1) == memory.read(0x1_0000_0FFF, 1) == b"\xa5"
    with pytest.raises(ValueError, match="whole pages"):
        memory.release(0x800, PAGE)


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * PAGE
