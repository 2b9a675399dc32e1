"""Local APIC, from the registers' side: Intel SDM vol. 3, chapter 11."""

import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals
from x86emu.devices.i8259 import I8259Pair
from x86emu.devices.ioapic import IoApic
from x86emu.devices.lapic import ApicBus, LocalApic
from x86emu.devices.pic_controller import Pic8259Controller
from x86emu.errors import BusError, UserInputError

ID, VERSION, TPR, PPR, EOI, LDR, DFR, SVR = 0x20, 0x30, 0x80, 0xA0, 0xB0, 0xD0, 0xE0, 0xF0
ISR, TMR, IRR, ESR, ICR_LOW, ICR_HIGH = 0x100, 0x180, 0x200, 0x280, 0x300, 0x310
LVT_TIMER, LVT_LINT0, LVT_LINT1, LVT_ERROR = 0x320, 0x350, 0x360, 0x370
INITIAL, CURRENT, DIVIDE = 0x380, 0x390, 0x3E0
BASE, DEADLINE = 0x1B, 0x6E0
NO_PAGE = 0xFFFFFFFFFFFFFFFF


class Board:
    def __init__(self, count: int = 1, pic: I8259Pair | None = None, **options: bool) -> None:
        self.clock = Clock()
        self.bus = ApicBus()
        self.cpus = [CpuSignals(i) for i in range(count)]
        self.lapics = [
            LocalApic(i, self.cpus[i], self.clock, self.bus, bsp=i == 0, pic=pic, **options) for i in range(count)
        ]

    def enable(self) -> None:
        for cpu in self.cpus:
            cpu.apic_write(SVR, 0x1FF)

    def x2apic(self) -> None:
        for cpu in self.cpus:
            base = cpu.rdmsr(BASE)
            assert base is not None and cpu.wrmsr(BASE, base | 0x400)
            assert cpu.wrmsr(0x80F, 0x1FF)

    def ipi(self, sender: int, low: int, destination: int = 0) -> None:
        self.cpus[sender].apic_write(ICR_HIGH, destination << 24)
        self.cpus[sender].apic_write(ICR_LOW, low)

    def interrupted(self) -> list[int]:
        """Which processors have INTR asserted; their interrupts are taken and ended."""
        hit = [i for i, cpu in enumerate(self.cpus) if cpu.intr]
        for i in hit:
            self.cpus[i].acknowledge()
            if self.cpus[i].apic_base == NO_PAGE:
                self.cpus[i].wrmsr(0x80B, 0)
            else:
                self.cpus[i].apic_write(EOI, 0)
        return hit


def bits(cpu: CpuSignals, register: int) -> list[int]:
    return [32 * i + b for i in range(8) for b in range(32) if cpu.apic_read(register + 16 * i) >> b & 1]


def self_ipi(cpu: CpuSignals, vector: int) -> None:
    cpu.apic_write(ICR_LOW, 0x40000 | vector)


def test_state_after_reset() -> None:
    board = Board(2)
    boot, other = board.cpus
    assert (boot.rdmsr(BASE), other.rdmsr(BASE)) == (0xFEE00900, 0xFEE00800)
    assert boot.apic_base == 0xFEE00000
    assert (boot.apic_read(ID), other.apic_read(ID)) == (0, 0x01000000)
    assert boot.apic_read(VERSION) == 0x00050014
    assert boot.apic_read(SVR) == 0xFF and boot.apic_read(DFR) == 0xFFFFFFFF and boot.apic_read(LDR) == 0
    assert [boot.apic_read(offset) for offset in range(0x320, 0x380, 16)] == [0x10000] * 6
    assert not boot.intr and boot.cr8 == 0


def test_software_disabled_apic_takes_no_fixed_interrupt_and_keeps_its_masks() -> None:
    board = Board()
    cpu = board.cpus[0]
    self_ipi(cpu, 0x40)
    assert not cpu.intr
    cpu.apic_write(LVT_TIMER, 0x30)
    assert cpu.apic_read(LVT_TIMER) == 0x10030
    board.enable()
    cpu.apic_write(LVT_TIMER, 0x30)
    assert cpu.apic_read(LVT_TIMER) == 0x30
    cpu.apic_write(SVR, 0xFF)
    assert cpu.apic_read(LVT_TIMER) == 0x10030


