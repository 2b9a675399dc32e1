"""Interrupt lines at both controllers, and the A20 gate."""

from __future__ import annotations

from x86emu.machine.interrupts import A20Gate, InterruptLines


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
    gate.set("8042", True)
    gate.set("port 92h", False)
    assert not wires[1].masked
    gate.set("8042", False)
    assert wires[0].masked and wires[1].masked
    gate.set("port 92h", True)
    assert not wires[0].masked
