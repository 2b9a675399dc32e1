"""Port 92h, debug console, isa-debug-exit and the parallel port."""

from x86emu.bus.irq import IrqLine
from x86emu.bus.spaces import PortSpace
from x86emu.devices.debugcon import DebugConsole
from x86emu.devices.isa_debug_exit import IsaDebugExit
from x86emu.devices.parallel import ParallelPort
from x86emu.devices.port92 import Port92


def test_port92_gates_a20_and_resets_on_a_rising_edge():
    calls = []
    port = Port92(calls.append, lambda: calls.append("reset"))
    port.write(0, 1, 0x02)
    port.write(0, 1, 0x02)
    assert port.read(0, 1) == 0x02
    port.write(0, 1, 0x01)
    port.write(0, 1, 0x01)
    port.write(0, 1, 0x00)
    port.write(0, 1, 0x03)
    assert calls == [True, False, "reset", True, "reset"]
    port.reset()
    assert calls[5:] == [False] and port.read(0, 1) == 0


def test_port92_state_puts_the_gate_back():
    calls = []
    port = Port92()
    port.write(0, 1, 0x02)
    other = Port92(calls.append)
    other.load(port.save())
    assert calls == [True] and other.read(0, 1) == 2


def test_debug_console_is_found_and_prints():
    text = bytearray()
    console = DebugConsole(text.extend)
    assert console.read(0, 1) == 0xE9
    for character in b"SeaBIOS\n":
        console.write(0, 1, character)
    assert text == b"SeaBIOS\n"


def test_isa_debug_exit_status_is_odd():
    asked = []
    device = IsaDebugExit(asked.append)
    ports = PortSpace()
    ports.map(0xF4, 4, device.read, device.write, device.name)
    ports.write(0xF4, 4, 0x10)
    ports.write(0xF4, 1, 0)
    assert asked == [0x21, 1] and ports.read(0xF4, 4) == 0


def strobe(port, character, control=0x1C):
    port.write(0, 1, character)
    assert port.read(0, 1) == character
    port.write(2, 1, control | 1)
    port.write(2, 1, control | 1)
    port.write(2, 1, control)


def test_the_printer_takes_a_byte_on_the_strobe_and_acknowledges(edges, clock):
    printed = bytearray()
    port = ParallelPort(IrqLine(edges, 7), clock, printed.extend)
    assert port.read(1, 1) == 0xDF  # selected, not busy, no error
    for count, character in enumerate(b"ok", 1):
        strobe(port, character)
        assert port.read(1, 1) == 0x5F  # busy
        clock.advance(6_000)
        assert port.read(1, 1) == 0x1F  # and ACK# low
        assert edges.rises.get(7, 0) == count - 1
        clock.advance(4_000)
        assert port.read(1, 1) == 0xDF and edges.rises == {7: count}
    assert printed == b"ok" and port.read(2, 1) == 0xFC
    strobe(port, 0x21, 0x0C)
    clock.advance(20_000)
    assert edges.rises == {7: 2} and printed == b"ok!"


def test_when_the_printer_takes_nothing(edges, clock):
    printed = bytearray()
    port = ParallelPort(IrqLine(edges, 7), clock, printed.extend)
    strobe(port, 0x41)
    strobe(port, 0x42)  # still busy
    clock.advance(20_000)
    strobe(port, 0x43, 0x14)  # not selected
    strobe(port, 0x44, 0x18)  # held in reset
    assert printed == b"A" and port.read(1, 1) == 0x5F
    port.write(2, 1, 0x1C)
    assert port.read(1, 1) == 0xDF
    nobody = ParallelPort(IrqLine(edges, 7), clock)
    strobe(nobody, 0x41)
    assert nobody.read(1, 1) == 0x7F


def test_a_saved_byte_is_acknowledged_after_loading(edges, clock):
    port = ParallelPort(IrqLine(edges, 7), clock, lambda data: None)
    strobe(port, 0x41)
    state = port.save()
    port.reset()
    clock.advance(1_000)
    assert port.read(1, 1) == 0xDF
    port.load(state)
    clock.advance(9_000)
    assert edges.rises == {7: 1}