def test_interrupt_goes_from_irr_to_isr_and_ends() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    self_ipi(cpu, 0x41)
    assert cpu.intr and bits(cpu, IRR) == [0x41]
    assert cpu.acknowledge() == 0x41
    assert bits(cpu, IRR) == [] and bits(cpu, ISR) == [0x41] and cpu.apic_read(PPR) == 0x40
    self_ipi(cpu, 0x4F)  # same class: waits
    assert not cpu.intr
    self_ipi(cpu, 0x50)
    assert cpu.intr and cpu.acknowledge() == 0x50
    cpu.apic_write(EOI, 0)
    assert bits(cpu, ISR) == [0x41] and not cpu.intr
    cpu.apic_write(EOI, 0)
    assert cpu.intr and cpu.acknowledge() == 0x4F
    cpu.apic_write(EOI, 0)
    cpu.apic_write(EOI, 0)  # nothing in service: no effect
    assert bits(cpu, ISR) == []


def test_task_priority_by_register_and_cr8() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.cr8 = 5
    assert cpu.apic_read(TPR) == 0x50 == cpu.apic_read(PPR)
    self_ipi(cpu, 0x5F)
    assert not cpu.intr
    cpu.apic_write(TPR, 0x4F)
    assert cpu.intr and cpu.cr8 == 4
    cpu.apic_write(TPR, 0x50)
    assert not cpu.intr
    assert cpu.acknowledge() == 0xFF and bits(cpu, ISR) == []  # spurious: the vector of SVR


def test_errors_gather_until_esr_is_written() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(LVT_ERROR, 0xE0)
    self_ipi(cpu, 3)
    assert cpu.apic_read(ESR) == 0 and cpu.intr and cpu.acknowledge() == 0xE0
    cpu.apic_write(ESR, 0)
    assert cpu.apic_read(ESR) == 0x20
    cpu.apic_read(0x2E0)
    cpu.apic_write(0x3F0, 0)
    board.bus.deliver(0, False, 0, 5, False)
    cpu.apic_write(ESR, 0)
    assert cpu.apic_read(ESR) == 0xC0
    cpu.apic_write(ESR, 0)
    assert cpu.apic_read(ESR) == 0


def test_access_widths() -> None:
    board = Board()
    cpu = board.cpus[0]
    assert cpu.apic_read(VERSION + 2, 1) & 0xFF == 5 and cpu.apic_read(VERSION + 4) == 0
    cpu.apic_write(TPR, 0x20, 1)
    cpu.apic_write(TPR + 4, 0x20)
    assert cpu.apic_read(TPR) == 0


# Destinations


def test_physical_destinations_and_broadcast() -> None:
    board = Board(4)
    board.enable()
    board.ipi(0, 0x4041, 2)
    assert board.interrupted() == [2]
    board.ipi(0, 0x4041, 0xFF)
    assert board.interrupted() == [0, 1, 2, 3]
    board.ipi(0, 0x4041, 9)
    assert board.interrupted() == []


def test_shorthands() -> None:
    board = Board(3)
    board.enable()
    for shorthand, expected in ((1, [1]), (2, [0, 1, 2]), (3, [0, 2])):
        board.ipi(1, shorthand << 18 | 0x41)
        assert board.interrupted() == expected
    board.ipi(1, 1 << 18 | 0x400)  # NMI to self by shorthand
    assert board.cpus[1].nmi


