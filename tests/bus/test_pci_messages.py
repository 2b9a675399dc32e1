"""MSI and MSI-X from the driver's side: capabilities, masks, pending bits, and what goes out when."""

from __future__ import annotations

import pytest

from x86emu.bus.pci import PciBus, PciFunction
from x86emu.bus.pci_messages import Msi, Msix
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.errors import BusError
from x86emu.machine.interrupts import MessageInterrupts

TABLE = 0xFEB0_0000


class Function(PciFunction):
    def __init__(self, *, msi: int = 0, msix: int = 0) -> None:
        super().__init__("nic", vendor_id=0x8086, device_id=0x100E, class_code=0x020000, interrupt_pin=1)
        self.msi = Msi(self, msi) if msi else None
        self.msix = Msix(self, msix, 1) if msix else None


class Board:
    def __init__(self, function: Function) -> None:
        self.messages: list[tuple[int, int]] = []
        self.level = False
        self.mmio = MmioSpace()
        self.bus = PciBus(PortSpace(), self.mmio, self._intx, message_sink=self._message)
        self.function = function
        self.bus.add(function, 3)
        function.config_write(0x14, 4, TABLE)
        function.config_write(4, 2, 6)

    def _intx(self, pirq: int, level: bool) -> None:
        self.level = level

    def _message(self, requester: int, address: int, data: int) -> None:
        assert requester == 3 << 3
        self.messages.append((address, data))

    def sent(self) -> list[tuple[int, int]]:
        sent, self.messages = self.messages, []
        return sent

    def capability(self, identifier: int) -> int:
        config = self.function.config
        assert config[6] & 0x10
        at = config[0x34]
        while config[at] != identifier:
            at = config[at + 1]
            assert at
        return at


@pytest.fixture
def msi() -> Board:
    return Board(Function(msi=4))


@pytest.fixture
def msix() -> Board:
    return Board(Function(msix=5))


def enable_msi(board: Board, granted: int = 2) -> int:
    at = board.capability(0x05)
    write = board.function.config_write
    write(at + 4, 4, 0xFEE0_100F)
    write(at + 8, 4, 0)
    write(at + 12, 2, 0x4041)
    write(at + 2, 2, granted << 4 | 1)
    return at


def test_msi_capability(msi: Board) -> None:
    at = msi.capability(0x05)
    assert msi.function.get(at + 2, 2) == 0x0180 | 2 << 1
    msi.function.config_write(at + 2, 2, 0xFFFF)
    assert msi.function.get(at + 2, 2) == 0x0180 | 2 << 1 | 7 << 4 | 1
    enable_msi(msi)
    assert msi.function.get(at + 4, 4) == 0xFEE0_100C  # bits 1:0 are not kept


def test_msi_vectors_replace_the_low_bits(msi: Board) -> None:
    enable_msi(msi)
    for vector in range(4):
        msi.function.signal(vector)
    assert msi.sent() == [(0xFEE0_100C, 0x4040 + vector) for vector in range(4)]
    enable_msi(msi, granted=1)
    msi.function.signal(3)
    assert msi.sent() == [(0xFEE0_100C, 0x4041)]
    enable_msi(msi, granted=7)  # more than there are
    msi.function.signal(3)
    assert msi.sent() == [(0xFEE0_100C, 0x4043)]


def test_msi_mask_and_pending(msi: Board) -> None:
    at = enable_msi(msi)
    msi.function.config_write(at + 16, 4, 0b0110)
    for vector in range(4):
        msi.function.signal(vector)
    assert [data & 3 for _, data in msi.sent()] == [0, 3]
    assert msi.function.config_read(at + 20, 4) == 0b0110
    msi.function.config_write(at + 20, 4, 0)
    assert msi.function.config_read(at + 20, 4) == 0b0110  # read-only
    msi.function.config_write(at + 16, 4, 0b0010)
    assert [data & 3 for _, data in msi.sent()] == [2] and msi.function.get(at + 20, 4) == 0b0010


def test_a_level_is_a_message_when_it_rises(msi: Board) -> None:
    msi.function.set_interrupt(True)
    assert msi.level and not msi.sent()
    enable_msi(msi)
    assert not msi.level  # the pin rests as soon as messages are on
    msi.function.set_interrupt(False)
    msi.function.set_interrupt(True)
    msi.function.set_interrupt(True)
    assert len(msi.sent()) == 1 and not msi.level
    msi.function.config_write(msi.capability(0x05) + 2, 2, 0)
    assert msi.level


def test_messages_need_the_bus_master_bit(msi: Board, msix: Board) -> None:
    enable_msi(msi)
    msi.function.config_write(4, 2, 2)
    msi.function.signal(0)
    assert not msi.sent()


def enable_msix(board: Board, control: int = 0x8000) -> int:
    at = board.capability(0x11)
    for vector in range(5):
        base = TABLE + 16 * vector
        for offset, value in ((0, 0xFEE0_2000), (4, 0), (8, 0x50 + vector), (12, 0)):
            board.mmio.write(base + offset, 4, value)
    board.function.config_write(at + 2, 2, control)
    return at


