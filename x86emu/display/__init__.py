"""What is on a screen, as pixels: rendering of a display adapter's state, PNG files, changes between two pictures."""

from x86emu.display.adapter import AdapterState, VbeMode
from x86emu.display.picture import Picture
from x86emu.display.render import render

__all__ = ["AdapterState", "Picture", "VbeMode", "render"]
