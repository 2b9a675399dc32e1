"""Interrupt lines at both controllers, and the A20 gate."""

from __future__ import annotations

from pathlib import Path

from tests.machine import tiny_bios
from x86emu.machine import Machine, MachineConfig
from x86emu.machine.interrupts import A20Gate, InterruptLines, SharedLine, Tap


class Inputs:
    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []

    def set_irq(self, number: int, level: bool) -> None:
        self.seen.append((number, level))


def test_the_timer_is_on_pin_2_of_the_io_apic() -> None:
    pic, ioapic = Inputs(), Inputs()
    isa = InterruptLines(pic, ioapic)
    isa.set_irq(0, True)
    isa.set_irq(4, True)
    assert pic.seen == [(0, True), (4, True)]
    assert ioapic.seen == [(2, True), (4, True)]


def test_a20_is_masked_when_no_gate_lets_it_through() -> None:
    class Wires:
        masked = False

        def set_a20_masked(self, level: bool) -> None:
            self.masked = level

    wires = [Wires(), Wires()]
    gate = A20Gate(list(wires))
    gate.set("port 92h", True)
    gate.set("port 92h", False)
    assert not wires[0].masked, "the 8042 lets it through from power-on"
    gate.set("8042", True)
    gate.set("port 92h", False)
    assert not wires[1].masked
    gate.set("8042", False)
    assert wires[0].masked and wires[1].masked
    gate.set("port 92h", True)
    assert not wires[0].masked


def test_a_shared_line_is_asserted_as_long_as_anybody_asserts_it() -> None:
    sink = Inputs()
    line = SharedLine(sink, 4)
    for device, level in ((1, True), (3, True), (1, False), (3, False)):
        line.set_irq(device, level)
    assert [level for _, level in sink.seen] == [True, True, True, False]
    assert {number for number, _ in sink.seen} == {4}


def test_a_tap_passes_the_line_on_and_tells_of_rises() -> None:
    sink = Inputs()
    rises: list[bool] = []
    tap = Tap(sink, lambda: rises.append(True))
    tap.set_irq(8, True)
    tap.set_irq(8, False)
    assert sink.seen == [(8, True), (8, False)] and rises == [True]


def test_com1_and_com3_share_their_interrupt(tmp_path: Path) -> None:
    bios = tiny_bios.write(tmp_path / "bios.bin", tiny_bios.HALT)
    with Machine(config=MachineConfig(bios=bios, memory=4 << 20, serial_ports=3)) as machine:
        ports = machine.ports
        for base in (0x3F8, 0x3E8):
            ports.write(base + 3, 1, 3)
            ports.write(base + 4, 1, 8)  # OUT2 lets the interrupt out
            ports.write(base + 1, 1, 1)  # received data
        machine.serial_ports[0].send("a")
        machine.serial_ports[2].send("b")
        machine.clock.advance(100_000_000)
        assert machine.pic.master.lines >> 4 & 1
        assert ports.read(0x3F8, 1) == ord("a") and machine.pic.master.lines >> 4 & 1
        assert ports.read(0x3E8, 1) == ord("b") and not machine.pic.master.lines >> 4 & 1
        assert ports.read(0x2F8 + 7, 1) == 0 and ports.read(0x2E8 + 7, 1) == 0xFF  # COM2 is there, COM4 is not
