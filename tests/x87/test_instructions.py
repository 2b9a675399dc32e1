"""x87 instructions on the engine: the stack, exceptions and their reporting, environment images, availability."""

from __future__ import annotations

import struct

import pytest

from tests.x87.machine import CODE, DATA, MONITOR, NUMERIC_ERROR, TASK_SWITCHED, FpuMachine
from x86emu.bus.irq import IrqLine
from x86emu.devices.coprocessor_error import CoprocessorError

J = 1 << 63
ONE, TWO, ZERO, INDEFINITE = (J, 0x3FFF), (J, 0x4000), (0, 0), (0xC000000000000000, 0xFFFF)
MF, NM = 16, 7
F64_ONE = struct.pack("<d", 1.0)


@pytest.fixture(scope="module")
def machine() -> FpuMachine:
    return FpuMachine()


def test_stack_operands(machine: FpuMachine) -> None:
    """FADD ST, ST(1); FSUBRP ST(1), ST; the order of FSUB and FSUBR."""
    machine.set_fpu([ONE, TWO])
    assert machine.run("d8c1") is None
    state = machine.cpu.fpu()
    assert state["st"][0] == (3 << 62, 0x4000) and state["status"] == 0
    machine.set_fpu([ONE, TWO])
    machine.run("dee1")  # FSUBRP: ST(1) = ST - ST(1)
    state = machine.cpu.fpu()
    assert state["st"][0] == (J, 0xBFFF)
    assert state["status"] == 1 << 11 and state["valid"] == 0b10
    machine.set_fpu([ONE, TWO])
    machine.run("dee9")  # FSUBP: ST(1) = ST(1) - ST
    assert machine.cpu.fpu()["st"][0] == ONE


def test_memory_operands(machine: FpuMachine) -> None:
    machine.set_fpu([TWO])
    machine.run("dc07", F64_ONE)  # FADD m64
    assert machine.cpu.fpu()["st"][0] == (3 << 62, 0x4000)
    machine.run("dd1f")  # FSTP m64
    assert machine.data(8) == struct.pack("<d", 3.0)
    assert machine.cpu.fpu()["valid"] == 0
    machine.set_fpu([TWO])
    machine.run("de07", struct.pack("<h", -3))  # FIADD m16
    assert machine.cpu.fpu()["st"][0] == (J, 0xBFFF)


def test_denormal_memory_operand_raises_de(machine: FpuMachine) -> None:
    machine.set_fpu([TWO])
    machine.run("d807", b"\x01\0\0\0")
    assert machine.cpu.fpu()["status"] & 0x3F == 0x22
    machine.set_fpu([(J | 1 << 62, 0x7FFF)])
    machine.run("d807", b"\x01\0\0\0")
    assert machine.cpu.fpu()["status"] & 0x3F == 0


def test_stack_overflow_and_underflow(machine: FpuMachine) -> None:
    """SDM 1, 8.5.1.1: IE and SF, C1 tells which; masked, the indefinite; unmasked, nothing changes."""
    machine.set_fpu([ONE] * 8)
    machine.run("d9e8")
    state = machine.cpu.fpu()
    assert state["status"] == 0x3A41 and state["st"][0] == INDEFINITE
    machine.set_fpu([ONE], valid=0)
    machine.run("d9fa")  # FSQRT
    state = machine.cpu.fpu()
    assert state["status"] == 0x0041 and state["st"][0] == INDEFINITE and state["valid"] == 1
    machine.set_fpu([ONE] * 8, control=0x37E)
    machine.run("d9e8")
    state = machine.cpu.fpu()
    assert state["status"] == 0x82C1 and state["st"][0] == ONE


def test_pending_exception_is_reported_by_the_next_waiting_instruction(machine: FpuMachine) -> None:
    """Division by zero unmasked: ES and B, then #MF; FNSTSW and FNCLEX do not wait."""
    machine.set_fpu([ONE, ZERO], control=0x37B)
    assert machine.run("d8f1") is None
    assert machine.cpu.fpu()["status"] == 0x8084
    assert machine.cpu.fpu()["st"][0] == ONE
    assert machine.run("dfe0") is None  # FNSTSW AX
    assert machine.cpu.rax & 0xFFFF == 0x8084
    for waiting in ("9b", "d9e8", "d8c1", "dc07", "dd1f", "d92f", "d9d0"):
        assert machine.run(waiting) == MF, waiting
    assert machine.run("dbe2") is None  # FNCLEX
    assert machine.cpu.fpu()["status"] == 0
    assert machine.run("9b") is None


