import pytest

from x86emu.devices.i8259 import I8259, I8259Pair
from x86emu.errors import UserInputError


def initialized(auto_eoi: bool = False, nested: bool = False, elcr: bool = True, icw1: int = 0x11) -> I8259Pair:
    pic = I8259Pair(elcr=elcr)
    icw4 = 0x01 | auto_eoi << 1 | nested << 4
    for value, offset in ((icw1, 0), (0x08, 1), (0x04, 1), (icw4, 1), (0x00, 1)):
        pic.write_master(offset, 1, value)
    for value, offset in ((icw1, 0), (0x70, 1), (0x02, 1), (0x01, 1), (0x00, 1)):
        pic.write_slave(offset, 1, value)
    return pic


def isr(chip: I8259) -> int:
    chip.write(0, 1, 0x0B)
    return chip.read(0, 1)


def irr(chip: I8259) -> int:
    chip.write(0, 1, 0x0A)
    return chip.read(0, 1)


def edge(pic: I8259Pair, number: int) -> None:
    pic.set_irq(number, False)
    pic.set_irq(number, True)


def test_request_acknowledge_eoi() -> None:
    levels: list[bool] = []
    pic = initialized()
    pic.output = levels.append
    pic.set_irq(4, True)
    assert levels == [True] and irr(pic.master) == 0x10
    assert pic.acknowledge() == 0x0C
    assert levels == [True, False] and isr(pic.master) == 0x10 and irr(pic.master) == 0
    pic.write_master(0, 1, 0x20)
    assert isr(pic.master) == 0 and not pic.level  # the line is still high, but an edge input wants an edge
    edge(pic, 4)
    assert pic.level


def test_slave_cascades_through_input_2() -> None:
    pic = initialized()
    pic.set_irq(8, True)
    assert irr(pic.master) == 0x04
    assert pic.acknowledge() == 0x70
    assert isr(pic.master) == 0x04 and isr(pic.slave) == 0x01
    edge(pic, 12)
    assert not pic.level  # IRQ 8 is in service and above it
    pic.write_slave(0, 1, 0x20)
    assert not pic.level  # the master's input 2 still is
    pic.write_master(0, 1, 0x20)
    assert pic.level and pic.acknowledge() == 0x74


def test_priorities_nest() -> None:
    pic = initialized()
    edge(pic, 5)
    assert pic.acknowledge() == 0x0D
    edge(pic, 6)
    assert not pic.level
    edge(pic, 1)
    assert pic.level and pic.acknowledge() == 0x09
    pic.write_master(0, 1, 0x20)
    assert isr(pic.master) == 0x20  # the non-specific EOI ends the highest one in service
    pic.write_master(0, 1, 0x65)
    assert isr(pic.master) == 0 and pic.acknowledge() == 0x0E


def test_mask() -> None:
    pic = initialized()
    pic.write_master(1, 1, 0x08)
    assert pic.read_master(1, 1) == 0x08
    edge(pic, 3)
    assert not pic.level and irr(pic.master) == 0x08
    pic.write_master(1, 1, 0)
    assert pic.level and pic.acknowledge() == 0x0B


def test_withdrawn_request_is_forgotten_and_an_acknowledge_is_spurious() -> None:
    pic = initialized()
    pic.set_irq(3, True)
    pic.set_irq(3, False)
    assert not pic.level and irr(pic.master) == 0
    assert pic.acknowledge() == 0x0F
    assert isr(pic.master) == 0
    assert pic.slave.acknowledge() == 7 and isr(pic.slave) == 0


def test_level_inputs_ask_again_until_they_drop() -> None:
    pic = initialized()
    pic.write_elcr(0, 1, 0xFF)
    pic.write_elcr(1, 1, 0xFF)
    assert (pic.read_elcr(0, 1), pic.read_elcr(1, 1)) == (0xF8, 0xDE)
    pic.set_irq(11, True)
    assert pic.acknowledge() == 0x73
    pic.write_slave(0, 1, 0x20)
    pic.write_master(0, 1, 0x20)
    assert pic.level and pic.acknowledge() == 0x73
    pic.set_irq(11, False)
    pic.write_slave(0, 1, 0x20)
    pic.write_master(0, 1, 0x20)
    assert not pic.level


