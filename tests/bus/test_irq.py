from x86emu.bus.irq import IrqLine
from x86emu.bus.platform import CpuSignals, Wiring


class Sink:
    def __init__(self) -> None:
        self.calls: list[tuple[int, bool]] = []

    def set_irq(self, number: int, level: bool) -> None:
        self.calls.append((number, level))


def test_sink_hears_changes_only() -> None:
    sink = Sink()
    line = IrqLine(sink, 5, "uart")
    line.set_level(False)
    line.raise_()
    line.raise_()
    assert line.level
    line.lower()
    line.pulse()
    assert sink.calls == [(5, True), (5, False), (5, True)]


def test_pulse_of_an_asserted_line_gives_an_edge() -> None:
    sink = Sink()
    line = IrqLine(sink, 3)
    line.raise_()
    line.pulse()
    assert sink.calls[1:] == [(3, False), (3, True)]


def test_line_without_a_sink_keeps_its_level() -> None:
    line = IrqLine(None, 0)
    line.raise_()
    assert line.level is True


def test_signals_latch_until_taken() -> None:
    signals = CpuSignals(2)
    assert signals.index == 2 and signals.apic_base == 0xFFFFFFFFFFFFFFFF
    signals.pulse_nmi()
    signals.pulse_smi()
    signals.pulse_init()
    signals.sipi(0x9F)
    signals.reset_processor()
    signals.set_a20_masked(True)
    signals.set_intr(1)
    assert (signals.nmi, signals.smi, signals.init, signals.reset) == (True,) * 4
    assert signals.sipi_vector == 0x9F and signals.a20_masked and signals.intr
    saved = signals.save()
    signals.clear_latches()
    assert not signals.nmi and signals.sipi_vector is None and signals.intr
    other = CpuSignals()
    other.load(saved)
    assert other.save() == saved


def test_processor_without_an_apic_acknowledges_nothing() -> None:
    assert CpuSignals().acknowledge() == -1


def test_stop_request_stays_until_cleared() -> None:
    wiring = Wiring()
    wiring.add_processor(CpuSignals())
    wiring.request_stop()
    assert wiring.stop
    wiring.stop = False
    assert not wiring.stop
