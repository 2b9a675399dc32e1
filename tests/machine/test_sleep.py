"""Suspend to RAM with a firmware of a few instructions: what keeps its state, and what wakes the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.machine import tiny_bios
from tests.machine.tiny_bios import out8, out16, out32, say
from x86emu.machine import Machine, StopReason

PM = 0x600
DECODE_PM = out32(0xCF8, 0x8000_0B40) + out32(0xCFC, PM | 1) + out32(0xCF8, 0x8000_0B80) + out8(0xCFC, 1)


def cmos(index: int, value: int) -> bytes:
    return out8(0x70, index) + out8(0x71, value)


SLEEP = out16(PM + 4, 1 << 10 | 0x2000) + tiny_bios.FOREVER
ALARM = cmos(1, 0x05) + cmos(3, 0xC0) + cmos(5, 0xC0) + cmos(0x0B, 0x22)  # second 5 of any minute
ENABLE_RTC = out16(PM + 2, 0x0400)


def firmware(path: Path, before_sleep: bytes) -> Path:
    """Sleeps on a cold start; tells of PMSTS and powers off where CMOS byte 0Fh says that it resumes."""
    awake = say("awake ") + b"\xba" + PM.to_bytes(2, "little") + b"\xed"  # IN EAX, DX: PMSTS and PMEN
    awake += b"\xba\x02\x04\x66\xef" + tiny_bios.POWER_OFF  # ... to the debug console
    cold = say("cold ") + DECODE_PM + before_sleep + SLEEP
    # CMP AL, FEh; JNE cold
    choose = out8(0x70, 0x0F) + b"\xba\x71\x00\xec" + b"\x3c\xfe" + b"\x0f\x85" + len(awake).to_bytes(2, "little")
    return tiny_bios.write(path, choose, awake, cold)


def build(tmp_path: Path, before_sleep: bytes = b"") -> Machine:
    return Machine(firmware(tmp_path / "bios.bin", before_sleep), memory="4M")


def test_the_alarm_wakes(tmp_path: Path) -> None:
    with build(tmp_path, ALARM + ENABLE_RTC + out8(0x3F9, 0x0F)) as machine:
        machine.memory[0x10_0000:0x10_0004] = b"kept"
        result = machine.run(timeout=20)
        assert result.reason is StopReason.POWER_OFF and machine.serial.text == "cold awake "
        assert machine.memory[0x10_0000:0x10_0004] == b"kept"
        assert 5_000_000_000 <= machine.clock.now() < 5_100_000_000  # asleep until the fifth second
        assert machine.ports.read(0x3F9, 1) == 0  # the serial port had no power
        assert machine.power.read_block(2, 2) == 0x0400  # wake-up logic had
        assert machine.power.read_block(0, 2) & 0x8400 == 0x8400  # RSM_STS and RTC_STS


def test_the_same_night_twice(tmp_path: Path) -> None:
    ends = set()
    for _ in range(2):
        with build(tmp_path, ALARM + ENABLE_RTC) as machine:
            machine.run(timeout=20)
            ends.add((machine.clock.now(), machine.state_hash()))
    assert len(ends) == 1


def test_without_anything_to_wake_it_the_run_ends(tmp_path: Path) -> None:
    for before in (b"", ALARM, ENABLE_RTC):
        with build(tmp_path, before) as machine:
            result = machine.run(timeout=20)
            assert result.reason is StopReason.HALTED and "nothing is there to wake" in result.sentence


class Button:
    """A service that does something after some looks at the machine."""

    def __init__(self, press: object) -> None:
        self.press, self.looks = press, 0

    def poll(self) -> bool:
        self.looks += 1
        if self.looks == 5:
            self.press()  # type: ignore[operator]
        return False

    def descriptors(self) -> tuple[int, ...]:
        return ()

    waiting = False

    def close(self) -> None:
        pass


def test_power_button_and_keys_wake(tmp_path: Path) -> None:
    for name in ("button", "key"):
        with build(tmp_path) as machine:
            press = machine.press_power_button if name == "button" else lambda: machine.keyboard.send("a")
            machine.services.append(Button(press))
            assert machine.run(timeout=20).reason is StopReason.POWER_OFF
            assert machine.serial.text == "cold awake "
            assert bool(machine.power.read_block(0, 2) & 0x100) == (name == "button")


def test_a_reset_ends_the_sleep(tmp_path: Path) -> None:
    with build(tmp_path) as machine:
        machine.services.append(Button(machine.reset))
        result = machine.run(timeout=20, until="cold cold ")
        assert result.reason is StopReason.EXPECTATION_MET


@pytest.mark.parametrize("suspend_type", [0, 2])
def test_soft_off_and_suspend_to_disk_turn_off(tmp_path: Path, suspend_type: int) -> None:
    code = DECODE_PM + out16(PM + 4, suspend_type << 10 | 0x2000) + tiny_bios.FOREVER
    with Machine(tiny_bios.write(tmp_path / "bios.bin", code), memory="4M") as machine:
        assert machine.run(timeout=20).reason is StopReason.POWER_OFF


def test_the_power_button_is_an_sci(tmp_path: Path) -> None:
    code = DECODE_PM + out8(0xB2, 0xF1) + out16(PM + 2, 0x100) + tiny_bios.HALT
    with Machine(tiny_bios.write(tmp_path / "bios.bin", code), memory="4M") as machine:
        machine.run(timeout=20)
        assert not machine.power.sci.level
        machine.press_power_button()
        assert machine.power.sci.level
        machine.power.write_block(0, 2, 0x100)
        assert not machine.power.sci.level
