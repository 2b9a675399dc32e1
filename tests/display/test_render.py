"""Pictures from registers and memory, without a guest: against a dot-by-dot model, and dots worked out by hand."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np
import pytest

from tests.display import dot_by_dot
from x86emu.display import AdapterState, VbeMode
from x86emu.display.characters import font_offset
from x86emu.display.render import render

TEXT_CRTC = bytes.fromhex("5f4f50825581bf1f004f0d0e000000009c8e8f281f96b9a3ff") + bytes(7)
GREY_PALETTE = bytes(value & 63 for value in range(256) for _ in range(3))


def state_of(**changes: object) -> AdapterState:
    """The 80x25 colour text mode with empty memory, changed."""
    state = AdapterState(
        sequencer=bytes((3, 0, 3, 0, 2, 0, 0, 0)),
        graphics=bytes((0, 0, 0, 0, 0, 0x10, 0x0E, 0, 0xFF)),
        crtc=TEXT_CRTC,
        attribute=bytes(range(16)) + bytes((0x0C, 0, 0x0F, 8, 0)),
        attribute_index=0x20,
        palette=GREY_PALETTE,
        pel_mask=0xFF,
        dac_8_bits=False,
        vbe=None,
        memory=bytearray(1 << 18),
    )
    return replace(state, **changes)


def registers(values: bytes, **changes: int) -> bytes:
    """Registers with some replaced, as r09=3."""
    result = bytearray(values)
    for name, value in changes.items():
        result[int(name[1:], 16)] = value
    return bytes(result)


def a_random_state(rng: random.Random) -> AdapterState:
    height = rng.choice((1, 2, 4, 8, 14, 16))
    crtc = bytearray(rng.randbytes(32))
    crtc[1] = rng.randrange(2, 9)
    lines = rng.randrange(16, 70)
    crtc[7], crtc[0x12] = rng.choice((0, 0, 0x10)), lines - 1
    crtc[9] = height - 1 | rng.choice((0, 0x80))
    crtc[0x18] = rng.choice((0xFF, rng.randrange(lines)))
    crtc[8] = rng.choice((0, rng.randrange(128)))
    crtc[0x0A], crtc[0x0B] = rng.randrange(64), rng.randrange(128)
    crtc[0x0C], crtc[0x0D] = rng.choice(((0, 0), (0xFF, 0xF0), (0x12, 0x34)))
    crtc[0x0E], crtc[0x0F] = crtc[0x0C], (crtc[0x0D] + rng.randrange(8)) & 0xFF
    crtc[0x13] = rng.randrange(8)
    crtc[0x14] = rng.choice((0, 0, 0x40)) | rng.randrange(height)
    crtc[0x17] = rng.choice((0xA3, 0xE3, 0xA2, 0xC2, 0xA1, 0x83, 0xA0))
    return AdapterState(
        sequencer=bytes((3, rng.choice((0, 1, 8, 9)), 15, rng.randrange(64), 6, 0, 0, 0)),
        graphics=bytes((0, 0, 0, 0, 0, rng.choice((0, 0x20, 0x40)), rng.randrange(2), 0, 0)),
        crtc=bytes(crtc),
        attribute=bytes(rng.randrange(64) for _ in range(16))
        + bytes((rng.choice((0, 4, 8, 12, 0x20, 0x40, 0x41, 0x80, 0xA4)), 0, rng.randrange(16), rng.randrange(16),
                 rng.randrange(16))),
        attribute_index=0x20,
        palette=rng.randbytes(768),
        pel_mask=rng.choice((0xFF, 0x3F, 0xF0)),
        dac_8_bits=rng.random() < 0.3,
        vbe=None,
        memory=bytearray(rng.randbytes(1 << 18)),
        frame=rng.randrange(64),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(60))
def test_against_counters_clocked_dot_by_dot(seed: int) -> None:
    state = a_random_state(random.Random(seed))
    assert render(state).tolist() == dot_by_dot.screen(state)


@pytest.mark.parametrize("seed", range(30))
def test_no_registers_are_too_odd(seed: int) -> None:
    """Whatever a guest or a saved state says, there is a picture of the size that goes with it."""
    rng = random.Random(seed)
    mode = None
    if rng.random() < 0.4:
        width, height = rng.randrange(1, 400), rng.randrange(1, 300)
        mode = VbeMode(width, height, rng.choice((4, 8, 15, 16, 24, 32)), width + rng.randrange(64), rng.randrange(64),
                       rng.randrange(64))  # fmt: skip
    state = AdapterState(
        sequencer=rng.randbytes(8), graphics=rng.randbytes(16), crtc=rng.randbytes(32), attribute=rng.randbytes(32),
        attribute_index=rng.randrange(256), palette=rng.randbytes(768), pel_mask=rng.randrange(256),
        dac_8_bits=rng.random() < 0.5, vbe=mode, memory=bytearray(rng.randbytes(1 << 18)), frame=rng.getrandbits(40),
    )  # fmt: skip
    picture = render(state)
    assert picture.dtype == np.uint32 and picture.ndim == 2 and picture.size and picture.max() <= 0xFFFFFF
    if mode is not None:
        assert picture.shape == (mode.height, mode.width)


def with_text(memory: bytearray, row: int, column: int, code: int, attribute: int) -> None:
    at = 8 * (row * 80 + column)
    memory[at : at + 2] = bytes((code, attribute))


def test_a_character_with_nine_dots_and_its_colours() -> None:
    memory = bytearray(1 << 18)
    for code in (0x41, 0xC4):
        for line in range(16):
            memory[4 * (32 * code + line) + 2] = 0b10000001
    with_text(memory, 1, 2, 0x41, 0x1E)
    with_text(memory, 1, 3, 0xC4, 0x1E)
    picture = render(state_of(memory=memory))
    assert picture.shape == (400, 720)
    blue, yellow = 0x040404, 0x383838  # palette entries 1 and 14 of a grey DAC, six bits spread over eight
    assert picture[16, 18:27].tolist() == [yellow, *[blue] * 6, yellow, blue]
    assert picture[31, 27:36].tolist() == [yellow, *[blue] * 6, yellow, yellow], "line graphics go on in the ninth dot"
    assert not picture[:16].any() and not picture[32:].any()


def test_two_fonts_by_attribute_bit_3() -> None:
    memory = bytearray(1 << 18)
    second = font_offset(5)
    assert second == 24 << 10
    memory[4 * (32 * 0x41) + 2] = 0x80
    memory[4 * (second + 32 * 0x41) + 2] = 0x40
    with_text(memory, 0, 0, 0x41, 0x07)
    with_text(memory, 0, 1, 0x41, 0x0F)
    picture = render(state_of(memory=memory, sequencer=bytes((3, 1, 3, 0x24, 2, 0, 0, 0))))
    assert np.flatnonzero(picture[0]).tolist() == [0, 9]


def test_cursor_has_a_shape_and_blinks_by_frames() -> None:
    crtc = registers(TEXT_CRTC, r0A=0x0D, r0B=0x0E, r0F=80)
    memory = bytearray(1 << 18)
    with_text(memory, 1, 0, 0, 0x02)
    shown = [np.argwhere(render(state_of(memory=memory, crtc=crtc, frame=frame))) for frame in (0, 7, 8, 15, 16)]
    assert [len(dots) for dots in shown] == [18, 18, 0, 0, 18]
    assert shown[0][[0, -1]].tolist() == [[16 + 13, 0], [16 + 14, 8]]
    off = registers(crtc, r0A=0x2D)
    assert not render(state_of(memory=memory, crtc=off)).any()


def test_mode_13h_doubles_dots_and_lines() -> None:
    memory = bytearray(1 << 18)
    for y in range(200):
        for x in range(320):
            at = y * 320 + x
            memory[4 * (at & ~3) + (at & 3)] = (x + y) & 0xFF  # as chain 4 writes
    crtc = bytes.fromhex("5f4f50825480bf1f0041000000000000" + "9c8e8f284096b9a3ff") + bytes(7)
    state = state_of(
        memory=memory, crtc=crtc, sequencer=bytes((3, 1, 15, 0, 14, 0, 0, 0)),
        graphics=bytes((0, 0, 0, 0, 0, 0x40, 5, 15, 0xFF)),
        attribute=bytes(range(16)) + bytes((0x41, 0, 15, 0, 0)),
        palette=bytes(range(256)) * 3, dac_8_bits=True,
    )  # fmt: skip
    picture = render(state)
    assert picture.shape == (400, 640)
    palette = [int.from_bytes((bytes(range(256)) * 3)[3 * n : 3 * n + 3]) for n in range(256)]
    for x, y in ((0, 0), (639, 399), (123, 45), (2, 3)):
        assert picture[y, x] == palette[(x // 2 + y // 2) & 0xFF]


def vbe_state(depth: int, width: int, height: int, memory: bytes, **changes: object) -> AdapterState:
    mode = VbeMode(width, height, depth, width, 0, 0)
    given = {"vbe": mode, "memory": bytearray(memory.ljust(1 << 18, b"\0")), **changes}
    return state_of(**given)


def test_true_colour_depths() -> None:
    def first(depth: int, pixel: int, size: int) -> int:
        return int(render(vbe_state(depth, 8, 16, pixel.to_bytes(size, "little")))[0, 0])

    assert first(32, 0xFF123456, 4) == 0x123456
    assert first(24, 0x123456, 3) == 0x123456
    assert [first(16, pixel, 2) for pixel in (0xFFFF, 0xF800, 0x07E0, 0x001F, 0x8410)] == [
        0xFFFFFF, 0xFF0000, 0x00FF00, 0x0000FF, 0x848284
    ]  # fmt: skip
    assert [first(15, pixel, 2) for pixel in (0xFFFF, 0x7C00, 0x03E0, 0x001F)] == [
        0xFFFFFF, 0xFF0000, 0x00FF00, 0x0000FF
    ]  # fmt: skip
    assert first(8, 0x2A, 1) == 0xAAAAAA


@pytest.mark.parametrize(("depth", "size"), [(8, 1), (16, 2), (24, 3), (32, 4)])
def test_linear_window_in_a_larger_screen(depth: int, size: int) -> None:
    virtual, x, y = 40, 5, 3
    memory = bytearray(1 << 18)
    at = ((y + 2) * virtual + x + 7) * size
    memory[at : at + size] = b"\xff" * size
    picture = render(vbe_state(depth, 16, 20, memory, vbe=VbeMode(16, 20, depth, virtual, x, y)))
    assert picture.shape == (20, 16)
    assert np.argwhere(picture).tolist() == [[2, 7]]


def test_vbe_planar_with_offsets() -> None:
    memory = bytearray(1 << 18)
    memory[4 * ((3 + 1) * 8 + 1) + 0] = 0x10  # plane 0, line 4, dot 11
    memory[4 * ((3 + 1) * 8 + 1) + 3] = 0x10
    picture = render(vbe_state(4, 32, 16, memory, vbe=VbeMode(32, 16, 4, 64, 6, 3)))
    assert np.argwhere(picture).tolist() == [[1, 5]]
    assert picture[1, 5] == 0x242424, "planes 0 and 3: colour 9"


def test_what_blanks_the_screen() -> None:
    memory = bytearray(b"\xdb\x0f\xff\xff" * (1 << 16))
    assert render(state_of(memory=memory)).any()
    assert not render(state_of(memory=memory, sequencer=bytes((3, 0x20, 3, 0, 2, 0, 0, 0)))).any()
    unset = render(state_of(crtc=bytes(32)))
    assert unset.shape == (400, 640) and not unset.any()
    palette_off = state_of(memory=memory, attribute_index=0, attribute=registers(state_of().attribute, r11=9))
    assert np.unique(render(palette_off)).tolist() == [0x242424]


def test_a_mode_beyond_the_end_of_memory_is_padded() -> None:
    picture = render(vbe_state(32, 300, 300, b"\x01" * (1 << 18)))
    assert picture.shape == (300, 300) and picture[0, 0] and not picture[299].any()


def test_largest_modes() -> None:
    memory = bytes(16 << 20)
    for width, height in ((1920, 1080), (2560, 1600)):
        assert render(vbe_state(32, width, height, memory)).shape == (height, width)


def test_speed_of_a_frame(record_property: pytest.RecordProperty) -> None:
    """Figures, with a bound that only an algorithm of another order would break."""
    memory = random.Random(1).randbytes(4 << 20)
    states = {
        "1024x768x32": vbe_state(32, 1024, 768, memory),
        "1024x768x8": vbe_state(8, 1024, 768, memory),
        "text 720x400": state_of(memory=bytearray(memory)),
    }
    for name, state in states.items():
        times = []
        for _ in range(5):
            started = time.perf_counter()
            render(state)
            times.append(time.perf_counter() - started)
        record_property("figure", f"rendering {name}: {min(times) * 1e3:.1f} ms")
        assert min(times) < 0.25
