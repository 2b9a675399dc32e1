"""440FX, PIIX3 and the PIIX4 power management function from their registers."""

import pytest

from x86emu.bus.irq import IrqLine
from x86emu.bus.pci import PciBus
from x86emu.bus.spaces import MmioSpace, PortSpace
from x86emu.devices.i440fx import I440FX
from x86emu.devices.piix3 import Piix3
from x86emu.devices.piix4_acpi import Piix4Acpi

PM = 0x600
SECOND = 1_000_000_000


class Board:
    """The three functions on a PCI bus."""

    def __init__(self, clock, edges):
        self.calls = []
        self.ports, mmio = PortSpace(), MmioSpace()
        self.bridge = I440FX(
            256 << 20, lambda s: self.calls.append(("segments", s)), lambda s: self.calls.append(("smram", s))
        )
        self.isa = Piix3(edges, lambda hard: self.calls.append(("reset", hard)))
        self.acpi = Piix4Acpi(
            IrqLine(self.isa.isa, 9),
            clock,
            smi=lambda: self.calls.append("smi"),
            power_off=lambda: self.calls.append("off"),
            suspend=lambda kind: self.calls.append(("suspend", kind)),
        )
        self.bus = PciBus(
            self.ports, mmio, self.isa.set_pirq, port_below=(self.isa.read_reset_control, self.isa.write_reset_control)
        )
        self.bus.add(self.bridge, 0)
        self.bus.add(self.isa, 1)
        self.bus.add(self.acpi, 1, 3)
        self.ports.map(0xCF8, 8, self.bus.read, self.bus.write, "pci")
        self.ports.map(0xB2, 2, self.acpi.read_apm, self.acpi.write_apm, "apm", sizes=(1,))
        self.bus.reset()
        self.reset_calls, self.calls[:] = list(self.calls), []

    def config(self, function, register, size, value=None):
        self.ports.write(0xCF8, 4, 0x8000_0000 | function.requester_id << 8 | register & 0xFC)
        port = 0xCFC + (register & 3)
        return self.ports.read(port, size) if value is None else self.ports.write(port, size, value)


@pytest.fixture
def board(clock, edges):
    return Board(clock, edges)


@pytest.fixture
def acpi(board):
    """The PM function as firmware leaves it."""
    board.config(board.acpi, 0x40, 4, PM | 1)
    board.config(board.acpi, 0x80, 1, 1)
    return board.acpi


def test_identities(board):
    for function, identity, class_code in (
        (board.bridge, 0x1237_8086, 0x060000),
        (board.isa, 0x7000_8086, 0x060100),
        (board.acpi, 0x7113_8086, 0x068000),
    ):
        assert board.config(function, 0, 4) == identity
        assert board.config(function, 8, 4) >> 8 == class_code
    assert board.config(board.isa, 0x0E, 1) == 0x80
    assert board.config(board.bridge, 0x67, 1) == 32  # 256 MiB in rows of 8


def test_pam_maps_each_segment(board):
    assert {call[0] for call in board.reset_calls} == {"segments", "smram"}
    assert all(not s.read_dram and not s.write_dram for s in board.bridge.segments)
    assert sum(s.length for s in board.bridge.segments) == 0x40000
    board.config(board.bridge, 0x59, 1, 0x30)
    assert [s for s in board.bridge.segments if s.read_dram] == [(0xF0000, 0x10000, True, True)]
    board.config(board.bridge, 0x5A, 1, 0x21)
    by_base = {s.base: s[2:] for s in board.calls[-1][1]}
    assert by_base[0xC0000] == (True, False) and by_base[0xC4000] == (False, True)
    board.config(board.bridge, 0x5C, 4, 0x33333333)
    assert by_base.keys() == {0xC0000 + 0x4000 * i for i in range(12)} | {0xF0000}
    assert all(s.read_dram and s.write_dram for s in board.bridge.segments if s.base >= 0xD0000)
    told = len(board.calls)
    board.config(board.bridge, 0x59, 1, 0x30)
    assert len(board.calls) == told  # no change, no remapping


def test_smram_opens_closes_and_locks(board):
    board.config(board.bridge, 0x72, 1, 0x4A)
    assert board.calls[-1] == ("smram", (True, True, True, False))
    board.config(board.bridge, 0x72, 1, 0x2A)
    assert board.calls[-1] == ("smram", (False, True, False, False))
    board.config(board.bridge, 0x70, 4, 0x005A_1000)  # lock closes the open window
    assert board.calls[-1] == ("smram", (False, True, True, True))
    board.config(board.bridge, 0x72, 1, 0x4A)
    assert board.config(board.bridge, 0x72, 1) == 0x1A
    board.bus.reset()
    assert board.config(board.bridge, 0x72, 1) == 0x02


def test_pirq_routing_shares_lines_with_isa(board, edges):
    board.isa.set_pirq(0, True)
    assert edges.rises == {}
    board.config(board.isa, 0x60, 4, 0x0B0B0A0A)
    assert edges.levels == {10: True}
    board.isa.set_pirq(1, True)
    board.isa.set_pirq(0, False)
    assert edges.levels[10] is True  # PIRQB# still holds it
    board.isa.isa.set_irq(10, True)
    board.isa.set_pirq(1, False)
    assert edges.levels[10] is True
    board.isa.isa.set_irq(10, False)
    assert edges.levels[10] is False and edges.rises == {10: 1}
    board.isa.set_pirq(2, True)
    board.config(board.isa, 0x62, 1, 0x80)
    assert edges.levels[11] is False
    board.config(board.isa, 0x62, 1, 0x08)  # reserved: the clock's line
    assert edges.levels.get(8) is None


