"""IN, OUT, INS, OUTS: widths, permission, repetition (SDM 1 chapter 19; SDM 2A IN, INS; 2B OUT, OUTS)."""

from __future__ import annotations

import pytest

from tests.core.bare_machine import DATA, TSS, BareMachine
from x86emu._core import Engine
from x86emu.bus.clock import Clock
from x86emu.bus.platform import CpuSignals, Wiring
from x86emu.core.memory import PhysicalMemory
from x86emu.isa.models import resolve_model

GP = (13, 0)
PORT = 0x300


class Fifo:
    """A port that gives and takes numbered values and remembers how it was asked."""

    def __init__(self, m: BareMachine, blocks: bool = False) -> None:
        self.next = 1
        self.log: list[tuple[object, ...]] = []
        options = {"read_block": self.read_block, "write_block": self.write_block} if blocks else {}
        m.ports.map(PORT, 8, self.read, self.write, "fifo", sizes=(1, 2, 4), **options)

    def read(self, offset: int, size: int) -> int:
        self.log.append(("in", offset, size))
        self.next += 1
        return (self.next - 1) * 0x01010101 & (1 << 8 * size) - 1

    def write(self, offset: int, size: int, value: int) -> None:
        self.log.append(("out", offset, size, value))

    def read_block(self, offset: int, size: int, count: int) -> bytes:
        self.log.append(("in block", offset, size, count))
        return b"".join((self.next + n).to_bytes(size, "little") for n in range(count))

    def write_block(self, offset: int, size: int, data: bytes) -> int:
        self.log.append(("out block", offset, size, bytes(data)))
        return len(data) // size


def test_widths() -> None:
    m = BareMachine()
    fifo = Fifo(m)
    m.run("ec", rax=0xFFFFFFFFFFFFFFFF, rdx=PORT)
    assert m.cpu.rax == 0xFFFFFFFFFFFFFF01
    m.run("66ed")
    assert m.cpu.rax == 0xFFFFFFFFFFFF0202
    m.run("ed")
    assert m.cpu.rax == 0x03030303
    m.run("ee 66ef ef", rax=0x123456789ABCDEF0)
    assert fifo.log[3:] == [("out", 0, 1, 0xF0), ("out", 0, 2, 0xDEF0), ("out", 0, 4, 0x9ABCDEF0)]


def test_immediate_ports_are_unsigned() -> None:
    m = BareMachine()
    seen: list[tuple[int, int]] = []
    m.ports.map(0xF0, 8, lambda offset, size: 0x77, lambda offset, size, value: seen.append((offset, value)), "high")
    m.run("e4f1 e6f2", rax=0)
    assert m.cpu.rax == 0x77
    assert seen == [(2, 0x77)]


def test_unclaimed_ports_float() -> None:
    m = BareMachine()
    m.run("ed", rdx=0x555)
    assert m.cpu.rax == 0xFFFFFFFF


def test_repeated_input_by_elements_and_by_blocks() -> None:
    for blocks in (False, True):
        m = BareMachine()
        fifo = Fifo(m, blocks)
        m.run("f3 66 6d", rdi=DATA, rcx=6, rdx=PORT)
        assert (m.cpu.rcx, m.cpu.rdi) == (0, DATA + 12)
        if not blocks:
            assert m.memory.read(DATA, 12) == bytes(n for k in range(1, 7) for n in (k, k))
            assert len(fifo.log) == 6
        else:
            assert any(entry[0] == "in block" for entry in fifo.log)
            total = sum(entry[3] if entry[0] == "in block" else 1 for entry in fifo.log)
            assert total == 6


def test_repeated_output_down_and_across_a_page() -> None:
    m = BareMachine()
    fifo = Fifo(m)
    m.memory.write(DATA, bytes(range(8)))
    m.run("fd f3 6e fc", rsi=DATA + 3, rcx=3, rdx=PORT)
    assert [entry[3] for entry in fifo.log] == [3, 2, 1]
    assert m.cpu.rsi == DATA
    m = BareMachine()
    fifo = Fifo(m, blocks=True)
    m.memory.write(DATA + 0xFF0, bytes(range(64)))
    m.run("f3 6f", rsi=DATA + 0xFF0, rcx=16, rdx=PORT)
    sent = b"".join(
        entry[3] if entry[0] == "out block" else entry[3].to_bytes(4, "little")  # type: ignore[union-attr]
        for entry in fifo.log
    )
    assert sent == bytes(range(64))
    assert (m.cpu.rcx, m.cpu.rsi) == (0, DATA + 0xFF0 + 64)


