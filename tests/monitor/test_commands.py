"""The monitor's commands on a machine with a firmware of a few instructions."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.machine import tiny_bios
from x86emu.machine import Machine, StopReason
from x86emu.machine.config import MachineConfig
from x86emu.monitor import MonitorSession
from x86emu.monitor.info import SUBJECTS
from x86emu.monitor.paging import pages, translate

Ask = Callable[[str], str]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    bios = tiny_bios.write(tmp_path / "bios.bin", tiny_bios.say("hi"), tiny_bios.FOREVER)
    (tmp_path / "cd.iso").write_bytes(bytes(2048 * 40))
    (tmp_path / "fd.img").write_bytes(bytes(1440 << 10))
    config = MachineConfig(
        bios=bios, memory=4 << 20, cpus=2, cdrom=tmp_path / "cd.iso", floppies=(None,), balloon=True,
        serial_ports=2, virtio_rng=True,
    )  # fmt: skip
    with Machine(config=config) as machine:
        machine.run(20_000)
        yield machine


@pytest.fixture
def ask(machine: Machine) -> Ask:
    session = MonitorSession(machine, lambda data: None, editing=False)
    return session.answer


@pytest.mark.parametrize("subject", list(SUBJECTS))
def test_every_subject_tells_something(ask: Ask, machine: Machine, subject: str) -> None:
    before = machine.state_hash()
    assert ask(f"info {subject}").strip()
    assert machine.state_hash() == before
    assert subject in ask("info")


def test_some_of_what_is_told(ask: Ask) -> None:
    assert "rip=" in ask("info registers") and "cs=f000 00000000000f0000" in ask("info registers")
    assert ask("info cpus").startswith("* CPU #0: f000:")
    assert "CPU #1" in ask("info cpus") and "waiting for a start-up message" in ask("info cpus")
    assert "00:01.1 8086:7010 class 010180" in ask("info pci") and "INTA#" in ask("info pci")
    assert "03f8-03ff COM1" in ask("info mtree") and "02f8-02ff COM2" in ask("info mtree")
    assert "cd.iso" in ask("info block") and "fd0: empty" in ask("info block")
    assert "ports COM1: 1 reads" in ask("info stats") or "ports COM1: 0 reads" in ask("info stats")
    assert "2025-01-01" in ask("info clock") and "Paging is off" in ask("info mem")
    assert "LVT LINT0" in ask("info lapic") and "I/O APIC pin 23" in ask("info pic")


def test_stop_and_cont(ask: Ask, machine: Machine) -> None:
    assert ask("stop") == "" and machine.paused and "paused" in ask("info status")
    assert ask("c") == "" and not machine.paused and "running" in ask("info status")


def test_reset_power_and_quit(ask: Ask, machine: Machine) -> None:
    ask("system_powerdown")
    assert machine.power.read_block(0, 2) & 0x100
    ask("reset")
    assert not machine.power.read_block(0, 2) & 0x100
    machine.step()
    assert machine.cpus[0].rip < 0x20 and machine.cpus[0].cs.selector == 0xF000
    assert ask("system_wakeup") == "The machine is not asleep."
    machine.stop_reason = None
    ask("quit")
    assert machine.stop_reason is StopReason.QUIT


def test_memory(ask: Ask, machine: Machine) -> None:
    machine.memory[0x1000:0x1010] = struct.pack("<IIII", 0x1234, 0xFFFF_FFFE, 0x41424344, 7)
    assert ask("xp /4xw 0x1000") == "0000000000001000: 0x00001234 0xfffffffe 0x41424344 0x00000007"
    assert ask("xp/2dw 0x1000+4") == "0000000000001004: -2 1094861636"
    assert ask("xp /1ug 0x1000") == "0000000000001000: 18446744065119621684"
    assert ask("xp /4cb 0x1008") == "0000000000001008: 'D' 'C' 'B' 'A'"
    code = ask("x /2i 0xf0000").splitlines()
    assert code[0].startswith("00000000000f0000: ba fb 03 ") and code[1].startswith("00000000000f0003: b0 03 ")
    assert ask("xp /2xb 0x3000000") == "0000000003000000: 0xff 0xff"  # nothing is there
    assert ask("p /x $cs*16") == "0x00000000000f0000" and ask("print /d -1") == "-1"
    assert ask("gva2gpa 0x1234") == "0x1234"


def test_ports(ask: Ask, machine: Machine) -> None:
    ask("o /b 0x3ff 0x5a")
    assert ask("i /b 0x3ff") == "port 0x03ff: 0x5a" and ask("i 0x3ff") == "port 0x03ff: 0x5a"


def test_processors(ask: Ask) -> None:
    assert ask("cpu 1") == "" and ask("info registers").startswith("CPU #1")
    assert ask("cpu 2") == "There is no processor 2; there are 0 to 1."


def test_media(ask: Ask, tmp_path: Path, machine: Machine) -> None:
    other = tmp_path / "other.iso"
    other.write_bytes(b"\1" * 2048 * 2500)
    assert ask(f"change cd0 {other}") == "" and "other.iso" in ask("info block") and "cd.iso" not in ask("info block")
    assert ask("eject cdrom") == "" and "cd0: empty" in ask("info block")
    assert ask(f"change floppy0 {tmp_path / 'fd.img'}") == "" and "fd.img" in ask("info block")
    assert any(image.path.name == "fd.img" for image in machine.images)
    assert ask("eject fd0") == "" and not any(image.path.name == "fd.img" for image in machine.images)
    assert "is no floppy disk" in ask(f"change fd0 {other}")
    assert ask("eject hd0").startswith("There is no drive 'hd0'")
    assert "nothing.iso" in ask(f"change cd0 {tmp_path / 'nothing.iso'}")


def test_a_locked_tray(ask: Ask, machine: Machine) -> None:
    drive = machine.ide.channels[1].drives[0]
    drive.unit.locked = True  # type: ignore[union-attr]
    assert "has locked the tray" in ask("eject cd0") and "cd.iso" in ask("info block")
    assert ask("eject -f cd0") == "" and "cd0: empty" in ask("info block")


def test_pictures_and_keys(ask: Ask, tmp_path: Path, machine: Machine) -> None:
    assert ask(f"screendump {tmp_path / 'a.png'}") == "" and ask(f"screendump {tmp_path / 'a.ppm'}") == ""
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.ppm").read_bytes().startswith(b"P6\n")
    assert "nowhere" in ask(f"screendump {tmp_path / 'nowhere' / 'a.png'}")
    assert "nowhere" in ask(f"screendump {tmp_path / 'nowhere' / 'a.ppm'}")
    assert ask("sendkey ctrl-alt-delete ret") == "" and len(machine.keyboard.inputs) == 2
    assert "There is no key named 'hyper'" in ask("sendkey hyper")
    assert ask("mouse_move 5 -3") == "" and ask("mouse_button 1") == "" and machine.mouse.buttons == 1
    assert ask("mouse_move five 1") == "mouse_move takes whole numbers: right, down, and wheel steps."


def test_balloon(ask: Ask, machine: Machine) -> None:
    assert ask("balloon 3") == "" and machine.balloon is not None
    assert machine.balloon.target_pages == 256
    assert ask("balloon 5") == "The guest can be left with 1 to 4 MiB."
    assert "the guest has 4 of 4 MiB" in ask("info balloon")


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("frobnicate", "There is no command 'frobnicate'; help lists the commands."),
        ("system", "it could be system_powerdown, system_reset, system_wakeup"),
        ("info nothing", "There is nothing to tell of 'nothing'"),
        ("stop now", "That is not how it is called: stop"),
        ("eject", "That is not how it is called: eject [-f] DRIVE"),
        ("eject -f", "takes one drive"),
        ("x", "That is not how it is called"),
        ("x /4", "What is missing is a number"),
        ("x /4q 0", "is no format"),
        ("x /999999999 0", "are too many"),
        ("x 1/0", "is no number"),
        ("p 1 +", "is no number"),
        ("p __import__('os')", "is no number"),
        ("p 1<<999999999", "is no number"),
        ("p 9**9**9", "is no number"),
        ("p " + "(" * 500 + "1" + ")" * 500, "is no number"),
        ("p $nothing", "There is no register $nothing"),
        ("p /i 1", "A number is no instruction"),
        ("i 0x10000", "is no port"),
        ("o 1 2 3", "o takes a port and a value"),
        ("help frobnicate", "There is no command"),
        ("\x00\x01", "There is no command"),
    ],
)
def test_bad_commands_give_a_sentence(ask: Ask, machine: Machine, line: str, words: str) -> None:
    answer = ask(line)
    assert words in answer and "\n" not in answer


def test_help_and_beginnings(ask: Ask) -> None:
    assert "screendump FILE" in ask("help") and ask("help x").startswith("x [/FORMAT] ADDRESS -- ")
    assert ask("screend") == "That is not how it is called: screendump FILE" and ask("") == ""


def test_editing_completes_commands_and_arguments(machine: Machine) -> None:
    shown = bytearray()
    session = MonitorSession(machine, shown.extend, editing=True)
    session.start()
    session.receive(b"info reg\t\r")
    assert b"info registers \r\n" in shown and b"rflags=" in shown and shown.endswith(b"(x86emu) ")
    session.receive(b"eject c\t\r")
    assert b"eject cd0" in shown


# --- page tables


def table(memory: object, at: int, entries: dict[int, int], size: int = 8) -> None:
    for index, entry in entries.items():
        memory[at + size * index : at + size * (index + 1)] = entry.to_bytes(size, "little")  # type: ignore[index]


def test_four_levels(ask: Ask, machine: Machine) -> None:
    cpu, memory = machine.cpus[0], machine.memory
    for page in range(0x10000, 0x15000, 0x1000):
        memory[page : page + 0x1000] = bytes(0x1000)
    table(memory, 0x10000, {0: 0x11007, 511: 0x11003})
    table(memory, 0x11000, {0: 0x12007, 1: 0x4000_0083})
    table(memory, 0x12000, {0: 0x13007, 1: 0x20_00E7})
    table(memory, 0x13000, {0: 0x5067, 1: 0x6005 | 1 << 63, 3: 0x8002})
    cpu.cr4, cpu.efer, cpu.cr3, cpu.cr0 = 0x20, 0x500, 0x10000, 0x8000_0011
    assert translate(cpu, memory, 0x123) == 0x5123 and translate(cpu, memory, 0x1FFF) == 0x6FFF
    assert translate(cpu, memory, 0x3000) is None and translate(cpu, memory, 1 << 47) is None
    assert translate(cpu, memory, 0x20_0005) == 0x20_0005 and translate(cpu, memory, 0x4123_4567) == 0x4123_4567
    assert translate(cpu, memory, 0xFFFF_FF80_0000_0123) == 0x5123
    found = {page.linear: (page.physical, page.size, page.letters) for page in pages(cpu, memory)}
    assert found[0] == (0x5000, 0x1000, "---DA--UW") and found[0x1000] == (0x6000, 0x1000, "X------U-")
    assert found[0x20_0000][1:] == (0x20_0000, "--PDA--UW") and found[0x4000_0000][1] == 1 << 30
    assert found[0xFFFF_FF80_0000_0000] == (0x5000, 0x1000, "---DA---W")
    assert "0000000000000000-0000000000000fff 0000000000001000 urwx" in ask("info mem")
    assert "0000000000001000-0000000000001fff 0000000000001000 ur--" in ask("info mem")
    assert "ffffff8000000000: 0000000000005000 ---DA---W" in ask("info tlb")
    memory[0x5000:0x5004] = b"page"
    assert ask("x /4cb 0x0") == "0000000000000000: 'p' 'a' 'g' 'e'"
    assert ask("x /2xw 0x1ffc").splitlines()[1] == "The page of 0x2000 is not present."
    assert ask("x 0x3000") == ask("gva2gpa 0x3000") == "The page of 0x3000 is not present."


def test_two_levels_and_pae(machine: Machine) -> None:
    cpu, memory = machine.cpus[0], machine.memory
    memory[0x10000:0x14000] = bytes(0x4000)
    table(memory, 0x10000, {1: 0x11007, 2: 0x80_0083, 1023: 0x0040_2083}, 4)
    table(memory, 0x11000, {5: 0x7003}, 4)
    cpu.cr4, cpu.efer, cpu.cr3, cpu.cr0 = 0x10, 0, 0x10000, 0x8000_0011
    assert translate(cpu, memory, 0x40_5678) == 0x7678 and translate(cpu, memory, 0x80_1234) == 0x80_1234
    assert translate(cpu, memory, 0xFFC0_0001) == 0x1_0040_0001  # PSE-36
    assert [page.linear for page in pages(cpu, memory)] == [0x40_5000, 0x80_0000, 0xFFC0_0000]
    table(memory, 0x12000, {0: 0x13001})
    memory[0x13000:0x14000] = bytes(0x1000)
    table(memory, 0x13000, {3: 0x60_0083})
    cpu.cr0 = 0x11
    cpu.cr4, cpu.cr3, cpu.cr0 = 0x20, 0x12000, 0x8000_0011
    assert translate(cpu, memory, 0x60_0010) == 0x60_0010
    assert [(page.linear, page.letters) for page in pages(cpu, memory)] == [(0x60_0000, "--P-----W")]
