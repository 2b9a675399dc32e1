import pytest

from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.bus.spaces import (
    MmioSpace,
    PortSpace,
    core_mmio_read,
    core_mmio_write,
    core_port_read,
    core_port_read_block,
    core_port_write,
    core_port_write_block,
)
from x86emu.errors import BusError


class Bytes:
    """Byte registers that remember how they were reached."""

    def __init__(self, length: int) -> None:
        self.data = bytearray(range(length))
        self.log: list[tuple[object, ...]] = []

    def read(self, offset: int, size: int) -> int:
        self.log.append(("r", offset, size))
        return int.from_bytes(self.data[offset : offset + size], "little")

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("w", offset, size, value))
        self.data[offset : offset + size] = value.to_bytes(size, "little")


@pytest.mark.parametrize("space", [PortSpace(), MmioSpace()])
def test_unclaimed_addresses_float(space: PortSpace | MmioSpace) -> None:
    assert [space.read(0x80, size) for size in (1, 2, 4, 8)] == [0xFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF]
    space.write(0x80, 1, 0)
    assert space.statistics() == {"unclaimed": (4, 1)}


@pytest.mark.parametrize("kind", [PortSpace, MmioSpace])
def test_offsets_sizes_and_counts(kind: type[PortSpace | MmioSpace]) -> None:
    space, device = kind(), Bytes(8)
    region = space.map(0x3F8, 8, device.read, device.write, "uart")
    assert space.read(0x3FA, 2) == 0x0302
    space.write(0x3F8, 4, 0x1_1234_5678)  # bits beyond the width are not on the bus
    assert device.log == [("r", 2, 2), ("w", 0, 4, 0x12345678)]
    assert (region.reads, region.writes) == (1, 1)
    assert space.region_at(0x3FF) is region and space.region_at(0x400) is None


def test_wide_access_is_split_for_a_narrow_device() -> None:
    space, device = PortSpace(), Bytes(8)
    space.map(0x40, 8, device.read, device.write, "bytes", sizes=(1,))
    assert space.read(0x42, 4) == 0x05040302
    assert device.log == [("r", 2, 1), ("r", 3, 1), ("r", 4, 1), ("r", 5, 1)]
    device.log.clear()
    space.write(0x40, 2, 0xBBAA)
    assert device.log == [("w", 0, 1, 0xAA), ("w", 1, 1, 0xBB)]


def test_split_takes_the_widest_that_fits_and_narrow_accesses_pass() -> None:
    space, device = MmioSpace(), Bytes(16)
    space.map(0xFED00000, 16, device.read, device.write, "dwords", sizes=(4,))
    assert space.read(0xFED00008, 8) == 0x0F0E0D0C0B0A0908
    assert space.read(0xFED00003, 1) == 3
    assert device.log == [("r", 8, 4), ("r", 12, 4), ("r", 3, 1)]


def test_access_over_the_end_of_a_range_goes_byte_by_byte() -> None:
    space, low, high = PortSpace(), Bytes(2), Bytes(2)
    space.map(0x60, 2, low.read, low.write, "low")
    space.map(0x63, 2, high.read, high.write, "high")
    assert space.read(0x61, 4) == 0x0100FF01
    space.write(0x62, 2, 0x5566)
    assert high.data[0] == 0x55
    assert core_free_wrap(space) == 0xFFFF


def core_free_wrap(space: PortSpace) -> int:
    return space.read(0xFFFF, 2)


def test_overlap_is_refused_with_a_sentence() -> None:
    space = PortSpace()
    space.map(0x3F8, 8, None, None, "COM1")
    with pytest.raises(BusError, match="printer at 0x3fc..0x403 overlaps COM1 at 0x3f8..0x3ff"):
        space.map(0x3FC, 8, None, None, "printer")
    with pytest.raises(BusError, match="cannot be mapped"):
        space.map(0xFFFF, 2, None, None, "beyond")
    with pytest.raises(BusError, match="3 bytes"):
        space.map(0x10, 2, None, None, "odd", sizes=(3,))
    with pytest.raises(BusError, match="access of 3 bytes"):
        space.read(0, 3)


@pytest.mark.parametrize("kind", [PortSpace, MmioSpace])
def test_moved_region_waits_in_the_shadow_of_another(kind: type[PortSpace | MmioSpace]) -> None:
    space, one, two = kind(), Bytes(16), Bytes(16)
    a = space.map(0x1000, 16, one.read, one.write, "a")
    b = space.map(0x2000, 16, two.read, two.write, "b")
    assert not space.move(b, 0x1008)
    assert space.read(0x1008, 1) == 8 and one.log and not two.log
    assert space.read(0x2000, 1) == 0xFF
    assert space.move(a, 0x3000)  # frees 1008h for b
    assert b.mapped and space.read(0x100F, 1) == 7
    space.unmap(b)
    assert space.read(0x100F, 1) == 0xFF
    assert space.move(b, 0x2000)
    assert space.regions_by_address() == [b, a]
    assert not space.move(a, space.limit - 8)
    assert not a.mapped


