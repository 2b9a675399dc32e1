"""Nonsense programmed into every device of the whole board: no handler may raise, and reset brings the board back."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.machine import tiny_bios as bios
from x86emu.machine import Machine

PORTS = [
    *range(0x00, 0x10), *range(0x20, 0x22), *range(0x40, 0x44), 0x60, 0x61, 0x64, *range(0x70, 0x74),
    *range(0x80, 0x93), 0xA0, 0xA1, 0xB2, 0xB3, *range(0xC0, 0xE0), *range(0x170, 0x178), *range(0x1CE, 0x1D1),
    *range(0x1F0, 0x1F8), 0x376, *range(0x378, 0x37B), *range(0x3B0, 0x3E0), *range(0x3F0, 0x400), 0x402,
    0x4D0, 0x4D1, *range(0x510, 0x51C), *range(0x600, 0x640), *range(0xC000, 0xC010), *range(0xCF8, 0xD00),
]  # fmt: skip
WINDOWS = [(0xA0000, 0x20000), (0xFEC00000, 0x40), (0xFED00000, 0x400), (0xFD000000, 0x1000), (0xFEBF0000, 0x1000)]


def pci(machine: Machine, rng: random.Random) -> None:
    device = rng.choice([(0, 0), (1, 0), (1, 1), (1, 3), (2, 0)])
    machine.ports.write(0xCF8, 4, 0x80000000 | device[0] << 11 | device[1] << 8 | rng.randrange(64) * 4)
    machine.ports.write(0xCFC + rng.randrange(4), 1, rng.randrange(256))


@pytest.mark.parametrize("seed", range(3))
def test_no_handler_raises(tmp_path: Path, seed: int) -> None:
    disk, cdrom = tmp_path / "disk.img", tmp_path / "cd.iso"
    disk.write_bytes(bytes(1 << 20))
    cdrom.write_bytes(bytes(64 * 2048))
    machine = Machine(
        bios.write(tmp_path / "bios.bin", bios.HALT), memory="4M", cpus=2, disk=disk, cdrom=cdrom, snapshot=True
    )
    rng = random.Random(seed)
    for step in range(3000):
        size = rng.choice((1, 1, 1, 2, 4))
        value = rng.choice((0, 1, (1 << 8 * size) - 1, rng.getrandbits(8 * size)))
        choice = rng.random()
        if choice < 0.45:
            machine.ports.write(rng.choice(PORTS), size, value)
        elif choice < 0.70:
            assert 0 <= machine.ports.read(rng.choice(PORTS), size) < 1 << 8 * size
        elif choice < 0.80:
            pci(machine, rng)
        elif choice < 0.82:
            machine.ports.read_block(rng.choice(PORTS), size, rng.randrange(1, 300))
        elif choice < 0.84:
            machine.ports.write_block(rng.choice(PORTS), size, rng.randbytes(size * rng.randrange(1, 300)))
        elif choice < 0.96:
            base, length = rng.choice(WINDOWS)
            address = base + rng.randrange(length // 4) * 4
            if rng.random() < 0.5:
                machine.mmio.write(address, 4, rng.getrandbits(32))
            else:
                machine.mmio.read(address, 4)
        elif choice < 0.97:
            signals = rng.choice(machine.signals)
            signals.apic_write(rng.randrange(64) * 16, rng.getrandbits(32))
        else:
            machine.clock.advance(rng.randrange(5_000_000))
        assert machine.wiring.exception is None, step
    machine.reset()
    machine.clock.advance(1_000_000_000)
    assert machine.wiring.exception is None
    assert machine.memory.read(0xFFFF0, 1) == b"\xea"
    machine.ports.write(0x3FB, 1, 3)
    machine.ports.write(0x3F8, 1, ord("k"))
    assert machine.serial.output[-1:] == b"k"
