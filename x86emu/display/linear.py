"""Linear frame buffers of the Bochs VBE modes: 8 bits by the DAC's palette; 15, 16, 24 and 32 bits of colour.

Pixels are little-endian with blue in the lowest bits; five and six bits are spread over eight so that full is FFh.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from x86emu.display.adapter import AdapterState, VbeMode
from x86emu.display.colours import Pixels, dac_colours


def _table(bits: tuple[int, int, int]) -> Pixels:
    """Colours of all pixels with that many bits of red, green and blue."""
    red_bits, green_bits, blue_bits = bits
    pixel = np.arange(1 << sum(bits), dtype=np.uint32)

    def wide(value: NDArray[np.uint32], width: int) -> NDArray[np.uint32]:
        value = value & np.uint32((1 << width) - 1)
        return value << np.uint32(8 - width) | value >> np.uint32(2 * width - 8)

    red = wide(pixel >> np.uint32(green_bits + blue_bits), red_bits)
    green = wide(pixel >> np.uint32(blue_bits), green_bits)
    return red << np.uint32(16) | green << np.uint32(8) | wide(pixel, blue_bits)


COLOURS_15 = _table((5, 5, 5))
COLOURS_16 = _table((5, 6, 5))


def pixel_bytes(depth: int) -> int:
    """Bytes that a pixel of `depth` bits takes."""
    return (depth + 7) // 8


def _window(state: AdapterState, mode: VbeMode) -> NDArray[np.uint8]:
    """The bytes on the screen, one row a line; what would lie beyond display memory is zero."""
    size = pixel_bytes(mode.depth)
    pitch, length = mode.virtual_width * size, mode.width * size
    start = mode.y * pitch + mode.x * size
    memory = np.frombuffer(state.memory, dtype=np.uint8)
    needed = start + (mode.height - 1) * pitch + length
    if needed > len(memory):
        memory = np.concatenate((memory, np.zeros(needed - len(memory), dtype=np.uint8)))
    return np.lib.stride_tricks.as_strided(
        memory[start:], shape=(mode.height, length), strides=(pitch, 1), writeable=False
    )


def render_linear(state: AdapterState, mode: VbeMode) -> Pixels:
    """The picture of a linear VBE mode."""
    data = _window(state, mode)
    if mode.depth == 8:
        return dac_colours(state)[data]
    if mode.depth == 24:
        pixels = np.zeros((mode.height, mode.width, 4), dtype=np.uint8)
        pixels[..., :3] = data.reshape(mode.height, mode.width, 3)
        return pixels.view(np.uint32)[..., 0]
    if mode.depth == 32:
        return data.view(np.uint32) & np.uint32(0xFFFFFF)
    values = data.view(np.uint16)
    return COLOURS_15[values & np.uint16(0x7FFF)] if mode.depth == 15 else COLOURS_16[values]