def test_last_hit_does_not_outlive_an_unmap() -> None:
    space, device = MmioSpace(), Bytes(4)
    region = space.map(0x1000, 4, device.read, device.write, "x")
    assert space.read(0x1001, 1) == 1
    space.unmap(region)
    assert space.read(0x1001, 1) == 0xFF


def test_blocks_go_by_buffer_and_what_is_left_by_element() -> None:
    space, device = PortSpace(), Bytes(8)
    taken = []

    def read_block(offset: int, size: int, count: int) -> bytes:
        return b"\x11\x22" * (count - 1)

    def write_block(offset: int, size: int, data: bytes) -> int:
        taken.append(data)
        return len(data) // size - 1

    space.map(0x1F0, 8, device.read, device.write, "ide", read_block=read_block, write_block=write_block)
    assert space.read_block(0x1F0, 2, 3) == b"\x11\x22\x11\x22\x00\x01"
    assert space.write_block(0x1F0, 2, b"abcd") == 2
    assert taken == [b"abcd"] and device.log == [("r", 0, 2), ("w", 0, 2, int.from_bytes(b"cd", "little"))]


def test_block_without_handler_repeats_the_element() -> None:
    space, device = PortSpace(), Bytes(1)
    space.map(0x402, 1, lambda offset, size: 0xE9, device.write, "debugcon")
    assert space.read_block(0x402, 1, 4) == b"\xe9" * 4
    assert space.write_block(0x402, 1, memoryview(b"hello")) == 5
    assert bytes(entry[3] for entry in device.log) == b"hello"  # type: ignore[arg-type]


def test_core_goes_through_the_same_handlers() -> None:
    wiring = Wiring()
    ports, mmio = PortSpace(wiring), MmioSpace(wiring)
    device = Bytes(8)
    ports.map(0x70, 8, device.read, device.write, "p")
    mmio.map(0xFEC00000, 8, device.read, device.write, "m")
    assert core_port_read(wiring, 0x71, 2) == 0x0201
    core_port_write(wiring, 0x70, 1, 0xAB)
    assert core_mmio_read(wiring, 0xFEC00000, 4) == 0x030201AB
    core_mmio_write(wiring, 0xFEC00004, 4, 0)
    assert core_port_read_block(wiring, 0x71, 1, 3) == b"\x01\x01\x01"
    assert core_port_write_block(wiring, 0x77, 1, b"xyz") == 3
    assert device.data == b"\xab\x01\x02\x03\x00\x00\x00z"


def test_exception_in_a_handler_stops_the_run_and_is_kept() -> None:
    wiring = Wiring()
    signals = CpuSignals()
    wiring.add_processor(signals)
    ports, mmio = PortSpace(wiring), MmioSpace(wiring)

    def broken(offset: int, size: int) -> int:
        raise RuntimeError("first")

    def broken_write(offset: int, size: int, value: int) -> None:
        raise RuntimeError("second")

    ports.map(0x10, 1, broken, broken_write, "broken")
    mmio.map(0x10, 1, broken, broken_write, "broken")
    assert core_port_read(wiring, 0x10, 1) == 0xFF
    assert wiring.stop
    core_port_write(wiring, 0x10, 1, 0)
    core_mmio_write(wiring, 0x10, 1, 0)
    assert core_mmio_read(wiring, 0x10, 1) == 0xFF
    assert core_port_read_block(wiring, 0x10, 1, 5) == b"\xff"
    assert core_port_write_block(wiring, 0x10, 1, b"12345") == 1
    assert str(wiring.exception) == "first"
    with pytest.raises(RuntimeError, match="first"):
        ports.read(0x10, 1)


def test_block_ends_when_the_run_is_to_stop() -> None:
    wiring = Wiring()
    ports = PortSpace(wiring)
    written = []

    def write(offset: int, size: int, value: int) -> None:
        written.append(value)
        if value == 2:
            wiring.request_stop()

    ports.map(0x501, 1, None, write, "exit")
    assert core_port_write_block(wiring, 0x501, 1, bytes([1, 2, 3])) == 2
    assert written == [1, 2]


def test_handler_may_unmap_itself() -> None:
    wiring = Wiring()
    ports = PortSpace(wiring)
    region = ports.map(0x92, 1, lambda offset, size: 0, lambda offset, size, value: ports.unmap(region), "once")
    core_port_write(wiring, 0x92, 1, 1)
    assert core_port_read(wiring, 0x92, 1) == 0xFF