def test_unmasking_a_noted_exception_makes_it_pending(machine: FpuMachine) -> None:
    machine.set_fpu([ONE], status=0x20)
    machine.run("d92f", b"\x5f\x03")
    assert machine.cpu.fpu()["status"] == 0x80A0
    assert machine.run("9b") == MF
    machine.set_fpu([ONE], control=0x35F, status=0x80A0)
    machine.run("d937")  # FNSTENV masks everything
    assert machine.cpu.fpu()["status"] == 0x20 and machine.cpu.fpu()["control"] == 0x37F
    assert machine.data(8) == b"\x5f\x03\xff\xff\xa0\x80\xff\xff"


def test_unmasked_overflow_suppresses_a_store(machine: FpuMachine) -> None:
    machine.set_fpu([(J, 0x7000)], control=0x377)
    machine.run("d91f", b"\xaa" * 4)
    state = machine.cpu.fpu()
    assert machine.data(4) == b"\xaa" * 4 and state["valid"] == 1 and state["status"] == 0x8088
    machine.set_fpu([(J | 1, 0x3FFF)], control=0x35F)  # PE alone does not
    machine.run("d91f", b"\xaa" * 4)
    assert machine.data(4) == struct.pack("<f", 1.0)
    assert machine.cpu.fpu()["status"] == 1 << 11 | 0x80A0


def test_comparisons_set_eflags(machine: FpuMachine) -> None:
    for a, b, flags in ((ONE, TWO, 0x1), (TWO, ONE, 0), (ONE, ONE, 0x40), (ONE, (J | 1 << 62, 0x7FFF), 0x45)):
        machine.set_fpu([a, b])
        machine.cpu.rflags = 0x8D7
        machine.run("dbe9")  # FUCOMI
        assert machine.cpu.rflags & 0x8D5 == flags
        assert machine.cpu.fpu()["status"] == 0


def test_conditional_moves(machine: FpuMachine) -> None:
    for code, flags, moves in (
        ("dac1", 1, True),
        ("dac1", 0, False),
        ("dbc1", 0, True),
        ("dac9", 0x40, True),
        ("dad1", 0x40, True),
        ("dbd1", 1, False),
        ("dad9", 4, True),
        ("dbd9", 4, False),
    ):
        machine.set_fpu([ONE, TWO])
        machine.cpu.rflags = 2 | flags
        machine.run(code)
        assert machine.cpu.fpu()["st"][0] == (TWO if moves else ONE), code


def test_pointers_of_the_last_instruction(machine: FpuMachine) -> None:
    """FIP, FCS, FDP, FDS and FOP of non-control instructions (SDM 1, 8.1.8)."""
    machine.set_fpu([ONE])
    machine.run("66 90 dc 47 08", b"\0" * 8 + F64_ONE, 2)  # a NOP, then FADD [edi+8]
    state = machine.cpu.fpu()
    assert state["instruction_pointer"] == CODE + 2 and state["instruction_selector"] == 8
    assert state["data_pointer"] == DATA + 8 and state["data_selector"] == 0x10
    assert state["opcode"] == 0x447
    machine.run("d93f")  # FNSTCW leaves them
    assert machine.cpu.fpu()["instruction_pointer"] == CODE + 2
    machine.run("d9e0")
    state = machine.cpu.fpu()
    assert (state["opcode"], state["instruction_pointer"], state["data_pointer"]) == (0x1E0, CODE, DATA + 8)


REGISTERS = [ONE, ZERO, (J, 0x7FFF), (1, 0), TWO]


@pytest.mark.parametrize("mode", [16, 32])
@pytest.mark.parametrize("prefix", ["", "66"])
def test_environment_and_state_images(mode: int, prefix: str) -> None:
    """SDM 1, figures 8-9 to 8-12; the tags are rebuilt from the contents; FRSTOR brings everything back."""
    machine = FpuMachine(mode)
    wide = (mode == 32) != bool(prefix)
    address = "07" if mode == 32 else "05"
    machine.set_fpu(REGISTERS, control=0x27F, status=0x3800)
    machine.run("dc" + address, F64_ONE)  # FADD m64
    before = machine.cpu.fpu()
    machine.run(prefix + "dd" + ("37" if mode == 32 else "35"))  # FNSAVE
    n = 28 if wide else 14
    image = machine.data(n + 80)
    words = struct.unpack("<7I" if wide else "<7H", image[:n])
    ones = 0xFFFF0000 if wide else 0
    tags = 0b00_11_11_11_00_10_10_01  # physical 7, which is ST0, to 0
    assert words[:3] == (ones | 0x27F, ones | 0x3800, ones | tags)
    if mode == 32:
        assert words[3:] == (
            CODE if wide else CODE & 0xFFFF,
            8 | (0x407 << 16 if wide else 0),
            DATA if wide else DATA & 0xFFFF,
            ones | 0x10,
        )
    else:
        assert words[3:] == (ones | CODE & 0xFFFF, CODE >> 16 << 12 | 0x405, ones | DATA & 0xFFFF, DATA >> 16 << 12)
    st = [struct.unpack_from("<QH", image, n + 10 * k) for k in range(8)]
    assert st == before["st"]
    cleared = machine.cpu.fpu()
    assert (cleared["control"], cleared["status"], cleared["valid"], cleared["opcode"]) == (0x37F, 0, 0, 0)
    machine.run(prefix + "dd" + ("27" if mode == 32 else "25"), image)  # FRSTOR
    after = machine.cpu.fpu()
    for key in ("control", "status", "valid", "st"):
        assert after[key] == before[key], key
    machine.run(prefix + "d9" + ("37" if mode == 32 else "35"))  # FNSTENV gives the same again
    assert machine.data(n) == image[:n]


