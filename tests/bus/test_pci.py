import pytest

from x86emu.bus.dma import MemoryDma
from x86emu.bus.pci import Bar, FunctionDma, PciBus, PciFunction
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.errors import BusError


class Registers:
    def __init__(self) -> None:
        self.writes: list[tuple[int, int, int]] = []

    def read(self, offset: int, size: int) -> int:
        return 0x5A

    def write(self, offset: int, size: int, value: int) -> None:
        self.writes.append((offset, size, value))


class Board:
    def __init__(self) -> None:
        self.ports, self.mmio = PortSpace(), MmioSpace()
        self.lines: list[tuple[int, bool]] = []
        self.below = Registers()
        self.bus = PciBus(
            self.ports,
            self.mmio,
            lambda pirq, level: self.lines.append((pirq, level)),
            swizzle=-1,
            port_below=(self.below.read, self.below.write),
        )
        self.ports.map(0xCF8, 8, self.bus.read, self.bus.write, "pci")
        self.device = Registers()
        self.function = PciFunction(
            "nic",
            vendor_id=0x8086,
            device_id=0x100E,
            class_code=0x020000,
            revision=3,
            interrupt_pin=1,
            bars=(
                Bar(0, 0x20000, "memory", self.device.read, self.device.write),
                Bar(1, 0x40, "io", self.device.read, self.device.write),
                Bar(2, 0x4000, "memory64", self.device.read, self.device.write, prefetchable=True),
                Bar(6, 0x1000, "rom", lambda offset, size: 0xAA55 >> 8 * (offset & 1) & 0xFF, sizes=(1,)),
            ),
        )
        self.bus.add(self.function, 3)

    def select(self, register: int, device: int = 3, function: int = 0, bus: int = 0) -> None:
        self.ports.write(0xCF8, 4, 0x80000000 | bus << 16 | device << 11 | function << 8 | register)

    def get(self, register: int, size: int = 4) -> int:
        self.select(register & ~3)
        return self.ports.read(0xCFC + (register & 3), size)

    def put(self, register: int, value: int, size: int = 4) -> None:
        self.select(register & ~3)
        self.ports.write(0xCFC + (register & 3), size, value)


@pytest.fixture
def board() -> Board:
    return Board()


def test_identity_by_dword_word_and_byte(board: Board) -> None:
    assert board.get(0x00) == 0x100E8086
    assert board.get(0x02, 2) == 0x100E
    assert board.get(0x08) == 0x02000003
    assert board.get(0x0B, 1) == 0x02
    assert board.get(0x3D, 1) == 1
    board.put(0x00, 0)
    assert board.get(0x00) == 0x100E8086


def test_absent_functions_float(board: Board) -> None:
    board.select(0, device=4)
    assert board.ports.read(0xCFC, 4) == 0xFFFFFFFF
    assert board.ports.read(0xCFE, 2) == 0xFFFF
    board.ports.write(0xCFC, 4, 0)
    for kwargs in ({"function": 1}, {"bus": 1}):
        board.select(0, **kwargs)
        assert board.ports.read(0xCFC, 4) == 0xFFFFFFFF
    board.ports.write(0xCF8, 4, 3 << 11)  # enable bit clear
    assert board.ports.read(0xCFC, 4) == 0xFFFFFFFF


def test_address_register_takes_dwords_only(board: Board) -> None:
    board.select(0x10)
    board.ports.write(0xCF9, 1, 6)  # reset control lies below
    assert board.below.writes == [(1, 1, 6)]
    assert board.ports.read(0xCF9, 1) == 0x5A
    assert board.ports.read(0xCF8, 4) == 0x80001810
    board.ports.write(0xCF8, 4, 0xFFFFFFFF)
    assert board.ports.read(0xCF8, 4) == 0x80FFFFFC


def test_bar_sizing(board: Board) -> None:
    for register, expected in ((0x10, 0xFFFE0000), (0x14, 0xFFFFFFC1), (0x18, 0xFFFFC00C), (0x1C, 0xFFFFFFFF)):
        board.put(register, 0xFFFFFFFF)
        assert board.get(register) == expected
    board.put(0x30, 0xFFFFF800)
    assert board.get(0x30) == 0xFFFFF000
    board.put(0x20, 0xFFFFFFFF)
    assert board.get(0x20) == 0


