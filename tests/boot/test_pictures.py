"""Guests' screens dot by dot against stored pictures, which another emulator shows the same but for two steps of 255 in
the shades of the DAC; and what a person sees in a terminal."""

from __future__ import annotations

import os
import select
import signal
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.boot.kit import INSTALLED, PATIENCE, guest
from tests.boot.test_console import Terminal
from tests.display.vt import Terminal as Screen
from x86emu.machine import Machine, MachineConfig, StopReason

PICTURES = Path(__file__).parent / "pictures"
STEP = 20_000_000  # instructions from one look at the screen to the next


def stored(name: str) -> NDArray[np.uint8]:
    with Image.open(PICTURES / f"{name}.png") as picture:
        return np.asarray(picture.convert("RGB"))


def a_machine(**options: object) -> Machine:
    installed = (INSTALLED / "bios-256k.bin").exists()
    bios, vga = (
        INSTALLED / name if installed else guest(f"bios/{name}") for name in ("bios-256k.bin", "vgabios-stdvga.bin")
    )
    return Machine(config=MachineConfig(bios=bios, vga_rom=vga, **options))  # type: ignore[arg-type]


def run_until_the_screen_is(machine: Machine, name: str, limit: int) -> None:
    """Runs until the picture is the stored one, dot by dot; fails when it is not within `limit` instructions."""
    wanted = stored(name)
    for _ in range(limit // STEP):
        machine.run(STEP, timeout=PATIENCE)
        shown = machine.screenshot(frame=0).rgb()
        if shown.shape == wanted.shape and np.array_equal(shown, wanted):
            return
    differ = "another size" if shown.shape != wanted.shape else f"{(shown != wanted).any(axis=2).sum()} other dots"
    pytest.fail(f"the screen has {differ} than {name}.png; its text is {machine.screen.lines()}")


@pytest.fixture
def grub_cdrom() -> Iterator[Machine]:
    with a_machine(cdrom=guest("grub-rescue-cdrom.iso"), boot="d") as machine:
        machine.run(8_000_000_000, until="executed automatically", timeout=PATIENCE)
        yield machine


def test_firmware_that_finds_nothing_to_boot() -> None:
    with a_machine() as machine:
        run_until_the_screen_is(machine, "seabios-no-boot", 1_000_000_000)


def test_menu_of_the_grub_rescue_cd(grub_cdrom: Machine) -> None:
    grub_cdrom.keyboard.send("down")
    run_until_the_screen_is(grub_cdrom, "grub-menu", 2_000_000_000)


@pytest.mark.slow
def test_menu_of_the_grub_rescue_floppy() -> None:
    """The same picture by the floppy controller, which moves 30 KiB a second of virtual time."""
    with a_machine(floppies=(guest("grub-rescue-floppy.img"),), boot="a") as machine:
        machine.run(60_000_000_000, until="executed automatically", timeout=PATIENCE)
        machine.keyboard.send("down")
        run_until_the_screen_is(machine, "grub-menu", 2_000_000_000)


def test_vbe_modes_by_grubs_video_test(grub_cdrom: Machine) -> None:
    machine = grub_cdrom
    machine.keyboard.type("cinsmod vbe\nvideotest 800x600x16\n")
    run_until_the_screen_is(machine, "grub-videotest-800x600x16", 4_000_000_000)
    assert machine.vga.mode == (800, 600, 16) and machine.screen.lines() == []


def shown_by(terminal: Terminal, screen: Screen, text: str) -> None:
    """Lets `screen` take in what comes until it shows `text`."""
    deadline = time.monotonic() + PATIENCE
    pending = ""
    while text not in "\n".join(screen.text()):
        if not select.select([terminal.fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
            pytest.fail(f"{text!r} did not come; the terminal shows {screen.text()}")
        pending += os.read(terminal.fd, 65536).decode("utf-8", "ignore")
        whole = pending[: pending.rfind("\x1b")] if "\x1b" in pending[-16:] else pending
        screen.write(whole)
        pending = pending[len(whole) :]


def test_the_screen_in_a_terminal_and_the_terminal_after_a_signal() -> None:
    terminal = Terminal("--cdrom", guest("grub-rescue-cdrom.iso"), "--boot", "d", "--display", "text")
    screen = Screen(80, 25)
    try:
        shown_by(terminal, screen, "executed automatically")
        assert not termios.tcgetattr(terminal.fd)[3] & (termios.ECHO | termios.ICANON)
        terminal.type("\x1b[B")
        shown_by(terminal, screen, "*GNU (aka GNU/Hurd)")
        assert screen.cells[5][3] == ("G", "30;47") and screen.cells[4][3] == ("G", "37;40")
        os.kill(terminal.process.pid, signal.SIGTERM)
        terminal.wait_for("\x1b[?1049l")
        assert terminal.process.wait(timeout=PATIENCE) == 128 + signal.SIGTERM
        assert termios.tcgetattr(terminal.fd)[3] & termios.ECHO and termios.tcgetattr(terminal.fd)[3] & termios.ICANON
    finally:
        terminal.close()


def installer(append: str) -> dict[str, object]:
    """Debian's network installer by --kernel."""
    return {
        "kernel": guest("installer.vmlinuz"), "initrd": guest("installer.cpio.gz"), "append": append,
        "memory": 1 << 30,
    }  # fmt: skip


@pytest.mark.slow
def test_debian_installer_reaches_its_first_screen_in_text_mode() -> None:
    with a_machine(**installer("vga=normal fb=false modprobe.blacklist=bochs")) as machine:
        result = machine.run(40_000_000_000, until="Choose the language", timeout=3 * PATIENCE)
        assert result.reason is StopReason.EXPECTATION_MET, machine.screen.lines()
        machine.run(200_000_000)
        lines = machine.screen.lines()
        assert machine.vga.text_mode and any("Select a language" in line for line in lines), lines
        assert any("English" in line for line in lines) and any("Go Back" in line for line in lines), lines


@pytest.mark.slow
def test_debian_installer_on_a_frame_buffer_of_linux() -> None:
    with a_machine(**installer("vga=normal fb=false")) as machine:
        for _ in range(300):
            machine.run(50_000_000, timeout=PATIENCE)
            if machine.vga.mode is not None:
                picture = machine.screenshot(frame=0)
                blue, grey = ((picture.pixels == colour).mean() for colour in (0x0000AA, 0xAAAAAA))
                if blue > 0.1 and grey > 0.1:  # the installer's background and its dialogue
                    break
        else:
            pytest.fail(f"the dialogue did not come; the mode is {machine.vga.mode}")
        assert machine.vga.mode == (1024, 768, 32) == (picture.width, picture.height, 32)
