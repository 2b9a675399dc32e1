"""The 16550A from its registers."""

import pytest

from x86emu.devices.uart16550 import UNPACED_CHARACTER_NS, Uart16550

THR = RBR = DLL = 0
IER = DLM = 1
IIR = FCR = 2
LCR, MCR, LSR, MSR, SCR = 3, 4, 5, 6, 7


@pytest.fixture
def sent():
    return bytearray()


@pytest.fixture
def uart(irq, clock, sent):
    uart = Uart16550(irq, clock, sent.extend)
    uart.write(LCR, 1, 0x03)
    uart.write(MCR, 1, 0x08)
    return uart


def let_arrive(clock, characters):
    clock.advance(characters * UNPACED_CHARACTER_NS)


def test_register_values_after_reset(irq, clock):
    uart = Uart16550(irq, clock)
    assert [uart.read(offset, 1) for offset in range(1, 8)] == [0, 0x01, 0, 0, 0x60, 0xB0, 0]


def test_divisor_latch_hides_data_and_interrupt_enable(uart, sent):
    uart.write(LCR, 1, 0x83)
    uart.write(DLL, 1, 0x0C)
    uart.write(DLM, 1, 0x01)
    assert (uart.read(DLL, 1), uart.read(DLM, 1)) == (0x0C, 0x01)
    uart.write(LCR, 1, 0x03)
    assert uart.read(IER, 1) == 0
    assert sent == b""
    uart.write(SCR, 1, 0xA5)
    assert uart.read(SCR, 1) == 0xA5


def test_transmit_takes_no_time_unless_paced(uart, sent):
    for character in b"hello":
        uart.write(THR, 1, character)
        assert uart.read(LSR, 1) == 0x60
    assert sent == b"hello"


def test_word_length_limits_what_is_sent(uart, sent):
    uart.write(LCR, 1, 0x02)
    uart.write(THR, 1, 0xC1)
    assert sent == b"\x41"


def test_thr_empty_interrupt_on_enable_and_after_each_write(uart, irq, edges):
    uart.write(IER, 1, 0x02)
    assert irq.level
    assert uart.read(IIR, 1) == 0x02
    assert not irq.level and uart.read(IIR, 1) == 0x01
    uart.write(THR, 1, 0x41)
    uart.write(THR, 1, 0x42)
    assert irq.level and edges.rises[0] == 3  # every write lowers and raises: an edge-triggered 8259 sees both
    # Reading IIR acknowledges it only if it is what IIR shows.
    uart.write(IER, 1, 0x00)
    assert not irq.level
    uart.write(IER, 1, 0x02)
    assert irq.level


def test_out2_gates_the_line(uart, irq):
    uart.write(MCR, 1, 0x00)
    uart.write(IER, 1, 0x02)
    assert not irq.level and uart.read(IIR, 1) == 0x02
    uart.write(IER, 1, 0x00)
    uart.write(IER, 1, 0x02)
    uart.write(MCR, 1, 0x08)
    assert irq.level


def test_receive_without_fifo_one_at_a_time(uart, clock, irq, edges):
    uart.write(IER, 1, 0x01)
    uart.receive(b"ab")
    let_arrive(clock, 10)
    assert uart.read(LSR, 1) == 0x61 and irq.level and uart.read(IIR, 1) == 0x04
    assert uart.pending_input == 1  # the host waits for room
    assert uart.read(RBR, 1) == ord("a")
    assert not irq.level and uart.read(LSR, 1) == 0x60
    let_arrive(clock, 1)
    assert irq.level and uart.read(RBR, 1) == ord("b")
    assert edges.rises[0] == 2


@pytest.mark.parametrize("fcr, trigger", [(0x01, 1), (0x41, 4), (0x81, 8), (0xC1, 14)])
def test_fifo_trigger_levels(uart, clock, irq, fcr, trigger):
    uart.write(FCR, 1, fcr)
    uart.write(IER, 1, 0x01)
    uart.receive(bytes(range(trigger)))
    let_arrive(clock, trigger - 1)
    assert not irq.level and uart.read(IIR, 1) == 0xC1
    let_arrive(clock, 1)
    assert irq.level and uart.read(IIR, 1) == 0xC4
    assert uart.read(RBR, 1) == 0
    assert not irq.level


def test_character_timeout_after_four_character_times(uart, clock, irq):
    uart.write(FCR, 1, 0xC1)
    uart.write(IER, 1, 0x01)
    uart.receive(b"xy")
    let_arrive(clock, 2 + 3)
    assert not irq.level
    let_arrive(clock, 1)
    assert irq.level and uart.read(IIR, 1) == 0xCC
    assert uart.read(RBR, 1) == ord("x")
    assert not irq.level
    let_arrive(clock, 4)
    assert irq.level and uart.read(RBR, 1) == ord("y")
    let_arrive(clock, 10)
    assert not irq.level and clock.next_deadline() == 2**63 - 1


def test_host_input_waits_for_room_and_none_is_lost(uart, clock):
    uart.write(FCR, 1, 0x01)
    text = bytes(range(100))
    uart.receive(text)
    got = bytearray()
    for _ in range(20):
        let_arrive(clock, 40)
        while uart.read(LSR, 1) & 1:
            got.append(uart.read(RBR, 1))
    assert got == text


