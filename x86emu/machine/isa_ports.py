"""Serial and parallel ports at the addresses and interrupts that a PC gives them (IBM PC/AT Technical Reference), and
the test device where one was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from x86emu.bus.irq import IrqLine
from x86emu.devices import pc_testdev
from x86emu.devices.parallel import ParallelPort
from x86emu.devices.uart16550 import Uart16550
from x86emu.machine.consoles import Console, SerialConsole
from x86emu.machine.interrupts import SharedLine

if TYPE_CHECKING:
    from x86emu.machine.board import Board

SERIAL_PORTS = ((0x3F8, 4), (0x2F8, 3), (0x3E8, 4), (0x2E8, 3))  # COM1 to COM4
PARALLEL_PORT = (0x378, 7)


def wire_serial(board: Board) -> None:
    """COM1 and as many more as were asked for; COM1 and COM3 share a line, COM2 and COM4 another."""
    lines = {irq: SharedLine(board.bridge.isa, irq) for _, irq in SERIAL_PORTS}
    board.serial_ports = []
    for number, (base, irq) in enumerate(SERIAL_PORTS[: board.config.serial_ports], 1):
        name = f"COM{number}"
        line = IrqLine(lines[irq], number, name.lower())
        uart = board.add_device(Uart16550(line, board.clock, name=name, paced=board.config.paced_serial))
        console = SerialConsole(uart, board.clock.now)
        uart.output = console.receive_output
        board.ports.map(base, 8, uart.read, uart.write, name, sizes=(1,))
        board.serial_ports.append(console)
        if number == 1:
            board.uart, board.serial = uart, console


def wire_parallel(board: Board) -> None:
    """LPT1, with a printer where one was asked for; what it prints is in `board.printer`."""
    base, irq = PARALLEL_PORT
    board.printer = Console()
    output = board.printer.receive_output if board.config.printer else None
    port = board.add_device(ParallelPort(IrqLine(board.bridge.isa, irq, "lpt1"), board.clock, output))
    board.ports.map(base, 3, port.read, port.write, "LPT1", sizes=(1,))


def wire_test_device(board: Board) -> None:
    """pc-testdev: lines 0 to 15 are the ISA bus's, those from 16 on pins of the I/O APIC alone."""
    lines = [
        IrqLine(board.bridge.isa if number < 16 else board.ioapic, number, f"test line {number}")
        for number in range(24)
    ]
    device = board.add_device(pc_testdev.PcTestdev(lines))
    ports, read, write = board.ports, device.read_latch, device.write_latch
    ports.map(pc_testdev.LATCH_PORT, 4, read, write, "pc-testdev latch")
    ports.map(pc_testdev.FLUSH_PORT, 4, None, device.write_flush, "pc-testdev flush")
    ports.map(pc_testdev.BYTE_PORT, 4, read, write, "pc-testdev bytes", sizes=(1,))
    ports.map(pc_testdev.LINE_PORT, len(lines), None, device.write_line, "pc-testdev lines", sizes=(1,))
    board.mmio.map(
        pc_testdev.MEMORY_BASE, pc_testdev.MEMORY_BYTES, device.read_memory, device.write_memory, "pc-testdev memory",
        sizes=(1, 2, 4, 8),
    )  # fmt: skip
