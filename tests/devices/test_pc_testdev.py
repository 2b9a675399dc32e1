"""pc-testdev by itself, and as a machine has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from x86emu.bus.irq import IrqLine
from x86emu.devices.pc_testdev import MEMORY_BYTES, PcTestdev
from x86emu.errors import UserInputError
from x86emu.machine import Machine, MachineConfig


def lines(count: int = 24) -> list[IrqLine]:
    return [IrqLine(None, number) for number in range(count)]


def test_the_latch_in_every_width() -> None:
    device = PcTestdev(lines())
    device.write_latch(0, 4, 0x12345678)
    assert [device.read_latch(n, 1) for n in range(4)] == [0x78, 0x56, 0x34, 0x12]
    assert device.read_latch(2, 2) == 0x1234
    device.write_latch(1, 2, 0xABCD)
    assert device.read_latch(0, 4) == 0x12ABCD78
    device.write_flush(0, 4, 0)
    assert device.read_latch(0, 4) == 0x12ABCD78


def test_lines_follow_what_is_written() -> None:
    device = PcTestdev(lines())
    device.write_line(20, 1, 0x80)
    assert [number for number, line in enumerate(device.lines) if line.level] == [20]
    device.write_line(20, 1, 0)
    assert not any(line.level for line in device.lines)


def test_memory_up_to_its_end() -> None:
    device = PcTestdev(lines())
    device.write_memory(MEMORY_BYTES - 8, 8, 0x1122334455667788)
    assert device.read_memory(MEMORY_BYTES - 4, 4) == 0x11223344
    assert device.read_memory(0, 8) == 0


def test_state() -> None:
    device, other = PcTestdev(lines()), PcTestdev(lines())
    device.write_latch(0, 4, 5)
    device.write_line(3, 1, 1)
    device.write_memory(0x10, 2, 0xBEEF)
    other.load(device.save())
    assert (other.read_latch(0, 4), other.read_memory(0x10, 2), other.lines[3].level) == (5, 0xBEEF, True)
    other.reset()
    assert (other.read_latch(0, 4), other.read_memory(0x10, 2), other.lines[3].level) == (0, 0, False)


def test_a_machine_has_it_where_asked_for(tmp_path: Path) -> None:
    bios = tmp_path / "bios"
    bios.write_bytes(b"\xf4" * 0x10000)
    with Machine(config=MachineConfig(bios=bios, memory=4 << 20, devices=("pc-testdev",))) as machine:
        machine.ports.write(0xE0, 2, 0xCAFE)
        assert machine.ports.read(0xE9, 1) == 0xCA
        machine.mmio.write(0xFF00_1000, 4, 0x01020304)
        assert machine.mmio.read(0xFF00_1002, 2) == 0x0102
        machine.ports.write(0x2005, 1, 1)
        machine.pic.write_master(0, 1, 0x0A)
        assert machine.pic.read_master(0, 1) & 0x20
        machine.mmio.write(0xFEC0_0000, 4, 0x10 + 2 * 23)
        machine.mmio.write(0xFEC0_0010, 4, 0x8040)  # pin 23: level-triggered, vector 40h
        machine.ports.write(0x2017, 1, 1)
        assert machine.mmio.read(0xFEC0_0010, 4) & 1 << 14, "remote IRR: the local APIC has taken it"
    with pytest.raises(UserInputError, match="--device toaster: no such device; pc-testdev would do"):
        Machine(config=MachineConfig(bios=bios, memory=4 << 20, devices=("toaster",)))