def test_ltim_counts_only_without_edge_level_registers() -> None:
    for elcr, level in ((True, False), (False, True)):
        pic = initialized(elcr=elcr, icw1=0x19)
        pic.set_irq(6, True)
        pic.acknowledge()
        pic.write_master(0, 1, 0x20)
        assert pic.level is level


def test_rotation() -> None:
    pic = initialized()
    edge(pic, 3)
    pic.acknowledge()
    pic.write_master(0, 1, 0xA0)  # rotate on non-specific EOI: 3 becomes the lowest
    edge(pic, 3)
    edge(pic, 4)
    edge(pic, 1)
    assert [pic.acknowledge()] == [0x0C]
    pic.write_master(0, 1, 0xE4)  # rotate on specific EOI: 4 becomes the lowest
    assert pic.acknowledge() == 0x09
    pic.write_master(0, 1, 0x61)
    pic.write_master(0, 1, 0xC7)  # set priority: 7 is the lowest again
    edge(pic, 0)
    assert pic.acknowledge() == 0x08


def test_automatic_eoi_and_rotation_in_it() -> None:
    pic = initialized(auto_eoi=True)
    edge(pic, 1)
    assert pic.acknowledge() == 0x09 and isr(pic.master) == 0
    pic.write_master(0, 1, 0x80)
    edge(pic, 1)
    assert pic.acknowledge() == 0x09
    edge(pic, 0)
    edge(pic, 3)
    assert pic.acknowledge() == 0x0B  # 1 became the lowest, so 3 is above 0
    pic.write_master(0, 1, 0x00)
    assert pic.acknowledge() == 0x08


def test_special_mask_mode_lets_lower_levels_in() -> None:
    pic = initialized()
    edge(pic, 1)
    pic.acknowledge()
    edge(pic, 6)
    pic.write_master(1, 1, 0x02)
    assert not pic.level
    pic.write_master(0, 1, 0x68)
    assert pic.level and pic.acknowledge() == 0x0E
    pic.write_master(0, 1, 0x20)  # does not touch the masked bit
    assert isr(pic.master) == 0x02
    pic.write_master(0, 1, 0x48)
    pic.write_master(0, 1, 0x20)
    assert isr(pic.master) == 0


def test_special_fully_nested_mode_lets_a_higher_slave_request_in() -> None:
    for nested in (False, True):
        pic = initialized(nested=nested)
        edge(pic, 12)
        pic.acknowledge()
        edge(pic, 9)
        assert pic.level is nested
    assert pic.acknowledge() == 0x71


def test_poll() -> None:
    pic = initialized()
    pic.write_master(0, 1, 0x0C)
    assert pic.read_master(0, 1) == 0
    edge(pic, 5)
    pic.write_master(0, 1, 0x0C)
    assert pic.read_master(0, 1) == 0x85
    assert isr(pic.master) == 0x20 and not pic.level


def test_initialization_clears_mask_and_edges_and_needs_its_words() -> None:
    pic = initialized()
    pic.write_master(1, 1, 0xFF)
    edge(pic, 3)
    pic.write_master(0, 1, 0x11)
    assert not pic.level
    for value in (0x20, 0x04, 0x01):
        pic.write_master(1, 1, value)
    assert pic.read_master(1, 1) == 0 and not pic.level
    edge(pic, 3)
    assert pic.acknowledge() == 0x23
    pic.write_master(0, 1, 0x12)  # single, no ICW4
    pic.write_master(1, 1, 0x40)
    pic.write_master(1, 1, 0x55)  # already OCW1
    assert pic.read_master(1, 1) == 0x55


def test_line_2_has_no_pin() -> None:
    pic = initialized()
    pic.set_irq(2, True)
    assert not pic.level


def test_round_trip() -> None:
    pic = initialized()
    edge(pic, 3)
    edge(pic, 12)
    pic.acknowledge()
    pic.write_elcr(1, 1, 0x0C)
    other = I8259Pair()
    other.load(pic.save())
    assert other.save() == pic.save() and other.level == pic.level
    other.write_master(0, 1, 0x20)
    assert other.acknowledge() == pic.master.vector_base + 3
    other.reset()
    assert not other.level
    with pytest.raises(UserInputError, match="lacks latch"):
        other.master.load({key: value for key, value in pic.master.save().items() if key != "latch"})