def test_msix_capability_and_table(msix: Board) -> None:
    at = msix.capability(0x11)
    assert msix.function.get(at + 2, 2) == 4  # five vectors
    assert msix.function.get(at + 4, 4) == 1 and msix.function.get(at + 8, 4) == 0x801  # BAR 1, halves of it
    msix.function.config_write(at + 2, 2, 0xFFFF)
    assert msix.function.get(at + 2, 2) == 0xC004
    assert msix.mmio.read(TABLE + 12, 4) == 1  # masked after reset
    msix.mmio.write(TABLE + 16, 4, 0x1234_5678)
    assert msix.mmio.read(TABLE + 16, 4) == 0x1234_5678 and msix.mmio.read(TABLE + 18, 2) == 0x1234
    msix.mmio.write(TABLE + 12, 4, 0xFFFF_FFFE)
    assert msix.mmio.read(TABLE + 12, 4) == 0  # only the mask bit is kept
    msix.mmio.write(TABLE + 16 * 5, 4, 0xFFFF_FFFF)
    assert msix.mmio.read(TABLE + 16 * 5, 4) == 0  # no such entry


def test_msix_sends_and_masks(msix: Board) -> None:
    msix.function.signal(2)
    assert not msix.sent()  # off: nothing is kept either
    enable_msix(msix)
    msix.function.signal(2)
    msix.function.signal(5)
    assert msix.sent() == [(0xFEE0_2000, 0x52)]
    msix.mmio.write(TABLE + 16 * 2 + 12, 4, 1)
    msix.function.signal(2)
    msix.function.signal(2)
    msix.function.signal(3)
    assert msix.sent() == [(0xFEE0_2000, 0x53)]
    assert msix.mmio.read(TABLE + 0x800, 4) == 0b100
    msix.mmio.write(TABLE + 0x800, 4, 0)
    msix.mmio.write(TABLE + 16 * 2 + 8, 4, 0x99)
    assert msix.mmio.read(TABLE + 0x800, 4) == 0b100
    msix.mmio.write(TABLE + 16 * 2 + 12, 4, 0)
    assert msix.sent() == [(0xFEE0_2000, 0x99)] and not msix.mmio.read(TABLE + 0x800, 4)


def test_msix_function_mask(msix: Board) -> None:
    at = enable_msix(msix, 0xC000)
    msix.function.signal(0)
    msix.function.signal(4)
    assert not msix.sent() and msix.mmio.read(TABLE + 0x800, 1) == 0b10001
    assert msix.function.msix is not None
    msix.function.msix.withdraw(0)
    msix.function.config_write(at + 2, 2, 0x8000)
    assert msix.sent() == [(0xFEE0_2000, 0x54)]


def test_save_load_reset(msix: Board) -> None:
    enable_msix(msix, 0xC000)
    msix.function.signal(1)
    state = msix.function.save()
    other = Board(Function(msix=5))
    other.function.load(state)
    assert other.mmio.read(TABLE + 16 + 8, 4) == 0x51
    other.function.config_write(other.capability(0x11) + 2, 2, 0x8000)
    assert other.sent() == [(0xFEE0_2000, 0x51)]
    other.function.reset()
    assert other.function.msix is not None
    assert not other.function.message_signalled and other.function.msix.masked(1)


def test_a_table_inside_another_bar_and_large_tables() -> None:
    function = Function()
    msix = Msix(function, 3, 2, inside=(0x3000, 0x3800))
    assert function.get(msix.at + 4, 4) == 0x3002 and function.get(msix.at + 8, 4) == 0x3802 and not function.bars
    large = Function(msix=2048)
    assert large.bars[0].size == 0x10000 and large.get(large.config[0x34] + 8, 4) == 0x8001


def test_impossible_numbers() -> None:
    with pytest.raises(BusError, match="3 MSI vectors"):
        Function(msi=3)
    with pytest.raises(BusError, match="2049 MSI-X vectors"):
        Function(msix=2049)
    with pytest.raises(BusError, match="no capability"):
        Function().add_capability(9, bytes(300))


class Apics:
    def __init__(self) -> None:
        self.messages: list[tuple[int, bool, int, int, bool]] = []

    def deliver(self, destination: int, logical: bool, mode: int, vector: int, level_triggered: bool) -> None:
        self.messages.append((destination, logical, mode, vector, level_triggered))


@pytest.mark.parametrize(
    ("address", "data", "message"),
    [
        (0xFEE0_3000, 0x0031, (3, False, 0, 0x31, False)),
        (0xFEE0_3004, 0x0131, (3, True, 1, 0x31, False)),
        (0xFEEF_F00C, 0x0031, (0xFF, True, 1, 0x31, False)),  # redirection hint: the lowest priority of the set
        (0xFEE0_1008, 0x0031, (1, False, 0, 0x31, False)),
        (0xFEE0_1000, 0xC031, (1, False, 0, 0x31, True)),
        (0xFEE0_0000, 0x0400, (0, False, 4, 0, False)),  # NMI
    ],
)
def test_what_a_message_means(address: int, data: int, message: tuple[int, bool, int, int, bool]) -> None:
    apics, writes = Apics(), []
    MessageInterrupts(apics, lambda at, what: writes.append((at, what))).send(0, address, data)
    assert apics.messages == [message] and not writes


def test_a_message_elsewhere_is_a_write() -> None:
    apics, writes = Apics(), []
    MessageInterrupts(apics, lambda at, what: writes.append((at, what))).send(0, 0x1000, 0x1234)
    assert writes == [(0x1000, b"\x34\x12\0\0")] and not apics.messages