def test_availability() -> None:
    """CR0.EM or TS: #NM for x87; WAIT only with MP and TS (SDM 3A, table 2-2)."""
    machine = FpuMachine(32, NUMERIC_ERROR | TASK_SWITCHED)
    assert machine.run("d9e8") == NM
    assert machine.run("9b") is None
    machine = FpuMachine(32, NUMERIC_ERROR | TASK_SWITCHED | MONITOR)
    assert machine.run("9b") == NM
    machine = FpuMachine(32, NUMERIC_ERROR | 0x4)
    assert machine.run("dbe3") == NM
    assert machine.run("9b") is None


def test_ms_dos_compatibility_mode() -> None:
    """CR0.NE = 0: FERR# raises IRQ 13, the next waiting instruction waits, a write to port F0h asserts IGNNE#."""
    machine = FpuMachine(32, 0)
    lines: list[tuple[int, bool]] = []

    class Sink:
        def set_irq(self, number: int, level: bool) -> None:
            lines.append((number, level))

    register = CoprocessorError(IrqLine(Sink(), 13), machine.signals.set_ignne)
    machine.signals.on_ferr(register.ferr)
    machine.set_fpu([ONE, ZERO], control=0x37B)
    machine.run("d8f1")
    assert lines == [(13, True)] and machine.signals.ferr
    assert machine.run("d9e8", instructions=5) is None
    assert machine.cpu.rip == CODE and machine.cpu.activity == 1  # halted before the instruction
    register.write(0, 1, 0)
    assert lines == [(13, True), (13, False)] and machine.signals.ignne
    machine.run("d9e8")
    assert machine.cpu.fpu()["status"] >> 11 & 7 == 7 and machine.cpu.rip == CODE + 2
    machine.run("dbe2")
    assert not machine.signals.ferr and not machine.signals.ignne


def test_register_aliases(machine: FpuMachine) -> None:
    """Undocumented encodings: FXCH, FCOM, FSTP, FFREEP."""
    for code in ("d9c9", "ddc9", "dfc9"):
        machine.set_fpu([ONE, TWO])
        machine.run(code)
        assert machine.cpu.fpu()["st"][:2] == [TWO, ONE], code
    for code, pops in (("dcd1", 0), ("dcd9", 1), ("ded1", 1)):
        machine.set_fpu([ONE, TWO])
        machine.run(code)
        assert machine.cpu.fpu()["status"] == 0x100 | pops << 11, code
    for code in ("ddd9", "dfd1", "dfd9", "d9d9"):
        machine.set_fpu([ONE, TWO])
        machine.run(code)
        state = machine.cpu.fpu()
        assert state["st"][0] == ONE and state["valid"] == 2, code
    machine.set_fpu([ONE, TWO])
    machine.run("dfc1")
    state = machine.cpu.fpu()
    assert state["valid"] == 0 and state["status"] == 1 << 11


def test_long_double_across_pages(machine: FpuMachine) -> None:
    """FLD and FSTP m80 across a page boundary."""
    value = (0x123456789ABCDEF0 | J, 0xC123)
    machine.memory.write(DATA + 0xFFB, struct.pack("<QH", *value))
    machine.set_fpu([])
    machine.run(bytes.fromhex("dbaf") + struct.pack("<I", 0xFFB))
    assert machine.cpu.fpu()["st"][0] == value
    machine.run(bytes.fromhex("dbbf") + struct.pack("<I", 0x1FFA))
    assert machine.memory.read(DATA + 0x1FFA, 10) == struct.pack("<QH", *value)