def test_logical_flat_and_cluster() -> None:
    board = Board(4)
    board.enable()
    for i, cpu in enumerate(board.cpus):
        cpu.apic_write(LDR, 1 << (24 + i))
    board.ipi(0, 0x841, 0b1010)
    assert board.interrupted() == [1, 3]
    for i, cpu in enumerate(board.cpus):
        cpu.apic_write(DFR, 0)
        assert cpu.apic_read(DFR) == 0x0FFFFFFF
        cpu.apic_write(LDR, (i // 2) << 28 | 1 << (24 + i % 2))
    board.ipi(0, 0x841, 0x13)
    assert board.interrupted() == [2, 3]
    board.ipi(0, 0x841, 0xF1)
    assert board.interrupted() == [0, 2]
    board.ipi(0, 0x841, 0xFF)
    assert board.interrupted() == [0, 1, 2, 3]


def test_lowest_priority_goes_to_the_least_busy() -> None:
    board = Board(3)
    board.enable()
    for i, cpu in enumerate(board.cpus):
        cpu.apic_write(LDR, 1 << (24 + i))
        cpu.cr8 = 3 - i
    board.ipi(0, 0x941, 0b011)
    assert board.interrupted() == [1]
    board.ipi(0, 0x941, 0b111)
    assert board.interrupted() == [2]
    board.cpus[2].apic_write(SVR, 0xFF)
    board.ipi(0, 0x941, 0b111)
    assert board.interrupted() == [1]


def test_nmi_smi_init_and_startup_messages() -> None:
    board = Board(2)
    target = board.cpus[1]  # software-disabled: these arrive all the same
    target.apic_write(TPR, 0x70)
    board.ipi(0, 0x400, 1)
    board.ipi(0, 0x200, 1)
    assert target.nmi and target.smi and not target.init
    board.ipi(0, 0x8500, 1)  # INIT level de-assert does nothing
    assert not target.init
    board.ipi(0, 0xC500, 1)
    assert target.init and target.apic_read(TPR) == 0
    assert target.rdmsr(BASE) == 0xFEE00800
    board.ipi(0, 0x4069A, 1)  # no start-up message to self
    assert target.sipi_vector is None and board.cpus[0].sipi_vector is None
    board.ipi(0, 0x469A, 1)
    assert target.sipi_vector == 0x9A
    board.ipi(0, 0x400, 1)
    assert not board.cpus[0].nmi


# I/O APIC, 8259 and LINT pins


def test_level_interrupt_is_ended_at_the_io_apic() -> None:
    board = Board(2)
    board.enable()
    ioapic = IoApic(board.bus)
    for register, value in ((0x25, 0x01000000), (0x24, 0x8050)):
        ioapic.write(0, 4, register)
        ioapic.write(0x10, 4, value)
    ioapic.set_irq(10, True)
    cpu = board.cpus[1]
    assert bits(cpu, TMR) == [0x50] and cpu.acknowledge() == 0x50
    cpu.apic_write(EOI, 0)
    assert cpu.intr and cpu.acknowledge() == 0x50
    ioapic.set_irq(10, False)
    cpu.apic_write(EOI, 0)
    assert not cpu.intr
    self_ipi(cpu, 0x50)  # the same vector by an edge clears its TMR bit
    assert bits(cpu, TMR) == []


def virtual_wire() -> tuple[Board, I8259Pair]:
    pic = I8259Pair()
    board = Board(1, pic)
    pic.output = lambda level: board.lapics[0].set_lint(0, level)
    for offset, value in ((0, 0x11), (1, 0x08), (1, 0x04), (1, 0x01), (1, 0x00)):
        pic.write_master(offset, 1, value)
    return board, pic


def test_extint_through_lint0() -> None:
    board, pic = virtual_wire()
    cpu = board.cpus[0]
    board.enable()
    pic.set_irq(1, True)
    assert not cpu.intr  # LINT0 is masked after reset
    cpu.apic_write(LVT_LINT0, 0x8700)
    cpu.apic_write(TPR, 0xFF)  # an ExtINT knows no priority
    assert cpu.intr and cpu.acknowledge() == 0x09
    assert not cpu.intr and bits(cpu, ISR) == []


def test_disabled_apic_passes_intr_and_nmi() -> None:
    board, pic = virtual_wire()
    cpu = board.cpus[0]
    assert cpu.wrmsr(BASE, 0xFEE00100)
    assert cpu.apic_base == NO_PAGE
    pic.set_irq(1, True)
    assert cpu.intr and cpu.acknowledge() == 0x09 and not cpu.intr
    board.lapics[0].set_lint(1, True)
    assert cpu.nmi
    assert cpu.acknowledge() == -1


def test_extint_message_from_the_io_apic() -> None:
    board, pic = virtual_wire()
    pic.set_irq(1, True)
    board.bus.deliver(0, False, 7, 0, False)
    cpu = board.cpus[0]
    assert cpu.intr and cpu.acknowledge() == 0x09 and not cpu.intr


def test_lint1_as_nmi_and_lint0_as_fixed_level() -> None:
    board = Board()
    board.enable()
    cpu, lapic = board.cpus[0], board.lapics[0]
    lapic.set_lint(1, True)
    assert not cpu.nmi
    lapic.set_lint(1, False)
    cpu.apic_write(LVT_LINT1, 0x8400)
    lapic.set_lint(1, True)
    assert cpu.nmi
    cpu.clear_latches()
    lapic.set_lint(1, True)
    assert not cpu.nmi
    cpu.apic_write(LVT_LINT0, 0x8061)
    lapic.set_lint(0, True)
    assert cpu.apic_read(LVT_LINT0) == 0xC061 and cpu.acknowledge() == 0x61
    cpu.apic_write(EOI, 0)
    assert cpu.acknowledge() == 0x61
    lapic.set_lint(0, False)
    cpu.apic_write(EOI, 0)
    assert not cpu.intr and cpu.apic_read(LVT_LINT0) == 0x8061
    lapic.raise_local("performance")
    cpu.apic_write(0x340, 0x400)
    cpu.clear_latches()
    lapic.raise_local("performance")
    assert cpu.nmi and cpu.apic_read(0x340) == 0x10400


def test_pic_without_an_apic() -> None:
    pic, cpu = I8259Pair(), CpuSignals()
    controller = Pic8259Controller(pic, cpu)
    for offset, value in ((0, 0x11), (1, 0x08), (1, 0x04), (1, 0x01), (1, 0x00)):
        pic.write_master(offset, 1, value)
    pic.set_irq(0, True)
    assert controller.signals.intr
    assert cpu.acknowledge() == 0x08 and not cpu.intr


# Timer


def test_one_shot_timer_and_divider() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(LVT_TIMER, 0x60)
    cpu.apic_write(DIVIDE, 0b0011)  # by 16
    cpu.apic_write(INITIAL, 100)
    board.clock.advance(160)
    assert cpu.apic_read(CURRENT) == 90
    board.clock.advance(1439)
    assert cpu.apic_read(CURRENT) == 1 and not cpu.intr
    board.clock.advance(1)
    assert cpu.apic_read(CURRENT) == 0 and cpu.acknowledge() == 0x60
    board.clock.advance(10_000)
    assert not cpu.intr and cpu.apic_read(INITIAL) == 100
    cpu.apic_write(INITIAL, 10)
    cpu.apic_write(INITIAL, 0)  # stops it
    board.clock.advance(1000)
    cpu.apic_write(EOI, 0)
    assert not cpu.intr


@pytest.mark.parametrize(("code", "divisor"), [(0, 2), (1, 4), (2, 8), (3, 16), (8, 32), (9, 64), (10, 128), (11, 1)])
def test_divide_configuration(code: int, divisor: int) -> None:
    board = Board()
    cpu = board.cpus[0]
    cpu.apic_write(DIVIDE, code)
    cpu.apic_write(INITIAL, 1000)
    board.clock.advance(divisor * 10)
    assert cpu.apic_read(CURRENT) == 990 and cpu.apic_read(DIVIDE) == code


def test_divider_change_keeps_the_count() -> None:
    board = Board()
    cpu = board.cpus[0]
    cpu.apic_write(DIVIDE, 11)
    cpu.apic_write(INITIAL, 1000)
    board.clock.advance(400)
    cpu.apic_write(DIVIDE, 0)
    assert cpu.apic_read(CURRENT) == 600
    board.clock.advance(20)
    assert cpu.apic_read(CURRENT) == 590


def test_periodic_timer() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(DIVIDE, 11)
    cpu.apic_write(LVT_TIMER, 0x20060)
    cpu.apic_write(INITIAL, 1000)
    for tick in range(1, 4):
        board.clock.advance_to(1000 * tick - 1)
        assert not cpu.intr
        board.clock.advance(1)
        assert cpu.intr and cpu.acknowledge() == 0x60 and cpu.apic_read(CURRENT) == 1000
        cpu.apic_write(EOI, 0)
    cpu.apic_write(LVT_TIMER, 0x30060)  # masked: the count goes on, the clock has nothing to do
    assert board.clock.next_deadline() > 1 << 60
    board.clock.advance(2500)
    assert cpu.apic_read(CURRENT) == 500 and not cpu.intr
    cpu.apic_write(LVT_TIMER, 0x20060)
    assert board.clock.next_deadline() == 6000


def test_a_change_of_timer_mode_keeps_the_count() -> None:
    """Section 11.5.4: only the initial count's register starts a count anew."""
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(DIVIDE, 11)
    cpu.apic_write(LVT_TIMER, 0x60)
    cpu.apic_write(INITIAL, 1000)
    board.clock.advance(600)
    cpu.apic_write(LVT_TIMER, 0x20060)
    assert cpu.apic_read(CURRENT) == 400
    board.clock.advance(1500)
    assert cpu.apic_read(CURRENT) == 900
    cpu.apic_write(LVT_TIMER, 0x60)
    assert cpu.apic_read(CURRENT) == 900, "counting on in the second period"
    board.clock.advance(900)
    assert cpu.apic_read(CURRENT) == 0
    cpu.apic_write(LVT_TIMER, 0x20060)
    assert board.clock.next_deadline() > 1 << 60
    board.clock.advance(500)
    assert cpu.apic_read(CURRENT) == 0, "a count that has run out stays there"
    cpu.apic_write(INITIAL, 1000)
    assert cpu.apic_read(CURRENT) == 1000


def test_tsc_deadline() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    assert cpu.wrmsr(DEADLINE, 500) and cpu.rdmsr(DEADLINE) == 0  # not in that mode: ignored
    cpu.apic_write(LVT_TIMER, 0x40060)
    cpu.apic_write(INITIAL, 5)
    assert cpu.apic_read(INITIAL) == 0 == cpu.apic_read(CURRENT)
    cpu.tsc_offset = 1000
    assert cpu.wrmsr(DEADLINE, 1500) and cpu.rdmsr(DEADLINE) == 1500
    board.clock.advance(499)
    assert not cpu.intr
    board.clock.advance(1)
    assert cpu.acknowledge() == 0x60 and cpu.rdmsr(DEADLINE) == 0
    cpu.apic_write(EOI, 0)
    assert cpu.wrmsr(DEADLINE, 1)  # in the past: at once
    assert cpu.acknowledge() == 0x60
    cpu.apic_write(EOI, 0)
    assert cpu.wrmsr(DEADLINE, 1 << 63) and cpu.wrmsr(DEADLINE, 0)
    assert board.clock.next_deadline() > 1 << 60
    cpu.wrmsr(DEADLINE, 10_000)
    cpu.tsc_offset = 9_000  # the counter was set ahead
    assert board.clock.next_deadline() == 1_000
    cpu.apic_write(LVT_TIMER, 0x60)  # leaving the mode disarms
    assert cpu.rdmsr(DEADLINE) == 0 and board.clock.next_deadline() > 1 << 60


def test_tsc_deadline_absent() -> None:
    board = Board(tsc_deadline=False)
    board.enable()
    cpu = board.cpus[0]
    assert cpu.rdmsr(DEADLINE) is None and not cpu.wrmsr(DEADLINE, 1)
    cpu.apic_write(LVT_TIMER, 0x40060)
    assert cpu.apic_read(LVT_TIMER) == 0x60


# Modes


def test_base_moves_the_page() -> None:
    board = Board()
    cpu = board.cpus[0]
    assert cpu.wrmsr(BASE, 0xF0000900) and cpu.apic_base == 0xF0000000
    assert not cpu.wrmsr(BASE, 0xF0000901) and not cpu.wrmsr(BASE, 1 << 46 | 0x900)
    assert cpu.rdmsr(BASE) == 0xF0000900


def test_mode_transitions() -> None:
    xapic, x2apic, off, invalid = 0xFEE00900, 0xFEE00D00, 0xFEE00100, 0xFEE00500
    allowed = {
        xapic: {xapic: True, x2apic: True, off: True, invalid: False},
        x2apic: {xapic: False, x2apic: True, off: True, invalid: False},
        off: {xapic: True, x2apic: False, off: True, invalid: False},
    }
    path = {xapic: (), x2apic: (x2apic,), off: (off,)}
    for before, targets in allowed.items():
        for after, works in targets.items():
            cpu = Board().cpus[0]
            for step in path[before]:
                assert cpu.wrmsr(BASE, step)
            assert cpu.wrmsr(BASE, after) is works
            assert cpu.rdmsr(BASE) == (after if works else before)
    assert not Board(x2apic=False).cpus[0].wrmsr(BASE, x2apic)


def test_disabling_resets_the_registers() -> None:
    board = Board()
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(TPR, 0x30)
    self_ipi(cpu, 0x80)
    cpu.wrmsr(BASE, 0xFEE00100)
    assert not cpu.intr
    cpu.wrmsr(BASE, 0xFEE00900)
    assert cpu.apic_read(TPR) == 0 and cpu.apic_read(SVR) == 0xFF and bits(cpu, IRR) == []


def test_x2apic_registers_and_faults() -> None:
    board = Board(2)
    cpu = board.cpus[1]
    assert cpu.rdmsr(0x802) is None  # an xAPIC has no such MSRs
    board.x2apic()
    assert cpu.apic_base == NO_PAGE
    assert cpu.rdmsr(0x802) == 1 and cpu.rdmsr(0x803) == 0x00050014 and cpu.rdmsr(0x80D) == 2
    for readable in (0x808, 0x80A, 0x80F, 0x810, 0x817, 0x81F, 0x827, 0x828, 0x830, 0x832, 0x837, 0x838, 0x839, 0x83E):
        assert cpu.rdmsr(readable) is not None
    for absent in (0x800, 0x801, 0x809, 0x80B, 0x80C, 0x80E, 0x829, 0x82F, 0x831, 0x83A, 0x83F, 0x840, 0x8FF):
        assert cpu.rdmsr(absent) is None
    for read_only in (0x802, 0x803, 0x80A, 0x80D, 0x80E, 0x810, 0x820, 0x831, 0x839, 0x840):
        assert not cpu.wrmsr(read_only, 0)
    for msr, value in (
        (0x808, 0x100),
        (0x80B, 1),
        (0x80F, 0x400),
        (0x828, 1),
        (0x830, 0x2041),
        (0x832, 0x80000),
        (0x838, 1 << 32),
        (0x83E, 4),
        (0x83F, 0x100),
    ):
        assert not cpu.wrmsr(msr, value)
    for msr, value in ((0x808, 0x20), (0x80B, 0), (0x828, 0), (0x832, 0x70030), (0x838, 0xFFFFFFFF), (0x83E, 0xB)):
        assert cpu.wrmsr(msr, value)
    assert cpu.cr8 == 2


def test_x2apic_interprocessor_interrupts() -> None:
    board = Board(18)
    board.x2apic()
    cpu = board.cpus[0]
    assert cpu.wrmsr(0x830, 17 << 32 | 0x41)
    assert cpu.rdmsr(0x830) == 17 << 32 | 0x41
    assert board.interrupted() == [17]
    cpu.wrmsr(0x830, 0xFFFFFFFF << 32 | 0x41)
    assert board.interrupted() == list(range(18))
    cpu.wrmsr(0x830, 0x00010003 << 32 | 0x841)  # cluster 1: IDs 16 and 17
    assert board.interrupted() == [16, 17]
    cpu.wrmsr(0x830, 0x00000081 << 32 | 0x841)
    assert board.interrupted() == [0, 7]
    cpu.wrmsr(0x830, 0xC0041)
    assert board.interrupted() == list(range(1, 18))
    assert cpu.wrmsr(0x83F, 0x51)
    assert board.interrupted() == [0]
    board.bus.deliver(0xFF, False, 0, 0x42, False)  # eight bits from an I/O APIC
    assert board.interrupted() == list(range(18))
    cpu.wrmsr(0x830, 0x4500 | 1 << 32)
    assert board.cpus[1].init and board.cpus[1].rdmsr(0x802) == 1 and board.cpus[1].rdmsr(0x80D) == 2


def test_self_ipi_of_an_illegal_vector() -> None:
    board = Board()
    board.x2apic()
    cpu = board.cpus[0]
    assert cpu.wrmsr(0x83F, 5) and cpu.wrmsr(0x828, 0)
    assert cpu.rdmsr(0x828) == 0x20 and not cpu.intr


def test_corrected_machine_check_entry_is_optional() -> None:
    board = Board(cmci=True)
    board.enable()
    cpu = board.cpus[0]
    assert cpu.apic_read(VERSION) == 0x00060014
    cpu.apic_write(0x2F0, 0x77)
    board.lapics[0].raise_local("cmci")
    assert cpu.acknowledge() == 0x77


def test_high_ids_need_an_x2apic() -> None:
    with pytest.raises(BusError, match="needs an x2APIC"):
        LocalApic(300, CpuSignals(), Clock(), ApicBus(), x2apic=False)
    assert LocalApic(300, CpuSignals(), Clock(), ApicBus()).apic_id == 300


@pytest.mark.parametrize("x2apic", [False, True])
def test_the_id_can_be_changed_where_there_is_no_x2apic(x2apic: bool) -> None:
    board = Board(2, x2apic=x2apic)
    board.enable()
    cpu, other = board.cpus
    other.apic_write(0x20, 0x07000000)
    assert other.apic_read(0x20) == (0x01000000 if x2apic else 0x07000000)
    board.ipi(0, 0x55, 7)
    assert (other.acknowledge() == 0x55) is not x2apic
    assert board.lapics[1].apic_id == 1
    base = other.rdmsr(BASE)
    assert base is not None and other.wrmsr(BASE, base & ~0x800) and other.wrmsr(BASE, base)
    assert other.apic_read(0x20) == 0x01000000


def test_processor_without_an_apic_says_so() -> None:
    with pytest.raises(UserInputError, match="no local APIC"):
        CpuSignals().rdmsr(BASE)


def test_round_trip() -> None:
    board = Board(2)
    board.enable()
    cpu = board.cpus[0]
    cpu.apic_write(LVT_TIMER, 0x20060)
    cpu.apic_write(DIVIDE, 11)
    cpu.apic_write(INITIAL, 1000)
    board.clock.advance(300)
    for vector in (0x41, 0x91):
        self_ipi(cpu, vector)
    cpu.acknowledge()
    saved = board.lapics[0].save()
    other = Board(1)
    other.clock.load(board.clock.save())
    other.lapics[0].load(saved)
    assert other.lapics[0].save() == saved
    again = other.cpus[0]
    assert bits(again, ISR) == [0x91] and not again.intr and again.apic_read(CURRENT) == 700
    again.apic_write(EOI, 0)
    assert again.acknowledge() == 0x41
    assert other.clock.next_deadline() == 1000
    board.lapics[0].reset()
    assert cpu.apic_read(SVR) == 0xFF
    with pytest.raises(UserInputError, match="lacks tpr"):
        other.lapics[0].load({key: value for key, value in saved.items() if key != "tpr"})
