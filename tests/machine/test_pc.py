"""The wiring of the PC, seen from its ports: no processor runs here."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from x86emu.machine import Machine, StopReason
from x86emu.machine.pc import Machine as PcMachine

MIB = 1 << 20


class NoEngine:
    """Stands in for the engine: no processors."""

    cpus: list[Any] = []
    instructions = 0


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Machine]:
    bios = tmp_path / "bios.bin"
    bios.write_bytes(b"\xea" * (64 << 10) + b"\xf4" * (64 << 10))

    def no_engine(machine: Machine) -> None:
        machine.engine = NoEngine()  # type: ignore[assignment]

    monkeypatch.setattr(PcMachine, "_build_engine", no_engine)

    def make(**options: Any) -> Machine:
        return Machine(bios, memory=options.pop("memory", "64M"), **options)

    return make


def config_address(device: int, function: int, register: int) -> int:
    return 0x8000_0000 | device << 11 | function << 8 | register


def pci_read(machine: Machine, device: int, function: int, register: int, size: int = 4) -> int:
    machine.ports.write(0xCF8, 4, config_address(device, function, register & ~3))
    return machine.ports.read(0xCFC + (register & 3), size)


def pci_write(machine: Machine, device: int, function: int, register: int, size: int, value: int) -> None:
    machine.ports.write(0xCF8, 4, config_address(device, function, register & ~3))
    machine.ports.write(0xCFC + (register & 3), size, value)


def cmos(machine: Machine, index: int) -> int:
    machine.ports.write(0x70, 1, index)
    return machine.ports.read(0x71, 1)


def fw_cfg_file(machine: Machine, name: str) -> bytes:
    machine.ports.write(0x510, 2, 0x19)
    (count,) = struct.unpack(">I", machine.ports.read_block(0x511, 1, 4))
    for _ in range(count):
        size, key, _, entry = struct.unpack(">IHH56s", machine.ports.read_block(0x511, 1, 64))
        if entry.rstrip(b"\0").decode() == name:
            machine.ports.write(0x510, 2, key)
            return bytes(machine.ports.read_block(0x511, 1, size))
    raise KeyError(name)


def test_the_functions_of_bus_0(build: Callable[..., Machine]) -> None:
    machine = build()
    found = {(d, f): pci_read(machine, d, f, 0) for d in range(32) for f in range(8)}
    ids = {place: value for place, value in found.items() if value != 0xFFFFFFFF}
    bridges = {(0, 0): 0x12378086, (1, 0): 0x70008086, (1, 1): 0x70108086, (1, 3): 0x71138086}
    assert {place: ids[place] for place in bridges} == bridges


def test_bios_at_both_ends_and_shadowing(build: Callable[..., Machine]) -> None:
    machine = build()
    assert machine.memory.read(0xFFFFFFF0, 1) == machine.memory.read(0xFFFF0, 1) == b"\xf4"
    assert machine.memory.read(0xE0000, 1) == b"\xea"
    pci_write(machine, 0, 0, 0x59, 1, 0x20)
    machine.memory.write(0xF0000, b"RAM")
    assert machine.memory.read(0xF0000, 3) == b"\xf4\xf4\xf4"
    pci_write(machine, 0, 0, 0x59, 1, 0x30)
    assert machine.memory.read(0xF0000, 3) == b"RAM"
    machine.reset()
    assert machine.memory.read(0xF0000, 3) == b"\xf4\xf4\xf4"


def test_cmos_and_fw_cfg_tell_the_same_memory(build: Callable[..., Machine]) -> None:
    machine = build(memory="64M", cpus=3, boot="d")
    assert cmos(machine, 0x34) | cmos(machine, 0x35) << 8 == (48 * MIB) >> 16
    assert (cmos(machine, 0x5F), cmos(machine, 0x3D)) == (2, 3)
    assert struct.unpack("<QQI", fw_cfg_file(machine, "etc/e820")) == (0, 64 * MIB, 1)
    machine.ports.write(0x510, 2, 5)
    assert machine.ports.read(0x511, 1) == 3


def test_fw_cfg_dma_reaches_memory(build: Callable[..., Machine]) -> None:
    machine = build()
    machine.memory.write(0x1000, struct.pack(">IIQ", 0 << 16 | 0x0A, 4, 0x2000))
    machine.ports.write(0x518, 4, int.from_bytes(struct.pack(">I", 0x1000), "little"))
    assert machine.memory.read(0x2000, 4) == b"QEMU"
    assert machine.memory.read(0x1000, 4) == bytes(4)


def test_serial_output_is_collected_and_raises_irq_4(build: Callable[..., Machine]) -> None:
    machine = build()
    machine.ports.write(0x3FB, 1, 0x03)
    for byte in b"hi\r\n":
        machine.ports.write(0x3F8, 1, byte)
    assert machine.serial.text == "hi\n"
    machine.ports.write(0x3FC, 1, 0x08)
    machine.ports.write(0x3F9, 1, 0x01)
    machine.serial.send("x")
    machine.clock.advance(1_000_000)
    machine.ports.write(0x20, 1, 0x0A)
    assert machine.ports.read(0x20, 1) & 0x10
    assert machine.ports.read(0x3F8, 1) == ord("x")
    assert machine.serial.inputs == [(0, b"x")]


def test_pci_interrupts_reach_the_routed_isa_line(build: Callable[..., Machine]) -> None:
    machine = build()
    pci_write(machine, 1, 0, 0x60, 4, 0x0B0B0A0A)
    machine.pci.set_intx(machine.power, 1, True)  # slot 1 pin A is PIRQA
    machine.ports.write(0xA0, 1, 0x0A)
    assert machine.ports.read(0xA0, 1) == 1 << (10 - 8)
    machine.pci.set_intx(machine.power, 1, False)


def test_power_off_and_reset_ports(build: Callable[..., Machine]) -> None:
    machine = build()
    pci_write(machine, 1, 3, 0x40, 4, 0x601)
    pci_write(machine, 1, 3, 0x80, 1, 1)
    machine.ports.write(0x604, 2, 0x2000)
    assert machine.stop_reason is StopReason.POWER_OFF
    machine.ports.write(0xCF9, 1, 2)
    machine.ports.write(0xCF9, 1, 6)
    assert machine.reset_requested and machine.wiring.stop


def test_the_8042_pulses_init_at_every_processor(build: Callable[..., Machine]) -> None:
    machine = build(cpus=2)
    machine.reset()
    for signals in machine.signals:
        signals.clear_latches()
    machine.ports.write(0x64, 1, 0xFE)
    assert [signals.init for signals in machine.signals] == [True, True]


def test_a20_follows_port_92_and_the_8042(build: Callable[..., Machine]) -> None:
    machine = build()
    machine.ports.write(0x64, 1, 0xD1)
    machine.clock.advance(1_000_000)
    machine.ports.write(0x60, 1, 0xDD)
    assert machine.signals[0].a20_masked
    machine.ports.write(0x92, 1, 2)
    assert not machine.signals[0].a20_masked


def test_disk_and_cdrom_have_their_places(build: Callable[..., Machine], tmp_path: Path) -> None:
    disk, cdrom = tmp_path / "disk.img", tmp_path / "cd.iso"
    disk.write_bytes(bytes(MIB))
    cdrom.write_bytes(bytes(64 * 2048))
    machine = build(disk=disk, cdrom=cdrom, snapshot=True)
    pci_write(machine, 1, 1, 0x04, 2, 1)
    pci_write(machine, 1, 1, 0x40, 4, 0x80008000)
    machine.ports.write(0x1F6, 1, 0xA0)
    machine.ports.write(0x1F7, 1, 0xEC)
    machine.clock.advance(10_000_000)
    words = struct.unpack("<256H", machine.ports.read_block(0x1F0, 2, 256))
    assert words[60] | words[61] << 16 == MIB // 512
    machine.ports.write(0x176, 1, 0xA0)
    assert (machine.ports.read(0x174, 1), machine.ports.read(0x175, 1)) == (0x14, 0xEB)
    assert cmos(machine, 0x12) == 0xF0


def test_debug_exit_ends_with_its_value(build: Callable[..., Machine]) -> None:
    machine = build(debug_exit_port=0xF4)
    machine.ports.write(0xF4, 4, 0x10)
    assert (machine.stop_reason, machine.exit_status) == (StopReason.DEBUG_EXIT, 0x21)


def test_accesses_are_counted_by_device(build: Callable[..., Machine]) -> None:
    machine = build()
    machine.ports.write(0x402, 1, ord("x"))
    assert machine.ports.statistics()["debug console"] == (0, 1)
    assert machine.debug_console.text == "x"


@pytest.mark.parametrize("address", [0xFED0_0000, 0xFEC0_0000, 0xA0000, 0xFFFF_0000, 0x7000_0000])
def test_a_disk_read_into_anything_but_ram_goes_nowhere(
    build: Callable[..., Machine], tmp_path: Path, address: int
) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(b"\x5a" * MIB)
    machine = build(disk=disk, snapshot=True)
    before = machine.state_hash(), machine.mmio.read(0xFED0_0010, 4), bytes(machine.memory.rom)
    pci_write(machine, 1, 1, 0x20, 4, 0xC000)
    pci_write(machine, 1, 1, 0x04, 2, 5)
    pci_write(machine, 1, 1, 0x40, 4, 0x80008000)
    machine.memory.write(0x5000, struct.pack("<II", address, 0x8000_0200))
    ports = machine.ports
    ports.write(0xC004, 4, 0x5000)
    for port, value in ((0x1F6, 0xE0), (0x1F2, 1), (0x1F3, 0), (0x1F4, 0), (0x1F5, 0), (0x1F7, 0xC8)):
        ports.write(port, 1, value)
    ports.write(0xC000, 1, 9)
    assert ports.read(0x1F7, 1) == 0x50 and ports.read(0xC002, 1) & 7 == 4
    machine.memory.write(0x5000, bytes(8))
    assert before == (machine.state_hash(), machine.mmio.read(0xFED0_0010, 4), bytes(machine.memory.rom))