def test_loopback_data_modem_lines_and_overrun(uart, irq, sent, clock):
    uart.write(FCR, 1, 0x01)
    uart.write(MCR, 1, 0x1A)
    assert uart.read(MSR, 1) & 0xF0 == 0x90  # RTS -> CTS, OUT2 -> DCD
    for character in range(17):
        uart.write(THR, 1, character)
    assert sent == b""
    assert uart.read(LSR, 1) == 0x63
    assert uart.read(LSR, 1) == 0x61  # reading clears the overrun
    assert [uart.read(RBR, 1) for _ in range(16)] == list(range(16))
    uart.write(FCR, 1, 0x00)
    uart.write(THR, 1, 1)
    uart.write(THR, 1, 2)
    assert uart.read(LSR, 1) & 0x02 and uart.read(RBR, 1) == 2  # without FIFO the newer one wins


def test_modem_status_deltas_and_ring_trailing_edge(uart, irq):
    uart.read(MSR, 1)
    uart.write(IER, 1, 0x08)
    uart.set_modem_inputs(cts=False, ri=True)
    assert irq.level and uart.read(IIR, 1) == 0x00
    assert uart.read(MSR, 1) == 0xE1  # DCTS; the ring indicator's rising edge is no delta
    assert not irq.level
    uart.set_modem_inputs(cts=False, ri=False, dsr=False, dcd=False)
    assert uart.read(MSR, 1) == 0x0E
    assert uart.read(MSR, 1) == 0x00


def test_break_and_errors_show_with_their_character(uart, irq, clock):
    uart.write(FCR, 1, 0x01)
    uart.write(IER, 1, 0x05)
    uart.receive(b"a")
    uart.receive_damaged(0x55, parity=True)
    uart.receive_break()
    let_arrive(clock, 3)
    assert uart.read(LSR, 1) == 0xE1  # an error is in the FIFO, not at its top
    assert uart.read(IIR, 1) == 0xC4
    assert uart.read(RBR, 1) == ord("a")
    assert uart.read(IIR, 1) == 0xC6  # line status comes first
    assert uart.read(LSR, 1) == 0xE5
    assert uart.read(IIR, 1) == 0xC4
    assert uart.read(RBR, 1) == 0x55
    assert uart.read(LSR, 1) == 0xF9 and uart.read(LSR, 1) == 0x61
    assert uart.read(RBR, 1) == 0


def test_interrupt_priorities(uart, clock, irq):
    uart.write(FCR, 1, 0x01)
    uart.read(MSR, 1)
    uart.write(IER, 1, 0x0F)
    uart.set_modem_inputs(cts=False)
    uart.receive_damaged(1, framing=True)
    let_arrive(clock, 1)
    seen = [uart.read(IIR, 1)]
    uart.read(LSR, 1)
    seen.append(uart.read(IIR, 1))
    uart.read(RBR, 1)
    seen.append(uart.read(IIR, 1))
    seen.append(uart.read(IIR, 1))
    uart.read(MSR, 1)
    seen.append(uart.read(IIR, 1))
    assert seen == [0xC6, 0xC4, 0xC2, 0xC0, 0xC1]
    assert not irq.level


def test_guest_break_is_told_to_the_host(irq, clock):
    told = []
    uart = Uart16550(irq, clock, break_output=told.append)
    uart.write(LCR, 1, 0x43)
    uart.write(LCR, 1, 0x03)
    assert told == [True, False]


def test_fifo_resets(uart, clock):
    uart.write(FCR, 1, 0x01)
    uart.receive(b"abc")
    let_arrive(clock, 3)
    uart.write(FCR, 1, 0x03)
    assert uart.read(LSR, 1) == 0x60
    uart.receive(b"d")
    let_arrive(clock, 1)
    uart.write(FCR, 1, 0x00)  # leaving FIFO mode empties the FIFOs too
    assert uart.read(LSR, 1) == 0x60 and uart.read(IIR, 1) == 0x01


def test_paced_transmitter_takes_frame_time(irq, clock, sent):
    uart = Uart16550(irq, clock, sent.extend, paced=True)
    uart.write(LCR, 1, 0x83)
    uart.write(DLL, 1, 12)  # 9600 baud, 10 bits: 1.0417 ms a character
    uart.write(LCR, 1, 0x03)
    uart.write(FCR, 1, 0x01)
    uart.write(THR, 1, 0x41)
    assert uart.read(LSR, 1) == 0x20  # THR is empty again, the shift register is not
    uart.write(THR, 1, 0x42)
    assert uart.read(LSR, 1) == 0x00
    clock.advance(1_041_600)
    assert sent == b""
    clock.advance(100)
    assert sent == b"A" and uart.read(LSR, 1) == 0x20
    clock.advance(1_041_700)
    assert sent == b"AB" and uart.read(LSR, 1) == 0x60


def test_state_round_trip_mid_flight(uart, clock, irq, sent):
    uart.write(FCR, 1, 0xC1)
    uart.write(IER, 1, 0x01)
    uart.receive(b"xyz")
    let_arrive(clock, 2)
    state = uart.save()
    let_arrive(clock, 10)
    expected = [uart.read(IIR, 1)] + [uart.read(RBR, 1) for _ in range(3)]
    other_clock = type(clock)()
    other_clock.advance_to(2 * UNPACED_CHARACTER_NS)
    other = Uart16550(irq, other_clock)
    other.load(state)
    let_arrive(other_clock, 10)
    assert [other.read(IIR, 1)] + [other.read(RBR, 1) for _ in range(3)] == expected == [0xCC, *b"xyz"]
