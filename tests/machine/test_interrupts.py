"""Shared ISA lines and the A20 gate."""

from __future__ import annotations

from x86emu.machine.interrupts import A20Gate, IsaInterrupts


class Inputs:
    def __init__(self) -> None:
        self.seen: list[tuple[int, bool]] = []

    def set_irq(self, number: int, level: bool) -> None:
        self.seen.append((number, level))


def test_a_line_is_the_or_of_its_sources() -> None:
    pic, ioapic = Inputs(), Inputs()
    isa = IsaInterrupts(pic, ioapic)
    first, second = isa.line(9, "sci"), isa.line(9, "pirq")
    first.set_level(True)
    second.set_level(True)
    first.set_level(False)
    assert pic.seen == ioapic.seen == [(9, True)]
    second.set_level(False)
    assert pic.seen == ioapic.seen == [(9, True), (9, False)]


def test_the_timer_is_on_pin_2_of_the_io_apic() -> None:
    pic, ioapic = Inputs(), Inputs()
    isa = IsaInterrupts(pic, ioapic)
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
