from x86emu.devices.ioapic import IoApic


class Bus:
    def __init__(self) -> None:
        self.messages: list[tuple[int, bool, int, int, bool]] = []

    def deliver(self, *message: object) -> None:
        self.messages.append(message)  # type: ignore[arg-type]

    def add_ioapic(self, ioapic: IoApic) -> None:
        self.ioapic = ioapic


def make(version: int = 0x11) -> tuple[IoApic, Bus]:
    bus = Bus()
    return IoApic(bus, apic_id=4, version=version), bus


def put(ioapic: IoApic, register: int, value: int) -> None:
    ioapic.write(0x00, 4, register)
    ioapic.write(0x10, 4, value)


def get(ioapic: IoApic, register: int) -> int:
    ioapic.write(0x00, 4, register)
    return ioapic.read(0x10, 4)


def redirect(ioapic: IoApic, pin: int, low: int, destination: int = 0) -> None:
    put(ioapic, 0x11 + 2 * pin, destination << 24)
    put(ioapic, 0x10 + 2 * pin, low)


def test_identification() -> None:
    ioapic, bus = make()
    assert bus.ioapic is ioapic
    assert get(ioapic, 0) == 0x04000000
    assert get(ioapic, 1) == 0x00170011
    assert get(ioapic, 2) == 0
    put(ioapic, 0, 0xFF000000)
    assert get(ioapic, 0) == 0x0F000000 == get(ioapic, 2)
    put(ioapic, 1, 0)
    assert get(ioapic, 1) == 0x00170011
    assert ioapic.read(0, 4) == 1 and ioapic.read(0, 1) == 1 and ioapic.read(0x20, 4) == 0


def test_entries_are_masked_after_reset_and_keep_their_read_only_bits() -> None:
    ioapic, _ = make()
    assert [get(ioapic, 0x10 + 2 * pin) for pin in range(24)] == [0x10000] * 24
    redirect(ioapic, 23, 0xFFFFFFFF, 0xAB)
    assert get(ioapic, 0x3E) == 0x1AFFF and get(ioapic, 0x3F) == 0xAB000000
    put(ioapic, 0x40, 1)
    assert get(ioapic, 0x40) == 0


def test_edges() -> None:
    ioapic, bus = make()
    redirect(ioapic, 4, 0x0831, 0x03)
    ioapic.set_irq(4, True)
    ioapic.set_irq(4, True)
    ioapic.set_irq(4, False)
    assert bus.messages == [(3, True, 0, 0x31, False)]
    redirect(ioapic, 4, 0x10031)
    ioapic.set_irq(4, True)  # neither delivered nor held
    redirect(ioapic, 4, 0x00031)
    assert len(bus.messages) == 1


def test_level_waits_for_eoi() -> None:
    ioapic, bus = make()
    redirect(ioapic, 10, 0x8042, 1)
    ioapic.set_irq(10, True)
    assert bus.messages == [(1, False, 0, 0x42, True)]
    assert get(ioapic, 0x10 + 20) == 0xC042
    ioapic.set_irq(10, False)
    ioapic.set_irq(10, True)
    assert len(bus.messages) == 1
    ioapic.end_of_interrupt(0x43)
    assert len(bus.messages) == 1
    ioapic.end_of_interrupt(0x42)
    assert len(bus.messages) == 2
    ioapic.set_irq(10, False)
    ioapic.end_of_interrupt(0x42)
    assert len(bus.messages) == 2 and get(ioapic, 0x10 + 20) == 0x8042


def test_masked_level_is_delivered_when_unmasked() -> None:
    ioapic, bus = make()
    redirect(ioapic, 10, 0x18042)
    ioapic.set_irq(10, True)
    assert not bus.messages
    put(ioapic, 0x10 + 20, 0x8042)
    assert len(bus.messages) == 1


def test_switch_to_edge_clears_remote_irr() -> None:
    ioapic, bus = make()
    redirect(ioapic, 10, 0x8042)
    ioapic.set_irq(10, True)
    put(ioapic, 0x10 + 20, 0x10042)
    assert get(ioapic, 0x10 + 20) == 0x10042
    put(ioapic, 0x10 + 20, 0x8042)
    assert len(bus.messages) == 2


def test_other_modes_have_no_eoi() -> None:
    ioapic, bus = make()
    redirect(ioapic, 0, 0x8700)
    ioapic.set_irq(0, True)
    put(ioapic, 0x10, 0x8700)
    assert bus.messages == [(0, False, 7, 0, False)]
    assert get(ioapic, 0x10) == 0x8700
    ioapic.set_irq(0, False)
    ioapic.set_irq(0, True)
    assert len(bus.messages) == 2


def test_eoi_register_exists_from_version_20h_on() -> None:
    for version, count in ((0x11, 1), (0x20, 2)):
        ioapic, bus = make(version)
        redirect(ioapic, 10, 0x8042)
        ioapic.set_irq(10, True)
        ioapic.write(0x40, 4, 0x42)
        assert len(bus.messages) == count


def test_round_trip_and_reset() -> None:
    ioapic, _ = make()
    redirect(ioapic, 10, 0x8042, 7)
    ioapic.set_irq(10, True)
    other, bus = make()
    other.load(ioapic.save())
    assert other.save() == ioapic.save()
    other.end_of_interrupt(0x42)
    assert bus.messages == [(7, False, 0, 0x42, True)]
    other.reset()
    assert get(other, 0x10 + 20) == 0x10000