def test_reset_control(board):
    board.ports.write(0xCF9, 1, 0x02)
    board.ports.write(0xCF9, 1, 0x06)
    board.ports.write(0xCF9, 1, 0x06)
    assert board.calls == [("reset", True)] and board.ports.read(0xCF9, 1) == 0x06
    board.ports.write(0xCF9, 1, 0x00)
    board.ports.write(0xCF9, 1, 0x04)
    assert board.calls[1:] == [("reset", False)]
    assert board.ports.read(0xCF8, 4) != 0xFFFF_FFFF  # the configuration address is not disturbed


def test_pm_block_decodes_where_firmware_puts_it(board, acpi, clock):
    assert board.ports.read(PM + 4, 2) == 0
    board.config(acpi, 0x40, 4, 0xB001)
    assert board.ports.read(PM + 4, 2) == 0xFFFF and board.ports.read(0xB004, 2) == 0
    board.config(acpi, 0x80, 1, 0)
    assert board.ports.read(0xB004, 2) == 0xFFFF


def test_timer_counts_at_its_rate_and_wraps(board, acpi, clock):
    start = board.ports.read(PM + 8, 4)
    clock.advance(SECOND)
    assert board.ports.read(PM + 8, 4) - start == 3_579_545
    clock.advance(4 * SECOND)
    assert board.ports.read(PM + 8, 4) == 5 * 3_579_545 & 0xFFFFFF
    assert board.ports.read(PM + 9, 1) == (5 * 3_579_545 >> 8) & 0xFF


def test_timer_overflow_interrupt(board, acpi, clock, edges):
    board.ports.write(PM + 2, 2, 0x0001)
    assert clock.next_deadline() == 2**63 - 1  # not in ACPI mode yet
    board.ports.write(PM + 4, 2, 0x0001)
    clock.advance_to(2**23 * SECOND // 3_579_545)
    assert not edges.levels.get(9)
    clock.advance(1)
    assert edges.levels[9] and board.ports.read(PM, 2) == 0x0001
    board.ports.write(PM, 2, 0x0001)
    assert edges.levels[9] is False and board.ports.read(PM, 2) == 0
    clock.advance_to(clock.next_deadline())
    assert edges.rises == {9: 2}


def test_power_button(board, acpi, edges):
    board.ports.write(PM + 2, 2, 0x0100)
    acpi.press_power_button()
    assert not edges.levels.get(9) and board.ports.read(PM, 2) & 0x0100
    board.ports.write(0xB2, 1, 0xF1)
    assert board.ports.read(PM + 4, 2) == 0x0001 and edges.levels[9]
    board.ports.write(PM, 2, 0x0100)
    assert edges.levels[9] is False
    acpi.press_power_button()
    board.ports.write(0xB2, 1, 0xF0)
    assert edges.levels[9] is False and board.ports.read(PM + 4, 2) == 0
    assert board.calls == []  # these two commands raise no SMI


def test_sleep_types(board, acpi):
    board.ports.write(PM + 4, 2, 0x0400)
    assert board.calls == []
    board.ports.write(PM + 4, 2, 0x2400)
    board.ports.write(PM + 4, 2, 0x2000)
    assert board.calls == [("suspend", 1), "off"]
    assert board.ports.read(PM + 4, 2) & 0x2000 == 0  # SUS_EN reads as zero


def test_apm_smi_needs_both_enables(board, acpi):
    board.ports.write(0xB3, 1, 0x01)
    board.ports.write(0xB2, 1, 0x00)
    board.config(acpi, 0x58, 4, 1 << 25)
    board.ports.write(0xB2, 1, 0x00)
    assert board.calls == []
    board.ports.write(PM + 0x28, 4, board.ports.read(PM + 0x28, 4) | 1)
    board.ports.write(0xB2, 1, 0x5A)
    assert board.calls == ["smi"]
    assert (board.ports.read(0xB2, 1), board.ports.read(0xB3, 1)) == (0x5A, 0x01)


def test_general_purpose_events(board, acpi, edges):
    board.ports.write(PM + 4, 2, 1)
    board.ports.write(PM + 14, 2, 0x0100)
    acpi.set_general_purpose_event(0x0100)
    assert edges.levels[9]
    board.ports.write(PM + 12, 2, 0x0100)
    assert edges.levels[9] is False


def test_reset_and_state_round_trip(board, acpi, clock, edges):
    board.ports.write(PM + 4, 2, 1)
    board.ports.write(PM + 2, 2, 0x0101)
    acpi.press_power_button()
    state = {name: getattr(board, name).save() for name in ("bridge", "isa", "acpi")}
    other = Board(clock, edges)
    for name, saved in state.items():
        getattr(other, name).load(saved)
    assert other.ports.read(PM + 2, 2) == 0x0101 and edges.levels[9]
    other.bus.reset()
    assert edges.levels[9] is False and other.ports.read(PM + 2, 2) == 0xFFFF
