"""The video BIOS's modes as it sets them up: a boot sector draws a pattern by the BIOS, and the picture has it.

The pattern is colour (x + y) modulo the number of colours in the upper left corner (INT 10h: AH=0 or AX=4F02h sets a
mode, AH=0Ch writes a dot).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from tests.boot.test_pictures import a_machine
from tests.machine import tiny_bios

WIDTH, HEIGHT = 48, 20
CORNER = (HEIGHT, WIDTH)


class Mode(NamedTuple):
    """`picture` is width and height in dots of the monitor, `scale` how many of them a dot of the mode takes."""

    number: int
    picture: tuple[int, int]
    scale: tuple[int, int]
    colours: int
    white: int  # the colour that the BIOS's palette makes white


MODES = {
    "04h, CGA 320x200x4": Mode(0x04, (640, 400), (2, 2), 4, 3),
    "06h, CGA 640x200x2": Mode(0x06, (640, 400), (1, 2), 2, 1),
    "0Dh, 320x200x16": Mode(0x0D, (640, 400), (2, 2), 16, 15),
    "0Eh, 640x200x16": Mode(0x0E, (640, 400), (1, 2), 16, 15),
    "10h, 640x350x16": Mode(0x10, (640, 350), (1, 1), 16, 15),
    "11h, 640x480x2": Mode(0x11, (640, 480), (1, 1), 2, 1),
    "12h, 640x480x16": Mode(0x12, (640, 480), (1, 1), 16, 15),
    "13h, 320x200x256": Mode(0x13, (640, 400), (2, 2), 256, 15),
    "102h, 800x600x16": Mode(0x102, (800, 600), (1, 1), 16, 15),
    "101h, 640x480x256": Mode(0x101, (640, 480), (1, 1), 256, 15),
    "105h, 1024x768x256": Mode(0x105, (1024, 768), (1, 1), 256, 15),
}


def boot_sector(mode: Mode) -> bytes:
    if mode.number < 0x100:
        code = b"\xb8" + struct.pack("<H", mode.number)  # MOV AX, mode
    else:
        code = b"\xbb" + struct.pack("<H", mode.number) + b"\xb8\x02\x4f"  # MOV BX, mode; MOV AX, 4F02h
    code += b"\xcd\x10" + b"\x31\xd2"  # INT 10h; XOR DX, DX
    dot = b"\x89\xc8\x01\xd0\x24" + bytes((mode.colours - 1,))  # MOV AX, CX; ADD AX, DX; AND AL, colours - 1
    dot += b"\xb4\x0c\x31\xdb\xcd\x10"  # MOV AH, 0Ch; XOR BX, BX; INT 10h
    dot += b"\x41\x83\xf9" + bytes((WIDTH,))  # INC CX; CMP CX, WIDTH
    line = b"\x31\xc9" + dot + b"\x72" + bytes((256 - len(dot) - 2,))  # XOR CX, CX; the dots; JB
    line += b"\x42\x83\xfa" + bytes((HEIGHT,))  # INC DX; CMP DX, HEIGHT
    code += line + b"\x72" + bytes((256 - len(line) - 2,)) + tiny_bios.say("drawn") + tiny_bios.FOREVER
    assert len(code) < 510
    return code.ljust(510, b"\0") + b"\x55\xaa"


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES.keys())
def test_mode(mode: Mode, tmp_path: Path) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(boot_sector(mode).ljust(1 << 20, b"\0"))
    with a_machine(disks=(disk,), boot="c") as machine:
        machine.run(2_000_000_000, until="drawn", timeout=100)
        picture = machine.screenshot(frame=0)
    assert (picture.width, picture.height) == mode.picture
    across, down = mode.scale
    dots = picture.pixels.reshape(picture.height // down, down, picture.width // across, across)
    assert (dots == dots[:, :1, :, :1]).all(), "a dot of the mode is a rectangle of one colour"
    dots = dots[:, 0, :, 0]
    colour = np.add.outer(np.arange(HEIGHT), np.arange(WIDTH)) % mode.colours
    corner = dots[:HEIGHT, :WIDTH]
    palette = {int(value): np.unique(corner[colour == value]).tolist() for value in np.unique(colour)}
    assert all(len(shown) == 1 for shown in palette.values())
    assert palette[0] == [0] and palette[mode.white] in ([0xFFFFFF], [0xAAAAAA])
    if mode.colours <= 16:
        assert len({shown[0] for shown in palette.values()}) == mode.colours
    dots = dots.copy()
    dots[:HEIGHT, :WIDTH] = 0
    assert not dots.any(), "nothing is drawn elsewhere"
