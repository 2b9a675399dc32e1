"""The PC speaker by its ports: tones, levels, and the sound file."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

from x86emu.bus.clock import Clock
from x86emu.bus.irq import IrqLine
from x86emu.devices.i8254 import I8254
from x86emu.errors import UserInputError
from x86emu.machine.speaker import SAMPLE_RATE, Speaker

FREQUENCY = 1_193_182


class Board:
    def __init__(self) -> None:
        self.clock = Clock()
        self.timer = I8254(self.clock, IrqLine(None, 0))
        self.speaker = Speaker(self.timer, self.clock)

    def tone(self, count: int) -> None:
        self.timer.write(3, 1, 0xB6)
        self.timer.write(2, 1, count & 0xFF)
        self.timer.write(2, 1, count >> 8)

    def bits(self, value: int) -> None:
        self.timer.write_port61(0, 1, value)


@pytest.fixture
def board() -> Board:
    return Board()


def sound(path: Path) -> np.ndarray:
    with wave.open(str(path)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, SAMPLE_RATE)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(float)


def test_a_tone_begins_and_ends(board: Board) -> None:
    assert not board.speaker.on
    board.tone(1193)
    board.clock.advance(1_000_000)
    board.bits(3)
    assert board.speaker.on and board.speaker.frequency == pytest.approx(1000, rel=1e-3)
    board.clock.advance(5_000_000)
    board.bits(0)
    assert not board.speaker.on and board.speaker.frequency is None
    (_, silence, _), (begin, tone, _), (end, after, level) = board.speaker.changes
    assert (begin, end) == (1_000_000, 6_000_000) and silence == after == 0 and level == 0
    assert tone == pytest.approx(1000, rel=1e-3)


def test_the_file_has_the_tone(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "tone.wav"
    board.clock.advance(7_777)
    board.speaker.record(path)
    board.tone(FREQUENCY // 440)
    board.clock.advance(500_000_000)
    board.bits(3)
    board.clock.advance(1_000_000_000)
    board.bits(0)
    board.clock.advance(500_000_000)
    board.speaker.close()
    board.speaker.close()
    samples = sound(path)
    assert abs(len(samples) - 2 * SAMPLE_RATE) <= 1
    quarter = SAMPLE_RATE // 2
    assert not samples[: quarter - 2].any() and not samples[3 * quarter + 2 :].any()
    heard = samples[quarter + 2 : 3 * quarter - 2]
    spectrum = np.abs(np.fft.rfft(heard - heard.mean()))
    assert np.argmax(spectrum) * SAMPLE_RATE / len(heard) == pytest.approx(440, abs=2)
    assert heard.max() == pytest.approx(0.5 * 32767, abs=2) and heard.min() == 0


def test_samples_by_bit_1(board: Board, tmp_path: Path) -> None:
    path = tmp_path / "levels.wav"
    board.tone(100)  # its output is high as long as the gate is low
    board.speaker.record(path)
    for width in (10, 30, 20, 40) * 200:  # pulse widths in microseconds, one every 45.35
        board.bits(2)
        board.clock.advance(width * 1000)
        board.bits(0)
        board.clock.advance(45_351 - width * 1000)
    board.speaker.close()
    samples = sound(path) / (0.5 * 32767) * 45.351
    assert len(samples) >= 795 and samples[:4] == pytest.approx([10, 30, 20, 40], abs=0.2)


def test_a_file_that_cannot_be(board: Board, tmp_path: Path) -> None:
    with pytest.raises(UserInputError, match="--speaker .*: cannot be written"):
        board.speaker.record(tmp_path / "nowhere" / "a.wav")
