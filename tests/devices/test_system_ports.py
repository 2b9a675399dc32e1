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


def test_parallel_port_prints_on_strobe_and_acknowledges(edges):
    printed = bytearray()
    port = ParallelPort(IrqLine(edges, 7), printed.extend)
    assert port.read(1, 1) == 0xDF  # selected, not busy, no error
    for character in b"ok":
        port.write(0, 1, character)
        assert port.read(0, 1) == character
        port.write(2, 1, 0x1D)
        port.write(2, 1, 0x1D)
        port.write(2, 1, 0x1C)
    assert printed == b"ok" and edges.rises == {7: 2}
    assert port.read(2, 1) == 0xFC
    port.write(2, 1, 0x0D)
    assert edges.rises == {7: 2} and printed == b"okk"