def test_bars_decode_move_and_stop(board: Board) -> None:
    board.put(0x10, 0xFEB00000)
    board.put(0x14, 0xC000)
    assert board.mmio.read(0xFEB00000, 1) == 0xFF  # decoding is off after reset
    board.put(0x04, 0x0003, 2)
    assert board.mmio.read(0xFEB1FFFF, 1) == 0x5A
    board.ports.write(0xC03F, 1, 7)
    assert board.device.writes == [(0x3F, 1, 7)]
    board.put(0x14, 0xC040)
    assert board.ports.read(0xC000, 1) == 0xFF and board.ports.read(0xC040, 1) == 0x5A
    board.put(0x04, 0x0002, 2)
    assert board.ports.read(0xC040, 1) == 0xFF and board.mmio.read(0xFEB00000, 1) == 0x5A
    board.put(0x18, 0x0000000C)
    board.put(0x1C, 0x00000001)
    assert board.mmio.read(0x1_0000_0000, 1) == 0x5A
    board.put(0x30, 0xFEA00001)
    assert board.mmio.read(0xFEA00000, 2) == 0xAA55


def test_bar_over_another_waits(board: Board) -> None:
    board.ports.map(0xC000, 0x20, None, None, "claimed")
    board.put(0x14, 0xC000)
    board.put(0x04, 0x0001, 2)
    assert board.ports.read(0xC030, 1) == 0xFF
    board.put(0x14, 0xFFFFFFFF)  # sizing with decode on: beyond the 64 KiB of ports
    assert board.get(0x14) == 0xFFFFFFC1
    board.put(0x14, 0xD000)
    assert board.ports.read(0xD030, 1) == 0x5A


def test_status_bits_clear_by_writing_one(board: Board) -> None:
    board.function.set(0x06, 2, 0xB000)
    board.put(0x06, 0x1000, 2)
    assert board.get(0x06, 2) == 0xA000
    board.put(0x06, 0x0FFF, 2)
    assert board.get(0x06, 2) == 0xA000


def test_intx_is_shared_gated_and_shown_in_status(board: Board) -> None:
    other = PciFunction("other", vendor_id=1, device_id=2, class_code=0, interrupt_pin=4)
    board.bus.add(other, 0)  # pin D of device 0 and pin A of device 3 share a line: (0+4-2)&3 == (3+1-2)&3
    board.function.set_intx(True)
    assert board.get(0x06, 2) & 8
    other.set_intx(True)
    board.function.set_intx(False)
    assert board.lines == [(2, True)]
    other.set_intx(False)
    assert board.lines == [(2, True), (2, False)]
    board.put(0x04, 0x0400, 2)
    board.function.set_intx(True)
    assert len(board.lines) == 2 and board.get(0x06, 2) & 8
    board.put(0x04, 0, 2)
    assert board.lines[-1] == (2, True)


def test_dma_needs_the_bus_master_bit(board: Board) -> None:
    class Memory:
        data = bytearray(16)

        def read(self, address: int, length: int) -> bytes:
            return bytes(self.data[address : address + length])

        def write(self, address: int, data: bytes) -> None:
            self.data[address : address + len(data)] = data

    dma = FunctionDma(board.function, MemoryDma(Memory(), address_bits=32))
    dma.write(1, b"ab")
    assert dma.read(0, 2) == b"\xff\xff" and dma.requester_id == 0x18
    board.put(0x04, 0x0004, 2)
    dma.write(0x1_0000_0001, b"ab")
    assert dma.read(0, 4) == b"\0ab\0"


def test_reset_and_round_trip(board: Board) -> None:
    board.put(0x10, 0xFEB00000)
    board.put(0x04, 0x0007, 2)
    board.function.set_intx(True)
    saved = board.bus.save()
    board.bus.reset()
    assert board.get(0x04) == 0 and board.mmio.read(0xFEB00000, 1) == 0xFF and board.lines[-1] == (2, False)
    board.bus.load(saved)
    assert board.mmio.read(0xFEB00000, 1) == 0x5A and board.lines[-1] == (2, True)
    assert board.bus.save() == saved


def test_wiring_mistakes_are_sentences(board: Board) -> None:
    with pytest.raises(BusError, match="cannot be device 3 function 0: nic is"):
        board.bus.add(PciFunction("twin", vendor_id=1, device_id=1, class_code=0), 3)
    with pytest.raises(BusError, match="0..31"):
        board.bus.add(PciFunction("far", vendor_id=1, device_id=1, class_code=0), 32)
    with pytest.raises(BusError, match="power of two"):
        PciFunction("odd", vendor_id=1, device_id=1, class_code=0, bars=(Bar(0, 24, "memory"),))
