"""Whole machines with firmware of a few instructions: how runs end, and that they repeat."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.machine import tiny_bios as bios
from x86emu.errors import UserInputError
from x86emu.machine import Machine, StopReason
from x86emu.machine.run import POLL_NANOSECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "bios.bin"


def machine(path: Path, *code: bytes, **options: Any) -> Machine:
    return Machine(bios.write(path, *code), memory="4M", **options)


def test_reset_vector_to_power_off(path: Path) -> None:
    m = machine(path, bios.say("hello\r\n"), bios.POWER_OFF, bios.HALT)
    result = m.run(100_000)
    assert result.reason is StopReason.POWER_OFF
    assert m.serial.text == "hello\n"
    assert "powered off after" in result.sentence


def test_expected_text_ends_the_run_at_once(path: Path) -> None:
    m = machine(path, bios.say("one two"), bios.delay(1000), bios.say(" three"), bios.FOREVER)
    assert m.run(1_000_000, until="e two").reason is StopReason.EXPECTATION_MET
    assert m.serial.text == "one two" and m.instructions < 1000
    assert m.run(100_000, until="three").reason is StopReason.EXPECTATION_MET


def test_debug_console_counts_as_a_console(path: Path) -> None:
    m = machine(path, bios.say("firmware", 0x402), bios.FOREVER)
    assert m.run(100_000, until="firmware").reason is StopReason.EXPECTATION_MET
    assert m.debug_console.text == "firmware"


def test_instruction_limit_is_exact(path: Path) -> None:
    m = machine(path, bios.FOREVER)
    assert m.run(12_345).reason is StopReason.INSTRUCTION_LIMIT
    assert m.instructions == 12_345
    assert m.step(5).instructions == 5 and m.instructions == 12_350


def test_triple_fault_names_its_place(path: Path) -> None:
    m = machine(path, bios.TRIPLE_FAULT)
    result = m.run(100_000)
    assert result.reason is StopReason.TRIPLE_FAULT
    assert "processor 0 at f000:" in result.detail and "#GP error 0x1a at the gate of vector 3" in result.detail
    assert m.stats()["exceptions"]["#GP"] >= 1


def test_halt_with_interrupts_off_ends_the_run(path: Path) -> None:
    assert machine(path, bios.HALT).run(100_000_000).reason is StopReason.HALTED


def test_reset_boots_again_or_ends(path: Path) -> None:
    m = machine(path, bios.say("x"), bios.RESET, bios.FOREVER)
    assert m.run(2_000).reason is StopReason.INSTRUCTION_LIMIT
    assert m.serial.text.count("x") > 10
    m = machine(path, bios.say("x"), bios.RESET, bios.FOREVER)
    assert m.run(2_000, reboot=False).reason is StopReason.GUEST_RESET
    assert m.serial.text == "x"


def test_debug_exit(path: Path) -> None:
    m = machine(path, bios.out8(0xF4, 0x15), bios.FOREVER, debug_exit_port=0xF4)
    result = m.run(100_000)
    assert (result.reason, result.status) == (StopReason.DEBUG_EXIT, 0x2B)


def test_a_run_in_pieces_is_the_same_run(path: Path) -> None:
    code = (bios.say("start"), bios.delay(200_000), bios.say("end"), bios.POWER_OFF, bios.HALT)
    whole, pieces = machine(path, *code), machine(path, *code)
    whole.run()
    while pieces.run(77_777).reason is StopReason.INSTRUCTION_LIMIT:
        pass
    assert whole.instructions == pieces.instructions
    assert whole.clock.now() == pieces.clock.now()
    assert whole.state_hash() == pieces.state_hash()
    pieces.memory.write(0x5000, b"\1")
    assert whole.state_hash() != pieces.state_hash()


def test_trace_tells_every_instruction(path: Path) -> None:
    m = machine(path, bios.out8(0x80, 1), bios.FOREVER)
    lines: list[str] = []
    m.trace(lines.append)
    m.step(4)
    assert [line.split()[1] for line in lines] == ["f000:fff0", "f000:0", "f000:3", "f000:5"]
    m.trace(None)
    m.step(10)
    assert len(lines) == 4


def two_processor_firmware() -> bytes:
    """Broadcast INIT and SIPI, one right behind the other, start processor 1 at 08000h; both work, speak and halt."""
    ap_code = bios.delay(20_000) + bios.out8(0x402, ord("A")) + bios.HALT
    to_ram = b"".join(
        b"\xc6\x06" + (0x8000 + n).to_bytes(2, "little") + bytes([byte])  # MOV byte [8000h + n], byte
        for n, byte in enumerate(ap_code)
    )
    # LGDT, protected mode, then the local APIC's registers through a flat DS, and back to real mode: unreal mode.
    gdt_at, pointer_at = 0x800, 0x810
    unreal = (
        b"\x2e\x66\x0f\x01\x16" + pointer_at.to_bytes(2, "little")  # LGDT [cs:pointer]
        + b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"  # MOV EAX, CR0; OR AL, 1; MOV CR0, EAX
        + b"\xb8\x08\x00\x8e\xd8"  # MOV AX, 8; MOV DS, AX
        + b"\x0f\x20\xc0\x24\xfe\x0f\x22\xc0"  # MOV EAX, CR0; AND AL, FEh; MOV CR0, EAX
    )  # fmt: skip

    def store(register: int, value: int) -> bytes:
        at = (0xFEE0_0000 + register).to_bytes(4, "little")
        return b"\x67\x66\xc7\x05" + at + value.to_bytes(4, "little")  # MOV dword [at], value

    code = (
        to_ram + unreal + store(0xF0, 0x1FF) + store(0x300, 0xC4500) + store(0x300, 0xC4608)
        + bios.delay(15_000) + bios.say("B", 0x402) + bios.HALT
    )  # fmt: skip
    code = code.ljust(gdt_at, b"\0") + bytes(8) + bytes.fromhex("ffff00000092cf00")
    code += b"\x0f\x00" + (0xF0000 + gdt_at).to_bytes(4, "little")
    return code


def test_application_processor_takes_init_and_start_up(path: Path) -> None:
    m = machine(path, two_processor_firmware(), cpus=2)
    assert m.run(100_000_000).reason is StopReason.HALTED
    assert sorted(m.debug_console.text) == ["A", "B"]


@pytest.mark.parametrize("piece", [997, 4000, 7_919])
def test_two_processors_in_pieces_are_the_same_run(path: Path, piece: int) -> None:
    whole, pieces = (machine(path, two_processor_firmware(), cpus=2) for _ in range(2))
    whole.run()
    while pieces.run(piece).reason is StopReason.INSTRUCTION_LIMIT:
        pass
    assert pieces.debug_console.text == whole.debug_console.text
    assert [cpu.instructions for cpu in pieces.cpus] == [cpu.instructions for cpu in whole.cpus]
    assert pieces.state_hash() == whole.state_hash()


@pytest.mark.parametrize("model", ["i80386", "default"])
def test_timer_interrupt_reaches_the_processor(path: Path, model: str) -> None:
    """The 8254 by the 8259 pair: at INTR of a processor without a local APIC, else at its LINT0."""
    enable_lint0 = b""
    if model == "default":
        pointer_at = 0x810
        enable_lint0 = (
            b"\x2e\x66\x0f\x01\x16" + pointer_at.to_bytes(2, "little") + b"\x0f\x20\xc0\x0c\x01\x0f\x22\xc0"
            + b"\xb8\x08\x00\x8e\xd8" + b"\x0f\x20\xc0\x24\xfe\x0f\x22\xc0"
            + b"\x67\x66\xc7\x05\xf0\x00\xe0\xfe\xff\x01\x00\x00"  # spurious vector register: enabled
            + b"\x67\x66\xc7\x05\x50\x03\xe0\xfe\x00\x07\x00\x00"  # LINT0: ExtINT
        )  # fmt: skip
    handler = 0x400
    code = (
        enable_lint0 + b"\x31\xc0\x8e\xd8\x8e\xd0\xbc\x00\x70"  # DS = SS = 0, SP = 7000h
        + b"\xc7\x06\x20\x00" + handler.to_bytes(2, "little") + b"\xc7\x06\x22\x00\x00\xf0"  # vector 8
        + bios.out8(0x20, 0x11) + bios.out8(0x21, 0x08) + bios.out8(0x21, 0x04) + bios.out8(0x21, 0x01)
        + bios.out8(0x21, 0xFE) + bios.out8(0x43, 0x34) + bios.out8(0x40, 0x00) + bios.out8(0x40, 0x10)
        + b"\xfb\xf4\xeb\xfd"  # STI; HLT; again
    )  # fmt: skip
    code = code.ljust(handler, b"\0") + bios.say("T", 0x402) + bios.out8(0x20, 0x20) + b"\xcf"
    code = code.ljust(0x800, b"\0") + bytes(8) + bytes.fromhex("ffff00000092cf00") + b"\x0f\x00\x00\x08\x0f\x00"
    m = machine(path, code, cpu=model)
    assert m.run(100_000, until="TTT").reason is StopReason.EXPECTATION_MET
    assert m.stats()["interrupts"]["08h"] >= 3


def test_processors_without_apic_are_alone(path: Path) -> None:
    with pytest.raises(UserInputError, match="--smp 2: the processor model i80386 has no local APIC"):
        machine(path, bios.HALT, cpu="i80386", cpus=2)


def test_two_processors_repeat(path: Path) -> None:
    code = (bios.say("start"), bios.delay(50_000), bios.POWER_OFF, bios.HALT)
    hashes = set()
    for _ in range(2):
        m = machine(path, *code, cpus=2)
        m.run()
        hashes.add((m.instructions, m.clock.now(), m.state_hash()))
    assert len(hashes) == 1


def test_input_is_recorded_with_its_time(path: Path) -> None:
    m = machine(path, bios.FOREVER)
    m.run(1000)
    m.serial.send("ls\n")
    assert m.serial.inputs == [(1000, b"ls\n")]


def test_statistics(path: Path) -> None:
    m = machine(path, bios.say("ab", 0x402), bios.POWER_OFF, bios.HALT)
    m.run()
    stats = m.stats()
    assert stats["ports"]["debug console"] == {"reads": 0, "writes": 2}
    assert stats["exceptions"] == stats["interrupts"] == {}
    assert stats["instructions"] == m.instructions == stats["processors"][0]["instructions"]


def test_host_clock_holds_virtual_time_back(path: Path) -> None:
    """An idle guest would race through hours; paced, it is never ahead of the host by more than a look at it."""
    m = machine(path, b"\xfb\xf4\xeb\xfd")  # STI; HLT; again
    result = m.run(timeout=0.1, host_clock=True)
    assert result.reason is StopReason.TIME_OUT
    assert m.clock.now() <= result.seconds * 1e9 + POLL_NANOSECONDS