def test_repeat_counts_every_element_as_an_instruction() -> None:
    m = BareMachine()
    Fifo(m)
    before = m.cpu.instructions
    m.run("f3 6c", rdi=DATA, rcx=100, rdx=PORT)
    many = m.cpu.instructions - before
    before = m.cpu.instructions
    m.run("f3 6c", rdi=DATA, rcx=10, rdx=PORT)
    assert many - (m.cpu.instructions - before) == 90


def test_repeat_goes_on_where_a_budget_ended() -> None:
    m = BareMachine()
    fifo = Fifo(m)
    m.memory.write(0xA000, bytes.fromhex("f36cf4"))
    m.cpu.rip, m.cpu.rdi, m.cpu.rcx, m.cpu.rdx = 0xA000, DATA, 50, PORT
    m.engine.run(20)
    assert 0 < m.cpu.rcx < 50
    assert m.cpu.rip == 0xA000
    assert m.cpu.rdi == DATA + 50 - m.cpu.rcx
    m.engine.run(1000)
    assert m.cpu.rcx == 0
    assert len(fifo.log) == 50


def test_a_count_of_zero_does_nothing() -> None:
    m = BareMachine()
    fifo = Fifo(m)
    m.run("f3 6c", rdi=0xDEAD00000000, rcx=0, rdx=PORT)
    assert fifo.log == []


def test_a_fault_on_the_destination_comes_before_the_port_is_read() -> None:
    m = BareMachine()
    fifo = Fifo(m)
    fault = m.fault("6c", rdi=0x40000000, rdx=PORT)
    assert fault is not None and fault[0] == 14
    assert fifo.log == []


def test_address_size() -> None:
    m = BareMachine()
    Fifo(m)
    m.run("67 6c", rdi=0xFFFFFFFF00000000 | DATA, rdx=PORT)
    assert m.cpu.rdi == DATA + 1
    m = BareMachine("real")
    Fifo(m)
    m.run("6c", rdi=0x1234FFFF, rdx=PORT)
    assert m.cpu.rdi == 0x12340000


@pytest.mark.parametrize(("iopl", "bit", "fault"), [(3, 1, None), (0, 0, None), (0, 1, GP)])
def test_permission_in_user_mode(iopl: int, bit: int, fault: tuple[int, int] | None) -> None:
    m = BareMachine(cpl=3)
    Fifo(m)
    m.cpu.tr.set(0x40, TSS, 0x67 + 0x2000, 0x8B)
    m.memory.write(TSS + 102, (104).to_bytes(2, "little"))
    m.memory.write(TSS + 104, bytes(0x60) + bytes([bit]) + bytes(0x20))
    m.cpu.rflags = 2 | iopl << 12
    assert m.fault("ec", rdx=PORT) == fault


def test_a_bitmap_beyond_the_limit_refuses() -> None:
    for code in ("ec", "e680"):
        m = BareMachine(cpl=3)
        m.memory.write(TSS + 102, (104).to_bytes(2, "little"))
        assert m.fault(code, rdx=PORT) == GP


def test_a_machine_without_ports_reads_ones() -> None:
    memory = PhysicalMemory(1 << 20)
    memory.map(0, 1 << 20, 0, 0)
    wiring = Wiring()
    engine = Engine(memory, wiring, Clock(wiring), [CpuSignals(0)], resolve_model("default"))
    cpu = engine.cpus[0]
    cpu.cs.set(0, 0, 0xFFFF, 0x9B)
    memory.write(0x1000, bytes.fromhex("e560 e661 f4"))  # in ax, 60h; out 61h, al; hlt
    cpu.rip = 0x1000
    assert engine.run(10) == "halted"
    assert cpu.rax == 0xFFFF
